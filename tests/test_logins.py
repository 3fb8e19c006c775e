"""Logins: which proofs are enough, what they leave behind, and what is no login."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from picoauth import (
    Caller,
    Conflict,
    Denied,
    Login,
    NoSettings,
    Plugin,
    Session,
    Statement,
    hookimpl,
    problems,
)
from picoauth.testing import Server, serving
from tests.factors import (
    ALL,
    PATIENT,
    PIN,
    PLUGINS,
    WRONG_PIN,
    begin,
    code_of,
    count,
    enrol,
    join,
    step,
)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    """A server with every kind of factor; Ann has a pin."""
    async with serving(tmp_path, ALL + PATIENT, plugins=PLUGINS) as running:
        await join(running)
        yield running


async def sessions(server: Server, username: str = "ann") -> list[Session]:
    user = await server.auth.users.find("username", username)
    assert user is not None
    return list(await server.auth.sessions.list(user.id))


async def claims(server: Server, answer: httpx.Response) -> dict[str, Any]:
    body = await server.post("/jwt/validate", token=answer.json()["access_token"])
    read: dict[str, Any] = body.json()
    return read


async def test_one_factor_is_enough_without_a_second(server: Server) -> None:
    """Who enrolled no second factor logs in by the first; `factor` may be left out."""
    named = await step(server, factor="pin", **PIN)
    unnamed = await step(server, **PIN)
    for answer in (named, unnamed):
        assert 200 == answer.status_code
        assert {"access_token", "refresh_token", "token_type", "expires_in"} == set(answer.json())
        got = await claims(server, answer)
        assert (["pin"], server.auth.now()) == (got["amr"], got["auth_time"])


async def test_factor_whose_name_has_a_text(tmp_path: Path) -> None:
    """It is the one, whichever is listed first; and the example is of one that can be typed."""
    settings = 'plugins = ["key", "password", "pin"]'
    async with serving(tmp_path, settings, plugins=PLUGINS) as server:
        await join(server)
        assert 200 == (await step(server, **PIN)).status_code
        assert (400, "invalid_body") == code_of(await step(server, username="ann"))  # a key's
        assert (401, "proof_refused") == code_of(
            await step(server, pin={"pin": "1234"})
        )  # nobody's
        [login] = [r.route for r in server.app.routes if r.route.path == "/auth/login"]
        assert "password" in login.example


async def test_second_factor_is_asked(server: Server) -> None:
    """With a second factor the first answers 401, a flow, and what would help."""
    await enrol(server, "111111")
    answer = await step(server, **PIN)
    assert ((401, "more_needed"), ["code"]) == (code_of(answer), answer.json()["next"])
    done = await step(server, answer.json()["flow"], factor="code", code="111111")
    assert ["pin", "otp", "mfa"] == (await claims(server, done))["amr"]


async def test_login_in_one_step(server: Server) -> None:
    """Further factors stand under their names in the same request, as a text or an object."""
    await enrol(server, "111111", "222222")
    assert 200 == (await step(server, **PIN, code="111111")).status_code
    assert 200 == (await step(server, **PIN, code={"code": "222222"})).status_code


async def test_several_second_factors_at_once(server: Server) -> None:
    """A request may carry more than is needed; all of it has to be right."""
    await enrol(server, "999999", table="spare")
    await enrol(server, "111111")
    wrong = await step(server, **PIN, code="111111", spare="000000")
    assert (401, "proof_refused") == code_of(wrong)
    assert 200 == (await step(server, wrong.json()["flow"], spare="999999")).status_code
    assert 0 == await count(server, "code")


@pytest.mark.parametrize("session", ["jar", "", 3, None])
async def test_odd_ways_of_keeping_a_session(server: Server, session: Any) -> None:
    """Another way than tokens and cookies is refused, and `token` is the default."""
    assert (400, "invalid_body") == code_of(await step(server, **PIN, session=session))
    assert 200 == (await step(server, **PIN, session="token")).status_code


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"factor": "nothing"}, (400, "unknown_factor")),
        ({"factor": "code", "code": "111111"}, (400, "factor_out_of_place")),
        ({"code": "111111"}, (400, "factor_out_of_place")),
        ({"flow": "made up", **PIN}, (401, "flow_ended")),
        ({"flow": 3}, (400, "invalid_body")),
        ({}, (400, "invalid_body")),
        ({"username": "ann"}, (400, "invalid_body")),
        ([], (400, "invalid_body")),
    ],
)
async def test_what_is_no_login(server: Server, body: Any, expected: tuple[int, str]) -> None:
    """A malformed login is a problem with a stable code, and leaves nothing."""
    assert expected == code_of(await server.post("/auth/login", body))
    assert [0, 0] == [await count(server, table) for table in ("sessions", "tickets")]


async def test_last_use_is_noted(server: Server) -> None:
    """Each proof notes when its enrolment was last used, and the user's last login."""
    token = (await enrol(server, "111111"))["access_token"]
    server.clock.advance(60)
    await step(server, **PIN, code="111111")
    factors = (await server.get("/auth/factors", token=token)).json()["factors"]
    assert {server.auth.now()} == {factor["last_used_at"] for factor in factors}
    me = (await server.get("/auth/me", token=token)).json()
    assert server.auth.now() == me["last_login_at"]


