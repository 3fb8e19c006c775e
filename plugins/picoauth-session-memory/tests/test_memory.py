"""Sessions in memory: bounded, of one process, and gone with it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import IO

import pytest

from picoauth import Auth, Caller, ConfigError, Conflict, KeptSessions, Session, SessionStore, parse
from picoauth.testing import Clock, Server, serving
from picoauth.testing.contracts import SessionStoreContract
from picoauth_session_memory import MemoryKeeper, MemoryPlugin
from picoauth_session_memory.keeper import STEPS
from tests.factors import PLUGINS, join
from tests.refreshing import many_at_once
from tests.siblings import Siblings

SETTINGS = 'plugins = ["password", "session-memory"]\n'
ENDED = "session_ended"


class TestMemory(SessionStoreContract):
    """The contract of session stores."""

    @pytest.fixture
    def store(self, auth: Auth) -> SessionStore:
        keeper = MemoryKeeper(100, auth.now)
        keeper.open = True
        return KeptSessions(auth, keeper)

    async def down(self, store: SessionStore) -> None:
        assert isinstance(store, KeptSessions)
        assert isinstance(store.keeper, MemoryKeeper)
        store.keeper.open = False


class TestSiblings(Siblings):
    """A login on several root domains."""

    @pytest.fixture
    async def server(self, tmp_path: Path) -> AsyncIterator[Server]:
        settings = 'plugins = ["pin", "session-memory"]'
        async with serving(tmp_path, settings, plugins=PLUGINS) as running:
            await join(running)
            yield running


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still."""
    return Clock(1000)


@pytest.fixture
def keeper(clock: Clock) -> MemoryKeeper:
    """Room for three."""
    keeper = MemoryKeeper(3, lambda: int(clock()))
    keeper.open = True
    return keeper


def session(name: str, user_id: str = "ann", life: int = 1000) -> Session:
    return Session(
        id=name,
        user_id=user_id,
        epoch=0,
        generation=0,
        created_at=1000,
        rotated_at=1000,
        idle_at=1000 + life,
        expires_at=1000 + life,
        auth_time=1000,
        second_at=None,
        amr=("pwd",),
    )


async def test_what_is_over_goes_first(keeper: MemoryKeeper, clock: Clock) -> None:
    """A full memory drops what has ended, though it was used last."""
    for name, life in (("a", 1000), ("b", 1000), ("short", 10)):
        await keeper.put(session(name, life=life))
    clock.advance(10)
    await keeper.put(session("c"))
    assert ["a", "b", "c"] == list(keeper.sessions)
    assert ["a", "b", "c"] == sorted(one.id for one in await keeper.list("ann"))


async def test_the_least_recently_used_goes_next(keeper: MemoryKeeper) -> None:
    """Where nothing has ended, the session goes that nobody looked at or changed for longest."""
    for name in ("a", "b", "c"):
        await keeper.put(session(name))
    await keeper.get("a")
    await keeper.change(replace(session("b"), generation=1), session("b"))
    await keeper.put(session("d"))
    assert ["a", "b", "d"] == list(keeper.sessions)
    await keeper.put(session("e", "bob"))
    assert ["b", "d", "e"] == list(keeper.sessions)
    assert {"ann": {"b", "d"}, "bob": {"e"}} == keeper.users


async def test_what_lives_longer_than_it_was_to(keeper: MemoryKeeper, clock: Clock) -> None:
    """A session that was prolonged is not taken for one that has ended."""
    for name in ("a", "b", "c"):
        await keeper.put(session(name, life=10))
    await keeper.change(session("b", life=1000), session("b", life=10))
    clock.advance(10)
    await keeper.put(session("d"))
    assert ["b", "d"] == list(keeper.sessions)


async def test_nothing_is_dropped_before_its_end(keeper: MemoryKeeper, clock: Clock) -> None:
    """What has a second left goes only to make room."""
    for name in ("a", "b"):
        await keeper.put(session(name))
    clock.advance(999)
    await keeper.put(session("c"))
    assert ["a", "b", "c"] == list(keeper.sessions)
    clock.advance(1)
    await keeper.put(session("d", life=2000))
    assert ["d"] == list(keeper.sessions)


