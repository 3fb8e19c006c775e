"""Each way to begin a login, with each second factor that a user may have enrolled."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import product
from pathlib import Path

import httpx
import pytest

from picoauth import Statement
from picoauth.sufficiency import Sufficiency
from picoauth.testing import Server, serving
from picoauth.testing.server import PASSWORD
from tests.factors import EVERY, PLUGINS, code_of, count, step

Proving = Callable[[Server, str | None], Awaitable[httpx.Response]]


async def begun(server: Server, flow: str | None, factor: str) -> str:
    body = {"factor": factor, "to": "ann", **({"flow": flow} if flow else {})}
    answer = await server.post("/auth/login/begin", body)
    found: str = answer.json()["flow"]
    return found


async def by_password(server: Server, flow: str | None) -> httpx.Response:
    return await step(server, flow, factor="password", username="ann", password=PASSWORD)


async def by_key(server: Server, flow: str | None) -> httpx.Response:
    flow = await begun(server, flow, "key")
    return await step(server, flow, factor="key", owner="ann")


async def by_link(server: Server, flow: str | None) -> httpx.Response:
    flow = await begun(server, flow, "link")
    return await step(server, flow, factor="link", clicked=True)


async def by_code(server: Server, flow: str | None) -> httpx.Response:
    return await step(server, flow, factor="code", code="111111")


async def by_spare(server: Server, flow: str | None) -> httpx.Response:
    return await step(server, flow, factor="spare", spare="111111")


PROVE: dict[str, Proving] = {
    "password": by_password,
    "key": by_key,
    "link": by_link,
    "code": by_code,
    "spare": by_spare,
}
ENTRANCES = ("password", "key", "link")
SECONDS = ("code", "key")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    """A server with every kind of factor; Ann is registered."""
    async with serving(tmp_path, EVERY, plugins=PLUGINS) as running:
        await running.register()
        yield running


async def has(server: Server, *names: str) -> None:
    """Write enrolments of Ann, as their plugins do."""
    ann = await server.auth.users.find("username", "ann")
    assert ann is not None
    for name in names:
        enrolment = server.auth.users.enrolment(ann.id, name)
        row = f"insert into {name} values (?, ?, '111111')"
        rows = [Statement(row, (ann.id, enrolment.id))] if name in ("code", "spare") else []
        await server.auth.database.write(server.auth.users.enrolling(enrolment), *rows)


async def test_matrix_is_whole(server: Server) -> None:
    """Every factor of the server that starts, and every second one, is in the matrix."""
    factors = server.auth.factors
    assert set(ENTRANCES) == {name for name, factor in factors.items() if factor.starts}
    assert set(SECONDS) == {
        name for name, factor in factors.items() if factor.second and not factor.fallback
    }
    assert set(PROVE) == set(factors)


@pytest.mark.parametrize("entrance", ENTRANCES)
async def test_entrance_alone(server: Server, entrance: str) -> None:
    """Without a second factor each entrance alone is a login; spare codes change nothing."""
    await has(server, "spare")
    assert (200, None) == code_of(await PROVE[entrance](server, None))


@pytest.mark.parametrize(("entrance", "second"), [*product(ENTRANCES, SECONDS)])
async def test_entrance_with_second_factor(server: Server, entrance: str, second: str) -> None:
    """No entrance passes a second factor by: alone it makes no session, with another it does."""
    await has(server, second)
    answer = await PROVE[entrance](server, None)
    assert ((401, "more_needed"), 0) == (code_of(answer), await count(server, "sessions"))
    helps = answer.json()["next"]
    # Her password and her second factor are all she has; a key is a second factor by itself.
    expected = {"password", second} - {entrance} if entrance in SECONDS else {second}
    assert expected == set(helps)
    done = await PROVE[helps[0]](server, answer.json()["flow"])
    assert ((200, None), 1) == (code_of(done), await count(server, "sessions"))


@pytest.mark.parametrize(("entrance", "second", "other"), [*product(ENTRANCES, SECONDS, PROVE)])
async def test_two_proofs(server: Server, entrance: str, second: str, other: str) -> None:
    """Two proofs are enough exactly where they differ and one of them is a second factor."""
    await has(server, second, "spare", *([other] if other == "code" and second != "code" else []))
    answer = await PROVE[entrance](server, None)
    answer = await PROVE[other](server, answer.json()["flow"])
    rule: Sufficiency = server.auth.logins.rule
    if entrance == other:
        expected: tuple[int, str | None] = (400, "factor_out_of_place")
    elif rule.seconds({entrance, other}):
        expected = (200, None)
    else:
        expected = (401, "more_needed")
    assert expected == code_of(answer)
    assert (1 if expected[0] == 200 else 0) == await count(server, "sessions")


@pytest.mark.parametrize(("entrance", "second"), [*product(ENTRANCES, SECONDS)])
async def test_stepup_with_second_factor(server: Server, entrance: str, second: str) -> None:
    """A session made by a first factor alone, before a second one came, has to prove that."""
    token = (await PROVE[entrance](server, None)).json()["access_token"]
    await has(server, second)
    answer = await server.send("DELETE", "/auth/me", token=token)
    expected = (204, None) if entrance in SECONDS else (403, "stepup_needed")
    assert expected == code_of(answer)
