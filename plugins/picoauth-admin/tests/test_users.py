"""Users under administration: found, made, changed, disabled and deleted."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any
from urllib.parse import quote

import pytest
from office import Office, path, told

from picoauth import (
    Caller,
    Conflict,
    IdentifierAdded,
    IdentifierRemoved,
    IdentifierVerified,
    Statement,
    Unavailable,
    UserChanged,
    UserDeleted,
    UserDisabled,
    UserEnabled,
    UserRegistered,
    UserRestored,
)

OK, MADE, GONE = (200, ""), (201, ""), (204, "")
NOT_FOUND = (404, "not_found")
NOT_CLOSED = (409, "not_closed")
NOBODY = {"id": "nobody"}


async def test_made(office: Office) -> None:
    """A user is made with what is allowed, and said who made it."""
    made = await office.make("Ann", name="Ann A.", locale="de", email="Ann@Example.com")
    assert {
        "id": made["id"],
        "username": "Ann",
        "name": "Ann A.",
        "locale": "de",
        "identifiers": [
            {"kind": "email", "value": "Ann@Example.com", "verified": False},
            {"kind": "username", "value": "Ann", "verified": True},
        ],
        "created_at": office.server.auth.now(),
        "last_login_at": None,
        "disabled_at": None,
        "closed_at": None,
        "delete_at": None,
        "factors": [],
    } == made
    assert made == await office.get(path(made))
    [event] = office.server.events.of(UserRegistered)
    assert (made["id"], "socket") == (event.user_id, event.caller.actor)
    assert event.caller.request_id is not None


async def test_verified_by_an_administrator(office: Office) -> None:
    """Who administrates may say that an address is the user's (E-4); one account has it then."""
    made = await office.make("ann", email="ann@example.com", email_verified=True)
    assert made["identifiers"][0]["verified"]
    assert (await office.server.auth.users.find("email", "ANN@example.com")) is not None
    again = {"username": "bob", "email": "ann@example.com", "email_verified": True}
    assert (409, "identifier_taken") == await office.told("POST", "/admin/users", again)
    assert (409, "username_taken") == await office.told("POST", "/admin/users", {"username": "ANN"})
    assert ["ann"] == await office.names()


async def test_list(office: Office) -> None:
    """Searched, filtered and paged."""
    for name in ("ann", "annette", "bob"):
        await office.make(name, email=f"{name}@example.com")
        office.server.clock.advance(60)
    first = await office.get("/admin/users?limit=2")
    assert ["ann", "annette"] == [user["username"] for user in first["users"]]
    assert ["bob"] == await office.names(f"?limit=2&after={first['next']}")
    assert ["annette"] == await office.names("?search=ANNE")
    assert ["ann"] == await office.names("?search=ann@example.com&exact=true&kind=email")
    await office.server.join("pin", "key", username="cid")
    assert ["cid"] == await office.names("?factor=key")
    await office.ask("POST", path(first["users"][0], "/disable"))
    assert ["ann"] == await office.names("?disabled=true")
    assert ["annette", "bob", "cid"] == await office.names("?disabled=false")
    start = int(office.server.clock.time) - 120
    assert ["annette"] == await office.names(f"?made_from={start}&made_before={start + 1}")
    assert {"count": 4, "more": False} == await office.get("/admin/users/count")
    assert {"count": 2, "more": False} == await office.get("/admin/users/count?search=ann")


WRONG = [
    "limit=-1",
    "limit=0",
    "limit=201",
    "limit=1000000000",
    "limit=1e2",
    "limit=%D9%A1",
    "limit=",
    "limit= 5",
    "after=",
    "after=x",
    "after=eyJhIjoxfQ",
    "after=" + quote("' or 1=1 --"),
    "search=",
    "search=" + "a" * 2049,
    "exact=true",
    "kind=email",
    "exact=1&search=a",
    "disabled=yes",
    "disabled=",
    "factor=",
    "factor=" + "a" * 65,
    "made_from=-1",
    "made_from=yesterday",
    "made_before=99999999999999999999",
    "sort=name",
    "order=u.id;drop",
    "nothing",
    "__class__=x",
]


@pytest.mark.parametrize("query", WRONG)
async def test_queries_that_are_none(office: Office, query: str) -> None:
    """Names, values and cursors are data (M-5); the answer names what is wrong."""
    answer = await office.ask("GET", f"/admin/users?{query}")
    code = "invalid_cursor" if query.startswith("after=") and query != "after=" else "invalid_query"
    assert (400, code) == told(answer)
    if code == "invalid_query":
        assert query.partition("=")[0][:64] in str(answer.json()) or "search" in answer.text


