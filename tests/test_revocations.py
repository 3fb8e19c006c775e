"""Revocations: learnt by every process in time, kept as long as needed, whatever fails."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from picoauth import (
    Caller,
    ConfigError,
    Database,
    Denied,
    Statement,
    Unavailable,
    revocations,
)
from picoauth.database import Args, Row
from picoauth.revocations import OVERLAP, PAUSE, Revocations, cleaning, forever
from picoauth.testing import Clock, Server, serving
from tests.storage import DEADLINE, kernel_tables, until

STALE = "The list of revoked sessions is not up to date: see why the database is not reachable."


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with kernel_tables(tmp_path) as database:
        yield database


@pytest.fixture
def known(database: Database, clock: Clock) -> Revocations:
    return Revocations(database, lambda: int(clock()))


def refused(known: Revocations, *sessions: str) -> list[str]:
    """Those of the sessions that are refused."""
    found = {}
    for session in sessions:
        try:
            known.check(session)
        except Denied as denied:
            found[session] = denied.problem.code
    assert {"session_ended"} >= set(found.values())
    return list(found)


NEWER = """
    insert into revocations
    select ?, ?, ?, (select coalesce(max(seq), 0) + 1 from revocations)
"""


async def revoke(database: Database, session: str, at: int, life: int = 600) -> None:
    """What another process writes."""
    row = Statement(NEWER, (session, at, at + life))
    await database.write(row)


async def test_poll_learns(database: Database, clock: Clock, known: Revocations) -> None:
    """A session that another process ended is refused from the next poll on, and no other is."""
    now = int(clock())
    await known.poll()
    await revoke(database, "a", now)
    assert [] == refused(known, "a", "b")
    await known.poll()
    assert ["a"] == refused(known, "a", "b")


@pytest.mark.parametrize("age", [0, 1, OVERLAP])
async def test_poll_overlaps(
    database: Database, clock: Clock, known: Revocations, age: int
) -> None:
    """What was written late, or by a clock that lags, is not missed."""
    await known.poll()
    clock.advance(1)
    await known.poll()
    await revoke(database, "a", int(clock()) - age)
    await known.poll()
    assert ["a"] == refused(known, "a")


@pytest.mark.parametrize("leap", [0, -3600, 86400])
async def test_whole_list_each_minute(
    database: Database, clock: Clock, known: Revocations, leap: int
) -> None:
    """What every overlap missed is learnt within a minute, also after the clock leapt (FT-1)."""
    await known.poll()
    clock.advance(leap)
    await known.poll()
    await revoke(database, "a", int(clock()) - OVERLAP - 1)
    await known.poll()
    assert [] == refused(known, "a")
    clock.advance(59)
    await known.poll()
    assert [] == refused(known, "a")
    clock.advance(1)
    await known.poll()
    assert ["a"] == refused(known, "a")


async def test_clock_that_goes_back(database: Database, clock: Clock, known: Revocations) -> None:
    """A clock that leaps, ahead or back, hides no revocation for longer than a poll (FT-1)."""
    await known.poll()
    for number, leap in enumerate((-3600, 86400, -86400, 59, -30)):
        clock.advance(leap)
        await revoke(database, str(number), int(clock()), life=10**6)
        await known.poll()
        await known.poll()
        assert [str(n) for n in range(number + 1)] == refused(known, *"01234")


async def test_kept_until_the_end(database: Database, clock: Clock, known: Revocations) -> None:
    """A revocation is kept as long as something could be accepted, though its row be gone."""
    await revoke(database, "a", int(clock()))
    await known.poll()
    await database.write(Statement("delete from revocations"))
    clock.advance(599)
    await known.poll()
    assert ["a"] == refused(known, "a")
    clock.advance(60)
    await known.poll()
    assert ([], {}) == (refused(known, "a"), known.ended)


@pytest.mark.parametrize(("age", "left"), [(600, 2), (4200, 2), (4201, 1)])
async def test_cleaning(database: Database, clock: Clock, age: int, left: int) -> None:
    """Rows are removed an hour after their end; but the newest stays, for its number."""
    await revoke(database, "a", int(clock()))
    await revoke(database, "b", int(clock()))
    clock.advance(age)
    await database.write(cleaning(int(clock())))
    assert [(left,)] == await database.read("select count(*) from revocations")


async def test_polls_at_once(
    database: Database, clock: Clock, known: Revocations, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A poll that began before a revocation, and ends after it was learnt, forgets nothing."""
    read, began, go = database.read, asyncio.Event(), asyncio.Event()

    async def held(sql: str, args: Args = (), *, slow: bool = False) -> list[Row]:
        rows = await read(sql, args, slow=slow)
        if slow:
            began.set()
            await go.wait()
        return rows

    monkeypatch.setattr(database, "read", held)
    whole = asyncio.create_task(known.poll())
    await asyncio.wait_for(began.wait(), DEADLINE)
    await revoke(database, "a", int(clock()))
    known.read_whole_at = int(clock())  # the next one is short, and overtakes the first
    await known.poll()
    assert (False, ["a"]) == (whole.done(), refused(known, "a"))
    go.set()
    await whole
    assert ["a"] == refused(known, "a")


async def test_pause_leaves_time() -> None:
    """Other processes are to see a revocation within half a second."""
    assert PAUSE <= 0.4


