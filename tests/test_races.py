"""Races: whatever happens at once, there is one winner, or the documented result."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import count, cycle
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
import pytest_asyncio

from picoauth import (
    Caller,
    Factor,
    Login,
    NoSettings,
    Payload,
    Plugin,
    Proof,
    Session,
    Situation,
    User,
    hookimpl,
    plugins,
)
from picoauth.testing import Clock, Server, serving
from tests.factors import (
    ALL,
    PATIENT,
    PLUGINS,
    PinFactor,
    PinPlugin,
    begin,
    code_of,
    join,
    step,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")
T = TypeVar("T")

CHANGES = [
    "password",
    "reset",
    "enrol",
    "remove",
    "rename",
    "disable",
    "delete",
    "logout_from_all",
]
GONE = ("disable", "delete")
"""Changes after which there is nobody who could log in."""


class Stop:
    """A place where whoever comes by is counted, and held once it is armed."""

    def __init__(self) -> None:
        self.armed = False
        self.passed = 0
        self.reached = asyncio.Event()
        self.free = asyncio.Event()

    async def here(self) -> None:
        self.passed += 1
        if self.armed:
            self.reached.set()
            await self.free.wait()


class HeldPin(PinFactor):
    """A pin that was right or wrong when it was looked at, and is told later."""

    stop: Stop

    async def verify(self, situation: Situation, payload: Payload) -> Proof:
        try:
            return await super().verify(situation, payload)
        finally:
            await self.stop.here()


class HeldPinPlugin(PinPlugin):
    """Offers pins that can be held."""

    @hookimpl
    def factors(self) -> Sequence[Factor]:
        factor = HeldPin(self.auth)
        factor.stop = Stop()
        return [factor]


class GatePlugin(Plugin[NoSettings]):
    """Holds logins that have all their proofs, before their session is made."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.stop = Stop()

    @hookimpl
    async def check_login(self, login: Login) -> None:
        await self.stop.here()


HELD: dict[str, type[Plugin[Any]]] = {**PLUGINS, "pin": HeldPinPlugin, "gate": GatePlugin}
SETTINGS = ALL.replace("]", ', "gate"]')


@dataclass(frozen=True)
class Scene:
    """A user, and one server or two on one file, each with connections and memory of its own."""

    servers: Sequence[Server]
    user: User
    username: str

    @property
    def here(self) -> Server:
        """Where the user logs in."""
        return self.servers[0]

    @property
    def there(self) -> Server:
        """Where something else happens; the same one where there is but one."""
        return self.servers[-1]

    @property
    def pin(self) -> dict[str, Any]:
        return {"username": self.username, "pin": "1234"}

    def each(self, number: int) -> list[Server]:
        """So many servers, in turns."""
        turns = cycle(self.servers)
        return [next(turns) for _ in range(number)]

    def hold(self, where: str) -> Stop:
        """Hold whoever comes to a `proof`, or to the `gate` before the session is made."""
        pin: Any = self.here.auth.factors["pin"]
        gate: Any = self.here.auth.plugins.on["gate"]
        stop: Stop = pin.stop if where == "proof" else gate.stop
        stop.armed = True
        return stop

    async def login(self, **more: Any) -> httpx.Response:
        return await step(self.here, **self.pin, **more)

    async def token(self, **more: Any) -> str:
        token: str = (await self.login(**more)).json()["access_token"]
        return token

    async def enrol(self, *codes: str, table: str = "code") -> str:
        """Give her codes, in one login; answers the newest token."""
        token = await self.token()
        for code in codes:
            answer = await self.here.post(f"/{table}/enrol", {"code": code}, token=token)
            token = answer.json()["access_token"]
        return token

    async def sessions(self) -> list[Session]:
        return list(await self.here.auth.sessions.list(self.user.id))

    async def rows(self, table: str) -> int:
        sql = f"select count(*) from {table} where user_id = ?"
        [(number,)] = await self.here.auth.database.read(sql, (self.user.id,))
        return int(number)

    async def change(self, kind: str) -> None:
        """Let something happen to the account, as its owner or an administrator does it."""
        auth, caller = self.there.auth, Caller()
        sessions, user = await self.sessions(), self.user
        session_id = sessions[-1].id if sessions else ""
        match kind:
            case "password":
                await auth.credentials.change_credential(session_id, "pin", [], caller)
            case "reset":
                current = await auth.users.require(user.id)
                await auth.credentials.reset_credential(current, "pin", [], caller)
            case "enrol":
                key = auth.users.enrolment(user.id, "key")
                await auth.credentials.enrol(session_id, key, [], caller)
            case "remove":
                [code] = [e for e in await auth.users.enrolments(user.id) if e.factor == "code"]
                await auth.credentials.remove_factor(session_id, code.id, caller)
            case "rename":
                await auth.accounts.change(user.id, {"username": f"{self.username}a"}, caller)
            case "disable":
                await auth.accounts.disable(user.id, caller)
            case "delete":
                await auth.accounts.delete(user.id, caller)
            case "logout_from_all":
                await auth.accounts.logout_from_all(user.id, caller)

    async def accepted(self, token: str) -> bool:
        """Whether every server takes a token, once each has looked what was revoked."""
        statuses = set()
        for server in self.servers:
            await server.auth.revocations.poll()
            statuses.add((await server.post("/jwt/validate", token=token)).status_code)
        assert 1 == len(statuses)
        return statuses == {200}


