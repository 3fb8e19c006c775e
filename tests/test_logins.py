"""Logins: what each step of a flow answers, and what becomes of the flow."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from picoauth import AuthError, Caller, Conflict, Statement
from picoauth.flows import Step
from picoauth.testing import Server, serving
from picoauth.testing.server import PASSWORD
from tests.factors import EVERY, FIRST, PATIENT, PLUGINS, WRONG, code_of, count, enrol, step

CHANGES = ["password", "enrol", "remove", "rename", "disable", "delete", "logout_from_all"]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    """A server with every kind of factor; Ann is registered."""
    async with serving(tmp_path, EVERY + PATIENT, plugins=PLUGINS) as running:
        await running.register()
        yield running


async def begin(server: Server, factor: str, flow: str | None = None, **body: Any) -> str:
    """Ask for a challenge; answers the flow."""
    asked = {"factor": factor, **({"flow": flow} if flow else {}), **body}
    answer = await server.post("/auth/login/begin", asked)
    assert answer.status_code == 200, answer.text
    begun: str = answer.json()["flow"]
    return begun


async def user_id(server: Server, username: str = "ann") -> str:
    user = await server.auth.users.find("username", username)
    assert user is not None
    return user.id


async def claims(server: Server, answer: httpx.Response) -> dict[str, Any]:
    body = await server.post("/jwt/validate", token=answer.json()["access_token"])
    read: dict[str, Any] = body.json()
    return read


async def tickets(server: Server) -> list[dict[str, Any]]:
    rows = await server.auth.database.read("select json(data), expires_at from tickets")

    return [json.loads(data) for data, _ in rows]


async def change(server: Server, kind: str) -> None:
    """Let something else happen to Ann's account."""
    accounts, users, caller = server.auth.accounts, server.auth.users, Caller()
    ann = await user_id(server)
    user = await users.require(ann)
    session_id = (await server.auth.sessions.list(ann))[0].id
    credentials = server.auth.credentials
    match kind:
        case "password":
            await credentials.change_credential(session_id, "password", [], caller)
        case "enrol":
            await credentials.enrol(session_id, users.enrolment(ann, "key"), [], caller)
        case "remove":
            [code] = [e for e in await users.enrolments(ann) if e.factor == "code"]
            await credentials.remove_factor(session_id, code.id, caller)
        case "rename":
            await accounts.change(ann, {"username": "anna"}, caller)
        case "disable":
            await accounts.disable(ann, caller)
        case "delete":
            await accounts.delete(ann, caller)
        case "logout_from_all":
            await accounts.logout_from_all(ann, caller)
        case "reset":
            await credentials.reset_credential(user, "password", [], caller)


async def test_factor_may_be_left_out(server: Server) -> None:
    """Without `factor` it is the first listed one that may start a login."""
    named = await step(server, factor="password", **FIRST)
    unnamed = await step(server, **FIRST)
    assert (200, 200) == (named.status_code, unnamed.status_code)


async def test_begin_without_a_factor(server: Server) -> None:
    """A challenge, too, is that of the first factor where none is named: here there is none."""
    answer = await server.post("/auth/login/begin", {"username": "ann"})
    assert (200, {}) == (answer.status_code, answer.json()["challenge"])
    done = await step(server, answer.json()["flow"], **FIRST)
    assert 200 == done.status_code


@pytest.mark.parametrize("session", ["cookie", "", 3, None])
async def test_only_tokens_are_handed_out_so_far(server: Server, session: Any) -> None:
    """Another way of delivery than tokens is refused, and `token` is the default."""
    assert (400, "invalid_body") == code_of(await step(server, **FIRST, session=session))
    assert 200 == (await step(server, **FIRST, session="token")).status_code


async def test_claims_of_one_factor(server: Server) -> None:
    """`amr` and `auth_time` come from the proof."""
    got = await claims(server, await step(server, **FIRST))
    assert (["pwd"], server.auth.now()) == (got["amr"], got["auth_time"])


async def test_last_use_is_noted(server: Server) -> None:
    """Each proof notes when its enrolment was last used, and the user's last login."""
    tokens = await enrol(server, "111111")
    server.clock.advance(60)
    await step(server, **FIRST, code="111111")
    factors = (await server.get("/auth/factors", token=tokens["access_token"])).json()["factors"]
    assert {server.auth.now()} == {factor["last_used_at"] for factor in factors}
    me = (await server.get("/auth/me", token=tokens["access_token"])).json()
    assert server.auth.now() == me["last_login_at"]


