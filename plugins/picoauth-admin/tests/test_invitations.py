"""Invitations: mailed or handed over, good once, and no way past anything."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from office import KINDS, SETTINGS, TCP, Office, path, told

from picoauth import (
    Caller,
    Conflict,
    IdentifierVerified,
    Login,
    NoSettings,
    Plugin,
    Problem,
    Statement,
    hookimpl,
)
from picoauth.testing import Server, delivered, serving
from picoauth_admin import AdminPlugin
from picoauth_admin.events import InvitationSent
from tests.factors import CEREMONIES

DAY = 86400
OK, REFUSED = (200, ""), (401, "proof_refused")
ADDRESS = "ann@example.com"


async def sent(office: Office, user: Any, **more: Any) -> str:
    """The token of a mail."""
    answer = await office.ask("POST", path(user, "/invitation"), {}, **more)
    assert 202 == answer.status_code, answer.text
    message = (await delivered(office.server))[-1]
    return message.values["link"].partition("#invitation=")[2]


async def shown(office: Office, user: Any) -> str:
    answer = await office.ask("POST", path(user, "/invitation"), {"link": True})
    assert 201 == answer.status_code, answer.text
    link: str = answer.json()["link"]
    assert link.startswith("https://auth.example.org/login/#invitation=")
    return link.partition("=")[2]


async def accept(server: Server, token: Any, **more: Any) -> httpx.Response:
    return await server.post("/auth/login", {"invitation": token, **more})


async def found(office: Office, user: Any) -> list[tuple[str, bool]]:
    identifiers = (await office.get(path(user)))["identifiers"]
    return [(i["value"], i["verified"]) for i in identifiers if i["kind"] == "email"]


async def test_mailed(office: Office) -> None:
    """It lets the user in, verifies the address, and the session is fresh: so the rest follows."""
    ann = await office.make("ann", name="Ann", email=ADDRESS, locale="de")
    answer = await office.ask("POST", path(ann, "/invitation"), {})
    end = office.server.auth.now() + DAY
    assert {"address": ADDRESS, "link": None, "expires_at": end} == answer.json()
    [message] = await delivered(office.server)
    assert (ADDRESS, "de", "admin/invitation") == (message.to, message.language, message.template)
    assert "Guten Tag Ann" in message.text
    assert "24 Stunden" in message.text
    token = message.values["link"].partition("=")[2]
    assert [(ADDRESS, False)] == await found(office, ann)
    answer = await accept(office.server, token)
    assert OK == told(answer)
    assert [(ADDRESS, True)] == await found(office, ann)
    tokens = answer.json()
    enrolled = await office.server.post("/key/enrol", token=tokens["access_token"])
    assert 200 == enrolled.status_code, enrolled.text
    assert REFUSED == told(await accept(office.server, token))
    events = office.server.events
    [event] = events.of(InvitationSent)
    assert (ann["id"], True, "socket") == (event.user_id, event.mailed, event.caller.actor)
    [verified] = events.of(IdentifierVerified)
    assert (ann["id"], "email", False) == (verified.user_id, verified.kind, verified.replaced)
    assert token not in "".join(map(repr, [*events]))


async def test_shown(office: Office) -> None:
    """A link to be handed over lets in, and verifies nothing."""
    ann = await office.make("ann", email=ADDRESS)
    token = await shown(office, ann)
    assert OK == told(await accept(office.server, token))
    assert [(ADDRESS, False)] == await found(office, ann)
    assert [] == await delivered(office.server)
    assert [False] == [event.mailed for event in office.server.events.of(InvitationSent)]


async def test_links_are_shown_over_the_socket_alone(office: Office) -> None:
    """By a key or a session it would be a login for whoever reads the answer."""
    ann, key = await office.make("ann", email=ADDRESS), await office.key()
    root = await office.administrator()
    tokens = await root.login()
    for token in (key, tokens["access_token"]):
        for peer in (TCP, None):
            body = {"link": True}
            refused = await office.told(
                "POST", path(ann, "/invitation"), body, token=token, peer=peer
            )
            assert (403, "local_only") == refused
            assert await sent(office, ann, token=token, peer=peer)


async def test_verified_address_comes_first(office: Office) -> None:
    """Of two addresses the mail goes to that which is known to be the user's."""
    ann = await office.make("ann", email="ann@example.org", email_verified=True)
    sql = "insert into identifiers (user_id, kind, value, display) values (?, 'email', ?, ?)"
    row = (ann["id"], "an@example.com", "an@example.com")
    await office.server.auth.database.write(Statement(sql, row))
    token = await sent(office, ann)
    [message] = await delivered(office.server)
    assert "ann@example.org" == message.to
    assert OK == told(await accept(office.server, token))
    assert [("an@example.com", False), ("ann@example.org", True)] == await found(office, ann)
    assert [] == office.server.events.of(IdentifierVerified)


