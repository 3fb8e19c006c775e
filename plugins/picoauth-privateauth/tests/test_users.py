"""What users see and change: names, picture, URLs, grants; and what is told to whom asks for all."""

from __future__ import annotations

import asyncio

import pytest
from endpoint import APP, BACK, DOOR, DOOR_BACK, OLD, Home

from picoauth import Caller, UserRegistered
from picoauth_fetch.testing import Site, answer
from picoauth_privateauth import (
    AuthorizationApproved,
    AuthorizationDenied,
    ProfileAdded,
    ProfileRemoved,
)
from picoauth_privateauth.clients import AT_ONCE

LINKS = (
    '<link rel="authorization_endpoint" href="https://auth.example/indieauth/authorize">'
    '<link rel="me" href="https://auth.example/u/ann">'
)


async def test_me(at_home: Home) -> None:
    """It is all there, empty at first, and replaced as a whole."""
    empty = {
        "username": "ann",
        "name": "ann",
        "shortName": None,
        "photo": None,
        "given": "https://auth.example/u/ann",
        "urls": [],
    }
    assert empty == (await at_home.ask("GET", "me")).json()
    more = {"shortName": "Annie", "photo": "https://ann.example/me.jpg"}
    assert {**empty, **more} == (await at_home.ask("PUT", "me", more)).json()
    assert empty == (await at_home.ask("PUT", "me", {})).json()


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"photo": "javascript:alert(1)"}, "profile_refused"),
        ({"urls": ["https://ann.example/#x"]}, "profile_refused"),
        ({"urls": ["https://ann.example:8443/"]}, "profile_refused"),
        ({"urls": [f"https://ann.example/{number}" for number in range(11)]}, "profile_refused"),
        ({"shortName": ""}, "invalid_body"),
        ({"username": "bob"}, "invalid_body"),
    ],
)
async def test_wrong_me(at_home: Home, web: Site, body: dict[str, object], code: str) -> None:
    """What cannot be is refused, and nothing is changed."""
    answered = await at_home.ask("PUT", "me", body)
    assert (400, code) == (answered.status_code, answered.json()["code"])
    assert 0 == web.connections


async def test_own_urls(at_home: Home, web: Site) -> None:
    """They are added and removed; tokens that speak of one that is gone are good no more."""
    url = "https://ann.example/"
    web.answers["/"] = answer(LINKS.encode(), kind="text/html")
    assert [url] == (await at_home.ask("PUT", "me", {"urls": [url, url]})).json()["urls"]
    assert url == at_home.server.events.one(ProfileAdded).url
    seen = len(web.asked)
    await at_home.ask("PUT", "me", {"urls": [url, "https://auth.example/u/ann"]})
    assert seen == len(web.asked)  # what is there is not looked at again
    request = await at_home.request(scope="profile")
    code = (await at_home.approved(request, me=url))["code"]
    tokens = (await at_home.redeem(code, "token")).json()
    assert url == (await at_home.introspected(tokens["access_token"]))["me"]
    waiting = (await at_home.approved(await at_home.request(), me=url))["code"]
    assert [] == (await at_home.ask("PUT", "me", {})).json()["urls"]
    assert url == at_home.server.events.one(ProfileRemoved).url
    assert {"active": False} == await at_home.introspected(tokens["access_token"])
    assert 400 == (await at_home.redeem(waiting)).status_code


async def test_unreachable_urls(at_home: Home) -> None:
    """A page that cannot be had proves nothing."""
    at_home.fetching({"ann.example": "10.0.0.1"})
    answered = await at_home.ask("PUT", "me", {"urls": ["https://ann.example/"]})
    assert (400, "profile_refused") == (answered.status_code, answered.json()["code"])


async def test_busy_hosts(at_home: Home, web: Site) -> None:
    """Nobody knocks at a stranger's door by naming its pages; who waits for a turn may try again."""
    profiles = at_home.plugin.profiles
    profiles.hosts.most = 2
    urls = [f"https://ann.example/{number}" for number in range(3)]
    answers = [await at_home.ask("PUT", "me", {"urls": [url]}) for url in urls]
    assert [400, 400, 503] == [one.status_code for one in answers]
    assert ("unavailable", "60") == (answers[2].json()["code"], answers[2].headers["retry-after"])
    assert 2 == len(web.asked)
    profiles.hosts.most, profiles.turns.seconds = 9, 0
    for _ in range(AT_ONCE):
        await profiles.turns.free.acquire()
    answered = await at_home.ask("PUT", "me", {"urls": urls})
    assert (503, "10") == (answered.status_code, answered.headers["retry-after"])
    assert 2 == len(web.asked)


async def test_new_urls_need_a_fresh_proof(at_home: Home, web: Site) -> None:
    """Whoever has somebody's session for a while gives her no new name elsewhere."""
    await at_home.token()
    at_home.server.clock.advance(301)
    body = {"urls": ["https://ann.example/"]}
    answered = await at_home.ask("PUT", "me", body)
    assert (403, "stepup_needed") == (answered.status_code, answered.json()["code"])
    assert 0 == web.connections
    assert 200 == (await at_home.ask("PUT", "me", {"shortName": "Annie"})).status_code


