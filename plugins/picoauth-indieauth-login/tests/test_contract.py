"""The contracts of factors, logins and routes; settings, doctor, and the table of the README."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pytest
from people import ON, TABLE, TRUSTED, people

from picoauth import Auth, ConfigError, Plugin, checks, parse
from picoauth.discovery import installed
from picoauth.testing import offer
from picoauth.testing.contracts import AccessContract, FactorContract, MatrixContract
from picoauth_indieauth_login import IndieAuthLoginSettings
from picoauth_indieauth_login.starts import Starts
from tests.factors import PLUGINS

HERE = Path(__file__).parent
README = (HERE.parent / "README.md").read_text("utf-8")
ENDPOINTS = "\n[[indieauth-login.endpoints]]\n"


@pytest.fixture
def picoauth_settings() -> str:
    return ON + TABLE + TRUSTED


@pytest.fixture
def picoauth_plugins() -> Mapping[str, type[Plugin[Any]]]:
    return PLUGINS


class TestIndieAuth(FactorContract):
    """An answer, for the flow that it was asked in."""

    factor = "indieauth"
    single_use = True
    guessable = False


class TestMatrix(MatrixContract):
    """As the first step, before each second factor, and beside other first ones."""


class TestAccess(AccessContract):
    """Endpoints, browsers and login pages get a route each; the rest is for a session, or a fresh one."""

    @pytest.fixture
    def open_routes(self) -> Collection[str]:
        ways = ("client", "callback", "ways")
        return {f"GET /auth/indieauth/{way}" for way in ways}

    @pytest.fixture
    def bodies(self) -> Mapping[str, Any]:
        return {"POST /auth/indieauth/begin": {"endpoint": "home"}}


def made(folder: Path, table: str) -> Auth:
    found = [offer(name, kind) for name, kind in PLUGINS.items()]
    return Auth(parse(ON + table, folder), found=[*installed(), *found])


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        (
            'page = "//evil.example/"\n',
            (
                '.page: must be a path such as "/login/", or a page such as '
                "https://app.example.com/login/, without query and fragment"
            ),
        ),
        (
            'redirect_uri = "http://app.example/"\n',
            ".redirect_uri: must be https, or http on this machine, without a fragment",
        ),
        (
            "domains = false\n",
            ": has domains = false and no endpoints, so that nobody could log in",
        ),
        (
            'listed = ["https://ann.example/"]\n',
            ': has domains in listed, which goes with registration = "listed"',
        ),
        (
            'registration = "listed"\nlisted = ["ann"]\n',
            ".listed[0]: must be a profile URL such as https://ann.example.com/",
        ),
        (
            f'{ENDPOINTS}name = "Home"\nurl = "https://a.example/"\n',
            ".endpoints[0].name: must be a name such as home, in lower case",
        ),
        (
            f'{ENDPOINTS}name = "a"\nurl = "http://a.example/"\n',
            ".endpoints[0].url: must be https, or http on this machine, without a fragment",
        ),
        (
            f'{ENDPOINTS}name = "a"\nurl = "https://a.example/"\nissuer = "http://a.example/"\n',
            ".endpoints[0].issuer: must be an https:// URL without query and fragment (RFC 9207)",
        ),
        (
            f'{ENDPOINTS}name = "a"\nurl = "https://a.example/"\napplication = "Media:"\n',
            (
                ".endpoints[0].application: must be what its permissions begin with, such as media, "
                "in lower case"
            ),
        ),
        (
            f'{ENDPOINTS}name = "a"\nurl = "https://a.example/"\nrequired_permission = "a b"\n',
            ".endpoints[0].required_permission: must be a permission such as media:watch",
        ),
        (
            (
                f'{ENDPOINTS}name = "a"\nurl = "https://a.example/"\n'
                f'{ENDPOINTS}name = "a"\nurl = "https://b.example/"\n'
            ),
            ".endpoints: has a twice",
        ),
    ],
)
def test_settings_that_are_none(tmp_path: Path, table: str, sentence: str) -> None:
    """They stop the start, in a sentence."""
    needed = "" if table.startswith("domains") else "domains = true\n"
    with pytest.raises(ConfigError) as caught:
        made(tmp_path, f"[indieauth-login]\n{needed}{table}")
    assert f"[indieauth-login]{sentence}" in str(caught.value)


async def doctor(auth: Auth) -> dict[str, tuple[str, str]]:
    found = [check for check in auth.checks if check.name.startswith("indieauth-login-")]
    said = await checks.run(found)
    return {one.name: (one.level, what) for one in found if (what := said[one.name])}


async def test_doctor_is_content(tmp_path: Path) -> None:
    """It has nothing to say of what is in order."""
    async with people(tmp_path) as them:
        assert {} == await doctor(them.server.auth)


async def test_doctor(tmp_path: Path) -> None:
    """It names open doors, and odd permissions."""
    table = TABLE + TRUSTED.replace('required_permission = "Media:Watch"\n', "")
    async with people(tmp_path, table) as them:
        held = ["media:wacth", "media:listen", "other:x"]
        them.says({"username": "ann", "permissions": held}, path="/home")
        assert 200 == (await them.login(None, endpoint="home")).status_code
        assert {
            "indieauth-login-open": (
                "advice",
                (
                    "[indieauth-login] gives an account to everybody whom home knows: set "
                    "required_permission there, unless that is meant."
                ),
            ),
            "indieauth-login-permissions": (
                "warning",
                (
                    "Trusted endpoints told permissions that [indieauth-login] does not know: "
                    "media:wacth (home); mend them there, or add them to permissions."
                ),
            ),
        } == await doctor(them.server.auth)


def test_hosts_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many hosts there are, so many are counted; the others count together."""
    from picoauth import AuthError
    from picoauth_fetch import hosts

    monkeypatch.setattr(hosts, "MOST", 2)
    counted = Starts(2, lambda: 0)
    for number in range(4):
        counted.check(f"https://h{number}.example/")
    with pytest.raises(AuthError):
        counted.check("https://h9.example/")
    counted.check("https://h0.example/")
    assert {"h0.example", "h1.example", ""} == counted.counts.keys()


def test_settings_are_documented() -> None:
    """The README names each setting."""
    for name in IndieAuthLoginSettings.__dataclass_fields__:
        assert f"`{name}`" in README


def lines() -> dict[str, list[str]]:
    """The table of the README: requirement and tests."""
    rows = re.findall(r"^\| ((?:C|PA-C)-\d+) \|.*\| (`test_.*`) \|$", README, re.MULTILINE)
    return {name: re.findall(r"`(test_\w+)`", tests) for name, tests in rows}


def test_table_is_whole() -> None:
    """Each line of the requirements is in the README with its tests, and they are there."""
    numbers = {
        *(f"C-{number}" for number in range(1, 17)),
        *(f"PA-C-{number}" for number in range(1, 10)),
    }
    found = lines()
    assert numbers == found.keys()
    source = (HERE / "test_conformance.py").read_text("utf-8")
    there = set(re.findall(r"def (test_\w+)\(", source))
    assert there == {test for tests in found.values() for test in tests}
    for name, tests in found.items():
        prefix = f"test_{name.lower().replace('-', '_')}_"
        assert all(test.startswith(prefix) for test in tests), name
