"""Each hook, used by a plugin: one test named after each, as an example for who writes another."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
from click.testing import CliRunner

from picoauth import (
    Addition,
    Attempt,
    Auth,
    AuthError,
    Check,
    Database,
    Draft,
    EdgeReply,
    EdgeRequest,
    EdgeRoute,
    Embedded,
    Event,
    Factor,
    Guard,
    Job,
    KeptSessions,
    Limiter,
    Login,
    LoginCompleted,
    Mailer,
    Message,
    NoSettings,
    Payload,
    Plugin,
    Problem,
    Proof,
    Reply,
    Request,
    Route,
    Row,
    Sender,
    Session,
    SessionStore,
    Situation,
    Statement,
    User,
    UserRegistered,
    described,
    hookimpl,
    hookspec,
    problems,
)
from picoauth.cli import cli
from picoauth.overrides import specs
from picoauth.testing import Server, serving
from tests.distributions import distributing
from tests.factors import PIN, PinPlugin, code_of, join, step
from tests.keepers import Shelf
from tests.plugs import Kind, settings_of

CLOSED = Problem(403, "closed", "This is closed today.")


def running(
    folder: Path, kinds: Mapping[str, Kind], more: str = ""
) -> AbstractAsyncContextManager[Server]:
    """A server with pins and with these plugins."""
    everything: dict[str, Kind] = {"pin": PinPlugin, **kinds}
    return serving(folder, settings_of(list(everything), more), plugins=everything)


async def logged_in(server: Server) -> dict[str, Any]:
    await join(server)
    answer = await step(server, **PIN)
    assert 200 == answer.status_code, answer.text
    tokens: dict[str, Any] = answer.json()
    return tokens


class ElsewherePlugin(Plugin[NoSettings]):
    """Takes addresses that begin with `elsewhere:`."""

    @hookimpl
    def database(self, url: str) -> Database | None:
        scheme, _, name = url.partition("://")
        return Embedded(self.auth.config.base / name) if scheme == "elsewhere" else None


@pytest.mark.embedded
async def test_hook_database(tmp_path: Path) -> None:
    """A plugin opens the addresses that are its own, and leaves the rest to the embedded engine."""
    kinds: dict[str, Kind] = {"elsewhere": ElsewherePlugin}
    secret = tmp_path / "picoauth.secret"
    secret.touch(0o600)
    secret.write_bytes(base64.b64encode(os.urandom(33)))
    async with running(tmp_path, kinds, 'database = "elsewhere://there.db"') as server:
        assert await logged_in(server)
    assert [True, False] == [(tmp_path / name).exists() for name in ("there.db", "picoauth.db")]
    async with running(tmp_path, kinds) as server:
        assert await logged_in(server)
    assert (tmp_path / "picoauth.db").exists()


class MemoryPlugin(Plugin[NoSettings]):
    """Occupies the slot `sessions`."""

    @hookimpl
    def sessions(self) -> SessionStore:
        return KeptSessions(self.auth, Shelf())


async def test_hook_sessions(tmp_path: Path) -> None:
    """Sessions live where a plugin keeps them: made, rotated and ended there."""
    async with running(tmp_path, {"memory": MemoryPlugin}) as server:
        tokens = await logged_in(server)
        store = server.auth.sessions
        assert isinstance(store, KeptSessions)
        assert isinstance(store.keeper, Shelf)
        known = store.keeper.known
        assert 1 == len(known)
        assert [] == await server.auth.database.read("select * from sessions")
        server.clock.advance(60)
        refreshed = await server.client.post("/jwt/refresh", content=tokens["refresh_token"])
        assert 200 == refreshed.status_code
        assert [1] == [session.generation for session in known.values()]
        token = refreshed.json()["access_token"]
        assert 204 == (await server.post("/auth/logout", token=token)).status_code
        assert {} == known


HELLO = Message(id="1", to="ann@example.com", subject="Hello", text="You are in.", expires_at=0)


class Drawer:
    """Mail that nobody sends."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    async def send(self, message: Message) -> None:
        self.messages.append(message)


class DrawerPlugin(Plugin[NoSettings]):
    """Occupies the slot `mailer`."""

    @hookimpl
    def mailer(self) -> Mailer:
        return Drawer()