async def test_refused(office: Office) -> None:
    """Without an address, disabled, gone; and by bodies that are none."""
    ann = await office.make("ann")
    place = path(ann, "/invitation")
    assert (409, "no_address") == await office.told("POST", place, {})
    assert (404, "not_found") == await office.told("POST", "/admin/users/nobody/invitation", {})
    for body in ({"link": 1}, {"link": "true"}, {"email": ADDRESS}, []):
        assert (400, "invalid_body") == await office.told("POST", place, body)
    await office.ask("POST", path(ann, "/disable"))
    assert (409, "user_disabled") == await office.told("POST", place, {"link": True})


async def test_no_mailer(tmp_path: Path) -> None:
    """Then there are links alone."""
    settings = 'plugins = ["pin", "admin"]'
    async with serving(tmp_path, settings, plugins=KINDS, ceremonies=CEREMONIES) as server:
        office = Office(server)
        ann = await office.make("ann", email=ADDRESS)
        assert (409, "no_mailer") == await office.told("POST", path(ann, "/invitation"), {})
        assert 201 == (await office.told("POST", path(ann, "/invitation"), {"link": True}))[0]


async def test_end(office: Office) -> None:
    """Good for a day, by the server's clock, and not a second more; going back helps (FT-1)."""
    ann = await office.make("ann", email=ADDRESS)
    token = await sent(office, ann)
    office.server.clock.advance(DAY)
    assert REFUSED == told(await accept(office.server, token))
    office.server.clock.advance(-1)
    assert OK == told(await accept(office.server, token))
    office.server.clock.advance(-DAY)
    assert REFUSED == told(await accept(office.server, token))


async def test_newer_voids_older(office: Office) -> None:
    """One invitation of a user is good (T-5)."""
    ann = await office.make("ann", email=ADDRESS)
    first, second, third = (
        await sent(office, ann),
        await shown(office, ann),
        await sent(office, ann),
    )
    assert REFUSED == told(await accept(office.server, first))
    assert REFUSED == told(await accept(office.server, second))
    assert OK == told(await accept(office.server, third))


async def test_bound_to_what_it_was_made_of(office: Office) -> None:
    """A change of the account, of its address, its end: nothing of before is good (T-4)."""

    async def readdressed(user: Any) -> None:
        await office.ask("PUT", path(user, "/email"), {"email": "new@example.com"})

    async def out_of_all(user: Any) -> None:
        await office.ask("DELETE", path(user, "/sessions"))

    async def disabled(user: Any) -> None:
        await office.ask("POST", path(user, "/disable"))
        await office.ask("POST", path(user, "/enable"))

    async def deleted(user: Any) -> None:
        await office.ask("DELETE", path(user))

    async def address_gone(user: Any) -> None:
        sql = "delete from identifiers where user_id = ? and kind = 'email'"
        await office.server.auth.database.write(Statement(sql, (user["id"],)))

    for number, change in enumerate((readdressed, out_of_all, disabled, deleted, address_gone)):
        user = await office.make(f"user{number}", email=f"user{number}@example.com")
        token = await sent(office, user)
        await change(user)
        assert REFUSED == told(await accept(office.server, token)), change


async def test_disabled_in_between(office: Office) -> None:
    """A user who is disabled after the first look is refused by the second one."""
    ann = await office.make("ann", email=ADDRESS)
    token = await sent(office, ann)
    sql = "update users set disabled_at = 1 where id = ?"
    await office.server.auth.database.write(Statement(sql, (ann["id"],)))
    assert REFUSED == told(await accept(office.server, token))


