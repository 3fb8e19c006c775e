"""The login flow of the architecture, step by step, with factors of each kind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from picoauth import Denied, Login, NoSettings, Plugin, hookimpl, plugins, problems
from picoauth.testing import Server, serving
from picoauth.testing.server import PASSWORD
from tests.factors import PLUGINS, SETTINGS

FIRST = {"username": "ann", "password": PASSWORD}
WRONG = {"username": "ann", "password": "not the password"}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    """A server with a first factor, a second one, spare codes and keys; Ann is registered."""
    async with serving(tmp_path, SETTINGS, plugins=PLUGINS) as running:
        await running.register()
        yield running


async def enrol(server: Server, *codes: str, table: str = "code") -> dict[str, Any]:
    """Give Ann codes; answers the newest tokens."""
    tokens = await server.login()
    for code in codes:
        path = f"/{table}/enrol"
        answer = await server.post(path, {"code": code}, token=tokens["access_token"])
        assert answer.status_code == 200, answer.text
        tokens = answer.json()
    return tokens


def code_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def test_one_factor_is_enough_without_a_second(server: Server) -> None:
    """A user who enrolled no second factor logs in by password."""
    answer = await server.post("/auth/login", FIRST)
    assert answer.status_code == 200
    assert set(answer.json()) == {"access_token", "refresh_token", "token_type", "expires_in"}


async def test_second_factor_is_asked(server: Server) -> None:
    """With a second factor the password answers 401, a flow, and what would help."""
    await enrol(server, "111111")
    answer = await server.post("/auth/login", FIRST)
    assert code_of(answer) == (401, "more_needed")
    assert answer.json()["next"] == ["code"]
    flow = answer.json()["flow"]
    done = await server.post("/auth/login", {"flow": flow, "factor": "code", "code": "111111"})
    assert done.status_code == 200
    claims = (await server.post("/jwt/validate", token=done.json()["access_token"])).json()
    assert claims["amr"] == ["pwd", "otp", "mfa"]


async def test_login_in_one_step(server: Server) -> None:
    """Further factors stand under their names in the same request."""
    await enrol(server, "111111")
    answer = await server.post("/auth/login", {**FIRST, "code": "111111"})
    assert answer.status_code == 200


async def test_second_step_by_the_name_of_the_factor(server: Server) -> None:
    """A second step needs no `factor` where its payload says it."""
    await enrol(server, "111111")
    flow = (await server.post("/auth/login", FIRST)).json()["flow"]
    answer = await server.post("/auth/login", {"flow": flow, "code": {"code": "111111"}})
    assert answer.status_code == 200


async def test_wrong_second_factor_keeps_the_first(server: Server) -> None:
    """A wrong code costs a try and hands out a new flow; the old one is spent."""
    await enrol(server, "111111")
    flow = (await server.post("/auth/login", FIRST)).json()["flow"]
    wrong = await server.post("/auth/login", {"flow": flow, "code": "000000"})
    assert code_of(wrong) == (401, "proof_refused")
    again = await server.post("/auth/login", {"flow": flow, "code": "111111"})
    assert code_of(again) == (401, "flow_ended")
    right = await server.post("/auth/login", {"flow": wrong.json()["flow"], "code": "111111"})
    assert right.status_code == 200


async def test_tries_of_a_flow_end(server: Server) -> None:
    """After five wrong answers there is no new flow."""
    await enrol(server, "111111")
    answer = await server.post("/auth/login", FIRST)
    for _ in range(4):
        answer = await server.post("/auth/login", {"flow": answer.json()["flow"], "code": "000000"})
        assert "flow" in answer.json()
    last = await server.post("/auth/login", {"flow": answer.json()["flow"], "code": "000000"})
    assert code_of(last) == (401, "proof_refused")
    assert "flow" not in last.json()


async def test_one_step_with_a_wrong_code_hands_out_a_flow(server: Server) -> None:
    """The password that was right in the same request counts."""
    await enrol(server, "111111")
    answer = await server.post("/auth/login", {**FIRST, "code": "000000"})
    assert code_of(answer) == (401, "proof_refused")
    right = await server.post("/auth/login", {"flow": answer.json()["flow"], "code": "111111"})
    assert right.status_code == 200


async def test_wrong_first_factor_gets_no_flow(server: Server) -> None:
    """Nothing is kept of a login whose first proof was wrong."""
    answer = await server.post("/auth/login", WRONG)
    assert code_of(answer) == (401, "invalid_credentials")
    assert "flow" not in answer.json()
    assert answer.json()["error"] == "Invalid username or password"


async def test_flow_expires(server: Server) -> None:
    """A login begun must be done in five minutes, counted from its first step."""
    await enrol(server, "111111", "222222")
    flow = (await server.post("/auth/login", FIRST)).json()["flow"]
    server.clock.advance(200)
    flow = (await server.post("/auth/login", {"flow": flow, "code": "0"})).json()["flow"]
    server.clock.advance(100)
    answer = await server.post("/auth/login", {"flow": flow, "code": "111111"})
    assert code_of(answer) == (401, "flow_ended")


async def test_fifty_on_one_flow(server: Server) -> None:
    """Of fifty racers with one flow and the right code one gets a session."""
    await enrol(server, "111111")
    flow = (await server.post("/auth/login", FIRST)).json()["flow"]
    body = {"flow": flow, "code": "111111"}
    answers = await asyncio.gather(*(server.post("/auth/login", body) for _ in range(50)))
    assert sorted({answer.status_code for answer in answers}) == [200, 401]
    assert [answer.status_code for answer in answers].count(200) == 1


async def test_fifty_with_one_code(server: Server) -> None:
    """Of fifty logins with one code, each with its own flow, one gets a session."""
    await enrol(server, "111111", "222222")
    server.auth.config.throttle  # noqa: B018 - the default allows nine failures
    flows = [(await server.post("/auth/login", FIRST)).json()["flow"] for _ in range(8)]
    bodies = [{"flow": flow, "code": "111111"} for flow in flows]
    answers = await asyncio.gather(*(server.post("/auth/login", body) for body in bodies))
    assert [answer.status_code for answer in answers].count(200) == 1
    refused = {code_of(answer) for answer in answers if answer.status_code != 200}
    assert refused == {(401, "proof_refused")}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"factor": "nothing"}, (400, "unknown_factor")),
        ({"factor": "code", "code": "111111"}, (400, "factor_out_of_place")),
        ({"code": "111111"}, (400, "factor_out_of_place")),
        ({"flow": "made up", **FIRST}, (401, "flow_ended")),
        ({"flow": 3}, (400, "invalid_body")),
        ({"session": "cheese", **FIRST}, (400, "invalid_body")),
        ({}, (400, "invalid_body")),
        ({"username": "ann"}, (400, "invalid_body")),
        ({"username": None, "password": PASSWORD}, (400, "invalid_body")),
        ([], (400, "invalid_body")),
    ],
)
async def test_what_is_no_login(server: Server, body: Any, expected: tuple[int, str]) -> None:
    """A malformed login is a problem with a stable code."""
    assert code_of(await server.post("/auth/login", body)) == expected


async def test_same_factor_twice(server: Server) -> None:
    """Two proofs of one factor are one."""
    await enrol(server, "111111")
    flow = (await server.post("/auth/login", FIRST)).json()["flow"]
    answer = await server.post("/auth/login", {"flow": flow, **FIRST})
    assert code_of(answer) == (400, "factor_out_of_place")


async def test_challenge_is_good_for_one_look(server: Server) -> None:
    """`begin` hands out a challenge whose state is gone after one try."""
    begun = await server.post("/auth/login/begin", {"factor": "key"})
    assert begun.json()["challenge"] == {"challenge": "sign this"}
    body = {"flow": begun.json()["flow"], "factor": "key", "owner": "nobody"}
    wrong = await server.post("/auth/login", body)
    assert code_of(wrong) == (401, "proof_refused")
    body = {"flow": wrong.json()["flow"], "factor": "key", "owner": "ann"}
    assert code_of(await server.post("/auth/login", body)) == (400, "invalid_body")


async def test_begin_of_a_second_factor_needs_a_first(server: Server) -> None:
    """Nobody is asked for a second factor who has not proven a first."""
    assert code_of(await server.post("/auth/login/begin", {"factor": "code"})) == (
        400,
        "factor_out_of_place",
    )


async def test_begin_within_a_flow(server: Server) -> None:
    """A second factor may ask for something of its own."""
    await enrol(server, "111111")
    flow = (await server.post("/auth/login", FIRST)).json()["flow"]
    begun = await server.post("/auth/login/begin", {"flow": flow, "factor": "code", "hint": "x"})
    assert begun.json()["challenge"] == {"hint": "x"}
    answer = await server.post("/auth/login", {"flow": begun.json()["flow"], "code": "111111"})
    assert answer.status_code == 200


async def key_login(server: Server, **more: Any) -> httpx.Response:
    flow = (await server.post("/auth/login/begin", {"factor": "key"})).json()["flow"]
    return await server.post("/auth/login", {"flow": flow, "factor": "key", "owner": "ann", **more})


async def test_complete_proof_needs_no_second(server: Server) -> None:
    """A key that verified its user is a whole login, also with a second factor enrolled."""
    await enrol(server, "111111")
    assert (await key_login(server, verified=True)).status_code == 200


async def test_key_without_verification_is_one_factor(server: Server) -> None:
    """A key that did not verify its user needs another factor beside it."""
    await enrol(server, "111111")
    answer = await key_login(server)
    assert code_of(answer) == (401, "more_needed")
    assert answer.json()["next"] == ["password", "code"]
    flow = answer.json()["flow"]
    answer = await server.post("/auth/login", {"flow": flow, "password": PASSWORD, "username": "x"})
    assert answer.status_code == 200


async def test_key_as_second_factor(server: Server) -> None:
    """An enrolled key protects a password login."""
    tokens = await server.login()
    await server.post("/key/enrol", token=tokens["access_token"])
    answer = await server.post("/auth/login", FIRST)
    assert answer.json()["next"] == ["key"]
    begun = await server.post("/auth/login/begin", {"flow": answer.json()["flow"], "factor": "key"})
    body = {"flow": begun.json()["flow"], "factor": "key", "owner": "ann"}
    assert (await server.post("/auth/login", body)).status_code == 200


async def test_proof_of_another_user(server: Server) -> None:
    """A proof of Bob in Ann's flow is refused."""
    await server.register("bob")
    await enrol(server, "111111")
    flow = (await server.post("/auth/login", FIRST)).json()["flow"]
    begun = await server.post("/auth/login/begin", {"flow": flow, "factor": "key"})
    body = {"flow": begun.json()["flow"], "factor": "key", "owner": "bob", "verified": True}
    assert code_of(await server.post("/auth/login", body)) == (401, "proof_refused")