class GreetingPlugin(Plugin[NoSettings]):
    """Mails through whatever plugin delivers mail."""

    needs: ClassVar[Sequence[str]] = ("mailer",)

    @hookimpl
    async def on(self, event: Event) -> None:
        mailer = self.auth.mailer
        if isinstance(event, UserRegistered) and mailer is not None:
            await mailer.send(HELLO)


async def test_hook_mailer(tmp_path: Path) -> None:
    """One plugin delivers mail, another one needs that some plugin does."""
    async with running(tmp_path, {"greeting": GreetingPlugin, "drawer": DrawerPlugin}) as server:
        await join(server)
        await server.auth.events.settle()
        drawer = server.auth.mailer
        assert isinstance(drawer, Drawer)
        assert [HELLO] == drawer.messages


class ByAddress:
    """Lets an address ask twice, and leaves accounts to the default."""

    def __init__(self, default: Callable[[], Limiter]) -> None:
        self.default = default
        self.asked: dict[str | None, int] = {}

    async def attempt(self, attempt: Attempt, *look: Statement) -> list[list[Row]]:
        found = await self.default().attempt(attempt, *look)
        if attempt.factor is None:
            self.asked[attempt.address] = self.asked.get(attempt.address, 0) + 1
            if self.asked[attempt.address] > 2:
                raise AuthError(problems.TOO_MANY_ATTEMPTS, headers={"Retry-After": "1"})
        return found

    def succeeded(self, attempt: Attempt) -> Sequence[Statement]:
        return self.default().succeeded(attempt)

    def withdrawn(self, attempt: Attempt) -> Sequence[Statement]:
        return self.default().withdrawn(attempt)


class ByAddressPlugin(Plugin[NoSettings]):
    """Occupies the slot `limiter`."""

    @hookimpl
    def limiter(self) -> Limiter:
        return ByAddress(lambda: self.auth.default_limiter)


async def test_hook_limiter(tmp_path: Path) -> None:
    """A plugin looks at addresses, and asks the default about accounts."""
    async with running(tmp_path, {"by-address": ByAddressPlugin}) as server:
        await logged_in(server)
        assert 200 == (await server.get("/health-check")).status_code
        assert (429, "too_many_attempts") == code_of(await server.get("/health-check"))


class NotesPlugin(Plugin[NoSettings]):
    """Keeps a note for each user."""

    @hookimpl
    def migrations(self) -> Sequence[str]:
        return [
            """
            create table notes (
                user_id text primary key references users(id) on delete cascade,
                note text not null
            )
            """,
            "alter table notes add column color text",
        ]


async def test_hook_migrations(tmp_path: Path) -> None:
    """A plugin's tables are made at the start, once, and a user's rows go with the user."""
    for _ in range(2):
        async with running(tmp_path, {"notes": NotesPlugin}) as server:
            applied = await server.auth.migrate()
            assert [] == list(applied["notes"])
    async with running(tmp_path, {"notes": NotesPlugin}) as server:
        tokens, database = await logged_in(server), server.auth.database
        sql = "insert into notes select id, 'hello', 'red' from users"
        await database.write(Statement(sql, rows=1))
        assert (
            204
            == (await server.send("DELETE", "/auth/me", token=tokens["access_token"])).status_code
        )
        assert [] == await database.read("select * from notes")


class Badge(Factor):
    """A badge that is shown at the door."""

    name: ClassVar[str] = "badge"
    starts: ClassVar[bool] = True

    def __init__(self, auth: Auth) -> None:
        self.auth = auth

    async def verify(self, situation: Situation, payload: Payload) -> Proof:
        user = await self.auth.users.find("username", str(payload.get("badge")))
        if user is None:
            raise AuthError(self.refused)
        return Proof(user=user, amr=("hwk",))


class BadgePlugin(Plugin[NoSettings]):
    """Lets users in by their badges."""

    @hookimpl
    def factors(self) -> Sequence[Factor]:
        return [Badge(self.auth)]


async def test_hook_factors(tmp_path: Path) -> None:
    """A factor is one more way to log in, under its own name."""
    async with running(tmp_path, {"badge": BadgePlugin}) as server:
        await join(server)
        answer = await step(server, factor="badge", badge="ann")
        assert 200 == answer.status_code
        claims = await server.post("/jwt/validate", token=answer.json()["access_token"])
        assert ["hwk"] == claims.json()["amr"]
        assert (401, "proof_refused") == code_of(await step(server, factor="badge", badge="bob"))


