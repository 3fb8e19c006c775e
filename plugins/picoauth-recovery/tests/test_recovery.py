"""Recovery codes: made with the first second factor, spent once, made anew, gone with the last."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from picoauth import (
    Caller,
    CredentialChanged,
    FactorConfirmed,
    FactorRemoved,
    LoginFailed,
    Statement,
    UserDeleted,
    UserRegistered,
)
from picoauth.testing import Server, serving
from picoauth_recovery import RecoveryCodesMade, RecoveryCodeUsed, RecoveryPlugin
from tests.accounts import cut
from tests.factors import PIN, PLUGINS, code_of, enrol, join, step

SETTINGS = 'plugins = ["pin", "recovery", "code", "key"]\n[throttle]\nfailures = 1000'
NOW = 1_800_000_000
STALE = 301


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    """A server on which Ann has a pin."""
    async with serving(tmp_path, SETTINGS, plugins=PLUGINS) as running:
        await join(running)
        yield running


async def given(server: Server) -> tuple[Sequence[str], str]:
    """Give Ann her first second factor; answers the codes that came with it, and her token."""
    tokens = await enrol(server, "111111")
    return tokens["recovery"]["codes"], tokens["access_token"]


@pytest.mark.parametrize(("factors", "count"), [(["pin"], 0), (["key"], 10), (["pin", "key"], 10)])
async def test_account_that_begins_with_a_second_factor(
    server: Server, factors: Sequence[str], count: int
) -> None:
    """Whoever has a passkey and nothing else has codes as well, from the answer that made her."""
    users = server.auth.users
    draft = users.draft(username="bob")
    enrolments = [users.enrolment(draft.user_id, factor) for factor in factors]
    user, replies = await users.register(draft, enrolments=enrolments)
    assert count == len(replies.get("recovery", {"codes": []})["codes"])
    assert count == (await server.auth.plugin(RecoveryPlugin).sets.left(user.id)).left
    assert tuple(factors) == server.events.of(UserRegistered)[-1].factors


async def test_who_is_imported(server: Server) -> None:
    """Codes are for somebody who sees them: who comes by an import asks for them later."""
    users = server.auth.users
    draft = replace(users.draft(username="bob"), imported=True)
    enrolments = [users.enrolment(draft.user_id, "key")]
    user, replies = await users.register(draft, enrolments=enrolments)
    assert {} == replies
    assert 0 == (await server.auth.plugin(RecoveryPlugin).sets.left(user.id)).left


async def first(server: Server) -> str:
    """The flow of a login that has got its first proof."""
    answer = await step(server, **PIN)
    assert (401, "more_needed") == code_of(answer)
    flow: str = answer.json()["flow"]
    return flow


async def left(server: Server, token: str) -> tuple[int, int | None]:
    answer = await server.get("/auth/recovery", token=token)
    assert {"left", "made_at"} == answer.json().keys()
    return answer.json()["left"], answer.json()["made_at"]


async def rows(server: Server) -> tuple[int, int]:
    """How many sets there are, and how many codes."""
    sql = "select count(*) from enrolments where factor = 'recovery'"
    [(sets,)] = await server.auth.database.read(sql)
    [(codes,)] = await server.auth.database.read("select count(*) from recovery")
    return sets, codes


async def factors(server: Server, token: str) -> Mapping[str, str]:
    """The ids of a user's factors."""
    answer = await server.get("/auth/factors", token=token)
    return {one["factor"]: one["id"] for one in answer.json()["factors"]}


async def remove(server: Server, factor: str, token: str) -> str:
    """Remove one of Ann's factors; answers her new token."""
    path = f"/auth/factors/{(await factors(server, token))[factor]}"
    answer = await server.send("DELETE", path, token=token)
    assert 200 == answer.status_code, answer.text
    found: str = answer.json()["access_token"]
    return found


def used(server: Server) -> list[int]:
    """How many were left, of each use that was told."""
    return [event.left for event in server.events.of(RecoveryCodeUsed)]


# Made


