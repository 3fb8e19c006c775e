"""The test kit as a project has it that only installed picoauth."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import picoauth.testing
from picoauth import Caller, Event, LoginCompleted, LoginFailed, SessionEnded, UserRegistered
from picoauth.testing import PASSWORD, Clock, Server, contracts, serving
from tests.factors import ALL, CEREMONIES, PLUGINS

ROOT = Path(__file__).parent.parent


def test_public_names() -> None:
    """`__all__` of the kit and of its contracts names each once, and each is there."""
    for module in (picoauth.testing, contracts):
        assert sorted(set(module.__all__)) == sorted(module.__all__)
        assert [name for name in module.__all__ if not hasattr(module, name)] == []


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("picoauth.testing", ["cbor2", "pytest", "pytest_asyncio", "webauthn"]),
        ("picoauth.cli", ["picoauth.testing", "httpx", "pytest", "cbor2"]),
        ("pytest_picoauth", ["picoauth", "quart", "httpx", "cbor2", "cryptography"]),
    ],
)
def test_what_is_imported(module: str, absent: list[str]) -> None:
    """The kernel knows no kit, the kit no pytest, and the pytest plugin costs next to nothing."""
    code = f"import sys, {module}; print([n for n in {absent!r} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "[]\n" == done.stdout


def test_kernel_imports_no_kit() -> None:
    """Nothing in the kernel names the kit, but for one command: the dry run of an upgrade."""
    sources = sorted((ROOT / "picoauth").glob("*.py"))
    naming = [path.name for path in sources if "picoauth.testing" in path.read_text()]
    assert ["upgrade_cli.py"] == naming


# The fixture


LOOP = ("-o", "asyncio_default_fixture_loop_scope=function")
PROJECT = """
import pytest
from picoauth import LoginCompleted

{mark}
async def test_login(picoauth_server, tmp_path):
    await picoauth_server.register()
    await picoauth_server.login()
    assert picoauth_server.events.one(LoginCompleted).factors == ("password",)
    assert picoauth_server.folder == tmp_path
"""
SETTINGS = """
import pytest
from tests.factors import CEREMONIES, PLUGINS

@pytest.fixture
def picoauth_settings():
    return 'plugins = ["pin", "code"]'

@pytest.fixture
def picoauth_plugins():
    return PLUGINS

@pytest.fixture
def picoauth_ceremonies():
    return CEREMONIES

async def test_login(picoauth_server):
    someone = await picoauth_server.join("pin", "code")
    assert "access_token" in await someone.login()
"""


@pytest.mark.parametrize(("mode", "mark"), [("auto", ""), ("strict", "@pytest.mark.asyncio")])
def test_fixture(pytester: pytest.Pytester, mode: str, mark: str) -> None:
    """Installing picoauth is enough, in both modes of pytest-asyncio, and nothing warns."""
    pytester.makepyfile(PROJECT.format(mark=mark))
    result = pytester.runpytest_subprocess("-W", "error", "-o", f"asyncio_mode={mode}", *LOOP)
    result.assert_outcomes(passed=1)


def test_fixtures_to_override(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project says which settings, plugins and ceremonies its server has."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    pytester.makepyfile(SETTINGS)
    pytester.runpytest_subprocess("-o", "asyncio_mode=auto", *LOOP).assert_outcomes(passed=1)


def test_project_without_pytest_asyncio(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not disturbed; who asks for the fixture hears what to install."""
    pytester.makepyfile(
        pytest_asyncio="raise ImportError('not installed')",
        test_own="def test_own(): pass\ndef test_server(picoauth_server): pass",
    )
    monkeypatch.setenv("PYTHONPATH", str(pytester.path))
    result = pytester.runpytest_subprocess("-p", "no:asyncio", "-W", "error")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        ["picoauth_server needs pytest-asyncio: install picoauth?testing?."]
    )


CONTRACTS = """
import pytest
from picoauth import NoSettings
from picoauth.testing import MailPlugin
from picoauth.testing.contracts import (
    DatabaseContract,
    LimiterContract,
    MailerContract,
    SessionStoreContract,
)

class TestDatabase(DatabaseContract):
    pass

class TestMailer(MailerContract):
    pass

class TestArrived(MailerContract):
    @pytest.fixture
    def mailer(self):
        return MailPlugin(None, "captured-mail", NoSettings())

class TestStore(SessionStoreContract):
    pass

class TestLimiter(LimiterContract):
    pass
"""


def test_contract_without_its_fixture(pytester: pytest.Pytester) -> None:
    """It says which one to override, and by what."""
    pytester.makepyfile(CONTRACTS)
    chosen = (
        "test_insert_or_update or test_rotate or test_two_hundred or is_down or test_restart "
        "or test_fifty_at_once"
    )
    result = pytester.runpytest_inprocess("-k", chosen, *LOOP)
    result.stdout.fnmatch_lines(
        [
            "Override the fixture `database`: an engine on a new, empty database.",
            "Override the fixture `mailer`: a mailer by which nothing was sent yet.",
            "Override the fixture `store`: a session store without sessions.",
            "Override the fixture `limiter`: a limiter that has counted nothing yet.",
            "Override the method `arrived`: it answers what arrived.",
        ]
    )


