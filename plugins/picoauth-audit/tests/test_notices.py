"""Mails to users: of what happens to their accounts, once each, and never too many."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from logbook import KINDS, SETTINGS, Log

from picoauth import Auth, Caller, ConfigError, Event, Message, Plugin, User, identifier, parse
from picoauth.testing import Clock, MailPlugin, Server, delivered, serving
from picoauth_audit.notices import DEVICES, MOST
from tests.factors import PIN, join, step

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
NEWER = FIREFOX.replace("140", "155")
CURL = "curl/8.5.0"
DAY = 86400


async def verified(server: Server, user: User, address: str = "ann@example.com") -> None:
    found = identifier("email", address, verified=True)
    sql = "insert into identifiers values (?, 'email', ?, ?, 1)"
    await Log(server).write(sql, user.id, found.value, found.display)


@pytest.fixture
async def ann(log: Log) -> User:
    user = await join(log.server)
    await verified(log.server, user)
    return user


async def mails(log: Log) -> Sequence[Message]:
    """Those of this plugin, since the last time."""
    await log.plugin.keeper.round()
    sent = await delivered(log.server)
    found = [one for one in sent if one.template.startswith("audit/")]
    log.server.auth.plugin(MailPlugin).sent.clear()
    return found


async def templates(log: Log) -> list[str]:
    return [one.template.removeprefix("audit/") for one in await mails(log)]


async def login(server: Server, agent: str, username: str = "ann") -> str:
    body = {**PIN, "factor": "pin", "username": username}
    answer = await server.client.post("/auth/login", json=body, headers={"User-Agent": agent})
    assert 200 == answer.status_code, answer.text
    token: str = answer.json()["access_token"]
    return token


async def test_new_device(log: Log, ann: User) -> None:
    """A browser that was not used before is told; another version of it is not, nor the first."""
    await login(log.server, FIREFOX)
    await login(log.server, NEWER)
    assert [] == await mails(log)
    await login(log.server, CURL)
    [message] = await mails(log)
    assert ("ann@example.com", "A new device at your account") == (message.to, message.subject)
    assert "not used for it before: curl." in message.text
    assert "https://auth.example.org/login/" in message.text
    log.server.clock.advance(DAY)
    for agent in (FIREFOX, CURL, NEWER):
        await login(log.server, agent)
    assert [] == await mails(log)
    assert ann.id


async def test_devices_are_bounded(log: Log, ann: User) -> None:
    """Of so many devices the one not seen for longest is forgotten, and another user's never."""
    bob = await join(log.server, "bob")
    await login(log.server, FIREFOX, "bob")
    for number in range(DEVICES + 3):
        await login(log.server, f"tool{number}/1")
        log.server.clock.advance(1)
    count = "select count(*) from audit_devices where user_id = ?"
    assert [(DEVICES,)] == await log.read(count, ann.id)
    assert [(1,)] == await log.read(count, bob.id)


async def test_login_that_came_to_nothing(log: Log, ann: User) -> None:
    """Who only failed has brought no device."""
    await login(log.server, FIREFOX)
    await step(log.server, username="ann", pin="wrong")
    assert [(1,)] == await log.read("select count(*) from audit_devices")
    assert ann.id


async def test_factors(log: Log, ann: User) -> None:
    """A factor that is added, and one that is removed."""
    token = await login(log.server, FIREFOX)
    added = await enrol_code(log.server, token)
    [message] = await mails(log)
    assert ("audit/factor-added", "code") == (message.template, message.values["detail"])
    factors = (await log.server.get("/auth/factors", token=added)).json()["factors"]
    [gone] = [one["id"] for one in factors if one["factor"] == "code"]
    await log.server.send("DELETE", f"/auth/factors/{gone}", token=added)
    assert ["factor-removed"] == await templates(log)
    assert ann.id


async def enrol_code(server: Server, token: str) -> str:
    answer = await server.post("/code/enrol", {"code": "c1"}, token=token)
    assert answer.is_success, answer.text
    found: str = answer.json()["access_token"]
    return found


