"""The commands `picoauth admin …`."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from office import PermitsPlugin

from picoauth import Auth, Caller, discovery, identifier, load
from picoauth.cli import cli
from picoauth.testing import MailPlugin, offer

LISTED = '["password", "admin"]'
EVERYTHING = '["password", "totp", "admin", "reset", "permits", "captured-mail"]'


class Desk:
    """A folder with settings, and what the commands print there."""

    def __init__(self, folder: Path) -> None:
        self.settings = folder / "picoauth.toml"
        self.listed = LISTED

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Exit code and what was printed; a refusal of ours as its words."""
        self.settings.write_text(
            f'plugins = {self.listed}\npublic_url = "https://auth.example.org"\n', encoding="utf-8"
        )
        result = CliRunner().invoke(cli, ["--config", str(self.settings), *arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.stdout, result.stderr

    def done(self, *arguments: str) -> str:
        code, out, error = self.run(*arguments)
        assert (0, "") == (code, error)
        return out

    def lines(self, *arguments: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.done(*arguments, "--json").splitlines()]

    def refused(self, *arguments: str) -> str:
        code, out, error = self.run(*arguments)
        assert code in (1, 2)
        assert "" == out
        return error


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.fixture
def everything(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """With plugins that are not installed."""
    more = [offer("permits", PermitsPlugin), offer("captured-mail", MailPlugin)]
    found = [*discovery.installed(), *more]
    for module in ("discovery", "plugins", "cli"):
        monkeypatch.setattr(f"picoauth.{module}.installed", lambda *_: found)
    desk.listed = EVERYTHING
    return desk


def test_keys(desk: Desk) -> None:
    """A key is shown once, listed by name, and revoked."""
    made = desk.done("admin", "keys", "create", "backup", "--scope", "full", "--days", "30")
    assert re.fullmatch(r"picoauth-admin-[\w-]{43}\n", made)
    desk.done("admin", "keys", "create", "grafana")
    backup, grafana = desk.lines("admin", "keys", "list")
    assert ("backup", "full", 30 * 86400) == (
        backup["name"],
        backup["scope"],
        backup["expires_at"] - backup["created_at"],
    )
    assert ("grafana", "read") == (grafana["name"], grafana["scope"])
    assert made.strip() not in desk.done("admin", "keys", "list")
    database = b"".join(p.read_bytes() for p in desk.settings.parent.glob("picoauth.db*"))
    assert made.strip().encode() not in database
    assert "The key backup is revoked.\n" == desk.done("admin", "keys", "revoke", "backup")
    assert ["grafana"] == [key["name"] for key in desk.lines("admin", "keys", "list")]


def test_keys_that_are_none(desk: Desk) -> None:
    """Names that are taken, unknown, or no names; and what is no scope or time."""
    desk.done("admin", "keys", "create", "backup")
    for name, sentence in (
        ("backup", "There is a key backup already: revoke that first, or take another name."),
        ("a b", "A key's name has letters, digits, dots, - and _ alone, at most 64."),
        ("x" * 65, "A key's name has letters, digits, dots, - and _ alone, at most 64."),
    ):
        assert f"picoauth: {sentence}\n" == desk.refused("admin", "keys", "create", name)
    assert "picoauth: There is no key 'x': `picoauth admin keys list` shows all.\n" == desk.refused(
        "admin", "keys", "revoke", "x"
    )
    for option in (("--days", "0"), ("--days", "99999"), ("--scope", "root")):
        assert "Invalid value" in desk.refused("admin", "keys", "create", "other", *option)


def test_no_permissions(desk: Desk) -> None:
    """A sentence says what is missing."""
    desk.done("users", "create", "ann")
    sentence = (
        "picoauth: Administrators are users with a permission, and no listed plugin knows of any: "
        'add "permissions" to `plugins`, or make a key: `picoauth admin keys create NAME`.\n'
    )
    for words in (("list",), ("add", "ann"), ("remove", "ann")):
        assert sentence == desk.refused("admin", *words)


def test_administrators(everything: Desk) -> None:
    """The first one by a local command; the last one stays."""
    desk = everything
    desk.done("users", "create", "ann")
    code, out, error = desk.run("admin", "add", "ann")
    assert (0, "ann is an administrator.\n") == (code, out)
    assert "ann needs a second factor before that is of any use.\n" == error
    [ann] = desk.lines("admin", "list")
    assert ("ann", None) == (ann["username"], ann["disabled_at"])
    assert "picoauth: Somebody has to be an administrator.\n" == desk.refused(
        "admin", "remove", "ann"
    )
    desk.done("users", "create", "bob")
    desk.run("admin", "add", "bob")
    assert "ann is no administrator any more.\n" == desk.done("admin", "remove", "ann")
    assert "bob" in desk.done("admin", "list")
    assert "picoauth: There is no user 'eve': `picoauth users list` shows all.\n" == desk.refused(
        "admin", "add", "eve"
    )


def test_administrator_with_a_second_factor(everything: Desk) -> None:
    """Then there is nothing more to do."""
    desk = everything
    desk.done("users", "create", "ann")
    [ann] = desk.lines("users", "list")

    async def enrol() -> None:
        auth = Auth(load(desk.settings))
        async with auth.started():
            enrolment = auth.users.enrolment(ann["id"], "totp")
            await auth.database.write(auth.users.enrolling(enrolment))

    asyncio.run(enrol())
    assert "ann is an administrator.\n" == desk.done("admin", "add", "ann")


def test_invitations(everything: Desk) -> None:
    """By mail, or as a link to hand over."""
    desk = everything
    desk.done("users", "create", "ann")
    link = desk.done("admin", "invite", "ann", "--link")
    assert re.fullmatch(r"https://auth\.example\.org/login/#invitation=[\w-]{43}\n", link)
    assert "picoauth: This user has no address that a mail may go to.\n" == desk.refused(
        "admin", "invite", "ann"
    )
    add_address(desk)
    sentence = r"An invitation is on its way to ann@example\.com, good until [-0-9]+ [:0-9]+Z\.\n"
    assert re.fullmatch(sentence, desk.done("admin", "invite", "ann"))
    desk.done("users", "disable", "ann")
    assert "picoauth: This user is disabled: enable it first.\n" == desk.refused(
        "admin", "invite", "ann", "--link"
    )


def test_reset(everything: Desk) -> None:
    """A link for a new password, to a verified address."""
    desk = everything
    desk.done("users", "create", "ann")
    add_address(desk, verified=False)
    sentence = "picoauth: This user has no verified address: give the user one first.\n"
    assert sentence == desk.refused("admin", "reset", "ann")
    add_address(desk)
    sentence = "A link for a new password is on its way to ann@example.com.\n"
    assert sentence == desk.done("admin", "reset", "ann")
    desk.done("users", "disable", "ann")
    sentence = "picoauth: This user is disabled: enable it first.\n"
    assert sentence == desk.refused("admin", "reset", "ann")


def test_nothing_resets(desk: Desk) -> None:
    """A sentence says what is missing."""
    desk.done("users", "create", "ann")
    sentence = 'picoauth: No listed plugin resets passwords: add "reset" to `plugins`.\n'
    assert sentence == desk.refused("admin", "reset", "ann")


def add_address(desk: Desk, *, verified: bool = True) -> None:
    async def add() -> None:
        auth = Auth(load(desk.settings))
        async with auth.started():
            [ann] = [await auth.users.named("ann")]
            assert ann is not None
            address = identifier("email", "ann@example.com", verified=verified)
            await auth.identities.assign(ann.id, "email", address, Caller.local())

    asyncio.run(add())
