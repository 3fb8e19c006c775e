"""The object that plugins hold: its parts, the plugins that find each other, and its start."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import pytest

from picoauth import (
    Auth,
    ConfigError,
    Denied,
    Event,
    Login,
    Mailer,
    Message,
    NoSettings,
    Plugin,
    Session,
    Statement,
    Unavailable,
    User,
    hookimpl,
    parse,
)
from picoauth.database import values_of
from picoauth.keyring import Keyring
from picoauth.testing import Clock, Server, offer, serving
from tests.accounts import KINDS, SETTINGS, accounts, login, user_id
from tests.factors import PIN, code_of, join, step
from tests.storage import exactly, until

Kind = type[Plugin[Any]]
FACTORS = values_of("enrolments", "factor")


def auth(folder: Path, settings: str = 'plugins = ["pin"]', **kinds: Kind) -> Auth:
    found = [offer(name, kind) for name, kind in {**KINDS, **kinds}.items()]
    return Auth(parse(settings, folder), clock=Clock(), monotonic=Clock(), found=found)


@asynccontextmanager
async def made(folder: Path, settings: str, **kinds: Kind) -> AsyncIterator[Auth]:
    """An `Auth` that was put together, and not started."""
    found = auth(folder, settings, **kinds)
    yield found
    await found.database.close()


@runtime_checkable
class Greeter(Protocol):
    """What one plugin needs of another."""

    def greet(self, name: str) -> str: ...


class English(Plugin[NoSettings]):
    """Greets in English."""

    def greet(self, name: str) -> str:
        return f"Hello {name}"


class German(Plugin[NoSettings]):
    """Greets in German."""

    def greet(self, name: str) -> str:
        return f"Hallo {name}"


async def test_plugin_is_found_by_what_it_can(tmp_path: Path) -> None:
    """A plugin hands another one over by the protocol that it satisfies."""
    settings = 'plugins = ["pin", "english"]'
    async with made(tmp_path, settings, english=English, german=German) as found:
        greeter = found.plugin(Greeter)  # type: ignore[type-abstract]
        assert "Hello Ann" == greeter.greet("Ann")
        assert isinstance(greeter, English)


@pytest.mark.parametrize(("listed", "count"), [('"pin"', 0), ('"pin", "english", "german"', 2)])
async def test_plugin_that_is_not_one(tmp_path: Path, listed: str, count: int) -> None:
    """None, or more than one, that satisfies the protocol is a sentence for the operator."""
    settings = f"plugins = [{listed}]"
    async with made(tmp_path, settings, english=English, german=German) as found:
        with pytest.raises(ConfigError, match=f"^{count} listed plugins offer Greeter: list one.$"):
            found.plugin(Greeter)  # type: ignore[type-abstract]


def needing(*slots: str) -> Kind:
    class Needing(Plugin[NoSettings]):
        """Needs slots."""

        needs: ClassVar[Sequence[str]] = slots

    return Needing


class Post(Plugin[NoSettings]):
    """Delivers mail to nobody."""

    @hookimpl
    def mailer(self) -> Mailer:
        return self

    async def send(self, message: Message) -> None:
        raise NotImplementedError


async def test_slots_that_are_filled(tmp_path: Path) -> None:
    """Three slots are never empty; a mailer is there once any plugin brings one."""
    always = needing("database", "sessions", "limiter")
    async with made(tmp_path, 'plugins = ["pin", "needing"]', needing=always) as found:
        assert found.mailer is None
    settings = 'plugins = ["pin", "needing", "post"]'
    async with made(tmp_path, settings, needing=needing("mailer"), post=Post) as found:
        assert isinstance(found.mailer, Post)


@pytest.mark.parametrize(
    ("slot", "known"), [("mailer", ""), ("mialer", " (there is no such slot)")]
)
def test_slot_that_is_empty(tmp_path: Path, slot: str, known: str) -> None:
    """A plugin that needs what nobody brings is named, with what it needs."""
    sentence = (
        f"plugin needing (picoauth-needing 0.1.0) needs the slot {slot}{known}, "
        "which no listed plugin fills: list one that does."
    )
    with pytest.raises(ConfigError, match=exactly(sentence)):
        auth(tmp_path, 'plugins = ["pin", "needing"]', needing=needing(slot))


def test_database_that_nobody_speaks_to(tmp_path: Path) -> None:
    """An address that no plugin takes is no name of a file; told without what may be a password."""
    (tmp_path / "picoauth.secret").write_text("sPZ2xZIn7tUtcJzU6wKb8mUUnXzM1R2EyzMzjZ2u0nQd")
    (tmp_path / "picoauth.secret").chmod(0o600)
    sentence = "database: no plugin that is listed speaks redis: list one, or name a file."
    with pytest.raises(ConfigError, match=exactly(sentence)):
        auth(tmp_path, 'plugins = ["pin"]\ndatabase = "redis://me:secret@localhost"')


async def test_enrolled_factor_without_its_plugin(tmp_path: Path) -> None:
    """Switching a plugin off must not switch second factors off: the server does not start."""
    async with accounts(tmp_path) as server:
        ann = await user_id(server)
        for name in ("key", "code"):
            enrolment = server.auth.users.enrolment(ann, name)
            await server.auth.database.write(server.auth.users.enrolling(enrolment))
    sentence = (
        "Users have enrolled the factor {0}, but no listed plugin offers it: "
        'list its plugin again, or put "{0}" into `ignore_factors`.'
    )
    for ignored, missing in (("", ["code", "key"]), ('"key"', ["code"])):
        settings = f'plugins = ["pin"]\nignore_factors = [{ignored}]'
        with pytest.raises(ConfigError) as refusal:
            async with serving(tmp_path, settings, plugins=KINDS):
                pass
        assert [sentence.format(name) for name in missing] == list(refusal.value.problems)
    ignoring = 'plugins = ["pin"]\nignore_factors = ["key", "code"]'
    async with serving(tmp_path, ignoring, plugins=KINDS) as server:
        assert 200 == (await step(server, **PIN)).status_code
    with pytest.raises(ConfigError, match=r"have enrolled the factor pin,"):
        async with serving(tmp_path, 'plugins = ["key", "code"]', plugins=KINDS):
            pass


async def test_two_in_one_process(tmp_path: Path) -> None:
    """Two servers with other plugins, secrets and databases know nothing of each other."""
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    english = 'plugins = ["pin", "english"]\npublic_url = "https://one.example"'
    german = 'plugins = ["pin", "key", "german"]\npublic_url = "https://two.example"'
    kinds = {**KINDS, "english": English, "german": German}
    async with (
        serving(folders[0], english, plugins=kinds) as one,
        serving(folders[1], german, plugins=kinds) as two,
    ):
        await join(one, "ann")
        await join(two, "bob")
        assert [["pin"], ["pin", "key"]] == [list(server.auth.factors) for server in (one, two)]
        greetings = [
            server.auth.plugin(Greeter).greet("you")  # type: ignore[type-abstract]
            for server in (one, two)
        ]
        assert ["Hello you", "Hallo you"] == greetings
        tokens = {"ann": await login(one, "ann"), "bob": await login(two, "bob")}
        assert (401, "proof_refused") == code_of(await step(two, **PIN))
        for server, name in ((one, "bob"), (two, "ann")):
            answer = await server.post("/jwt/validate", token=tokens[name]["access_token"])
            assert (401, "invalid_token") == code_of(answer)
        assert not set(one.auth.keys.active) & set(two.auth.keys.active)
        one.clock.advance(600)
        answer = await two.post("/jwt/validate", token=tokens["bob"]["access_token"])
        assert 200 == answer.status_code


async def test_started_closes_the_database(tmp_path: Path) -> None:
    """However a command ends, its database is closed; a start that fails closes it too."""
    found = auth(tmp_path)
    with pytest.raises(ZeroDivisionError):
        async with found.started():
            _ = 1 / 0
    assert await closed(found)
    async with made(tmp_path, 'plugins = ["pin"]') as other:
        await other.migrate()
        await other.database.write(Statement("update migrations set hash = 'x'"))
    found = auth(tmp_path)
    with pytest.raises(ConfigError, match=r"^Migration 1 of picoauth is not the one"):
        async with found.started():
            raise AssertionError
    assert await closed(found)


async def closed(auth: Auth) -> bool:
    """Whether nothing can be read any more."""
    try:
        return not await auth.database.read("select number from migrations")
    except Unavailable:
        return True


async def test_migrate_says_what_was_applied(tmp_path: Path) -> None:
    """Each owner's statements are applied once."""
    async with made(tmp_path, 'plugins = ["pin", "key"]') as found:
        first, second = await found.migrate(), await found.migrate()
    assert (["picoauth", "pin"], 1) == (list(first), len(first["pin"]))
    assert {"picoauth": 0, "pin": 0} == {owner: len(applied) for owner, applied in second.items()}


