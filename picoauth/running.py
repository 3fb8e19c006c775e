"""What every command needs: the settings file, an `Auth` made from it, and a way to run."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

import click

from picoauth.auth import Auth
from picoauth.config import FILE, load
from picoauth.database import Args, Database, Row, Statement
from picoauth.errors import ConfigError, Unavailable
from picoauth.settings import Config
from picoauth.users import User

T = TypeVar("T")

NAME = "picoauth"
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
    return shlex.join([program(), *option, *words])


def program() -> str:
    """This program as it was typed; its name alone where a shell finds the same by that.

    Another program that runs commands, such as a test, stands for the installed one.
    """
    typed = Path(sys.argv[0])
    found = shutil.which(NAME)
    same = found is not None and Path(found).resolve() == typed.resolve()
    return NAME if same or typed.name != NAME else sys.argv[0]


def configuration(ctx: click.Context) -> Config:
    return load(settings_path(ctx))


class Unopened(Auth):
    """For commands about a database that cannot, or may not, be opened."""

    def engine(self) -> Database:
        return Nothing()


class Nothing:
    """No database at all."""

    async def read(self, sql: str, args: Args = (), *, slow: bool = False) -> list[Row]:  # noqa: ARG002
        raise Unavailable("the database is not open")

    async def write(self, *_: Statement) -> list[list[Row]]:
        raise Unavailable("the database is not open")

    async def close(self) -> None:
        pass


def auth_of(ctx: click.Context, kind: type[Auth] = Auth) -> Auth:
    """One `Auth` per run, since it holds the database open. Raises ConfigError."""
    root = ctx.find_root()
    if root.obj is None:
        auth = root.obj = kind(configuration(ctx))
        root.call_on_close(lambda: asyncio.run(auth.database.close()))
    found: Auth = root.obj
    return found


def run(ctx: click.Context, work: Callable[[Auth], Awaitable[T]]) -> T:
    """Do something with a started `Auth`. Raises ConfigError."""
    auth = auth_of(ctx)
    return run_started(auth, lambda: work(auth))


def run_started(auth: Auth, work: Callable[[], Awaitable[T]]) -> T:
    """Do something while this `Auth` is started, in a loop of its own. Raises ConfigError.

    What `work` raises, AuthError, Conflict and Unavailable too, gets its words from whoever runs
    the command.
    """

    async def whole() -> T:
        return await work()

    with started(auth) as runner:
        return runner.run(whole())


@contextmanager
def started(auth: Auth) -> Iterator[asyncio.Runner]:
    """While this `Auth` is started, run one thing and another, and ask in between.

    Within a run a question would outlast Ctrl-C, which only cancels what waits there.
    Raises ConfigError.
    """
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        runner.run(stack.enter_async_context(auth.started()))
        try:
            yield runner
        finally:
            runner.run(stack.aclose())


async def user_of(auth: Auth, text: str) -> User:
    """By id, user name or verified e-mail address. Raises ConfigError.

    In this order: somebody may have taken the id of another one as a name.
    """
    user = await auth.users.get(text) or await auth.users.named(text)
    if user is None:
        raise ConfigError(f"There is no user {text!r}: `picoauth users list` shows all.")
    return user