async def test_spare_codes_are_a_fallback(server: Server) -> None:
    """Spare codes alone make no second factor necessary, but serve as one."""
    await enrol(server, "999999", table="spare")
    assert (await server.post("/auth/login", FIRST)).status_code == 200
    await enrol(server, "111111")
    answer = await server.post("/auth/login", FIRST)
    assert answer.json()["next"] == ["code", "spare"]
    body = {"flow": answer.json()["flow"], "spare": "999999"}
    assert (await server.post("/auth/login", body)).status_code == 200


@pytest.mark.parametrize("change", ["password", "enrol", "rename", "logout", "disable", "delete"])
async def test_account_changes_between_two_steps(server: Server, change: str) -> None:
    """A login whose account changed after its first proof comes to nothing."""
    await enrol(server, "111111")
    tokens = (await server.post("/auth/login", {**FIRST, "code": "111111"})).json()
    token = tokens["access_token"]
    me = (await server.get("/auth/me", token=token)).json()["id"]
    await server.post("/code/enrol", {"code": "333333"}, token=token)
    flow = (await server.post("/auth/login", FIRST)).json()["flow"]
    accounts, caller = server.auth.accounts, None
    from picoauth import Caller

    caller = Caller()
    match change:
        case "password":
            await server.send(
                "PUT", "/auth/password", {"password": "a new one, please"}, token=token
            )
        case "enrol":
            await server.post("/code/enrol", {"code": "222222"}, token=token)
        case "rename":
            await accounts.change(me, {"username": "anna"}, caller)
        case "logout":
            await accounts.logout_from_all(me, caller)
        case "disable":
            await accounts.disable(me, caller)
        case "delete":
            await accounts.delete(me, caller)
    answer = await server.post("/auth/login", {"flow": flow, "code": "333333"})
    expected = "flow_ended" if change in ("disable", "delete") else "start_over"
    assert code_of(answer) == (401, expected)
    sessions = await server.auth.database.read(
        "select count(*) from sessions where created_at > ?", (0,)
    )
    assert "access_token" not in answer.json()
    assert sessions


