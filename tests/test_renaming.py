"""User names are taken only so often: each retires the one before for good."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from picoauth import Caller
from picoauth.testing import Server
from picoauth.upkeep import cleaning
from tests.accounts import SETTINGS, accounts, login, user_id
from tests.factors import code_of, count, join

DAY = 86400
SPAN = 30 * DAY
NOW = 1_800_000_000
HERE = Caller(actor="command:root")
OFTEN = (429, "too_many_renames")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with accounts(tmp_path) as server:
        yield server


async def rename(server: Server, new: str, old: str) -> httpx.Response:
    """Of who logged in right now."""
    token = (await login(server, old))["access_token"]
    return await server.send("PATCH", "/auth/me", {"username": new}, token=token)


async def renamed(server: Server, *names: str) -> list[tuple[int, str | None]]:
    """From the first to the second and so on."""
    pairs = zip(names[1:], names, strict=False)
    return [code_of(await rename(server, new, old)) for new, old in pairs]


async def test_three_in_thirty_days(server: Server) -> None:
    """The fourth one is refused until the first of them is thirty days old."""
    assert [(200, None)] == await renamed(server, "ann", "ann1")
    server.clock.advance(DAY)
    assert [(200, None)] * 2 == await renamed(server, "ann1", "ann2", "ann3")
    server.clock.advance(DAY)
    answer = await rename(server, "ann4", "ann3")
    wait = SPAN - 2 * DAY
    assert (OFTEN, str(wait), wait) == (
        code_of(answer),
        answer.headers["retry-after"],
        answer.json()["retry_after"],
    )
    assert 3 == await count(server, "retired_names")
    server.clock.advance(wait - 1)
    answer = await rename(server, "ann4", "ann3")
    assert (OFTEN, 1) == (code_of(answer), answer.json()["retry_after"])
    server.clock.advance(1)
    assert [(200, None)] == await renamed(server, "ann3", "ann4")
    assert [OFTEN] == await renamed(server, "ann4", "ann5")


async def test_what_does_not_count(server: Server) -> None:
    """Other letters of the same name, and other members, are free."""
    assert [(200, None)] * 4 == await renamed(server, "ann", "Ann", "ANN", "aNN", "anN")
    token = (await login(server))["access_token"]
    for name in ("A", "B", "C", "D"):
        answer = await server.send("PATCH", "/auth/me", {"name": name}, token=token)
        assert 200 == answer.status_code


async def test_refused_names_are_free(server: Server) -> None:
    """What came to nothing is not counted."""
    await server.auth.users.register(server.auth.users.draft(username="bob"))
    for _ in range(5):
        assert [(409, "username_taken")] == await renamed(server, "ann", "bob")
    assert 0 == await count(server, "renames")
    assert [(200, None)] * 3 == await renamed(server, "ann", "ann1", "ann2", "ann3")


async def test_each_user_counts_alone(server: Server) -> None:
    """Nobody uses up another one's names."""
    assert [(200, None)] * 3 == await renamed(server, "ann", "ann1", "ann2", "ann3")
    await join(server, "bob")
    assert [(200, None)] == await renamed(server, "bob", "bob1")


async def test_administrators_are_free(server: Server) -> None:
    """What others do to an account is not the user's, and not counted."""
    ann = await user_id(server)
    for number in range(5):
        await server.auth.accounts.change(ann, {"username": f"ann{number}"}, HERE)
    assert 0 == await count(server, "renames")


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_nothing_else_is_changed(server: Server, method: str) -> None:
    """With a name that is refused nothing of the same request is done."""
    await renamed(server, "ann", "ann1", "ann2", "ann3")
    token = (await login(server, "ann3"))["access_token"]
    body = {"username": "ann4", "name": "New"}
    answer = await server.send(method, "/auth/me", body, token=token)
    assert OFTEN == code_of(answer)
    me = (await server.get("/auth/me", token=token)).json()
    assert ("ann3", "ann") == (me["username"], me["name"])


async def test_fifty_at_once(server: Server) -> None:
    """However many are asked for at once, and again, three are taken."""
    token = (await login(server))["access_token"]
    codes: Counter[tuple[int, str | None]] = Counter()
    for turn in range(5):
        answers = await asyncio.gather(
            *(
                server.send("PATCH", "/auth/me", {"username": f"ann{turn}x{n}"}, token=token)
                for n in range(50)
            )
        )
        codes.update(code_of(answer) for answer in answers)
    assert 3 == codes[200, None] == await count(server, "retired_names")
    assert codes.keys() <= {(200, None), (409, "conflict"), OFTEN}


async def test_none_at_all(tmp_path: Path) -> None:
    """With `renames = 0` nobody takes another name; the first one of an account is given."""
    async with accounts(tmp_path, f"{SETTINGS}[account]\nrenames = 0\nrenames_in = '1h'") as server:
        answer = await rename(server, "ann1", "ann")
        assert (OFTEN, 3600) == (code_of(answer), answer.json()["retry_after"])
        assert [(200, None)] == await renamed(server, "ann", "ANN")


async def test_clock_that_goes_back(server: Server) -> None:
    """Turned back by an hour, it frees no name; one that was a year ahead shuts nobody out."""
    await renamed(server, "ann", "ann1", "ann2", "ann3")
    server.clock.advance(-3600)
    answer = await rename(server, "ann4", "ann3")
    assert (OFTEN, SPAN) == (code_of(answer), answer.json()["retry_after"])
    server.clock.advance(-365 * DAY)
    assert [(200, None)] == await renamed(server, "ann3", "ann4")


async def test_cleaning(server: Server) -> None:
    """What counts no more is forgotten, and what counts is not."""
    await renamed(server, "ann", "ann1")
    server.clock.advance(SPAN - 1)
    await cleaning(server.auth).run()
    assert 1 == await count(server, "renames")
    server.clock.advance(1)
    await cleaning(server.auth).run()
    assert 0 == await count(server, "renames")
