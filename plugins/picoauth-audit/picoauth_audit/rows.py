"""Rows of the log: what an event leaves in the write that it is part of."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from picoauth import Auth, Caller, Event, Statement, UserDeleted, said
from picoauth_audit.chain import authentic, encoded, hashed
from picoauth_audit.events import DeletionNoticed
from picoauth_audit.shapes import AuditSettings

MINUTE = 60
KNOWN = 10_000
"""Users of whom it is remembered that they have a pseudonym."""

# Only of users who are there: after a deletion nobody is given a pseudonym again.
NAME = """
    insert into audit_names (subject, pseudonym)
    select ?, ? where not exists (select 1 from audit_names where subject = ?)
                  and exists (select 1 from users where id = ?)
        on conflict do nothing
"""
OWN = """
    insert into audit_users (pseudonym, salt, user_id)
    select pseudonym, ?, ? from audit_names where subject = ? and pseudonym = ?
"""
NAMES = """
    id, at, event, who, actor, members, traces,
    salt, address, user_agent, request_id, ids, mac
"""
ROW = """
    ?, ?, ?,
    coalesce(?, (select pseudonym from audit_names where subject = ?)),
    case when ? is null then ? else
        'user:' || coalesce((select pseudonym from audit_names where subject = ?), 'gone') end,
    ?, ?, ?, ?, ?, ?, ?, ?
"""
# Its place is the database's: in the order of the commits, whatever the clocks say.
# SQLite undoes a single row without copies of pages, which `insert … select` has it make.
APPEND = f"insert into audit_unsealed ({NAMES}) values ({ROW})"
LIMITED = f"""
    insert into audit_unsealed ({NAMES}) select {ROW}
     where (select count from audit_refusals where kind = ? and minute = ?) <= ?
"""
COUNT = """
    insert into audit_refusals (kind, minute, count) values (?, ?, ?)
        on conflict (kind, minute) do update set count = audit_refusals.count + excluded.count
