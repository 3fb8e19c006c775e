"""The process that `picoauth stress` loads: the settings' server, watched, from which nothing leaves."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from picoauth.app import Application
from picoauth.auth import Auth
from picoauth.banner import bound, log_to_stderr
from picoauth.config import load
from picoauth.embedded import Embedded
from picoauth.http import Asgi
from picoauth.mail import Message
from picoauth.routes import Listener
from picoauth.stress.hosting import SAMPLES, check_stores, own
from picoauth.stress.probe import Probe


class Nobody:
    """Takes every mail, in so many seconds, and sends none."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    async def send(self, message: Message) -> None:  # noqa: ARG002 - it is gone
        await asyncio.sleep(self.seconds)


async def swallow(payload: bytes) -> None:
    """Takes what a plugin would send, and sends nothing."""


def kept_in(auth: Auth, seconds: float) -> None:
    """Nothing that is queued leaves the server, by whatever plugin."""
    auth.mailer = Nobody(seconds) if auth.mailer else None
    kernel = auth.mail.beside({})
    plugins: Mapping[str, Any] = auth.senders
    auth.senders = {kind: kernel.get(kind, swallow) for kind in plugins}


def offline(event: str, args: tuple[Any, ...]) -> None:
    """An audit hook: refuses to connect to another machine, so that no load reaches it.

    Raises ConnectionRefusedError.
    """
    connects = event in ("socket.connect", "socket.sendto") and isinstance(args[1], tuple)
    if connects and not is_loopback(args[1][0]):
        raise ConnectionRefusedError("a server under stress talks to nobody")


def is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def slowed(auth: Auth, slow: Mapping[str, float]) -> None:
    """Add seconds to each commit, and to each look-up, as a slower disk or network would."""
    database: Any = auth.database
    if "commits" in slow and isinstance(database, Embedded):
        group: Any = database.group_commit
        group.commit = delayed(group.commit, slow["commits"])
    elif "commits" in slow:
        database.write = awaited(database.write, slow["commits"])
    if "store" in slow:
        database.read = awaited(database.read, slow["store"])


def delayed(work: Callable[..., Any], seconds: float) -> Callable[..., Any]:
    """In the one thread that writes: those who come meanwhile wait for the next group."""

    def later(*args: Any) -> Any:
        time.sleep(seconds)
        return work(*args)

    return later


def awaited(work: Callable[..., Awaitable[Any]], seconds: float) -> Callable[..., Awaitable[Any]]:
    async def later(*args: Any, **more: Any) -> Any:
        await asyncio.sleep(seconds)
        return await work(*args, **more)

    return later


class Watched:
    """An application with a probe beside it."""

    def __init__(self, app: Application, path: Path) -> None:
        self.app, self.path = app, path

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        with self.path.open("w", encoding="utf-8") as file:
            async with self.app.running():
                watching = asyncio.create_task(Probe(self.app.auth, file).forever())
                try:
                    yield
                finally:
                    watching.cancel()
                    with suppress(asyncio.CancelledError):
                        await watching

    def on(self, listener: Listener) -> Asgi:
        return self.app.on(listener)

    def stopping(self) -> None:
        self.app.stopping()


def ending() -> None:
    """Stop when whoever started this process is gone, as the end of its input tells."""
    loop = asyncio.get_running_loop()

    def ended() -> None:
        loop.remove_reader(0)
        signal.raise_signal(signal.SIGTERM)

    loop.add_reader(0, ended)


async def serve(path: Path, folder: Path, slow: Mapping[str, float]) -> None:
    from picoauth.serve import serve as listen  # noqa: PLC0415 - hypercorn is heavy

    log_to_stderr()
    ending()
    settings = load(path)
    if not settings.stress:
        sys.addaudithook(offline)
    config = own(settings, folder)
    auth = Auth(config)
    check_stores(auth, config)
    kept_in(auth, slow.get("mail", 0))
    slowed(auth, slow)
    await listen(Watched(Application(auth), folder / SAMPLES), bound(config), lambda _: None)


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])))
