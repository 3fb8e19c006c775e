"""What attackers try: races, downgrades, other people's ids, users who are gone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from endpoint import (
    APP,
    BACK,
    CHALLENGE,
    CLIENTS,
    DOOR,
    DOOR_BACK,
    OLD,
    OLD_BACK,
    ON,
    PRIVATE,
    TABLE,
    VERIFIER,
    Home,
    home,
    legacy,
    query,
    writing,
)

from picoauth import (
    Caller,
    Conflict,
    CredentialChanged,
    Event,
    IdentifierRestored,
    SessionsEnded,
    Statement,
    UserClosed,
)
from picoauth.testing import Clock
from picoauth_fetch import FetchBusy, FetchFailed
from picoauth_fetch.testing import Site
from picoauth_fetch.testing import answer as served
from picoauth_privateauth import ClientTokenReused, CodeReused, GrantEnded, requests
from picoauth_privateauth.clients import AT_ONCE

Step = Callable[[Home], Awaitable[Any]]
Ending = Callable[[Home, str], Awaitable[None]]
KINDS = ("access", "refresh")


@pytest.mark.parametrize("path", ["authorize", "token"])
async def test_fifty_redemptions(at_home: Home, path: str) -> None:
    """Of fifty at once one wins, and what it got is taken back, since the code came again."""
    code = await at_home.code(scope="profile")
    answers = await asyncio.gather(*(at_home.redeem(code, path) for _ in range(50)))
    won = [answer for answer in answers if answer.status_code == 200]
    assert 1 == len(won)
    assert {"invalid_grant"} == {a.json()["error"] for a in answers if a not in won}
    if path == "token":
        assert {"active": False} == await at_home.introspected(won[0].json()["access_token"])
        assert APP == at_home.server.events.of(CodeReused)[0].client_id


async def test_fifty_legacy_redemptions(at_home: Home) -> None:
    """The same for a code without PKCE."""
    code = await at_home.legacy_code()
    answers = await asyncio.gather(*(at_home.legacy(code) for _ in range(50)))
    assert 1 == sum(answer.status_code == 200 for answer in answers)


async def test_fifty_wrong_and_right(at_home: Home) -> None:
    """However right and wrong presentations mix, nothing that was handed out stays good."""
    code = await at_home.code(scope="profile")
    wrong = (at_home.redeem(code, "token", client_id=OLD) for _ in range(25))
    right = (at_home.redeem(code, "token") for _ in range(25))
    mixed = [one for pair in zip(wrong, right, strict=True) for one in pair]
    answers = await asyncio.gather(*mixed)
    for answer in answers:
        if answer.status_code == 200:
            assert {"active": False} == await at_home.introspected(answer.json()["access_token"])


async def test_fifty_decisions(at_home: Home) -> None:
    """One decision counts, however many come at once."""
    request = await at_home.request()
    path = f"requests/{request}"
    await at_home.token()
    answers = await asyncio.gather(
        *(at_home.ask("POST", f"{path}/{way}", {}) for way in ("approve", "deny") * 25)
    )
    assert [200] + [409] * 49 == sorted(answer.status_code for answer in answers)


async def test_fifty_refreshes(at_home: Home) -> None:
    """A refresh token that is used twice at once was stolen: its family ends."""
    tokens = await at_home.handed()
    form = {"grant_type": "refresh_token", "client_id": APP}
    sent = (at_home.post("token", refresh_token=tokens["refresh_token"], **form) for _ in range(50))
    answers = await asyncio.gather(*sent)
    won = [answer.json() for answer in answers if answer.status_code == 200]
    assert len(won) <= 1
    for one in (tokens, *won):
        assert {"active": False} == await at_home.introspected(one["access_token"])
    assert APP == at_home.server.events.of(ClientTokenReused)[0].client_id


async def test_two_users_open(at_home: Home) -> None:
    """A request is the first user's who opens it; to others it is not there."""
    await at_home.join("bob")
    await at_home.token("bob")
    await at_home.token("ann")
    request = await at_home.request()
    answers = await asyncio.gather(
        *(at_home.ask("GET", f"requests/{request}", username=name) for name in ("ann", "bob") * 10)
    )
    assert {10: {200, 404}} == {10: {answer.status_code for answer in answers}}
    first = "ann" if answers[0].status_code == 200 else "bob"
    other = {"ann": "bob", "bob": "ann"}[first]
    for way in ("approve", "deny"):
        answer = await at_home.ask("POST", f"requests/{request}/{way}", {}, username=other)
        assert 404 == answer.status_code
    assert "code" in await at_home.approved(request, first)


