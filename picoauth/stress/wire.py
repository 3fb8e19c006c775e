"""A cheap HTTP/1.1 client for the load, which shares its machine with the server."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import urlsplit

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
PATIENCE = 30.0
"""Seconds after which an answer that does not come is an error."""
LARGEST = 2**22
FAILURES = (OSError, EOFError, asyncio.LimitOverrunError, ValueError)
"""What may come of a request instead of an answer; TimeoutError is an OSError."""


class Answer(NamedTuple):
    """`status` is 0 where there was no answer."""

    status: int
    body: bytes = b""

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Wire:
    """Keep-alive connections to `unix:/path` or `http://host:port`, as many as are in use."""

    address: str
    idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = field(default_factory=list)

    async def ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        token: str | None = None,
        client: str | None = None,
    ) -> Answer:
        """`client` is the address that a proxy would tell of."""
        content = b"" if body is None else json.dumps(body).encode()
        lines = [f"{method} {path} HTTP/1.1", "host: localhost", f"content-length: {len(content)}"]
        lines += ["content-type: application/json"] if content else []
        lines += [f"authorization: Bearer {token}"] if token else []
        lines += [f"x-forwarded-for: {client}"] if client else []
        try:
            async with asyncio.timeout(PATIENCE), self.connection() as (reader, writer):
                writer.write("\r\n".join([*lines, "", ""]).encode() + content)
                return await answered(reader)
        except FAILURES:
            return Answer(0)

    @asynccontextmanager
    async def connection(
        self,
    ) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        pair = self.idle.pop() if self.idle else await self.opened()
        try:
            yield pair
        except BaseException:
            pair[1].transport.abort()
            raise
        self.idle.append(pair)

    async def opened(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self.address.startswith("unix:"):
            return await asyncio.open_unix_connection(self.address[5:], limit=LARGEST)
        parts = urlsplit(self.address)
        return await asyncio.open_connection(parts.hostname, parts.port or 80, limit=LARGEST)

    def close(self) -> None:
        for _, writer in self.idle:
            writer.close()
        self.idle.clear()


async def answered(reader: asyncio.StreamReader) -> Answer:
    head = await reader.readuntil(b"\r\n\r\n")
    length = LENGTH.search(head)
    body = await reader.readexactly(int(length[1])) if length else b""
    return Answer(int(head[9:12]), body)
