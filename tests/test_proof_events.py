"""Events of proofs: committed in the write in which a proof counts, told after it, once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from picoauth import (
    Addition,
    Caller,
    Event,
    Login,
    NoSettings,
    Payload,
    Plugin,
    Problem,
    Proof,
    Situation,
    Statement,
    Unavailable,
    hookimpl,
    problems,
)
from picoauth.testing import Server, serving
from tests.factors import (
    ALL,
    PATIENT,
    PIN,
    PLUGINS,
    CodeFactor,
    CodePlugin,
    PinFactor,
    PinPlugin,
    code_of,
    enrol,
    join,
    step,
)

NOTE = "insert into witness values (?)"
CODE = "111111"


@dataclass(frozen=True, kw_only=True)
class ProofUsed(Event):
    """A proof of this factor counts."""

    factor: str
    more: Any = None


def telling(proof: Proof, factor: str, at: int, caller: Caller) -> Proof:
    event = ProofUsed(at=at, user_id=proof.user.id, caller=caller, factor=factor)
    return replace(proof, events=[event])


class TellingPinFactor(PinFactor):
    """A pin that tells of its use."""

    async def verify(self, situation: Situation, payload: Payload) -> Proof:
        proof = await super().verify(situation, payload)
        return telling(proof, self.name, self.auth.now(), situation.caller)


class TellingPinPlugin(PinPlugin):
    @hookimpl
    def factors(self) -> Sequence[TellingPinFactor]:
        return [TellingPinFactor(self.auth)]


class TellingCodeFactor(CodeFactor):
    """Codes that tell of their use."""

    async def verify(self, situation: Situation, payload: Payload) -> Proof:
        proof = await super().verify(situation, payload)
        return telling(proof, self.name, self.auth.now(), situation.caller)


class TellingCodePlugin(CodePlugin):
    factor_type = TellingCodeFactor


class Witness(Plugin[NoSettings]):
    """Writes down each use of a proof, and hears of it afterwards."""

    heard: Sequence[tuple[str, int]] = ()
    """The factor of each use, and how many uses were written down by then."""
    adds: Sequence[Statement] = ()
    """What joins the write of a code, besides."""
    denies: Problem | None = None

    @hookimpl
    def migrations(self) -> Sequence[str]:
        return ["create table witness (factor text not null)"]

    @hookimpl
    def record(self, event: Event) -> Addition | None:
        if not isinstance(event, ProofUsed):
            return None
        more = self.adds if event.factor == "code" else ()
        return Addition([Statement(NOTE, (event.factor,)), *more], reply="nobody gets it")

    @hookimpl
    async def on(self, event: Event) -> None:
        if isinstance(event, ProofUsed):
            noted = await self.auth.database.read("select count(*) from witness")
            self.heard = [*self.heard, (event.factor, noted[0][0])]

    @hookimpl
    async def check_login(self, login: Login) -> Problem | None:
        return self.denies


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    """A server whose pins and codes tell of their use; Ann has a pin, and two codes."""
    kinds = {**PLUGINS, "pin": TellingPinPlugin, "code": TellingCodePlugin, "witness": Witness}
    settings = ALL.replace('"link"', '"link", "witness"') + PATIENT
    async with serving(tmp_path, settings, plugins=kinds) as running:
        await join(running)
        await enrol(running, CODE)
        await running.auth.database.write(
            Statement("insert into code select user_id, enrolment_id, '222222' from code"),
        )
        await forget(running)
        yield running


def witness(server: Server) -> Witness:
    plugin = server.auth.plugins.on["witness"]
    assert isinstance(plugin, Witness)
    return plugin


async def forget(server: Server) -> None:
    await server.auth.database.write(Statement("delete from witness"))
    await told(server)
    server.events.clear()
    witness(server).heard = []


async def told(server: Server) -> list[str]:
    """The factors whose use was told, each as often as it was."""
    await server.auth.events.settle()
    return [event.factor for event in server.events.of(ProofUsed)]


async def noted(server: Server) -> list[str]:
    """The factors whose use was committed."""
    return [name for (name,) in await server.auth.database.read("select factor from witness")]


async def codes(server: Server) -> list[str]:
    """Those that are good still."""
    rows = await server.auth.database.read("select code from code order by code")
    return [code for (code,) in rows]


async def test_login_in_one_step(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """Each proof is told once, in order, when all is committed; the log has a line of each."""
    caplog.set_level(logging.INFO, "picoauth.events")
    answer = await step(server, **PIN, code=CODE)
    assert (200, None) == code_of(answer)
    assert "witness" not in answer.json()
    assert ["pin", "code"] == await told(server) == await noted(server)
    assert [("code", 2), ("pin", 2)] == sorted(witness(server).heard)
    lines = [r.getMessage() for r in caplog.records if "ProofUsed" in r.getMessage()]
    assert 2 == len(lines)
    event = server.events.of(ProofUsed)[0]
    assert (server.auth.now(), "127.0.0.1") == (event.at, event.caller.address)


async def test_login_in_two_steps(server: Server) -> None:
    """What the first step kept is told then, and not again by the second."""
    first = await step(server, **PIN)
    assert (401, "more_needed") == code_of(first)
    assert ["pin"] == await told(server) == await noted(server)
    assert [("pin", 1)] == witness(server).heard
    assert (200, None) == code_of(await step(server, first.json()["flow"], code=CODE))
    assert ["pin", "code"] == await told(server) == await noted(server)


async def test_stepup(server: Server) -> None:
    """A session that proves itself afresh tells of the proof."""
    token = (await step(server, **PIN, code=CODE)).json()["access_token"]
    await forget(server)
    body = {"factor": "code", "code": "222222"}
    answer = await server.post("/auth/stepup", body, token=token)
    assert (200, None) == code_of(answer)
    assert "witness" not in answer.json()
    assert ["code"] == await told(server) == await noted(server)
    assert [("code", 1)] == witness(server).heard


async def test_proof_beside_a_wrong_one(server: Server) -> None:
    """What counts in a refused step is kept with its flow, and told; what is refused is not."""
    answer = await step(server, **PIN, code="000000")
    assert (401, "proof_refused") == code_of(answer)
    assert ["pin"] == await told(server) == await noted(server)
    wrong = await step(server, answer.json()["flow"], code="000000")
    assert (401, "proof_refused") == code_of(wrong)
    assert ["pin"] == await told(server) == await noted(server)


async def test_step_of_which_nothing_is_kept(server: Server) -> None:
    """A proof beside a wrong one, at the last try, counts for nothing."""
    token = (await step(server, **PIN, code=CODE)).json()["access_token"]
    await forget(server)
    flow = (await server.post("/auth/stepup/begin", {"factor": "key"}, token=token)).json()["flow"]
    for _ in range(4):
        wrong = await server.post("/auth/stepup", {"flow": flow, "code": "000000"}, token=token)
        flow = wrong.json()["flow"]
    body = {"flow": flow, "factor": "code", "code": "222222", "key": {"owner": "nobody"}}
    answer = await server.post("/auth/stepup", body, token=token)
    assert ((401, "proof_refused"), False) == (code_of(answer), "flow" in answer.json())
    assert [] == await told(server) == await noted(server)
    assert ["222222"] == await codes(server)


async def test_one_code_fifty_times_at_once(server: Server) -> None:
    """Only the one that is spent is told."""
    flows = [(await step(server, **PIN)).json()["flow"] for _ in range(50)]
    await forget(server)
    answers = await asyncio.gather(*(step(server, flow, code=CODE) for flow in flows))
    found = [code_of(answer) for answer in answers]
    assert (1, 49) == (found.count((200, None)), found.count((401, "proof_refused")))
    assert ["code"] == await told(server) == await noted(server)


@pytest.mark.parametrize("steps", [1, 2])
async def test_account_that_changes_meanwhile(
    server: Server, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    """A login that raced with a change of credentials tells of no proof (K-13)."""
    body: dict[str, Any] = {**PIN, "code": CODE}
    if steps == 2:
        body = {"flow": (await step(server, **PIN)).json()["flow"], "code": CODE}
    await forget(server)
    check, rise = server.auth.check_login, Statement("update users set epoch = epoch + 1")

    async def rising(login: Login) -> None:
        await check(login)
        await server.auth.database.write(rise)

    monkeypatch.setattr(server.auth, "check_login", rising)
    assert (401, "start_over") == code_of(await step(server, **body))
    assert [] == await told(server) == await noted(server)
    assert [CODE, "222222"] == await codes(server)


@pytest.mark.parametrize("path", ["/auth/login", "/auth/stepup"])
async def test_database_that_is_down(
    server: Server, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """Nothing happened where nothing was written; when it can be, it is told once."""
    token = (await step(server, **PIN, code="222222")).json()["access_token"]
    await forget(server)
    body, write = {**PIN, "code": CODE}, server.auth.database.write

    async def failing(*statements: Statement) -> Any:
        if any("witness" in statement.sql for statement in statements):
            raise Unavailable("the disk is full")
        return await write(*statements)

    given = token if path == "/auth/stepup" else None
    with monkeypatch.context() as patch:
        patch.setattr(server.auth.database, "write", failing)
        assert (503, "unavailable") == code_of(await server.post(path, body, token=given))
    assert [] == await told(server) == await noted(server)
    assert (200, None) == code_of(await server.post(path, body, token=given))
    assert ["pin", "code"] == await told(server) == await noted(server)


async def test_login_that_a_plugin_denies(server: Server) -> None:
    """What `check_login` denies spends no code, and tells of none."""
    witness(server).denies = problems.REFUSED
    assert (403, "refused") == code_of(await step(server, **PIN, code=CODE))
    assert [] == await told(server) == await noted(server)
    assert [CODE, "222222"] == await codes(server)


async def test_record_joins_the_write(server: Server) -> None:
    """What plugins add to an event of a proof is committed with it."""
    witness(server).adds = [Statement("update users set locale = 'xx'", rows=1)]
    assert (200, None) == code_of(await step(server, **PIN, code=CODE))
    assert [("xx",)] == await server.auth.database.read("select locale from users")


@pytest.mark.parametrize("steps", [1, 2])
async def test_record_whose_statement_misses(server: Server, steps: int) -> None:
    """The proof is refused: nothing of it is written, what was proven before it stays."""
    witness(server).adds = [Statement("delete from users where id = 'nobody'", rows=1)]
    flow = (await step(server, **PIN)).json()["flow"] if steps == 2 else None
    answer = await step(server, flow, **({} if flow else PIN), code=CODE)
    assert (401, "proof_refused") == code_of(answer)
    assert ["pin"] == await told(server) == await noted(server)
    assert [CODE, "222222"] == await codes(server)
    witness(server).adds = ()
    assert (200, None) == code_of(await step(server, answer.json()["flow"], code=CODE))
    assert ["pin", "code"] == await told(server) == await noted(server)


@pytest.mark.parametrize("path", ["/auth/login", "/auth/stepup"])
async def test_record_that_fails(
    server: Server, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """A plugin that cannot record undoes the step, since it may be an audit."""
    token = (await step(server, **PIN, code="222222")).json()["access_token"]
    await forget(server)
    monkeypatch.setattr(witness(server), "adds", ["no statement"])
    given = token if path == "/auth/stepup" else None
    answer = await server.post(path, {**PIN, "code": CODE}, token=given)
    assert (500, "internal_error") == code_of(answer)
    assert [] == await told(server) == await noted(server)
    assert [CODE] == await codes(server)


async def test_event_that_no_log_can_carry(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """It fails before the write, not after it."""
    make = telling

    def odd(*arguments: Any) -> Proof:
        proof = make(*arguments)
        [event] = proof.events
        return replace(proof, events=[replace(event, more=object())])

    monkeypatch.setitem(globals(), "telling", odd)
    assert (500, "internal_error") == code_of(await step(server, **PIN, code=CODE))
    assert [] == await told(server) == await noted(server)
    assert [CODE, "222222"] == await codes(server)
