"""What is read of a user while an attempt is counted, and when it is worth nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from picoauth import (
    Attemptee,
    Factor,
    Payload,
    Proof,
    Row,
    Situation,
    Statement,
    Unavailable,
    User,
    Whose,
    hookimpl,
)
from picoauth.testing import Server, serving
from tests.factors import PLUGINS, PinFactor, PinPlugin, code_of, join, step

Meanwhile = Callable[[Server, Proof], Awaitable[Proof]]


class AheadFactor(PinFactor):
    """A pin; something happens between what is read ahead and its proof."""

    server: Server
    meanwhile: Meanwhile | None = None
    claimed: str | None = None
    """Who is said to log in, whoever proves it."""
    silent = False
    """Does not say what was typed."""
    looked = 0

    async def identify(self, payload: Payload) -> Attemptee:
        said = {**payload, "username": self.claimed} if self.claimed else payload
        who = await super().identify(said)
        return replace(who, typed="") if self.silent else who

    def look(self, whose: Whose) -> Statement:
        self.looked += 1
        sql = f"select enrolment_id, pin from pin where user_id = {whose.sql}"
        return Statement(sql, whose.args)

    async def verify(self, situation: Situation, payload: Payload) -> Proof:
        if self.claimed:
            who = await super().identify(payload)
            claimed = await self.auth.users.who(who.whose)
            situation = replace(situation, claimed=claimed)
        else:
            assert ["1234"] * bool(situation.claimed) == [pin for _, pin in situation.seen]
        proof = await super().verify(situation, payload)
        return await self.meanwhile(self.server, proof) if self.meanwhile else proof


class AheadPlugin(PinPlugin):
    """Offers such pins."""

    @hookimpl
    def factors(self) -> Sequence[Factor]:
        return [AheadFactor(self.auth)]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    settings = 'plugins = ["pin", "code"]\n[throttle]\nfailures = 2'
    async with serving(tmp_path, settings, plugins={**PLUGINS, "pin": AheadPlugin}) as server:
        pin_of(server).server = server
        await join(server)
        yield server


def pin_of(server: Server) -> AheadFactor:
    factor = server.auth.factors["pin"]
    assert isinstance(factor, AheadFactor)
    return factor


async def login(server: Server, **more: Any) -> tuple[int, str | None]:
    return code_of(await step(server, username="ann", pin="1234", **more))


async def add_code(server: Server, user: User) -> None:
    """Enrol a second factor, as another request does."""
    users = server.auth.users
    await server.auth.database.write(
        users.enrolling(replace(users.enrolment(user.id, "code"), confirmed_at=1)),
        Statement("update users set epoch = epoch + 1 where id = ?", (user.id,), rows=1),
    )


async def test_second_factor_that_came_meanwhile(server: Server) -> None:
    """A factor that reads the user anew has a newer epoch: what was read before is older."""

    async def meanwhile(server: Server, proof: Proof) -> Proof:
        await add_code(server, proof.user)
        user = await server.auth.users.get(proof.user.id)
        assert user is not None
        return replace(proof, user=user)

    pin_of(server).meanwhile = meanwhile
    assert (401, "more_needed") == await login(server)


async def test_second_factor_that_came_meanwhile_unseen(server: Server) -> None:
    """A factor that does not notice proves somebody of an old epoch: that is for nothing."""

    async def meanwhile(server: Server, proof: Proof) -> Proof:
        await add_code(server, proof.user)
        return proof

    pin_of(server).meanwhile = meanwhile
    assert (401, "start_over") == await login(server)


async def test_proof_of_somebody_else(server: Server) -> None:
    """Who was claimed to log in has no second factor: who did has one."""
    bob = await join(server, "bob")
    user = await server.auth.users.find("username", "ann")
    assert user is not None
    await add_code(server, user)
    pin_of(server).claimed = "bob"
    assert (401, "more_needed") == await login(server)
    assert [] == list(await server.auth.sessions.list(bob.id))


async def test_name_that_is_not_told(server: Server) -> None:
    """Whoever has it is counted all the same."""
    pin_of(server).silent = True
    codes = [code_of(await step(server, username="ann", pin="0000")) for _ in range(3)]
    assert [(401, "proof_refused")] * 2 + [(429, "too_many_attempts")] == codes


async def test_limiter_that_fails(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is looked at that was not counted."""

    async def attempt(*_: Any) -> Any:
        raise Unavailable("down")

    monkeypatch.setattr(server.auth.limiter, "attempt", attempt)
    assert 503 == (await login(server))[0]


async def test_count_and_look_are_of_one_moment(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The count, user, names, enrolments and pin: an old pin never stands beside a new epoch."""
    database, looks = server.auth.database, []
    write = database.write

    async def writing(*statements: Statement) -> list[list[Row]]:
        if any(each.sql.startswith("select") for each in statements):
            looks.append(len(statements))
        return await write(*statements)

    monkeypatch.setattr(database, "write", writing)
    assert (200, None) == await login(server)
    assert [1 + 4] == looks


async def test_nobody_is_looked_at_as_somebody_is(server: Server) -> None:
    """A name that is nobody's costs the same look (P-8)."""
    await step(server, username="ann", pin="0000")
    before = pin_of(server).looked
    answer = await step(server, username="nobody", pin="0000")
    assert ((401, "proof_refused"), 2 * before) == (code_of(answer), pin_of(server).looked)