class Lasting(Plugin[NoSettings]):
    """Is there while the server is, and writes down when."""

    log: ClassVar[list[str]]

    @hookimpl
    def lifespan(self) -> AbstractAsyncContextManager[None]:
        @asynccontextmanager
        async def lasting() -> AsyncIterator[None]:
            self.log.append(f"{self.name} in")
            try:
                yield
            finally:
                self.log.append(f"{self.name} out")

        return lasting()


class Brief(Plugin[NoSettings]):
    """Has nothing that lasts."""

    @hookimpl
    def lifespan(self) -> None:
        return None


async def test_background(tmp_path: Path) -> None:
    """What plugins keep running is entered in order and left in reverse, also after a failure."""
    log: list[str] = []
    kinds: dict[str, Kind] = {
        name: type("Lasting", (Lasting,), {"log": log}) for name in ("first", "second")
    }
    settings = 'plugins = ["pin", "first", "brief", "second"]'
    async with made(tmp_path, settings, **kinds, brief=Brief) as found:
        before = asyncio.all_tasks()
        with suppress(ZeroDivisionError):
            async with found.started(), found.background():
                assert ["first in", "second in"] == log
                assert 4 == len(asyncio.all_tasks() - before)
                _ = 1 / 0
        assert ["second out", "first out"] == log[2:]
        assert set() == asyncio.all_tasks() - before


