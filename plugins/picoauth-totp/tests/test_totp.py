"""Authenticators from their enrolment to their end, over HTTP on a real file."""

from __future__ import annotations

import base64
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from owners import SETTINGS, Owner, code_of

from picoauth import (
    Addition,
    Caller,
    ConfigError,
    Conflict,
    Denied,
    Event,
    FactorConfirmed,
    FactorRemoved,
    LoginFailed,
    NoSettings,
    Plugin,
    Situation,
    Statement,
    Unavailable,
    hookimpl,
)
from picoauth.testing import Clock, FaultsPlugin, Server, each_fault, serving
from picoauth_totp import TotpPlugin
from picoauth_totp.authenticators import LIFE, MOST, place
from picoauth_totp.codes import PERIOD, code
from picoauth_totp.testing import App
from tests.factors import CEREMONIES, PLUGINS
from tests.test_cookies import Browser
from tests.test_leaks import forms

HERE: dict[str, Any] = {"plugins": PLUGINS, "ceremonies": CEREMONIES}
FAILURES = 10
"""The default of `[throttle]`."""


async def rows(server: Server, columns: str = "*", table: str = "totp") -> list[Any]:
    return await server.auth.database.read(f"select {columns} from {table}")


async def write(server: Server, sql: str, *args: Any) -> None:
    await server.auth.database.write(Statement(sql, args, rows=1))


async def listed(owner: Owner) -> list[dict[str, Any]]:
    answer = await owner.server.get("/auth/factors", token=owner.token)
    found: list[dict[str, Any]] = answer.json()["factors"]
    return [each for each in found if each["factor"] == "totp"]


# Enrolment


async def test_new_authenticator(ann: Owner) -> None:
    """The answer has all that an app needs, by hand, by an address, or by a picture."""
    answer = await ann.post("/auth/totp", {"label": "Phone"})
    made = answer.json()
    secret = made["secret"]
    assert (201, {"id", "secret", "uri"}) == (answer.status_code, made.keys())
    assert 20 == len(base64.b32decode(secret))
    assert f"otpauth://totp/127.0.0.1:ann?secret={secret}&issuer=127.0.0.1" == made["uri"]
    assert "no-store" == answer.headers["cache-control"]
    [factor] = await listed(ann)
    assert (made["id"], "Phone", False) == (factor["id"], factor["label"], factor["confirmed"])


async def test_picture_on_request(ann: Owner) -> None:
    """`qr` asks for one, for whoever has the app on another device."""
    made = (await ann.post("/auth/totp", {"qr": True})).json()
    assert made["qr"].startswith('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ')
    assert made["secret"] not in made["qr"]


@pytest.mark.parametrize(
    "body",
    [
        *({"label": ""}, {"label": "x" * 101}, {"label": 1}, {"qr": "yes"}, {"qr": None}),
        *({"secret": "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"}, {"user_id": "bob"}, []),
    ],
)
async def test_new_authenticator_refuses(ann: Owner, body: Any) -> None:
    """A client chooses no secret, and enrols for nobody else."""
    assert 400 == (await ann.post("/auth/totp", body)).status_code
    assert [] == await rows(ann.server)


async def test_life(ann: Owner) -> None:
    """Confirmed by a code it is asked for from then on; other sessions have ended."""
    before = ann.token
    other = (await ann.someone.login("pin"))["access_token"]
    enrolment_id = await ann.add()
    assert 200 == (await ann.server.post("/auth/login", ann.pin)).status_code
    answer = await ann.confirm(enrolment_id, ann.app.code())
    assert (200, {"access_token", "refresh_token", "token_type", "expires_in"}) == (
        answer.status_code,
        answer.json().keys(),
    )
    event = ann.server.events.one(FactorConfirmed)
    assert ("totp", enrolment_id, True) == (event.factor, event.enrolment_id, event.first)
    assert (401, "session_ended") == code_of(await ann.server.get("/auth/me", token=other))
    assert before != ann.token
    alone = await ann.server.post("/auth/login", ann.pin)
    assert ((401, "more_needed"), ["totp"]) == (code_of(alone), alone.json()["next"])
    tokens = (await ann.login(ann.app.code(), alone.json()["flow"])).json()
    claims = (await ann.server.post("/jwt/validate", token=tokens["access_token"])).json()
    assert ["pin", "otp", "mfa"] == claims["amr"]
    [factor] = await listed(ann)
    assert (True, ann.server.auth.now()) == (factor["confirmed"], factor["last_used_at"])


