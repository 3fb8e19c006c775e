"""What tests need for programs that others wrote: servers over real sockets, and their own packages."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal
from venv import EnvBuilder

import pytest
import uvicorn
from hypercorn.asyncio import serve
from hypercorn.config import Config as Hypercorn

from tests.processes import PATIENCE, free_port
from tests.wire import SOON, until


@asynccontextmanager
async def listening(
    app: Callable[..., Any], pem: Path | None = None, port: int | None = None
) -> AsyncIterator[str]:
    """An application on loopback, by https where there is a certificate; host and port."""
    config, over, place = Hypercorn(), asyncio.Event(), f"127.0.0.1:{port or free_port()}"
    config.bind, config.loglevel = [place], "ERROR"
    config.certfile = config.keyfile = None if pem is None else str(pem)
    running = asyncio.create_task(serve(app, config, shutdown_trigger=over.wait))  # type: ignore[arg-type]
    await opened(place)
    try:
        yield place
    finally:
        over.set()
        await running


async def opened(place: str) -> None:
    """Wait until somebody listens there."""
    host, _, port = place.partition(":")
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                _, writer = await asyncio.open_connection(host, int(port))
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return


def apart(pins: Path, name: str) -> str:
    """The Python of an environment that has what is pinned and nothing else, made once.

    The test is skipped where nothing can be installed.
    """
    folder = Path(sys.prefix) / name
    done, python = folder / pins.name, folder / "bin" / "python"
    if not done.exists() or done.read_text("utf-8") != pins.read_text("utf-8"):
        EnvBuilder(with_pip=True, clear=True).create(folder)
        install = [str(python), "-m", "pip", "install", "--quiet", "--requirement", str(pins)]
        installed = subprocess.run(install, capture_output=True, text=True, check=False)
        if installed.returncode != 0:
            pytest.skip(f"{pins} cannot be installed: {installed.stderr[-200:]}")
        done.write_text(pins.read_text("utf-8"), encoding="utf-8")
    return str(python)


@asynccontextmanager
async def under_uvicorn(app: Any, lifespan: Literal["on", "off"]) -> AsyncIterator[str]:
    """Serve by uvicorn on a free port, stopped in its own way."""
    config = uvicorn.Config(app, lifespan=lifespan, log_config=None, http="h11", ws="wsproto")
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as sock:
        task = asyncio.create_task(server.serve(sockets=[sock]))
        await until(lambda: server.started or task.done())
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"
        server.should_exit = True
        async with asyncio.timeout(SOON):
            await task