async def test_words_of_a_wrong_query(office: Office) -> None:
    """Each parameter that is wrong, and what it lacks."""
    answer = await office.ask("GET", "/admin/users?limit=0&color=red")
    assert (
        "limit must be a whole number from 1 to 200; color is no parameter of this list"
        == (answer.json()["detail"])
    )
    answer = await office.ask("GET", "/admin/users/count?limit=5")
    assert [{"member": "limit", "message": "is no parameter of this list"}] == (
        answer.json()["errors"]
    )


@pytest.mark.parametrize("search", ["%", "_", "' or 1=1 --", '"', "\\", "\0", "a%", "\ud7ff"])
async def test_searches_are_data(office: Office, search: str) -> None:
    """No wildcard, no SQL, in any parameter (V1.2.4)."""
    await office.make("ann")
    text = quote(search)
    for query in (f"search={text}", f"search=a&kind={text}", f"factor={text}"):
        assert [] == await office.names(f"?{query}"), query


async def test_search_that_is_no_text(office: Office) -> None:
    """Bytes that are no UTF-8 find nobody."""
    await office.make("ann")
    for octets in ("%ED%A0%80", "%FF", "%C0%80"):
        assert [] == await office.names(f"?search={octets}")


SQL = ["'; drop table users; --", "%", "_", "\u202e", "ann\u0000", "a" * 300, "", " "]


@pytest.mark.parametrize("text", SQL)
@pytest.mark.parametrize("member", ["username", "name", "locale", "email"])
async def test_members_are_data(office: Office, member: str, text: str) -> None:
    """What is stored is what was sent, or it was refused; nobody else changes."""
    await office.make("bob")
    body = {"username": "ann", member: text}
    answer = await office.ask("POST", "/admin/users", body)
    assert answer.status_code in (201, 400), answer.text
    if answer.status_code == 201 and member in ("name", "locale"):
        assert text == answer.json()[member]
    assert "bob" in await office.names()


BODIES: list[Any] = [
    None,
    [],
    "ann",
    {},
    {"username": None},
    {"username": 5},
    {"username": ["ann"]},
    {"username": {"$ne": ""}},
    {"username": "ann", "id": "mine"},
    {"username": "ann", "epoch": 9},
    {"username": "ann", "created_at": 1},
    {"username": "ann", "disabled_at": None},
    {"username": "ann", "password": "correct horse battery staple"},
    {"username": "ann", "factors": []},
    {"username": "ann", "permissions": ["picoauth:admin"]},
    {"username": "ann", "email": "a@example.com", "email_verified": "true"},
    {"username": "ann", "email": "a@example.com", "email_verified": 1},
    {"username": "ann", "email": "no address"},
    {"username": "a@b"},
]


@pytest.mark.parametrize("body", BODIES)
async def test_bodies_that_are_none(office: Office, body: Any) -> None:
    """Unknown members and wrong types are refused (M-4), and nobody is made."""
    answer = await office.ask("POST", "/admin/users", body)
    assert answer.status_code in (400, 415), answer.text
    assert [] == await office.names()


async def test_changed(office: Office) -> None:
    """Some of the names, or all; what is no name cannot be changed so."""
    ann = await office.make("ann", locale="de")
    await office.make("bob")
    answer = await office.ask("PATCH", path(ann), {"name": "Ann A."})
    assert ("ann", "Ann A.", "de") == tuple(
        answer.json()[n] for n in ("username", "name", "locale")
    )
    answer = await office.ask("PUT", path(ann), {"username": "anna", "name": "Anna"})
    assert ("anna", "Anna", None) == tuple(answer.json()[n] for n in ("username", "name", "locale"))
    assert (409, "username_taken") == await office.told("PATCH", path(ann), {"username": "Bob"})
    assert (400, "invalid_body") == await office.told("PUT", path(ann), {"name": "Anna"})
    assert (400, "invalid_body") == await office.told("PATCH", path(ann), {"epoch": 0})
    assert (400, "invalid_username") == await office.told("PATCH", path(ann), {"username": "a/b"})
    for method in ("PUT", "PATCH"):
        body = {"username": "zoe", "name": "Zoe"}
        assert NOT_FOUND == await office.told(method, path(NOBODY), body)
    assert ["socket"] * 2 == [e.caller.actor for e in office.server.events.of(UserChanged)]