async def test_made_with_the_first_second_factor(server: Server) -> None:
    """Ten different codes, in the answer that confirms it, and in no other one."""
    tokens = await enrol(server, "111111")
    assert ["codes"] == list(tokens["recovery"])
    codes = tokens["recovery"]["codes"]
    assert (10, 10) == (len(codes), len(set(codes)))
    assert all(re.fullmatch(r"(\w{4}-){5}\w{4}", code) for code in codes)
    assert (10, NOW) == await left(server, tokens["access_token"])
    confirmed = server.events.one(FactorConfirmed)
    assert ("code", True) == (confirmed.factor, confirmed.first)
    assert [] == server.events.of(RecoveryCodesMade)
    second = await server.post("/key/enrol", token=tokens["access_token"])
    assert (200, False) == (second.status_code, "recovery" in second.json())
    again = await server.post(
        "/code/enrol", {"code": "222222"}, token=second.json()["access_token"]
    )
    assert (200, False) == (again.status_code, "recovery" in again.json())
    assert (1, 10) == await rows(server)


async def test_nobody_has_codes_before(server: Server) -> None:
    """Without a second factor there are none, and none can be made."""
    token = (await step(server, **PIN)).json()["access_token"]
    assert (0, None) == await left(server, token)
    answer = await server.post("/auth/recovery", token=token)
    assert (409, "no_second_factor") == code_of(answer)
    assert (0, 0) == await rows(server)


async def test_made_once_of_twenty_at_once(server: Server) -> None:
    """Of twenty first second factors at once one answer has codes, and they are those that work."""
    token = (await step(server, **PIN)).json()["access_token"]
    bodies = [{"code": f"{n:06}"} for n in range(20)]
    answers = await asyncio.gather(
        *(server.post("/code/enrol", body, token=token) for body in bodies)
    )
    [codes] = [a.json()["recovery"]["codes"] for a in answers if "recovery" in a.json()]
    assert (1, 10) == await rows(server)
    answer = await step(server, await first(server), factor="recovery", recovery=codes[0])
    assert (200, None) == code_of(answer)


async def test_nothing_is_made_of_what_fails(server: Server) -> None:
    """Whichever statement of the enrolment fails, there is no second factor and no code."""
    token = (await step(server, **PIN)).json()["access_token"]
    with cut(server) as database:
        while database.after <= database.written:
            answer = await server.post("/code/enrol", {"code": "111111"}, token=token)
            assert (401, "start_over") == code_of(answer)
            assert (0, 0) == await rows(server)
            database.after += 1
    assert 7 < database.after
    assert (200, None) == code_of(await step(server, **PIN))


# Spent


@pytest.mark.parametrize(
    "spelling",
    [
        str,
        str.upper,
        lambda code: code.replace("-", ""),
        lambda code: f" {code.replace('-', ' ')} ",
        lambda code: code.replace("1", "l").replace("0", "O"),
    ],
)
async def test_login(server: Server, spelling: Any) -> None:
    """A code stands for the second factor, however it is typed, and then no more."""
    codes, _ = await given(server)
    await join(server, "bob")
    asked = await step(server, **PIN)
    assert ["code", "recovery"] == asked.json()["next"]
    typed = spelling(codes[3])
    answer = await step(server, asked.json()["flow"], factor="recovery", recovery=typed)
    token = answer.json()["access_token"]
    claims = (await server.post("/jwt/validate", token=token)).json()
    assert ["pin", "otp", "mfa"] == claims["amr"]
    assert (9, NOW) == await left(server, token)
    event = server.events.one(RecoveryCodeUsed)
    assert (claims["sub"], NOW, "127.0.0.1", 9) == (
        event.user_id,
        event.at,
        event.caller.address,
        event.left,
    )
    again = await step(server, await first(server), factor="recovery", recovery=codes[3])
    assert (401, "proof_refused") == code_of(again)
    right = await step(server, again.json()["flow"], factor="recovery", recovery=codes[4])
    assert ((200, None), [9, 8]) == (code_of(right), used(server))


async def test_login_in_one_step(server: Server) -> None:
    """The code may come with the first factor."""
    codes, _ = await given(server)
    assert (200, None) == code_of(await step(server, **PIN, recovery=codes[0]))
    assert (401, "proof_refused") == code_of(await step(server, **PIN, recovery=codes[0]))
    assert [9] == used(server)


async def test_stepup(server: Server) -> None:
    """A code is a fresh proof of a second factor."""
    codes, token = await given(server)
    server.clock.advance(STALE)
    assert (403, "stepup_needed") == code_of(await server.post("/auth/recovery", token=token))
    answer = await server.post("/auth/stepup", {"recovery": codes[0], **PIN}, token=token)
    assert ((200, None), [9]) == (code_of(answer), used(server))
    fresh = answer.json()["access_token"]
    assert (201, None) == code_of(await server.post("/auth/recovery", token=fresh))


