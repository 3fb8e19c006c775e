"""All that is known about a user, for the user: everything, nothing of others, and no secret."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from picoauth import Caller, NoSettings, Plugin, User, hookimpl
from picoauth.cli import cli
from picoauth.discovery import imported, installed
from picoauth.testing import PASSWORD, Clock, Server, serving
from tests.accounts import SETTINGS, accounts, login, user_id
from tests.factors import code_of, enrol, join
from tests.traces import KIT, NAME, PENDING, SHOWN, VERIFIED, annabel, settings

NOW = 1_800_000_000
MAKING = re.compile(r'create table.*?"""', re.DOTALL)
OF_USERS = re.compile(r"\buser_id\b|references\s+(?:users|enrolments)\b")
NOTHING_TO_TELL: Mapping[str, str] = {
    "webhook": "what was posted is what the log has, sealed, and gone after a week",
}
"""Plugins with rows of users that export none of them, each with the reason."""


async def test_what_the_kernel_knows(tmp_path: Path) -> None:
    """The account, its factors and its sessions, and no other user's."""
    async with accounts(tmp_path) as server:
        tokens = await enrol(server, "111111")
        bob = (await join(server, "bob")).id
        answer = await server.get("/auth/me/export", token=tokens["access_token"])
        assert 200 == answer.status_code
        known = answer.json()
        assert ["picoauth"] == list(known)
        own = known["picoauth"]
        me = (await server.get("/auth/me", token=tokens["access_token"])).json()
        assert {**me, "renamed_at": []} == own["account"]
        assert ["code", "pin"] == sorted(one["factor"] for one in own["factors"])
        [session] = own["sessions"]
        assert (True, "127.0.0.1", NOW) == (
            session["current"],
            session["address"],
            session["created_at"],
        )
        assert bob not in answer.text
        assert "no-store" in answer.headers["cache-control"]


async def test_stale_proof(tmp_path: Path) -> None:
    """Who takes everything along has to be there."""
    async with accounts(tmp_path) as server:
        token = (await login(server))["access_token"]
        server.clock.advance(301)
        answer = await server.get("/auth/me/export", token=token)
        assert (403, "stepup_needed") == code_of(answer)


async def test_every_plugin_answers(tmp_path: Path) -> None:
    """Each says under its name what it knows of a user who used all of them, and no secret."""
    async with serving(tmp_path, settings(), plugins=KIT) as server:
        someone = await annabel(server)
        token = someone.notes["token"]
        answer = await server.get("/auth/me/export", token=token)
        known = answer.json()
        expected = ("password", "totp", "passkey", "email", "magic-link", "recovery", "permissions")
        assert {"picoauth", *expected} == set(known)
        assert {"changed_at": NOW} == known["password"]
        assert (10, NOW) == (known["recovery"]["left"], known["recovery"]["made_at"])
        assert ["wiki:read"] == known["permissions"]["permissions"]
        assert [PENDING] == [code["address"] for code in known["email"]["codes"]]
        [passkey] = known["passkey"]["passkeys"]
        assert NOW == passkey["made_at"]
        for text in (NAME, SHOWN, VERIFIED):
            assert text in answer.text
        assert [] == [secret for secret in await secrets(server) if secret in answer.text]


async def secrets(server: Any) -> list[str]:
    """Whatever is stored that proves something, as it may be written."""
    found: list[str] = []
    for table, column in (
        ("password", "hash"),
        ("totp", "sealed"),
        ("recovery", "hash"),
        ("magic_link", "hash"),
        ("email_codes", "hash"),
        ("tickets", "hash"),
        ("passkey", "public_key"),
    ):
        rows = await server.auth.database.read(f"select {column} from {table}")
        assert rows, table
        for (value,) in rows:
            found += [value] if isinstance(value, str) else [value.hex(), repr(value)[2:-1]]
    return found


async def test_user_of_nothing(tmp_path: Path) -> None:
    """Plugins that know nothing are not named."""
    async with serving(tmp_path, settings(), plugins=KIT) as server:
        await server.register("bob")
        token = (await server.login("bob"))["access_token"]
        known = (await server.get("/auth/me/export", token=token)).json()
        assert {"changed_at": NOW} == known["password"]
        assert [] == known["picoauth"]["account"]["identifiers"][1:]


class Failing(Plugin[NoSettings]):
    """Knows something, and cannot say what."""

    @hookimpl
    async def export(self, user: User) -> Mapping[str, Any]:
        raise ValueError(user.id)