class Gate(Plugin[NoSettings]):
    """Decides about logins as a test tells it."""

    answer: Any = None

    @hookimpl
    async def check_login(self, login: Login) -> None:
        answer = type(self).answer
        if isinstance(answer, Exception):
            raise answer
        if answer == "hang":
            await asyncio.Event().wait()
        return answer  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (None, (200, None)),
        (True, (403, "refused")),
        (False, (403, "refused")),
        (ValueError("a bug"), (403, "refused")),
        (Denied(problems.FORBIDDEN), (403, "forbidden")),
        ("hang", (403, "refused")),
    ],
)
async def test_check_login_answers_none_or_denies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Any, expected: tuple[int, str | None]
) -> None:
    """Any answer of a deciding hook but None denies: a value, an exception, silence."""
    monkeypatch.setattr(Gate, "answer", answer)
    monkeypatch.setattr(plugins, "PATIENCE", 0.01)
    async with serving(
        tmp_path, 'plugins = ["password", "gate"]', plugins={"gate": Gate}
    ) as server:
        await server.register()
        reply = await server.post("/auth/login", FIRST)
        assert (reply.status_code, reply.json().get("code")) == expected
        [[count]] = await server.auth.database.read("select count(*) from sessions")
        assert count == (1 if answer is None else 0)


async def test_throttled_flow_is_kept(server: Server) -> None:
    """Who comes too soon in a flow gets 429 and may go on with a new flow."""
    await enrol(server, "111111")
    answer = await server.post("/auth/login", FIRST)
    for _ in range(4):
        body = {"flow": answer.json()["flow"], "code": "0"}
        answer = await server.post("/auth/login", body)
    answer = await server.post("/auth/login", FIRST)
    for _ in range(4):
        body = {"flow": answer.json()["flow"], "code": "0"}
        answer = await server.post("/auth/login", body)
    flow = (await server.post("/auth/login", FIRST)).json()["flow"]
    for _ in range(2):
        answer = await server.post("/auth/login", {"flow": flow, "code": "0"})
        flow = answer.json()["flow"]
    late = await server.post("/auth/login", {"flow": flow, "code": "111111"})
    assert code_of(late) == (429, "too_many_attempts")
    assert late.headers["retry-after"] == "1"
    server.clock.advance(1)
    right = await server.post("/auth/login", {"flow": late.json()["flow"], "code": "111111"})
    assert right.status_code == 200