async def test_a_login_drops_a_bounded_number(clock: Clock) -> None:
    """Many that end at once, or a long time without logins, hold nobody up."""
    keeper = MemoryKeeper(10 * STEPS, lambda: int(clock()))
    keeper.open = True
    for number in range(2 * STEPS):
        await keeper.put(session(str(number), life=10))
    await keeper.put(session("later", life=3 * STEPS))
    clock.advance(4 * STEPS)
    left = []
    for number in range(6):
        await keeper.put(session(f"new {number}", life=9 * STEPS))
        left.append(len(keeper.sessions) - number - 1)
    assert [STEPS + 1, 1, 1, 1, 0, 0] == left


async def test_users_without_sessions_are_forgotten(keeper: MemoryKeeper) -> None:
    """Nothing grows with the number of users that ever were."""
    await keeper.put(session("a"))
    await keeper.remove("a", "ann")
    await keeper.remove("a", "ann")
    assert ({}, {}, {}) == (keeper.sessions, keeper.users, keeper.ends)
    assert [] == list(await keeper.list("ann"))


async def test_full_memory_is_told(tmp_path: Path) -> None:
    """The health check says that logins end sessions."""
    settings = f"{SETTINGS}[session-memory]\nmost = 2\n"
    async with serving(tmp_path, settings) as server:
        await server.register()
        for problems in (
            {},
            {
                "session-memory": "All 2 places for sessions are taken: each login ends the session "
                "that was not used for longest. Raise `most` in [session-memory]."
            },
        ):
            await server.login()
            assert problems == (await server.get("/health-check")).json()["problems"]
        first = await server.login()
        await server.login()
        await server.login()
        assert (401, ENDED) == await refresh(server, first["refresh_token"])


async def refresh(server: Server, token: str) -> tuple[int, str | None]:
    answer = await server.client.post("/jwt/refresh", content=token)
    return answer.status_code, answer.json().get("code")


async def test_a_thousand_refresh_at_once(server: Server) -> None:
    """They are one family, with one answer to all: no theft, and no error (K-10)."""
    await server.register()
    await many_at_once(server, (await server.login())["refresh_token"], 1000)


async def test_restart(tmp_path: Path) -> None:
    """After a restart no session is left to refresh; access tokens live out their minutes."""
    async with serving(tmp_path, SETTINGS) as server:
        await server.register()
        tokens = await server.login()
        assert (200, None) == await refresh(server, tokens["refresh_token"])
    async with serving(tmp_path, SETTINGS, clock=server.clock) as server:
        assert (401, ENDED) == await refresh(server, tokens["refresh_token"])
        valid = await server.post("/jwt/validate", token=tokens["access_token"])
        assert 200 == valid.status_code
        await server.login()


async def test_nothing_is_kept_that_logs_in(server: Server) -> None:
    """A dump of the memory has no cookie and no token (S-2)."""
    await server.register()
    body = {"username": "ann", "password": "correct horse battery staple", "session": "cookie"}
    answer = await server.client.post(
        "/auth/login", json=body, headers={"Origin": "http://127.0.0.1:8100"}
    )
    tokens = await server.login()
    handed = [answer.headers["set-cookie"].partition(";")[0].partition(".")[2], *tokens.values()]
    plugin = server.auth.plugin(MemoryPlugin)  # type: ignore[type-abstract]
    dump = repr(plugin.keeper.sessions)
    assert 2 == len(plugin.keeper.sessions)
    assert [] == [value for value in handed[:3] if str(value) in dump]


@pytest.fixture
def picoauth_settings() -> str:
    """Sessions in memory."""
    return SETTINGS