@dataclass(frozen=True)
class Greeting:
    """A body."""

    word: str = described("What to say.", least=1, most=10)


class HelloPlugin(Plugin[NoSettings]):
    """Says hello to who is logged in."""

    @hookimpl
    def routes(self) -> Sequence[Route]:
        hello = Route(
            method="POST", path="/hello/{name}", handler=self.hello, policy="session", body=Greeting
        )
        return [hello]

    async def hello(self, request: Request) -> Reply:
        user = await self.auth.users.require(request.access.user_id)
        return Reply({"says": f"{request.body.word} {request.path['name']}, I am {user.name}"})


async def test_hook_routes(tmp_path: Path) -> None:
    """A route gets its body as the type that it names, and whom its policy let in."""
    async with running(tmp_path, {"hello": HelloPlugin}) as server:
        token = (await logged_in(server))["access_token"]
        answer = await server.post("/hello/bob", {"word": "Hi"}, token=token)
        assert (200, {"says": "Hi bob, I am ann"}) == (answer.status_code, answer.json())
        assert (401, "token_missing") == code_of(await server.post("/hello/bob", {"word": "Hi"}))
        refused = await server.post("/hello/bob", {"word": ""}, token=token)
        assert (400, "invalid_body") == code_of(refused)


class GatePlugin(Plugin[NoSettings]):
    """Tells a reverse proxy whose request it is."""

    @hookimpl
    def edge(self) -> Sequence[EdgeRoute]:
        return [EdgeRoute(method="GET", path="/gate", handler=self.gate)]

    async def gate(self, request: EdgeRequest) -> EdgeReply:
        token = request.headers.get(b"authorization", b"").decode().removeprefix("Bearer ")
        access = self.auth.tokens.check(token)
        return EdgeReply(b"", 204, ((b"x-user", access.user_id.encode()),))


async def test_hook_edge(tmp_path: Path) -> None:
    """A path that is asked on every request is answered at once, from the token alone."""
    async with running(tmp_path, {"gate": GatePlugin}) as server:
        tokens = await logged_in(server)
        answer = await server.get("/gate", token=tokens["access_token"])
        user = await server.auth.users.find("username", "ann")
        assert user is not None
        assert (204, user.id) == (answer.status_code, answer.headers["x-user"])
        assert (401, "invalid_token") == code_of(await server.get("/gate", token="x"))


COUNTING = """
import asyncio
import click
from picoauth import NoSettings, Plugin, hookimpl

class Made(Plugin[NoSettings]):
    @hookimpl
    def commands(self):
        @click.command()
        def count():
            async def work():
                async with self.auth.started():
                    return await self.auth.database.read("select count(*) from users")
            click.echo(f"{asyncio.run(work())[0][0]} users")
        return [count]
"""


def test_hook_commands(tmp_path: Path) -> None:
    """A plugin's commands stand under its name, and work with the same database."""
    settings = tmp_path / "picoauth.toml"
    settings.write_text(settings_of(["counting"]), encoding="utf-8")
    with distributing(tmp_path) as distributions:
        distributions.add("picoauth-counting", "counting", COUNTING)
        done = CliRunner().invoke(cli, ["--config", str(settings), "counting", "count"])
    assert (0, "0 users\n") == (done.exit_code, done.output)


class ClubPlugin(Plugin[NoSettings]):
    """Lets members in, who are those with a password of the day."""

    @hookimpl
    def guards(self) -> Mapping[str, Guard]:
        return {"member": self.member}

    @hookimpl
    def routes(self) -> Sequence[Route]:
        return [Route(method="GET", path="/club", handler=self.club, policy="member")]

    async def member(self, request: Request) -> str | None:
        return "a member" if request.headers.get("x-word") == "swordfish" else None

    async def club(self, request: Request) -> Reply:
        return Reply({"you": request.principal})


