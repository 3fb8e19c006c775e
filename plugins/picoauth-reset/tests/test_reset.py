"""A forgotten password, from the question to the new one."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from forgetful import (
    ADDRESS,
    BREACHED,
    DAY,
    HOUR,
    KINDS,
    MINUTE,
    OTHER,
    PATH,
    SETTINGS,
    Forgetful,
    PickyPlugin,
    address,
    token_of,
    told,
)

from picoauth import Caller, ConfigError, CredentialChanged, Denied, Statement, problems
from picoauth.testing import Clock, Server, delivered, serving
from picoauth.testing.server import PASSWORD
from picoauth_password import PasswordPlugin
from tests.factors import enrol

LIFE = 30 * MINUTE
GONE, LATE, SET = (404, "not_found"), (410, "link_expired"), (204, "")


@pytest_asyncio.fixture
async def ann(server: Server) -> Forgetful:
    return await Forgetful.joined(server)


async def test_new_password(server: Server, ann: Forgetful) -> None:
    """A link comes by mail; by it a password is set once, and then all sessions have ended."""
    tokens = await server.login()
    await ann.ask()
    [message] = await ann.mails()
    token = token_of(message)
    link = f"https://auth.example.org/login/#reset={token}"
    assert (ADDRESS, "reset/reset", link) == (message.to, message.template, message.values["link"])
    assert link in message.text
    assert SET == await ann.look(token)
    assert SET == await ann.set(token)
    assert 0 == await ann.sessions()
    access = await server.get("/auth/me", token=tokens["access_token"])
    assert (401, "session_ended") == told(access)
    assert (401, "invalid_credentials") == await ann.login()
    assert (200, "") == await ann.login(OTHER)
    assert GONE == await ann.set(token, PASSWORD)


async def test_user_is_told(server: Server, ann: Forgetful) -> None:
    """By every verified address, and by none that is not; one event says it (R-5)."""
    await address(server, ann.id, "old@example.com")
    await address(server, ann.id, "eve@example.com", verified=False)
    token = await ann.token(email="old@example.com")
    assert SET == await ann.set(token)
    found = await ann.mails()
    assert {(ADDRESS, "reset/changed"), ("old@example.com", "reset/changed")} == {
        (message.to, message.template) for message in found
    }
    assert "https://auth.example.org/login/" == found[0].values["link"]
    event = server.events.one(CredentialChanged)
    assert (ann.id, "password") == (event.user_id, event.factor)


async def test_nobody_is_logged_in(server: Server, ann: Forgetful) -> None:
    """Nothing is handed out; and a second factor is asked for afterwards (R-3)."""
    await server.login()
    await enrol(server, "111111")
    token = await ann.token()
    answer = await server.send("PUT", f"{PATH}/{token}", {"password": OTHER})
    assert (204, b"") == (answer.status_code, answer.content)
    assert "set-cookie" not in answer.headers
    assert 0 == await ann.sessions()
    assert (401, "more_needed") == await ann.login(OTHER)


@pytest.mark.parametrize(
    "body",
    [
        {"username": "ann"},
        {"username": "ANN"},
        {"email": "ann@example.com"},
        {"email": ADDRESS},
        {"username": "ann@EXAMPLE.com"},
    ],
    ids=str,
)
async def test_names(ann: Forgetful, body: dict[str, str]) -> None:
    """A user is found by user name or verified address, however it is written."""
    assert SET == await ann.look(await ann.token(**body))


@pytest.mark.parametrize(
    "body",
    [{}, {"username": "ann", "email": ADDRESS}, {"username": 1}, {"email": None}, {"user": "ann"}],
    ids=str,
)
async def test_bodies_that_are_none(server: Server, body: Any) -> None:
    """It is one name, and a text."""
    assert (400, "invalid_body") == told(await server.post(PATH, body))


async def test_address_by_which_was_asked(server: Server, ann: Forgetful) -> None:
    """Of several verified ones that gets the mail; a user name goes to the first."""
    await address(server, ann.id, "zoe@example.com")
    await ann.ask(email="ZOE@example.com")
    server.clock.advance(MINUTE)
    await ann.ask()
    assert ["zoe@example.com", ADDRESS] == [message.to for message in await ann.mails()]


# The ticket


async def test_look_takes_nothing(ann: Forgetful) -> None:
    """Mail scanners follow links, and the user after them."""
    token = await ann.token()
    assert [SET] * 3 == [await ann.look(token) for _ in range(3)]
    assert SET == await ann.set(token)
    assert GONE == await ann.look(token)


async def test_tokens_that_are_none(server: Server, ann: Forgetful) -> None:
    """What never was a ticket, and what is one for something else (T-1)."""
    answer = await server.post("/auth/login/begin", {"factor": "password", "username": "ann"})
    _, other = server.auth.tickets.issue("other", {}, expires_at=2**40, user_id=ann.id)
    await server.auth.database.write(other)
    token = await ann.token()
    for none in ("x", "%00", "é", token[:-1], f"{token}A", answer.json()["flow"]):
        assert GONE == await ann.look(none)
        assert GONE == await ann.set(none)
    assert (200, "") == await ann.login()


async def test_life(server: Server, ann: Forgetful) -> None:
    """Half an hour, by the server's time; who comes later is told so, for an hour (T-5)."""
    token = await ann.token()
    server.clock.advance(LIFE - 1)
    assert SET == await ann.look(token)
    server.clock.advance(1)
    assert (LATE, LATE) == (await ann.look(token), await ann.set(token))
    assert (200, "") == await ann.login()