@pytest_asyncio.fixture(
    scope="module", loop_scope="module", params=[1, 2], ids=["one server", "two servers"]
)
async def servers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[list[Server]]:
    folder, clock, found = tmp_path_factory.mktemp("races"), Clock(), []
    async with AsyncExitStack() as stack:
        for _ in range(request.param):
            running = serving(folder, SETTINGS + PATIENT, plugins=HELD, clock=clock)
            found.append(await stack.enter_async_context(running))
        yield found


NUMBERS = count()


@pytest_asyncio.fixture(loop_scope="module")
async def scene(servers: list[Server], monkeypatch: pytest.MonkeyPatch) -> Scene:
    """A new user with a pin; nothing holds her, and what does will not be given up."""
    monkeypatch.setattr(plugins, "PATIENCE", 60)
    username = f"ann{next(NUMBERS)}"
    for server in servers:
        pin: Any = server.auth.factors["pin"]
        gate: Any = server.auth.plugins.on["gate"]
        pin.stop, gate.stop = Stop(), Stop()
    return Scene(servers, await join(servers[0], username), username)


async def at_once(attempts: Iterable[Awaitable[T]]) -> list[T]:
    return list(await asyncio.gather(*attempts))


def codes(answers: Iterable[httpx.Response]) -> Counter[tuple[int, str | None]]:
    return Counter(code_of(answer) for answer in answers)


# An account changes while a login is under way: each bad moment, forced


@pytest.mark.parametrize("kind", CHANGES)
async def test_change_before_the_session_is_made(scene: Scene, kind: str) -> None:
    """A login whose proofs are all right, held while a change commits, leaves no session."""
    await scene.enrol("111111")
    stop = scene.hold("gate")
    login = asyncio.create_task(scene.login(code="111111"))
    await stop.reached.wait()
    await scene.change(kind)
    after = await scene.sessions()
    stop.free.set()
    answer = await login
    assert ((401, "start_over"), False) == (code_of(answer), "flow" in answer.json())
    assert after == await scene.sessions()


@pytest.mark.parametrize("kind", CHANGES)
async def test_change_while_a_proof_is_looked_at(scene: Scene, kind: str) -> None:
    """The epoch is read before the credential: a change during that look is seen."""
    await scene.enrol("111111")
    stop = scene.hold("proof")
    login = asyncio.create_task(scene.login(code="111111"))
    await stop.reached.wait()
    await scene.change(kind)
    after = await scene.sessions()
    stop.free.set()
    answer = await login
    expected = "flow_ended" if kind in GONE else "start_over"
    assert ((401, expected), False) == (code_of(answer), "flow" in answer.json())
    assert after == await scene.sessions()


@pytest.mark.parametrize("path", ["/auth/login", "/auth/login/begin"])
@pytest.mark.parametrize("kind", CHANGES)
async def test_change_between_two_steps(scene: Scene, kind: str, path: str) -> None:
    """A flow whose account changed since its first proof starts over, at a proof or a challenge."""
    await scene.enrol("111111")
    flow = (await scene.login()).json()["flow"]
    await scene.change(kind)
    after = await scene.sessions()
    answer = await scene.here.post(path, {"flow": flow, "factor": "code", "code": "111111"})
    expected = "flow_ended" if kind in GONE else "start_over"
    assert ((401, expected), False) == (code_of(answer), "flow" in answer.json())
    assert after == await scene.sessions()


