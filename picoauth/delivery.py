"""Commits changes with their events, writes the log's lines, and tells plugins afterwards."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from typing import Any

from picoauth.asking import asked
from picoauth.database import Database, Statement
from picoauth.events import Addition, Event

log = logging.getLogger("picoauth.events")
LONGEST = 200
"""Characters of any text in a log line."""
PATIENCE = 5.0
"""Seconds that a plugin may take to take note."""

Recorder = Callable[[Event], Addition | None]
Listener = Callable[[Event], Awaitable[None]]


class Events:
    """Commits changes with their events, and tells plugins afterwards."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.recorders: Mapping[str, Recorder] = {}
        self.listeners: Mapping[str, Listener] = {}
        self.deliveries: set[asyncio.Task[None]] = set()

    async def commit(
        self, event: Event, *statements: Statement, also: Sequence[Event] = ()
    ) -> dict[str, Any]:
        """Write the statements and what `record` adds, all or nothing; answer the replies.

        Further events of the same write are `also` told; nothing is answered for them.
        Whatever can fail about an event does so before the write. Raises Conflict, its
        index counting in `statements`, and Unavailable.
        """
        told = [(one, line(one), self.recorded(one)) for one in (event, *also)]
        additions = [addition for _, _, added in told for addition in added.values()]
        more = [statement for addition in additions for statement in addition.statements]
        if statements or more:
            await self.database.write(*statements, *more)
        for one, text, _ in told:
            self.tell(one, text)
        added = told[0][2]
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
    """Raises TypeError for what can join no write, or a reply that no answer can carry."""
    if inspect.iscoroutine(addition):
        addition.close()  # nobody will await it
    if not all(isinstance(statement, Statement) for statement in addition.statements):
        raise TypeError("it adds what is no Statement")
    json.dumps(addition.reply)
    return addition
