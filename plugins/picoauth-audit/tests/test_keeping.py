"""Beside the requests: floods of refusals, faults of the database, starts and stops."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from logbook import KINDS, SETTINGS, Log

from picoauth import Unavailable
from picoauth.testing import Clock, Server, serving
from picoauth_audit import RefusalsCounted
from picoauth_audit.keeping import CHUNK
from tests.factors import join, step
from tests.storage import until

FEW = f"{SETTINGS}[audit]\nrefusals = 5\n"


@pytest.fixture
def picoauth_settings() -> str:
    return FEW


async def test_flood_of_failures_is_counted(log: Log) -> None:
    """So many failures a minute have a row; of the rest it is known how many they were."""
    await join(log.server, "ann")
    for number in range(12):
        await step(log.server, username=f"nobody{number}", pin="1234")
    await step(log.server, username="ann", pin="wrong")
    failed = await log.entries(event="LoginFailed")
    assert [None] * 5 == [entry["user_id"] for entry in failed[:5]]
    assert 6 == len(failed), "strangers do not crowd out what happens to a user"
    assert [] == await log.entries(event="RefusalsCounted")
    log.server.clock.advance(180)
    [counted] = await log.entries(event="RefusalsCounted")
    minute = 1_800_000_000 // 60 * 60
    assert {"kind": "LoginFailed of nobody", "minute": minute, "count": 7} == counted["members"]
    assert [(0,)] == await log.read("select count(*) from audit_refusals")
    await log.verify()


@pytest.mark.parametrize("chunk", [2, CHUNK])
async def test_flood_of_refused_policies(
    log: Log, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    """What a policy refuses is told alone; a flood of it costs no more memory than its rows."""
    monkeypatch.setattr("picoauth_audit.keeping.CHUNK", chunk)
    async with log.plugin.keeper.turn:
        for _ in range(20):
            await log.server.get("/auth/me")
        await log.server.auth.events.settle()
        assert (5, 15) == (len(log.plugin.keeper.refused), log.plugin.keeper.more)
    assert 5 == len(await log.entries(event="AccessRefused"))
    log.server.clock.advance(180)
    [counted] = await log.entries(event="RefusalsCounted")
    assert 15 == counted["members"]["count"]


async def test_fifty_failures_at_once(log: Log) -> None:
    """The bound holds whoever comes at once."""
    await asyncio.gather(*(step(log.server, username=f"nobody{n}", pin="1234") for n in range(50)))
    assert 5 == len(await log.entries(event="LoginFailed"))
    assert [("LoginFailed of nobody", 50)] == await log.read(
        "select kind, count from audit_refusals"
    )


async def test_next_minute_has_its_own(log: Log) -> None:
    """After a minute there is room again, also where the clock went back."""
    for seconds in (0, 60, -3600):
        log.server.clock.advance(seconds)
        for _ in range(8):
            await step(log.server, username="nobody", pin="1234")
    assert 15 == len(await log.entries(event="LoginFailed"))


async def test_growth_by_strangers(tmp_path: Path) -> None:
    """What strangers can make the log grow by in a minute is well below 1 MB (FL-2)."""
    async with serving(tmp_path, SETTINGS, plugins=KINDS) as server:
        log, agent = Log(server), {"User-Agent": ("ü" * 499).encode()}
        size = """
            select (page_count - freelist_count) * page_size
              from pragma_page_count, pragma_freelist_count, pragma_page_size
        """
        await log.entries()
        [(before,)] = await log.read(size)
        for number in range(300):
            body = {"factor": "pin", "username": f"nobody{number}", "pin": "1"}
            await server.client.post("/auth/login", json=body, headers=agent)
            await server.client.get("/auth/me", headers=agent)
        assert 200 == len(await log.entries(event="LoginFailed"))
        assert 200 == len(await log.entries(event="AccessRefused"))
        [(after,)] = await log.read(size)
        assert after - before < 700_000


async def test_many_refusals_are_written_in_turns(tmp_path: Path) -> None:
    """A second's refusals are written in a few writes."""
    async with serving(tmp_path, SETTINGS, plugins=KINDS) as server:
        log = Log(server)
        for _ in range(CHUNK + 1):
            await server.get("/auth/me")
        assert CHUNK + 1 == len(await log.entries(event="AccessRefused"))


async def test_database_that_is_down(
    log: Log, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rounds go on, and say once what is wrong; what was refused meanwhile is not lost."""
    await log.entries()
    await log.server.get("/auth/me")
    await log.server.auth.events.settle()
    database = log.server.auth.database

    async def down(*_: object, **__: object) -> None:
        raise Unavailable("the database is down")

    with monkeypatch.context() as patched:
        patched.setattr(database, "read", down)
        patched.setattr(database, "write", down)
        caplog.clear()
        for _ in range(3):
            await log.plugin.keeper.attempt()
        assert await log.plugin.check() is None
    said = ["the audit log has to wait: Unavailable: the database is down"]
    assert said == [one for one in caplog.messages if "audit" in one]
    assert 1 == len(await log.entries(event="AccessRefused"))
    await log.plugin.keeper.attempt()
    assert log.plugin.keeper.failing is None


async def test_bug_is_logged_with_its_place(
    log: Log, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever fails in a round ends none of the next ones."""

    async def failing() -> None:
        raise KeyError("bug")

    monkeypatch.setattr(log.plugin.keeper, "round", failing)
    await log.plugin.keeper.attempt()
    [record] = [one for one in caplog.records if "has to wait" in one.getMessage()]
    assert record.exc_info


async def test_sealed_within_a_second(picoauth_server: Server) -> None:
    """A server seals by itself, and what waits when it stops is sealed then."""
    log = Log(picoauth_server)
    await join(picoauth_server)
    await until(lambda: log.plugin.sealer.heads.seen.seq >= 2)


async def test_stop_seals(tmp_path: Path) -> None:
    """The last round comes when nothing more is asked."""
    clock = Clock()
    async with serving(tmp_path, FEW, plugins=KINDS, clock=clock) as server:
        await join(server)
        await server.get("/auth/me")
        await server.auth.events.settle()
    async with serving(tmp_path, FEW, plugins=KINDS, clock=clock) as server:
        log = Log(server)
        names = await log.read("select event from audit where seq is not null order by seq")
        assert [("SigningKeyAdded",), ("UserRegistered",), ("AccessRefused",)] == names


async def test_two_servers_count_together(tmp_path: Path) -> None:
    """The bound is one of all processes, and the rest is counted once."""
    clock = Clock()
    async with (
        serving(tmp_path, FEW, plugins=KINDS, clock=clock) as one,
        serving(tmp_path, FEW, plugins=KINDS, clock=clock) as two,
    ):
        for server in (one, two) * 6:
            await step(server, username="nobody", pin="1234")
        clock.advance(180)
        keepers = [Log(server).plugin.keeper for server in (one, two)]
        await asyncio.gather(*(keeper.round() for keeper in keepers))
        counted = await Log(one).entries(event=RefusalsCounted.__name__)
        assert [7] == [entry["members"]["count"] for entry in counted]
        assert 5 == len(await Log(two).entries(event="LoginFailed"))