async def test_name_changed(log: Log, ann: User) -> None:
    """A new user name is told; a new name to show is not."""
    await log.server.auth.accounts.change(ann.id, {"name": "A"}, Caller())
    assert [] == await mails(log)
    await log.server.auth.accounts.change(ann.id, {"username": "anna"}, Caller())
    assert ["identifier"] == await templates(log)


async def test_credential(log: Log, ann: User) -> None:
    """A credential that is replaced, by the user or by an operator."""
    await login(log.server, FIREFOX)
    [session] = await log.server.auth.sessions.list(ann.id)
    await log.server.auth.credentials.change_credential(session.id, "pin", [], Caller())
    assert ["credential"] == await templates(log)
    log.server.clock.advance(61)
    user = await log.server.auth.users.require(ann.id)
    local = Caller.local()
    await log.server.auth.credentials.reset_credential(user, "pin", [], local)
    assert ["credential"] == await templates(log)


async def test_locked_once_a_day(log: Log, ann: User) -> None:
    """However often somebody fails, it is one mail a day."""
    for _ in range(3):
        for _ in range(20):
            await step(log.server, username="ann", pin="wrong")
        log.server.clock.advance(3600)
        await log.plugin.keeper.round()
    assert ["locked"] == await templates(log)
    log.server.clock.advance(DAY)
    for _ in range(20):
        await step(log.server, username="ann", pin="wrong")
    assert ["locked"] == await templates(log)
    assert ann.id


async def test_another_factor_locked(log: Log) -> None:
    """Who is nobody is told nothing."""
    for _ in range(20):
        await step(log.server, username="nobody", pin="wrong")
    assert [(0,)] == await log.read("select count(*) from audit_notices")


async def test_recovery_code(tmp_path: Path) -> None:
    """A recovery code that was used, in the language of the user."""
    settings = SETTINGS.replace('"key", ', '"recovery", ')
    async with serving(tmp_path, settings, plugins=KINDS) as server:
        log = Log(server)
        ann = await join(server)
        await verified(server, ann)
        await log.write("update users set locale = 'de' where id = ?", ann.id)
        token = await login(server, FIREFOX)
        answer = await server.post("/code/enrol", {"code": "c1"}, token=token)
        await mails(log)
        [code, *_] = answer.json()["recovery"]["codes"]
        body = {"factor": "pin", "username": "ann", **PIN}
        first = await server.client.post("/auth/login", json=body, headers={"User-Agent": FIREFOX})
        second = {"flow": first.json()["flow"], "factor": "recovery", "recovery": code}
        done = await server.client.post("/auth/login", json=second, headers={"User-Agent": FIREFOX})
        assert 200 == done.status_code, done.text
        [message] = await mails(log)
        assert ("audit/recovery", "de", "9") == (
            message.template,
            message.language,
            message.values["detail"],
        )


async def test_identifiers_of_other_kinds(log: Log, ann: User) -> None:
    """A change of what finds the user is told, where no plugin of addresses does."""
    url = identifier("url", "https://ann.example/", verified=False)
    await log.server.auth.identities.add(ann, url, [], Caller())
    assert [] == await mails(log)
    await log.server.auth.identities.verify(ann, url, [], Caller())
    assert ["identifier"] == await templates(log)


async def test_what_other_plugins_tell(tmp_path: Path) -> None:
    """What email and reset tell already comes once."""
    settings = """
plugins = ["password", "captured-mail", "email", "reset", "audit"]
public_url = "https://auth.example.org"
"""
    async with serving(tmp_path, settings, plugins=KINDS) as server:
        log = Log(server)
        await server.register()
        token = (await server.login())["access_token"]
        await server.post("/auth/email", {"address": "ann@example.com"}, token=token)
        [message] = await delivered(server)
        proof = {"code": message.values["code"]}
        done = await server.post("/auth/email/verify", proof, token=token)
        assert 200 == done.status_code
        await server.post("/auth/forgot_password", {"username": "ann"})
        link = (await delivered(server))[-1].values["link"]
        secret = link.partition("=")[2]
        new = {"password": "another horse battery staple"}
        server.clock.advance(61)
        done = await server.send("PUT", f"/auth/forgot_password/{secret}", new)
        assert 204 == done.status_code, done.text
        assert [] == await mails(log)
        tokens = await server.login("ann", new["password"])
        change = {"password": "a third horse battery staple"}
        done = await server.send("PUT", "/auth/password", change, token=tokens["access_token"])
        assert done.is_success
        assert ["credential"] == await templates(log)


