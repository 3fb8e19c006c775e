"""Factors that break a promise fail the contract, and so does a server that forgets one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from contextvars import Context
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from picoauth import (
    Attemptee,
    Auth,
    AuthError,
    Challenge,
    Denied,
    Factor,
    Payload,
    Plugin,
    Problem,
    Proof,
    Situation,
    Statement,
    hookimpl,
    problems,
)
from picoauth.sufficiency import Sufficiency
from picoauth.testing import Server, Someone, serving
from picoauth.testing.contracts import FactorContract, MatrixContract
from picoauth.testing.contracts.factor import Bench, interrupted, shape
from tests.factors import (
    CEREMONIES,
    PLUGINS,
    CodeFactor,
    CodePlugin,
    LinkFactor,
    LinkPlugin,
    PinCeremony,
    PinFactor,
    PinPlugin,
)
from tests.mutants import fails, run
from tests.storage import exactly


class Careless(PinFactor):
    """Takes no pin for any pin."""

    async def verify(self, situation: Situation, payload: Payload) -> Proof:
        user = situation.user or situation.claimed
        if user is not None and payload.get("pin") in ("", None):
            return Proof(user=user, amr=("pin",))
        return await super().verify(situation, payload)


class Trusting(PinFactor):
    """Believes that a client sends what it should."""

    async def verify(self, situation: Situation, payload: Payload) -> Proof:
        if len(payload["pin"]) > 100:
            raise Denied(self.refused)
        return await super().verify(situation, payload)


class Talkative(PinFactor):
    """Says whom it does not know."""

    async def verify(self, situation: Situation, payload: Payload) -> Proof:
        if situation.user is None and situation.claimed is None:
            raise AuthError(problems.NOT_FOUND)
        return await super().verify(situation, payload)


class Polite(PinFactor):
    """Says who may not come in."""

    async def verify(self, situation: Situation, payload: Payload) -> Proof:
        user = situation.user or situation.claimed
        if user is not None and user.disabled_at is not None:
            raise Denied(self.refused, "ask the administrator")
        return await super().verify(situation, payload)


class LateUser(PinFactor):
    """Reads the user, and with it the epoch, after the credential."""

    async def verify(self, situation: Situation, payload: Payload) -> Proof:
        proof = await super().verify(situation, payload)
        return replace(proof, user=await self.auth.users.require(proof.user.id))


class Unthrottled(PinFactor):
    """Does not say whom to throttle."""

    async def identify(self, payload: Payload) -> Attemptee:
        return Attemptee(user=None)

    async def verify(self, situation: Situation, payload: Payload) -> Proof:
        who = await super().identify(payload)
        claimed = situation.claimed or who.user
        return await super().verify(replace(situation, claimed=claimed), payload)


class AnyonesPin(PinFactor):
    """Takes a pin of anybody for one of whoever has to prove."""

    async def verify(self, situation: Situation, payload: Payload) -> Proof:
        user, pin = situation.user or situation.claimed, payload.get("pin")
        if not isinstance(pin, str):
            raise AuthError(problems.INVALID_BODY)
        rows = await self.auth.database.read("select 1 from pin where pin = ?", (pin,))
        if user is None or not rows:
            raise Denied(self.refused)
        return Proof(user=user, amr=("pin",))


class Nameless(PinFactor):
    """Does not say how."""

    async def verify(self, situation: Situation, payload: Payload) -> Proof:
        return replace(await super().verify(situation, payload), amr=())


class OwnWords(PinFactor):
    """Refuses in other words than those that it declares."""

    async def verify(self, situation: Situation, payload: Payload) -> Proof:
        try:
            return await super().verify(situation, payload)
        except Denied as refusal:
            raise Denied(Problem(403, "pin_wrong", "The pin is wrong.")) from refusal


class Complete(PinFactor):
    """Takes itself for a login, whatever else is enrolled."""

    async def verify(self, situation: Situation, payload: Payload) -> Proof:
        return replace(await super().verify(situation, payload), complete=True)


class Deep(PinFactor):
    """Has a pin that lies a little deeper, and believes that it is one."""

    async def verify(self, situation: Situation, payload: Payload) -> Proof:
        pin = payload.get("pin")
        if not isinstance(pin, dict):
            raise AuthError(problems.INVALID_BODY)
        inner = {"pin": pin["typed"], "at": pin.get("at", "now").strip()}
        return await super().verify(situation, inner)


class DeepCeremony(PinCeremony):
    """Types such a pin."""

    async def answer(self, someone: Someone, challenge: Mapping[str, Any]) -> Payload:
        payload = await super().answer(someone, challenge)
        return {**payload, "pin": {"typed": payload["pin"], "at": "now"}}


class Reusable(CodeFactor):
    """Takes a code again."""

    async def verify(self, situation: Situation, payload: Payload) -> Proof:
        return replace(await super().verify(situation, payload), statements=())


class Racing(CodeFactor):
    """Spends a code, whether it is still there or not; the first waits for the next to look."""

    def __init__(self, auth: Auth, table: str) -> None:
        super().__init__(auth, table)
        self.looked = 0
        self.met = asyncio.Event()

    async def verify(self, situation: Situation, payload: Payload) -> Proof:
        proof = await super().verify(situation, payload)
        self.looked += 1
        if self.looked > 1:
            self.met.set()
        await self.met.wait()
        return replace(proof, statements=[replace(each, rows=None) for each in proof.statements])


class AskingForNobody(LinkFactor):
    """Tells by its challenge whether there is somebody."""

    async def begin(self, situation: Situation, payload: Payload) -> Challenge:
        made = await super().begin(situation, payload)
        return Challenge({"sent": situation.claimed is not None}, made.state)


class AskingTheFriendly(LinkFactor):
    """Refuses to begin for who is disabled."""

    async def begin(self, situation: Situation, payload: Payload) -> Challenge:
        if situation.claimed is not None and situation.claimed.disabled_at is not None:
            raise Denied(self.refused)
        return await super().begin(situation, payload)


class OddBeginning(LinkFactor):
    """Believes that a client sends what it should."""

    async def identify(self, payload: Payload) -> Attemptee:
        typed = payload.get("to")
        if typed is None:
            raise AuthError(problems.INVALID_BODY)
        return await super().identify({"to": typed.strip()})


class Unasked(LinkFactor):
    """Takes an answer to a question that it never asked."""

    async def verify(self, situation: Situation, payload: Payload) -> Proof:
        if situation.state is None:
            return Proof(user=await self.auth.users.require(self.last), amr=("swk",))
        type(self).last = situation.state["user_id"]
        return await super().verify(situation, payload)

    async def begin(self, situation: Situation, payload: Payload) -> Challenge:
        made = await super().begin(situation, payload)
        type(self).last = made.state["user_id"]
        return made

    last: ClassVar[str] = ""


def offering(base: type[Plugin[Any]], factor: type[Factor], *arguments: str) -> type[Plugin[Any]]:
    """A plugin that offers another factor than its base."""

    class Offering(base):  # type: ignore[valid-type, misc]  # bases are made of arguments here
        @hookimpl
        def factors(self) -> Sequence[Factor]:
            kind: Any = factor
            return [kind(self.auth, *arguments)]

    return Offering


PLUGIN: Mapping[str, tuple[type[Plugin[Any]], Sequence[str]]] = {
    "pin": (PinPlugin, ()),
    "code": (CodePlugin, ("code",)),
    "link": (LinkPlugin, ()),
}


class OfPin(FactorContract):
    factor = "pin"


class OfCode(FactorContract):
    factor = "code"
    single_use = True


class OfLink(FactorContract):
    factor = "link"


MUTANTS: Sequence[tuple[type[FactorContract], str, type[Factor]]] = [
    (OfPin, "test_right_proof", Nameless),
    (OfPin, "test_wrong_proof", OwnWords),
    (OfPin, "test_nothing_proves_nothing", Careless),
    (OfPin, "test_nothing_proves_nothing", Trusting),
    (OfPin, "test_proof_of_another_user", AnyonesPin),
    (OfPin, "test_nobody_is_told_who_exists", Talkative),
    (OfPin, "test_nobody_is_told_who_exists", Polite),
    (OfPin, "test_guesses_are_few", Unthrottled),
    (OfPin, "test_credential_that_goes_meanwhile", LateUser),
    (OfPin, "test_second_factor_is_asked_for_afterwards", Complete),
    (OfCode, "test_proof_comes_twice", Reusable),
    (OfCode, "test_proof_comes_fifty_times_at_once", Reusable),
    (OfCode, "test_proof_comes_fifty_times_at_once", Racing),
    (OfLink, "test_nobody_is_told_who_exists", AskingForNobody),
    (OfLink, "test_nobody_is_told_who_exists", AskingTheFriendly),
    (OfLink, "test_odd_challenges", OddBeginning),
    (OfLink, "test_proof_without_its_challenge", Unasked),
]


@asynccontextmanager
async def with_plugins(folder: Path, **more: type[Plugin[Any]]) -> AsyncIterator[Server]:
    await asyncio.to_thread(folder.mkdir)
    settings = 'plugins = ["pin", "code", "link"]'
    plugins = {**PLUGINS, **more}
    async with serving(folder, settings, plugins=plugins, ceremonies=CEREMONIES) as server:
        yield server


@pytest.mark.parametrize(("contract", "test", "mutant"), MUTANTS)
async def test_factors(
    tmp_path: Path, contract: type[FactorContract], test: str, mutant: type[Factor]
) -> None:
    """The test passes for the factor as it is, and fails for the one that is broken."""
    base, arguments = PLUGIN[contract.factor]
    made = offering(base, mutant, *arguments)
    for expected, plugin in ((run, base), (fails, made)):
        async with with_plugins(
            tmp_path / expected.__name__, **{contract.factor: plugin}
        ) as server:
            await expected(contract(), test, bench=Bench(server, contract.factor))


# The matrix


@pytest.mark.parametrize(
    "test",
    [
        "test_entrance_with_second_factor",
        "test_two_proofs",
        "test_wrong_second_factor",
        "test_stepup",
    ],
)
async def test_server_that_forgets_second_factors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, test: str
) -> None:
    """The matrix finds a rule that lets everybody in by one factor."""
    async with with_plugins(tmp_path / "right") as server:
        await run(MatrixContract(), test, server=server)
    monkeypatch.setattr(Sufficiency, "demands", lambda *_: False)
    async with with_plugins(tmp_path / "wrong") as server:
        await fails(MatrixContract(), test, server=server)


async def test_fallback_that_counts_as_enrolled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The matrix finds a rule that asks for recovery codes."""
    monkeypatch.setattr(Sufficiency, "demanding", lambda self, name: self.seconds({name}))
    await asyncio.to_thread((tmp_path / "wrong").mkdir)
    settings = 'plugins = ["pin", "spare"]'
    folder = tmp_path / "wrong"
    async with serving(folder, settings, plugins=PLUGINS, ceremonies=CEREMONIES) as server:
        await fails(MatrixContract(), "test_entrance_alone", server=server)