async def test_address_that_somebody_else_verified_meanwhile(office: Office) -> None:
    """One account has it: the invitation to the other one comes to nothing, whole."""
    ann = await office.make("ann", email=ADDRESS)
    token = await sent(office, ann)
    await office.make("bob", email=ADDRESS, email_verified=True)
    assert REFUSED == told(await accept(office.server, token))
    assert [] == await office.server.auth.sessions.list(ann["id"])
    assert [(ADDRESS, False)] == await found(office, ann)


async def test_second_factor_is_asked_for(office: Office) -> None:
    """It is a first proof like any other; the address is verified with it."""
    someone = await office.server.join("pin", "code", username="ann")
    await office.ask("PUT", path(someone, "/email"), {"email": ADDRESS})
    token = await sent(office, someone)
    answer = await accept(office.server, token)
    assert (401, "more_needed") == told(answer)
    assert ["code"] == answer.json()["next"]
    assert [] == await office.server.auth.sessions.list(someone.user.id)
    assert [(ADDRESS, True)] == await found(office, someone)
    assert 200 == (await someone.prove("code", answer.json()["flow"])).status_code
    assert REFUSED == told(await accept(office.server, token))


async def test_login_that_needs_an_address(tmp_path: Path) -> None:
    """Who was invited by mail has a verified one by that, before anybody asks."""
    settings = (
        'plugins = ["pin", "admin", "email", "captured-mail"]\n[email]\nrequire_verified = true'
    )
    async with serving(tmp_path, settings, plugins=KINDS, ceremonies=CEREMONIES) as server:
        office = Office(server)
        ann = await office.make("ann", email=ADDRESS)
        assert OK == told(await accept(server, await sent(office, ann)))


async def test_invitation_of_somebody_else(office: Office) -> None:
    """In a login, or a session, of another user it proves nothing, and verifies nothing."""
    ann = await office.make("ann", email=ADDRESS)
    token = await sent(office, ann)
    bob = await office.server.join("pin", "code", username="bob")
    flow = (await bob.prove("pin")).json()["flow"]
    answer = await accept(office.server, token, flow=flow, factor="invitation")
    assert REFUSED == told(answer)
    assert [(ADDRESS, False)] == await found(office, ann)
    assert OK == told(await accept(office.server, token))


class ClosedPlugin(Plugin[NoSettings]):
    """Lets nobody in."""

    @hookimpl
    async def check_login(self, login: Login) -> Problem | None:
        return Problem(403, "refused", "This was refused.")


async def test_other_plugins_are_asked(tmp_path: Path) -> None:
    """Whoever may refuse a login may refuse this one; the invitation stays good."""
    kinds = {**KINDS, "closed": ClosedPlugin}
    settings = 'plugins = ["pin", "admin", "closed"]'
    async with serving(tmp_path, settings, plugins=kinds, ceremonies=CEREMONIES) as server:
        office = Office(server)
        token = await code(server, (await office.make("ann"))["id"])
        for _ in range(2):
            assert (403, "refused") == told(await accept(server, token))


async def code(server: Server, user_id: str) -> str:
    user = await server.auth.users.require(user_id)
    made = await server.auth.plugin(AdminPlugin).invitations.show(user, Caller())
    return made.link.partition("=")[2]


@pytest.mark.parametrize("token", [None, 5, [], {}, True])
async def test_what_is_no_text(office: Office, token: Any) -> None:
    """The client erred."""
    body = {"factor": "invitation", "invitation": token}
    assert (400, "invalid_body") == told(await office.server.post("/auth/login", body))


async def test_tokens_of_other_purposes(office: Office) -> None:
    """A ticket of another purpose is none here, and this one is none elsewhere (T-1)."""
    ann = await office.make("ann", email=ADDRESS)
    tickets, end = office.server.auth.tickets, office.server.auth.now() + 60
    for purpose in ("reset", "magic-link", "login", "email"):
        data = {"epoch": 0, "address": ADDRESS}
        token, issuing = tickets.issue(purpose, data, expires_at=end, user_id=ann["id"])
        await office.server.auth.database.write(issuing)
        assert REFUSED == told(await accept(office.server, token))
    token, issuing = tickets.issue("invitation", {"epoch": 0, "address": None}, expires_at=end)
    await office.server.auth.database.write(issuing)
    assert REFUSED == told(await accept(office.server, token))
    answer = await accept(office.server, "x", flow=await code(office.server, ann["id"]))
    assert (401, "flow_ended") == told(answer)


