"""Each way to begin a login, with each second factor that a user may have enrolled."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from itertools import count, product

import httpx
import pytest
import pytest_asyncio

from picoauth import Statement, User
from picoauth.testing import Server, serving
from picoauth.testing.server import PASSWORD
from tests.factors import EVERY, PLUGINS, begin, code_of, step

pytestmark = pytest.mark.asyncio(loop_scope="module")

COPY = """
    insert into password (user_id, enrolment_id, hash, pepper_id, changed_at)
    select ?, ?, hash, pepper_id, changed_at from password where user_id = ?
"""


@dataclass(frozen=True)
class Someone:
    """A user of a server that all tests here share, and what she can do there."""

    server: Server
    user: User
    username: str

    async def password(self, flow: str | None) -> httpx.Response:
        body = {"factor": "password", "username": self.username, "password": PASSWORD}
        return await step(self.server, flow, **body)

    async def key(self, flow: str | None) -> httpx.Response:
        flow = await begin(self.server, "key", flow)
        return await step(self.server, flow, factor="key", owner=self.username)

    async def link(self, flow: str | None) -> httpx.Response:
        flow = await begin(self.server, "link", flow, to=self.username)
        return await step(self.server, flow, factor="link", clicked=True)

    async def code(self, flow: str | None) -> httpx.Response:
        return await step(self.server, flow, factor="code", code="111111")

    async def spare(self, flow: str | None) -> httpx.Response:
        return await step(self.server, flow, factor="spare", spare="111111")

    def prove(self, factor: str) -> Callable[[str | None], Awaitable[httpx.Response]]:
        proving: Callable[[str | None], Awaitable[httpx.Response]] = getattr(self, factor)
        return proving

    async def has(self, *factors: str) -> None:
        """Write enrolments, as their plugins do."""
        for factor in factors:
            enrolment = self.server.auth.users.enrolment(self.user.id, factor)
            row = f"insert into {factor} values (?, ?, '111111')"
            coded = factor in ("code", "spare")
            rows = [Statement(row, (self.user.id, enrolment.id))] if coded else []
            enrolling = self.server.auth.users.enrolling(enrolment)
            await self.server.auth.database.write(enrolling, *rows)

    async def sessions(self) -> int:
        return len(await self.server.auth.sessions.list(self.user.id))


ENTRANCES = ("password", "key", "link")
SECONDS = ("code", "key")
FACTORS = (*ENTRANCES, "code", "spare")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """A server with every kind of factor, and one registered user."""
    async with serving(tmp_path_factory.mktemp("matrix"), EVERY, plugins=PLUGINS) as running:
        await running.register("model")
        yield running


NUMBERS = count()


@pytest_asyncio.fixture(loop_scope="module")
async def someone(server: Server) -> Someone:
    """A new user whose password is that of the registered one, without the work of hashing it."""
    model = await server.auth.users.find("username", "model")
    assert model is not None
    username = f"ann{next(NUMBERS)}"
    draft = server.auth.users.draft(username=username)
    enrolment = server.auth.users.enrolment(draft.user_id, "password")
    copy = Statement(COPY, (draft.user_id, enrolment.id, model.id), rows=1)
    user, _ = await server.auth.users.register(draft, [copy], enrolments=[enrolment])
    return Someone(server, user, username)


async def test_matrix_is_whole(server: Server) -> None:
    """Every factor of the server that starts, and every second one, is in the matrix."""
    factors = server.auth.factors
    assert set(ENTRANCES) == {name for name, factor in factors.items() if factor.starts}
    assert set(SECONDS) == {
        name for name, factor in factors.items() if factor.second and not factor.fallback
    }
    assert set(FACTORS) == set(factors)


@pytest.mark.parametrize("entrance", ENTRANCES)
async def test_entrance_alone(someone: Someone, entrance: str) -> None:
    """Without a second factor each entrance alone is a login; spare codes change nothing."""
    await someone.has("spare")
    assert (200, None) == code_of(await someone.prove(entrance)(None))


@pytest.mark.parametrize(("entrance", "second"), [*product(ENTRANCES, SECONDS)])
async def test_entrance_with_second_factor(someone: Someone, entrance: str, second: str) -> None:
    """No entrance passes a second factor by: alone it makes no session, with another it does."""
    await someone.has(second)
    answer = await someone.prove(entrance)(None)
    assert ((401, "more_needed"), 0) == (code_of(answer), await someone.sessions())
    helps = answer.json()["next"]
    # Her password and her second factor are all she has; a key is a second factor by itself.
    expected = {"password", second} - {entrance} if entrance in SECONDS else {second}
    assert expected == set(helps)
    done = await someone.prove(helps[0])(answer.json()["flow"])
    assert ((200, None), 1) == (code_of(done), await someone.sessions())


@pytest.mark.parametrize(
    ("entrance", "second", "other"),
    [each for each in product(ENTRANCES, SECONDS, FACTORS) if each[0] != each[2]],
)
async def test_two_proofs(someone: Someone, entrance: str, second: str, other: str) -> None:
    """Two proofs of different factors are enough exactly where one of them is a second factor."""
    await someone.has(*{second, "spare", *({"code"} & {other})})
    answer = await someone.prove(entrance)(None)
    answer = await someone.prove(other)(answer.json()["flow"])
    enough = bool({"code", "spare", "key"} & {entrance, other})
    assert ((200, None) if enough else (401, "more_needed")) == code_of(answer)
    assert (1 if enough else 0) == await someone.sessions()


@pytest.mark.parametrize(("entrance", "second"), [*product(ENTRANCES, SECONDS)])
async def test_stepup_with_second_factor(someone: Someone, entrance: str, second: str) -> None:
    """A session made by a first factor alone, before a second one came, has to prove that."""
    token = (await someone.prove(entrance)(None)).json()["access_token"]
    await someone.has(second)
    answer = await someone.server.send("DELETE", "/auth/me", token=token)
    expected = (204, None) if entrance in SECONDS else (403, "stepup_needed")
    assert expected == code_of(answer)