async def test_session_notes_where_it_came_from(server: Server) -> None:
    """A session remembers address and program, the latter cut short."""
    headers = {"User-Agent": "x" * 300}
    answer = await server.client.post("/auth/login", json=FIRST, headers=headers)
    [session] = await server.auth.sessions.list(await user_id(server))
    assert ("127.0.0.1", "x" * 256) == (session.address, session.user_agent)
    assert 200 == answer.status_code


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"code": "000000"}, (401, "proof_refused")),
        ({"code": "down"}, (503, "unavailable")),
        ({"factor": "nothing"}, (400, "unknown_factor")),
        ({"factor": "password", "password": PASSWORD}, (400, "factor_out_of_place")),
        ({"code": {"code": 3}}, (401, "proof_refused")),
    ],
)
async def test_every_refusal_in_a_flow_hands_out_a_new_flow(
    server: Server, body: dict[str, Any], expected: tuple[int, str]
) -> None:
    """What was proven is kept in a new flow with one try fewer; the old flow is spent."""
    await enrol(server, "111111")
    old = (await step(server, **FIRST)).json()["flow"]
    answer = await step(server, old, **body)
    assert expected == code_of(answer)
    assert [4] == [flow["tries"] for flow in await tickets(server)]
    assert (401, "flow_ended") == code_of(await step(server, old, code="111111"))
    new = answer.json()["flow"]
    assert (200, None) == code_of(await step(server, new, code="111111"))


async def test_unavailable_says_when_to_come_again(server: Server) -> None:
    """A factor that is down answers 503, `Retry-After` and a flow."""
    await enrol(server, "111111")
    answer = await step(server, **FIRST, code="down")
    assert (503, "7") == (answer.status_code, answer.headers["retry-after"])
    assert 200 == (await step(server, answer.json()["flow"], code="111111")).status_code


async def test_unavailable_at_the_last_try(server: Server) -> None:
    """The last try, too, is answered by 503 where the factor is down, without a flow."""
    await enrol(server, "111111")
    answer = await step(server, **FIRST)
    for _ in range(5):
        answer = await step(server, answer.json()["flow"], code="down")
    assert ((503, "unavailable"), "7") == (code_of(answer), answer.headers["retry-after"])
    assert "flow" not in answer.json()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"factor": "code", "hint": "down"}, (503, "unavailable")),
        ({"factor": "nothing"}, (400, "unknown_factor")),
        ({"factor": "password"}, (400, "factor_out_of_place")),
    ],
)
async def test_refused_challenge_hands_out_a_new_flow(
    server: Server, body: dict[str, Any], expected: tuple[int, str]
) -> None:
    """A challenge that cannot be made costs a try, and not what was proven."""
    await enrol(server, "111111")
    flow = (await step(server, **FIRST)).json()["flow"]
    answer = await server.post("/auth/login/begin", {"flow": flow, **body})
    assert expected == code_of(answer)
    assert [4] == [flow["tries"] for flow in await tickets(server)]
    assert 200 == (await step(server, answer.json()["flow"], code="111111")).status_code


async def test_challenge_that_fails_without_a_flow(server: Server) -> None:
    """Nothing is kept of a login that never began."""
    answer = await server.post("/auth/login/begin", {"factor": "nothing"})
    assert ((400, "unknown_factor"), 0) == (code_of(answer), await count(server, "tickets"))


async def test_tries_are_a_setting(tmp_path: Path) -> None:
    """With one try a wrong second factor ends the login."""
    settings = f"{EVERY}\n[logins]\nflow_tries = 1"
    async with serving(tmp_path, settings, plugins=PLUGINS) as server:
        await server.register()
        await enrol(server, "111111")
        flow = (await step(server, **FIRST)).json()["flow"]
        answer = await step(server, flow, code="000000")
        assert ((401, "proof_refused"), False) == (code_of(answer), "flow" in answer.json())


async def test_life_is_a_setting(tmp_path: Path) -> None:
    """A flow is dead at the end of its life, to the second, and alive before."""
    async with serving(tmp_path, f"{EVERY}\n[logins]\nflow_life = 10", plugins=PLUGINS) as server:
        await server.register()
        await enrol(server, "111111", "222222")
        early, late = [(await step(server, **FIRST)).json()["flow"] for _ in range(2)]
        server.clock.advance(9)
        assert 200 == (await step(server, early, code="111111")).status_code
        server.clock.advance(1)
        assert (401, "flow_ended") == code_of(await step(server, late, code="222222"))