async def test_session_notes_where_it_came_from(server: Server) -> None:
    """A session remembers address and program, the latter cut short."""
    headers = {"User-Agent": "x" * 300}
    answer = await server.client.post("/auth/login", json=PIN, headers=headers)
    [session] = await sessions(server)
    assert ("127.0.0.1", "x" * 256) == (session.address, session.user_agent)
    assert 200 == answer.status_code


async def test_next_lists_exactly_what_helps(server: Server) -> None:
    """`next` names what the user has and what completes, emergencies last."""
    token = (await enrol(server, "999999", table="spare"))["access_token"]
    token = (await server.post("/key/enrol", token=token)).json()["access_token"]
    assert ["key", "spare"] == (await step(server, **PIN)).json()["next"]
    await server.post("/code/enrol", {"code": "111111"}, token=token)
    assert ["code", "key", "spare"] == (await step(server, **PIN)).json()["next"]
    by_key = await step(server, await begin(server, "key"), factor="key", owner="ann")
    assert ["pin", "code", "spare"] == by_key.json()["next"]
    flow = await begin(server, "link", to="ann")
    by_link = await step(server, flow, factor="link", clicked=True)
    assert ["code", "key", "spare"] == by_link.json()["next"]
    both = await step(server, by_link.json()["flow"], pin="1234")
    assert ((401, "more_needed"), ["code", "key", "spare"]) == (code_of(both), both.json()["next"])


async def test_unconfirmed_factor_does_not_count(server: Server) -> None:
    """A factor that was never confirmed neither protects nor helps."""
    row = "insert into enrolments (id, user_id, factor) select 'x', id, 'code' from users"
    await server.auth.database.write(Statement(row))
    assert 200 == (await step(server, **PIN)).status_code


async def test_enrolment_of_a_factor_that_is_gone(tmp_path: Path) -> None:
    """A factor that the operator said to ignore counts no longer."""
    async with serving(tmp_path, ALL, plugins=PLUGINS) as server:
        await join(server)
        await enrol(server, "111111")
    settings = 'ignore_factors = ["code"]\nplugins = ["pin"]'
    async with serving(tmp_path, settings, plugins=PLUGINS) as server:
        assert 200 == (await step(server, **PIN)).status_code


async def test_user_without_an_enrolment(server: Server) -> None:
    """Who has no factor logs in by nothing but a proof, and nobody else's proof will do (P-12)."""
    await server.auth.users.register(server.auth.users.draft(username="bob"))
    by_pin = await step(server, username="bob", pin="1234")
    assert (401, "proof_refused") == code_of(by_pin)
    flow = await begin(server, "link", to="bob")
    answer = await step(server, flow, factor="link", clicked=True)
    assert ["swk"] == (await claims(server, answer))["amr"]


async def test_link_to_nobody(server: Server) -> None:
    """A challenge for nobody looks the same, and proves nothing."""
    flow = await begin(server, "link", to="nobody")
    answer = await step(server, flow, factor="link", clicked=True)
    assert (401, "proof_refused") == code_of(answer)


