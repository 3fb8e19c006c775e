"""Links on a whole server: who gets in by one, how often, and who does not."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest
from click.testing import CliRunner

from picoauth import (
    Caller,
    ConfigError,
    Denied,
    Factor,
    Login,
    NoSettings,
    Payload,
    Plugin,
    Problem,
    Proof,
    Situation,
    User,
    hookimpl,
)
from picoauth.cli import cli
from picoauth.testing import Ceremony, Clock, Server, Someone, serving
from picoauth.testing.contracts import FactorContract
from picoauth_one_time_link import OneTimeLinkPlugin

PAGE = "https://example.com/login"
SETTINGS = f"""
plugins = ["one-time-link", "pin"]

[one-time-link]
page = "{PAGE}"
"""


class PinFactor(Factor):
    """A second factor whose only pin is 1234."""

    name: ClassVar[str] = "pin"
    second: ClassVar[bool] = True

    async def verify(self, situation: Situation, payload: Payload) -> Proof:
        if situation.user is None or payload.get("pin") != "1234":
            raise Denied(self.refused)
        return Proof(user=situation.user, amr=("pin",))


class PinPlugin(Plugin[NoSettings]):
    """A second factor, and a rule that can close the house."""

    closed: ClassVar[bool] = False

    @hookimpl
    def factors(self) -> Sequence[Factor]:
        return [PinFactor()]

    @hookimpl
    async def check_login(self, login: Login) -> Problem | None:
        return Problem(403, "closed", "Come back tomorrow.") if self.closed else None


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    """A server that knows Ann, who has no password."""
    async with serving(tmp_path, SETTINGS, plugins={"pin": PinPlugin}) as running:
        await running.auth.users.register(running.auth.users.draft(username="ann"))
        yield running


async def user(server: Server, name: str = "ann") -> User:
    found = await server.auth.users.find("username", name)
    assert found is not None
    return found


async def made(server: Server, name: str = "ann") -> str:
    """The ticket of a new link."""
    link = await server.auth.plugin(OneTimeLinkPlugin).link(name)
    page, _, ticket = link.partition("#one-time-link=")
    assert PAGE == page
    return ticket


async def enrol(server: Server) -> None:
    """Give Ann a second factor. The plugins that bring one raise the epoch as well."""
    enrolment = server.auth.users.enrolment((await user(server)).id, "pin")
    await server.auth.database.write(server.auth.users.enrolling(enrolment))


async def follow(server: Server, ticket: Any, **more: Any) -> httpx.Response:
    """What the application's page sends."""
    return await server.post("/auth/login", {"one-time-link": ticket, **more})


def code_of(answer: httpx.Response) -> tuple[int, str | None]:
    return answer.status_code, answer.json().get("code")


REFUSED = (401, "proof_refused")
DONE = (200, None)


async def test_link_is_a_login(server: Server) -> None:
    """Whoever has the link is the user, and the token says by what."""
    answer = await follow(server, await made(server))
    assert DONE == code_of(answer)
    claims = await server.post("/jwt/validate", token=answer.json()["access_token"])
    assert ("ann", ["otp"]) == (claims.json()["preferred_username"], claims.json()["amr"])


async def test_factor_may_be_named(server: Server) -> None:
    """It need not be the first factor of the server."""
    ticket = await made(server)
    assert DONE == code_of(await follow(server, ticket, factor="one-time-link"))


async def test_single_use(server: Server) -> None:
    """A link that was used is refused, in the words of one that never was."""
    ticket = await made(server)
    await follow(server, ticket)
    again, never = await follow(server, ticket), await follow(server, "never")
    assert REFUSED == code_of(again) == code_of(never)
    known = ("request_id",)
    assert {n: v for n, v in never.json().items() if n not in known} == {
        n: v for n, v in again.json().items() if n not in known
    }


async def test_one_racer_wins(server: Server) -> None:
    """Of ten that come at once, one is let in."""
    ticket = await made(server)
    answers = await asyncio.gather(*(follow(server, ticket) for _ in range(10)))
    assert [DONE, *[REFUSED] * 9] == sorted(map(code_of, answers))
    assert 1 == len(await server.auth.sessions.list((await user(server)).id))


async def test_one_racer_wins_a_flow(server: Server) -> None:
    """With a second factor one of ten gets a flow: nobody else can go on beside the owner."""
    await enrol(server)
    ticket = await made(server)
    answers = await asyncio.gather(*(follow(server, ticket) for _ in range(10)))
    assert [(401, "more_needed"), *[REFUSED] * 9] == sorted(map(code_of, answers))


async def test_end(server: Server) -> None:
    """A link is good up to its end, and no longer."""
    ticket, late = await made(server), server.clock.time + 1800
    server.clock.time = late
    assert REFUSED == code_of(await follow(server, ticket))
    server.clock.time = late - 1
    assert DONE == code_of(await follow(server, ticket))


