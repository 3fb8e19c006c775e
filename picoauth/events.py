"""What happened: event types, the one way to commit them with their change, and their delivery."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from picoauth.database import Database, Statement

log = logging.getLogger("picoauth.events")
LONGEST = 200
"""Characters of any text in a log line."""
PATIENCE = 5.0
"""Seconds that a stopping server waits for plugins to take note."""


@dataclass(frozen=True)
class Caller:
    """Where a request came from, as far as that is known."""

    address: str | None = None
    user_agent: str | None = None
    request_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened, at a time (seconds since 1970), to a user where there was one."""

    at: int
    user_id: str | None
    caller: Caller = field(default_factory=Caller)


@dataclass(frozen=True, kw_only=True)
class UserRegistered(Event):
    """A user was made."""


@dataclass(frozen=True, kw_only=True)
class UserChanged(Event):
    """Name, locale or user name of an account changed."""

    fields: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class UserDisabled(Event):
    """A user can no longer log in; all sessions ended."""


@dataclass(frozen=True, kw_only=True)
class UserEnabled(Event):
    """A disabled user can log in again."""


@dataclass(frozen=True, kw_only=True)
class UserDeleted(Event):
    """A user and all rows of the user are gone."""


@dataclass(frozen=True, kw_only=True)
class LoginCompleted(Event):
    """A session was made from the proofs of these factors."""

    session_id: str
    factors: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class LoginFailed(Event):
    """A proof was refused. `typed` is a keyed hash of the name, where it is nobody's."""

    factor: str
    code: str
    typed: str | None = None


@dataclass(frozen=True, kw_only=True)
class SteppedUp(Event):
    """A session was proven afresh."""

    session_id: str
    factors: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class SessionEnded(Event):
    """A session was ended by its user, or by someone who may."""

    session_id: str


@dataclass(frozen=True, kw_only=True)
class SessionsEnded(Event):
    """All sessions of a user ended, but for `kept`."""

    kept: str | None


@dataclass(frozen=True, kw_only=True)
class RefreshReused(Event):
    """A spent refresh token came again: it was stolen, and its session ended (RFC 9700, 4.14)."""

    session_id: str


@dataclass(frozen=True, kw_only=True)
class CredentialChanged(Event):
    """A user's credential of a factor was replaced; other sessions ended."""

    factor: str


@dataclass(frozen=True, kw_only=True)
class FactorConfirmed(Event):
    """A factor was enrolled. `first` says that the user had no second factor before."""

    factor: str
    enrolment_id: str
    first: bool


@dataclass(frozen=True, kw_only=True)
class FactorRemoved(Event):
    """An enrolled factor was removed."""

    factor: str
    enrolment_id: str


@dataclass(frozen=True, kw_only=True)
class AccessRefused(Event):
    """A policy let someone not in. Nothing was changed, so it is told and not committed."""

    route: str
    code: str


@dataclass(frozen=True)
class Addition:
    """What a plugin adds to a write by its `record` hook; `reply` goes into the answer."""

    statements: Sequence[Statement] = ()
    reply: Any = None


Recorder = Callable[[Event], Addition | None]
Listener = Callable[[Event], Awaitable[None]]


class Events:
    """Commits changes with their events, and tells plugins afterwards."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.recorders: Mapping[str, Recorder] = {}
        self.listeners: Mapping[str, Listener] = {}
        self.deliveries: set[asyncio.Task[None]] = set()

    async def commit(self, event: Event, *statements: Statement) -> dict[str, Any]:
        """Write the statements and what `record` adds, all or nothing; answer the replies.

        Raises Conflict, its index counting in `statements`, and Unavailable.
        """
        additions = {name: recorder(event) for name, recorder in self.recorders.items()}
        added = {name: addition for name, addition in additions.items() if addition is not None}
        more = [statement for addition in added.values() for statement in addition.statements]
        if statements or more:
            await self.database.write(*statements, *more)
        self.deliver(event)
        return {n: addition.reply for n, addition in added.items() if addition.reply is not None}

    def deliver(self, event: Event) -> None:
        log.info("%s", line(event))
        if self.listeners:
            task = asyncio.create_task(self.tell(event))
            self.deliveries.add(task)
            task.add_done_callback(self.deliveries.discard)

    async def tell(self, event: Event) -> None:
        for name, listener in self.listeners.items():
            try:
                await listener(event)
            except Exception:
                log.exception("plugin %s failed on %s", name, type(event).__name__)

    async def settle(self) -> None:
        """Wait until everybody was told, for `PATIENCE` at most."""
        if self.deliveries:
            await asyncio.wait(self.deliveries, timeout=PATIENCE)


def line(event: Event) -> str:
    """One JSON line; JSON escapes what could break it, and long texts are cut."""
    when = datetime.fromtimestamp(event.at, UTC).isoformat()
    members = {"event": type(event).__name__, "time": when, **flat(asdict(event))}
    return json.dumps({name: value for name, value in members.items() if value is not None})


def flat(members: Mapping[str, Any]) -> dict[str, Any]:
    caller = members["caller"]
    rest = {name: value for name, value in members.items() if name not in ("at", "caller")}
    return {n: v[:LONGEST] if isinstance(v, str) else v for n, v in {**rest, **caller}.items()}