async def test_login_in_one_step(ann: Owner) -> None:
    """All on one page: the code stands beside the first proof, also with a space in it."""
    await ann.enrol()
    digits = ann.app.code()
    body = {**ann.pin, "totp": f"{digits[:3]} {digits[3:]}"}
    assert 200 == (await ann.server.post("/auth/login", body)).status_code
    again = await ann.server.post("/auth/login", body)
    assert (401, "proof_refused") == code_of(again)


async def test_code_alone_begins_no_login(ann: Owner) -> None:
    """It says who somebody is no more than any six digits do."""
    await ann.enrol()
    body = {"factor": "totp", "totp": ann.app.code(), "username": "ann"}
    assert (400, "factor_out_of_place") == code_of(await ann.server.post("/auth/login", body))
    factor = ann.server.auth.factors["totp"]
    nobody = Situation(user=None, claimed=ann.someone.user, state=None, caller=Caller())
    with pytest.raises(Denied):
        await factor.verify(nobody, {"totp": ann.app.code()})


async def test_code_that_confirmed_is_spent(ann: Owner) -> None:
    """It logs nobody in: who looked over the shoulder has nothing (O-3)."""
    enrolment_id = await ann.add()
    digits = ann.app.code()
    assert 200 == (await ann.confirm(enrolment_id, digits)).status_code
    assert (401, "proof_refused") == code_of(await ann.login(digits))
    assert (401, "proof_refused") == code_of(await ann.stepup(digits))
    assert 200 == (await ann.login(ann.app.code())).status_code


async def test_unconfirmed_proves_nothing(ann: Owner) -> None:
    """Its codes are none, for a login as for a fresh proof, beside a confirmed one too (O-1)."""
    await ann.add()
    assert (401, "proof_refused") == code_of(await ann.stepup(ann.app.code()))
    body = {**ann.pin, "totp": ann.app.code()}
    assert (401, "proof_refused") == code_of(await ann.server.post("/auth/login", body))
    await ann.enrol()
    await ann.add()
    assert (401, "proof_refused") == code_of(await ann.login(ann.app.code()))


async def test_newer_one_voids_the_older(ann: Owner, bob: Owner) -> None:
    """Of those that wait there is one; an active one, and another user's, is not touched (O-1)."""
    active, theirs = await ann.enrol(), await bob.add()
    older, newer = await ann.add(), await ann.add()
    assert (404, "not_found") == code_of(await ann.confirm(older, ann.apps[older].code()))
    assert {active, newer, theirs} == {row[0] for row in await rows(ann.server, "enrolment_id")}
    assert 200 == (await ann.login(ann.apps[active].code())).status_code
    assert 200 == (await ann.confirm(newer, ann.apps[newer].code())).status_code
    assert 200 == (await bob.confirm(theirs, bob.apps[theirs].code())).status_code


@pytest.mark.parametrize(
    ("later", "expected"),
    [(LIFE - 1, (200, None)), (LIFE, (404, "not_found")), (-1, (404, "not_found"))],
)
async def test_unconfirmed_ends(ann: Owner, later: int, expected: Any) -> None:
    """After ten minutes by the server's clock, and at once where that goes back."""
    enrolment_id = await ann.add()
    ann.server.clock.advance(later)
    ann.token = (await ann.someone.login("pin"))["access_token"]
    assert expected == code_of(await ann.confirm(enrolment_id, ann.app.code()))