async def test_every_verified_address(log: Log, ann: User) -> None:
    """Each verified address gets the mail, and no other one."""
    await verified(log.server, ann, "ann@example.org")
    adding = identifier("email", "thief@example.com", verified=False)
    await log.server.auth.identities.add(ann, adding, [], Caller())
    await log.server.auth.accounts.change(ann.id, {"username": "anna"}, Caller())
    assert {"ann@example.com", "ann@example.org"} == {one.to for one in await mails(log)}


async def test_without_an_address(log: Log) -> None:
    """Who has no verified address is told nothing, and nothing stays behind."""
    ann = await join(log.server)
    await log.server.auth.accounts.change(ann.id, {"username": "anna"}, Caller())
    assert [] == await mails(log)
    assert [(0,)] == await log.read("select count(*) from audit_notices")


async def test_too_many_mails_wait(log: Log, ann: User) -> None:
    """One mail of a kind a minute; the next one comes later, and after a day it does not."""
    for name in ("anna", "annb"):
        await log.server.auth.accounts.change(ann.id, {"username": name}, Caller())
    assert ["identifier"] == await templates(log)
    log.server.clock.advance(59)
    assert [] == await mails(log)
    log.server.clock.advance(2)
    assert ["identifier"] == await templates(log)
    await log.server.auth.accounts.change(ann.id, {"username": "annc"}, Caller())
    log.server.clock.advance(DAY + 1)
    assert [] == await mails(log)
    assert [(0,)] == await log.read("select count(*) from audit_notices")


async def test_waiting_notices_are_bounded(log: Log, ann: User) -> None:
    """Whatever a user does, so many wait and no more."""
    async with log.plugin.keeper.turn:
        for number in range(MOST + 5):
            await log.server.auth.accounts.change(ann.id, {"username": f"ann{number}"}, Caller())
    [(count,)] = await log.read("select count(*) from audit_notices")
    assert count <= MOST


async def test_two_servers_tell_once(tmp_path: Path) -> None:
    """One event is one mail, whoever of two processes comes first."""
    clock = Clock()
    async with (
        serving(tmp_path, SETTINGS, plugins=KINDS, clock=clock) as one,
        serving(tmp_path, SETTINGS, plugins=KINDS, clock=clock) as two,
    ):
        ann = await join(one)
        await verified(one, ann)
        both = [Log(server).plugin.notices for server in (one, two)]
        names = []
        for number in range(5):
            await one.auth.accounts.change(ann.id, {"username": f"ann{number}"}, Caller())
            await asyncio.gather(*(notices.send() for notices in both * 3))
            clock.advance(3600 * 5)
            names += [message.template for message in await delivered(one)]
            one.auth.plugin(MailPlugin).sent.clear()
        assert ["audit/identifier"] * 5 == names


async def test_note_is_part_of_the_write(log: Log, ann: User) -> None:
    """What a user is to be told of is noted in the write of the event."""
    written: list[str] = []
    database = log.server.auth.database
    write = database.write

    async def watching(*statements: Any) -> Any:
        written.append(" ".join(one.sql for one in statements))
        return await write(*statements)

    log.server.auth.events.database.write = watching  # type: ignore[method-assign]
    await log.server.auth.accounts.change(ann.id, {"username": "anna"}, Caller())
    [whole] = [one for one in written if "update users" in one]
    assert "audit_notices" in whole


async def test_told_before_a_deletion(log: Log, ann: User) -> None:
    """Of who is deleted nothing is sent any more."""
    async with log.plugin.keeper.turn:
        await log.server.auth.accounts.change(ann.id, {"username": "anna"}, Caller())
        await log.server.auth.accounts.delete(ann.id, Caller())
    assert [] == await mails(log)