"""
BLANK = "set salt = null, address = null, user_agent = null, request_id = null, ids = null"
NAMED = "(select pseudonym from audit_names where subject = ?)"
# Where somebody else acted for the user it was from another address, which stays; but ids of the
# user's sessions do not. Of rows that are not sealed there are few, and no index.
OWN_ROWS = f"who = {NAMED} and (actor is null or ids is not null)"
ACTS = f"actor = 'user:' || {NAMED}"
ERASE = (
    f"update audit {BLANK} where seq is not null and {OWN_ROWS}",
    f"update audit {BLANK} where seq is not null and {ACTS}",
    f"update audit_unsealed {BLANK} where {OWN_ROWS}",
    f"update audit_unsealed {BLANK} where {ACTS}",
)
LOOK = "select 1 from audit_names where subject = ?"
FORGET = "delete from audit_names where subject = ?"


@dataclass(frozen=True)
class Pseudonym:
    """A name for a user that leads to nobody once its salt is gone."""

    text: str
    salt: bytes

    @classmethod
    def of(cls, user_id: str, salt: bytes) -> Pseudonym:
        return cls(hashlib.sha256(salt + user_id.encode()).hexdigest()[:32], salt)


class Rows:
    """Makes the statements. They read nothing first, so that writes stay parallel."""

    def __init__(self, auth: Auth, settings: AuditSettings) -> None:
        self.auth = auth
        self.settings = settings
        self.keys = list(auth.secrets.derive("audit row").values())
        """Newest first. Without one of them nobody adds a row that would be sealed."""

        self.known: set[bytes] = set()
        """Users who have a pseudonym, and so need none: they keep it for as long as they exist."""
        self.fresh: set[bytes] = set()

    def appending(self, event: Event) -> list[Statement]:
        """What puts an event into the log, and its users under pseudonyms."""
        people = {event.user_id, acting(event.caller)} - {None}
        naming = [one for user_id in sorted(map(str, people)) for one in self.naming(user_id)]
        return [*naming, *self.row(event), *self.forgetting(event)]

    def naming(self, user_id: str) -> list[Statement]:
        named = subject(user_id)
        if named in self.known:
            return []
        if len(self.fresh) < KNOWN:
            self.fresh.add(named)
        new = Pseudonym.of(user_id, self.auth.secrets.random(16))
        return [
            Statement(NAME, (named, new.text, named, user_id)),
            Statement(OWN, (new.salt, user_id, named, new.text)),
        ]

    async def learn(self) -> None:
        """Who got a pseudonym in a write that was committed needs no statement for it again."""
        while self.fresh:
            named = self.fresh.pop()
            if await self.auth.database.read(LOOK, (named,)):
                if len(self.known) >= KNOWN:
                    self.known.clear()
                self.known.add(named)

    def row(self, event: Event) -> list[Statement]:
        args = self.values(event)
        if event.changes:
            return [Statement(APPEND, args, rows=1)]
        limited = Statement(LIMITED, (*args, *counted(event), self.settings.refusals))
        return [self.counting(event, 1), limited]

    def counting(self, event: Event, more: int) -> Statement:
        """So many more refusals of the kind and the minute of this one."""
        return Statement(COUNT, (*counted(event), more))

    def values(self, event: Event) -> tuple[Any, ...]:
        """The arguments of `APPEND`."""
        own, ids = members(event)
        actor, row_id, kind = (
            acting(event.caller),
            self.auth.secrets.random(12).hex(),
            type(event).__name__,
        )
        words, traces = encoded(own), self.traces(event, ids)
        body = authentic(row_id, event.at, kind, words, traces[0])
        return (
            row_id,
            event.at,
            kind,
            event.pseudonym if isinstance(event, DeletionNoticed) else None,
            None if event.user_id is None else subject(event.user_id),
            actor,
            said(event.caller)["actor"],
            None if actor is None else subject(actor),
            words,
            *traces,
            hmac.digest(self.keys[0], body, "sha256"),
        )

    def traces(self, event: Event, ids: Mapping[str, Any]) -> tuple[Any, ...]:
        """Their hash, its salt, and themselves. Who is just deleted leaves none."""
        caller = said(event.caller)
        leaves = isinstance(event, UserDeleted) and caller["actor"] is None
        origin = (caller[name] for name in ("address", "user_agent", "request_id"))
        found = (*origin, encoded(ids) if ids else None)
        if leaves or not self.settings.traces or not any(found):
            return (None,) * 6
        salt = self.auth.secrets.random(16)
        return (hashed(salt, *found), salt, *found)

    def forgetting(self, event: Event) -> list[Statement]:
        """With a user goes who the rows are of, and what would lead there."""
        if not isinstance(event, UserDeleted) or event.user_id is None:
            return []
        return self.erasing(subject(event.user_id))

    def erasing(self, named: bytes) -> list[Statement]:
        """What takes the traces of a user, and then the way from the id to the pseudonym."""
        return [*(Statement(sql, (named,)) for sql in ERASE), Statement(FORGET, (named,))]


def counted(event: Event) -> tuple[str, int]:
    """Under which kind and minute a refusal is counted: nobody's crowd out no user's."""
    whose = "nobody" if event.user_id is None else "users"
    return f"{type(event).__name__} of {whose}", event.at // MINUTE * MINUTE


def subject(user_id: str) -> bytes:
    """An id has so much chance in it that nobody finds it by its hash."""
    return hashlib.sha256(f"audit {user_id}".encode()).digest()


def acting(caller: Caller) -> str | None:
    """The id of the user who acts for another one."""
    kind, _, user_id = (caller.actor or "").partition(":")
    return user_id if kind == "user" else None


def members(event: Event) -> tuple[dict[str, Any], dict[str, Any]]:
    """What an event says, but for what is for plugins alone; and ids that lead to its user."""
    own = {name: value for name, value in said(event).items() if name != "user_id"}
    ids = [n for n in own if event.user_id and (n.endswith("_id") or n == "kept")]
    return own, {n: own.pop(n) for n in ids}