async def test_entrance_that_takes_itself_for_a_login(tmp_path: Path) -> None:
    """The matrix finds one proof that passes a second factor by."""
    async with with_plugins(tmp_path / "wrong", pin=offering(PinPlugin, Complete)) as server:
        for test in ("test_entrance_with_second_factor", "test_two_proofs"):
            await fails(MatrixContract(), test, server=server)


async def test_factor_without_a_ceremony(tmp_path: Path) -> None:
    """It is missed, by its name, and asking for it says what to do."""
    settings = 'plugins = ["pin", "code"]'
    ceremonies = {"pin": CEREMONIES["pin"]}
    async with serving(tmp_path, settings, plugins=PLUGINS, ceremonies=ceremonies) as server:
        with pytest.raises(AssertionError, match=r"assert \[\] == \['code'\]"):
            await run(MatrixContract(), "test_every_factor_is_in_the_matrix", server=server)
        sentence = (
            "How does a test user prove the factor code? Write a Ceremony for it, and name it in "
            "the fixture picoauth_ceremonies or the entry points picoauth.testing."
        )
        with pytest.raises(LookupError, match=exactly(sentence)):
            await server.join("code")


async def test_members_inside_of_members(tmp_path: Path) -> None:
    """Something odd deep inside is no fault of the server, whether it matters or not."""
    made, ceremonies = offering(PinPlugin, Deep), {**CEREMONIES, "pin": DeepCeremony}
    plugins = {**PLUGINS, "pin": made}
    async with serving(
        tmp_path, 'plugins = ["pin"]', plugins=plugins, ceremonies=ceremonies
    ) as server:
        with pytest.raises(AssertionError, match="internal_error"):
            await run(OfPin(), "test_nothing_proves_nothing", bench=Bench(server, "pin"))


async def test_only_the_work_within_is_interrupted(tmp_path: Path) -> None:
    """What the server does by itself meanwhile is neither counted nor disturbed."""
    async with with_plugins(tmp_path / "server") as server:
        came: list[int] = []

        async def comes() -> None:
            came.append(len(run.reads))

        async def elsewhere() -> None:
            await server.auth.database.read("select 1 from users")
            await server.auth.database.write(Statement("delete from tickets"))

        with interrupted(server, 1, comes) as run:
            await asyncio.get_running_loop().create_task(elsewhere(), context=Context())
            for number in range(3):
                await server.auth.database.read(f"select {number}")
            await server.auth.database.write(Statement("delete from tickets"))
        assert (["select 0", "select 1", "select 2"], [1]) == (run.reads, came)
        assert 3 == run.decisive


def test_what_is_new_in_every_answer_is_left_out() -> None:
    """Answers are compared by what would tell a user from nobody."""
    challenge = {"ids": ["a" * 40, 1], "hint": "ann, look", "name": "ann", "none": None}
    expected = {"ids": [40, 1], "hint": "NAME, look", "name": "NAME", "none": None}
    assert expected == shape(challenge, "ann")
