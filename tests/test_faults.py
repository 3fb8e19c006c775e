"""Faults: fail any statement of any journey, and nothing half-made is left."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import httpx
import pytest
import pytest_asyncio

from picoauth import (
    Caller,
    Conflict,
    LoginFailed,
    Plugin,
    Statement,
    Unavailable,
    User,
)
from picoauth.testing import Server, serving
from picoauth.testing.faults import FaultsPlugin, Faulty, State, each_fault, watched
from picoauth.testing.server import PASSWORD
from tests.factors import PATIENT, PLUGINS, code_of, join, step

pytestmark = pytest.mark.asyncio(loop_scope="module")

PASSING = {"tickets", "throttle"}
"""Tables of what a login needs on its way: a step that failed may have spent a flow or a try."""


KINDS: Mapping[str, type[Plugin[Any]]] = {
    **PLUGINS,
    "faults": FaultsPlugin,
}
SETTINGS = 'plugins = ["faults", "password", "pin", "code", "spare", "key"]' + PATIENT


@dataclass
class Someone:
    """A user, and what she has in hand when a journey begins."""

    server: Server
    user: User
    username: str
    codes: list[str] = field(default_factory=list)
    tokens: Mapping[str, str] = field(default_factory=dict)

    @property
    def pin(self) -> dict[str, str]:
        return {"factor": "pin", "username": self.username, "pin": "1234"}

    async def send(self, method: str, path: str, body: Any = None) -> httpx.Response:
        return await self.server.send(method, path, body, token=self.tokens["access_token"])

    async def factor(self, name: str) -> str:
        [found] = [
            enrolment.id
            for enrolment in await self.server.auth.users.enrolments(self.user.id)
            if enrolment.factor == name
        ]
        return found


Journey = Callable[[Someone], Awaitable[httpx.Response | None]]


async def register(one: Someone) -> httpx.Response:
    body = {"username": f"{one.username}b", "password": PASSWORD, "email": "b@example.org"}
    return await one.server.post("/auth/register", body)


async def login(one: Someone) -> httpx.Response:
    return await step(one.server, **one.pin)


async def login_in_two_steps(one: Someone) -> httpx.Response:
    first = await step(one.server, **one.pin)
    if code_of(first) != (401, "more_needed"):
        return first
    return await step(one.server, first.json()["flow"], code="111111")


async def login_in_one_step(one: Someone) -> httpx.Response:
    return await step(one.server, **one.pin, code="111111")


async def wrong_second_factor(one: Someone) -> httpx.Response:
    return await step(one.server, **one.pin, code="000000")


async def login_by_challenge(one: Someone) -> httpx.Response:
    begun = await one.server.post("/auth/login/begin", {"factor": "key"})
    if begun.status_code != 200:
        return begun
    body = {"factor": "key", "owner": one.username, "verified": True}
    return await step(one.server, begun.json()["flow"], **body)


async def refresh(one: Someone) -> httpx.Response:
    return await one.server.post("/jwt/refresh", token=one.tokens["refresh_token"])


async def stepup(one: Someone) -> httpx.Response:
    return await one.send("POST", "/auth/stepup", {"code": "111111"})


async def password(one: Someone) -> httpx.Response:
    return await one.send("PUT", "/auth/password", {"password": PASSWORD})


async def enrol(one: Someone) -> httpx.Response:
    return await one.send("POST", "/code/enrol", {"code": "222222"})


async def rename_factor(one: Someone) -> httpx.Response:
    return await one.send("PATCH", f"/auth/factors/{await one.factor('pin')}", {"label": "Mine"})


async def remove_factor(one: Someone) -> httpx.Response:
    return await one.send("DELETE", f"/auth/factors/{await one.factor('spare')}")


async def rename(one: Someone) -> httpx.Response:
    return await one.send("PATCH", "/auth/me", {"username": f"{one.username}c", "name": "Ann"})


async def logout(one: Someone) -> httpx.Response:
    return await one.send("POST", "/auth/logout")


async def end_session(one: Someone) -> httpx.Response:
    [session, *_] = await one.server.auth.sessions.list(one.user.id)
    return await one.send("DELETE", f"/auth/sessions/{session.id}")


async def logout_from_all(one: Someone) -> httpx.Response:
    return await one.send("POST", "/auth/logout_from_all")


async def delete(one: Someone) -> httpx.Response:
    return await one.send("DELETE", "/auth/me")


async def disable(one: Someone) -> None:
    await one.server.auth.accounts.disable(one.user.id, Caller())


async def enable(one: Someone) -> None:
    await one.server.auth.accounts.enable(one.user.id, Caller())


async def reset(one: Someone) -> None:
    credentials = one.server.auth.credentials
    user = await one.server.auth.users.require(one.user.id)
    await credentials.reset_credential(user, "pin", [], Caller())


STEPS: tuple[Journey, ...] = (
    login,
    login_in_two_steps,
    login_in_one_step,
    wrong_second_factor,
    login_by_challenge,
    stepup,
)
"""Journeys of more than one write."""
WITH_CODE = (login_in_two_steps, login_in_one_step, wrong_second_factor, stepup)
JOURNEYS: Mapping[Journey, tuple[int, str | None]] = {
    register: (201, None),
    login: (200, None),
    login_in_two_steps: (200, None),
    login_in_one_step: (200, None),
    wrong_second_factor: (401, "proof_refused"),
    login_by_challenge: (200, None),
    refresh: (200, None),
    stepup: (200, None),
    password: (200, None),
    enrol: (200, None),
    rename_factor: (204, None),
    remove_factor: (200, None),
    rename: (200, None),
    logout: (204, None),
    end_session: (204, None),
    logout_from_all: (204, None),
    delete: (204, None),
    disable: (204, None),
    enable: (204, None),
    reset: (204, None),
}
"""What each journey answers when nothing fails."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    async with serving(tmp_path_factory.mktemp("faults"), SETTINGS, plugins=KINDS) as running:
        running.auth.jobs.jobs = ()  # which would delete what is old beside the write that fails
        yield running