async def test_fifty_wrong_answers_on_one_flow(server: Server) -> None:
    """Of fifty racers with one flow one is heard: a guess cannot be made fifty times at once."""
    await enrol(server, "111111")
    flow = (await step(server, **FIRST)).json()["flow"]
    answers = await asyncio.gather(*(step(server, flow, code="000000") for _ in range(50)))
    codes = [code_of(answer) for answer in answers]
    assert 1 == codes.count((401, "proof_refused"))
    assert 49 == codes.count((401, "flow_ended"))


async def test_spent_code_hands_out_the_flow_again(server: Server) -> None:
    """Who loses a race for a single-use code may go on with another code."""
    await enrol(server, "111111", "222222")
    flows = [(await step(server, **FIRST)).json()["flow"] for _ in range(2)]
    answers = await asyncio.gather(*(step(server, flow, code="111111") for flow in flows))
    [lost] = [answer for answer in answers if answer.status_code != 200]
    assert (401, "proof_refused") == code_of(lost)
    assert 200 == (await step(server, lost.json()["flow"], code="222222")).status_code


async def test_code_spent_in_a_login_in_one_step(server: Server) -> None:
    """One code, in two whole logins at once, is good for one of them."""
    await enrol(server, "111111")
    answers = await asyncio.gather(*(step(server, **FIRST, code="111111") for _ in range(2)))
    assert [200, 401] == sorted(answer.status_code for answer in answers)


