"""A connection of libsql-client, mended where it does not say what happened.

Imported with the first connection: what it needs takes a third of a second.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
from libsql_client import LibsqlError
from libsql_client.hrana.conn import HranaConn

MOST = 64 * 2**20
"""Bytes of the longest answer; aiohttp's own limit is below that of the server."""
REFUSED = (401, 403)


class Connection(HranaConn):  # type: ignore[misc] # which libsql-client left without types
    """One WebSocket with streams on it. A stream is one connection to the database."""

    def __init__(self, session: Any, url: str, token: str | None, patience: float) -> None:
        self.patience = patience
        self.idle: list[Any] = []
        super().__init__(session, url, token)

    async def _do_connect(self, session: Any, url: str) -> Any:
        """As the library does, but noticing a server that is gone without a word."""
        return await session.ws_connect(
            url,
            protocols=["hrana2"],
            autoclose=False,
            heartbeat=self.patience,
            max_msg_size=MOST,
        )

    def _receive(self, text: str) -> None:
        """What is wrong with an answer is why the connection ends, not that it ended."""
        try:
            super()._receive(text)
        except BaseException as error:
            self._set_exception(error)
            raise

    @property
    def usable(self) -> bool:
        return self.exception is None

    @property
    def established(self) -> bool:
        return bool(self._finished_handshake.is_set())

    async def ask(self, request: Callable[[Any], asyncio.Future[Any]]) -> Any:
        """The answer to one request on a stream of its own.

        A caller that gives up leaves the request to the server, which does all of it or nothing,
        and the stream to no other caller.
        """
        stream = self.idle.pop() if self.idle else self.open_stream()
        try:
            answer = request(stream)
            answer.add_done_callback(seen)
            await asyncio.wait([answer])
            result = answer.result()
        except BaseException:
            stream.close()
            raise
        self.idle.append(stream)
        return result


def seen(answer: asyncio.Future[Any]) -> None:
    """Nobody may be waiting any more for what went wrong."""
    if not answer.cancelled():
        answer.exception()


def session(ca_file: Path | None, patience: float) -> aiohttp.ClientSession:
    """What connections are made by. Raises OSError, ssl.SSLError for a file that is none."""
    context = ssl.create_default_context(cafile=ca_file)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=context),
        timeout=aiohttp.ClientTimeout(total=patience),
    )


def untrusted(error: BaseException) -> bool:
    """Whether the server's certificate is of nobody we know, is over, or is another one's."""
    return isinstance(error, aiohttp.ClientConnectorCertificateError)


def refusal(error: BaseException) -> str | None:
    """How the server names what is wrong with the token, if that is what it says."""
    if isinstance(error, aiohttp.WSServerHandshakeError) and error.status in REFUSED:
        return f"HTTP {error.status}"
    code = error.code if isinstance(error, LibsqlError) else ""
    return code if code.startswith("AUTH_") else None