async def test_races_of_urls(at_home: Home) -> None:
    """Of two users who claim one URL at once one gets it, and nobody has more than ten."""
    await at_home.join("bob")
    profiles = at_home.plugin.profiles
    ids = [await at_home.user_id(name) for name in ("ann", "bob")]
    adding = [profiles.add(one, "https://both.example/", Caller()) for one in ids * 10]
    results = await asyncio.gather(*adding, return_exceptions=True)
    assert 1 == sum(result is None for result in results)
    adding = [profiles.add(ids[0], f"https://{n}.example/x{n}", Caller()) for n in range(20)]
    await asyncio.gather(*adding, return_exceptions=True)
    person = await profiles.require(ids[0])
    assert 10 == len(person.own)


async def test_urls_of_the_deleted(at_home: Home) -> None:
    """A URL of one's own is free again with its owner, and has to be proven again."""
    await at_home.join("bob")
    profiles = at_home.plugin.profiles
    bob, ann = await at_home.user_id("bob"), await at_home.user_id()
    await profiles.add(bob, "https://both.example/", Caller())
    await at_home.server.auth.accounts.delete(bob, Caller())
    await profiles.add(ann, "https://both.example/", Caller())


async def test_grants(at_home: Home) -> None:
    """Each client is there once, with what was approved last."""
    tokens = await at_home.handed("profile create")
    await at_home.handed("create")
    at_home.server.clock.advance(10)
    await at_home.legacy(await at_home.legacy_code())
    found = (await at_home.ask("GET", "grants")).json()["grants"]
    first, second = ({n: v for n, v in one.items() if n != "id"} for one in found)
    assert {
        "client_id": OLD,
        "name": "Media",
        "scopes": [],
        "created_at": 1_800_000_010,
        "approved_at": 1_800_000_010,
        "used_at": 1_800_000_010,
        "tokens": 0,
    } == first
    assert {
        "client_id": APP,
        "name": "App",
        "scopes": ["create"],
        "created_at": 1_800_000_000,
        "approved_at": 1_800_000_000,
        "used_at": 1_800_000_000,
        "tokens": 2,
    } == second
    assert 204 == (await at_home.ask("DELETE", f"grants/{found[1]['id']}")).status_code
    assert 404 == (await at_home.ask("DELETE", f"grants/{found[1]['id']}")).status_code
    assert {"active": False} == await at_home.introspected(tokens["access_token"])


async def test_races_of_ends(at_home: Home) -> None:
    """Of many ends at once one ends it."""
    await at_home.handed()
    [grant] = (await at_home.ask("GET", "grants")).json()["grants"]
    ending = (at_home.ask("DELETE", f"grants/{grant['id']}") for _ in range(10))
    answers = await asyncio.gather(*ending)
    assert [204] + [404] * 9 == sorted(one.status_code for one in answers)


async def test_events(at_home: Home) -> None:
    """What users decide is told."""
    await at_home.code(scope="create")
    approved = at_home.server.events.one(AuthorizationApproved)
    assert (APP, ("create",)) == (approved.client_id, approved.scopes)
    request = await at_home.request()
    await at_home.ask("POST", f"requests/{request}/deny")
    assert APP == at_home.server.events.one(AuthorizationDenied).client_id
    assert [] == at_home.server.events.of(UserRegistered)[1:]


async def test_export(at_home: Home) -> None:
    """Who asks for all that is known gets it; of who is disabled the grants are left."""
    await at_home.handed()
    user = await at_home.server.auth.users.require(await at_home.user_id())
    known = await at_home.plugin.export(user)
    assert ("ann", [APP]) == (known["username"], [one["client_id"] for one in known["grants"]])
    await at_home.server.auth.accounts.disable(user.id, Caller())
    assert ["grants"] == list(await at_home.plugin.export(user))


async def test_users_without_a_name(at_home: Home) -> None:
    """Who has no user name has no profile here, and is nobody to a PrivateAuth client."""
    auth, user_id = at_home.server.auth, await at_home.user_id()
    await at_home.token()
    from picoauth import Statement

    sql = "delete from identifiers where user_id = ? and kind = 'username'"
    await auth.database.write(Statement(sql, (user_id,)))
    request = await at_home.request()
    answered = await at_home.ask("POST", f"requests/{request}/approve", {})
    assert (409, "no_profile") == (answered.status_code, answered.json()["code"])
    await at_home.plugin.profiles.add(user_id, "https://ann.example/", Caller())
    told = await at_home.redeem((await at_home.approved(request))["code"])
    assert {"me": "https://ann.example/"} == told.json()
    answered = await at_home.legacy(await at_home.legacy_code())
    assert (400, "invalid_grant") == (answered.status_code, answered.json()["error"])


async def test_profile_page_as_json(at_home: Home) -> None:
    """Programs get it as JSON, and caches keep the two apart."""
    client = at_home.server.client
    answered = await client.get("/u/Ann", headers={"Accept": "application/json"})
    assert {"me": "https://auth.example/u/ann", "username": "ann"} == answered.json()
    assert "Accept" in answered.headers["vary"]


async def test_required_application(at_home: Home) -> None:
    """A client that requires a permission is told those of its application."""
    await at_home.permit("door:open")
    await at_home.permit("media:watch")
    code = await at_home.code(client_id=DOOR, redirect_uri=DOOR_BACK)
    form = {"client_id": DOOR, "redirect_uri": DOOR_BACK, "code_verifier": None}
    from endpoint import PRIVATE, VERIFIER

    answered = await at_home.post(
        "authorize", headers=PRIVATE, code=code, **{**form, "code_verifier": VERIFIER}
    )
    assert ["door:open"] == answered.json()["permissions"]
    assert BACK
