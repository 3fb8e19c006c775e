"""The commands `picoauth privateauth …`."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from endpoint import APP, BACK, CLIENTS, Home

from picoauth import Caller
from picoauth.cli import cli
from picoauth.testing import serving

SETTINGS = f"""
plugins = ["password", "privateauth"]
public_url = "https://auth.example"

[privateauth]
consent_url = "https://auth.example/consent/"
{CLIENTS.replace('required_permission = "door:open"', "")}
"""


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with settings, and with Ann."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PICOAUTH_CONFIG", raising=False)
    path = tmp_path / "picoauth.toml"
    path.write_text(SETTINGS, encoding="utf-8")
    assert 0 == picoauth("users", "create", "Ann").exit_code
    return path


def picoauth(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments, prog_name="picoauth")


def test_clients() -> None:
    """Registered clients, for people and for programs."""
    result = picoauth("privateauth", "clients")
    assert 0 == result.exit_code
    head, app, *_ = [line.split() for line in result.stdout.splitlines()]
    assert ["client_id", "name", "pkce", "required_permission", "redirect_uris"] == head
    assert [APP, "App", "required", "-", BACK] == app
    first, *_ = map(json.loads, picoauth("privateauth", "clients", "--json").stdout.splitlines())
    assert {
        "client_id": APP,
        "name": "App",
        "pkce": "required",
        "required_permission": None,
        "redirect_uris": [BACK],
    } == first


def test_profiles() -> None:
    """An administrator gives and takes URLs, without a look at the page."""
    result = picoauth("privateauth", "profiles", "ann", "--add", "https://Ann.example")
    assert "url\nhttps://auth.example/u/ann\nhttps://ann.example/\n" == result.stdout
    result = picoauth("privateauth", "profiles", "ann", "--add", "https://ann.example/")
    sentence = "picoauth: This URL is the profile of somebody else.\n"
    assert (1, "", sentence) == (result.exit_code, result.stdout, result.stderr)
    result = picoauth("privateauth", "profiles", "ann", "--add", "https://ann.example/#x")
    assert 1 == result.exit_code
    assert "This URL does not prove that it is yours: a profile URL must" in result.stderr
    removing = ("privateauth", "profiles", "ann", "--json", "--remove", "https://ann.example/")
    assert '{"url": "https://auth.example/u/ann"}\n' == picoauth(*removing).stdout
    assert 1 == picoauth(*removing).exit_code
    result = picoauth("privateauth", "profiles", "bob")
    assert "There is no user 'bob': `picoauth users list` shows all." in result.stderr


def granted() -> str:
    """The id of a grant of Ann's."""

    async def work() -> str:
        async with serving(Path.cwd(), SETTINGS) as server:
            at_home = Home(server)
            user_id = await at_home.user_id()
            request = await at_home.request(scope="profile")
            await at_home.plugin.parts.consent.approved(request, user_id, None, None, Caller())
            [grant] = await at_home.plugin.granted.of(user_id)
            return str(grant["id"])

    return asyncio.run(work())


def test_grants() -> None:
    """An administrator sees and ends what a client may do."""
    grant = granted()
    [line] = picoauth("privateauth", "grants", "ann", "--json").stdout.splitlines()
    assert (grant, APP) == (json.loads(line)["id"], json.loads(line)["client_id"])
    _, shown = picoauth("privateauth", "grants", "ann").stdout.splitlines()
    assert [grant, APP, "App"] == shown.split()[:3]
    result = picoauth("privateauth", "grants", "ann", "--end", grant)
    assert (0, 1) == (result.exit_code, len(result.stdout.splitlines()))
    assert 1 == picoauth("privateauth", "grants", "ann", "--end", grant).exit_code