async def test_second_factor_first(server: Server) -> None:
    """A key that may start is asked first, and the pin second, whatever name comes with it."""
    await enrol(server, "111111")
    first = await step(server, await begin(server, "key"), factor="key", owner="ann")
    assert (401, "more_needed") == code_of(first)
    second = await step(server, first.json()["flow"], username="nobody", pin="1234")
    assert ["hwk", "pin", "mfa"] == (await claims(server, second))["amr"]


async def test_complete_proof(server: Server) -> None:
    """A key that verified its user is a whole login with whatever is enrolled."""
    await enrol(server, "111111")
    flow = await begin(server, "key")
    answer = await step(server, flow, factor="key", owner="ann", verified=True)
    assert ["hwk"] == (await claims(server, answer))["amr"]
    [session] = [s for s in await sessions(server) if "hwk" in s.amr]
    assert server.auth.now() == session.second_at


async def test_fallback_is_no_second_factor_to_have(server: Server) -> None:
    """Spare codes make no second factor necessary, and serve as one where one is."""
    await enrol(server, "999999", "888888", table="spare")
    answer = await step(server, **PIN, spare="999999")
    assert ["pin", "otp", "mfa"] == (await claims(server, answer))["amr"]
    assert (401, "proof_refused") == code_of(await step(server, **PIN, spare="999999"))
    assert (200, None) == code_of(await step(server, **PIN))
    await enrol(server, "111111")
    assert (401, "more_needed") == code_of(await step(server, **PIN))
    assert (200, None) == code_of(await step(server, **PIN, spare="888888"))


@pytest.mark.parametrize(
    ("factor", "body"),
    [("key", {"owner": "bob", "verified": True}), ("link", {"clicked": True})],
)
async def test_proof_of_another_user(server: Server, factor: str, body: dict[str, Any]) -> None:
    """In Ann's flow a proof of Bob is refused, and the flow stays hers."""
    await join(server, "bob")
    await enrol(server, "111111")
    flow = await begin(server, factor, to="bob")
    flow = (await step(server, flow, **PIN)).json()["flow"]
    wrong = await step(server, flow, factor=factor, **body)
    assert ((401, "proof_refused"), 1) == (code_of(wrong), await count(server, "sessions"))
    right = await step(server, wrong.json()["flow"], code="111111")
    assert ["pin", "otp", "mfa"] == (await claims(server, right))["amr"]


async def test_two_users_in_one_request(server: Server) -> None:
    """The second proof of a request is of the first one's user, whatever name it carries."""
    await join(server, "bob", "5678")
    flow = await begin(server, "key")
    pin = {"username": "bob", "pin": "5678"}
    answer = await step(server, flow, factor="key", owner="ann", pin=pin)
    assert ((401, "proof_refused"), 0) == (code_of(answer), await count(server, "sessions"))


async def test_disabled_user_at_each_entrance(server: Server) -> None:
    """A disabled user gets in nowhere, is told no reason, and a challenge looks as ever."""
    [ann] = [await server.auth.users.find("username", "ann")]
    assert ann is not None
    by_link = await begin(server, "link", to="ann")
    await server.auth.accounts.disable(ann.id, Caller())
    by_key = await begin(server, "key")
    answers = [
        await step(server, **PIN),
        await step(server, by_link, factor="link", clicked=True),
        await step(server, by_key, factor="key", owner="ann", verified=True),
    ]
    assert [(401, "proof_refused")] * 3 == [code_of(answer) for answer in answers]
    begun = await server.post("/auth/login/begin", {"factor": "link", "to": "ann"})
    assert (200, {"sent": True}) == (begun.status_code, begun.json()["challenge"])