async def test_address(office: Office) -> None:
    """An administrator corrects an address; a login that went by the old one ends."""
    ann = await office.server.join("pin", username="ann")
    token = (await ann.login())["access_token"]
    answer = await office.ask("PUT", path(ann, "/email"), {"email": "Ann@example.com"})
    assert {"kind": "email", "value": "Ann@example.com", "verified": False} in (
        answer.json()["identifiers"]
    )
    new = {"email": "ann@example.com", "verified": True}
    assert OK == await office.told("PUT", path(ann, "/email"), new)
    assert 200 == (await office.server.get("/auth/me", token=token)).status_code
    other = {"email": "ann@example.org", "verified": True}
    assert OK == await office.told("PUT", path(ann, "/email"), other)
    assert (401, "session_ended") == told(await office.server.get("/auth/me", token=token))
    assert None is await office.server.auth.users.find("email", "ann@example.com")
    bob = await office.make("bob")
    assert (409, "identifier_taken") == await office.told("PUT", path(bob, "/email"), other)
    assert [] == [i for i in (await office.get(path(bob)))["identifiers"] if i["kind"] == "email"]
    assert GONE == await office.told("DELETE", path(ann, "/email"))
    assert NOT_FOUND == await office.told("DELETE", path(ann, "/email"))
    assert NOT_FOUND == await office.told("PUT", path(NOBODY, "/email"), other)
    assert (400, "invalid_email") == await office.told("PUT", path(bob, "/email"), {"email": "x"})
    events = office.server.events
    assert 1 == len(events.of(IdentifierAdded))
    assert [False, True] == [event.replaced for event in events.of(IdentifierVerified)]
    assert ["socket"] == [event.caller.actor for event in events.of(IdentifierRemoved)]