async def test_newer_voids_older(server: Server, ann: Forgetful) -> None:
    """One link at a time is good (T-5)."""
    older = await ann.token()
    server.clock.advance(MINUTE)
    newer = await ann.token()
    assert (GONE, SET) == (await ann.look(older), await ann.look(newer))


async def test_success_voids_others(server: Server, ann: Forgetful) -> None:
    """Whatever else there is for the user."""
    data = {"epoch": 0, "address": ADDRESS.lower()}
    first = await ann.token()
    other, issuing = server.auth.tickets.issue("reset", data, expires_at=2**40, user_id=ann.id)
    await server.auth.database.write(issuing)
    assert SET == await ann.look(other)
    assert SET == await ann.set(first)
    rows = await server.auth.database.read("select 1 from tickets where purpose = 'reset'")
    assert ([], GONE) == (rows, await ann.set(other))


async def changed_password(ann: Forgetful) -> None:
    await ann.server.auth.plugin(PasswordPlugin).set_password("ann", "a third battery staple")


async def disabled(ann: Forgetful) -> None:
    await ann.server.auth.accounts.disable(ann.id, Caller())


async def deleted(ann: Forgetful) -> None:
    await ann.server.auth.accounts.delete(ann.id, Caller())


async def without_address(ann: Forgetful) -> None:
    await ann.server.auth.database.write(Statement("delete from identifiers where kind = 'email'"))


async def address_of_another(ann: Forgetful) -> None:
    bob = await Forgetful.joined(ann.server, "bob", None)
    sql = "update identifiers set user_id = ? where kind = 'email'"
    await ann.server.auth.database.write(Statement(sql, (bob.id,)))


@pytest.mark.parametrize(
    "change", [changed_password, disabled, deleted, without_address, address_of_another]
)
async def test_account_that_changed(ann: Forgetful, change: Any) -> None:
    """The ticket is bound to the user, to what proves the user, and to the address (T-4)."""
    token = await ann.token()
    await change(ann)
    assert (GONE, GONE) == (await ann.look(token), await ann.set(token))
    assert (401, "invalid_credentials") == await ann.login(OTHER)


async def test_user_who_is_enabled_again(server: Server, ann: Forgetful) -> None:
    """A link of before is none any more."""
    token = await ann.token()
    await disabled(ann)
    await server.auth.accounts.enable(ann.id, Caller())
    assert GONE == await ann.set(token)


@pytest.mark.parametrize("change", [changed_password, disabled, deleted])
async def test_account_that_changes_meanwhile(server: Server, ann: Forgetful, change: Any) -> None:
    """While the password is looked at: then nothing is set, and no mail says so."""
    token = await ann.token()
    picky = server.auth.plugin(PickyPlugin)

    async def meanwhile() -> None:
        picky.meanwhile = None
        await change(ann)

    picky.meanwhile = meanwhile
    assert GONE == await ann.set(token)
    assert (401, "invalid_credentials") == await ann.login(OTHER)
    assert [] == await ann.mails()


# The password


@pytest.mark.parametrize(
    ("password", "code"),
    [
        ("short", "password_too_short"),
        ("x" * 257, "password_too_long"),
        ("password1", BREACHED.code),
        ("nul\0 in it", "invalid_json"),
    ],
)
async def test_password_that_is_refused(ann: Forgetful, password: str, code: str) -> None:
    """It leaves the link good."""
    token = await ann.token()
    assert (400, code) == await ann.set(token, password)
    assert SET == await ann.look(token)
    assert (200, "") == await ann.login()
    assert SET == await ann.set(token)


async def test_plugin_that_fails(server: Server, ann: Forgetful) -> None:
    """What cannot be looked at is not set, and the link stays good."""
    token = await ann.token()
    picky = server.auth.plugin(PickyPlugin)

    async def meanwhile() -> None:
        picky.meanwhile = None
        raise Denied(problems.REFUSED)

    picky.meanwhile = meanwhile
    assert (403, "refused") == await ann.set(token)
    assert SET == await ann.set(token)