async def test_hook_guards(tmp_path: Path) -> None:
    """A plugin's policy lets in whom its guard answers something about."""
    async with running(tmp_path, {"club": ClubPlugin}) as server:
        answer = await server.client.get("/club", headers={"X-Word": "swordfish"})
        assert (200, {"you": "a member"}) == (answer.status_code, answer.json())
        assert (403, "forbidden") == code_of(await server.get("/club"))


class BatteryPlugin(Plugin[NoSettings]):
    """Looks after a battery."""

    level = 80

    @hookimpl
    def checks(self) -> Sequence[Check]:
        return [Check("battery", self.charged)]

    async def charged(self) -> str | None:
        return None if self.level > 20 else "The battery is nearly empty: charge it."


async def test_hook_checks(tmp_path: Path) -> None:
    """What a plugin finds wrong is what the health check says."""
    async with running(tmp_path, {"battery": BatteryPlugin}) as server:
        assert {} == (await server.get("/health-check")).json()["problems"]
        battery = server.auth.plugins.on["battery"]
        assert isinstance(battery, BatteryPlugin)
        battery.level = 10
        said = {"battery": "The battery is nearly empty: charge it."}
        assert said == (await server.get("/health-check")).json()["problems"]
        failing = await server.client.get("/health-check", params={"check": "battery"})
        assert 503 == failing.status_code


class ClockPlugin(Plugin[NoSettings]):
    """Ticks each minute."""

    def __init__(self, auth: Auth, name: str, settings: NoSettings) -> None:
        super().__init__(auth, name, settings)
        self.ticks = 0

    @hookimpl
    def jobs(self) -> Sequence[Job]:
        return [Job("tick", 60, self.tick)]

    async def tick(self) -> None:
        self.ticks += 1


async def test_hook_jobs(tmp_path: Path) -> None:
    """A job runs when it is due, whoever looks, and no earlier."""
    async with running(tmp_path, {"clock": ClockPlugin}) as server:
        clock = server.auth.plugins.on["clock"]
        assert isinstance(clock, ClockPlugin)
        for passed, ticks in ((0, 1), (30, 1), (31, 2)):
            server.clock.advance(passed)
            await server.auth.jobs.once()
            assert ticks == clock.ticks


class PigeonPlugin(Plugin[NoSettings]):
    """Sends by pigeon."""

    def __init__(self, auth: Auth, name: str, settings: NoSettings) -> None:
        super().__init__(auth, name, settings)
        self.sent: list[bytes] = []

    @hookimpl
    def senders(self) -> Mapping[str, Sender]:
        return {"pigeon": self.send}

    async def send(self, payload: bytes) -> None:
        self.sent.append(payload)


async def test_hook_senders(tmp_path: Path) -> None:
    """What can be sent is found by its kind."""
    async with running(tmp_path, {"pigeon": PigeonPlugin}) as server:
        await server.auth.senders["pigeon"](b"hello")
        pigeon = server.auth.plugins.on["pigeon"]
        assert isinstance(pigeon, PigeonPlugin)
        assert [b"hello"] == pigeon.sent


def lasting(log: list[str]) -> Kind:
    """A plugin that notes when it is entered and left."""

    class LastingPlugin(Plugin[NoSettings]):
        """Has something open while the server runs."""

        @hookimpl
        def lifespan(self) -> AbstractAsyncContextManager[None]:
            @asynccontextmanager
            async def opened() -> AsyncIterator[None]:
                log.append(f"{self.name} opens")
                yield
                log.append(f"{self.name} closes")

            return opened()

    return LastingPlugin


async def test_hook_lifespan(tmp_path: Path) -> None:
    """What plugins have open is entered in order, and left in reverse."""
    log: list[str] = []
    async with running(tmp_path, {"one": lasting(log), "two": lasting(log)}):
        assert ["one opens", "two opens"] == log
    assert ["one opens", "two opens", "two closes", "one closes"] == log


class GuestListPlugin(Plugin[NoSettings]):
    """Knows who may come."""

    @hookimpl
    async def check_registration(self, draft: Draft) -> Problem | None:
        known = any(identifier.value == "ann" for identifier in draft.identifiers)
        return None if known else CLOSED