async def test_address_under_a_race(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change of the account in between is no taken address; it is tried again."""
    ann = await office.make("ann")
    auth, require = office.server.auth, office.server.auth.users.require
    left = [1, 1, 1]

    async def changed_after(user_id: str) -> Any:
        user = await require(user_id)
        if left:
            left.pop()
            sql = "update users set epoch = epoch + 1 where id = ?"
            await auth.database.write(Statement(sql, (user.id,)))
        return user

    monkeypatch.setattr(auth.users, "require", changed_after)
    body = {"email": "ann@example.com"}
    assert (409, "conflict") == await office.told("PUT", path(ann, "/email"), body)
    assert OK == await office.told("PUT", path(ann, "/email"), body)


async def test_disabled_and_enabled(office: Office) -> None:
    """A disabled user is out at once, and may come back."""
    ann = await office.server.join("pin", username="ann")
    token = (await ann.login())["access_token"]
    assert GONE == await office.told("POST", path(ann, "/disable"))
    assert (401, "session_ended") == told(await office.server.get("/auth/me", token=token))
    assert 401 == (await ann.prove("pin")).status_code
    assert (await office.get(path(ann)))["disabled_at"] == office.server.auth.now()
    assert GONE == await office.told("POST", path(ann, "/enable"))
    assert 200 == (await ann.prove("pin")).status_code
    for verb in ("/disable", "/enable"):
        assert NOT_FOUND == await office.told("POST", path(NOBODY, verb))
    events = office.server.events
    assert ["socket"] == [event.caller.actor for event in events.of(UserDisabled)]
    assert ["socket"] == [event.caller.actor for event in events.of(UserEnabled)]


async def test_closed(office: Office) -> None:
    """Who closed the account is found by that, and brought back; nobody else is."""
    ann = await office.server.join("pin", username="ann")
    await office.make("bob")
    assert NOT_CLOSED == await office.told("POST", path(ann, "/restore"))
    due = await office.server.auth.accounts.close(ann.user.id, Caller())
    assert ["ann"] == await office.names("?closed=true")
    assert ["bob"] == await office.names("?closed=false")
    assert 1 == (await office.get("/admin/users/count?closed=true"))["count"]
    found = await office.get(path(ann))
    assert (office.server.auth.now(), due) == (found["closed_at"], found["delete_at"])
    reader = await office.key("read")
    refused = await office.told("POST", path(ann, "/restore"), token=reader)
    assert (403, "read_only") == refused
    assert GONE == await office.told("POST", path(ann, "/restore"))
    found = await office.get(path(ann))
    assert (None, None) == (found["closed_at"], found["delete_at"])
    assert 200 == (await ann.prove("pin")).status_code
    assert NOT_CLOSED == await office.told("POST", path(ann, "/restore"))
    assert NOT_FOUND == await office.told("POST", path(NOBODY, "/restore"))
    assert ["socket"] == [event.caller.actor for event in office.server.events.of(UserRestored)]


async def test_disabling_against_logins(office: Office) -> None:
    """Of fifty logins at once with a disabling none is left."""
    for number in range(5):
        ann = await office.server.join("pin", username=f"ann{number}")
        logins = [ann.prove("pin") for _ in range(50)]
        both = [*logins[:25], office.ask("POST", path(ann, "/disable")), *logins[25:]]
        answers = await asyncio.gather(*both)
        assert 204 == answers[25].status_code
        assert {200, 401, 204} >= {answer.status_code for answer in answers}
        living = [
            one
            for one in await office.server.auth.sessions.list(ann.user.id)
            if one.alive(office.server.auth.now())
        ]
        assert [] == living


async def test_deleted(office: Office) -> None:
    """One, and several at once, each with its own outcome."""
    users = [await office.make(name) for name in ("ann", "bob", "cid")]
    assert GONE == await office.told("DELETE", path(users[0]))
    assert NOT_FOUND == await office.told("DELETE", path(users[0]))
    ids = [users[1]["id"], "nobody", users[0]["id"], users[1]["id"], "' or 1=1 --"]
    answer = await office.ask("DELETE", "/admin/users", {"ids": ids})
    assert OK == told(answer)
    gone = {"deleted": False, "code": "not_found"}
    assert [
        {"id": users[1]["id"], "deleted": True, "code": None},
        {"id": "nobody", **gone},
        {"id": users[0]["id"], **gone},
        {"id": "' or 1=1 --", **gone},
    ] == answer.json()["results"]
    assert ["cid"] == await office.names()
    assert ["socket"] * 2 == [e.caller.actor for e in office.server.events.of(UserDeleted)]


@pytest.mark.parametrize(
    "ids", [[], "all", None, {}, [1], [None], [["x"]], [str(n) for n in range(201)]]
)
async def test_deletions_that_are_none(office: Office, ids: Any) -> None:
    """From one to two hundred texts, and nothing else."""
    await office.make("ann")
    body = {"ids": ids}
    assert (400, "invalid_body") == await office.told("DELETE", "/admin/users", body)
    assert 400 <= (await office.told("DELETE", "/admin/users"))[0] < 500
    assert ["ann"] == await office.names()


async def test_fifty_deletions_at_once(office: Office) -> None:
    """Each user is deleted once."""
    users = [await office.make(f"user{number}") for number in range(4)]
    ids = [user["id"] for user in users]
    asked = [office.ask("DELETE", "/admin/users", {"ids": ids}) for _ in range(50)]
    answers = await asyncio.gather(*asked)
    assert {200} == {answer.status_code for answer in answers}
    results = [each for answer in answers for each in answer.json()["results"]]
    deleted = Counter(each["id"] for each in results if each["deleted"])
    assert dict.fromkeys(ids, 1) == deleted
    assert {"not_found", "conflict"} >= {each["code"] for each in results if each["code"]}
    assert 4 == len(office.server.events.of(UserDeleted))


async def test_deletions_that_fail(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that cannot be deleted now says why, and keeps no other one."""
    ann, bob, cid = [await office.make(name) for name in ("ann", "bob", "cid")]
    delete = office.server.auth.accounts.delete
    wrong = {ann["id"]: Conflict(0), bob["id"]: Unavailable("the disk is full")}

    async def failing(user_id: str, caller: Caller) -> None:
        if user_id in wrong:
            raise wrong[user_id]
        await delete(user_id, caller)

    monkeypatch.setattr(office.server.auth.accounts, "delete", failing)
    ids = [user["id"] for user in (ann, bob, cid)]
    answer = await office.ask("DELETE", "/admin/users", {"ids": ids})
    assert ["conflict", "unavailable", None] == [e["code"] for e in answer.json()["results"]]


async def test_nothing_secret_is_told(office: Office) -> None:
    """No hash, seed or token of a user is in any answer (M-4)."""
    ann = await office.administrator("ann")
    await ann.login()
    found = [
        (await office.ask("GET", place)).text
        for place in (
            "/admin/users",
            path(ann),
            path(ann, "/sessions"),
            path(ann, "/factors"),
        )
    ]
    assert [] == [text for text in found if "pin of ann" in text or "epoch" in text]
    assert "cookie" not in "".join(found)
