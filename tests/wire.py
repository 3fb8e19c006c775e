"""Clients that speak raw bytes over real sockets, and a server for them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory

from picoauth.connections import Limits
from picoauth.listeners import Bind
from picoauth.serve import Served, serve

SOON = 30
"""Seconds after which a test fails that waits for something."""
MOMENT = 0.01
"""Seconds between two bytes of a slow client."""
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
CLOSE = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
POST = b"POST %s HTTP/1.1\r\nHost: localhost\r\n"
SLOW = Limits(keep_alive=60, header=60, body=60, write=60, linger=60, grace=60, settle=0)
"""No limit that a test reaches unless it asks for it."""


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@contextmanager
def short_folder() -> Iterator[Path]:
    """A folder with a short path, as unix sockets need."""
    with TemporaryDirectory(prefix="pa", dir="/tmp") as name:
        yield Path(name)


@asynccontextmanager
async def serving(app: Served, bind: Bind, limits: Limits = SLOW) -> AsyncIterator[Sequence[str]]:
    """Serve in the test's own process; yields the addresses."""
    up: asyncio.Future[Sequence[str]] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(app, bind, up.set_result, limits=limits))
    try:
        await asyncio.wait((up, task), return_when=asyncio.FIRST_COMPLETED)
        yield up.result()
    finally:
        task.cancel()
        await asyncio.wait([task], timeout=SOON)


@dataclass(frozen=True)
class Client:
    """One connection to a server, in raw bytes."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def tell(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self) -> tuple[int, bytes]:
        """The next answer: its status and body."""
        async with asyncio.timeout(SOON):
            head = await self.reader.readuntil(b"\r\n\r\n")
            [length] = re.findall(rb"content-length: (\d+)", head) or [b"0"]
            return int(head.split()[1]), await self.reader.readexactly(int(length))

    async def rest(self) -> bytes:
        """Everything until the server closes the connection."""
        async with asyncio.timeout(SOON):
            return await self.reader.read()

    async def trickle(self, data: bytes) -> None:
        """Send a byte now and then until the server has closed the connection."""
        with suppress(ConnectionError):
            async with asyncio.timeout(SOON):
                for byte in cycle(data):
                    self.writer.write(byte.to_bytes())
                    with suppress(TimeoutError):
                        assert b"" == await asyncio.wait_for(self.reader.read(), MOMENT)
                        return


@asynccontextmanager
async def client(address: str) -> AsyncIterator[Client]:
    if address.startswith("unix:"):
        reader, writer = await asyncio.open_unix_connection(address[5:])
    else:
        host, _, port = address.removeprefix("http://").rpartition(":")
        reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    try:
        yield Client(reader, writer)
    finally:
        writer.transport.abort()


async def until(condition: Callable[[], object]) -> None:
    """Wait for what happens soon."""
    async with asyncio.timeout(SOON):
        while not condition():  # noqa: ASYNC110 - another process, or the kernel, sets no event
            await asyncio.sleep(0.001)


async def asked(address: str, data: bytes) -> bytes:
    """All that a new connection is answered until it is closed."""
    async with client(address) as one:
        await one.tell(data)
        return await one.rest()
