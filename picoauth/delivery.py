"""Commits changes with their events, writes the log's lines, and tells plugins afterwards."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from picoauth.additions import Addition, Condition
from picoauth.asking import asked
from picoauth.database import Database, Row, Statement
from picoauth.errors import AuthError, Conflict
from picoauth.events import Event
from picoauth.saying import said

log = logging.getLogger("picoauth.events")
PATIENCE = 5.0
"""Seconds that a plugin may take to take note."""

Recorder = Callable[[Event], Addition | None]
Listener = Callable[[Event], Awaitable[None]]


@dataclass(frozen=True)
class Prepared:
    """An event about to be committed: its line in the log, and what plugins add to the write."""

    event: Event
    text: str
    added: Mapping[str, Addition]

    @property
    def statements(self) -> list[Statement]:
        return [each for addition in self.added.values() for each in addition.statements]

    @property
    def conditions(self) -> list[Condition]:
        return [each for addition in self.added.values() for each in addition.conditions]

    @property
    def replies(self) -> dict[str, Any]:
        return {n: one.reply for n, one in self.added.items() if one.reply is not None}


class Events:
    """Commits changes with their events, and tells plugins afterwards."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.recorders: Mapping[str, Recorder] = {}
        self.listeners: Mapping[str, Listener] = {}
        self.hears: Mapping[str, type[Event]] = {}
        """Of a listener that wants to be told of but one kind of events."""
        self.deliveries: set[asyncio.Task[None]] = set()

    async def commit(
        self, event: Event, *statements: Statement, also: Sequence[Event] = ()
    ) -> dict[str, Any]:
        """Write the statements and what `record` adds, all or nothing; answer the replies.

        Further events of the same write are `also` told; nothing is answered for them.
        Raises Conflict, its index counting in `statements`, Unavailable, and AuthError where
        a condition of a plugin does not hold.
        """
        replies, _ = await self.committed(event, *statements, also=also)
        return replies

    async def committed(
        self, event: Event, *statements: Statement, also: Sequence[Event] = ()
    ) -> tuple[dict[str, Any], list[list[Row]]]:
        """The same, and the rows of `statements`."""
        told = [self.prepared(one) for one in (event, *also)]
        conditions = [each for prepared in told for each in prepared.conditions]
        first = [condition.statement for condition in conditions]
        writes = [*statements, *(each for prepared in told for each in prepared.statements)]
        rows = list[list[Row]]()
        if first or writes:
            try:
                rows = await self.database.write(*first, *writes)
            except Conflict as conflict:
                raise worded(conflict, conditions) from conflict
        for prepared in told:
            self.tell(prepared)
        return told[0].replies, rows[len(first) :][: len(statements)]

    def prepared(self, event: Event) -> Prepared:
        """Whatever can fail about an event does so here, before the write."""
        return Prepared(event, line(event), self.recorded(event))

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
        self.tell(Prepared(event, line(event), {}))

    def tell(self, prepared: Prepared) -> None:
        """To the log and to every `on`, once the write is committed."""
        log.info("%s", prepared.text)
        for name, listener in self.listeners.items():
            if not isinstance(prepared.event, self.hears.get(name, Event)):
                continue
            task = asyncio.create_task(self.ask(name, listener, prepared.event))
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
    members = {"event": type(event).__name__, "time": when, **said(event), **said(event.caller)}
    return json.dumps({name: value for name, value in members.items() if value is not None})


def worded(conflict: Conflict, conditions: Sequence[Condition]) -> Exception:
    """What stopped a write that begins with these conditions."""
    if conflict.index < len(conditions):
        return AuthError(conditions[conflict.index].refused)
    return Conflict(conflict.index - len(conditions))


def by_event(functions: Iterable[tuple[str, Callable[..., Any]]]) -> dict[str, Any]:
    """What plugins implement, which is called by names, as functions of an event."""

    def of(function: Callable[..., Any]) -> Callable[[Event], Any]:
        return lambda event: function(event=event)

    return {name: of(function) for name, function in functions}


def checked(addition: Addition) -> Addition:
    """Raises TypeError for what can join no write, or a reply that no answer can carry."""
    if inspect.iscoroutine(addition):
        addition.close()  # nobody will await it
    if not all(isinstance(statement, Statement) for statement in addition.statements):
        raise TypeError("it adds what is no Statement")
    if not all(isinstance(condition, Condition) for condition in addition.conditions):
        raise TypeError("it adds what is no Condition")
    json.dumps(addition.reply)
    return addition
