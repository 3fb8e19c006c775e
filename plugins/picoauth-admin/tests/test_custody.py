"""What a user has: sessions, factors, and the ways back."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from office import KINDS, Office, path, told

from picoauth import FactorRemoved, SessionEnded, SessionsEnded
from picoauth.testing import PASSWORD, delivered, serving
from picoauth_reset.events import PasswordResetStarted
from tests.factors import CEREMONIES

GONE, NOT_FOUND = (204, ""), (404, "not_found")
NOBODY = {"id": "nobody"}


async def test_sessions(office: Office) -> None:
    """They are shown as to their user, and ended one by one, or all."""
    ann = await office.server.join("pin", username="ann")
    tokens = [await ann.login() for _ in range(3)]
    listed = (await office.get(path(ann, "/sessions")))["sessions"]
    shown = await office.server.get("/auth/sessions", token=tokens[0]["access_token"])
    assert [{**one, "current": False} for one in shown.json()["sessions"]] == listed
    first = listed[0]["id"]
    assert GONE == await office.told("DELETE", path(ann, f"/sessions/{first}"))
    assert NOT_FOUND == await office.told("DELETE", path(ann, f"/sessions/{first}"))
    assert 2 == len((await office.get(path(ann, "/sessions")))["sessions"])
    assert GONE == await office.told("DELETE", path(ann, "/sessions"))
    assert [] == (await office.get(path(ann, "/sessions")))["sessions"]
    for one in tokens:
        answer = await office.server.get("/auth/me", token=one["access_token"])
        assert (401, "session_ended") == told(answer)
    events = office.server.events
    assert ["socket"] == [event.caller.actor for event in events.of(SessionEnded)]
    assert ["socket"] == [event.caller.actor for event in events.of(SessionsEnded)]


async def test_sessions_of_others(office: Office) -> None:
    """An id is looked for among the user's own (M-3)."""
    ann = await office.server.join("pin", username="ann")
    bob = await office.server.join("pin", username="bob")
    await bob.login()
    [session] = (await office.get(path(bob, "/sessions")))["sessions"]
    assert NOT_FOUND == await office.told("DELETE", path(ann, f"/sessions/{session['id']}"))
    assert 1 == len((await office.get(path(bob, "/sessions")))["sessions"])
    for below in ("/sessions", "/factors"):
        assert NOT_FOUND == await office.told("GET", path(NOBODY, below))
    for below in ("/sessions", "/sessions/x", "/factors/x"):
        assert NOT_FOUND == await office.told("DELETE", path(NOBODY, below))


async def test_lost_second_factor(office: Office) -> None:
    """It is taken away, all sessions end, and the first factor is enough again."""
    ann = await office.server.join("pin", "key", username="ann")
    tokens = await ann.login()
    listed = (await office.get(path(ann, "/factors")))["factors"]
    [key] = [factor for factor in listed if factor["factor"] == "key"]
    assert key["confirmed"]
    bob = await office.server.join("pin", username="bob")
    assert NOT_FOUND == await office.told("DELETE", path(bob, f"/factors/{key['id']}"))
    assert GONE == await office.told("DELETE", path(ann, f"/factors/{key['id']}"))
    assert NOT_FOUND == await office.told("DELETE", path(ann, f"/factors/{key['id']}"))
    answer = await office.server.get("/auth/me", token=tokens["access_token"])
    assert (401, "session_ended") == told(answer)
    assert 200 == (await ann.prove("pin")).status_code
    [event] = office.server.events.of(FactorRemoved)
    assert ("key", key["id"], "socket") == (event.factor, event.enrolment_id, event.caller.actor)


async def test_last_factor(office: Office) -> None:
    """It may go, too: an invitation lets the user in again."""
    ann = await office.server.join("pin", username="ann")
    [pin] = (await office.get(path(ann, "/factors")))["factors"]
    assert GONE == await office.told("DELETE", path(ann, f"/factors/{pin['id']}"))
    assert 401 == (await ann.prove("pin")).status_code
    made = await office.ask("POST", path(ann, "/invitation"), {"link": True})
    body = {"invitation": made.json()["link"].partition("=")[2]}
    assert 200 == (await office.server.post("/auth/login", body)).status_code


async def test_fifty_removals_at_once(office: Office) -> None:
    """One of them takes it."""
    ann = await office.server.join("pin", "key", username="ann")
    key = (await office.get(path(ann, "/factors")))["factors"][-1]
    place = path(ann, f"/factors/{key['id']}")
    outcomes = Counter(await asyncio.gather(*(office.told("DELETE", place) for _ in range(50))))
    assert 1 == outcomes[GONE]
    assert {GONE, NOT_FOUND, (409, "conflict")} >= outcomes.keys()
    assert 1 == len(office.server.events.of(FactorRemoved))


@pytest.fixture
async def with_reset(tmp_path: Path) -> AsyncIterator[Office]:
    settings = 'plugins = ["password", "admin", "reset", "captured-mail"]'
    async with serving(tmp_path, settings, plugins=KINDS, ceremonies=CEREMONIES) as server:
        yield Office(server)


async def test_reset(with_reset: Office) -> None:
    """The user gets a link, and sets a password that no administrator sees (R-5)."""
    office = with_reset
    ann = await office.make("ann", locale="fr", email="Ann@example.com", email_verified=True)
    languages = {"Accept-Language": "de"}
    for _ in range(5):  # as often as it takes: an administrator is no stranger
        answer = await office.ask("POST", path(ann, "/reset"), headers=languages)
        assert (202, {"address": "Ann@example.com"}) == (answer.status_code, answer.json())
    mails = await delivered(office.server)
    assert [("Ann@example.com", "fr")] * 5 == [(mail.to, mail.language) for mail in mails]
    old, new = (mails[n].values["link"].partition("#reset=")[2] for n in (0, -1))
    gone = await office.server.get(f"/auth/forgot_password/{old}")
    assert NOT_FOUND == told(gone)
    body = {"password": PASSWORD}
    changed = await office.server.send("PUT", f"/auth/forgot_password/{new}", body)
    assert 204 == changed.status_code
    assert (await office.server.login("ann"))["access_token"]
    events = office.server.events.of(PasswordResetStarted)
    assert [(ann["id"], "socket")] * 5 == [(e.user_id, e.caller.actor) for e in events]


async def test_no_reset(with_reset: Office) -> None:
    """Not to an address that may be another's, not for who is disabled, and for nobody."""
    office = with_reset
    ann = await office.make("ann", email="ann@example.com")
    assert (409, "no_address") == await office.told("POST", path(ann, "/reset"))
    bob = await office.make("bob", email="bob@example.com", email_verified=True)
    await office.ask("POST", path(bob, "/disable"))
    assert (409, "user_disabled") == await office.told("POST", path(bob, "/reset"))
    assert NOT_FOUND == await office.told("POST", path(NOBODY, "/reset"))
    assert [] == await delivered(office.server)
    password = await office.told("POST", path(ann, "/reset"), {"password": PASSWORD})
    assert (400, "invalid_body") == password


async def test_nothing_resets(office: Office) -> None:
    """Then there is no such route."""
    ann = await office.make("ann")
    assert NOT_FOUND == await office.told("POST", path(ann, "/reset"))