async def test_codes_begin_no_login(server: Server) -> None:
    """Whoever finds the paper still needs the first factor."""
    codes, _ = await given(server)
    answer = await step(server, factor="recovery", username="ann", recovery=codes[0])
    assert (400, "factor_out_of_place") == code_of(answer)
    assert (1, 10) == await rows(server)


@pytest.mark.parametrize("odd", [None, True, 5, [], {}, {"recovery": 5}])
async def test_what_is_no_text(server: Server, odd: Any) -> None:
    """It is refused as malformed; the login goes on."""
    codes, _ = await given(server)
    answer = await step(server, await first(server), factor="recovery", recovery=odd)
    assert (400, "invalid_body") == code_of(answer)
    right = await step(server, answer.json()["flow"], factor="recovery", recovery=codes[0])
    assert (200, None) == code_of(right)


async def test_codes_of_someone_else(server: Server) -> None:
    """A code is good for its own user alone."""
    await given(server)
    await join(server, "bob")
    body = {"factor": "pin", "username": "bob", "pin": "1234"}
    token = (await server.post("/auth/login", body)).json()["access_token"]
    answer = await server.post("/code/enrol", {"code": "999999"}, token=token)
    theirs = answer.json()["recovery"]["codes"]
    refused = await step(server, await first(server), factor="recovery", recovery=theirs[0])
    assert (401, "proof_refused") == code_of(refused)
    assert ("recovery", "proof_refused") == (
        server.events.one(LoginFailed).factor,
        server.events.one(LoginFailed).code,
    )
    assert (2, 20) == await rows(server)


async def test_last_code(server: Server) -> None:
    """Ten logins, and then codes are no way any more, and are not named as one."""
    codes, _ = await given(server)
    for code in codes:
        answer = await step(server, **PIN, recovery=code)
        assert (200, None) == code_of(answer)
    token = answer.json()["access_token"]
    assert [9, 8, 7, 6, 5, 4, 3, 2, 1, 0] == used(server)
    assert ((0, None), (0, 0)) == (await left(server, token), await rows(server))
    assert {"pin", "code"} == (await factors(server, token)).keys()
    asked = await step(server, **PIN)
    assert ["code"] == asked.json()["next"]
    answer = await step(server, asked.json()["flow"], factor="recovery", recovery=codes[9])
    assert (401, "proof_refused") == code_of(answer)
    made = await server.post("/auth/recovery", token=token)
    assert ((201, None), (1, 10)) == (code_of(made), await rows(server))


async def test_one_code_fifty_times_on_two_servers(tmp_path: Path) -> None:
    """Two servers on one file, fifty logins at once by one code: one session, one event (T-3)."""
    async with (
        serving(tmp_path, SETTINGS, plugins=PLUGINS) as one,
        serving(tmp_path, SETTINGS, plugins=PLUGINS) as other,
    ):
        await join(one)
        codes, _ = await given(one)
        servers = [(one, other)[n % 2] for n in range(50)]
        flows = [await first(each) for each in servers]
        body = {"factor": "recovery", "recovery": codes[0]}
        answers = await asyncio.gather(
            *(step(each, flow, **body) for each, flow in zip(servers, flows, strict=True))
        )
        found = [code_of(answer) for answer in answers]
        assert (1, 49) == (found.count((200, None)), found.count((401, "proof_refused")))
        assert [9] == used(one) + used(other)
        assert (1, 9) == await rows(one)


async def test_ten_codes_at_once_on_two_servers(tmp_path: Path) -> None:
    """What is left is told exactly; a code that came in another's way is good when it comes again."""
    async with (
        serving(tmp_path, SETTINGS, plugins=PLUGINS) as one,
        serving(tmp_path, SETTINGS, plugins=PLUGINS) as other,
    ):
        await join(one)
        codes, _ = await given(one)
        barrier, met = asyncio.Barrier(len(codes)), set[str]()
        for server in (one, other):
            sets = server.auth.plugin(RecoveryPlugin).sets

            async def find(user_id: str, code: str, look: Any = sets.find) -> Any:
                """At first all have looked before any is spent."""
                found = await look(user_id, code)
                if code not in met:
                    met.add(code)
                    await barrier.wait()
                return found

            sets.find = find

        async def insist(server: Server, code: str) -> int:
            """Send a code until it is taken; answers how often it was refused."""
            for times in range(11):
                answer = await step(server, **PIN, recovery=code)
                if answer.status_code == 200:
                    return times
                assert (401, "proof_refused") == code_of(answer)
            pytest.fail("a code that is good is refused again and again")

        work = (insist((one, other)[n % 2], code) for n, code in enumerate(codes))
        refused = await asyncio.gather(*work)
        assert 0 < sum(refused)
        assert list(range(10)) == sorted(used(one) + used(other))
        assert (0, 0) == await rows(one)


