"""Users, their enrolments, and the one way to make a user."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from picoauth.callers import Caller
from picoauth.database import Database, Row, Statement
from picoauth.delivery import Events
from picoauth.drafts import Draft, Enrolment, Registration, taken
from picoauth.errors import AuthError, Conflict
from picoauth.events import UserRegistered
from picoauth.identifiers import Identifier, identifier
from picoauth.problems import NOT_FOUND
from picoauth.secrets import Secrets
from picoauth.whose import Whose

COLUMNS = """
    u.id, u.name, u.locale, u.created_at, u.disabled_at, u.epoch, u.last_login_at,
    u.closed_at, u.delete_at
"""
USER = f"select {COLUMNS} from users u where u.id = "
IDENTIFIERS = "select kind, value, display, verified_at from identifiers where user_id = "
ENROLMENTS = (
    "select id, user_id, factor, label, confirmed_at, last_used_at from enrolments where user_id = "
)
NAMING = """
    insert into identifiers (user_id, kind, value, display, verified_at) values (?, ?, ?, ?, ?)
"""
TAIL = 15
"""Bytes of an id after its time."""


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
    closed_at: int | None = None
    """When the user gave the account up, which can still be taken back."""
    delete_at: int | None = None
    """When a closed account is deleted."""

    @property
    def barred(self) -> bool:
        """Whether no session of the user may be made, or go on."""
        return self.disabled_at is not None or self.closed_at is not None


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
        return await self.who(Whose.of(user_id))

    async def who(self, whose: Whose) -> User | None:
        return user_in(await self.database.read(f"{USER}{whose.sql}", whose.args))

    async def require(self, user_id: str) -> User:
        """Raises AuthError (404) where there is no such user."""
        user = await self.get(user_id)
        if user is None:
            raise AuthError(NOT_FOUND)
        return user

    async def find(self, kind: str, text: str) -> User | None:
        """Find by a verified identifier; a text that cannot be one finds nobody."""
        return await self.who(Whose.identified(kind, text))

    async def named(self, typed: str) -> User | None:
        """Find by what people type: a user name, or a verified e-mail address."""
        return await self.who(Whose.named(typed))

    async def identifiers(self, user_id: str) -> list[Identifier]:
        rows = await self.database.read(f"{IDENTIFIERS}? order by kind, value", (user_id,))
        return [
            Identifier(kind, value, display, at is not None) for kind, value, display, at in rows
        ]

    async def username(self, user_id: str) -> str | None:
        return username_in(await self.database.read(f"{IDENTIFIERS}?", (user_id,)))

    async def enrolments(self, user_id: str) -> list[Enrolment]:
        rows = await self.database.read(f"{ENROLMENTS}? order by id", (user_id,))
        return [Enrolment(*row) for row in rows]

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
        event, writes = self.registering(Registration(draft, statements, enrolments), caller)
        try:
            replies = await self.events.commit(event, *writes)
        except Conflict as conflict:
            raise taken(draft, conflict) from conflict
        made_at = event.at if draft.created_at is None else draft.created_at
        disabled_at = event.at if draft.disabled else None
        made = User(draft.user_id, draft.name, draft.locale, made_at, disabled_at, 0, None)
        return made, replies

    def registering(
        self, one: Registration, caller: Caller | None
    ) -> tuple[UserRegistered, Sequence[Statement]]:
        """What happens, and what is written: who it is, the names, the rest."""
        draft, now = one.draft, self.now()
        event = UserRegistered(
            at=now,
            user_id=draft.user_id,
            factors=tuple(enrolment.factor for enrolment in one.enrolments),
            imported=draft.imported,
            identifiers=draft.identifiers,
            locale=draft.locale,
            caller=caller or Caller(),
        )
        naming = (self.naming(draft.user_id, identifier, now) for identifier in draft.identifiers)
        enrolling = (self.enrolling(enrolment) for enrolment in one.enrolments)
        return event, [self.making(draft, now), *naming, *enrolling, *one.statements]

    def making(self, draft: Draft, now: int) -> Statement:
        sql = """
            insert into users (id, name, locale, created_at, disabled_at, epoch)
            values (?, ?, ?, ?, ?, 0)
        """
        made_at = now if draft.created_at is None else draft.created_at
        disabled_at = now if draft.disabled else None
        args = (draft.user_id, draft.name, draft.locale, made_at, disabled_at)
        return Statement(sql, args, rows=1)

    def naming(self, user_id: str, identifier: Identifier, now: int) -> Statement:
        """Give a user an identifier: a user name that was retired belongs to nobody again."""
        verified_at = now if identifier.verified else None
        rest = (identifier.kind, identifier.value, identifier.display, verified_at)
        if identifier.kind != "username":
            return Statement(NAMING, (user_id, *rest), rows=1)
        retired = self.retired(identifier)
        # To be nobody's is a conflict. SQLite undoes a single row without copies of pages, which
        # `insert … select` has it make.
        sql = f"""
            insert into identifiers (user_id, kind, value, display, verified_at) values (
                (select ? where not exists
                    (select 1 from retired_names where hash in ({", ".join("?" * len(retired))}))),
                ?, ?, ?, ?
            )
        """
        return Statement(sql, (user_id, *retired, *rest), rows=1)

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
        return self.id_of(self.secrets.random(TAIL))

    def id_of(self, tail: bytes) -> str:
        """An id made now, with so many bytes of one's own at its end."""
        return shown(self.now().to_bytes(5, "big") + tail)


def user_in(rows: Sequence[Row]) -> User | None:
    return User(*rows[0]) if rows else None


def username_in(rows: Sequence[Row]) -> str | None:
    return next((display for kind, _, display, _ in rows if kind == "username"), None)


def shown(raw: bytes) -> str:
    """In an id, 5 bytes are 8 characters, in the order of what they stand for."""
    return base64.b32hexencode(raw).decode().lower()