async def test_decided_requests(at_home: Home) -> None:
    """What was decided is decided, and what is too late is gone."""
    request = await at_home.request()
    await at_home.approved(request)
    for method, path in (("GET", ""), ("POST", "/approve"), ("POST", "/deny")):
        answer = await at_home.ask(method, f"requests/{request}{path}", {} if path else None)
        assert (409, "request_decided") == (answer.status_code, answer.json()["code"])
    late = await at_home.request()
    at_home.server.clock.advance(599)
    assert 200 == (await at_home.ask("GET", f"requests/{late}")).status_code
    at_home.tokens.clear()
    at_home.server.clock.advance(1)
    assert 404 == (await at_home.ask("GET", f"requests/{late}")).status_code
    assert 404 == (await at_home.ask("POST", f"requests/{late}/approve", {})).status_code
    assert 404 == (await at_home.ask("GET", "requests/x")).status_code


async def test_more_than_asked(at_home: Home) -> None:
    """Nobody approves what was not asked for, nor as somebody else."""
    await at_home.join("bob")
    for body in (
        {"scopes": ["email"]},
        {"me": "https://auth.example/u/bob"},
        {"me": "https://client.example/"},
        {"scopes": "profile"},
        {"user_id": await at_home.user_id("bob")},
        {"redirect_uri": "https://evil.example/"},
    ):
        request = await at_home.request(scope="profile")
        answer = await at_home.ask("POST", f"requests/{request}/approve", body)
        assert (400, "invalid_body") == (answer.status_code, answer.json()["code"])
        assert "code" in await at_home.approved(request)


async def test_decisions_across_sites(at_home: Home) -> None:
    """A page of another site decides nothing by a cookie, and a link decides nothing at all (I-4)."""
    answer = await at_home.server.client.post(
        "/auth/login",
        json={"factor": "pin", "username": "ann", "pin": "1234", "session": "cookie"},
        headers={"Origin": "https://auth.example"},
    )
    cookie = answer.headers["set-cookie"].partition(";")[0]
    request = await at_home.request()
    path, client = f"/indieauth/requests/{request}/approve", at_home.server.client
    for headers in ({"Origin": "https://evil.example"}, {}, {"Sec-Fetch-Site": "cross-site"}):
        answer = await client.post(path, json={}, headers={"Cookie": cookie, **headers})
        assert (403, "cross_site") == (answer.status_code, answer.json()["code"])
    assert 405 == (await client.get(path, headers={"Cookie": cookie})).status_code
    ours = {"Cookie": cookie, "Origin": "https://pages.example"}
    answer = await client.post(path, json={}, headers=ours)
    assert 200 == answer.status_code
    assert "https://pages.example" == answer.headers["access-control-allow-origin"]


async def test_consent_is_for_listed_origins(at_home: Home) -> None:
    """The routes for users answer no page of any site; those for clients do, and by no cookie."""
    headers = {"Origin": "https://evil.example"}
    answer = await at_home.server.client.get("/indieauth/me", headers=headers)
    assert "access-control-allow-origin" not in answer.headers
    for path in ("authorize", "token", "revoke"):
        answer = await at_home.post(path, headers=headers, x="y")
        assert "*" == answer.headers["access-control-allow-origin"]
        assert "access-control-allow-credentials" not in answer.headers
    answer = await at_home.post("token", headers={"Origin": "https://pages.example"}, x="y")
    assert "https://pages.example" == answer.headers["access-control-allow-origin"]


# Downgrades


async def test_legacy_1_registered_alone(at_home: Home) -> None:
    """The old flow is for clients that are registered for it, with their redirects."""
    nothing = dict.fromkeys(("response_type", "code_challenge", "code_challenge_method"))
    answer = await at_home.authorize(**nothing)
    assert "invalid_request" == query(answer.headers["location"])["error"]
    answer = await at_home.authorize(**{**legacy(), "redirect_uri": "https://media.example/x"})
    assert 400 == answer.status_code


async def test_legacy_2_identity_alone(at_home: Home) -> None:
    """A code without challenge gets no token and no scope, whatever was asked for."""
    request = await at_home.request(**{**legacy(), "scope": "profile create"})
    told = (await at_home.ask("GET", f"requests/{request}")).json()
    assert ([], False, "privateauth") == (told["scopes"], told["pkce"], told["flow"])
    code = (await at_home.approved(request))["code"]
    form = {"client_id": OLD, "redirect_uri": OLD_BACK, "code_verifier": None}
    answer = await at_home.redeem(code, "token", **form)
    assert (400, "invalid_grant") == (answer.status_code, answer.json()["error"])


async def test_legacy_3_both_ways(at_home: Home) -> None:
    """A challenge that was stripped, or slipped in, makes a code that is good for nobody."""
    code = await at_home.legacy_code()
    answer = await at_home.legacy(code, code_verifier=VERIFIER)
    assert "invalid_grant" == answer.json()["error"]
    modern = {**legacy(), "code_challenge": CHALLENGE, "code_challenge_method": "S256"}
    answer = await at_home.legacy(await at_home.code(**modern))
    assert "invalid_grant" == answer.json()["error"]


