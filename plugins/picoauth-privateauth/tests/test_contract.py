"""Who is let in where; settings, start, and the table of the README."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pytest
from endpoint import APP, BACK, CLIENTS, ON, TABLE, Home, RightsPlugin, asked, home

from picoauth import Auth, Caller, ConfigError, Plugin, checks, parse
from picoauth.testing import Someone, offer
from picoauth.testing.contracts import AccessContract
from picoauth.testing.contracts.access import THINGS, Things
from tests.accounts import KINDS

HERE = Path(__file__).parent
README = (HERE.parent / "README.md").read_text("utf-8")
OPEN = {
    "GET /.well-known/oauth-authorization-server",
    "GET /indieauth/authorize",
    "POST /indieauth/authorize",
    "OPTIONS /indieauth/authorize",
    "POST /indieauth/token",
    "OPTIONS /indieauth/token",
    "POST /indieauth/revoke",
    "GET /indieauth/userinfo",
    "OPTIONS /indieauth/userinfo",
    "GET /u/{username}",
    "GET /indieauth/consent",
    "POST /indieauth/consent",
}


async def a_request(owner: Someone) -> Mapping[str, str]:
    """One that the user has opened."""
    at_home = Home(owner.server)
    answer = await at_home.authorize()
    secret = answer.headers["location"].partition("request=")[2]
    await at_home.plugin.requests.open(secret, owner.user.id)
    return {"id": secret}


async def a_grant(owner: Someone) -> Mapping[str, str]:
    request = await a_request(owner)
    consent, user_id = Home(owner.server).plugin.parts.consent, owner.user.id
    await consent.approved(request["id"], user_id, None, None, Caller())
    [grant] = await Home(owner.server).plugin.granted.of(user_id)
    return {"id": grant["id"]}


class TestAccess(AccessContract):
    """Users decide what is theirs; the rest is open, since the specifications have it so."""

    @pytest.fixture
    def picoauth_settings(self) -> str:
        return ON + TABLE.replace("https://auth.example/consent/", "built-in") + CLIENTS

    @pytest.fixture
    def picoauth_plugins(self) -> Mapping[str, type[Plugin[Any]]]:
        return {**KINDS, "rights": RightsPlugin}

    @pytest.fixture
    def open_routes(self) -> Collection[str]:
        return OPEN

    @pytest.fixture
    def things(self) -> Mapping[str, Things]:
        waiting = {
            f"/indieauth/requests/{{id}}{end}": a_request for end in ("", "/approve", "/deny")
        }
        return {**THINGS, **waiting, "/indieauth/grants/{id}": a_grant}

    @pytest.fixture
    def bodies(self) -> Mapping[str, Any]:
        return {
            "POST /indieauth/requests/{id}/approve": {"scopes": []},
            "PUT /indieauth/me": {"shortName": "Ann"},
        }


def made(folder: Path, table: str, on: str = ON) -> Auth:
    found = [offer(name, kind) for name, kind in {**KINDS, "rights": RightsPlugin}.items()]
    from picoauth.discovery import installed

    return Auth(parse(on + table, folder), found=[*installed(), *found])


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ("[privateauth]\n", "[privateauth].consent_url: is missing"),
        (
            '[privateauth]\nconsent_url = "builtin"\n',
            (
                '[privateauth].consent_url: must be "built-in", or a page such as '
                "https://auth.example.com/consent/, without query and fragment"
            ),
        ),
        (
            f'{TABLE}\n[[privateauth.clients]]\nclient_id = "app"\nname = "A"\nredirect_uris = ["https://a.example/"]\n',
            "[privateauth].clients[0].client_id: must begin with https:// or http://, and have no fragment",
        ),
        (
            f'{TABLE}\n[[privateauth.clients]]\nclient_id = "https://a.example/"\nname = "A"\nredirect_uris = ["javascript:x"]\n',
            "[privateauth].clients[0].redirect_uris[0]: must be a URL that a browser may be sent to, without a fragment",
        ),
        (
            f'{TABLE}\n[[privateauth.clients]]\nclient_id = "https://a.example/"\nname = "A"\nredirect_uris = ["http://a.example/"]\npkce = "optional"\n',
            '[privateauth].clients[0]: has pkce = "optional", and a redirect that is neither https nor loopback',
        ),
        (
            f'{TABLE}\n[[privateauth.clients]]\nclient_id = "https://a.example/"\nname = "A"\nredirect_uris = ["https://a.example/"]\nlegacy = true\n',
            '[privateauth].clients[0]: has legacy = true, which goes with pkce = "optional"',
        ),
        (
            f'{TABLE}\n[[privateauth.clients]]\nclient_id = "https://a.example/"\nname = "A"\nredirect_uris = ["https://a.example/"]\nrequired_permission = "Media:Watch"\n',
            "[privateauth].clients[0].required_permission: must be a permission such as media:watch, in lower case",
        ),
        (
            f'{TABLE}\n[[privateauth.clients]]\nclient_id = "https://a.example/"\nname = "A"\nredirect_uris = ["https://a.example/"]\napplication = "media:"\n',
            "[privateauth].clients[0].application: must be what its permissions begin with, such as media, in lower case",
        ),
        (
            TABLE + CLIENTS + CLIENTS,
            "[privateauth].clients: has https://app.example/ twice",
        ),
        (
            '[privateauth]\nconsent_url = "built-in"\nscopes = ["a b"]\n',
            "[privateauth].scopes[0]: must be a scope such as create, without spaces and quotes",
        ),
        (
            '[privateauth]\nconsent_url = "built-in"\ncode_life = 61\n',
            "[privateauth].code_life: must be at most 60 seconds",
        ),
    ],
)
def test_settings_that_are_none(tmp_path: Path, table: str, sentence: str) -> None:
    """They stop the start, in a sentence."""
    with pytest.raises(ConfigError) as caught:
        made(tmp_path, table)
    assert sentence in str(caught.value)


def test_permission_that_nobody_keeps(tmp_path: Path) -> None:
    """A client that would let nobody in stops the start."""
    from picoauth.app import Application

    on = ON.replace('"rights", ', "")
    with pytest.raises(ConfigError) as caught:
        Application(made(tmp_path, TABLE + CLIENTS, on))
    assert (
        "privateauth: https://door.example/ requires a permission, and no listed plugin keeps "
        "permissions: list one, such as permissions."
    ) == str(caught.value)


async def test_without_permissions(tmp_path: Path) -> None:
    """Without such a plugin nobody holds any."""
    on = ON.replace('"rights", ', "")
    clients = CLIENTS.replace('required_permission = "door:open"', "")
    async with home(tmp_path, TABLE + clients, on) as running:
        told = (await running.legacy(await running.legacy_code())).json()
        assert [] == told["permissions"]


async def doctor(auth: Auth) -> dict[str, tuple[str, str]]:
    found = [check for check in auth.checks if check.name.startswith("privateauth-")]
    said = await checks.run(found)
    return {one.name: (one.level, what) for one in found if (what := said[one.name])}


async def test_doctor(tmp_path: Path, at_home: Home) -> None:
    """It names clients without PKCE, and an address that profile URLs cannot have."""
    assert {
        "privateauth-legacy": (
            "advice",
            (
                "Clients without PKCE in [privateauth] (Media): whoever reads a code on its way gets in "
                'there as that user; set pkce = "required" as soon as they know it.'
            ),
        )
    } == await doctor(at_home.server.auth)
    words = (
        "public_url is no https:// address with a name and without a port, so many clients refuse "
        "the profile URLs that begin with it: put the server behind a name of its own."
    )
    for number, url in enumerate(
        ("http://127.0.0.1:8100", "https://auth.example:8443", "http://localhost")
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        auth = made(folder, TABLE, ON.replace("https://auth.example", url, 1))
        assert {"privateauth-profiles": ("warning", words)} == await doctor(auth)
        await auth.database.close()


async def test_cleaning(at_home: Home) -> None:
    """What expired an hour ago is gone, and nothing else."""
    database, clock = at_home.server.auth.database, at_home.server.clock

    async def counted() -> list[int]:
        tables = ("requests", "families", "tokens")
        sql = "select count(*) from privateauth_{}"
        return [(await database.read(sql.format(table)))[0][0] for table in tables]

    await at_home.handed()
    assert [1, 1, 2] == await counted()
    await at_home.plugin.clean()
    assert [1, 1, 2] == await counted()
    clock.advance(2 * 3600 + 1)
    await at_home.plugin.clean()
    assert [0, 1, 1] == await counted()
    clock.advance(31 * 86400)
    await at_home.plugin.clean()
    assert [0, 0, 0] == await counted()
    [job] = [job for job in at_home.server.auth.jobs.jobs if job.name == "privateauth-clean"]
    assert job.purges


def lines() -> dict[str, list[str]]:
    """The table of the README: requirement and tests."""
    rows = re.findall(r"^\| ((?:P|C|PA-P|L)-\d+) \|.*\| (`test_.*`) \|$", README, re.MULTILINE)
    return {name: re.findall(r"`(test_\w+)`", tests) for name, tests in rows}


def test_table_is_whole() -> None:
    """Each line of the requirements is in the README with its tests, and they are there."""
    numbers = {
        *(f"P-{number}" for number in range(1, 51)),
        *(f"PA-P-{number}" for number in range(1, 12)),
        *(f"L-{number}" for number in range(1, 8)),
    }
    found = lines()
    assert numbers == found.keys()
    sources = "".join(path.read_text("utf-8") for path in HERE.glob("test_*.py"))
    there = set(re.findall(r"def (test_\w+)\(", sources))
    assert set() == {test for tests in found.values() for test in tests} - there
    named = {test for test in there if re.match(r"test_(p|pa_p|legacy)_\d+_", test)}
    assert set() == named - {test for tests in found.values() for test in tests}
    for name, tests in found.items():
        prefix = f"test_{name.lower().replace('-', '_')}_".replace("test_l_", "test_legacy_")
        assert all(test.startswith(prefix) for test in tests), name


def test_asked() -> None:
    """What tests ask for by default is what is registered."""
    assert (APP, BACK) == (asked()["client_id"], asked()["redirect_uri"])