async def test_proof_spent_before_the_next_is_asked(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proof that is spent while its flow is written is refused, with or without more to come."""
    key = server.auth.factors["key"]
    verify = type(key).verify

    async def spent(self: Any, *arguments: Any) -> Any:
        proof = await verify(self, *arguments)
        gone = Statement("delete from users where id = 'nobody'", rows=1)
        object.__setattr__(proof, "statements", [gone])
        return proof

    await enrol(server, "111111")
    monkeypatch.setattr(type(key), "verify", spent)
    flow = await begin(server, "key")
    lost = await step(server, flow, factor="key", owner="ann")
    assert (401, "proof_refused") == code_of(lost)
    assert (400, "invalid_body") == code_of(
        await step(server, lost.json()["flow"], factor="key", owner="ann")
    )
    flow = await begin(server, "key")
    lost = await step(server, flow, factor="key", owner="ann", code="000000")
    assert ((401, "proof_refused"), False) == (code_of(lost), "flow" in lost.json())


async def test_account_that_goes_while_its_flow_is_written(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flow of a user who is deleted at that very moment says to start over."""
    await enrol(server, "111111")
    rule = server.auth.logins.rule
    complete = rule.complete

    def deleting(*arguments: Any) -> bool:
        server.auth.database.writer.execute("delete from users")  # type: ignore[attr-defined]
        return complete(*arguments)

    monkeypatch.setattr(rule, "complete", deleting)
    assert (401, "start_over") == code_of(await step(server, **FIRST))
    assert 0 == await count(server, "tickets")


async def test_next_lists_exactly_what_helps(server: Server) -> None:
    """`next` names what the user has and what completes, in the operator's order."""
    tokens = await enrol(server, "999999", table="spare")
    token = tokens["access_token"]
    tokens = (await server.post("/key/enrol", token=token)).json()
    token = tokens["access_token"]
    assert ["spare", "key"] == (await step(server, **FIRST)).json()["next"]
    await server.post("/code/enrol", {"code": "111111"}, token=token)
    assert ["code", "spare", "key"] == (await step(server, **FIRST)).json()["next"]
    flow = await begin(server, "key")
    by_key = await step(server, flow, factor="key", owner="ann")
    assert ["password", "code", "spare"] == by_key.json()["next"]
    flow = await begin(server, "link", to="ann")
    by_link = await step(server, flow, factor="link", clicked=True)
    assert ["code", "spare", "key"] == by_link.json()["next"]
    both = await step(server, by_link.json()["flow"], password=PASSWORD)
    assert ((401, "more_needed"), ["code", "spare", "key"]) == (code_of(both), both.json()["next"])


async def test_unconfirmed_factor_does_not_count(server: Server) -> None:
    """A factor that was never confirmed neither protects nor helps."""
    ann = await user_id(server)
    await server.auth.database.write(
        Statement("insert into enrolments (id, user_id, factor) values ('x', ?, 'code')", (ann,))
    )
    assert 200 == (await step(server, **FIRST)).status_code


async def test_enrolment_of_a_factor_that_is_gone(tmp_path: Path) -> None:
    """A factor that the operator said to ignore counts no longer."""
    async with serving(tmp_path, EVERY, plugins=PLUGINS) as server:
        await server.register()
        await enrol(server, "111111")
    settings = 'ignore_factors = ["code"]\nplugins = ["password"]'
    async with serving(tmp_path, settings) as server:
        assert 200 == (await step(server, **FIRST)).status_code


async def test_factor_that_everyone_has(server: Server) -> None:
    """A link starts a login without an enrolment, and alone it is enough without a second."""
    flow = await begin(server, "link", to="ann")
    answer = await step(server, flow, factor="link", clicked=True)
    assert ["swk"] == (await claims(server, answer))["amr"]


async def test_link_to_nobody(server: Server) -> None:
    """A challenge for nobody looks the same, and proves nothing."""
    flow = await begin(server, "link", to="nobody")
    answer = await step(server, flow, factor="link", clicked=True)
    assert (401, "proof_refused") == code_of(answer)


async def test_second_first(server: Server) -> None:
    """A key that may start is asked first, and the password second."""
    await enrol(server, "111111")
    flow = await begin(server, "key")
    first = await step(server, flow, factor="key", owner="ann")
    assert (401, "more_needed") == code_of(first)
    second = await step(server, first.json()["flow"], password=PASSWORD)
    assert ["hwk", "pwd", "mfa"] == (await claims(server, second))["amr"]


async def test_complete_proof(server: Server) -> None:
    """A key that verified its user is a whole login with whatever is enrolled."""
    await enrol(server, "111111")
    flow = await begin(server, "key")
    answer = await step(server, flow, factor="key", owner="ann", verified=True)
    assert ["hwk"] == (await claims(server, answer))["amr"]
    [session] = [
        s for s in await server.auth.sessions.list(await user_id(server)) if "hwk" in s.amr
    ]
    assert server.auth.now() == session.second_at


async def test_challenge_of_one_factor_survives_the_answer_of_another(server: Server) -> None:
    """Only the challenge that was answered is gone."""
    await enrol(server, "111111")
    flow = (await step(server, **FIRST)).json()["flow"]
    flow = await begin(server, "key", flow)
    wrong = await step(server, flow, code="000000")
    right = await step(server, wrong.json()["flow"], factor="key", owner="ann")
    assert 200 == right.status_code


async def test_several_second_factors_at_once(server: Server) -> None:
    """A request may carry more than is needed; all of it has to be right."""
    await enrol(server, "999999", table="spare")
    await enrol(server, "111111")
    wrong = await step(server, **FIRST, code="111111", spare="000000")
    assert (401, "proof_refused") == code_of(wrong)
    answer = await step(server, wrong.json()["flow"], spare="999999")
    assert 200 == answer.status_code
    assert 0 == await count(server, "code")


async def test_fallback_is_no_second_factor_to_have(server: Server) -> None:
    """Spare codes make no second factor necessary, and two proofs with one are a whole login."""
    await enrol(server, "999999", table="spare")
    answer = await step(server, **FIRST, spare="999999")
    assert ["pwd", "otp", "mfa"] == (await claims(server, answer))["amr"]
    assert (401, "proof_refused") == code_of(await step(server, **FIRST, spare="999999"))


async def test_flow_of_another_session_or_purpose(server: Server) -> None:
    """A flow of a login is none of a step-up, nor the other way round, nor of another session."""
    await enrol(server, "111111", "222222", "333333")
    token = (await step(server, **FIRST, code="111111")).json()["access_token"]
    other = (await step(server, **FIRST, code="222222")).json()["access_token"]
    login = (await step(server, **FIRST)).json()["flow"]
    body = {"factor": "code", "code": "333333"}
    wrong = await server.post("/auth/stepup", {"flow": login, **body}, token=token)
    assert (401, "flow_ended") == code_of(wrong)
    begun = await server.post("/auth/stepup/begin", {"factor": "code"}, token=token)
    stepup = begun.json()["flow"]
    assert (401, "flow_ended") == code_of(await step(server, stepup, **body))
    stolen = await server.post("/auth/stepup", {"flow": stepup, **body}, token=other)
    assert (401, "flow_ended") == code_of(stolen)
    assert 200 == (await step(server, login, code="333333")).status_code


async def test_step_without_a_proof(server: Server) -> None:
    """A step that proves nothing is no login."""
    with pytest.raises(AuthError, match="flow_ended"):
        await server.auth.logins.prove(Step(flow=None, payloads=[], caller=Caller()))


async def test_disabled_user_at_each_step(server: Server) -> None:
    """A disabled user gets through no step: not the first, a later one, nor the only one."""
    await enrol(server, "111111")
    flow = (await step(server, **FIRST)).json()["flow"]
    await begin(server, "key")
    by_link = await begin(server, "link", to="ann")
    await server.auth.accounts.disable(await user_id(server), Caller())
    assert (401, "invalid_credentials") == code_of(await step(server, **FIRST))
    assert (401, "flow_ended") == code_of(await step(server, flow, code="111111"))
    answer = await step(server, by_link, factor="link", clicked=True)
    assert (401, "proof_refused") == code_of(answer)
    flow = await begin(server, "key")
    answer = await step(server, flow, factor="key", owner="ann", verified=True)
    assert (401, "proof_refused") == code_of(answer)
    answer = await server.post("/auth/login/begin", {"factor": "link", "to": "ann"})
    assert (200, {"sent": True}) == (answer.status_code, answer.json()["challenge"])


async def test_flow_that_outlived_disabling(server: Server) -> None:
    """A flow written a moment after its user was disabled leads nowhere either."""
    await enrol(server, "111111")
    flow = (await step(server, **FIRST)).json()["flow"]
    await server.auth.database.write(Statement("update users set disabled_at = 1"))
    answer = await step(server, flow, code="111111")
    assert ((401, "flow_ended"), False) == (code_of(answer), "flow" in answer.json())


@pytest.mark.parametrize("kind", [*CHANGES, "reset"])
async def test_account_changes_between_two_steps(server: Server, kind: str) -> None:
    """A login whose account changed since its first proof starts over, without flow or session."""
    await enrol(server, "111111")
    flow = (await step(server, **FIRST)).json()["flow"]
    await change(server, kind)
    before = await count(server, "sessions")
    answer = await step(server, flow, code="111111")
    expected = "flow_ended" if kind in ("disable", "delete") else "start_over"
    assert (401, expected) == code_of(answer)
    assert (False, before) == ("flow" in answer.json(), await count(server, "sessions"))


@pytest.mark.parametrize("kind", CHANGES)
async def test_account_changes_before_a_challenge(server: Server, kind: str) -> None:
    """A challenge is refused as a proof is where the account changed."""
    await enrol(server, "111111")
    flow = (await step(server, **FIRST)).json()["flow"]
    await change(server, kind)
    answer = await server.post("/auth/login/begin", {"flow": flow, "factor": "code"})
    expected = "flow_ended" if kind in ("disable", "delete") else "start_over"
    assert ((401, expected), False) == (code_of(answer), "flow" in answer.json())


@pytest.mark.parametrize("kind", CHANGES)
async def test_account_changes_after_the_last_proof(
    server: Server, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A change that comes between the last proof and the write undoes the write."""
    await enrol(server, "111111")
    check = server.auth.check_login

    async def changing(login: Any) -> None:
        await check(login)
        await change(server, kind)

    monkeypatch.setattr(server.auth, "check_login", changing)
    before = await count(server, "sessions")
    answer = await step(server, **FIRST, code="111111")
    expected = "proof_refused" if kind in ("delete", "remove") else "start_over"
    assert (401, expected) == code_of(answer)
    assert (False, False) == ("flow" in answer.json(), "access_token" in answer.json())
    after = await count(server, "sessions")
    assert (0 if kind == "delete" else before) == after


@pytest.mark.parametrize("kind", CHANGES)
async def test_account_changes_while_a_password_is_hashed(
    server: Server, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """The epoch is read before the credential: a change during the hashing is seen."""
    await enrol(server, "111111")
    plugin: Any = server.auth.plugins.on["password"]
    verify = plugin.hasher.verify

    async def slow(*arguments: Any) -> None:
        await verify(*arguments)
        await change(server, kind)

    monkeypatch.setattr(plugin.hasher, "verify", slow)
    answer = await step(server, **FIRST, code="111111")
    expected = "flow_ended" if kind in ("disable", "delete") else "start_over"
    assert ((401, expected), False) == (code_of(answer), "flow" in answer.json())


async def test_wrong_second_factor_of_a_deleted_user(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refusal stays one where its flow cannot be kept, since the user is gone."""
    await enrol(server, "111111")
    code = server.auth.factors["code"]
    verify = type(code).verify

    async def deleting(self: Any, *arguments: Any) -> Any:
        if self.name == "code":
            await change(server, "delete")
        return await verify(self, *arguments)

    monkeypatch.setattr(type(code), "verify", deleting)
    flow = (await step(server, **FIRST)).json()["flow"]
    answer = await step(server, flow, code="000000")
    assert ((401, "proof_refused"), False) == (code_of(answer), "flow" in answer.json())


async def test_another_users_first_factor(server: Server) -> None:
    """In Ann's flow a link of Bob's is refused, and the flow stays Ann's."""
    await server.register("bob")
    await enrol(server, "111111")
    flow = await begin(server, "key")
    flow = await begin(server, "link", flow, to="bob")
    flow = (await step(server, flow, factor="key", owner="ann")).json()["flow"]
    wrong = await step(server, flow, factor="link", clicked=True)
    assert (401, "proof_refused") == code_of(wrong)
    assert 200 == (await step(server, wrong.json()["flow"], code="111111")).status_code


async def test_two_users_in_one_request(server: Server) -> None:
    """The second proof of a request is of the first one's user, whatever name it carries."""
    await server.register("bob", "the password of bob")
    flow = await begin(server, "key")
    body = {"factor": "key", "owner": "ann"}
    password = {"username": "bob", "password": "the password of bob"}
    answer = await step(server, flow, **body, password=password)
    assert (401, "invalid_credentials") == code_of(answer)


async def test_failures_of_one_factor_leave_another(tmp_path: Path) -> None:
    """Each factor counts its own failures, and success forgives only its own (A-1, A-3)."""
    settings = f"{EVERY}\n[throttle]\nfailures = 2\nlongest = 60"
    async with serving(tmp_path, settings, plugins=PLUGINS) as server:
        await server.register()
        await enrol(server, "111111", "222222")
        flow = (await step(server, **FIRST)).json()["flow"]
        for _ in range(2):
            flow = (await step(server, flow, code="0")).json()["flow"]
        late = await step(server, flow, code="111111")
        assert (429, "too_many_attempts") == code_of(late)
        assert (401, "more_needed") == code_of(await step(server, **FIRST))
        again = await step(server, (await step(server, **FIRST)).json()["flow"], code="111111")
        assert (429, "too_many_attempts") == code_of(again)
        server.clock.advance(2)
        right = await step(server, again.json()["flow"], code="111111")
        assert 200 == right.status_code


async def test_names_of_nobody_are_counted(tmp_path: Path) -> None:
    """Who is nobody is slowed down as a user is, and the name is stored as a keyed hash alone."""
    settings = f"{EVERY}\n[throttle]\nfailures = 2"
    async with serving(tmp_path, settings, plugins=PLUGINS) as server:
        await server.register()
        nobody = {"username": "hunter2 typed here", "password": PASSWORD}
        for body in (nobody, WRONG):
            codes = [(await step(server, **body)).status_code for _ in range(3)]
            assert [401, 401, 429] == codes
        rows = await server.auth.database.read("select key from throttle")
        assert not [key for (key,) in rows if "hunter2" in key]


async def test_two_hundred_guesses_at_once(tmp_path: Path) -> None:
    """Failures are counted before anything is checked: a flood evaluates the limit, no more (A-2)."""
    settings = f"{EVERY}\n[throttle]\nfailures = 5"
    async with serving(tmp_path, settings, plugins=PLUGINS) as server:
        await server.register()
        answers = await asyncio.gather(*(step(server, **WRONG) for _ in range(200)))
        codes = [answer.status_code for answer in answers]
        assert {401: 5, 429: 195} == {code: codes.count(code) for code in set(codes)}


async def test_session_store_outside_the_database(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another store takes the session back where the write fails."""
    ended: list[str] = []
    store = server.auth.sessions

    class Elsewhere:
        async def put(self, session: Any) -> list[Statement]:
            self.put_id = session.id
            return []

        async def end(self, session_id: str) -> list[Statement]:
            ended.append(session_id)
            return []

    elsewhere = Elsewhere()
    monkeypatch.setattr(server.auth, "sessions", elsewhere)
    assert 200 == (await step(server, **FIRST)).status_code
    assert [] == ended

    async def failing(*_: Any) -> None:
        raise Conflict(99)

    monkeypatch.setattr(server.auth.events, "commit", failing)
    assert (401, "start_over") == code_of(await step(server, **FIRST))
    assert [elsewhere.put_id] == ended
    monkeypatch.setattr(server.auth, "sessions", store)