async def test_legacy_4_state(at_home: Home) -> None:
    """State is all that protects such a client: none comes through without."""
    answer = await at_home.authorize(**{**legacy(), "state": None})
    assert "invalid_request" == query(answer.headers["location"])["error"]


async def test_legacy_5_pkce(at_home: Home) -> None:
    """Who may do without PKCE may do with it, and then has to finish so."""
    modern = {**legacy(), "code_challenge": CHALLENGE, "code_challenge_method": "S256"}
    answer = await at_home.legacy(await at_home.code(**modern), code_verifier=VERIFIER)
    assert 200 == answer.status_code
    for broken in ({"code_challenge": CHALLENGE}, {"code_challenge_method": "S256"}):
        answer = await at_home.authorize(**{**legacy(), **broken})
        assert "invalid_request" == query(answer.headers["location"])["error"]


async def test_legacy_6_first_presentation(at_home: Home) -> None:
    """The first presentation spends the code, right or wrong."""
    for wrong in ({"client_id": APP}, {"redirect_uri": BACK}, {"client_id": "x"}):
        code = await at_home.legacy_code()
        assert 400 == (await at_home.legacy(code, **wrong)).status_code
        assert 400 == (await at_home.legacy(code)).status_code


async def test_legacy_7_no_referrer(at_home: Home) -> None:
    """Nobody learns by a referrer where the browser comes from."""
    answer = await at_home.authorize(**legacy())
    assert "no-referrer" == answer.headers["referrer-policy"]


# Users who may no longer


async def at_request(at_home: Home) -> Step:
    request = await at_home.request()
    token = await at_home.token("bob")

    async def go_on(at_home: Home) -> Any:
        path = f"/indieauth/requests/{request}/approve"
        return await at_home.server.post(path, {}, token=token)

    return go_on


async def at_code(at_home: Home) -> Step:
    code = await at_home.code("bob")

    async def go_on(at_home: Home) -> Any:
        return await at_home.redeem(code)

    return go_on


async def at_scoped_code(at_home: Home) -> Step:
    code = await at_home.code("bob", scope="profile")

    async def go_on(at_home: Home) -> Any:
        return await at_home.redeem(code, "token")

    return go_on


async def at_legacy_code(at_home: Home) -> Step:
    code = await at_home.legacy_code("bob")

    async def go_on(at_home: Home) -> Any:
        return await at_home.legacy(code)

    return go_on


async def at_access(at_home: Home) -> Step:
    tokens = await at_home.handed(username="bob")

    async def go_on(at_home: Home) -> Any:
        assert {"active": False} == await at_home.introspected(tokens["access_token"])
        assert {"active": False} == await at_home.introspected(tokens["refresh_token"])
        return await at_home.userinfo(tokens["access_token"])

    return go_on


async def at_refresh(at_home: Home) -> Step:
    tokens = await at_home.handed(username="bob")

    async def go_on(at_home: Home) -> Any:
        form = {"grant_type": "refresh_token", "client_id": APP}
        return await at_home.post("token", refresh_token=tokens["refresh_token"], **form)

    return go_on


async def at_profile(at_home: Home) -> Step:
    async def go_on(_: Home) -> Any:
        return await at_home.server.get("/u/bob")

    return go_on


STEPS = [at_request, at_code, at_scoped_code, at_legacy_code, at_access, at_refresh, at_profile]


@pytest.mark.parametrize("gone", ["disabled", "deleted", "closed"])
@pytest.mark.parametrize("reach", STEPS)
async def test_users_who_are_gone(
    at_home: Home, reach: Callable[[Home], Awaitable[Step]], gone: str
) -> None:
    """Whoever is disabled or deleted comes no step further, wherever she was (S-6)."""
    await at_home.join("bob")
    go_on = await reach(at_home)
    accounts, user_id = at_home.server.auth.accounts, await at_home.user_id("bob")
    if gone == "closed":
        await close(at_home, user_id)
    else:
        await (accounts.disable if gone == "disabled" else accounts.delete)(user_id, Caller())
    answer = await go_on(at_home)
    assert answer.status_code in (400, 401, 404), answer.text
    if gone == "deleted":
        await nothing_left(at_home, user_id)


async def close(at_home: Home, user_id: str) -> None:
    """As one is who is deleted later, and whose tickets somehow survived that."""
    auth, sql = at_home.server.auth, "update users set closed_at = ?, delete_at = ? where id = ?"
    now = auth.now()
    await auth.database.write(Statement(sql, (now, now + 86400, user_id), rows=1))
    auth.cookies.claims.clear()


async def nothing_left(at_home: Home, user_id: str) -> None:
    database = at_home.server.auth.database
    for table in ("requests", "grants", "profiles", "people"):
        sql = f"select count(*) from privateauth_{table} where user_id = ?"
        assert [(0,)] == await database.read(sql, (user_id,))
    for table in ("families", "tokens"):
        assert [(0,)] == await database.read(f"select count(*) from privateauth_{table}")