# Made anew


async def test_made_anew(server: Server) -> None:
    """The old codes are void, other sessions end, this one goes on by new tokens."""
    old, _ = await given(server)
    other = (await step(server, **PIN, recovery=old[0])).json()["access_token"]
    token = (await step(server, **PIN, recovery=old[1])).json()["access_token"]
    flow = await first(server)
    server.clock.advance(60)
    server.events.clear()
    answer = await server.post("/auth/recovery", token=token)
    assert (201, {"codes", "access_token", "refresh_token", "token_type", "expires_in"}) == (
        answer.status_code,
        answer.json().keys(),
    )
    new, mine = answer.json()["codes"], answer.json()["access_token"]
    assert (10, set()) == (len(set(new)), set(new) & set(old))
    assert ((10, NOW + 60), (1, 10)) == (await left(server, mine), await rows(server))
    assert (401, "session_ended") == code_of(await server.get("/auth/recovery", token=other))
    refresh = await server.post("/jwt/refresh", token=answer.json()["refresh_token"])
    assert 200 == refresh.status_code
    # A login that was under way starts over; an old code is none in a new one.
    body = {"factor": "recovery", "recovery": old[2]}
    assert (401, "start_over") == code_of(await step(server, flow, **body))
    assert (401, "proof_refused") == code_of(await step(server, await first(server), **body))
    assert (200, None) == code_of(await step(server, **PIN, recovery=new[0]))
    event = server.events.one(RecoveryCodesMade)
    assert ([event], "recovery", NOW + 60) == (
        server.events.of(CredentialChanged),
        event.factor,
        event.at,
    )


async def test_made_anew_in_a_cookie(server: Server) -> None:
    """A session in a cookie goes on by a new one; the answer says whose it is."""
    await given(server)
    site = {"Origin": "http://127.0.0.1:8100"}
    body = {**PIN, "code": "111111", "session": "cookie"}
    login = await server.client.post("/auth/login", json=body, headers=site)
    assert 200 == login.status_code, login.text
    cookie = login.headers["set-cookie"].split(";")[0]
    answer = await server.client.post("/auth/recovery", headers={**site, "Cookie": cookie})
    assert (201, True) == (answer.status_code, {"codes", "sub", "amr"} <= answer.json().keys())
    renewed = answer.headers["set-cookie"].split(";")[0]
    assert renewed != cookie
    found = await server.client.get("/auth/recovery", headers={"Cookie": renewed})
    assert {"left": 10, "made_at": NOW} == found.json()


async def test_made_anew_twenty_times_at_once(server: Server) -> None:
    """One set stands, and it is that of the newest answer; whoever raced starts over."""
    _, token = await given(server)
    answers = await asyncio.gather(*(server.post("/auth/recovery", token=token) for _ in range(20)))
    found = [code_of(answer) for answer in answers]
    assert set(found) <= {(201, None), (401, "start_over")}
    assert (1, 10) == await rows(server)
    sets = [answer.json()["codes"] for answer in answers if answer.status_code == 201]
    good = [
        codes for codes in sets if 200 == (await step(server, **PIN, recovery=codes[0])).status_code
    ]
    assert 1 == len(good)