async def test_hook_check_registration(tmp_path: Path) -> None:
    """A plugin sees who is about to be made, and may keep it from happening."""
    async with running(tmp_path, {"guest-list": GuestListPlugin}) as server:
        assert "ann" == (await join(server, "ann")).name
        with pytest.raises(AuthError) as refused:
            await join(server, "bob")
        assert CLOSED == refused.value.problem
        assert await server.auth.users.find("username", "bob") is None


class HoursPlugin(Plugin[NoSettings]):
    """Opens in the morning."""

    @hookimpl
    async def check_login(self, login: Login) -> Problem | None:
        hour = self.auth.now() % 86400 // 3600
        return None if hour < 12 or login.user.name == "caretaker" else CLOSED


async def test_hook_check_login(tmp_path: Path) -> None:
    """A plugin sees a login whose factors all passed, and may keep it from happening."""
    async with running(tmp_path, {"hours": HoursPlugin}) as server:
        await join(server)
        await join(server, "caretaker")
        assert 8 == server.auth.now() % 86400 // 3600
        assert 200 == (await step(server, **PIN)).status_code
        server.clock.advance(6 * 3600)
        assert (403, "closed") == code_of(await step(server, **PIN))
        care = await step(server, **{**PIN, "username": "caretaker"})
        assert 200 == care.status_code


class RolesPlugin(Plugin[NoSettings]):
    """Says what a user is."""

    @hookimpl
    async def claims(self, user: User, session: Session) -> Mapping[str, Any]:
        return {"roles": [f"friend of {user.name}"], "since": session.created_at}


async def test_hook_claims(tmp_path: Path) -> None:
    """What a plugin says of a user is in each access token, refreshed ones too."""
    async with running(tmp_path, {"roles": RolesPlugin}) as server:
        tokens, made_at = await logged_in(server), server.auth.now()
        server.clock.advance(60)
        refreshed = await server.client.post("/jwt/refresh", content=tokens["refresh_token"])
        for token in (tokens["access_token"], refreshed.json()["access_token"]):
            claims = (await server.post("/jwt/validate", token=token)).json()
            assert (["friend of ann"], made_at) == (claims["roles"], claims["since"])


class AuditPlugin(Plugin[NoSettings]):
    """Writes down every login, in the same breath."""

    @hookimpl
    def migrations(self) -> Sequence[str]:
        return ["create table notebook (at integer not null, session_id text not null)"]

    @hookimpl
    def record(self, event: Event) -> Addition | None:
        if not isinstance(event, LoginCompleted):
            return None
        row = Statement("insert into notebook values (?, ?)", (event.at, event.session_id))
        return Addition([row], {"noted_at": event.at})


async def test_hook_record(tmp_path: Path) -> None:
    """What a plugin adds holds exactly when the change does, and its reply is in the answer."""
    async with running(tmp_path, {"notebook": AuditPlugin}) as server:
        tokens, now = await logged_in(server), server.auth.now()
        assert {"noted_at": now} == tokens["notebook"]
        rows = await server.auth.database.read("select at, session_id from notebook")
        [session] = await server.auth.database.read("select created_at, id from sessions")
        assert [session] == rows
        await step(server, **{**PIN, "pin": "wrong"})
        assert rows == await server.auth.database.read("select at, session_id from notebook")


def noting(log: list[str], done: asyncio.Event) -> Kind:
    """A plugin that is told of what happens."""

    class NotingPlugin(Plugin[NoSettings]):
        """Takes note of logins."""

        @hookimpl
        async def on(self, event: Event) -> None:
            log.append(type(event).__name__)
            if isinstance(event, LoginCompleted):
                found = await self.auth.database.read("select id from sessions")
                assert [(event.session_id,)] == found
                done.set()

    return NotingPlugin


async def test_hook_on(tmp_path: Path) -> None:
    """A plugin is told what happened, after it is committed."""
    log: list[str] = []
    done = asyncio.Event()
    async with running(tmp_path, {"noting": noting(log, done)}) as server:
        await logged_in(server)
        await asyncio.wait_for(done.wait(), 30)
    assert ["SigningKeyAdded", "UserRegistered", "LoginCompleted"] == log


class AlbumPlugin(Plugin[NoSettings]):
    """Keeps pictures."""

    @hookimpl
    async def export(self, user: User) -> Mapping[str, Any]:
        return {"pictures": [f"{user.name}.png"]}


