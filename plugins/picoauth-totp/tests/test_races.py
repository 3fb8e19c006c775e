"""Everything at once: one code makes one login, and few guesses are looked at."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Iterable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from owners import SETTINGS, Owner, code_of

from picoauth import FactorConfirmed, LoginCompleted
from picoauth.secrets import Place, Secrets
from picoauth.testing import Clock, Server, serving
from tests.factors import CEREMONIES, PLUGINS

LIMIT = 10
"""The default of `[throttle]`."""
PATIENT = f"{SETTINGS}\n[throttle]\nfailures = 1000"


async def codes(work: Iterable[Awaitable[httpx.Response]]) -> Counter[tuple[int, str | None]]:
    return Counter(map(code_of, await asyncio.gather(*work)))


@pytest_asyncio.fixture
async def pair(tmp_path: Path) -> AsyncIterator[list[Owner]]:
    """Ann at two servers on one file, each with connections and memory of its own."""
    clock = Clock()
    async with AsyncExitStack() as stack:
        servers = [
            await stack.enter_async_context(
                serving(tmp_path, PATIENT, plugins=PLUGINS, ceremonies=CEREMONIES, clock=clock)
            )
            for _ in range(2)
        ]
        ann = await Owner.joined(servers[0], "ann")
        await ann.enrol()
        yield [Owner(replace(ann.someone, server=s), ann.token, ann.apps) for s in servers]


def completed(owners: Iterable[Owner]) -> int:
    return sum(len(owner.server.events.of(LoginCompleted)) for owner in owners)


async def test_fifty_logins(pair: list[Owner]) -> None:
    """Of fifty with one code, at two servers, one is in (O-3)."""
    before = completed(pair)
    flows = [(owner, await owner.flow()) for owner in pair * 25]
    digits = pair[0].app.code()
    found = await codes(owner.login(digits, flow) for owner, flow in flows)
    assert {(200, None): 1, (401, "proof_refused"): 49} == found
    assert 1 == completed(pair) - before


async def test_fifty_logins_in_one_step(pair: list[Owner]) -> None:
    """The same where everything comes in one request."""
    body = {**pair[0].pin, "totp": pair[0].app.code()}
    found = await codes(owner.server.post("/auth/login", body) for owner in pair * 25)
    assert {(200, None): 1, (401, "proof_refused"): 49} == found


async def test_fifty_fresh_proofs(pair: list[Owner]) -> None:
    """Of fresh proofs and logins with one code, one goes on."""
    flows = [(owner, await owner.flow()) for owner in pair * 10]
    digits = pair[0].app.code()
    found = await codes(
        [
            *(owner.login(digits, flow) for owner, flow in flows),
            *(owner.stepup(digits) for owner in pair * 15),
        ]
    )
    assert {(200, None): 1, (401, "proof_refused"): 49} == found


async def test_two_steps_at_once(pair: list[Owner]) -> None:
    """Codes of two steps make at most two logins, and the earlier one none after the later."""
    app = pair[0].app
    older, newer = app.code(), app.code()
    flows = [(owner, await owner.flow()) for owner in pair * 20]
    found = await codes(
        owner.login((older, newer)[number % 2], flow) for number, (owner, flow) in enumerate(flows)
    )
    assert found[200, None] in (1, 2)
    assert 40 - found[200, None] == found[401, "proof_refused"]
    for digits in (older, newer):
        assert (401, "proof_refused") == code_of(await pair[1].login(digits))


async def test_fifty_confirmations(server: Server, ann: Owner) -> None:
    """One puts it in force, and gets the new tokens."""
    enrolment_id = await ann.add()
    body = {"id": enrolment_id, "code": ann.app.code()}
    token = ann.token
    few = LIMIT - 1  # beyond it is 429, as for every guess
    found = await codes(server.post("/auth/totp/confirm", body, token=token) for _ in range(few))
    assert 1 == found.pop((200, None))
    assert few - 1 == sum(found.values())
    assert found.keys() <= {(401, "start_over"), (404, "not_found"), (401, "session_ended")}
    assert enrolment_id == server.events.one(FactorConfirmed).enrolment_id
    [(last,)] = await server.auth.database.read("select last_step from totp")
    assert ann.app.last == last


async def test_enrolments_at_once(server: Server, ann: Owner) -> None:
    """Of twenty that begin, one waits; what was confirmed meanwhile stays."""
    active = await ann.enrol()
    found = await codes(server.post("/auth/totp", {}, token=ann.token) for _ in range(20))
    assert {(201, None): 20} == found
    rows = await server.auth.database.read(
        "select id, confirmed_at is null from enrolments where factor = 'totp' order by id"
    )
    assert [0, 1] == sorted(waiting for _, waiting in rows)
    assert active in {row[0] for row in rows}
    assert 2 == len(await server.auth.database.read("select 1 from totp"))


async def test_confirmation_and_a_newer_one(server: Server, ann: Owner) -> None:
    """Of a confirmation and what voids it, either comes first: nothing is half in force."""
    for _ in range(5):
        enrolment_id = await ann.add()
        body = {"id": enrolment_id, "code": ann.app.code()}
        confirmed, made = await asyncio.gather(
            server.post("/auth/totp/confirm", body, token=ann.token),
            server.post("/auth/totp", {}, token=ann.token),
        )
        assert made.status_code in (201, 401)
        rows = await server.auth.database.read(
            "select confirmed_at from enrolments where id = ?", (enrolment_id,)
        )
        if confirmed.status_code == 200:
            assert rows
            assert rows[0][0] is not None
            ann.token = confirmed.json()["access_token"]
        else:
            assert code_of(confirmed) in ((401, "start_over"), (404, "not_found"))
            assert [] == rows
        left = await server.auth.database.read("select count(*) from totp")
        enrolments = "select count(*) from enrolments where factor = 'totp'"
        assert left == await server.auth.database.read(enrolments)


class Counting(Secrets):
    """Counts how often a code is looked at: for that the secret has to be opened."""

    opened = 0

    def open(self, place: Place, sealed: bytes) -> bytes:
        self.opened += place.table == "totp"
        return super().open(place, sealed)


@pytest.mark.parametrize("way", ["logins", "fresh proofs", "confirmations", "one step"])
async def test_two_hundred_guesses(server: Server, ann: Owner, way: str) -> None:
    """No more are looked at than the limiter allows, whichever way they come (A-2)."""
    await ann.enrol()
    waiting = await ann.add()
    wrong = ann.app.wrong()
    flows = [await ann.flow() for _ in range(200)] if way == "logins" else [""] * 200
    server.auth.secrets.__class__ = Counting
    secrets: Any = server.auth.secrets

    def guess(flow: str) -> Awaitable[httpx.Response]:
        body = {"factor": "totp", "totp": wrong}
        return {
            "logins": lambda: server.post("/auth/login", {**body, "flow": flow}),
            "fresh proofs": lambda: server.post("/auth/stepup", body, token=ann.token),
            "confirmations": lambda: server.post(
                "/auth/totp/confirm", {"id": waiting, "code": wrong}, token=ann.token
            ),
            "one step": lambda: server.post("/auth/login", {**ann.pin, "totp": wrong}),
        }[way]()

    found = await codes(guess(flow) for flow in flows)
    assert LIMIT == secrets.opened
    refused = (400, "wrong_code") if way == "confirmations" else (401, "proof_refused")
    assert {refused: LIMIT, (429, "too_many_attempts"): 200 - LIMIT} == found