@pytest.mark.parametrize("kind", CHANGES)
async def test_change_while_a_session_proves_itself(scene: Scene, kind: str) -> None:
    """A step-up that raced with a change gains nothing; one that changed itself goes on."""
    token = await scene.enrol("111111")
    scene.here.clock.advance(60)
    stop = scene.hold("proof")
    body = {**scene.pin, "code": "111111"}
    stepup = asyncio.create_task(scene.here.post("/auth/stepup", body, token=token))
    await stop.reached.wait()
    await scene.change(kind)
    after = await scene.sessions()
    stop.free.set()
    answer = await stepup
    expected = "session_ended" if kind in GONE else "start_over"
    assert ((401, expected), False) == (code_of(answer), "flow" in answer.json())
    assert after == await scene.sessions()


async def test_account_that_goes_while_its_flow_is_written(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proof of a user who is deleted at that very moment is refused, and hands out no flow."""
    await scene.enrol("111111")
    prove = scene.here.auth.logins.proving.proof

    async def deleting(*args: Any) -> Any:
        proven = await prove(*args)
        await scene.change("delete")
        return proven

    monkeypatch.setattr(scene.here.auth.logins.proving, "proof", deleting)
    answer = await scene.login()
    assert ((401, "proof_refused"), 0) == (code_of(answer), await scene.rows("tickets"))
    assert "flow" not in answer.json()


@pytest.mark.parametrize("pin", ["1234", "4321"])
async def test_second_proof_of_a_deleted_user(scene: Scene, pin: str) -> None:
    """Where the account is gone, neither a right proof nor a wrong one hands out a flow."""
    await scene.enrol("111111")
    flow = await begin(scene.here, "key")
    first = await step(scene.here, flow, factor="key", owner=scene.username)
    stop = scene.hold("proof")
    login = asyncio.create_task(step(scene.here, first.json()["flow"], factor="pin", pin=pin))
    await stop.reached.wait()
    await scene.change("delete")
    stop.free.set()
    answer = await login
    assert ((401, "start_over"), False) == (code_of(answer), "flow" in answer.json())


# A proof is spent while another request is about to spend it


@pytest.mark.parametrize(
    ("spent", "rest"),
    [({"code": "111111"}, {"spare": "999999"}), ({"spare": "999999"}, {"spare": "888888"})],
    ids=["before another", "as the last"],
)
async def test_proof_that_is_spent_before_the_session_is_made(
    scene: Scene, spent: dict[str, str], rest: dict[str, str]
) -> None:
    """It is refused; what was proven before it counts, and what came after it is unspent."""
    await scene.enrol("999999", "888888", table="spare")
    await scene.enrol("111111", "222222")
    stop = scene.hold("gate")
    login = asyncio.create_task(scene.login(code="111111", spare="999999"))
    await stop.reached.wait()
    stop.armed = False
    assert 200 == (await scene.login(**spent)).status_code
    stop.free.set()
    answer = await login
    assert (401, "proof_refused") == code_of(answer)
    again = await step(scene.here, answer.json()["flow"], **rest)
    claims = await scene.here.post("/jwt/validate", token=again.json()["access_token"])
    assert ["pin", "otp", "mfa"] == claims.json()["amr"]


async def test_proof_that_is_spent_before_its_flow_is_kept(scene: Scene) -> None:
    """A wrong proof beside a spent one: both are refused, and the flow keeps what it had."""
    await scene.enrol("111111", "222222")
    flow = await begin(scene.here, "key")
    flow = (await step(scene.here, flow, factor="key", owner=scene.username)).json()["flow"]
    stop = scene.hold("proof")
    body = {"factor": "code", "code": "111111", "pin": "4321"}
    login = asyncio.create_task(step(scene.here, flow, **body))
    await stop.reached.wait()
    stop.armed = False
    assert 200 == (await scene.login(code="111111")).status_code
    stop.free.set()
    answer = await login
    assert (401, "proof_refused") == code_of(answer)
    again = await step(scene.here, answer.json()["flow"], code="222222")
    claims = await scene.here.post("/jwt/validate", token=again.json()["access_token"])
    assert ["hwk", "otp", "mfa"] == claims.json()["amr"]


async def test_challenge_after_a_proof_that_was_spent(scene: Scene) -> None:
    """A challenge that was looked at is gone, though the proof that answered it does not count."""
    await scene.enrol("111111")
    flow = await begin(scene.here, "key", (await scene.login()).json()["flow"])
    stop = scene.hold("gate")
    key = {"owner": scene.username}
    login = asyncio.create_task(step(scene.here, flow, factor="code", code="111111", key=key))
    await stop.reached.wait()
    stop.armed = False
    assert 200 == (await scene.login(code="111111")).status_code
    stop.free.set()
    answer = await login
    assert (401, "proof_refused") == code_of(answer)
    again = await step(scene.here, answer.json()["flow"], key=key)
    assert (400, "invalid_body") == code_of(again)


# Fifty at once


async def test_fifty_register_one_name(scene: Scene) -> None:
    """Three ways to write a name make one user, and forty-nine refusals (P-9)."""
    name = f"{scene.username}b"
    wide = "".join(chr(ord(letter) + 0xFEE0) for letter in name)
    names = [name, name.upper(), wide]

    async def attempt(server: Server, number: int) -> str:
        try:
            return (await join(server, names[number % 3])).id
        except Exception as error:  # noqa: BLE001 - each is counted
            return str(error)

    attempts = [attempt(server, number) for number, server in enumerate(scene.each(50))]
    answers = Counter(await at_once(attempts))
    found = await scene.here.auth.users.find("username", name)
    assert found is not None
    assert {found.id: 1, "username_taken": 49} == answers


@pytest.mark.parametrize(
    ("code", "expected"), [("111111", (200, None)), ("000000", (401, "proof_refused"))]
)
async def test_fifty_on_one_flow(scene: Scene, code: str, expected: tuple[int, str]) -> None:
    """Of fifty racers with one flow one is heard, right or wrong."""
    await scene.enrol("111111")
    flow = (await scene.login()).json()["flow"]
    answers = await at_once(step(server, flow, code=code) for server in scene.each(50))
    assert {expected: 1, (401, "flow_ended"): 49} == codes(answers)


async def test_fifty_flows_with_one_code(scene: Scene) -> None:
    """Of fifty logins with one code one gets a session; each other may go on with another code."""
    await scene.enrol("111111", "222222")
    flows = [(await scene.login()).json()["flow"] for _ in range(50)]
    attempts = zip(scene.each(50), flows, strict=True)
    answers = await at_once(step(server, flow, code="111111") for server, flow in attempts)
    assert {(200, None): 1, (401, "proof_refused"): 49} == codes(answers)
    lost = next(answer for answer in answers if answer.status_code != 200)
    assert 200 == (await step(scene.there, lost.json()["flow"], code="222222")).status_code


async def test_fifty_logins_in_one_step_with_one_code(scene: Scene) -> None:
    """Whether the code was spent before the look or after it, the pin that came with it counts."""
    await scene.enrol("111111")
    before = len(await scene.sessions())
    body = {**scene.pin, "code": "111111"}
    answers = await at_once(step(server, **body) for server in scene.each(50))
    assert {(200, None): 1, (401, "proof_refused"): 49} == codes(answers)
    assert 49 == sum("flow" in answer.json() for answer in answers)
    assert before + 1 == len(await scene.sessions())


@pytest.mark.parametrize("kind", ["password", "enrol", "disable", "delete", "logout_from_all"])
async def test_fifty_logins_against_a_change(scene: Scene, kind: str) -> None:
    """No session lives that was made under an older epoch, but for that of the change itself.

    The sessions that live are those whose tokens are accepted, and nobody else got any.
    """
    own = await scene.token()
    [mine] = await scene.sessions()

    async def ten(server: Server) -> list[httpx.Response]:
        return [await step(server, **scene.pin) for _ in range(10)]

    async def changing() -> list[httpx.Response]:
        await scene.change(kind)
        return []

    attempts = [ten(server) for server in scene.each(5)]
    groups = await at_once([*attempts[:2], changing(), *attempts[2:]])
    answers = [answer for group in groups for answer in group]
    refused = {code_of(answer) for answer in answers if answer.status_code != 200}
    gone = {(401, "proof_refused"), (401, "flow_ended")} if kind in GONE else set()
    more = {(401, "more_needed")} if kind == "enrol" else set()
    assert refused <= {(401, "start_over"), *gone, *more}
    tokens = [own, *(a.json()["access_token"] for a in answers if a.status_code == 200)]
    alive = await scene.sessions()
    assert len(alive) == sum([await scene.accepted(token) for token in tokens])
    user = await scene.here.auth.users.get(scene.user.id)
    epochs = {session.epoch for session in alive if session.id != mine.id}
    assert epochs <= ({user.epoch} if user and user.disabled_at is None else set())


async def test_fifty_stepups_on_one_flow(scene: Scene) -> None:
    """Of fifty racers with one flow of a step-up one gets a token."""
    token = await scene.enrol("111111")
    begun = await scene.here.post("/auth/stepup/begin", {"factor": "code"}, token=token)
    body = {"flow": begun.json()["flow"], "code": "111111"}
    answers = await at_once(s.post("/auth/stepup", body, token=token) for s in scene.each(50))
    assert {(200, None): 1, (401, "flow_ended"): 49} == codes(answers)


async def test_fifty_stepups_with_one_code(scene: Scene) -> None:
    """One code proves a session afresh once; the others may go on with another."""
    token = await scene.enrol("111111", "222222")
    body = {"code": "111111"}
    answers = await at_once(s.post("/auth/stepup", body, token=token) for s in scene.each(50))
    assert {(200, None): 1, (401, "proof_refused"): 49} == codes(answers)


async def test_fifty_refreshes_and_stepups(scene: Scene) -> None:
    """Refreshes and step-ups at once leave one session, one generation further."""
    tokens = (await scene.login()).json()
    scene.here.clock.advance(60)
    token, refresh = tokens["access_token"], tokens["refresh_token"]
    refreshing = [server.post("/jwt/refresh", token=refresh) for server in scene.each(25)]
    proving = [s.post("/auth/stepup", scene.pin, token=token) for s in scene.each(25)]
    answers = await at_once(
        attempt for both in zip(refreshing, proving, strict=True) for attempt in both
    )
    assert {(200, None): 50} == codes(answers)
    [session] = await scene.sessions()
    assert (1, scene.here.auth.now()) == (session.generation, session.auth_time)


async def test_factors_that_are_removed_at_once(scene: Scene) -> None:
    """Two sessions that each remove another of two factors leave one, with which to log in."""
    auth = scene.here.auth
    await scene.token()
    await scene.change("enrol")
    pin, key = sorted(await auth.users.enrolments(scene.user.id), key=lambda e: e.factor == "key")
    [session] = await scene.sessions()

    async def attempt(server: Server, enrolment_id: str) -> str:
        try:
            await server.auth.credentials.remove_factor(session.id, enrolment_id, Caller())
        except Exception as error:  # noqa: BLE001 - each is counted
            return str(error)
        return "removed"

    both = cycle([pin.id, key.id])
    answers = Counter(await at_once(attempt(server, next(both)) for server in scene.each(50)))
    assert (1, 1) == (answers.pop("removed"), len(await auth.users.enrolments(scene.user.id)))
    assert set(answers) <= {"start_over", "last_factor", "not_found"}


async def test_factor_that_is_enrolled_twice_at_once(scene: Scene) -> None:
    """Of fifty sessions that enrol at once one does, and ends the others."""
    tokens = [await scene.token() for _ in range(50)]
    attempts = zip(scene.each(50), tokens, strict=True)
    answers = await at_once(
        server.post("/code/enrol", {"code": str(number)}, token=token)
        for number, (server, token) in enumerate(attempts)
    )
    found = codes(answers)
    assert 1 == found.pop((200, None))
    # On a database elsewhere the factor may be seen when the session was looked at before its end.
    refusals = {(401, "start_over"), (401, "session_ended"), (403, "stepup_needed")}
    assert set(found) <= refusals
    assert (1, 1) == (await scene.rows("code"), len(await scene.sessions()))


@pytest.mark.parametrize("many", [1, 2], ids=["one server", "two servers"])
async def test_two_hundred_guesses(tmp_path: Path, many: int) -> None:
    """Failures are counted before anything is checked: a flood evaluates the limit, no more (A-2)."""
    settings, clock = f"{SETTINGS}\n[throttle]\nfailures = 10", Clock()
    async with AsyncExitStack() as stack:
        servers = [
            await stack.enter_async_context(serving(tmp_path, settings, plugins=HELD, clock=clock))
            for _ in range(many)
        ]
        scene = Scene(servers, await join(servers[0]), "ann")
        body = {**scene.pin, "pin": "4321"}
        answers = await at_once(step(server, **body) for server in scene.each(200))
        assert {(401, "proof_refused"): 10, (429, "too_many_attempts"): 190} == codes(answers)
        pins: list[Any] = [server.auth.factors["pin"] for server in servers]
        assert 10 == sum(pin.stop.passed for pin in pins)
