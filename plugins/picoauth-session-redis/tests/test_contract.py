"""The contract of session stores, on a real server, on a cluster, and by way of a sentinel."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator

import pytest
from servers import RedisServer

from picoauth import Auth, KeptSessions, SessionStore
from picoauth.testing.contracts import SessionStoreContract
from picoauth_session_redis import RedisKeeper
from picoauth_session_redis.client import client, close


async def kept(auth: Auth, url: str) -> AsyncIterator[SessionStore]:
    """Sessions at an address."""
    keeper = RedisKeeper(client(url, 8, 5), prefix="t:", places=8, patience=5, now=auth.now)
    yield KeptSessions(auth, keeper)
    await close(keeper.client)


def keeper_of(store: SessionStore) -> RedisKeeper:
    assert isinstance(store, KeptSessions)
    assert isinstance(store.keeper, RedisKeeper)
    return store.keeper


class TestRedis(SessionStoreContract):
    """One server."""

    @pytest.fixture
    async def store(self, auth: Auth, redis: RedisServer) -> AsyncIterator[SessionStore]:
        self.server = redis
        async for store in kept(auth, redis.url):
            yield store
        redis.signal(signal.SIGCONT)

    async def down(self, store: SessionStore) -> None:
        """It is there, and does not answer."""
        keeper_of(store).patience = 0.1
        self.server.signal(signal.SIGSTOP)


class TestCluster(SessionStoreContract):
    """Three servers, each with a third of the keys."""

    @pytest.fixture
    async def store(self, auth: Auth, cluster: list[RedisServer]) -> AsyncIterator[SessionStore]:
        for node in cluster:
            assert node.ask("FLUSHALL") == b"+OK\r\n"
        where = ",".join(f"127.0.0.1:{node.port}" for node in cluster)
        async for store in kept(auth, f"redis+cluster://{where}"):
            yield store

    async def down(self, store: SessionStore) -> None:
        """The client is closed, as one is whose last node is gone."""
        await close(keeper_of(store).client)
        keeper_of(store).client = client("redis+cluster://127.0.0.1:1", 1, 0.1)

    async def test_policy(self, store: SessionStore) -> None:
        """Whichever node is asked answers for itself."""
        assert "noeviction" == await keeper_of(store).policy()


class TestSentinel(SessionStoreContract):
    """A server that a sentinel names."""

    @pytest.fixture
    async def store(
        self, auth: Auth, watched: tuple[RedisServer, str]
    ) -> AsyncIterator[SessionStore]:
        master, url = watched
        assert master.ask("FLUSHALL") == b"+OK\r\n"
        async for store in kept(auth, url):
            yield store

    async def down(self, store: SessionStore) -> None:
        """No sentinel is there."""
        await close(keeper_of(store).client)
        keeper_of(store).client = client("redis+sentinel://127.0.0.1:1/main", 1, 0.1)