NUMBERS = count()


async def someone(server: Server, journey: Journey) -> Someone:
    """A new user who has logged in twice, has a spare code, and a code where the journey needs it."""
    username = f"ann{next(NUMBERS)}"
    one = Someone(server, await join(server, username), username)
    await login(one)
    one.tokens = (await login(one)).json()
    tables = ["spare", "code"] if journey in WITH_CODE else ["spare"]
    for table in tables:
        one.tokens = (await one.send("POST", f"/{table}/enrol", {"code": "111111"})).json()
    server.clock.advance(20)  # beyond the window in which a refresh writes nothing
    return one


async def outcome(journey: Journey, one: Someone) -> tuple[int, str | None]:
    """What a client, or a command, gets to hear."""
    try:
        answer = await journey(one)
    except Unavailable:
        return 503, "unavailable"
    return (204, None) if answer is None else code_of(answer)


def faulty(server: Server) -> Faulty:
    database = server.auth.database
    assert isinstance(database, Faulty)
    return database


async def lasting_state(server: Server) -> State:
    """Every row of what stays when a login is over, but for when a factor was last used."""
    state = await faulty(server).state()
    state["enrolments"] = [row[:-1] for row in state["enrolments"]]
    return {name: rows for name, rows in state.items() if name not in PASSING}


@pytest.mark.parametrize(
    ("journey", "lasting"),
    [
        *(pytest.param(journey, False, id=journey.__name__) for journey in JOURNEYS),
        *(pytest.param(journey, True, id=f"{journey.__name__} from then on") for journey in STEPS),
    ],
)
async def test_any_statement_fails(server: Server, journey: Journey, *, lasting: bool) -> None:
    """The answer is a 503, all tables are as they were, nobody is told, and a retry succeeds."""

    async def prepared() -> tuple[Someone, State, int]:
        await server.auth.database.write(Statement("delete from users"))
        one = await someone(server, journey)
        return one, await lasting_state(server), len(server.events)

    async def work(prepared: tuple[Someone, State, int]) -> tuple[int, str | None]:
        return await outcome(journey, prepared[0])

    # A wrong proof stays one, though its flow could not be kept.
    wrong = {(401, "proof_refused")} if journey is wrong_second_factor else set()
    async for fault in each_fault(prepared, work, lasting=lasting):
        one, before, heard = fault.subject
        assert before == await lasting_state(server), fault.sql
        assert fault.answer in {(503, "unavailable"), *wrong}, fault.sql
        assert {type(event) for event in server.events[heard:]} <= {LoginFailed}
        assert JOURNEYS[journey] == await outcome(journey, one), fault.sql


async def test_flow_after_a_fault(server: Server) -> None:
    """Where the last write of a step fails, the flow goes on with the same proofs."""
    one = await someone(server, login_in_two_steps)
    flow = (await login(one)).json()["flow"]
    with watched() as run:
        await step(server, flow, code="111111")
    for number, sql in enumerate(run.asked):
        one = await someone(server, login_in_two_steps)
        flow = (await login(one)).json()["flow"]
        with watched(fail=number):
            answer = await step(server, flow, code="111111")
        assert (503, "unavailable") == code_of(answer), sql
        # Only the taking of a ticket leaves the old flow as good as it was.
        again = answer.json().get("flow", flow)
        assert 200 == (await step(server, again, code="111111")).status_code, sql


