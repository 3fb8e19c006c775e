"""Tokens of clients: opaque, stored as hashes, in families that end together."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from picoauth import Auth, Caller, Conflict, Statement
from picoauth_fetch import web as urls
from picoauth_privateauth.codes import Redeemed, digest
from picoauth_privateauth.events import ClientTokenReused
from picoauth_privateauth.permissions import Rights
from picoauth_privateauth.problems import INVALID_GRANT, INVALID_REQUEST, INVALID_SCOPE, refused
from picoauth_privateauth.profiles import Person, Profiles
from picoauth_privateauth.settings import PrivateAuthSettings

SIZE = 32
"""Random bytes of a token."""
ACCESS, REFRESH = "access", "refresh"
FAMILY = """
    insert into privateauth_families (id, grant_id, profile, scope, created_at)
    select ?, g.id, ?, ?, ? from privateauth_grants g where g.user_id = ? and g.client_id = ?
"""
INSERT = """
    insert into privateauth_tokens (hash, family_id, kind, scope, issued_at, expires_at)
    values (?, ?, ?, ?, ?, ?)
"""
FIND = """
    select t.family_id, t.kind, t.scope, t.issued_at, t.expires_at, t.spent_at,
           f.profile, f.scope, g.user_id, g.client_id
      from privateauth_tokens t
      join privateauth_families f on f.id = t.family_id
      join privateauth_grants g on g.id = f.grant_id
      join users u on u.id = g.user_id
     where t.hash = ? and t.kind = ? and t.expires_at > ? and u.disabled_at is null and u.closed_at is null
"""
SPEND = """
    update privateauth_tokens set spent_at = ?
     where hash = ? and kind = 'refresh' and spent_at is null and expires_at > ?
       and exists (select 1 from privateauth_families f
                     join privateauth_grants g on g.id = f.grant_id
                     join users u on u.id = g.user_id
                    where f.id = family_id and u.disabled_at is null and u.closed_at is null)
"""
END = "delete from privateauth_families where id = ?"
END_ALL = """
    delete from privateauth_families
     where grant_id in (select id from privateauth_grants where user_id = ?)
"""
REVOKE = """
    delete from privateauth_families
     where id in (select family_id from privateauth_tokens where hash = ?)
"""
VOID_FAMILIES = "delete from privateauth_families"
CLEAN = "delete from privateauth_tokens where expires_at < ?"
CLEAN_FAMILIES = """
    delete from privateauth_families where not exists
        (select 1 from privateauth_tokens t where t.family_id = privateauth_families.id)
