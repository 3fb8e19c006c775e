"""Publishing: kombu blocks, so it has one thread, which has one connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from picoauth import ConfigError, Unavailable

if TYPE_CHECKING:
    import kombu

PATIENCE = 10.0
"""Seconds that one word with the broker may take."""
SOCKETS = {"socket_timeout": PATIENCE, "socket_connect_timeout": PATIENCE}
CHANNEL = {"read_timeout": PATIENCE, "write_timeout": PATIENCE, "confirm_publish": True}
ONCE = {"max_retries": 1, "interval_start": 0}
"""The outbox tries again, later: kombu need not."""
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "amqp": CHANNEL,
    "amqps": CHANNEL,
    "redis": SOCKETS,
    "rediss": SOCKETS,
    "sentinel": SOCKETS,
    "sqs": {},
    "filesystem": {},
    "memory": {},
}
"""What kombu is told about each kind of broker, by the scheme of its address."""


class Broker:
    """A queue of some broker. An error closes the connection: the next message opens another."""

    def __init__(self, url: str, queue: str) -> None:
        self.scheme = checked(url)
        self.url = url
        self.queue = queue
        self.pool = ThreadPoolExecutor(1, "picoauth-mail-mq")
        self.connection: kombu.Connection | None = None

    async def publish(self, body: Mapping[str, Any]) -> None:
        """Raises Unavailable; the broker may have it all the same."""
        await self.inside(lambda: self.put(body))

    async def look(self) -> None:
        """Raises Unavailable where the broker is not there, or does not give the queue."""
        await self.inside(lambda: self.declared(self.open()))

    async def inside(self, work: Callable[[], object]) -> None:
        await asyncio.get_running_loop().run_in_executor(self.pool, self.attempt, work)

    def attempt(self, work: Callable[[], object]) -> None:
        """A connection that was kept may have ended meanwhile: then once more, with a new one."""
        kept = self.connection is not None
        try:
            work()
        except Exception as error:  # noqa: BLE001 - of many kinds, one for each broker
            self.forget()
            if kept:
                self.attempt(work)
                return
            # Its words may hold the address, and that a password
            raise Unavailable(f"the broker does not take it ({type(error).__name__})") from None

    def put(self, body: Mapping[str, Any]) -> None:
        opened = self.open()
        opened.Producer().publish(
            body,
            routing_key=self.queue,
            declare=[self.declared(opened)],
            serializer="json",
            delivery_mode="persistent",
            message_id=body["id"],
            timeout=PATIENCE,
            confirm_timeout=PATIENCE,
        )

    def declared(self, opened: kombu.Connection) -> kombu.Queue:
        """The queue, which the broker makes where there is none yet."""
        import kombu  # noqa: PLC0415 - for the first mail

        queue = kombu.Queue(self.queue, routing_key=self.queue, durable=True)
        queue(opened.default_channel).declare()
        return queue

    def open(self) -> kombu.Connection:
        if self.connection is None:
            self.connection = connection(self.scheme, self.url)
        return self.connection

    def forget(self) -> None:
        opened, self.connection = self.connection, None
        if opened is not None:
            with suppress(Exception):  # how a broken one ends matters to nobody
                opened.release()

    def close(self) -> None:
        self.pool.submit(self.forget)
        self.pool.shutdown()


def connection(scheme: str, url: str) -> kombu.Connection:
    import kombu  # noqa: PLC0415 - for the first mail

    options = {**ONCE, **OPTIONS[scheme], **(folders(url) if scheme == "filesystem" else {})}
    address = "filesystem://" if scheme == "filesystem" else url
    return kombu.Connection(address, connect_timeout=PATIENCE, transport_options=options)


def folders(url: str) -> Mapping[str, str]:
    """Where kombu keeps messages as files: below the folder that the address names."""
    folder = Path(unquote(urlsplit(url).path))
    messages = folder / "messages"
    messages.mkdir(mode=0o700, parents=True, exist_ok=True)
    places = ("data_folder_in", "data_folder_out")
    return {**dict.fromkeys(places, str(messages)), "control_folder": str(folder / "control")}


def checked(url: str) -> str:
    """The kind of broker, by the scheme. Raises ConfigError, which repeats nothing of the rest."""
    scheme = url.partition("://")[0].lower() if "://" in url else ""
    if scheme not in OPTIONS:
        raise ConfigError(
            f"[mail-mq].url: must begin with one of {', '.join(f'{one}://' for one in OPTIONS)}."
        )
    if scheme == "filesystem" and not urlsplit(url).path.startswith("/"):
        raise ConfigError("[mail-mq].url: must name a folder, as filesystem:///var/spool/mail-mq.")
    return scheme
