"""The server under load: one of its own with an empty database, or one that says it may be loaded."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from picoauth.auth import Auth
from picoauth.config import changed
from picoauth.errors import ConfigError
from picoauth.settings import Config, Secret
from picoauth.sqlsessions import SqlSessions
from picoauth.stress.wire import Answer, Wire

START = 30.0
"""Seconds that a server may take to start."""
SAMPLES = "samples.jsonl"


@dataclass(frozen=True)
class Target:
    """A server that may be loaded. `samples` and `process` are there for one of our own."""

    wire: Wire
    samples: Path | None = None
    process: int | None = None


def own(config: Config, folder: Path) -> Config:
    """The same settings for a server of its own: an empty database, another secret, one socket.

    Each user comes from an address of her own, as through a proxy. A database elsewhere is
    the settings' own, and used where they say so by `stress`. Raises ConfigError.
    """
    elsewhere = "://" in config.database
    if elsewhere and not config.stress:
        raise ConfigError(
            "The database of these settings is elsewhere, and would be filled: write settings "
            "with one that is for nothing else, and `stress = true`."
        )
    changes: dict[str, Any] = {} if elsewhere else {"database": str(folder / "picoauth.db")}
    return changed(
        config,
        **changes,
        secret=(Secret(f"file {folder / 'picoauth.secret'}"),),
        bind=(f"unix:{folder / 's'}",),
        admin_bind=(),
        trusted_proxies=("unix",),
        socket_mode="0600",
        socket_group=None,
    )


def check_stores(auth: Auth, config: Config) -> None:
    """Raises ConfigError where sessions would go to a store that may be in use."""
    if not isinstance(auth.sessions, SqlSessions) and not config.stress:
        raise ConfigError(
            "A plugin keeps the sessions of these settings elsewhere, and they would be filled: "
            "write settings with a store that is for nothing else, and `stress = true`."
        )


@asynccontextmanager
async def served(path: Path, folder: Path, slow: Mapping[str, float]) -> AsyncIterator[Target]:
    """A process that serves the settings at `path`, with its files in `folder`.

    Raises ConfigError with what it says where it does not start.
    """
    log = folder / "log"
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "picoauth.stress.served", str(path)),
            *(str(folder), json.dumps(slow)),
            stdin=asyncio.subprocess.PIPE,  # it ends with us, however we end
            stdout=file,
            stderr=file,
        )
    wire = Wire(f"unix:{folder / 's'}")
    try:
        await started(wire, process, log)
        yield Target(wire, folder / SAMPLES, process.pid)
    finally:
        wire.close()
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        await process.wait()


async def started(wire: Wire, process: asyncio.subprocess.Process, log: Path) -> None:
    loop = asyncio.get_running_loop()
    end = loop.time() + START
    while (await wire.ask("GET", "/health-check")).status != 200:
        if process.returncode is not None or loop.time() > end:
            raise ConfigError(f"The server does not start ({last(log)}): run `picoauth doctor`.")
        await asyncio.sleep(0.05)


def last(log: Path) -> str:
    """The last line of what a server said."""
    said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return said[-1] if said else "it says nothing"


@asynccontextmanager
async def running(url: str) -> AsyncIterator[Target]:
    """A server that runs already, and says that it may be loaded. Raises ConfigError."""
    wire = Wire(checked(url))
    try:
        await permitted(wire, url)
        yield Target(wire)
    finally:
        wire.close()


def checked(url: str) -> str:
    try:
        parts = urlsplit(url)
        fine = url.startswith("unix:/") or (parts.scheme == "http" and parts.hostname)
        _ = parts.port
    except ValueError:
        fine = False
    if not fine:
        raise ConfigError(
            f"--url {url!r} is no address: write http://127.0.0.1:8100 or unix:/path."
        )
    return url


async def permitted(wire: Wire, url: str) -> None:
    """Loopback is no exception: there are servers behind it that people use."""
    answer = await wire.ask("GET", "/health-check")
    if not answer.status:
        raise ConfigError(f"No server answers at {url}: start it, or mend --url.")
    if not says_it_may(answer):
        raise ConfigError(
            f"The server at {url} does not say that it may be loaded: "
            "write `stress = true` into its settings if nobody uses it, and start it again."
        )


def says_it_may(answer: Answer) -> bool:
    with suppress(ValueError, AttributeError):
        return answer.status == 200 and answer.json().get("stress") is True
    return False


def samples(path: Path | None, began: float, ended: float) -> list[Mapping[str, float]]:
    """What the probe saw between two times of the monotonic clock."""
    if path is None:
        return []
    with path.open(encoding="utf-8") as file:
        found = [json.loads(line) for line in file if line.endswith("\n")]
    return [one for one in found if began <= one["at"] <= ended]


def cores() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
