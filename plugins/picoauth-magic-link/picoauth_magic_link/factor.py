"""The factor `magic-link`: who reads the mail of a user's address is the user."""

from __future__ import annotations

from typing import Any, ClassVar

from picoauth import (
    Attemptee,
    Auth,
    AuthError,
    Caller,
    Challenge,
    Denied,
    Factor,
    Payload,
    Plugin,
    Proof,
    Recipient,
    Situation,
    Statement,
    Whose,
    problems,
    spelling,
    text_of,
)
from picoauth_magic_link.links import CODE, Links, Made, Sent

FACTOR = "magic-link"


class MagicLinkFactor(Factor):
    """A link that is opened anywhere, or a code that is typed where the login began."""

    name: ClassVar[str] = FACTOR
    starts: ClassVar[bool] = True
    lasting: ClassVar[bool] = True

    def __init__(self, auth: Auth, plugin: Plugin[Any], links: Links) -> None:
        self.auth = auth
        self.plugin = plugin
        self.links = links
        self.settings = plugin.settings

    async def identify(self, payload: Payload) -> Attemptee:
        """By name where a login begins; by the token where a link is opened.

        A code alone is nobody's: its tries are counted where it is.
        """
        if FACTOR in payload:
            proof = text_of(payload, FACTOR)
            sent = None if digits(proof) else await self.links.by_token(proof)
            return Attemptee(user=await self.links.owner(sent))
        typed = name(payload)
        return Attemptee(name=Whose.named(typed), typed=spelling(typed))

    async def begin(self, situation: Situation, payload: Payload) -> Challenge:
        """Mail a link and a code; to nobody where there is no such user, which costs the same."""
        typed = "" if situation.user else name(payload)
        user = situation.user or situation.claimed
        found = await self.auth.mail.recipient(FACTOR, user, spelling(typed))
        made = self.links.making(found.user, found.address, self.auth.now() + self.settings.life)
        await self.auth.database.write(
            *made.statements, self.mailing(found, made, situation.caller)
        )
        return Challenge(state=made.id)

    def mailing(self, found: Recipient, made: Made, caller: Caller) -> Statement:
        life = self.settings.life
        typed_within = min(life, self.auth.config.logins.flow_life)  # the flow ends with its time
        return self.auth.mail.queuing(
            self.plugin,
            "login",
            found.to,
            {
                "site": self.auth.mail.link("/"),
                "link": self.auth.mail.link(f"{self.settings.page}#magic-link={made.token}"),
                "code": made.code,
                "minutes": str(life // 60),
                "code_minutes": str(max(1, typed_within // 60)),
            },
            expires_at=self.auth.now() + life,
            user=found.user,
            accept=caller.languages or "",
        )

    async def verify(self, situation: Situation, payload: Payload) -> Proof:
        proof = text_of(payload, FACTOR)
        sent = await self.sent(situation.state, proof)
        user = await self.links.owner(sent)
        if sent is None or user is None or user.disabled_at is not None:
            raise Denied(self.refused)
        return Proof(user=user, amr=("email",), statements=self.links.taking(sent))

    async def sent(self, state: Any, proof: str) -> Sent | None:
        """A code is good in the flow that it was sent for, and in no other one."""
        code = digits(proof)
        if code is None:
            return await self.links.by_token(proof)
        return await self.links.by_code(str(state), code)


def digits(proof: str) -> str | None:
    """The code, if this is one; people put spaces into it."""
    typed = proof.replace(" ", "").replace("-", "")
    return typed if CODE.fullmatch(typed) else None


def name(payload: Payload) -> str:
    """As it was typed: an address may stand in the place of a user name.

    Raises AuthError for a proof beside it: by that `identify` would find somebody else.
    """
    if FACTOR in payload:
        raise AuthError(problems.INVALID_BODY, f"{FACTOR} belongs into the next step")
    return text_of(payload, "email" if "email" in payload else "username")
