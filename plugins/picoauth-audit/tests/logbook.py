"""The log of a test server, and what is done to it."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from picoauth import Guard, NoSettings, Plugin, Request, Statement, hookimpl
from picoauth.testing import MailPlugin, Server
from picoauth_audit import AuditPlugin
from picoauth_audit.chain import Broken
from picoauth_audit.reading import Filter
from picoauth_audit.verifying import Verified
from tests.factors import PLUGINS

SETTINGS = """
plugins = ["pin", "code", "key", "captured-mail", "audit"]
public_url = "https://auth.example.org"
"""


class AdminPlugin(Plugin[NoSettings]):
    """Stands for the plugin of administrators: whoever has the word is one."""

    @hookimpl
    def guards(self) -> Mapping[str, Guard]:
        return {"admin": self.admitted}

    async def admitted(self, request: Request) -> str | None:
        return "admin" if request.headers.get("authorization") == "Bearer admin" else None


KINDS: Mapping[str, type[Plugin[Any]]] = {
    **PLUGINS,
    "captured-mail": MailPlugin,
    "boss": AdminPlugin,
}
Entry = Mapping[str, Any]


@dataclass
class Log:
    """Reads the log as administrators do, and the file as a thief would."""

    server: Server

    @property
    def plugin(self) -> AuditPlugin:
        return self.server.auth.plugin(AuditPlugin)

    async def entries(self, **wanted: Any) -> Sequence[Entry]:
        """What is asked for, oldest first, once everything is sealed."""
        await self.server.auth.events.settle()
        await self.plugin.keeper.round()
        found, _ = await self.plugin.reader.page(Filter(**wanted), 10_000)
        return list(reversed(found))

    async def names(self, **wanted: Any) -> list[str]:
        return [one["event"] for one in await self.entries(**wanted)]

    async def verify(self, anchors: Mapping[int, str] | None = None) -> Verified:
        await self.plugin.keeper.round()
        return await self.plugin.verifier.verify(anchors)

    async def broken(self, anchors: Mapping[int, str] | None = None) -> str:
        """What is wrong; AssertionError where nothing is."""
        try:
            await self.plugin.verifier.verify(anchors)
        except Broken as error:
            return str(error)
        raise AssertionError("the log is whole")

    async def write(self, sql: str, *args: Any) -> None:
        await self.server.auth.database.write(Statement(sql, args))

    async def read(self, sql: str, *args: Any) -> list[tuple[Any, ...]]:
        return await self.server.auth.database.read(sql, args)

    def tamper(self, sql: str, *args: Any) -> None:
        """Past the server, as somebody who can write the file."""
        with closing(sqlite3.connect(self.server.folder / "picoauth.db", timeout=20)) as file:
            file.execute(sql, args)
            file.commit()
