"""`picoauth permissions …`: for people, and for programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from picoauth.cli import cli

ARABIC = "\N{ARABIC LETTER ALEF}li"


@pytest.fixture(autouse=True)
def ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A folder with settings, and with Ann and Bob; answers their ids."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PICOAUTH_CONFIG", raising=False)
    settings = 'plugins = ["password", "permissions"]'
    (tmp_path / "picoauth.toml").write_text(settings, encoding="utf-8")
    made = [json.loads(said("users", "create", name, "--json")) for name in ("Ann", "bob")]
    return {one["username"]: one["id"] for one in made}


def picoauth(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments, prog_name="picoauth")


def said(*arguments: str) -> str:
    result = picoauth(*arguments)
    assert (0, "") == (result.exit_code, result.stderr), result.output
    return result.stdout


def refused(*arguments: str) -> tuple[int, str, str]:
    result = picoauth(*arguments)
    return result.exit_code, result.stdout, result.stderr


def permissions(*arguments: str) -> str:
    return said("permissions", *arguments)


def test_grant_and_revoke(ids: dict[str, str]) -> None:
    """By user name or id; what is listed afterwards is what is held."""
    assert "ann has a, wiki:edit.\n" == permissions("grant", "ann", "a", "wiki:edit")
    assert f"{ids['bob']} has a.\n" == permissions("grant", ids["bob"], "a")
    shown = permissions("list").splitlines()
    assert [
        f"Ann       {ids['Ann']}  a           -",
        f"bob       {ids['bob']}  a           -",
        f"Ann       {ids['Ann']}  wiki:edit   -",
    ] == shown[1:]
    assert "username  user_id" == shown[0].partition("   ")[0]
    assert "ann has lost a.\n" == permissions("revoke", "ann", "a")
    found = [json.loads(line) for line in permissions("list", "--json").splitlines()]
    assert [("bob", "a"), ("Ann", "wiki:edit")] == [(o["username"], o["permission"]) for o in found]


def test_roles(ids: dict[str, str]) -> None:
    """Made, given, listed with who has them, taken away, removed."""
    assert "editors brings a, b.\n" == permissions("roles", "set", "editors", "b", "a")
    assert "empty brings nothing.\n" == permissions("roles", "set", "empty")
    assert "ann has the role editors.\n" == permissions("roles", "assign", "editors", "ann")
    permissions("grant", "bob", "b")
    found = [json.loads(line) for line in permissions("list", "ann", "--json").splitlines()]
    row = {"username": "Ann", "user_id": ids["Ann"], "role": "editors"}
    assert [{**row, "permission": "a"}, {**row, "permission": "b"}] == found
    lines = permissions("list", "--permission", "b").splitlines()
    assert ["Ann", "bob"] == [line.split()[0] for line in lines[1:]]
    assert "role     permissions\neditors  a, b\nempty    -\n" == permissions("roles", "list")
    shown = [json.loads(line) for line in permissions("roles", "list", "--json").splitlines()]
    assert {"role": "editors", "permissions": ["a", "b"]} == shown[0]
    assert "ann has lost the role editors.\n" == permissions("roles", "unassign", "editors", "ann")
    assert "editors is gone.\n" == permissions("roles", "remove", "editors")


def test_nobody_holds_anything() -> None:
    """An empty list is the names of its columns, or nothing for a program."""
    assert "username  user_id  permission  role\n" == permissions("list")
    assert "" == permissions("list", "--json")


def test_refusals() -> None:
    """One sentence each, and nothing is changed."""
    permissions("grant", "ann", "picoauth:admin")
    nobody = "picoauth: There is no user 'carl': `picoauth users list` shows all.\n"
    for command in (("grant", "carl", "a"), ("revoke", "carl", "a"), ("list", "carl")):
        assert (2, "", nobody) == refused("permissions", *command)
    assert (1, "") == refused("permissions", "revoke", "ann", "picoauth:admin")[:2]
    sentence = refused("permissions", "revoke", "ann", "picoauth:admin")[2]
    assert "Without this nobody could administrate: appoint another one first." in sentence
    assert sentence == refused("users", "disable", "ann")[2]
    assert sentence == refused("users", "delete", "ann", "--yes")[2]
    odd = refused("permissions", "grant", "ann", "Wiki")
    sentence = 'picoauth: This cannot be a permission: write it in lower case, "wiki".\n'
    assert (1, "", sentence) == odd
    sentence = 'picoauth: There is no such role: there is no "edtors".\n'
    assert (1, "", sentence) == refused("permissions", "roles", "assign", "edtors", "ann")
    assert 1 == len(permissions("list", "--json").splitlines())


def test_by_address() -> None:
    """A verified address names a user, too."""
    import asyncio

    from picoauth import Auth, identifier, load

    async def verify() -> None:
        auth = Auth(load(Path("picoauth.toml")))
        async with auth.started():
            user = await auth.users.find("username", "ann")
            assert user is not None
            address = identifier("email", "ann@example.org", verified=True)
            await auth.database.write(auth.users.naming(user.id, address, auth.now()))

    asyncio.run(verify())
    assert "ann@example.org has a.\n" == permissions("grant", "ann@example.org", "a")