# The faults themselves


async def test_what_goes_before_is_really_done(server: Server) -> None:
    """The engine gets the statements before the fault, and undoes them."""
    database = faulty(server)
    name = Statement("insert into retired_names (hash, retired_at) values (?, 1)", (b"fault",))
    with watched(fail=2) as run:
        await database.write(name)
        with pytest.raises(Unavailable, match=r"^made to fail: delete from tickets$"):
            await database.write(
                Statement("update retired_names set retired_at = 2 where hash = ?", (b"fault",)),
                Statement("delete from\n  tickets"),
                name,
            )
        assert [[(1,)]] == await database.write(
            Statement("delete from retired_names where hash = ? returning retired_at", (b"fault",))
        )
    assert (5, "delete from\n  tickets") == (len(run.asked), run.failed)


async def test_conflict_before_a_fault_is_a_conflict(server: Server) -> None:
    """What would have failed anyhow, before the fault, fails in its own way."""
    missing = Statement("delete from users where id = 'nobody'", rows=1)
    with watched(fail=1), pytest.raises(Conflict, match=r"^statement 0 of the write$"):
        await server.auth.database.write(missing, missing)


async def test_engine_that_never_fails_is_found(server: Server) -> None:
    """An engine that swallows errors would make these tests prove nothing."""

    class Careless:
        read = server.auth.database.read

        async def write(self, *_: Statement) -> list[Any]:
            return []

        async def close(self) -> None: ...

    with watched(fail=0), pytest.raises(AssertionError, match=r"^the engine did what cannot be"):
        await Faulty(Careless()).write(Statement("delete from tickets"))


async def test_work_that_raises(server: Server) -> None:
    """What it raises is in the fault, with the statement that failed."""
    first, second = (Statement(f"delete from\n tickets where purpose = '{n}'") for n in "ab")

    async def nothing() -> None: ...

    async def work(_: None) -> None:
        await server.auth.database.write(first, second)

    faults = [fault async for fault in each_fault(nothing, work)]
    assert [0, 1] == [fault.number for fault in faults]
    assert [None, None] == [fault.answer for fault in faults]
    assert all(isinstance(fault.error, Unavailable) for fault in faults)
    assert "delete from tickets where purpose = 'b'" == faults[1].sql


async def test_work_that_proves_nothing(server: Server) -> None:
    """Work that writes nothing, or not the same again, is found."""
    done = count()

    async def nothing() -> None: ...

    async def once(_: None) -> None:
        if next(done) == 0:
            await server.auth.database.write(Statement("delete from tickets"))

    with pytest.raises(AssertionError, match=r"^the work did not come to delete from tickets"):
        [fault async for fault in each_fault(nothing, once)]
    with pytest.raises(AssertionError, match=r"^the work writes nothing"):
        [fault async for fault in each_fault(nothing, once)]


async def test_engine_that_keeps_half(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an engine leaves of a write that failed is found."""
    database = faulty(server)
    inner = database.inner.write

    async def one_by_one(*statements: Statement) -> list[Any]:
        return [rows for each in statements for rows in await inner(each)]

    async def work(_: None) -> None:
        sql = "insert into retired_names (hash, retired_at) values (?, 1) on conflict do nothing"
        await database.write(Statement(sql, (b"kept",)), Statement("delete from tickets"))

    async def cleared() -> None:
        await inner(Statement("delete from retired_names"))

    monkeypatch.setattr(database.inner, "write", one_by_one)
    with pytest.raises(AssertionError, match=r"^something is left of delete from tickets"):
        [fault async for fault in each_fault(cleared, work)]
    await cleared()


class Standard:
    """A database that knows its tables by the catalogue of the standard alone."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.write = inner, inner.write
        self.error: type[Exception] = LookupError

    async def read(self, sql: str, args: Any = (), *, slow: bool = False) -> Any:
        if "sqlite_master" in sql:
            raise self.error(sql)
        if "information_schema" in sql:
            return [("retired_names",), ("jobs",)]
        return await self.inner.read(sql, args, slow=slow)


async def test_engine_of_another_kind(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its tables are found by the standard; one that is away is not asked again."""
    database = faulty(server)
    monkeypatch.setattr(database, "inner", Standard(database.inner))
    assert ["retired_names"] == [*await database.state()]
    database.inner.error = Unavailable
    with pytest.raises(Unavailable):
        await database.state()


async def test_only_the_watched_work_fails(server: Server) -> None:
    """Whatever else the server does meanwhile is neither counted nor disturbed."""
    with watched(fail=0) as run:
        pass
    await server.auth.database.write(Statement("delete from tickets where purpose = 'none'"))
    assert ([], None) == (run.asked, run.failed)
