"""The factor `magic-link`: who reads the mail of a user's address is the user."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from picoauth import (
    Attemptee,
    Auth,
    AuthError,
    Caller,
    Challenge,
    Denied,
    Factor,
    Identifier,
    Payload,
    Plugin,
    Proof,
    Situation,
    Statement,
    User,
    identifier,
    problems,
)
from picoauth_magic_link.links import CODE, NOBODY, Links, Made, Sent

FACTOR = "magic-link"


@dataclass(frozen=True)
class Recipient:
    """To whom a mail may go, and the keys under which that is counted."""

    user: User | None
    address: Identifier | None
    keys: tuple[str, str]


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
            proof = text(payload, FACTOR)
            sent = None if digits(proof) else await self.links.by_token(proof)
            return Attemptee(user=await self.links.owner(sent))
        kind, typed = name(payload)
        return Attemptee(user=await self.auth.users.find(kind, typed), typed=canonical(kind, typed))

    async def begin(self, situation: Situation, payload: Payload) -> Challenge:
        """Mail a link and a code; to nobody where there is no such user, which costs the same."""
        kind, typed = ("", "") if situation.user else name(payload)
        found = await self.recipient(situation.user or situation.claimed, kind, typed)
        if not await self.auth.mail.rates.take(*found.keys):
            found = Recipient(None, None, found.keys)
        made = self.links.making(found.user, found.address, self.auth.now() + self.settings.life)
        await self.auth.database.write(
            *made.statements, self.mailing(found, made, situation.caller)
        )
        return Challenge(state=made.id)

    async def recipient(self, user: User | None, kind: str, typed: str) -> Recipient:
        """The same read, whoever it is. Only a verified address gets a mail (R-2)."""
        value = canonical(kind, typed)
        address = chosen(await self.auth.users.identifiers(user.id if user else NOBODY), value)
        if user is None or user.disabled_at is not None or address is None:
            return Recipient(None, None, (self.key("nobody", value), self.key("mailbox", value)))
        keys = (self.key("account", user.id), self.key("mailbox", address.value))
        return Recipient(user, address, keys)

    def key(self, what: str, value: str) -> str:
        return (
            f"{FACTOR} {self.auth.secrets.digests('magic-link rate', f'{what} {value}')[0].hex()}"
        )

    def mailing(self, found: Recipient, made: Made, caller: Caller) -> Statement:
        life = self.settings.life
        typed_within = min(life, self.auth.config.logins.flow_life)  # the flow ends with its time
        return self.auth.mail.queuing(
            self.plugin,
            "login",
            found.address.display if found.address else None,
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
        proof = text(payload, FACTOR)
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


def name(payload: Payload) -> tuple[str, str]:
    """Its kind, and as it was typed: an address may stand in the place of a user name.

    Raises AuthError for a proof beside it: by that `identify` would find somebody else.
    """
    if FACTOR in payload:
        raise AuthError(problems.INVALID_BODY, f"{FACTOR} belongs into the next step")
    typed = text(payload, "email" if "email" in payload else "username")
    return ("email" if "@" in typed else "username"), typed


def chosen(found: Sequence[Identifier], value: str) -> Identifier | None:
    """Of several verified addresses that by which was asked, or else the first."""
    verified = [one for one in found if one.kind == "email" and one.verified]
    return next((one for one in verified if one.value == value), next(iter(verified), None))


def canonical(kind: str, typed: str) -> str:
    """One name for all ways to write it: who is nobody is counted as a user is (P-8)."""
    try:
        return identifier(kind, typed, verified=True).value
    except AuthError:
        return typed


def text(payload: Payload, member: str) -> str:
    value: Any = payload.get(member)
    if not isinstance(value, str):
        raise AuthError(problems.INVALID_BODY, f"{member} must be a text")
    return value