async def test_second_factor_is_asked_for(server: Server) -> None:
    """No line of the plugin says so: a link alone is no login for who has a second factor."""
    await enrol(server)
    answer = await follow(server, await made(server))
    assert ((401, "more_needed"), ["pin"]) == (code_of(answer), answer.json()["next"])
    step = {"factor": "pin", "flow": answer.json()["flow"], "pin": "1234"}
    done = await server.post("/auth/login", step)
    assert DONE == code_of(done)
    claims = await server.post("/jwt/validate", token=done.json()["access_token"])
    assert ["otp", "pin", "mfa"] == claims.json()["amr"]


@pytest.mark.parametrize("at_once", [True, False])
async def test_wrong_second_factor_keeps_the_proof(server: Server, at_once: bool) -> None:  # noqa: FBT001
    """A wrong pin costs a try of the flow; the link stays spent, and proven."""
    await enrol(server)
    ticket = await made(server)
    answer = await follow(server, ticket, **({"pin": "4321"} if at_once else {}))
    if not at_once:
        wrong = {"factor": "pin", "flow": answer.json()["flow"], "pin": "4321"}
        answer = await server.post("/auth/login", wrong)
    assert REFUSED == code_of(answer)
    assert REFUSED == code_of(await follow(server, ticket))
    right = {"factor": "pin", "flow": answer.json()["flow"], "pin": "1234"}
    assert DONE == code_of(await server.post("/auth/login", right))


async def test_both_at_once(server: Server) -> None:
    """A page that knows the second factor already sends it along."""
    await enrol(server)
    assert DONE == code_of(await follow(server, await made(server), pin="1234"))