async def test_what_ended_is_cleaned_away(ann: Owner, bob: Owner) -> None:
    """Later than it ends, for servers whose clocks are behind; what is in force stays."""
    kept = await ann.enrol()
    await bob.add()
    jobs = {job.name: job for job in ann.server.auth.jobs.jobs}
    clean = jobs["totp-clean"]
    assert clean.purges
    for later, left in ((2 * LIFE - 1, 2), (1, 1), (10**7, 1)):
        ann.server.clock.advance(later)
        await clean.run()
        assert left == len(await rows(ann.server))
    assert [(kept,)] == await rows(ann.server, "enrolment_id")
    found = await rows(ann.server, "id", "enrolments where factor = 'totp'")
    assert [(kept,)] == found


async def test_whose_it_is(ann: Owner, bob: Owner) -> None:
    """What is another user's, confirmed already or made up, is not there (W-7)."""
    await bob.enrol()
    mine, theirs = await ann.add(), await bob.add()
    app = ann.apps[mine]
    for enrolment_id in (mine, "none", ""):
        for digits in (app.code(), app.wrong()):
            answer = await bob.confirm(enrolment_id, digits)
            assert (404, "not_found") == code_of(answer)
    assert [] == await rows(ann.server, "key", "throttle where key like 'totp %'")
    assert 200 == (await ann.confirm(mine, app.code())).status_code
    assert (404, "not_found") == code_of(await ann.confirm(mine, app.code()))
    assert (404, "not_found") == code_of(await ann.confirm(theirs, bob.apps[theirs].code()))
    assert 200 == (await bob.confirm(theirs, bob.apps[theirs].code())).status_code


@pytest.mark.parametrize(
    "digits",
    [
        "",
        "12345",
        "1234567",
        "abcdef",
        "\uff11\uff12\uff13\uff14\uff15\uff16",
        "123456\n",
        "x" * 5000,
    ],
)
async def test_confirm_refuses_what_is_no_code(ann: Owner, digits: str) -> None:
    """As it does a wrong one; the right one still does."""
    enrolment_id = await ann.add()
    for wrong in (digits, ann.app.wrong()):
        assert (400, "wrong_code") == code_of(await ann.confirm(enrolment_id, wrong))
    assert 200 == (await ann.confirm(enrolment_id, ann.app.code())).status_code


@pytest.mark.parametrize("odd", [None, 123456, 123456.0, True, [], ["123456"], {}])
async def test_code_of_another_type(ann: Owner, odd: Any) -> None:
    """A number has lost its zeros: the client erred, and hears so."""
    enrolment_id = await ann.enrol()
    body = {"id": enrolment_id, "code": odd}
    assert (400, "invalid_body") == code_of(await ann.post("/auth/totp/confirm", body))
    answer = await ann.stepup(odd)
    assert (400, "invalid_body") == code_of(answer)


async def test_number_is_told(ann: Owner) -> None:
    """The refusal says what is wanted."""
    await ann.enrol()
    assert "totp must be a text of six digits" == (await ann.stepup(123456)).json()["detail"]


async def test_cookie_session(ann: Owner) -> None:
    """Who is logged in by a cookie gets a new one where others get tokens."""
    browser = Browser(ann.server)
    login = {**ann.pin, "session": "cookie"}
    assert 200 == (await browser.ask("POST", "/auth/login", login)).status_code
    made = (await browser.ask("POST", "/auth/totp", {})).json()
    app, before = App(base64.b32decode(made["secret"]), ann.server.clock), browser.cookie
    body = {"id": made["id"], "code": app.code()}
    answer = await browser.ask("POST", "/auth/totp/confirm", body)
    assert (200, "ann") == (answer.status_code, answer.json()["preferred_username"])
    assert "token" not in answer.text
    assert browser.cookie not in (None, before)
    assert (200, None) == await browser.who()


class GiftPlugin(Plugin[NoSettings]):
    """Adds to the answer that confirms the first second factor, as recovery codes do."""

    @hookimpl
    def record(self, event: Event) -> Addition | None:
        if isinstance(event, FactorConfirmed) and event.first:
            return Addition(reply={"codes": ["a", "b"]})
        return None


