"""What every command needs: the settings file, an `Auth` made from it, and a way to run."""

from __future__ import annotations

import asyncio
import os
import shlex
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import click

from picoauth.auth import Auth
from picoauth.config import FILE, load
from picoauth.settings import Config

T = TypeVar("T")

VARIABLE = "PICOAUTH_CONFIG"
"""The environment variable that names the settings file."""


def settings_path(ctx: click.Context) -> Path:
    """A lone `--help` comes before the options are read: then the path is the default."""
    path: Path | None = ctx.find_root().params.get("path")
    return path or Path(os.environ.get(VARIABLE) or FILE)


def command(ctx: click.Context, *words: str) -> str:
    """A command to paste: it names the settings file where that is not the usual one."""
    path = settings_path(ctx)
    option = [] if path == FILE else ["--config", str(path)]
    return shlex.join(["picoauth", *option, *words])


def configuration(ctx: click.Context) -> Config:
    return load(settings_path(ctx))


def auth_of(ctx: click.Context) -> Auth:
    """One `Auth` per run, since it holds the database open. Raises ConfigError."""
    root = ctx.find_root()
    if root.obj is None:
        auth = root.obj = Auth(configuration(ctx))
        root.call_on_close(lambda: asyncio.run(auth.database.close()))
    found: Auth = root.obj
    return found


def run(ctx: click.Context, work: Callable[[Auth], Awaitable[T]]) -> T:
    """Do something with a started `Auth`. Raises ConfigError."""
    auth = auth_of(ctx)

    async def whole() -> T:
        async with auth.started():
            return await work(auth)

    return asyncio.run(whole())