async def test_names_are_never_used_again(at_home: Home) -> None:
    """Who takes the place of somebody deleted does not get that name, nor that URL."""
    await at_home.join("bob")
    await at_home.server.auth.accounts.delete(await at_home.user_id("bob"), Caller())
    answer = await at_home.ask("PATCH", "../auth/me", {"username": "Bob"})
    assert (409, "username_taken") == (answer.status_code, answer.json()["code"])


async def test_rename(at_home: Home) -> None:
    """Who takes another user name is known by that from then on, also by old tokens."""
    tokens = await at_home.handed()
    await at_home.server.auth.accounts.change(
        await at_home.user_id(), {"username": "anna"}, Caller()
    )
    told = await at_home.introspected(tokens["access_token"])
    assert "https://auth.example/u/anna" == told["me"]
    assert 404 == (await at_home.server.get("/u/ann")).status_code


@pytest.mark.parametrize("reach", [at_code, at_scoped_code, at_legacy_code])
async def test_grants_that_ended(at_home: Home, reach: Callable[[Home], Awaitable[Step]]) -> None:
    """A code is good for nothing once its user sent the client away."""
    await at_home.join("bob")
    go_on = await reach(at_home)
    [grant] = (await at_home.ask("GET", "grants", username="bob")).json()["grants"]
    answer = await at_home.ask("DELETE", f"grants/{grant['id']}")
    assert 404 == answer.status_code
    answer = await at_home.ask("DELETE", f"grants/{grant['id']}", username="bob")
    assert 204 == answer.status_code
    assert grant["client_id"] == at_home.server.events.one(GrantEnded).client_id
    assert 400 == (await go_on(at_home)).status_code
    assert [] == (await at_home.ask("GET", "grants", username="bob")).json()["grants"]


def ending_by(event: type[Event], **members: Any) -> Ending:
    async def end(at_home: Home, user_id: str) -> None:
        auth = at_home.server.auth
        await auth.events.commit(event(at=auth.now(), user_id=user_id, **members))

    return end


async def disable_for_a_while(at_home: Home, user_id: str) -> None:
    accounts = at_home.server.auth.accounts
    await accounts.disable(user_id, Caller())
    await accounts.enable(user_id, Caller())


async def logout_from_all(at_home: Home, user_id: str) -> None:
    await at_home.server.auth.accounts.logout_from_all(user_id, Caller())


async def reset(at_home: Home, user_id: str) -> None:
    auth = at_home.server.auth
    user = await auth.users.require(user_id)
    await auth.credentials.reset_credential(user, "pin", [], Caller())


async def change(at_home: Home, user_id: str) -> None:
    """By the user herself, who ends what she wants to."""
    await ending_by(CredentialChanged, factor="pin")(at_home, user_id)


@pytest.mark.parametrize(
    ("end", "still"),
    [
        (disable_for_a_while, False),
        (logout_from_all, False),
        (reset, False),
        (ending_by(SessionsEnded, kept="one"), False),
        (ending_by(IdentifierRestored, kind="email"), False),
        (ending_by(UserClosed, delete_at=0), False),
        (change, True),
    ],
)
async def test_tokens_end_with_all_sessions(at_home: Home, *, end: Ending, still: bool) -> None:
    """Who logs out everywhere, is disabled, or gets back in by a reset leaves nothing behind (R-5)."""
    await at_home.join("bob")
    bobs, anns = await at_home.handed(username="bob"), await at_home.handed()
    waiting = await at_home.code("bob", scope="profile")
    await end(at_home, await at_home.user_id("bob"))
    found = [(await at_home.introspected(bobs[f"{kind}_token"]))["active"] for kind in KINDS]
    assert [still] * 2 == found
    assert (200 if still else 400) == (await at_home.redeem(waiting, "token")).status_code
    assert (await at_home.introspected(anns["access_token"]))["active"]
    assert [APP] == [
        one["client_id"] for one in await at_home.plugin.granted.of(await at_home.user_id("bob"))
    ]


# Permissions


async def test_required_permission(at_home: Home) -> None:
    """Who does not hold the permission that a client requires gets in at no step."""
    door = {"client_id": DOOR, "redirect_uri": DOOR_BACK}
    request = await at_home.request(**door, scope="profile")
    told = (await at_home.ask("GET", f"requests/{request}")).json()
    assert (False, "door:open") == (told["permitted"], told["required_permission"])
    answer = await at_home.ask("POST", f"requests/{request}/approve", {})
    assert (403, "permission_missing") == (answer.status_code, answer.json()["code"])
    await at_home.permit("door:open")
    code = (await at_home.approved(request))["code"]
    await at_home.forbid("door:open")
    assert "invalid_grant" == (await at_home.redeem(code, **door)).json()["error"]
    await at_home.permit("door:open")
    code = await at_home.code(**door, scope="profile")
    tokens = (await at_home.redeem(code, "token", **door)).json()
    await at_home.forbid("door:open")
    assert {"active": False} == await at_home.introspected(tokens["access_token"])
    form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    assert 400 == (await at_home.post("token", client_id=DOOR, **form)).status_code
    await at_home.permit("door:open")
    assert 200 == (await at_home.post("token", client_id=DOOR, **form)).status_code


