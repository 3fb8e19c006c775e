"""The pages about the endpoint: their requests, links and commands do what they say."""

from __future__ import annotations

import asyncio
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner
from endpoint import APP, CLIENTS, OLD, TABLE, Home, query

from picoauth.cli import cli
from picoauth.testing import PASSWORD, serving
from picoauth_fetch.testing import Site, answer
from tests.pages import Block, Exchange, blocks

ROOT = Path(__file__).parents[3]
README = Path(__file__).parent.parent / "README.md"
PAGE = ROOT / "docs" / "one-login.md"
ON = 'plugins = ["password", "permissions", "privateauth"]\npublic_url = "https://auth.example"\n'


def of(page: Path, test: str) -> list[Block]:
    return [b for b in blocks(page) if (b.marked("run by") or "").endswith(f"::{test}")]


async def test_requests_of_the_page(tmp_path: Path) -> None:
    """A page of one's own reads a request, and approves it."""
    async with serving(tmp_path, ON + TABLE + CLIENTS) as server:
        await server.register()
        exchange = Exchange(server)
        exchange.values.update(await server.login())
        exchange.values["id"] = await Home(server).request(scope="profile")
        for block in of(README, "test_requests_of_the_page"):
            await exchange.run(block)
        back = query(exchange.values["redirect_to"])
        told = await Home(server).redeem(back["code"])
        assert "https://auth.example/u/ann" == told.json()["me"]


async def test_links_of_the_page(at_home: Home, web: Site) -> None:
    """The two links of the page prove an address."""
    [block] = of(README, "test_links_of_the_page")
    text = block.text.replace("auth.example.com", "auth.example")
    web.answers["/"] = answer(text.encode(), kind="text/html")
    answered = await at_home.ask("PUT", "me", {"urls": ["https://ann.example/"]})
    assert 200 == answered.status_code, answered.text


def typed(line: str) -> str:
    """What a command of a page prints."""
    name, *arguments = shlex.split(line)
    assert "picoauth" == name
    result = CliRunner().invoke(cli, arguments, input=f"{PASSWORD}\n", prog_name="picoauth")
    assert 0 == result.exit_code, f"{line}\n{result.output}"
    return result.stdout


def test_one_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ann is made and may watch; Media hears that, in the way that PrivateAuth has it (PA-P-8)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PICOAUTH_CONFIG", raising=False)
    (tmp_path / "picoauth.toml").write_text(ON + TABLE + CLIENTS, encoding="utf-8")
    for block in of(PAGE, "test_one_login"):
        for line in block.text.splitlines():
            typed(line)

    async def work() -> None:
        async with serving(tmp_path, ON + TABLE + CLIENTS) as server:
            at_home = Home(server)
            at_home.tokens["ann"] = (await server.login())["access_token"]
            told = (await at_home.legacy(await at_home.legacy_code())).json()
            assert ["media:admin", "media:listen", "media:watch"] == told["permissions"]
            assert "Ann Smith" == told["name"]

    asyncio.run(work())
    assert f"{OLD}  Media" in typed("picoauth privateauth clients")
    assert APP in typed("picoauth privateauth clients")


async def test_pa_p_8_roles(tmp_path: Path) -> None:
    """What a user holds by a role is told like what she holds herself, each once."""
    async with serving(tmp_path, ON + TABLE + CLIENTS) as server:
        from picoauth import Caller
        from picoauth_permissions import PermissionsPlugin

        await server.register()
        at_home = Home(server)
        at_home.tokens["ann"] = (await server.login())["access_token"]
        permissions = server.auth.plugin(PermissionsPlugin)
        user_id = await at_home.user_id()
        await permissions.grant(user_id, "media:watch", Caller())
        await permissions.roles.put(
            "family", ["media:watch", "media:listen", "door:open"], Caller()
        )
        await permissions.holdings.assign(user_id, "family", Caller())
        told = (await at_home.legacy(await at_home.legacy_code())).json()
        assert ["media:listen", "media:watch"] == told["permissions"]