async def test_plugin_that_fails(tmp_path: Path) -> None:
    """Half of what is known is not handed out as if it were all."""
    listed = 'plugins = ["watched", "pin", "code", "spare", "key", "link", "failing"]\n'
    async with accounts(tmp_path, listed, failing=Failing) as server:
        token = (await login(server))["access_token"]
        answer = await server.get("/auth/me/export", token=token)
        assert (403, "refused") == code_of(answer)
        assert await user_id(server) not in answer.text


def rows_of_users(kind: type[Plugin[Any]]) -> bool:
    """Whether the package makes a table that refers to users, or to what they enrolled."""
    package = import_module(kind.__module__.partition(".")[0])
    sources = Path(package.__file__ or "").parent.glob("*.py")
    made = MAKING.findall("".join(path.read_text(encoding="utf-8") for path in sources))
    return any(OF_USERS.search(sql) for sql in made)


ROWS = {
    found.origin.name: imported(found)
    for found in installed()
    if found.origin.distribution.startswith("picoauth-")
}


@pytest.mark.parametrize("name", sorted(ROWS))
def test_whoever_has_rows_of_users_exports_them(name: str) -> None:
    """A plugin with a table about users implements the hook, or is named with its reason."""
    kind = ROWS[name]
    knows = rows_of_users(kind)
    exports = any("export" in vars(base) for base in kind.__mro__ if base is not Plugin)
    assert (knows and name not in NOTHING_TO_TELL) <= exports


def test_who_has_rows_of_users() -> None:
    """The test above finds them."""
    found = {name for name in ROWS if rows_of_users(ROWS[name])}
    assert {
        "password",
        "totp",
        "passkey",
        "email",
        "magic-link",
        "recovery",
        "permissions",
    } <= found
    assert set(NOTHING_TO_TELL) <= found


GRACE = '[account]\ndeletion_grace = "7d"\n'


async def closed(server: Server, user: str, token: str) -> None:
    answer = await server.send("DELETE", "/auth/me", token=token)
    assert 202 == answer.status_code, user


async def disabled(server: Server, user: str, token: str) -> None:
    assert token
    await server.auth.accounts.disable(user, Caller())


@pytest.mark.parametrize("end", [closed, disabled])
async def test_who_is_barred_takes_nothing_along(tmp_path: Path, end: Any) -> None:
    """Who closed the account, or was disabled, is logged out, and so exports nothing."""
    async with accounts(tmp_path, f"{SETTINGS}{GRACE}") as server:
        token = (await login(server))["access_token"]
        await end(server, await user_id(server), token)
        answer = await server.get("/auth/me/export", token=token)
        assert (401, "session_ended") == code_of(answer)


def picoauth(*arguments: str) -> str:
    result = CliRunner().invoke(cli, arguments, prog_name="picoauth")
    assert 0 == result.exit_code, result.output
    return result.stdout


def test_who_is_barred_is_not_let_in_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A closed or disabled account is disabled wherever it is imported, however often it moves."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PICOAUTH_CONFIG", raising=False)
    here = f'plugins = ["password"]\n{GRACE}'
    there = f'database = "there.db"\n{here}'
    clock = Clock(time.time())  # that of the commands
    Path("picoauth.toml").write_text(here, encoding="utf-8")
    Path("there.toml").write_text(there, encoding="utf-8")

    async def leaving() -> None:
        async with serving(tmp_path, here, clock=clock) as server:
            ids = {name: (await server.register(name))["id"] for name in ("ann", "bob", "cem")}
            await closed(server, "ann", (await server.login("ann"))["access_token"])
            await disabled(server, ids["bob"], "-")

    async def arriving() -> None:
        async with serving(tmp_path, there, clock=clock) as server:
            for name, expected in (("ann", 401), ("bob", 401), ("cem", 200)):
                body = {"username": name, "password": PASSWORD, "restore": True}
                assert expected == (await server.post("/auth/login", body)).status_code, name

    asyncio.run(leaving())
    picoauth("users", "export", "users.jsonl", "--secrets")
    lines = [json.loads(line) for line in Path("users.jsonl").read_text("utf-8").splitlines()]
    barred = {"ann": True, "bob": True, "cem": False}
    assert barred == {one["username"]: one["disabled"] for one in lines}
    picoauth("--config", "there.toml", "users", "import", "users.jsonl")
    asyncio.run(arriving())
    again = picoauth("--config", "there.toml", "users", "export").splitlines()
    assert barred == {one["username"]: one["disabled"] for one in map(json.loads, again)}