async def test_hook_export(tmp_path: Path) -> None:
    """Each plugin says all that it knows of a user."""
    async with running(tmp_path, {"album": AlbumPlugin}) as server:
        user, plugins = await join(server), server.auth.plugins
        known = {
            name: await plugins.answer(name, "export", function, user=user)
            for name, function in plugins.implementations("export")
        }
        assert {"album": {"pictures": ["ann.png"]}} == known


class WordHooks:
    """Hooks that a plugin offers to others."""

    @hookspec
    async def check_word(self, word: str, language: str) -> Problem | None:
        """Answer a problem to refuse a word."""

    @hookspec
    def languages(self) -> Sequence[str]:
        """Languages that are spoken."""
        return ()


class WordsPlugin(Plugin[NoSettings]):
    """Takes words that no other plugin refuses."""

    hooks: ClassVar[type | None] = WordHooks

    async def say(self, word: str) -> list[str]:
        await self.auth.ask("check_word", word=word, language="en")
        return self.auth.plugins.flat("languages")


class PolitePlugin(Plugin[NoSettings]):
    """Refuses a word; takes only the arguments that it needs."""

    requires: ClassVar[Sequence[str]] = ("words",)

    @hookimpl
    async def check_word(self, word: str) -> Problem | None:
        return CLOSED if word == "damn" else None

    @hookimpl
    def languages(self) -> Sequence[str]:
        return ["en", "de"]


async def test_hooks_of_a_plugin(tmp_path: Path) -> None:
    """A plugin offers hooks to others, in whatever order they are listed."""
    async with running(tmp_path, {"polite": PolitePlugin, "words": WordsPlugin}) as server:
        words = server.auth.plugins.on["words"]
        assert isinstance(words, WordsPlugin)
        assert ["en", "de"] == await words.say("hello")
        with pytest.raises(AuthError) as refused:
            await words.say("damn")
        assert CLOSED == refused.value.problem


class DefaultPlugin(Plugin[NoSettings]):
    """Arguments with a default are given, too."""

    @hookimpl
    async def check_login(self, login: Login | None = None, **_: Any) -> Problem | None:
        return CLOSED if login is not None and login.user.name == "ann" else None


async def test_arguments_with_a_default(tmp_path: Path) -> None:
    """An argument that has a default is not left out."""
    async with running(tmp_path, {"default": DefaultPlugin}) as server:
        await join(server)
        assert (403, "closed") == code_of(await step(server, **PIN))


@dataclass(frozen=True)
class Tuned:
    """Settings of a plugin."""

    volume: int = described("How loud.", default=3)


class RadioPlugin(Plugin[Tuned]):
    """Has settings."""


class LoudPlugin(RadioPlugin):
    """Inherits them."""


class Tunable(dict[str, int], Plugin[Tuned]):
    """Has another base with type arguments."""


def test_settings_are_a_type() -> None:
    """The schema of a plugin's table is its type argument, its own or inherited."""
    assert [Tuned, Tuned, Tuned, NoSettings, NoSettings] == [
        kind.settings_type() for kind in (RadioPlugin, LoudPlugin, Tunable, GatePlugin, Plugin)
    ]


async def test_settings_reach_the_plugin(tmp_path: Path) -> None:
    """A plugin has its name, its settings and the kernel at hand."""
    async with running(tmp_path, {"radio": LoudPlugin}, "[radio]\nvolume = 11") as server:
        radio = server.auth.plugins.on["radio"]
        assert ("radio", Tuned(11), server.auth) == (radio.name, radio.settings, radio.auth)


@pytest.mark.parametrize("name", sorted(specs(Plugin)))
async def test_every_hook_can_be_extended(name: str) -> None:
    """A subclass may call what it overrides: the base answers nothing."""
    arguments: dict[str, dict[str, Any]] = {
        "database": {"url": ""},
        "check_registration": {"draft": None},
        "check_login": {"login": None},
        "claims": {"user": None, "session": None},
        "record": {"event": None},
        "on": {"event": None},
        "export": {"user": None},
    }
    plugin: Any = Plugin(None, "plain", NoSettings())  # type: ignore[arg-type]
    answer = getattr(plugin, name)(**arguments.get(name, {}))
    assert (await answer if asyncio.iscoroutine(answer) else answer) in ((), {}, None)