async def test_other_plugins_add_to_the_answer(tmp_path: Path) -> None:
    """Once, with the first second factor."""
    plugins: Mapping[str, type[Plugin[Any]]] = {**PLUGINS, "gift": GiftPlugin}
    settings = SETTINGS.replace("]", ', "gift"]')
    async with serving(tmp_path, settings, plugins=plugins, ceremonies=CEREMONIES) as server:
        ann = await Owner.joined(server, "ann")
        answers = []
        for _ in range(2):
            enrolment_id = await ann.add()
            answers.append((await ann.confirm(enrolment_id, ann.app.code())).json())
        assert [{"codes": ["a", "b"]}, None] == [answer.get("gift") for answer in answers]


# Several


async def test_several(ann: Owner) -> None:
    """A code of any of them is good, and tells which was used."""
    first, second = await ann.enrol(label="Phone"), await ann.enrol(label="Tablet")
    for used in (first, second, first):
        ann.server.clock.advance(PERIOD)
        assert 200 == (await ann.login(ann.apps[used].code())).status_code
        now = ann.server.auth.now()
        assert [used] == [each["id"] for each in await listed(ann) if each["last_used_at"] == now]
    assert [True, False] == [event.first for event in ann.server.events.of(FactorConfirmed)]


async def test_most(ann: Owner) -> None:
    """There are ten at most; once one is removed, there is room for another."""
    ids = [await ann.enrol() for _ in range(MOST)]
    answer = await ann.post("/auth/totp", {})
    assert (409, "too_many_authenticators") == code_of(answer)
    assert MOST == len(await rows(ann.server))
    assert 200 == (await ann.login(ann.apps[ids[-1]].code())).status_code
    removed = await ann.server.send("DELETE", f"/auth/factors/{ids[0]}", token=ann.token)
    ann.token = removed.json()["access_token"]
    await ann.enrol()
    assert (409, "too_many_authenticators") == code_of(await ann.post("/auth/totp", {}))


async def test_removal(ann: Owner) -> None:
    """By the kernel's route it is gone, and its codes with it; the other one goes on (O-6)."""
    gone, kept = await ann.enrol(), await ann.enrol()
    flow = await ann.flow()
    path = f"/auth/factors/{gone}"
    other = (await ann.login(ann.apps[gone].code())).json()["access_token"]
    answer = await ann.server.send("DELETE", path, token=ann.token)
    ann.token = answer.json()["access_token"]
    assert gone == ann.server.events.one(FactorRemoved).enrolment_id
    assert (401, "session_ended") == code_of(await ann.server.get("/auth/me", token=other))
    assert (401, "start_over") == code_of(await ann.login(ann.apps[kept].code(), flow))
    assert (401, "proof_refused") == code_of(await ann.login(ann.apps[gone].code()))
    assert [(kept,)] == await rows(ann.server, "enrolment_id")
    ann.server.clock.advance(PERIOD)
    await ann.server.send("DELETE", f"/auth/factors/{kept}", token=ann.token)
    assert 200 == (await ann.server.post("/auth/login", ann.pin)).status_code


async def test_stale_session_enrols_nothing(ann: Owner) -> None:
    """It needs a proof of the second factor where there is one: that of the first will not do (W-7)."""
    enrolment_id = await ann.enrol()
    ann.server.clock.advance(301)
    fresh = {"factor": "pin", **ann.pin}
    assert (401, "more_needed") == code_of(await ann.post("/auth/stepup", fresh))
    assert (403, "stepup_needed") == code_of(await ann.post("/auth/totp", {}))
    assert (403, "stepup_needed") == code_of(await ann.confirm(enrolment_id, "123456"))
    assert 200 == (await ann.stepup(ann.app.code())).status_code
    assert 201 == (await ann.post("/auth/totp", {})).status_code


async def test_flow_opens_no_other_route(ann: Owner) -> None:
    """Who has proven the first factor alone enrols no second one (O-4, W-7)."""
    await ann.enrol()
    flow = await ann.flow()
    answer = await ann.server.post("/auth/totp", {}, token=flow)
    assert (401, "invalid_token") == code_of(answer)


# Time


