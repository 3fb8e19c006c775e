"""The engine: reads and writes of one round trip each, on a connection that comes back."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from picoauth import ConfigError, Conflict, Row, Statement, Unavailable
from picoauth_libsql.batch import Batch, Failed, Value, rows, step

if TYPE_CHECKING:
    from picoauth_libsql.connection import Connection

log = logging.getLogger("picoauth.libsql")
T = TypeVar("T")
Request = Callable[[Any], "asyncio.Future[Any]"]

RENEW = "put a new one where `token` of [libsql] points"
VOUCH = "name who vouches for it by `ca_file` of [libsql], and the host as it does"
PAUSE = 0.05
"""Seconds, at most, before what found the database locked tries again."""


class Libsql:
    """A libSQL server behind a WebSocket.

    `token` is read for each connection, so that it may change while the server runs. An operation
    has `patience` seconds; of one that took longer nobody knows whether it was done. `streams`
    operations are under way at most, others wait.
    """

    def __init__(
        self,
        url: str,
        *,
        token: Callable[[], str] | None = None,
        patience: float = 5,
        ca_file: Path | None = None,
        streams: int = 32,
    ) -> None:
        self.url = url
        self.token = token
        self.patience = patience
        self.ca_file = ca_file
        self.places = asyncio.Semaphore(streams)
        self.session: Any = None
        self.connection: Connection | None = None
        self.closing: set[asyncio.Task[None]] = set()
        self.welcome = False
        """Whether the server was reached once, and took the token."""
        self.closed = False

    async def read(
        self,
        sql: str,
        args: Sequence[Value] = (),
        *,
        slow: bool = False,  # noqa: ARG002 - no read holds the event loop up
    ) -> list[Row]:
        """A read that a connection took with it is done again, on the next one."""
        statement = step(sql, args, wanted=True)

        async def reading() -> list[Row]:
            with suppress(Lost):
                return await self.ask(lambda stream: stream.execute(statement), rows)
            return await self.ask(lambda stream: stream.execute(statement), rows)

        return await self.patiently(reading)

    async def write(self, *statements: Statement) -> list[list[Row]]:
        """One batch. Nothing is sent twice but what the server said that it did not do."""
        if not statements:
            return []
        batch = Batch(statements)

        async def writing() -> list[list[Row]]:
            body = {"steps": batch.steps}
            return await self.ask(lambda stream: stream.batch(body), batch.answer)

        return await self.patiently(writing)

    async def patiently(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Raises Unavailable after the time of an operation, or where the server is not there."""
        try:
            async with asyncio.timeout(self.patience), self.places:
                return await unlocked(operation)
        except TimeoutError as error:
            raise Unavailable("the database server does not answer in time") from error
        except Lost as error:
            raise Unavailable(str(error)) from error
        except Failed as error:
            if error.transient:
                raise Unavailable(f"the database server answers {error.code}") from error
            raise

    async def ask(self, request: Request, meaning: Callable[[Any], T]) -> T:
        """What the server's answer means. Raises Lost where there is none, or none that does."""
        connection = await self.connected()
        try:
            answer = await connection.ask(request)
        except Exception as error:
            if connection.exception is not None:
                raise Lost("the connection to the database server broke") from error
            code = getattr(error, "code", None)
            if code is None:
                raise
            with self.understanding(connection):
                raise Failed({"message": str(error), "code": code}) from error
        with self.understanding(connection):
            return meaning(answer)

    @contextmanager
    def understanding(self, connection: Connection) -> Iterator[None]:
        """An answer that cannot be made sense of is none, and what it came on is let go of."""
        try:
            yield
        except (Conflict, Failed):
            raise
        except Exception as error:
            self.drop(connection)
            raise Lost("the database server's answer makes no sense") from error

    async def connected(self) -> Connection:
        """The connection, once the server has taken the token. Raises Lost, ConfigError."""
        if self.closed:
            raise Lost("the database is closed")
        connection = self.current()
        try:
            await connection.wait_connected()
        except Exception as error:
            raise self.unconnected(error) from error
        finally:
            if not connection.established:  # who waits longest gives up first, for all
                self.drop(connection)
        self.welcome = True
        return connection

    def current(self) -> Connection:
        """The connection that is there, or a new one on its way."""
        from picoauth_libsql.connection import Connection, session  # noqa: PLC0415 - aiohttp

        if self.connection is not None and not self.connection.usable:
            self.drop(self.connection)
        if self.connection is None:
            token = self.token() if self.token else None
            self.session = self.session or session(self.ca_file, self.patience)
            self.connection = Connection(self.session, self.url, token, self.patience)
        return self.connection

    def unconnected(self, error: Exception) -> Exception:
        """What is wrong from the start does not mend itself; what goes wrong later is logged."""
        from picoauth_libsql.connection import refusal, untrusted  # noqa: PLC0415

        refused = refusal(error)
        if untrusted(error):
            what, remedy = "the server's certificate is not trusted", VOUCH
        elif refused is not None:
            what, remedy = f"the server does not take the token ({refused})", RENEW
        else:
            return Lost("the database server cannot be reached")
        if not self.welcome:
            return ConfigError(f"libsql: {what}: {remedy}.")
        log.error("%s: %s", what, remedy)
        return Lost(what)

    def drop(self, connection: Connection) -> None:
        """Let go of a connection; whoever waits for an answer on it hears that it is lost."""
        if self.connection is connection:
            self.connection = None
            task = asyncio.create_task(connection.close())
            self.closing.add(task)
            task.add_done_callback(self.closing.discard)

    async def close(self) -> None:
        """A second call does nothing."""
        self.closed = True
        if self.connection is not None:
            self.drop(self.connection)
        await asyncio.gather(*self.closing)
        if self.session is not None:
            await self.session.close()


class Lost(Exception):
    """There is no connection, or no sense in the answer: nobody knows what became of a request."""


async def unlocked(operation: Callable[[], Awaitable[T]]) -> T:
    """What found the database locked was not done, and is tried until its time is over."""
    while True:
        try:
            return await operation()
        except Failed as failed:
            if not failed.busy:
                raise
            await asyncio.sleep(random.uniform(0, PAUSE))  # noqa: S311 - no secret
