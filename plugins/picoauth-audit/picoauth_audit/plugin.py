"""The plugin: its part of every write, its job, its check, its commands and its route."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, ClassVar

from picoauth import (
    AccessRefused,
    Addition,
    Auth,
    Check,
    Event,
    Job,
    Plugin,
    Route,
    Unavailable,
    User,
    device,
    hookimpl,
)
from picoauth_audit.chain import Broken
from picoauth_audit.keeping import Keeper
from picoauth_audit.notices import Notices
from picoauth_audit.reading import Reader
from picoauth_audit.routes import Routes
from picoauth_audit.rows import Rows
from picoauth_audit.sealer import LAG, Sealer
from picoauth_audit.shapes import AuditSettings
from picoauth_audit.tables import MIGRATIONS
from picoauth_audit.verifying import Verifier

if TYPE_CHECKING:
    import click

HOUR = 3600


class AuditPlugin(Plugin[AuditSettings]):
    """Every event is a row, in the write of its change; and users are told of some by mail."""

    hears: ClassVar[type[Event]] = AccessRefused

    def __init__(self, auth: Auth, name: str, settings: AuditSettings) -> None:
        super().__init__(auth, name, settings)
        self.rows = Rows(auth, settings)
        self.sealer = Sealer(auth, settings, self.rows)
        self.verifier = Verifier(auth, self.sealer.heads)
        self.reader = Reader(auth, self.sealer)
        self.notices = Notices(auth, self, settings)
        self.keeper = Keeper(auth, self.rows, self.sealer, self.notices)

    @hookimpl
    def migrations(self) -> Sequence[str]:
        return MIGRATIONS

    @hookimpl
    def record(self, event: Event) -> Addition:
        """The row; where it cannot be written, nothing is (L-3)."""
        return Addition([*self.rows.appending(event), *self.notices.noting(event)])

    @hookimpl
    async def on(self, event: Event) -> None:
        self.keeper.heard(event)

    @hookimpl
    def lifespan(self) -> AbstractAsyncContextManager[None]:
        return self.running()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        await asyncio.to_thread(device, "Mozilla/5.0")  # which loads what knows browsers
        async with self.keeper.running():
            yield
        with suppress(Broken, Unavailable):
            self.sealer.say(await self.sealer.settle())

    @hookimpl
    def jobs(self) -> Sequence[Job]:
        return [Job("audit", HOUR, self.clean, purges=True)]

    async def clean(self) -> None:
        with suppress(Broken):  # which every round says already
            await self.sealer.clean()

    @hookimpl
    def checks(self) -> Sequence[Check]:
        return [Check("audit", self.check, level="danger", vital=False)]

    async def check(self) -> str | None:
        """What everybody may read, and so without where and what."""
        try:
            await self.sealer.heads.look()
            lag = await self.sealer.lag()
        except Broken:
            return "The audit log is not what was written: see `picoauth audit verify`."
        except Unavailable:  # which the check of the database says
            return None
        if lag <= LAG:
            return None
        return f"Rows of the audit log wait to be sealed, for {lag // 60} minutes: see the log."

    @hookimpl
    def routes(self) -> Sequence[Route]:
        """For administrators, where there is a plugin that lets them in."""
        guarded = any("admin" in guards for _, guards in self.auth.plugins.collect("guards"))
        return Routes(self.reader).all() if guarded else []

    @hookimpl
    def commands(self) -> Sequence[click.Command]:
        from picoauth_audit.commands import commands  # noqa: PLC0415 - serving needs none

        return commands(self)

    @hookimpl
    async def export(self, user: User) -> Mapping[str, Any]:
        return {"entries": await self.reader.of_user(user.id)}