async def test_keys_of_other_processes_are_learnt(tmp_path: Path) -> None:
    """A running server learns a key that another process made, by itself."""
    async with accounts(tmp_path) as server:
        keys = server.auth.keys
        [old] = keys.active
        async with accounts(tmp_path) as other:
            keyring = Keyring(other.auth)
            await keyring.add(keyring.made())
        await until(lambda: len(keys.active) == 2)
        assert old in keys.active


class Claiming(Plugin[NoSettings]):
    """Adds claims, among them those that it is told to."""

    more: Mapping[str, Any] = {}

    @hookimpl
    async def claims(self, user: User, session: Session) -> Mapping[str, Any]:
        return {"made_at": user.created_at, "methods": list(session.amr), **self.more}


@pytest.fixture
async def claiming(tmp_path: Path) -> AsyncIterator[Server]:
    settings = SETTINGS.replace('"watched"', '"claiming", "again"')
    async with accounts(tmp_path, settings, claiming=Claiming, again=Again) as server:
        yield server


class Again(Plugin[NoSettings]):
    """Adds a claim of its own."""

    @hookimpl
    async def claims(self, user: User, session: Session) -> Mapping[str, Any]:
        return {"again": True}


async def claims(server: Server) -> dict[str, Any]:
    token = (await login(server))["access_token"]
    found: dict[str, Any] = (await server.post("/jwt/validate", token=token)).json()
    return found


async def test_claims_of_plugins(claiming: Server) -> None:
    """What plugins add stands beside the kernel's claims."""
    found = await claims(claiming)
    assert (1_800_000_000, ["pin"], True) == (found["made_at"], found["methods"], found["again"])


@pytest.mark.parametrize("claim", ["sub", "exp", "jti", "name", "nbf", "gen", "cnf", "act", "sid"])
async def test_claims_that_are_the_kernels(claiming: Server, claim: str) -> None:
    """No plugin replaces a claim of the kernel's, whether the token has it or not."""
    plugin: Any = claiming.auth.plugins.on["claiming"]
    plugin.more = {claim: "forged"}
    answer = await step(claiming, **PIN)
    assert (403, "refused") == code_of(answer)
    assert [] == await claiming.auth.database.read("select * from sessions")


