"""Two and four servers on machines of their own, on one database server and one Redis.

Every request goes to the next machine, so that no step of a journey is where the last one was.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyotp
import pytest
import pytest_asyncio

from picoauth.testing.authenticator import Authenticator
from tests.factors import code_of
from tests.machines import PUBLIC, Machines, machines, refused, until
from tests.visitors import ENDED, GONE, OK, WRONG, Crowd, Visitor

if why := None if os.environ.get("CI") else refused():
    pytest.skip(why, allow_module_level=True)

pytestmark = pytest.mark.asyncio(loop_scope="module")

OTHER, THIRD = "another horse battery staple", "yet another horse battery staple"


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=[2, 4])
async def net(request: pytest.FixtureRequest) -> AsyncIterator[Machines]:
    with TemporaryDirectory(prefix="pa", dir="/tmp") as path:
        async with machines(Path(path), request.param) as net:
            yield net


async def test_password(net: Machines) -> None:
    """Registered, logged in, looked at, renewed, changed, logged out: each elsewhere."""
    ann = await Visitor.joined(net)
    assert {OK} == await ann.valid()
    assert ann.name == (await ann.ask("GET", "/auth/me"))["username"]
    await ann.refresh()
    assert {OK} == await ann.valid()
    other = ann.tokens["access_token"]
    await ann.login()
    await ann.ask("PUT", "/auth/password", {"password": OTHER})
    await ann.ended(other)
    assert WRONG == code_of(await net.ask("POST", "/auth/login", ann.own))
    ann.password = OTHER
    await ann.login()
    assert 2 == len((await ann.ask("GET", "/auth/sessions"))["sessions"])
    await ann.ask("POST", "/auth/logout_from_all")
    await ann.ended()
    await ann.login()
    await ann.ask("DELETE", "/auth/me")
    await ann.ended()
    for host in net.hosts:
        assert WRONG == code_of(await host.ask("POST", "/auth/login", ann.own))


async def test_second_factor(net: Machines) -> None:
    """An app is added and used on different machines, and each of its codes once on all of them."""
    ann = await Visitor.joined(net)
    made = await ann.ask("POST", "/auth/totp", {})
    app, now = pyotp.TOTP(made["secret"]), int(time.time())
    answer = await ann.ask("POST", "/auth/totp/confirm", {"id": made["id"], "code": app.at(now)})
    codes = answer["recovery"]["codes"]
    for factor, code in (("totp", app.at(now, counter_offset=1)), ("recovery", codes[0])):
        flows = [await ann.flow() for _ in range(30)]
        proof = {"factor": factor, factor: code}
        asked = [net.ask("POST", "/auth/login", {**proof, "flow": flow}) for flow in flows]
        found = Counter(code_of(answer) for answer in await asyncio.gather(*asked))
        assert {OK: 1, (401, "proof_refused"): 29} == found
    await ann.login(factor="recovery", recovery=codes[1], flow=await ann.flow())
    await ann.ask("POST", "/auth/stepup", {"factor": "recovery", "recovery": codes[2]})
    await ann.ask("DELETE", f"/auth/factors/{made['id']}")
    await ann.login()


async def test_passkey(net: Machines) -> None:
    """Options of one machine are answered at the next one."""
    ann = await Visitor.joined(net)
    device = Authenticator(origin=PUBLIC)
    begun = await ann.ask("POST", "/auth/passkey/begin", {})
    body = {"ticket": begun["ticket"], "passkey": device.create(begun["options"])}
    await ann.ask("POST", "/auth/passkey", body)
    begun = await ann.ask("POST", "/auth/login/begin", {"factor": "passkey"})
    body = {"factor": "passkey", "passkey": device.get(begun["challenge"]), "flow": begun["flow"]}
    answers = await net.many(20, "POST", "/auth/login", body)
    found = Counter(code_of(answer) for answer in answers)
    assert 1 == found.pop(OK)
    assert {(401, "flow_ended"), (401, "proof_refused")} >= set(found)


async def test_mailed_links(net: Machines) -> None:
    """What one machine mailed, another one takes: an address, a login, and a new password."""
    ann = await Visitor.joined(net)
    await ann.ask("POST", "/auth/email/verify", {"token": await ann.mailed("verify-email", 0)})
    body = {"factor": "magic-link", "username": ann.name}
    begun = await ann.ask("POST", "/auth/login/begin", body)
    link = {"factor": "magic-link", "magic-link": await ann.mailed("magic-link", 1)}
    answers = await net.many(20, "POST", "/auth/login", {**link, "flow": begun["flow"]})
    assert 1 == [code_of(answer) for answer in answers].count(OK)


async def test_forgotten_password(net: Machines) -> None:
    """Of all who take the link of a reset on any machine one sets the password."""
    ann = await Visitor.joined(net)
    await ann.ask("POST", "/auth/email/verify", {"token": await ann.mailed("verify-email", 0)})
    await ann.ask("POST", "/auth/forgot_password", {"username": ann.name})
    path = f"/auth/forgot_password/{await ann.mailed('reset', 1)}"
    words = [f"{THIRD} {number}" for number in range(12)]
    asked = [net.ask("PUT", path, {"password": word}) for word in words]
    found = [code_of(answer) for answer in await asyncio.gather(*asked)]
    assert {GONE: 1, (404, "not_found"): 11} == Counter(found)
    await ann.ended()
    ann.password = words[found.index(GONE)]
    await ann.login()


async def test_registration_races(net: Machines) -> None:
    """One name is one user's, whichever machine was asked first (P-9)."""
    ann = Visitor(net)
    names = [ann.name, ann.name.upper()] * 10
    asked = [net.ask("POST", "/auth/register", {**ann.own, "username": name}) for name in names]
    found = Counter(code_of(answer) for answer in await asyncio.gather(*asked))
    assert {(201, None): 1, (409, "username_taken"): 19} == found
    await ann.login()


