"""What happened: event types, the one way to commit them with their change, and their delivery."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

from picoauth.asking import asked
from picoauth.database import Database, Statement

log = logging.getLogger("picoauth.events")
LONGEST = 200
"""Characters of any text in a log line."""
PATIENCE = 5.0
"""Seconds that a plugin may take to take note."""


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
class SessionDerived(Event):
    """A session of the same login was made, which ends with its parent."""

    session_id: str
    parent_id: str


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

        Whatever can fail about the event does so before the write. Raises Conflict, its
        index counting in `statements`, and Unavailable.
        """
        text, added = line(event), self.recorded(event)
        more = [statement for addition in added.values() for statement in addition.statements]
        if statements or more:
            await self.database.write(*statements, *more)
        self.tell(event, text)
        return {n: addition.reply for n, addition in added.items() if addition.reply is not None}

    def recorded(self, event: Event) -> dict[str, Addition]:
        """What plugins add to the write; one that fails undoes it, since it may be an audit."""
        added = {}
        for name, recorder in self.recorders.items():
            try:
                addition = recorder(event)
                if addition is not None:
                    added[name] = checked(addition)
            except Exception as error:
                raise RuntimeError(f"plugin {name} failed in record") from error
        return added

    def deliver(self, event: Event) -> None:
        """Tell what happened where nothing was written."""
        self.tell(event, line(event))

    def tell(self, event: Event, text: str) -> None:
        log.info("%s", text)
        for name, listener in self.listeners.items():
            task = asyncio.create_task(self.ask(name, listener, event))
            self.deliveries.add(task)
            task.add_done_callback(self.deliveries.discard)

    async def ask(self, name: str, listener: Listener, event: Event) -> None:
        """Let one plugin take note; however it fails, nobody else is held up."""
        try:
            await asked(partial(listener, event), {}, PATIENCE)
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
    return {name: short(value) for name, value in {**rest, **caller}.items()}


def short(value: Any) -> Any:
    if isinstance(value, str):
        return value[:LONGEST]
    return [short(item) for item in value] if isinstance(value, list | tuple) else value


def by_event(functions: Iterable[tuple[str, Callable[..., Any]]]) -> dict[str, Any]:
    """What plugins implement, which is called by names, as functions of an event."""

    def of(function: Callable[..., Any]) -> Callable[[Event], Any]:
        return lambda event: function(event=event)

    return {name: of(function) for name, function in functions}


def checked(addition: Addition) -> Addition:
    """Raises TypeError for a reply that no answer can carry."""
    json.dumps(addition.reply)
    return addition