@pytest.mark.parametrize("kinds", ["[]", '["locked"]'])
async def test_kinds_by_setting(tmp_path: Path, kinds: str) -> None:
    """Users are told of what the setting names."""
    settings = f"{SETTINGS}[audit]\nnotify = {kinds}\n"
    async with serving(tmp_path, settings, plugins=KINDS) as server:
        log, ann = Log(server), await join(server)
        await verified(server, ann)
        await login(server, FIREFOX)
        await login(server, CURL)
        await server.auth.accounts.change(ann.id, {"username": "anna"}, Caller())
        for _ in range(20):
            await step(server, username="anna", pin="wrong")
        assert (["locked"] if kinds != "[]" else []) == await templates(log)


async def test_without_a_mailer(tmp_path: Path) -> None:
    """Where nothing delivers mail nothing is noted, and the log is the same."""
    settings = SETTINGS.replace('"captured-mail", ', "")
    async with serving(tmp_path, settings, plugins=KINDS) as server:
        log, ann = Log(server), await join(server)
        await login(server, FIREFOX)
        await login(server, CURL)
        await server.auth.accounts.change(ann.id, {"username": "anna"}, Caller())
        assert [(0,)] == await log.read("select count(*) from audit_notices")
        assert [(0,)] == await log.read("select count(*) from audit_devices")
        assert "UserChanged" in await log.names()


LANGUAGES = ("en", "de", "fr")
TEMPLATES = [
    "credential",
    "device",
    "factor-added",
    "factor-removed",
    "identifier",
    "locked",
    "recovery",
]


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("language", LANGUAGES)
def test_templates(log: Log, name: str, language: str) -> None:
    """Each mail is in three languages, as a text and as HTML, with its values and one link."""
    plugin: Plugin[Any] = log.plugin
    templates = log.server.auth.mail.of(plugin)
    link = log.server.auth.mail.link("/login/")
    values = {"site": log.server.auth.mail.link("/"), "link": link, "detail": "x9", "device": "x9"}
    made = templates.render(name, [language], values)
    assert language == made.language
    assert made.html
    for text in (made.text, made.html):
        assert "x9" in text
        assert 1 == text.count(f"{link}")
    assert "x9" not in made.subject


def test_all_templates_are_tested(log: Log) -> None:
    """The list above has all that there are."""
    plugin: Plugin[Any] = log.plugin
    assert TEMPLATES == list(log.server.auth.mail.of(plugin).names)


class Other(Event):
    """What nobody has to be told of."""


def test_other_events(log: Log) -> None:
    """An event of a plugin that is unknown here tells no user anything."""
    assert [] == log.plugin.notices.noting(Other(at=1, user_id="ann"))
    assert [] == log.plugin.notices.noting(Other(at=1, user_id=None))


async def test_told_by_another_process(
    log: Log, ann: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A notice that somebody else takes meanwhile is not told twice."""
    async with log.plugin.keeper.turn:
        await log.server.auth.accounts.change(ann.id, {"username": "anna"}, Caller())
        addresses = log.plugin.notices.addresses

        async def slow(user_id: str) -> Sequence[str]:
            await log.write("delete from audit_notices")
            return await addresses(user_id)

        monkeypatch.setattr(log.plugin.notices, "addresses", slow)
        await log.plugin.notices.send()
    assert [] == await mails(log)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            'notify = ["devices"]',
            "must be one of credential, device, factor, identifier, locked, recovery",
        ),
        ('page = "login"', 'must be a path such as "/login/"'),
    ],
)
def test_settings_that_cannot_be(tmp_path: Path, line: str, said: str) -> None:
    """What is no kind, and no path, stops the start with what would be one."""
    config = parse(f'plugins = ["password", "audit"]\n[audit]\n{line}\n', tmp_path)
    with pytest.raises(ConfigError) as caught:
        Auth(config)
    assert said in str(caught.value)