async def test_refresh_races(net: Machines) -> None:
    """Fifty who refresh one token at once get one successor, and no theft is seen (T-5)."""
    ann = await Visitor.joined(net)
    answers = await net.many(50, "POST", "/jwt/refresh", token=ann.tokens["refresh_token"])
    assert {OK} == {code_of(answer) for answer in answers}
    assert 1 == len({answer.json()["refresh_token"] for answer in answers})
    assert {OK} == await ann.valid()


async def test_refresh_races_with_logout(net: Machines) -> None:
    """No refresh that wins against the logout leaves a session behind."""
    ann = await Visitor.joined(net)
    access = ann.tokens["access_token"]
    answers, _ = await asyncio.gather(
        net.many(20, "POST", "/jwt/refresh", token=ann.tokens["refresh_token"]),
        net.ask("POST", "/auth/logout", token=access),
    )
    assert {OK, ENDED} >= {code_of(answer) for answer in answers}
    for answer in answers:
        if answer.is_success:
            left = answer.json()["refresh_token"]
            assert ENDED == code_of(await net.ask("POST", "/jwt/refresh", token=left))
    await ann.ended(access)


async def test_killed_machines(net: Machines) -> None:
    """A server is killed in the middle of everything, again and again: no answer is wrong.

    What was acknowledged holds, on every machine; what was not, may be either.
    """
    crowd = Crowd(net)
    async with crowd.living(4):
        for victim in net.hosts[:2]:
            await crowd.busy(10)
            victim.end()
            await crowd.busy(10)
            victim.start()
            await until(victim.ready)
    assert crowd.users
    for ann in crowd.users:
        await ann.login()


async def test_cut_off_from_the_database(net: Machines) -> None:
    """Tokens verify, nothing else is let in, and once the cable is back all is as if it never was."""
    here, there = net.hosts[0], net.hosts[1]
    ann, bob = await Visitor.joined(net), await Visitor.joined(net)
    here.machine.pull()
    try:
        token = ann.tokens["access_token"]
        assert OK == code_of(await here.ask("POST", "/jwt/validate", token=token))
        answers = await asyncio.gather(
            here.ask("POST", "/auth/login", ann.own),
            here.ask("POST", "/jwt/refresh", token=ann.tokens["refresh_token"]),
            here.ask("POST", "/auth/register", {**ann.own, "username": f"{ann.name}x"}),
        )
        assert {(503, "unavailable")} == {code_of(answer) for answer in answers}
        assert OK == code_of(await there.ask("POST", "/auth/login", ann.own))
        ended = await there.ask("POST", "/auth/logout", token=bob.tokens["access_token"])
        assert GONE == code_of(ended)
    finally:
        here.machine.plug()
    await bob.ended()

    async def back() -> bool:
        return OK == code_of(await here.ask("POST", "/auth/login", ann.own))

    await until(back)
    token = ann.tokens["refresh_token"]
    assert OK == code_of(await here.ask("POST", "/jwt/refresh", token=token))


@pytest.mark.parametrize("part", ["store", "keeper"])
async def test_shared_part_is_cut_off(net: Machines, part: str) -> None:
    """Without the database, or without Redis, tokens verify; with it again everything works."""
    ann = await Visitor.joined(net)
    machine = getattr(net, part)
    machine.pull()
    try:
        assert {OK} == await ann.valid()
        asked = [host.ask("POST", "/auth/login", ann.own) for host in net.hosts]
        answers = await asyncio.gather(*asked)
        assert {(503, "unavailable")} == {code_of(answer) for answer in answers}
    finally:
        machine.plug()
    for host in net.hosts:

        async def back(host: Any = host) -> bool:
            return OK == code_of(await host.ask("POST", "/auth/login", ann.own))

        await until(back)
    await ann.refresh()


async def test_ended_in_an_orderly_way(net: Machines) -> None:
    """A server that is replaced loses no request: the others serve, and it comes back."""
    ann, victim = await Visitor.joined(net), net.hosts[-1]
    assert victim.process is not None
    process = victim.process
    victim.end(signal.SIGTERM)
    assert 0 == process.returncode
    assert OK == code_of(await net.hosts[0].ask("POST", "/auth/login", ann.own))
    victim.start()
    await until(victim.ready)
    assert {OK} == await ann.valid()