async def test_refused_login_spends_nothing(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a rule refuses the login, the link is as good as before."""
    ticket = await made(server)
    monkeypatch.setattr(PinPlugin, "closed", True)
    assert (403, "closed") == code_of(await follow(server, ticket))
    monkeypatch.setattr(PinPlugin, "closed", False)
    assert DONE == code_of(await follow(server, ticket))


async def test_next_link_voids_the_last(server: Server) -> None:
    """Only the newest link of a user is good."""
    old, new = await made(server), await made(server)
    assert [REFUSED, DONE] == [code_of(await follow(server, one)) for one in (old, new)]


async def test_change_of_the_account_voids(server: Server) -> None:
    """Logging out everywhere raises the epoch, and a link made before is dead."""
    ticket = await made(server)
    await server.auth.accounts.logout_from_all((await user(server)).id, Caller())
    assert REFUSED == code_of(await follow(server, ticket))


async def test_disabled(server: Server) -> None:
    """A disabled user gets in by no link, old or new, nor by the old one once enabled."""
    ticket, ann = await made(server), await user(server)
    await server.auth.accounts.disable(ann.id, Caller())
    assert REFUSED == code_of(await follow(server, ticket))
    with pytest.raises(ConfigError) as refusal:
        await made(server)
    assert "ann is disabled: `picoauth users enable ann` comes first." == str(refusal.value)
    await server.auth.accounts.enable(ann.id, Caller())
    assert REFUSED == code_of(await follow(server, ticket))


async def test_deleted(server: Server) -> None:
    """A link goes with its user."""
    ticket = await made(server)
    await server.auth.accounts.delete((await user(server)).id, Caller())
    assert REFUSED == code_of(await follow(server, ticket))
    assert [(0,)] == await server.auth.database.read("select count(*) from tickets")


async def test_unknown_user(server: Server) -> None:
    """There is no link for nobody."""
    with pytest.raises(ConfigError) as refusal:
        await made(server, "bob")
    assert "There is no user 'bob': `picoauth users list` shows all." == str(refusal.value)


async def test_link_of_another(server: Server) -> None:
    """A session is proven afresh by a link of its own user alone; another's stays good."""
    token = (await follow(server, await made(server))).json()["access_token"]
    await server.auth.users.register(server.auth.users.draft(username="bob"))
    other, own = await made(server, "bob"), await made(server)
    body = {"factor": "one-time-link"}
    answer = await server.post("/auth/stepup", {**body, "one-time-link": other}, token=token)
    assert REFUSED == code_of(answer)
    answer = await server.post("/auth/stepup", {**body, "one-time-link": own}, token=token)
    assert DONE == code_of(answer)
    assert DONE == code_of(await follow(server, other))


async def test_ticket_of_another_purpose(server: Server) -> None:
    """The ticket of a flow is no link."""
    await enrol(server)
    flow = (await follow(server, await made(server))).json()["flow"]
    assert REFUSED == code_of(await follow(server, flow))


@pytest.mark.parametrize("ticket", [None, 1, ["x"]])
async def test_malformed(server: Server, ticket: Any) -> None:
    """What is no text is told, and is no try."""
    answer = await follow(server, ticket)
    assert (400, "one-time-link must be a text") == (answer.status_code, answer.json()["detail"])


async def test_events(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """The making, each login and each refusal are told, and no line has a ticket."""
    caplog.set_level(logging.INFO, "picoauth.events")
    ticket = await made(server)
    await follow(server, ticket)
    await follow(server, ticket)
    names = [record.getMessage().split('"')[3] for record in caplog.records]
    assert ["OneTimeLinkMade", "LoginCompleted", "LoginFailed"] == names
    assert ticket not in caplog.text
    assert ticket.encode() not in b"".join(p.read_bytes() for p in server.folder.glob("*.db*"))


class LinkCeremony(Ceremony):
    """Everybody may be handed a link; who is gone still has the last one."""

    async def enrol(self, someone: Someone) -> None:
        someone.notes["ticket"] = await made(self.server, someone.username)

    async def answer(self, someone: Someone, challenge: Mapping[str, Any]) -> Payload:
        with suppress(ConfigError):
            someone.notes["ticket"] = await made(self.server, someone.username)
        return {"one-time-link": someone.notes["ticket"]}

    async def wrong(self, someone: Someone, challenge: Mapping[str, Any]) -> Payload:
        return {"one-time-link": "kCsXTqVjJQJ5xGbSxdxMYJ0Xq1Vd0lGZyn2mVYh7iP8"}


class PinCeremony(Ceremony):
    """Everybody has the one pin."""

    async def enrol(self, someone: Someone) -> None:
        await someone.enrolment("pin")

    async def answer(self, someone: Someone, challenge: Mapping[str, Any]) -> Payload:
        return {"pin": "1234"}

    async def wrong(self, someone: Someone, challenge: Mapping[str, Any]) -> Payload:
        return {"pin": "4321"}


class TestContract(FactorContract):
    """What every factor keeps to, tried by the kit."""

    factor = "one-time-link"
    single_use = True
    guessable = False

    @pytest.fixture
    def picoauth_settings(self) -> str:
        return SETTINGS

    @pytest.fixture
    def picoauth_plugins(self) -> Mapping[str, type[Plugin[Any]]]:
        return {"pin": PinPlugin}

    @pytest.fixture
    def picoauth_ceremonies(self) -> Mapping[str, type[Ceremony]]:
        return {"one-time-link": LinkCeremony, "pin": PinCeremony}


async def test_command(tmp_path: Path) -> None:
    """The command prints a link, which a server on the same file takes, by any of the names."""
    settings = SETTINGS.replace(', "pin"', "")
    path = tmp_path / "picoauth.toml"
    path.write_text(settings, encoding="utf-8")

    def picoauth(*arguments: str) -> str:
        done = CliRunner().invoke(cli, ["--config", str(path), *arguments])
        assert 0 == done.exit_code, done.output
        return done.stdout

    made = await asyncio.to_thread(picoauth, "users", "create", "ann", "--json")
    id_ = made.split('"')[3]
    async with serving(tmp_path, settings, clock=Clock(time.time())) as server:
        for name in ("ann", "Ann", id_):
            link = await asyncio.to_thread(picoauth, "one-time-link", "make", name)
            ticket = link.strip().removeprefix(f"{PAGE}#one-time-link=")
            assert DONE == code_of(await follow(server, ticket))


@pytest.mark.parametrize(
    ("page", "wrong"),
    [
        ("http://example.com/login", "must be an address such as https://example.com/login"),
        ("example.com/login", "must be an address such as https://example.com/login"),
        (f"{PAGE}#here", "must have no fragment, which is where the ticket goes"),
    ],
)
async def test_page_that_is_refused(tmp_path: Path, page: str, wrong: str) -> None:
    """A ticket never travels in clear, nor beside another fragment."""
    with pytest.raises(ConfigError) as refusal:
        async with serving(tmp_path, SETTINGS.replace(PAGE, page), plugins={"pin": PinPlugin}):
            raise AssertionError
    assert f"[one-time-link].page: {wrong}." == str(refusal.value)


async def test_page_on_loopback(tmp_path: Path) -> None:
    """Whoever develops a page has no certificate."""
    settings = SETTINGS.replace(PAGE, "http://localhost:3000/login")
    async with serving(tmp_path, settings, plugins={"pin": PinPlugin}) as server:
        await server.auth.users.register(server.auth.users.draft(username="ann"))
        link = await server.auth.plugin(OneTimeLinkPlugin).link("ann")
    assert link.startswith("http://localhost:3000/login#one-time-link=")