async def test_queue_that_is_full(server: Server, ann: Forgetful) -> None:
    """Too many hashes wait: the link stays good."""
    token = await ann.token()
    free = server.auth.plugin(PasswordPlugin).hasher.free
    taken = 0
    while free.acquire(blocking=False):
        taken += 1
    assert (503, "unavailable") == await ann.set(token)
    free.release(taken)
    assert SET == await ann.set(token)


async def test_first_password(server: Server) -> None:
    """Who has no password, but a verified address, gets one; second factors stay asked for."""
    someone = await server.join("pin", username="kim")
    await address(server, someone.user.id, "kim@example.com")
    kim = Forgetful(server, someone.user.id, "kim")
    assert SET == await kim.set(await kim.token())
    assert (200, "") == await kim.login(OTHER)
    found = await server.auth.users.enrolments(kim.id)
    assert {"pin", "password"} == {enrolment.factor for enrolment in found}


# Limits


async def sent(ann: Forgetful, times: int, pause: int) -> int:
    """How many mails come of so many questions, each some seconds after the last."""
    found = []
    for _ in range(times):
        await ann.ask()
        found += await ann.mails()
        ann.server.clock.advance(pause)
    return len(found)


@pytest.mark.parametrize(
    ("times", "pause", "expected"),
    [(5, 0, 1), (2, MINUTE - 1, 1), (2, MINUTE, 2), (10, 5 * MINUTE, 3), (30, 30 * MINUTE, 10)],
)
async def test_limits(ann: Forgetful, times: int, pause: int, expected: int) -> None:
    """One a minute, three an hour, ten a day; beyond that the same answer and no mail (R-1)."""
    assert expected == await sent(ann, times, pause)


async def test_limits_are_settings(tmp_path: Path) -> None:
    """They are those of all mail."""
    settings = f"{SETTINGS}[mail]\npause = 0\nhourly = 4\n"
    async with serving(tmp_path, settings, plugins=KINDS) as server:
        assert 4 == await sent(await Forgetful.joined(server), 6, 0)


async def test_names_count_together(ann: Forgetful) -> None:
    """By user name and by address it is one account."""
    await ann.ask()
    await ann.ask(email=ADDRESS)
    assert 1 == len(await ann.mails())


async def test_mailbox_counts(server: Server, ann: Forgetful) -> None:
    """One that went to another account gets no more mails by that (R-1)."""
    bob = await Forgetful.joined(server, "bob", None)
    await ann.ask()
    sql = "update identifiers set user_id = ? where kind = 'email'"
    await server.auth.database.write(Statement(sql, (bob.id,)))
    await bob.ask()
    assert 1 == len(await ann.mails())
    server.clock.advance(MINUTE)
    await bob.ask()
    assert 1 == len(await ann.mails())


async def test_link_outlives_questions_beyond_the_limit(ann: Forgetful) -> None:
    """Who asks in somebody's name does not void the link that she has."""
    token = await ann.token()
    await ann.ask()
    await ann.ask(email=ADDRESS)
    assert SET == await ann.set(token)


async def test_fifty_questions(ann: Forgetful) -> None:
    """All at once: one mail."""
    await asyncio.gather(*(ann.ask() for _ in range(50)))
    assert 1 == len(await ann.mails())


# Everything at once


@pytest_asyncio.fixture
async def pair(tmp_path: Path) -> AsyncIterator[list[Server]]:
    """Two servers on one file, each with connections and memory of its own."""
    clock = Clock()
    async with (
        serving(tmp_path, SETTINGS, plugins=KINDS, clock=clock) as one,
        serving(tmp_path, SETTINGS, plugins=KINDS, clock=clock) as two,
    ):
        yield [one, two]


@pytest.mark.parametrize("first", [False, True])
async def test_one_of_many_wins(
    pair: list[Server], monkeypatch: pytest.MonkeyPatch, *, first: bool
) -> None:
    """Of fifty at two servers, each with its own password, one sets it (T-3)."""
    for server in pair:
        monkeypatch.setattr(
            server.auth.plugin(PasswordPlugin).hasher.free, "acquire", lambda **_: True
        )
        monkeypatch.setattr(server.auth.plugin(PasswordPlugin).hasher.free, "release", lambda: None)
    ann = await Forgetful.joined(pair[0])
    if first:
        await pair[0].auth.database.write(
            Statement("delete from enrolments where user_id = ?", (ann.id,))
        )
    token = await ann.token()
    owners = [Forgetful(server, ann.id, "ann") for server in pair] * 25
    passwords = [f"password number {number}" for number in range(50)]
    answers = await asyncio.gather(
        *(owner.set(token, password) for owner, password in zip(owners, passwords, strict=True))
    )
    assert {SET: 1, GONE: 49} == Counter(answers)
    winner = passwords[answers.index(SET)]
    assert (200, "") == await ann.login(winner)
    changes = [event for server in pair for event in server.events.of(CredentialChanged)]
    assert 1 == len(changes)


