"""The contract of databases, the kernel's own tests, and what is PostgreSQL's alone."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cluster import Cluster

from picoauth import Auth, ConfigError, Database, Statement, Unavailable, parse
from picoauth.doctor import examine
from picoauth.schema import TABLES
from picoauth.testing.contracts import DatabaseContract
from picoauth.testing.faults import Faulty
from picoauth_postgres import Postgres


class TestPostgres(DatabaseContract):
    """A database of its own in the cluster."""

    @pytest.fixture
    async def database(self, cluster: Cluster) -> AsyncIterator[Database]:
        self.cluster = cluster
        database = Postgres(cluster.database(), patience=30)
        yield database
        await database.close()

        cluster.start()

    async def down(self, database: Database) -> None:
        self.cluster.stop()


def settings(url: str) -> str:
    return f'plugins = ["postgres"]\ndatabase = "{url}"'


def made(folder: Path, url: str) -> Auth:
    """A kernel whose secret was there before."""
    folder.mkdir(exist_ok=True)
    (folder / "picoauth.secret").touch(0o600)
    (folder / "picoauth.secret").write_bytes(bytes(range(32)))
    return Auth(parse(settings(url), folder))


@pytest.fixture
def url(cluster: Cluster) -> str:
    cluster.start()
    return cluster.database()


async def test_two_that_start_at_once(tmp_path: Path, url: str) -> None:
    """They make the same tables, and one key."""

    async def start() -> list[str]:
        auth = made(tmp_path, url)
        async with auth.started():
            return sorted(auth.keys.active)

    keys = await asyncio.gather(*(start() for _ in range(4)))
    assert [keys[0]] * 4 == keys
    assert 1 == len(keys[0])


@pytest.mark.parametrize("address", ["picoauth.db", "postgres://x", "ws://127.0.0.1"])
def test_addresses_that_are_none(tmp_path: Path, address: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        made(tmp_path, address)
    assert "postgres: `database` must be postgresql://USER@HOST/DATABASE." == str(refusal.value)


async def test_user_that_is_none(tmp_path: Path, url: str) -> None:
    """A server does not start on it."""
    auth = made(tmp_path, url.replace("picoauth@", "nobody@"))
    with pytest.raises(ConfigError, match=r"postgres: role .nobody. does not exist: mend"):
        async with auth.started():
            raise AssertionError


async def test_doctor(tmp_path: Path, url: str) -> None:
    """It looks at tables and columns, since there is no `sqlite_master`."""
    made(tmp_path, url)
    auth = Auth(parse(settings(url).replace("[", '["password", ', 1), tmp_path))

    async def schema() -> str | None:
        found = await examine(auth.config, tmp_path / "picoauth.toml")
        [said] = [one.problem for one in found if one.check == "schema"]
        return said

    async with auth.started():
        assert await schema() is None
        await auth.database.write(Statement("alter table users drop column locale"))
        assert "(table users is missing, or lacks a column)" in str(await schema())


async def test_tables_of_faults(tmp_path: Path, url: str) -> None:
    """The test kit compares all of them, though there is no `sqlite_master`."""
    auth = made(tmp_path, url)
    async with auth.started():
        state = await Faulty(auth.database).state()
    assert {"migrations", "users", "signing_keys"} < state.keys() < TABLES
    assert 1 == len(state["signing_keys"])


async def test_server_that_says_nothing() -> None:
    """One that is reached, and then silent, is 503 in the time of an operation."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"postgresql://picoauth@127.0.0.1:{silent.getsockname()[1]}/none"
        async with asyncio.timeout(30):
            with pytest.raises(Unavailable, match="TimeoutError"):
                await Postgres(address, patience=0.1).read("select 1")


async def test_too_many_arguments(url: str) -> None:
    """A bug is none of the server's."""
    database = Postgres(url)
    with pytest.raises(ValueError, match="more arguments than places"):
        await database.read("select '?', ?", (1, 2))
    await database.close()


async def test_writes_that_never_fit(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """A write that others are always in the way of is 503."""
    monkeypatch.setattr("picoauth_postgres.TRIES", 0)
    with pytest.raises(Unavailable, match="too many writes at once"):
        await Postgres(url).write(Statement("select 1"))