async def test_fifty_at_once(office: Office) -> None:
    """One of them is let in (T-3)."""
    for number in range(4):
        user = await office.make(f"user{number}", email=f"user{number}@example.com")
        token = await sent(office, user)
        answers = await asyncio.gather(*(accept(office.server, token) for _ in range(50)))
        assert {OK: 1, REFUSED: 49} == Counter(map(told, answers))
        assert 1 == len(await office.server.auth.sessions.list(user["id"]))
    assert 4 == len(office.server.events.of(IdentifierVerified))


async def test_two_servers(tmp_path: Path) -> None:
    """On one file: one of fifty, whichever is asked, and each user is deleted once."""
    async with AsyncExitStack() as stack:
        servers = [
            await stack.enter_async_context(
                serving(tmp_path, SETTINGS, plugins=KINDS, ceremonies=CEREMONIES)
            )
            for _ in range(2)
        ]
        offices = [Office(server) for server in servers]
        users = [await offices[0].make(f"user{number}") for number in range(3)]
        for user in users:
            token = await shown(offices[1], user)
            answers = await asyncio.gather(*(accept(servers[n % 2], token) for n in range(50)))
            assert {OK: 1, REFUSED: 49} == Counter(map(told, answers))
        body = {"ids": [user["id"] for user in users]}
        asked = [offices[n % 2].ask("DELETE", "/admin/users", body) for n in range(20)]
        results = [r for a in await asyncio.gather(*asked) for r in a.json()["results"]]
        assert dict.fromkeys(body["ids"], 1) == Counter(r["id"] for r in results if r["deleted"])


async def test_invited_while_disabled(office: Office) -> None:
    """An invitation that is written after a disabling is good for nothing."""
    ann = await office.make("ann")
    user = await office.server.auth.users.require(ann["id"])
    await office.ask("POST", path(ann, "/disable"))
    made = await office.server.auth.plugin(AdminPlugin).invitations.show(user, Caller())
    token = made.link.partition("=")[2]
    assert REFUSED == told(await accept(office.server, token))
    await office.ask("POST", path(ann, "/enable"))
    assert REFUSED == told(await accept(office.server, token))


async def test_first_password(tmp_path: Path) -> None:
    """Who was invited sets a password, and logs in by it from then on."""
    settings = 'plugins = ["password", "admin"]\n[password]\nregister = false'
    async with serving(tmp_path, settings, plugins=KINDS) as server:
        office = Office(server)
        ann = await office.make("ann")
        answer = await office.ask("POST", path(ann, "/invitation"), {"link": True})
        tokens = (await accept(server, answer.json()["link"].partition("=")[2])).json()
        body = {"password": "correct horse battery staple"}
        changed = await server.send("PUT", "/auth/password", body, token=tokens["access_token"])
        assert 200 == changed.status_code, changed.text
        assert (await server.login("ann"))["access_token"]
        factors = (await office.get(path(ann, "/factors")))["factors"]
        assert ["password"] == [factor["factor"] for factor in factors]


def test_settings_of_a_page_that_is_none(tmp_path: Path) -> None:
    """A path, without what would hide the token."""
    from picoauth import Auth, ConfigError, parse

    Auth(parse('plugins = ["password", "admin"]\n[admin]\npage = "/welcome"', tmp_path))
    for page in ("https://example.com/", "login", "/login#x"):
        settings = f'plugins = ["password", "admin"]\n[admin]\npage = "{page}"'
        with pytest.raises(ConfigError, match='must be a path such as "/login/", without "#"'):
            Auth(parse(settings, tmp_path))


async def test_address_that_she_verified_at_the_same_time(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is hers, whoever came first: the invitation goes on."""
    ann = await office.make("ann", email=ADDRESS)
    token = await sent(office, ann)
    events = office.server.auth.events
    commit = events.commit

    async def second(event: Any, *statements: Statement, **more: Any) -> Any:
        replies = await commit(event, *statements, **more)
        if isinstance(event, IdentifierVerified):
            raise Conflict(0)
        return replies

    monkeypatch.setattr(events, "commit", second)
    assert OK == told(await accept(office.server, token))
    assert [(ADDRESS, True)] == await found(office, ann)