async def test_reset_and_login(ann: Forgetful) -> None:
    """A login by the old password that is under way when the new one is set is none afterwards."""
    token = await ann.token()
    answers = await asyncio.gather(
        ann.set(token), *(ann.login() for _ in range(5)), return_exceptions=True
    )
    assert SET == answers[0]
    assert 0 == await ann.sessions()
    assert (401, "invalid_credentials") == await ann.login()


# Mail


@pytest.mark.parametrize(
    ("locale", "languages", "subject"),
    [
        (None, "", "A new password for your account"),
        (None, "fr", "Un nouveau mot de passe pour votre compte"),
        ("de", "fr", "Ein neues Passwort für Ihr Konto"),
    ],
)
async def test_languages(
    server: Server, ann: Forgetful, locale: str | None, languages: str, subject: str
) -> None:
    """The user's, or the browser's, or English; for both mails."""
    await server.auth.database.write(Statement("update users set locale = ?", (locale,)))
    header = {"Accept-Language": languages}
    client, body = server.client, {"username": "ann"}
    await client.post(PATH, json=body, headers=header)
    [message] = await ann.mails()
    assert subject == message.subject
    token = token_of(message)
    await client.put(f"{PATH}/{token}", json={"password": OTHER}, headers=header)
    [message] = await ann.mails()
    assert {"reset/changed"} == {message.template}
    assert (locale or languages or "en") == message.language


@pytest.mark.usefixtures("ann")
async def test_links_are_of_the_settings(server: Server) -> None:
    """Whatever a request says of itself (R-4)."""
    headers = dict.fromkeys(
        ("X-Forwarded-Host", "X-Forwarded-Proto", "Forwarded", "Origin", "Referer"),
        "https://evil.example",
    )
    answer = await server.client.post(PATH, json={"username": "ann"}, headers=headers)
    assert 202 == answer.status_code
    [message] = await delivered(server)
    assert message.values["link"].startswith("https://auth.example.org/login/#reset=")
    assert "evil" not in f"{message.text}{message.html}"


def stored(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.glob("picoauth.db*"))


async def test_tokens_are_nowhere(server: Server, ann: Forgetful, tmp_path: Path) -> None:
    """Not in the database, nor in an event (L-2)."""
    token = await ann.token()
    await ann.set(token)
    found = stored(tmp_path)
    assert b"reset" in found
    assert token.encode() not in found
    assert token not in repr(server.events)


async def test_page(tmp_path: Path) -> None:
    """It is the application's, below `public_url`."""
    settings = f'{SETTINGS}[reset]\npage = "/new"\n'
    async with serving(tmp_path, settings, plugins=KINDS) as server:
        ann = await Forgetful.joined(server)
        await ann.ask()
        [message] = await ann.mails()
        assert message.values["link"].startswith("https://auth.example.org/new#reset=")


@pytest.mark.parametrize("page", ["https://other.example/", "/login/#reset"])
async def test_page_that_is_none(tmp_path: Path, page: str) -> None:
    """A path, to which the token is put."""
    settings = f'{SETTINGS}[reset]\npage = "{page}"\n'
    with pytest.raises(ConfigError) as caught:
        async with serving(tmp_path, settings, plugins=KINDS):
            pass
    assert '[reset].page: must be a path such as "/login/", without "#".' in caught.value.problems


@pytest.mark.parametrize(
    ("plugins", "problem"),
    [
        (
            '["captured-mail", "reset"]',
            "plugin reset (picoauth-reset 0.1.0) requires password: add it to `plugins`.",
        ),
        ('["password", "reset"]', "plugin reset (picoauth-reset 0.1.0) needs"),
    ],
)
async def test_what_it_needs(tmp_path: Path, plugins: str, problem: str) -> None:
    """Without passwords or mail the server does not start, and says so."""
    with pytest.raises(ConfigError) as caught:
        async with serving(tmp_path, f"plugins = {plugins}", plugins=KINDS):
            pass
    assert str(caught.value).startswith(problem)


async def test_day(ann: Forgetful) -> None:
    """A day later mails come again."""
    await sent(ann, 30, 30 * MINUTE)
    ann.server.clock.advance(DAY - 15 * HOUR)
    assert 1 == await sent(ann, 1, 0)


async def test_closed_account(server: Server, ann: Forgetful) -> None:
    """Who left and forgot the password gets a new one, by which the account can be restored."""
    await server.auth.accounts.close(ann.id, Caller())
    token = await ann.token()
    assert SET == await ann.set(token)
    assert (403, "account_closed") == await ann.login(OTHER)
    body = {"username": "ann", "password": OTHER, "restore": True}
    assert 200 == (await server.post("/auth/login", body)).status_code