class Gate(Plugin[NoSettings]):
    """Decides about logins as a test tells it."""

    answer: Any = None

    @hookimpl
    async def check_login(self, login: Login) -> None:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (None, (200, None)),
        (True, (403, "refused")),
        (False, (403, "refused")),
        (ValueError("a bug"), (403, "refused")),
        (Denied(problems.FORBIDDEN), (403, "forbidden")),
    ],
)
async def test_check_login_answers_none_or_denies(
    tmp_path: Path, answer: Any, expected: tuple[int, str | None]
) -> None:
    """Any answer of a deciding hook but None denies: a value, an exception; nothing is spent."""
    gate = type("Deciding", (Gate,), {"answer": answer})
    everything = {**PLUGINS, "gate": gate}
    async with serving(tmp_path, 'plugins = ["pin", "gate"]', plugins=everything) as server:
        await join(server)
        assert expected == code_of(await step(server, **PIN))
        assert (1 if answer is None else 0) == await count(server, "sessions")


async def test_failures_of_one_factor_leave_another(tmp_path: Path) -> None:
    """Each factor counts its own failures, in every flow, and success forgives only its own (A-3)."""
    settings = f"{ALL}\n[throttle]\nfailures = 2\nlongest = 60"
    async with serving(tmp_path, settings, plugins=PLUGINS) as server:
        await join(server)
        await enrol(server, "111111", "222222")
        flow = (await step(server, **PIN)).json()["flow"]
        for _ in range(2):
            flow = (await step(server, flow, code="0")).json()["flow"]
        late = await step(server, flow, code="111111")
        assert ((429, "too_many_attempts"), "1") == (code_of(late), late.headers["retry-after"])
        again = await step(server, **PIN, code="111111")
        assert (429, "too_many_attempts") == code_of(again)
        server.clock.advance(1)
        assert 200 == (await step(server, again.json()["flow"], code="111111")).status_code
        assert 200 == (await step(server, late.json()["flow"], code="222222")).status_code


async def test_first_factor_is_forgiven_though_the_second_fails(tmp_path: Path) -> None:
    """Each proof that is right clears its own failures, also where the login does not end in a session."""
    async with serving(tmp_path, f"{ALL}\n[throttle]\nfailures = 3", plugins=PLUGINS) as server:
        await join(server)
        await enrol(server, "111111")
        for _ in range(3):
            assert (401, "proof_refused") == code_of(await step(server, **WRONG_PIN))
            assert (401, "more_needed") == code_of(await step(server, **PIN))
        answer = await step(server, **PIN, code="000000")
        keys = await server.auth.database.read("select key, failures from throttle")
        [ann] = [await server.auth.users.find("username", "ann")]
        assert ann is not None
        assert [(f"code {ann.id}", 1)] == keys
        assert (401, "proof_refused") == code_of(answer)


async def test_names_of_nobody_are_counted(tmp_path: Path) -> None:
    """Who is nobody is slowed down as a user is, and the name is stored as a keyed hash alone."""
    async with serving(tmp_path, f"{ALL}\n[throttle]\nfailures = 2", plugins=PLUGINS) as server:
        await join(server)
        for body in ({"username": "hunter2 typed here", "pin": "1234"}, WRONG_PIN):
            codes = [(await step(server, **body)).status_code for _ in range(3)]
            assert [401, 401, 429] == codes
        rows = await server.auth.database.read("select key from throttle")
        assert (2, []) == (len(rows), [key for (key,) in rows if "hunter2" in key])


async def test_session_store_outside_the_database(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another store takes the session back where the write fails, whyever it does."""
    put: list[str] = []
    undone: list[str] = []

    class Elsewhere:
        async def put(self, session: Session) -> list[Statement]:
            put.append(session.id)
            return []

        async def undo(self, session: Session, before: Session | None = None) -> None:
            undone.append(session.id)

        async def settle(self) -> None:
            pass

        async def crowding(self, session: Session, most: int) -> Statement | Sequence[str]:
            return []

    monkeypatch.setattr(server.auth, "sessions", Elsewhere())
    assert 200 == (await step(server, **PIN)).status_code
    assert (1, []) == (len(put), undone)

    async def failing(*_: Any, **__: Any) -> None:
        raise reason

    monkeypatch.setattr(server.auth.events, "committed", failing)
    reason: Exception = Conflict(99)
    assert (401, "start_over") == code_of(await step(server, **PIN))
    reason = ValueError("a bug")
    assert (500, "internal_error") == code_of(await step(server, **PIN))
    assert put[1:] == undone