async def test_vectors_log_in(ann: Owner) -> None:
    """RFC 6238, appendix B, through the factor, in the order of time."""
    await ann.enrol()
    secret = b"12345678901234567890"
    sealed = ann.server.auth.secrets.seal(
        place(*(await rows(ann.server, "enrolment_id, user_id"))[0]), secret
    )
    await write(ann.server, "update totp set sealed = ?, last_step = -1", sealed)
    vectors = {
        59: "287082",
        1111111109: "081804",
        1111111111: "050471",
        1234567890: "005924",
        2000000000: "279037",
        20000000000: "353130",
    }
    for now, digits in vectors.items():
        ann.server.clock.time = now
        assert 200 == (await ann.login(digits)).status_code, now
        assert (401, "proof_refused") == code_of(await ann.login(digits)), now


@pytest.mark.parametrize(("window", "good"), [(0, [0]), (1, [-1, 0, 1])])
async def test_window(tmp_path: Path, window: int, good: Sequence[int]) -> None:
    """The setting says how far a clock may be off; each step at the most once."""
    settings = f"{SETTINGS}\n[totp]\nwindow = {window}\n[throttle]\nfailures = 1000"
    async with serving(tmp_path, settings, **HERE) as server:
        ann = await Owner.joined(server, "ann")
        await ann.enrol()
        server.clock.advance(10 * PERIOD)
        accepted = []
        for offset in range(-4, 5):
            digits = code(ann.app.secret, int(server.clock()) // PERIOD + offset)
            answers = [(await ann.login(digits)).status_code for _ in range(2)]
            assert answers in ([200, 401], [401, 401])
            accepted += [offset] if 200 in answers else []
        assert good == accepted


@pytest.mark.parametrize("window", ["2", "-1", "true", '"1"', "0.5"])
async def test_window_is_small(tmp_path: Path, window: str) -> None:
    """What is more lets old codes live, and the server does not start (O-2)."""
    with pytest.raises(ConfigError, match=r"^\[totp\]\.window: must be "):
        async with serving(tmp_path, f"{SETTINGS}\n[totp]\nwindow = {window}", **HERE):
            pass


async def test_clock_that_goes_back(ann: Owner) -> None:
    """No code of the steps up to the last one comes to life again, used or not (FT-1)."""
    await ann.enrol()
    server = ann.server
    server.clock.advance(10 * PERIOD)
    here = int(server.clock()) // PERIOD
    assert 200 == (await ann.login(code(ann.app.secret, here))).status_code
    for back in (PERIOD, 2 * PERIOD, 5 * PERIOD):
        with server.clock.ago(back):
            step = int(server.clock()) // PERIOD
            for digits in (code(ann.app.secret, each) for each in (step - 1, step)):
                assert (401, "proof_refused") == code_of(await ann.login(digits))
    assert 200 == (await ann.login(code(ann.app.secret, here + 1))).status_code


async def test_restart(tmp_path: Path) -> None:
    """The last step is in the database: a new server knows it."""
    clock = Clock()
    async with serving(tmp_path, SETTINGS, clock=clock, **HERE) as server:
        ann = await Owner.joined(server, "ann")
        await ann.enrol()
        digits = ann.app.code()
        assert 200 == (await ann.login(digits)).status_code
    async with serving(tmp_path, SETTINGS, clock=clock, **HERE) as server:
        again = Owner(replace(ann.someone, server=server))
        assert (401, "proof_refused") == code_of(await again.login(digits))
        assert 200 == (await again.login(ann.app.code())).status_code


# Guesses


async def test_guesses_count_together(ann: Owner) -> None:
    """New logins, fresh proofs and confirmations have one count for the account (A-1, A-3)."""
    await ann.enrol()
    waiting = await ann.add()
    wrong = ann.app.wrong()
    ways = [
        lambda: ann.login(wrong),
        lambda: ann.stepup(wrong),
        lambda: ann.confirm(waiting, wrong),
        lambda: ann.server.post("/auth/login", {**ann.pin, "totp": wrong}),
    ]
    for number in range(FAILURES):
        answer = await ways[number % len(ways)]()
        assert answer.json()["code"] in ("proof_refused", "wrong_code")
    for way in ways:
        assert (429, "too_many_attempts") == code_of(await way())
    right = list(ann.apps.values())
    assert (429, "too_many_attempts") == code_of(await ann.login(right[0].code()))
    assert (429, "too_many_attempts") == code_of(await ann.confirm(waiting, right[1].code()))
    [failed] = {event.user_id for event in ann.server.events.of(LoginFailed)}
    assert ann.someone.user.id == failed


async def test_success_forgives(ann: Owner) -> None:
    """A confirmation forgives failures, as a login does; a first proof does not (A-3)."""
    waiting = await ann.add()
    counted = "failures", "throttle where key like 'totp %'"
    for _ in range(3):
        await ann.confirm(waiting, ann.app.wrong())
    assert [(3,)] == await rows(ann.server, *counted)
    await ann.confirm(waiting, ann.app.code())
    assert [] == await rows(ann.server, *counted)
    for _ in range(3):
        await ann.login(ann.app.wrong())
    await ann.flow()
    assert [(3,)] == await rows(ann.server, *counted)
    assert 200 == (await ann.login(ann.app.code())).status_code
    assert [] == await rows(ann.server, *counted)


async def test_flow_bears_few_guesses(ann: Owner) -> None:
    """Five wrong codes end a login that is under way (O-4)."""
    await ann.enrol()
    flow: str | None = await ann.flow()
    for _ in range(4):
        assert flow
        flow = (await ann.login(ann.app.wrong(), flow)).json()["flow"]
    assert flow
    assert "flow" not in (await ann.login(ann.app.wrong(), flow)).json()
    assert (401, "flow_ended") == code_of(await ann.login(ann.app.code(), flow))


# Users who are gone


async def test_disabled(ann: Owner) -> None:
    """Neither a login under way nor an enrolment goes on (S-6)."""
    await ann.enrol()
    first, flow, waiting = ann.app, await ann.flow(), await ann.add()
    await ann.server.auth.accounts.disable(ann.someone.user.id, Caller())
    assert (401, "flow_ended") == code_of(await ann.login(first.code(), flow))
    assert (401, "session_ended") == code_of(await ann.confirm(waiting, ann.app.code()))
    assert (401, "session_ended") == code_of(await ann.post("/auth/totp", {}))


async def test_deleted(ann: Owner, bob: Owner) -> None:
    """Nothing of the user is left; another one's stays."""
    await ann.enrol()
    theirs = await bob.enrol()
    flow, _ = await ann.flow(), await ann.add()
    await ann.server.auth.accounts.delete(ann.someone.user.id, Caller())
    assert [(theirs,)] == await rows(ann.server, "enrolment_id")
    assert (401, "flow_ended") == code_of(await ann.login(ann.app.code(), flow))


async def test_deleted_meanwhile(ann: Owner) -> None:
    """An enrolment that comes a moment after the end of its user makes nothing."""
    user_id = ann.someone.user.id
    await ann.server.auth.accounts.delete(user_id, Caller())
    authenticators = ann.server.auth.plugin(TotpPlugin).authenticators
    enrolment = ann.server.auth.users.enrolment(user_id, "totp")
    with pytest.raises(Conflict):
        await authenticators.add(enrolment, bytes(20))
    assert [] == await rows(ann.server)


# Rows that somebody altered


async def test_altered_row(ann: Owner, caplog: pytest.LogCaptureFixture) -> None:
    """No code is right or wrong then: 503, and the log names the row, and nothing secret."""
    enrolment_id = await ann.enrol()
    digits = ann.app.code()
    [(sealed,)] = await rows(ann.server, "sealed")
    for broken in (sealed[:-1] + bytes([sealed[-1] ^ 1]), sealed[:10], b"", bytes(60)):
        caplog.clear()
        await write(ann.server, "update totp set sealed = ?", broken)
        answer = await ann.login(digits)
        assert (503, "unavailable") == code_of(answer)
        [line] = [r for r in caplog.records if r.name == "picoauth.totp"]
        assert logging.ERROR == line.levelno
        assert f"authenticator {enrolment_id} cannot be used: " in line.getMessage()
        assert (503, "unavailable") == code_of(await ann.stepup(digits))
    await write(ann.server, "update totp set sealed = ?", sealed)
    assert 200 == (await ann.login(digits)).status_code


async def test_altered_row_that_waits(ann: Owner) -> None:
    """The same at its confirmation, which does not confirm."""
    enrolment_id = await ann.add()
    await write(ann.server, "update totp set sealed = ?", bytes(60))
    assert (503, "unavailable") == code_of(await ann.confirm(enrolment_id, ann.app.code()))
    assert [(None,)] == await rows(ann.server, "confirmed_at", "enrolments where factor = 'totp'")


async def test_altered_row_beside_another(ann: Owner) -> None:
    """The other one goes on, and guesses at it are counted: a broken row takes none back (A-2)."""
    broken, good = await ann.enrol(), await ann.enrol()
    await write(ann.server, "update totp set sealed = ? where enrolment_id = ?", bytes(60), broken)
    assert 200 == (await ann.login(ann.apps[good].code())).status_code
    for _ in range(FAILURES):
        assert (401, "proof_refused") == code_of(await ann.login(ann.apps[broken].wrong()))
    assert (429, "too_many_attempts") == code_of(await ann.login(ann.apps[good].code()))


async def test_rows_cannot_be_swapped(ann: Owner, bob: Owner) -> None:
    """Who writes the database makes no authenticator of theirs another user's (D-4)."""
    mine, theirs = await ann.enrol(), await bob.enrol()
    [(sealed,)] = await rows(ann.server, "sealed", f"totp where enrolment_id = '{theirs}'")
    await write(ann.server, "update totp set sealed = ? where enrolment_id = ?", sealed, mine)
    assert (503, "unavailable") == code_of(await ann.login(bob.app.code()))


async def test_rows_of_one_user_cannot_be_swapped(ann: Owner) -> None:
    """Nor of one's own: a code that was spent in one row would be good in the other."""
    first, second = await ann.enrol(), await ann.enrol()
    sealed = dict(await rows(ann.server, "enrolment_id, sealed"))
    for one, other in ((first, second), (second, first)):
        sql = "update totp set sealed = ? where enrolment_id = ?"
        await write(ann.server, sql, sealed[other], one)
    assert (503, "unavailable") == code_of(await ann.login(ann.apps[first].code()))


async def test_row_cannot_be_given_away(ann: Owner, bob: Owner) -> None:
    """Nor does moving it with its enrolment."""
    mine, theirs = await ann.enrol(), await bob.enrol()
    user_id = ann.someone.user.id
    await write(ann.server, "delete from enrolments where id = ?", mine)
    await write(ann.server, "update totp set user_id = ?", user_id)
    await write(ann.server, "update enrolments set user_id = ? where id = ?", user_id, theirs)
    assert (503, "unavailable") == code_of(await ann.login(bob.app.code()))


async def test_half_moved_row_is_nobodys(ann: Owner, bob: Owner) -> None:
    """A row and its enrolment have to name one user."""
    await ann.enrol()
    theirs = await bob.enrol()
    await write(
        ann.server,
        "update totp set user_id = ? where enrolment_id = ?",
        ann.someone.user.id,
        theirs,
    )
    assert (401, "proof_refused") == code_of(await ann.login(bob.app.code()))
    assert (401, "proof_refused") == code_of(await bob.login(bob.app.code()))


# What is kept and told


def written(folder: Path) -> bytes:
    """All files of a server but its root secret."""
    return b"".join(p.read_bytes() for p in folder.iterdir() if p.name != "picoauth.secret")


async def test_no_secret_is_found(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Secrets and codes are in no file, log or event, in no spelling; secrets are sealed (O-1)."""
    caplog.set_level("DEBUG")
    async with serving(tmp_path, SETTINGS, **HERE) as server:
        ann = await Owner.joined(server, "ann")
        enrolment_id = await ann.add(qr=True)
        await ann.confirm(enrolment_id, ann.app.wrong())
        await ann.confirm(enrolment_id, ann.app.code())
        await ann.login(ann.app.wrong())
        await ann.login(ann.app.code())
        [one] = await server.auth.plugin(TotpPlugin).authenticators.of(ann.someone.user.id)
        assert ann.app.secret == server.auth.secrets.open(one.place, one.sealed)
        told = repr([one, *server.events]) + caplog.text
        secret = ann.app.secret
    files = written(tmp_path)
    assert b"totp" in files
    everywhere = files + told.encode()
    for spelling in (*forms(secret), *forms(base64.b32encode(secret))):
        assert spelling not in everywhere


@pytest.mark.parametrize(
    ("settings", "issuer"),
    [
        ("", "127.0.0.1"),
        ('[totp]\nissuer = "Home & Garden"', "Home%20%26%20Garden"),
        ('[totp]\nissuer = "a:b"', "a%20b"),
        ('[totp]\nissuer = "::"', "127.0.0.1"),
    ],
)
async def test_issuer(tmp_path: Path, settings: str, issuer: str) -> None:
    """It is the host of the server unless a setting says otherwise; a colon is no part of it."""
    async with serving(tmp_path, f"{SETTINGS}\n{settings}", **HERE) as server:
        ann = await Owner.joined(server, "ann")
        made = (await ann.post("/auth/totp", {})).json()
        assert made["uri"].startswith(f"otpauth://totp/{issuer}:ann?secret=")
        assert made["uri"].endswith(f"&issuer={issuer}")


@pytest.mark.parametrize(
    ("username", "name", "account"),
    [
        ("ann:b", None, "ann%20b"),
        ("Änn", None, "%C3%84nn"),
        (None, "Ann: Example", "Ann%20Example"),
        (":", "Ann", "Ann"),
    ],
)
async def test_account(
    server: Server, username: str | None, name: str | None, account: str
) -> None:
    """The user name as it is shown, else the name, without what breaks a label."""
    user, _ = await server.auth.users.register(
        server.auth.users.draft(username=username, name=name)
    )
    plugin = server.auth.plugin(TotpPlugin)
    assert account == quote(await plugin.account(user), safe="")


async def test_account_without_a_name(server: Server) -> None:
    """Whoever has none that a label can have is known by the id."""
    user, _ = await server.auth.users.register(server.auth.users.draft(name=":"))
    assert user.id == await server.auth.plugin(TotpPlugin).account(user)


async def test_export(ann: Owner, bob: Owner) -> None:
    """Labels and times, of the user alone, and no secret."""
    enrolment_id = await ann.enrol(label="Phone")
    await bob.enrol()
    found = await ann.server.auth.plugin(TotpPlugin).export(ann.someone.user)
    now = ann.server.auth.now()
    assert {
        "authenticators": [
            {"id": enrolment_id, "label": "Phone", "confirmed_at": now, "last_used_at": None}
        ]
    } == found


# Faults


async def test_faults(tmp_path: Path) -> None:
    """Whatever statement fails, nothing is half done, and trying again works."""
    plugins: Mapping[str, type[Plugin[Any]]] = {"faults": FaultsPlugin, **PLUGINS}
    settings = SETTINGS.replace("[", '["faults", ', 1)
    async with serving(tmp_path, settings, plugins=plugins, ceremonies=CEREMONIES) as server:

        async def joined() -> Owner:
            owner = await Owner.joined(server, f"user{next(server.numbers)}")
            await owner.add()
            return owner

        async def confirm(owner: Owner) -> Any:
            [enrolment_id] = owner.apps
            return await owner.confirm(enrolment_id, owner.app.code())

        async for fault in each_fault(joined, confirm):
            assert 503 == fault.answer.status_code, fault.sql
            assert 200 == (await confirm(fault.subject)).status_code, fault.sql
        number = 0
        async for fault in each_fault(joined, lambda owner: owner.post("/auth/totp", {})):
            assert 503 == fault.answer.status_code, fault.sql
            assert 200 == (await confirm(fault.subject)).status_code, fault.sql
            number += 1
        assert 3 == number


async def test_secret_that_cannot_be_opened(ann: Owner) -> None:
    """The sentence for whoever asks, without what it is about."""
    await ann.enrol()
    await write(ann.server, "update totp set sealed = ?", bytes(60))
    authenticators = ann.server.auth.plugin(TotpPlugin).authenticators
    [one] = await authenticators.of(ann.someone.user.id)
    with pytest.raises(Unavailable, match=r"^an authenticator's secret cannot be opened$"):
        authenticators.secret(one)
