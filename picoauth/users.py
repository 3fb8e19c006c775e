"""Users, their enrolments, and the one way to make a user."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from picoauth.database import Database, Statement
from picoauth.delivery import Events
from picoauth.errors import AuthError, Conflict
from picoauth.events import Caller, UserRegistered
from picoauth.identifiers import Identifier, canonical, identifier
from picoauth.problems import IDENTIFIER_TAKEN, NOT_FOUND, USERNAME_TAKEN
from picoauth.secrets import Secrets

COLUMNS = "u.id, u.name, u.locale, u.created_at, u.disabled_at, u.epoch, u.last_login_at"


@dataclass(frozen=True)
class User:
    """Someone who can log in. Times are seconds since 1970."""

    id: str
    name: str
    locale: str | None
    created_at: int
    disabled_at: int | None
    epoch: int
    last_login_at: int | None


@dataclass(frozen=True)
class Enrolment:
    """A factor that a user has; the credential is a row of the plugin that refers to it."""

    id: str
    user_id: str
    factor: str
    label: str | None = None
    confirmed_at: int | None = None
    last_used_at: int | None = None


@dataclass(frozen=True)
class Draft:
    """A user who is about to be made."""

    user_id: str
    identifiers: Sequence[Identifier]
    name: str
    locale: str | None = None


Checks = Callable[[Draft], Awaitable[None]]


class Users:
    """Finds users, and makes them."""

    def __init__(
        self,
        events: Events,
        secrets: Secrets,
        now: Callable[[], int],
        check_registration: Checks,
    ) -> None:
        self.database: Database = events.database
        self.events = events
        self.secrets = secrets
        self.now = now
        self.check_registration = check_registration

    async def get(self, user_id: str) -> User | None:
        rows = await self.database.read(f"select {COLUMNS} from users u where u.id = ?", (user_id,))
        return User(*rows[0]) if rows else None

    async def require(self, user_id: str) -> User:
        """Raises AuthError (404) where there is no such user."""
        user = await self.get(user_id)
        if user is None:
            raise AuthError(NOT_FOUND)
        return user

    async def find(self, kind: str, text: str) -> User | None:
        """Find by a verified identifier; a text that cannot be one finds nobody."""
        try:
            value = canonical(kind, text)
        except AuthError:
            return None
        sql = f"""
            select {COLUMNS} from identifiers i join users u on u.id = i.user_id
             where i.kind = ? and i.value = ? and i.verified_at is not null
        """
        rows = await self.database.read(sql, (kind, value))
        return User(*rows[0]) if rows else None

    async def identifiers(self, user_id: str) -> list[Identifier]:
        sql = "select kind, value, display, verified_at from identifiers where user_id = ? order by kind, value"
        rows = await self.database.read(sql, (user_id,))
        return [
            Identifier(kind, value, display, at is not None) for kind, value, display, at in rows
        ]

    async def username(self, user_id: str) -> str | None:
        found = await self.identifiers(user_id)
        return next((i.display for i in found if i.kind == "username"), None)

    async def enrolments(self, user_id: str) -> list[Enrolment]:
        sql = """
            select id, user_id, factor, label, confirmed_at, last_used_at
              from enrolments where user_id = ? order by id
        """
        return [Enrolment(*row) for row in await self.database.read(sql, (user_id,))]

    def draft(
        self, *, username: str | None = None, name: str | None = None, locale: str | None = None
    ) -> Draft:
        """Begin to make a user. Raises AuthError for what cannot be a user name."""
        named = [identifier("username", username, verified=True)] if username is not None else []
        return Draft(self.new_id(), named, name or username or "", locale)

    def enrolment(self, user_id: str, factor: str, label: str | None = None) -> Enrolment:
        """A confirmed enrolment of a factor, not written yet."""
        return Enrolment(self.new_id(), user_id, factor, label, self.now())

    async def register(
        self,
        draft: Draft,
        statements: Sequence[Statement] = (),
        *,
        enrolments: Sequence[Enrolment] = (),
        caller: Caller | None = None,
    ) -> tuple[User, dict[str, Any]]:
        """Make the user; the only place where users are made. Also answers the `record` replies.

        Raises AuthError for a taken name, Denied by a plugin, Conflict for `statements`.
        """
        await self.check_registration(draft)
        now = self.now()
        event = UserRegistered(
            at=now,
            user_id=draft.user_id,
            factors=tuple(enrolment.factor for enrolment in enrolments),
            identifiers=draft.identifiers,
            locale=draft.locale,
            caller=caller or Caller(),
        )
        making = [
            self.making(draft, now),
            *(self.naming(draft.user_id, identifier, now) for identifier in draft.identifiers),
        ]
        enrolling = [self.enrolling(enrolment) for enrolment in enrolments]
        try:
            replies = await self.events.commit(event, *making, *enrolling, *statements)
        except Conflict as conflict:
            raise taken(draft, conflict) from conflict
        return User(draft.user_id, draft.name, draft.locale, now, None, 0, None), replies

    def making(self, draft: Draft, now: int) -> Statement:
        sql = "insert into users (id, name, locale, created_at, epoch) values (?, ?, ?, ?, 0)"
        return Statement(sql, (draft.user_id, draft.name, draft.locale, now), rows=1)

    def naming(self, user_id: str, identifier: Identifier, now: int) -> Statement:
        """Give a user an identifier: one that was retired with its owner belongs to nobody again."""
        retired = self.retired(identifier)
        sql = f"""
            insert into identifiers (user_id, kind, value, display, verified_at)
            select ?, ?, ?, ?, ? where not exists
                (select 1 from retired_names where hash in ({", ".join("?" * len(retired))}))
        """
        verified_at = now if identifier.verified else None
        args = (user_id, identifier.kind, identifier.value, identifier.display, verified_at)
        return Statement(sql, (*args, *retired), rows=1)

    def retired(self, identifier: Identifier) -> list[bytes]:
        """Keyed hashes under which the name may stand in `retired_names`, newest secret first."""
        return self.secrets.digests("retired name", f"{identifier.kind} {identifier.value}")

    def retiring(self, identifier: Identifier) -> Statement:
        sql = "insert into retired_names (hash, retired_at) values (?, ?) on conflict do nothing"
        return Statement(sql, (self.retired(identifier)[0], self.now()))

    def enrolling(self, enrolment: Enrolment) -> Statement:
        sql = "insert into enrolments (id, user_id, factor, label, confirmed_at) values (?, ?, ?, ?, ?)"
        e = enrolment
        return Statement(sql, (e.id, e.user_id, e.factor, e.label, e.confirmed_at), rows=1)

    def new_id(self) -> str:
        """An opaque id that sorts by the second it was made in, for short indexes and cursors."""
        raw = self.now().to_bytes(5, "big") + self.secrets.random(15)
        return base64.b32hexencode(raw).decode().lower()


def taken(draft: Draft, conflict: Conflict) -> Exception:
    """Word a conflict: the first statement makes the user, those that follow name it."""
    if not 1 <= conflict.index <= len(draft.identifiers):
        return conflict
    kind = draft.identifiers[conflict.index - 1].kind
    return AuthError(USERNAME_TAKEN if kind == "username" else IDENTIFIER_TAKEN)