"""


@dataclass(frozen=True)
class Token:
    """A token that is good, but for what its user and its client may have lost."""

    family: bytes
    kind: str
    scopes: tuple[str, ...]
    issued_at: int
    expires_at: int
    spent_at: int | None
    profile: str | None
    granted: tuple[str, ...]
    """Scopes of the family."""
    user_id: str
    client_id: str


@dataclass(frozen=True)
class Good:
    """A token, and the user whom it speaks of."""

    token: Token
    person: Person
    me: str


class ClientTokens:
    """Makes them from codes, renews them, and knows them again."""

    def __init__(
        self,
        auth: Auth,
        settings: PrivateAuthSettings,
        profiles: Profiles,
        rights: Rights,
    ) -> None:
        self.auth = auth
        self.settings = settings
        self.profiles = profiles
        self.rights = rights

    def beginning(self, redeemed: Redeemed) -> tuple[dict[str, Any], list[Statement]]:
        """A family for a code, and what its client is handed (IndieAuth, section 5.3.3)."""
        code, now, family = redeemed.code, self.auth.now(), digest(redeemed.secret)
        scope = joined(code.scopes)
        whose = (redeemed.person.user.id, code.client_id)
        making = Statement(FAMILY, (family, code.profile, scope, now, *whose), rows=1)
        answer, tokens = self.both(family, code.scopes, code.scopes)
        return answer, [making, *tokens]

    def both(
        self, family: bytes, scopes: Sequence[str], granted: Sequence[str]
    ) -> tuple[dict[str, Any], list[Statement]]:
        """An access token with these scopes, and a refresh token with all that were granted."""
        now, life = self.auth.now(), self.settings.token_life
        access, refresh = self.secret(), self.secret()
        rows = [
            (digest(access), family, ACCESS, joined(scopes), now, now + life),
            (
                digest(refresh),
                family,
                REFRESH,
                joined(granted),
                now,
                now + self.settings.refresh_life,
            ),
        ]
        answer = {
            "access_token": access,
            "token_type": "Bearer",
            "expires_in": int(life),
            "refresh_token": refresh,
            "scope": joined(scopes),
        }
        return answer, [Statement(INSERT, row, rows=1) for row in rows]

    def secret(self) -> str:
        return base64.urlsafe_b64encode(self.auth.secrets.random(SIZE)).rstrip(b"=").decode()

    async def refresh(self, form: Mapping[str, str], caller: Caller) -> tuple[dict[str, Any], Good]:
        """New tokens for a refresh token, which is spent. Raises AuthError.

        A spent one that comes again was stolen, from one of the two who have it: its whole
        family ends (RFC 9700, section 4.14.2).
        """
        secret = form.get("refresh_token")
        if secret is None:
            raise refused(INVALID_REQUEST, "refresh_token is missing")
        good = await self.good(await self.find(secret, REFRESH))
        if good is None or not is_client(form, good.token):
            raise refused(INVALID_GRANT)
        token = good.token
        if token.spent_at is not None:
            await self.stolen(token, caller)
            raise refused(INVALID_GRANT)
        scopes = narrowed(form.get("scope"), token.granted)
        answer, statements = self.both(token.family, scopes, token.granted)
        now = self.auth.now()
        spending = Statement(SPEND, (now, digest(secret), now), rows=1)
        try:
            await self.auth.database.write(spending, *statements)
        except Conflict as conflict:
            await self.lost(secret, caller)
            raise refused(INVALID_GRANT) from conflict
        return answer, good

    async def lost(self, secret: str, caller: Caller) -> None:
        """Somebody else was faster with the same token."""
        token = await self.find(secret, REFRESH)
        if token is not None and token.spent_at is not None:
            await self.stolen(token, caller)

    async def stolen(self, token: Token, caller: Caller) -> None:
        event = ClientTokenReused(
            at=self.auth.now(), user_id=token.user_id, client_id=token.client_id, caller=caller
        )
        await self.auth.events.commit(event, Statement(END, (token.family,)))

    async def find(self, secret: str, kind: str) -> Token | None:
        rows = await self.auth.database.read(FIND, (digest(secret), kind, self.auth.now()))
        if not rows:
            return None
        family, kind, scope, issued_at, expires_at, spent_at, profile, granted, *whose = rows[0]
        times = (issued_at, expires_at, spent_at)
        return Token(family, kind, split(scope), *times, profile, split(granted), *whose)

    async def good(self, token: Token | None) -> Good | None:
        """A token whose user still has the URL that it speaks of, and still gets in."""
        person = await self.profiles.person(token.user_id) if token else None
        if token is None or person is None:
            return None
        me = person.me(token.profile)
        admitted = await self.rights.admits(token.client_id, token.user_id)
        return Good(token, person, me) if me is not None and admitted else None

    async def access(self, secret: str) -> Good | None:
        return await self.good(await self.find(secret, ACCESS))

    async def either(self, secret: str) -> Good | None:
        """A good token of either kind; a refresh token that is spent is not."""
        found = await self.find(secret, ACCESS) or await self.find(secret, REFRESH)
        return await self.good(found) if found and found.spent_at is None else None

    async def revoke(self, secret: str) -> None:
        """End the family of a token. Whoever has one may give it up (RFC 7009)."""
        await self.auth.database.write(Statement(REVOKE, (digest(secret),)))

    def cleaning(self) -> list[Statement]:
        """Of what expired an hour ago."""
        return [Statement(CLEAN, (self.auth.now() - 3600,)), Statement(CLEAN_FAMILIES)]


def is_client(form: Mapping[str, str], token: Token) -> bool:
    try:
        return str(urls.client_id(form.get("client_id", ""))) == token.client_id
    except ValueError:
        return False


def narrowed(text: str | None, granted: Sequence[str]) -> Sequence[str]:
    """The scopes that are wanted, none of which was not granted (RFC 6749, section 6)."""
    wanted = granted if text is None else split(text)
    if not wanted or set(wanted) - set(granted):
        raise refused(INVALID_SCOPE)
    return wanted


def split(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text.split()))


def joined(scopes: Sequence[str]) -> str:
    return " ".join(scopes)