INHERITED = """
import pytest
import pytest_asyncio
from picoauth import Embedded, NoSettings
from picoauth.sqlsessions import SqlSessions
from picoauth.testing import MailPlugin
from picoauth.testing.contracts import (
    Arrived,
    DatabaseContract,
    LimiterContract,
    MailerContract,
    SessionStoreContract,
)

class TestDatabase(DatabaseContract):
    @pytest_asyncio.fixture
    async def database(self, tmp_path):
        database = Embedded(tmp_path / "mine.db")
        yield database
        await database.close()

class TestStore(SessionStoreContract):
    @pytest.fixture
    def store(self, auth):
        return SqlSessions(auth.database, auth.config.tokens, auth.now)

class TestLimiter(LimiterContract):
    @pytest.fixture
    def limiter(self, auth):
        return auth.default_limiter

class TestMailer(MailerContract):
    @pytest.fixture
    def mailer(self, auth):
        return MailPlugin(auth, "captured-mail", NoSettings())

    async def arrived(self, mailer):
        return [
            Arrived(id=m.id, to=[m.to], subject=m.subject, text=m.text, html=m.html)
            for m in mailer.sent
        ]
"""


def test_inherited_contracts(pytester: pytest.Pytester) -> None:
    """They run in strict mode; what a project cannot do, such as be down, is skipped."""
    pytester.makepyfile(INHERITED)
    chosen = (
        "test_insert_or_update or test_end_all or test_entrances or is_down or test_restart "
        "or test_fifty_at_once or that_is_refused"
    )
    result = pytester.runpytest_inprocess("-k", chosen, *LOOP)
    result.assert_outcomes(passed=4, skipped=5)


# Events, clock, people


async def test_captured_events(server: Server) -> None:
    """They are there when the answer is, in their order, and by their type."""
    await server.register()
    tokens = await server.login()
    await server.post("/auth/login", {"username": "ann", "password": "wrong"})
    assert ["UserRegistered", "LoginCompleted", "LoginFailed"] == [
        type(event).__name__ for event in server.events
    ]
    registered = server.events.one(UserRegistered)
    assert (registered, [registered]) == (server.events[0], list(server.events[:1]))
    assert [registered.user_id] == [e.user_id for e in server.events.of(LoginCompleted)]
    assert (3, repr(list(server.events))) == (len(server.events), repr(server.events))
    sentence = "0 x SessionEnded, of: UserRegistered, LoginCompleted, LoginFailed"
    with pytest.raises(AssertionError, match=sentence):
        server.events.one(SessionEnded)
    with pytest.raises(AssertionError, match="3 x Event, of: UserRegistered,"):
        server.events.one(Event)
    server.events.clear()
    with pytest.raises(AssertionError, match="0 x LoginFailed, of: nothing"):
        server.events.one(LoginFailed)
    await server.post("/auth/logout", token=tokens["access_token"])
    assert 1 == len(server.events.of(SessionEnded))


async def test_settled_events(server: Server) -> None:
    """What plugins do about an event comes later, and can be waited for."""
    told: list[Event] = []

    async def note(event: Event) -> None:
        told.append(event)

    server.auth.events.listeners = {"note": note}
    await server.register()
    await server.events.settle()
    assert list(server.events) == told


def test_clock() -> None:
    """It stands still, goes on, and goes back for a while, whatever happens there."""
    clock = Clock(100)
    clock.advance(5)
    with clock.ago(60):
        assert 45 == clock()
    assert 105 == clock()
    with pytest.raises(ZeroDivisionError), clock.ago(60):
        raise ZeroDivisionError
    assert 105 == clock()


async def test_people(tmp_path: Path) -> None:
    """Users have the factors that they are given; without any, the first that is a way in."""
    async with serving(tmp_path, ALL, plugins=PLUGINS, ceremonies=CEREMONIES) as server:
        ann, bob = await server.join(username="ann"), await server.join("pin", "code")
        assert (["pin"], ["pin", "code"]) == (ann.factors, bob.factors)
        assert "access_token" in await ann.login()
        assert (1, 0) == (await ann.sessions(), await bob.sessions())
        assert 401 == (await ann.prove("pin", wrong=True)).status_code
        tokens = await bob.login("pin", "code")
        with pytest.raises(AssertionError, match="proof_refused"):
            await bob.login("pin", "code")
        await bob.enrol("key")
        stepped = await bob.prove("key", token=tokens["access_token"])
        assert 200 == stepped.status_code
        await server.auth.accounts.disable(ann.user.id, Caller())
        with pytest.raises(AssertionError, match="proof_refused"):
            await ann.login()


async def test_ceremonies_of_installed_packages(server: Server) -> None:
    """The password plugin brings its own, which a project need not name."""
    someone = await server.join()
    assert ["password"] == someone.factors
    assert "access_token" in await someone.login()
    body = {"username": someone.username, "password": PASSWORD}
    assert 401 == (await server.post("/auth/login", body)).status_code