async def test_permissions_of_strangers(at_home: Home) -> None:
    """A client that nobody registered for an application learns no permission."""
    await at_home.permit("media:watch")
    await at_home.permit("picoauth:admin")
    answer = await at_home.post(
        "authorize",
        headers={"X-PrivateAuth-Version": "1"},
        code=await at_home.code(),
        client_id=APP,
        redirect_uri=BACK,
        code_verifier=VERIFIER,
    )
    assert [] == answer.json()["permissions"]


# Tokens of one kind where the other belongs


async def test_other_tokens(at_home: Home) -> None:
    """A client's token opens no route of the user's, nor the other way round."""
    tokens = await at_home.handed()
    for token in (tokens["access_token"], tokens["refresh_token"]):
        for path in ("/auth/me", "/indieauth/me", "/indieauth/grants", "/auth/session"):
            answer = await at_home.server.get(path, token=token)
            assert (401, "invalid_token") == (answer.status_code, answer.json()["code"])
    assert 401 == (await at_home.userinfo(await at_home.token())).status_code
    assert {"active": False} == await at_home.introspected(await at_home.token())
    code = await at_home.code()
    assert {"active": False} == await at_home.introspected(code)
    assert 404 == (await at_home.ask("GET", f"requests/{code}")).status_code


async def test_secrets_are_not_stored(at_home: Home) -> None:
    """Neither codes, nor tokens, nor ids of requests are in the database in clear."""
    request = await at_home.request(scope="profile")
    code = (await at_home.approved(request))["code"]
    tokens = (await at_home.redeem(code, "token")).json()
    secrets = (request, code, tokens["access_token"], tokens["refresh_token"])
    found = b"".join(path.read_bytes() for path in at_home.server.folder.glob("picoauth.db*"))
    assert found
    assert [] == [secret for secret in secrets if secret.encode() in found]


async def test_writes(at_home: Home) -> None:
    """From request to code at most three writes; a code is verified by one."""
    await at_home.token()
    for scope, path in (("", "authorize"), ("profile", "token")):
        with writing(at_home.server) as writes:
            request = await at_home.request(scope=scope)
            assert 200 == (await at_home.ask("GET", f"requests/{request}")).status_code
            code = (await at_home.approved(request))["code"]
            assert 3 == len(writes)
            assert 200 == (await at_home.redeem(code, path)).status_code
            assert 4 == len(writes)


async def test_long_things(at_home: Home) -> None:
    """What is too long, or no text, is an error, and never a fault of the server's."""
    for form in (
        {"code": "x" * 60_000},
        {"code": "\ud7ff", "client_id": "x" * 3000},
        {"code": "x", "code_verifier": "y" * 10_000, "client_id": APP, "redirect_uri": BACK},
    ):
        for path in ("authorize", "token"):
            grant = {"grant_type": "authorization_code"}
            assert 400 == (await at_home.post(path, **grant, **form)).status_code
    client = at_home.server.client
    for raw in (
        "client_id=%ff",
        "client_id=%00",
        "client_id=https://app.example/%00",
        "=",
        "&&",
        "%",
    ):
        assert 400 == (await client.get(f"/indieauth/authorize?{raw}")).status_code
    assert 414 == (await at_home.authorize(state="x" * 9000)).status_code
    answer = await at_home.authorize(extra="\0")
    assert "invalid_request" == query(answer.headers["location"])["error"]


@pytest.mark.parametrize("path", ["authorize", "token", "introspect", "revoke"])
async def test_members_that_come_twice(at_home: Home, path: str) -> None:
    """Nobody knows which one counts (RFC 6749, section 3.2); nothing is spent by it."""
    code = await at_home.code(scope="profile")
    key = await at_home.server.auth.resource_servers.add("files")
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "Authorization": f"Bearer {key}",
    }
    form = {"code": code, "client_id": APP, "redirect_uri": BACK, "code_verifier": VERIFIER}
    sent = urlencode({"grant_type": "authorization_code", "token": code, **form})
    for again in ("code=x", f"client_id={APP}", "token=x", "whatever=1&whatever=1"):
        answer = await at_home.server.client.post(
            f"/indieauth/{path}", content=f"{sent}&code={code}&token=x&{again}", headers=headers
        )
        assert (400, "invalid_request") == (answer.status_code, answer.json()["error"])
    answer = await at_home.redeem(code, unheard_of="x", scope="create email")
    assert (200, ["name", "url"]) == (answer.status_code, sorted(answer.json()["profile"]))


