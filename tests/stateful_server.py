"""A server for the stateful test: what it runs with, what is heard of it, and how it is held up."""

from __future__ import annotations

import asyncio
import atexit
import base64
import json
import logging
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Self

from picoauth import Statement
from picoauth.testing import Ceremony, Server, serving
from tests.asgi import Answer, Lines
from tests.stateful_factors import CEREMONIES, PLUGINS
from tests.stateful_model import (
    Session,
    Trait,
)

SETTINGS = """
plugins = ["password", "code", "spare", "key", "pass", "confirming"]
[throttle]
failures = 1000000
"""
REAL = SETTINGS.replace('"code", "spare", "key", "pass"', '"totp", "recovery", "passkey"')
CHEAP = {"memory_kib": 8, "iterations": 1, "parallelism": 1}
"""Argon2's own least: what hashing costs is not what is tried here."""
LONG = 8
"""Characters from which on a text cannot be part of something else by chance."""
ORIGIN = ("Origin", "http://127.0.0.1:8100")

Action = Callable[[], Awaitable[None]]


def claims(token: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    return found


class Heard(logging.Handler):
    """Everything that a handler could write."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if not record.name.startswith(("httpx", "httpcore", "asyncio")):  # the client is no server
            self.lines.append(f"{logging.Formatter().format(record)} {record.args!r}")


@dataclass(frozen=True)
class Credential:
    """What a session shows: a token, or its cookie."""

    session: Session
    headers: Lines
    end: int | None = None
    """Of a token."""
    newest: bool = True


class Holding:
    """Lets something happen just before a session is written, or changed."""

    def __init__(self, server: Server, meanwhile: Action | None) -> None:
        self.database: Any = server.auth.database
        self.meanwhile, self.came = meanwhile, False

    def __enter__(self) -> Self:
        write = self.database.write

        async def held(*statements: Statement) -> Any:
            guarded = any("last_login_at = coalesce" in each.sql for each in statements)
            if guarded and self.meanwhile is not None and not self.came:
                self.came = True
                await self.meanwhile()
            return await write(*statements)

        if self.meanwhile is not None:
            self.database.write = held
        return self

    def __exit__(self, *_: object) -> None:
        if self.meanwhile is not None:
            del self.database.write


def cookie_of(answer: Answer) -> str:
    """The value of the cookie that an answer sets, if it sets one."""
    return answer.headers.get("set-cookie", "").partition(";")[0].partition("=")[2]


def path_of(session: Session | None) -> str:
    return "/auth/login" if session is None else "/auth/stepup"


@cache
def template(settings: str) -> Path:
    """The files of a server that nobody has used yet."""
    kept = tempfile.TemporaryDirectory()
    atexit.register(kept.cleanup)

    async def make() -> None:
        async with serving(Path(kept.name), settings, plugins=PLUGINS, ceremonies=CEREMONIES):
            pass

    asyncio.run(make())
    return Path(kept.name)


def trait(server: Server, name: str) -> Trait:
    """What a factor and its ceremony say of themselves."""
    factor, ceremony = server.auth.factors[name], server.ceremonies[name]
    return Trait(
        starts=factor.starts,
        second=factor.second,
        fallback=factor.fallback,
        completes=ceremony.completes,
        asks=type(ceremony).asks is not Ceremony.asks,
        refused=(factor.refused.status, factor.refused.code),
        sure=name in CEREMONIES,
    )