async def test_made_anew_while_the_last_second_factor_goes(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A set that was begun before is not left behind (K-13)."""
    _, token = await given(server)
    [session] = await server.auth.sessions.list(
        (await server.auth.database.read("select id from users"))[0][0]
    )
    code = (await factors(server, token))["code"]

    async def removing(*arguments: Any) -> Any:
        monkeypatch.undo()
        await server.auth.credentials.remove_factor(session.id, code, Caller())
        return await server.auth.credentials.change_proofs(*arguments)

    monkeypatch.setattr(server.auth.credentials, "change_proofs", removing)
    answer = await server.post("/auth/recovery", token=token)
    assert ((401, "start_over"), (0, 0)) == (code_of(answer), await rows(server))


async def test_old_codes_stay_where_making_fails(server: Server) -> None:
    """Whichever statement fails, the old set is whole, and nothing is told."""
    old, token = await given(server)
    server.events.clear()
    with cut(server) as database:
        while database.after <= database.written:
            answer = await server.post("/auth/recovery", token=token)
            assert (401, "start_over") == code_of(answer)
            assert ((1, 10), []) == (await rows(server), server.events.of(RecoveryCodesMade))
            database.after += 1
    assert 4 < database.after
    assert (200, None) == code_of(await step(server, **PIN, recovery=old[0]))


# Gone


async def test_removed(server: Server) -> None:
    """A user may do without codes: the kernel's route takes them, and the second factor stays."""
    codes, token = await given(server)
    token = await remove(server, "recovery", token)
    assert ((0, None), (0, 0)) == (await left(server, token), await rows(server))
    asked = await step(server, **PIN)
    assert ((401, "more_needed"), ["code"]) == (code_of(asked), asked.json()["next"])
    answer = await step(server, asked.json()["flow"], factor="recovery", recovery=codes[0])
    assert (401, "proof_refused") == code_of(answer)


async def test_last_second_factor_takes_them_along(server: Server) -> None:
    """They stand for nothing then: not in a step-up either; the next first one brings a new set."""
    old, token = await given(server)
    token = (await server.post("/key/enrol", token=token)).json()["access_token"]
    token = await remove(server, "code", token)
    assert (10, NOW) == await left(server, token)
    token = await remove(server, "key", token)
    assert ((0, None), (0, 0)) == (await left(server, token), await rows(server))
    answer = await server.post(
        "/auth/stepup", {"factor": "recovery", "recovery": old[0]}, token=token
    )
    assert (401, "proof_refused") == code_of(answer)
    assert (409, "no_second_factor") == code_of(await server.post("/auth/recovery", token=token))
    answer = await server.post("/key/enrol", token=token)
    new = answer.json()["recovery"]["codes"]
    assert (set(), (1, 10)) == (set(new) & set(old), await rows(server))
    refused = await step(server, await first(server), factor="recovery", recovery=old[0])
    right = await step(server, refused.json()["flow"], factor="recovery", recovery=new[0])
    assert ((401, "proof_refused"), (200, None)) == (code_of(refused), code_of(right))


async def test_unconfirmed_second_factor_keeps_nothing(server: Server) -> None:
    """One that is not in force is none that codes could stand for."""
    _, token = await given(server)
    [(user_id,)] = await server.auth.database.read("select id from users")
    enrolment = "insert into enrolments (id, user_id, factor) values ('x', ?, 'key')"
    await server.auth.database.write(Statement(enrolment, (user_id,)))
    await remove(server, "code", token)
    assert (0, 0) == await rows(server)


async def test_second_factor_of_another_plugin_keeps_them(server: Server) -> None:
    """One that nobody here knows is asked for still, and so codes are good still."""
    _, token = await given(server)
    [(user_id,)] = await server.auth.database.read("select id from users")
    enrolment = "insert into enrolments values ('x', ?, 'elsewhere', null, 1, null)"
    await server.auth.database.write(Statement(enrolment, (user_id,)))
    await remove(server, "code", token)
    assert (1, 10) == await rows(server)


async def test_ignored_factor_keeps_nothing(tmp_path: Path) -> None:
    """One that the operator ignores is not asked for, and codes go with the last other one."""
    settings = f'ignore_factors = ["elsewhere"]\n{SETTINGS}'
    async with serving(tmp_path, settings, plugins=PLUGINS) as server:
        await join(server)
        _, token = await given(server)
        [(user_id,)] = await server.auth.database.read("select id from users")
        enrolment = "insert into enrolments values ('x', ?, 'elsewhere', null, 1, null)"
        await server.auth.database.write(Statement(enrolment, (user_id,)))
        await remove(server, "code", token)
        assert (0, 0) == await rows(server)
        assert "code" == server.events.one(FactorRemoved).factor


async def test_codes_of_bob_stay(server: Server) -> None:
    """What Ann removes is hers alone."""
    _, token = await given(server)
    await join(server, "bob")
    login = {"factor": "pin", "username": "bob", "pin": "1234"}
    theirs = (await server.post("/auth/login", login)).json()["access_token"]
    await server.post("/code/enrol", {"code": "999999"}, token=theirs)
    await remove(server, "code", token)
    assert (1, 10) == await rows(server)


@pytest.mark.parametrize("what", ["disable", "delete"])
async def test_user_who_goes_meanwhile(server: Server, what: str) -> None:
    """A login that was under way by then comes to nothing; of a deleted user no row is left (S-6)."""
    codes, _ = await given(server)
    flow = await first(server)
    [(user_id,)] = await server.auth.database.read("select id from users")
    await getattr(server.auth.accounts, what)(user_id, Caller())
    answer = await step(server, flow, factor="recovery", recovery=codes[0])
    assert ((401, "flow_ended"), []) == (code_of(answer), used(server))
    assert ((1, 10) if what == "disable" else (0, 0)) == await rows(server)
    assert (what == "delete") == bool(server.events.of(UserDeleted))


# Told, kept, exported


async def test_nothing_is_stored_or_told_in_clear(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """No code that was handed out is in the files of the database, in the log or in an event."""
    caplog.set_level(logging.DEBUG)
    codes, token = await given(server)
    answer = await server.post("/auth/recovery", token=token)
    new = answer.json()["codes"]
    assert (200, None) == code_of(await step(server, **PIN, recovery=new[0]))
    await step(server, await first(server), factor="recovery", recovery=new[0])
    held = b"".join(path.read_bytes() for path in server.folder.glob("picoauth.db*"))
    assert b"recovery" in held
    told = f"{caplog.text}{server.events}"
    assert "RecoveryCodeUsed" in told
    for code in (*codes, *new):
        for form in (code, code.replace("-", "")):
            for spelt in (form, form.upper()):
                assert spelt not in told
                assert spelt.encode() not in held
                assert spelt.encode().hex().encode() not in held


SECRETS = (
    "b25lIHJvb3Qgc2VjcmV0IG9mIHNldmVyYWwsIGxvbmcgZW5vdWdo",
    "YW5vdGhlciBvZiBzZXZlcmFsIHJvb3Qgc2VjcmV0cywgYXMgbG9uZw",
)


async def test_another_root_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Codes are on paper for years: they outlive every rotation of the root secret."""
    for name, value in zip(("OLD", "NEW"), SECRETS, strict=True):
        monkeypatch.setenv(name, value)
    async with serving(tmp_path, listing("OLD"), plugins=PLUGINS) as server:
        await join(server)
        codes, _ = await given(server)
    async with serving(tmp_path, listing("NEW", "OLD"), plugins=PLUGINS) as server:
        assert (200, None) == code_of(await step(server, **PIN, recovery=codes[0]))
        await server.auth.database.write(Statement("delete from signing_keys"))  # of the old one
    async with serving(tmp_path, listing("NEW"), plugins=PLUGINS) as server:
        assert (200, None) == code_of(await step(server, **PIN, recovery=codes[1]))


def listing(*names: str) -> str:
    listed = ", ".join(f'{{ env = "{name}" }}' for name in names)
    return f"secret = [{listed}]\n{SETTINGS}"


async def test_export(server: Server) -> None:
    """A user who asks for all that is known is told how many codes are left."""
    plugin = server.auth.plugin(RecoveryPlugin)
    ann = await server.auth.users.find("username", "ann")
    assert ann is not None
    assert {"left": 0, "made_at": None} == await plugin.export(ann)
    codes, _ = await given(server)
    await step(server, **PIN, recovery=codes[0])
    assert {"left": 9, "made_at": NOW} == await plugin.export(ann)


async def test_doctor(server: Server) -> None:
    """The doctor counts who would be locked out; nobody without a second factor is."""
    [check] = [check for check in server.auth.checks if check.name == "recovery-codes"]
    assert (False, "advice") == (check.live, check.level)
    await join(server, "bob")
    assert await check.run() is None
    _, token = await given(server)
    await server.post("/key/enrol", token=token)
    assert await check.run() is None
    await server.auth.database.write(
        Statement("delete from enrolments where factor = 'recovery'", rows=1)
    )
    assert (
        "Users who have a second factor and no recovery codes (1) are locked out once they lose "
        "it: let your application offer them POST /auth/recovery."
    ) == await check.run()


async def test_listed_and_named(server: Server) -> None:
    """Codes are a factor among the others: listed, with their last use, and renamed."""
    codes, token = await given(server)
    server.clock.advance(7)
    await step(server, **PIN, recovery=codes[0])
    path = f"/auth/factors/{(await factors(server, token))['recovery']}"
    answer: httpx.Response = await server.send("PATCH", path, {"label": "in the safe"}, token=token)
    assert answer.status_code in (200, 204)
    listed = (await server.get("/auth/factors", token=token)).json()["factors"]
    [one] = [each for each in listed if each["factor"] == "recovery"]
    assert ("in the safe", NOW, NOW + 7) == (
        one["label"],
        one["confirmed_at"],
        one["last_used_at"],
    )