@pytest.mark.parametrize("length", [65, 2049, 5000])
async def test_long_parameters(at_home: Home, length: int) -> None:
    """However long one is, its client hears of it, or its user sees an error; `me` is no matter."""
    long = "x" * length
    for name in ("response_type", "code_challenge", "code_challenge_method", "scope"):
        answer = await at_home.authorize(**{name: long})
        assert query(answer.headers["location"])["error"] in (
            *("invalid_request", "invalid_scope"),
            "unsupported_response_type",
        )
    for name, url in (("client_id", APP), ("redirect_uri", BACK)):
        answer = await at_home.authorize(**{name: f"{url}{long}"})
        assert answer.status_code in (303, 400), (name, answer.status_code)
        assert length < 2000 or answer.status_code == 400
    assert await at_home.request(me=f"https://ann.example/{long}")
    assert await at_home.request(unheard_of=long)


async def test_long_things_of_users_and_clients(at_home: Home) -> None:
    """So are ids, headers and bodies: none is there, or good."""
    long = "x" * 5000
    for method, path in (
        *(("GET", f"requests/{long}"), ("POST", f"requests/{long}/approve")),
        *(("POST", f"requests/{long}/deny"), ("DELETE", f"grants/{long}")),
    ):
        answer = await at_home.ask(method, path, {} if path.endswith("approve") else None)
        assert 404 == answer.status_code, path
    request = await at_home.request(scope="profile")
    for body in ({"me": long}, {"scopes": [long]}, {"scopes": ["profile"] * 5000}):
        answer = await at_home.ask("POST", f"requests/{request}/approve", body)
        assert answer.status_code in (200, 400), answer.text
    assert 401 == (await at_home.userinfo(long)).status_code
    assert {"active": False} == await at_home.introspected(long)
    assert 200 == (await at_home.post("revoke", token=long)).status_code
    assert 404 == (await at_home.server.get(f"/u/{long}")).status_code
    code = await at_home.code()
    form = {"code": code, "client_id": APP, "redirect_uri": BACK, "code_verifier": VERIFIER}
    answer = await at_home.post("authorize", headers={"X-PrivateAuth-Version": long}, **form)
    assert ["me"] == list(answer.json())
    for wanted in ({"shortName": long}, {"photo": f"https://ann.example/{long}"}, {"urls": [long]}):
        answer = await at_home.ask("PUT", "me", wanted)
        assert 400 == answer.status_code