async def test_command_beside_the_server(server: Server) -> None:
    """A command that ends sessions commits it, and the server, which has them, does it."""
    await server.register()
    tokens = await server.login()
    command = Auth(parse(SETTINGS, server.folder), clock=server.clock)
    async with command.started():
        user = await command.users.find("username", "ann")
        assert user is not None
        await command.accounts.logout_from_all(user.id, Caller())
    for _ in range(10_000):
        valid = await server.post("/jwt/validate", token=tokens["access_token"])
        if valid.status_code == 401:
            break
        await asyncio.sleep(0.001)
    assert (401, ENDED) == (valid.status_code, valid.json()["code"])
    assert (401, ENDED) == await refresh(server, tokens["refresh_token"])


def refused(lock: Path) -> str:
    return (
        f"session-memory: another process has the sessions (it holds {lock}): "
        "run one process with one worker, or list session-redis instead."
    )


async def test_second_server(server: Server) -> None:
    """Whatever serves the same database a second time does not start."""
    with pytest.raises(ConfigError) as caught:
        async with serving(server.folder, SETTINGS):
            pass
    assert refused(server.folder / "picoauth.db.sessions.lock") == str(caught.value)


async def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """A lock that cannot be taken stops the server."""
    lock = tmp_path / "picoauth.db.sessions.lock"
    lock.mkdir()
    with pytest.raises(ConfigError) as caught:
        async with serving(tmp_path, SETTINGS):
            pass
    expected = (
        f"session-memory: {lock} cannot be opened (Is a directory): "
        "let the server write to that folder."
    )
    assert expected == str(caught.value)


@contextmanager
def process(
    folder: Path, command: str, *arguments: str
) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    """A real process, ended in the end; what it says."""
    started = subprocess.Popen(
        [Path(sys.executable).with_name(command), *arguments],
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert started.stdout is not None
    with started, started.stdout:
        try:
            yield started, started.stdout
        finally:
            with suppress(ProcessLookupError):
                started.terminate()


def heard(lines: IO[str], words: str) -> str:
    """The first line with these words, however long that takes."""
    return next(line for line in lines if words in line).strip()


def test_two_processes(tmp_path: Path) -> None:
    """A second server is refused while the first runs, and starts at once after it was killed."""
    for name in ("one", "two"):
        settings = f'{SETTINGS}bind = ["unix:{name}.sock"]\n'
        (tmp_path / f"{name}.toml").write_text(settings)
    with process(tmp_path, "picoauth", "--config", "one.toml", "serve") as (first, said):
        heard(said, "one.sock")
        with process(tmp_path, "picoauth", "--config", "two.toml", "serve") as (second, words):
            assert refused(tmp_path / "picoauth.db.sessions.lock") in words.read()
            assert 2 == second.wait()
        first.kill()
    with process(tmp_path, "picoauth", "--config", "two.toml", "serve") as (_, said):
        heard(said, "two.sock")


APP = """
from pathlib import Path
from picoauth import create_app, parse

app = create_app(parse('plugins = ["password", "session-memory"]', Path.cwd()))
"""


def test_workers_of_another_server(tmp_path: Path) -> None:
    """Of two workers of uvicorn, one is refused."""
    (tmp_path / "app.py").write_text(APP)
    command = ("uvicorn", "app:app", "--uds", "app.sock", "--workers", "2")
    with process(tmp_path, *command) as (_, said):
        line = heard(said, "session-memory")
        assert line.endswith(refused(tmp_path / "picoauth.db.sessions.lock"))


async def test_ids_are_never_taken_over(keeper: MemoryKeeper) -> None:
    """A session that is there is not replaced by one of the same id."""
    await keeper.put(session("one"))
    with pytest.raises(Conflict):
        await keeper.put(session("one", "bob"))
    assert session("one") == await keeper.get("one")


async def test_changes_compare(keeper: MemoryKeeper) -> None:
    """A change of what another one changed meanwhile, or of what is gone, changes nothing."""
    first = session("one")
    await keeper.put(first)
    second = replace(first, generation=first.generation + 1)
    await keeper.change(second, first)
    with pytest.raises(Conflict):
        await keeper.change(replace(first, amr=("pwd", "otp")), first)
    assert await keeper.get("one") == second
    with pytest.raises(Conflict):
        await keeper.change(session("two"), session("two"))
    assert await keeper.get("two") is None