async def test_claim_of_two_plugins(claiming: Server, caplog: pytest.LogCaptureFixture) -> None:
    """Two plugins that add one claim are a mistake of the operator's, whose log says whose."""
    user = await claiming.auth.users.require(await user_id(claiming))
    await login(claiming)
    [session] = await claiming.auth.sessions.list(user.id)
    plugin: Any = claiming.auth.plugins.on["claiming"]
    plugin.more = {"again": False}
    with pytest.raises(Denied, match=r"^refused$"):
        await claiming.auth.grants.claims(user, session)
    sentence = "plugin again (picoauth-again 0.1.0) adds the claim again, which is taken"
    assert f"{sentence}, which denies" in [record.getMessage() for record in caplog.records]


class Strict(Plugin[NoSettings]):
    """Answers a question that is not to be answered."""

    @hookimpl
    async def check_login(self, login: Login) -> Any:
        return True


async def test_ask(tmp_path: Path) -> None:
    """A deciding hook that answers anything has denied."""
    settings = SETTINGS.replace('"watched"', '"strict"')
    async with accounts(tmp_path, settings, strict=Strict) as server:
        answer = await step(server, **PIN)
        assert (403, "refused") == code_of(answer)
        with pytest.raises(Denied, match=r"^refused$"):
            await server.auth.ask("check_login", login=None)


async def test_figures(tmp_path: Path) -> None:
    """What was answered is counted by route and status, for whoever exports it."""
    async with accounts(tmp_path) as server:
        await login(server)
        await step(server, **{**PIN, "pin": "wrong"})
        counted = {(f.route, f.status): f.count for f in server.auth.figures()}
        assert {("/auth/login", 200): 1, ("/auth/login", 401): 1} == counted


async def test_time_is_whole(tmp_path: Path) -> None:
    """The kernel's time is whole seconds, cut and not rounded."""
    async with made(tmp_path, 'plugins = ["pin"]') as found:
        found.clock = Clock(1_800_000_000.999)
        assert 1_800_000_000 == found.now()


class Told(Plugin[NoSettings]):
    """Is told."""

    @hookimpl
    async def on(self, event: Event) -> None:
        """Take no note."""


async def test_order_is_the_operators(tmp_path: Path) -> None:
    """What plugins bring is in the order of `plugins`, whatever their names."""
    kinds: dict[str, Kind] = {name: type("Told", (Told,), {}) for name in ("zebra", "ape", "gnu")}
    async with made(tmp_path, 'plugins = ["zebra", "pin", "ape", "key", "gnu"]', **kinds) as found:
        assert ["zebra", "ape", "gnu"] == list(found.events.listeners)
        assert ["pin", "key"] == list(found.factors)


async def test_start_asks_for_each_factor_once(tmp_path: Path) -> None:
    """However many users there are."""
    async with accounts(tmp_path) as server:
        assert [("pin",)] == await enrolled(server)
        ann = await user_id(server)
        for name in ("code", "key", "key"):
            enrolment = server.auth.users.enrolment(ann, name)
            await server.auth.database.write(server.auth.users.enrolling(enrolment))
        assert [("code",), ("key",), ("pin",)] == await enrolled(server)
        await server.auth.database.write(Statement("delete from enrolments"))
        assert [] == await enrolled(server)


@pytest.mark.embedded
async def test_plan_of_a_start(tmp_path: Path) -> None:
    """Each factor is one look into an index."""
    async with accounts(tmp_path) as server:
        plan = await server.auth.database.read(f"explain query plan {FACTORS}")
    assert [] == [step for *_, step in plan if step in ("SCAN t", "SCAN enrolments")]
    assert 2 == sum("USING COVERING INDEX enrolments_who" in step for *_, step in plan)


async def enrolled(server: Server) -> Sequence[Any]:
    return await server.auth.database.read(FACTORS)