@pytest.mark.parametrize(
    ("error", "trace"),
    [
        (Unavailable("the database answers SQLITE_IOERR"), False),
        (ConfigError("signing_keys.sealed cannot be opened"), True),
        (ZeroDivisionError("a bug"), True),
    ],
)
async def test_no_failure_ends_the_polls(
    database: Database,
    clock: Clock,
    known: Revocations,
    error: Exception,
    *,
    trace: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whatever fails is logged once, keeps nothing else from being learnt, and is tried again."""
    monkeypatch.setattr(revocations, "PAUSE", 0.001)
    calls = {"keys": 0, "more": 0}
    down = True

    async def keys() -> None:
        calls["keys"] += 1
        if down:
            raise error

    async def more() -> None:
        calls["more"] += 1

    polling = asyncio.create_task(forever(known.poll, keys, more))
    await until(lambda: calls["more"] >= 3)
    await revoke(database, "a", int(clock()))
    await until(lambda: refused(known, "a"))
    warnings = [record for record in caplog.records if record.name == "picoauth.revocations"]
    assert [("WARNING", f"revocations or keys are not up to date: {error}", trace)] == [
        (record.levelname, record.getMessage(), bool(record.exc_info)) for record in warnings
    ]
    down = False
    tried = calls["keys"]
    await until(lambda: calls["keys"] > tried)
    down = True
    tried = calls["keys"]
    await until(lambda: calls["keys"] > tried + 1)
    warnings = [record for record in caplog.records if record.name == "picoauth.revocations"]
    assert 2 == len(warnings)
    polling.cancel()
    with suppress(asyncio.CancelledError):
        await polling


@pytest.fixture
async def two(tmp_path: Path, clock: Clock) -> AsyncIterator[tuple[Server, Server]]:
    """Two servers on one file, with one user."""
    async with (
        serving(tmp_path, clock=clock) as first,
        serving(tmp_path, clock=clock) as second,
    ):
        await first.register()
        yield first, second


async def status(server: Server, token: str) -> tuple[int, str | None]:
    answer = await server.post("/jwt/validate", token=token)
    return answer.status_code, answer.json().get("code")


def session_of(token: str) -> str:
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    found: str = claims["sid"]
    return found


async def test_two_servers_on_one_file(two: tuple[Server, Server]) -> None:
    """A session that one server ends is refused by the other as soon as that has polled."""
    first, second = two
    token = (await first.login())["access_token"]
    other = (await second.login())["access_token"]
    assert [(200, None)] * 2 == [await status(server, token) for server in two]
    assert 204 == (await first.post("/auth/logout", token=token)).status_code
    assert (401, "session_ended") == await status(first, token)
    await second.auth.revocations.poll()
    assert (401, "session_ended") == await status(second, token)
    assert [(200, None)] * 2 == [await status(server, other) for server in two]


async def test_running_server_polls_by_itself(two: tuple[Server, Server]) -> None:
    """Nobody has to ask: a running server learns what another one ended."""
    first, second = two
    token = (await first.login())["access_token"]
    await first.post("/auth/logout_from_all", token=token)
    await until(lambda: refused(second.auth.revocations, session_of(token)))
    assert (401, "session_ended") == await status(second, token)


async def test_loaded_before_anything_is_answered(tmp_path: Path, clock: Clock) -> None:
    """A server that just started accepts what others signed, and refuses what they ended."""
    async with serving(tmp_path, clock=clock) as first:
        await first.register()
        tokens = [(await first.login())["access_token"] for _ in range(2)]
        await first.post("/auth/logout", token=tokens[0])
        second = serving(tmp_path, clock=clock)
        server = await second.__aenter__()
        assert [(401, "session_ended"), (200, None)] == [
            await status(server, token) for token in tokens
        ]
        await second.__aexit__(None, None, None)


async def test_database_that_is_down(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """Verification goes on without the database, and the health check says what is stale."""
    await server.register()
    kept, ended = [(await server.login())["access_token"] for _ in range(2)]
    await server.post("/auth/logout", token=ended)
    healthy = {"status": "ok", "ready": True, "problems": {}}
    assert healthy == (await server.get("/health-check")).json()
    await server.auth.database.close()
    with pytest.raises(Unavailable) as closed:
        await server.auth.database.read("select 1")
    down = f"The database cannot be read: {closed.value}. See to its file and its disk."
    for seconds, stale in ((0, {}), (5, {}), (1, {"revocations": STALE})):
        server.clock.advance(seconds)
        answer = await server.get("/health-check")
        problems = {"database": down, **stale}
        assert (200, {"status": "degraded", "ready": False, "problems": problems}) == (
            answer.status_code,
            answer.json(),
        )
        assert [(200, None), (401, "session_ended")] == [
            await status(server, token) for token in (kept, ended)
        ]
    for check, expected in (("ready", 503), ("revocations", 503), ("nothing", 404)):
        answer = await server.get("/health-check", params={"check": check})
        assert expected == answer.status_code
    await until(lambda: "picoauth.revocations" in [record.name for record in caplog.records])


async def test_changed_account_is_told_at_once(server: Server) -> None:
    """The process that ends sessions does not wait for its own poll."""
    await server.register()
    tokens = [(await server.login())["access_token"] for _ in range(3)]
    user = await server.auth.users.find("username", "ann")
    assert user is not None
    await server.auth.accounts.disable(user.id, Caller())
    assert [(401, "session_ended")] * 3 == [await status(server, token) for token in tokens]
