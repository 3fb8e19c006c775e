"""Real servers, of one kind each, for the tests that do not stop them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from servers import RedisServer, redis_cluster, redis_server, watched_servers


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A real server."""
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis(shared: RedisServer) -> RedisServer:
    """The real server, empty."""
    assert shared.ask("FLUSHALL") == b"+OK\r\n"
    return shared


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[RedisServer]]:
    """Three masters."""
    with redis_cluster(tmp_path_factory.mktemp("redis") / "cluster") as nodes:
        yield nodes


@pytest.fixture(scope="session")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RedisServer, str]]:
    """A master, and the address of it that a sentinel knows."""
    with watched_servers(tmp_path_factory.mktemp("redis") / "watched") as (master, _, sentinel):
        yield master, f"redis+sentinel://127.0.0.1:{sentinel.port}/main/0"