@pytest.mark.parametrize(
    "host",
    [
        *("127.1", "127.0.1", "2130706433", "017700000001", "0x7f000001", "0x7f.0.0.1"),
        *("127.0.0.2", "0.0.0.0", "10.0.0.1", "169.254.169.254", "0177.0.0.1", "127.0.0.1."),  # noqa: S104 - nothing is bound
        *("[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "[fe80::1%25lo]"),
        *("[0:0:0:0:0:0:0:1]", "①②⑦.⓪.⓪.①", "127.0.0.1%2f", "localhost.", "%6cocalhost"),
        *("127.0.0.1\\@client.example", "client.example@127.0.0.1", "client.example#@127.0.0.1"),
    ],
)
async def test_odd_spellings(at_home: Home, web: Site, host: str) -> None:
    """An address in any other spelling is no client, and nobody is asked there."""
    client = f"https://{host}:{web.port}/"
    answer = await at_home.authorize(client_id=client, redirect_uri=f"{client}back")
    assert (400, "client_refused") == (answer.status_code, answer.json()["code"])
    assert 0 == web.connections


async def test_permission_that_is_taken_meanwhile(at_home: Home) -> None:
    """What is told of permissions is what is held when the code is redeemed."""
    await at_home.permit("media:watch")
    await at_home.permit("media:listen")
    code = await at_home.legacy_code()
    await at_home.forbid("media:watch")
    assert ["media:listen"] == (await at_home.legacy(code)).json()["permissions"]


async def test_clock_goes_back(at_home: Home) -> None:
    """A clock that was set back makes nothing good again that was spent."""
    code = await at_home.code(scope="profile")
    tokens = (await at_home.redeem(code, "token")).json()
    form = {"grant_type": "refresh_token", "client_id": APP}
    answer = await at_home.post("token", refresh_token=tokens["refresh_token"], **form)
    at_home.server.clock.advance(-86400)
    assert (
        400
        == (await at_home.post("token", refresh_token=tokens["refresh_token"], **form)).status_code
    )
    assert {"active": False} == await at_home.introspected(answer.json()["access_token"])
    assert 400 == (await at_home.redeem(code, "token")).status_code


async def test_two_processes(tmp_path: Path) -> None:
    """Of two servers on one database each takes what the other handed out, once."""
    clock = Clock()
    async with home(tmp_path, clock=clock) as one, home(tmp_path, clock=clock) as other:
        request = await one.request(scope="profile")
        code = (await other.approved(request))["code"]
        first, second = await asyncio.gather(one.redeem(code, "token"), other.redeem(code, "token"))
        assert [200, 400] == sorted([first.status_code, second.status_code])
        won = first if first.status_code == 200 else second
        assert {"active": False} == await other.introspected(won.json()["access_token"])


async def test_closed_endpoint(tmp_path: Path) -> None:
    """Where only registered clients may ask, nobody else is looked at."""
    table = f"{TABLE}open_clients = false\n{CLIENTS}"
    async with home(tmp_path, table) as closed:
        assert await closed.code()
        for name in ("https://client.example/", "http://localhost/", "https://app.example/x"):
            answer = await closed.authorize(client_id=name, redirect_uri=f"{name}back")
            assert (400, "client_refused") == (answer.status_code, answer.json()["code"])


async def test_plain_http(tmp_path: Path, at_home: Home) -> None:
    """A client without https is refused, unless it is allowed; then it is warned of."""
    ask: dict[str, Any] = {
        "client_id": "http://box.example/",
        "redirect_uri": "http://box.example/back",
    }
    answer = await at_home.authorize(**ask)
    assert (400, "client_refused") == (answer.status_code, answer.json()["code"])
    folder = tmp_path / "other"
    folder.mkdir()
    async with home(folder, f'{TABLE}http_clients = "all"\nfetch_clients = false\n', ON) as other:
        request = await other.request(**ask)
        client = (await other.ask("GET", f"requests/{request}")).json()["client"]
        assert (["not_https", "not_fetched"], False) == (client["warnings"], client["verified"])


async def test_clients_that_are_registered_no_more(at_home: Home) -> None:
    """A closed endpoint tells a client nothing more once its entry is gone."""
    tokens, code = await at_home.handed(), await at_home.code()
    clients = at_home.plugin.clients
    clients.settings = replace(clients.settings, open_clients=False)
    del clients.registered[APP]
    assert {"active": False} == await at_home.introspected(tokens["access_token"])
    assert 401 == (await at_home.userinfo(tokens["access_token"])).status_code
    assert "invalid_grant" == (await at_home.redeem(code)).json()["error"]


async def test_names_for_strangers(at_home: Home) -> None:
    """A client that nobody registered learns a name only where the profile was granted."""
    stranger = {"client_id": "http://localhost:1/", "redirect_uri": "http://localhost:1/x"}
    for scope, names in (("", set()), ("profile", {"name"})):
        code = await at_home.code(**stranger, scope=scope)
        form = {**stranger, "code": code, "code_verifier": VERIFIER}
        told = (await at_home.post("authorize", headers=PRIVATE, **form)).json()
        assert {"me", "username", "permissions"} | names == told.keys() - {"profile"}


async def test_many_requests(at_home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many ask, so many wait; one that its user opened is not pushed out."""
    monkeypatch.setattr(requests, "MOST", 3)
    monkeypatch.setattr(requests, "EACH", 2)

    async def waiting() -> int:
        sql = "select count(*) from privateauth_requests"
        return int((await at_home.server.auth.database.read(sql))[0][0])

    opened = await at_home.request()
    assert 200 == (await at_home.ask("GET", f"requests/{opened}")).status_code
    found = []
    for _ in range(9):
        at_home.server.clock.advance(1)
        await at_home.request()
        found.append(await waiting() - 1)
    assert [1, 2, 3, 4, 4, 5, 4, 5, 4] == found
    assert "code" in await at_home.approved(opened)


async def test_few_fetches(at_home: Home, web: Site) -> None:
    """Nobody knocks at a stranger's door by this server: a host is asked so often in a minute."""
    at_home.plugin.clients.hosts.most = 3
    kept = b'{"client_id": "https://client.example/kept", "client_name": "Kept"}'
    web.answers["/kept"] = served(kept, kind="application/json")

    async def status(path: str, host: str = "client.example") -> int:
        client = f"https://{host}/{path}"
        return (await at_home.authorize(client_id=client, redirect_uri=client)).status_code

    assert [303] * 3 + [503] * 6 == [await status(f"path-{number}") for number in range(9)]
    assert 3 == len(web.asked)
    assert 503 == await status("kept")
    assert 303 == await status("x", "client.example.org")
    assert 4 == len(web.asked)
    at_home.server.clock.advance(60)
    assert [303] * 9 == [await status("kept") for _ in range(9)]
    assert 5 == len(web.asked)


LISTED = ["https://client.example/in", "app.example:/in"]
LIST = served(
    json.dumps({"client_id": "https://client.example/", "redirect_uris": LISTED}).encode(),
    kind="application/json",
)


async def statuses(at_home: Home) -> list[int]:
    """Of a redirect that is listed, of one that is listed for an app, and of one that is not."""
    client = "https://client.example/"
    found = (*LISTED, f"{client}goto?url=https://evil.example/")
    answers = [await at_home.authorize(client_id=client, redirect_uri=uri) for uri in found]
    return [one.status_code for one in answers]


class Busy:
    """A fetcher that looks up too many names already."""

    redirects = 0

    async def get(self, url: str, **_: Any) -> Any:
        raise FetchBusy(url)


@pytest.mark.parametrize("how", ["host", "names"])
async def test_p_24_nobody_is_asked(at_home: Home, web: Site, how: str) -> None:
    """Who uses up what this server fetches does not get a client's list out of the way."""
    web.answers["/"] = LIST
    clients, clock = at_home.plugin.clients, at_home.server.clock
    free = clients.fetcher

    def prevent(*, on: bool) -> None:
        clients.hosts.most = 0 if on and how == "host" else 9
        clients.fetcher = Busy() if on and how == "names" else free  # type: ignore[assignment]

    prevent(on=True)
    assert [503] * 3 == await statuses(at_home)
    prevent(on=False)
    assert [303, 303, 400] == await statuses(at_home)
    prevent(on=True)
    clock.advance(300 + 86399)
    assert [303, 303, 400] == await statuses(at_home)
    clock.advance(1)
    assert [503] * 3 == await statuses(at_home)


async def test_p_19_list_that_is_gone(at_home: Home, web: Site) -> None:
    """Who brings a client's page down does not get its list out of the way, for a day at least."""
    clock, down = at_home.server.clock, served(status=500)
    assert [303, 400, 303] == await statuses(at_home)
    web.answers["/"] = LIST
    assert [303, 303, 400] == await statuses(at_home)
    clock.advance(300 + 86399)
    web.answers["/"] = down
    assert [303, 400, 400] == await statuses(at_home)
    clock.advance(1)
    assert [303, 400, 303] == await statuses(at_home)


async def test_pictures_that_nobody_asks_for(at_home: Home, web: Site) -> None:
    """A client is none the worse for a logo of a host that was asked too often."""
    text = '<a class="h-app" href="/"><img class="u-logo" src="/logo">It</a>'
    web.answers["/"] = served(text.encode(), kind="text/html")
    at_home.plugin.clients.hosts.most = 1
    client = "https://client.example/"
    request = await at_home.request(client_id=client, redirect_uri=client)
    told = (await at_home.ask("GET", f"requests/{request}")).json()["client"]
    assert ("It", None, 1) == (told["name"], told["logo_uri"], len(web.asked))


async def test_many_fetches(at_home: Home) -> None:
    """However many ask at once, few pages are got at once, and nobody waits for ever."""
    clients = at_home.plugin.clients
    running, most, release, full = 0, 0, asyncio.Event(), asyncio.Event()

    class Slow:
        redirects = 0

        async def get(self, url: str, **_: Any) -> Any:
            nonlocal running, most
            running += 1
            most = max(most, running)
            if running == AT_ONCE:
                full.set()
            await release.wait()
            running -= 1
            raise FetchFailed(url)

    clients.fetcher = Slow()  # type: ignore[assignment]
    sent = [
        asyncio.ensure_future(
            at_home.authorize(
                client_id=f"https://{n}.example/", redirect_uri=f"https://{n}.example/x"
            )
        )
        for n in (f"c{number}" for number in range(40))
    ]
    await full.wait()
    release.set()
    answers = await asyncio.gather(*sent)
    assert {303} == {answer.status_code for answer in answers}
    assert AT_ONCE == most


async def test_races_that_are_lost(at_home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another tab opens the request first, or ends the grant first: the answer is as if it had been there."""
    await at_home.join("bob")
    request = await at_home.request()
    database = at_home.server.auth.database
    write = database.write

    async def later(*statements: Any) -> Any:
        if "indieauth" in statements[0].sql or "privateauth" in statements[0].sql:
            await write(*statements)
            raise Conflict(0)
        return await write(*statements)

    await at_home.token("bob")
    with monkeypatch.context() as patch:
        patch.setattr(database, "write", later)
        answer = await at_home.ask("GET", f"requests/{request}", username="bob")
        assert 200 == answer.status_code
    await at_scoped_code(at_home)
    [grant] = (await at_home.ask("GET", "grants", username="bob")).json()["grants"]

    async def lost(*_: Any, **__: Any) -> Any:
        raise Conflict(0)

    with monkeypatch.context() as patch:
        patch.setattr(at_home.server.auth.events, "commit", lost)
        answer = await at_home.ask("DELETE", f"grants/{grant['id']}", username="bob")
        assert 404 == answer.status_code
