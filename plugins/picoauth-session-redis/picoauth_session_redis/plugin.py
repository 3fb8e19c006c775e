"""The plugin: its settings, its health, and the client's life."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from picoauth import (
    Auth,
    Check,
    ConfigError,
    KeptSessions,
    Plugin,
    Secret,
    SessionStore,
    Unavailable,
    described,
    hookimpl,
)
from picoauth_session_redis.client import client, close
from picoauth_session_redis.keeper import RedisKeeper

log = logging.getLogger("picoauth.session_redis")


def check_prefix(prefix: str) -> None:
    """Braces would put all keys of a cluster on one server."""
    if not (prefix.isascii() and prefix.isprintable()) or set(prefix) & set("{} *?[]\\"):
        raise ValueError("must be letters, digits and signs without braces, spaces or wildcards")


@dataclass(frozen=True)
class RedisSettings:
    """`[session-redis]`: which server, and how long it may take."""

    url: str | Secret = described(
        "The server; its password in it makes it a secret.", default="redis://127.0.0.1:6379"
    )
    prefix: str = described(
        "What every key begins with.",
        default="picoauth:",
        least=1,
        most=64,
        check=check_prefix,
    )
    connections: int = described(
        "Connections of one process to one server.", default=32, least=1, most=1000
    )
    patience_ms: int = described(
        "Milliseconds that an operation may take; whoever waits longer gets 503.",
        default=200,
        least=10,
        most=5000,
    )


class RedisPlugin(Plugin[RedisSettings]):
    """Keeps the sessions in Redis."""

    def __init__(self, auth: Auth, name: str, settings: RedisSettings) -> None:
        super().__init__(auth, name, settings)
        url = settings.url.read().decode() if isinstance(settings.url, Secret) else settings.url
        patience = settings.patience_ms / 1000
        self.keeper = RedisKeeper(
            client(url, settings.connections, patience),
            prefix=settings.prefix,
            places=settings.connections,
            patience=patience,
            now=auth.now,
        )

    @hookimpl
    def sessions(self) -> SessionStore | None:
        return KeptSessions(self.auth, self.keeper)

    @hookimpl
    def lifespan(self) -> AbstractAsyncContextManager[None] | None:
        return self.connected()

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        """A server that is down may come back; a password that is wrong does not mend itself."""
        from redis.exceptions import AuthenticationError  # noqa: PLC0415

        try:
            await self.keeper.get("")
        except Unavailable as error:
            if isinstance(error.__cause__, AuthenticationError):
                raise ConfigError(
                    "session-redis: the server does not take the user name or password of `url`: "
                    "write them as redis://USER:PASSWORD@HOST."
                ) from None
            log.warning("sessions cannot be reached, which are tried again and again: %s", error)
        try:
            yield
        finally:
            await close(self.keeper.client)

    @hookimpl
    def checks(self) -> Sequence[Check]:
        lossy = Check("session-redis-eviction", self.evicts, live=False, level="danger")
        return [Check(self.name, self.reachable), lossy]

    async def reachable(self) -> str | None:
        try:
            await self.keeper.get("")
        except Unavailable as error:
            return f"Sessions cannot be reached ({error}): see to the Redis server of `url`."
        return None

    async def evicts(self) -> str | None:
        """Evicted sessions are over; but one whose user's list was evicted is ended with no other."""
        try:
            policy = await self.keeper.policy()
        except Unavailable:  # which the other check says, or the server tells nobody
            return None
        if policy == "noeviction":
            return None
        return (
            f"Redis throws keys away where memory is short (maxmemory-policy {policy}), the list of "
            "a user's sessions too, and then “log out everywhere” misses some: set noeviction."
        )
