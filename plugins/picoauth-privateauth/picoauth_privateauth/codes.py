"""Codes: handed out when a user approves, and good once, at once, for the client that asked."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

from picoauth import Auth, AuthError, Caller, Conflict, Statement, Ticket
from picoauth_fetch import web as urls
from picoauth_privateauth.events import CodeReused
from picoauth_privateauth.permissions import Rights
from picoauth_privateauth.problems import INVALID_GRANT, INVALID_REQUEST, refused
from picoauth_privateauth.profiles import Person, Profiles

PURPOSE = "privateauth code"
VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")
"""RFC 7636, section 4.1."""
# The grant may have ended since, and the user may be disabled or gone (S-6).
TOUCH = """
    update privateauth_grants set used_at = ? where user_id = ? and client_id = ?
       and exists (select 1 from users u where u.id = user_id and u.disabled_at is null and u.closed_at is null)
"""
OWNER = """
    select g.user_id, g.client_id from privateauth_families f
      join privateauth_grants g on g.id = f.grant_id where f.id = ?
"""
REVOKE = "delete from privateauth_families where id = ?"


@dataclass(frozen=True, kw_only=True)
class Code:
    """What a code is bound to, beside its user."""

    client_id: str
    redirect_uri: str
    challenge: str | None
    scopes: tuple[str, ...]
    profile: str | None
    """The user's own URL that the client gets to know, or None for the given one."""


@dataclass(frozen=True)
class Redeemed:
    """A code that was good, and whose it was."""

    secret: str
    code: Code
    person: Person
    me: str
    username: str | None


Effect = Callable[[Redeemed], Sequence[Statement]]
"""What joins the write that spends the code."""


class Codes:
    """Issues and redeems codes: they are tickets, of which only a hash is stored."""

    def __init__(
        self,
        auth: Auth,
        profiles: Profiles,
        rights: Rights,
        life: int,
    ) -> None:
        self.auth = auth
        self.profiles = profiles
        self.rights = rights
        self.life = life

    def issuing(self, code: Code, user_id: str) -> tuple[str, Statement]:
        expires_at = self.auth.now() + self.life
        return self.auth.tickets.issue(
            PURPOSE, asdict(code), expires_at=expires_at, user_id=user_id
        )

    def voiding(self, user_id: str) -> Statement:
        return self.auth.tickets.voiding(PURPOSE, user_id)

    async def redeem(self, form: Mapping[str, str], effect: Effect, caller: Caller) -> Redeemed:
        """Spend a code, with its effect, in one write. Raises AuthError.

        Its first presentation spends it, right or wrong; a second one takes back what the first
        one got.
        """
        secret = form.get("code")
        if secret is None:
            raise refused(INVALID_REQUEST, "code is missing")
        ticket = await self.auth.tickets.look(PURPOSE, secret)
        if ticket is None:
            raise await self.reused(secret, caller)
        try:
            redeemed = await self.checked(secret, ticket, form)
            statements = effect(redeemed)
        except AuthError:
            await self.spend(secret, caller)
            raise
        taking = self.auth.tickets.taking(PURPOSE, secret)
        args = (self.auth.now(), ticket.user_id, redeemed.code.client_id)
        try:
            await self.auth.database.write(taking, Statement(TOUCH, args, rows=1), *statements)
        except Conflict as conflict:
            await self.spend(secret, caller)
            raise refused(INVALID_GRANT) from conflict
        return redeemed

    async def checked(self, secret: str, ticket: Ticket, form: Mapping[str, str]) -> Redeemed:
        """Raises AuthError unless the code is this client's, for all that it was asked for."""
        code = Code(**{**ticket.data, "scopes": tuple(ticket.data["scopes"])})
        check_client(code, form)
        check_verifier(code.challenge, form.get("code_verifier"))
        person = await self.profiles.person(str(ticket.user_id))
        me = person.me(code.profile) if person else None
        if person is None or me is None:
            raise refused(INVALID_GRANT)
        if not await self.rights.admits(code.client_id, person.user.id):
            raise refused(INVALID_GRANT)
        return Redeemed(secret, code, person, me, person.username)

    async def spend(self, secret: str, caller: Caller) -> None:
        """Whoever presented it wrongly may have stolen it; then it is the thief's at least not."""
        if await self.auth.tickets.take(PURPOSE, secret) is None:
            await self.reused(secret, caller)

    async def reused(self, secret: str, caller: Caller) -> AuthError:
        """Revoke what an earlier use got, and say no more than of any other code.

        What took the code away also wrote what was got for it, so that it is there by now.
        """
        family = digest(secret)
        for user_id, client_id in await self.auth.database.read(OWNER, (family,)):
            event = CodeReused(
                at=self.auth.now(), user_id=user_id, client_id=client_id, caller=caller
            )
            await self.auth.events.commit(event, Statement(REVOKE, (family,)))
        return refused(INVALID_GRANT)


def check_client(code: Code, form: Mapping[str, str]) -> None:
    """The client in its canonical form, the redirect to the letter. Raises AuthError."""
    try:
        client_id = str(urls.client_id(form.get("client_id", "")))
    except ValueError as error:
        raise refused(INVALID_REQUEST, f"client_id {error}") from error
    if client_id != code.client_id or form.get("redirect_uri") != code.redirect_uri:
        raise refused(INVALID_GRANT)


def check_verifier(challenge: str | None, verifier: str | None) -> None:
    """A code that began with a challenge needs its verifier; one that did not bears none.

    Else whoever can strip a parameter turns one kind into the other (RFC 9700, 4.8.2).
    """
    if challenge is None and verifier is None:
        return
    if challenge is None or verifier is None or VERIFIER.fullmatch(verifier) is None:
        raise refused(INVALID_GRANT)
    from authlib.oauth2.rfc7636 import create_s256_code_challenge  # noqa: PLC0415 - for who logs in by this

    if not hmac.compare_digest(create_s256_code_challenge(verifier), challenge):
        raise refused(INVALID_GRANT)


def digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()
