"""The plugin's page: its commands, its request and its check by hand are run as they are written."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner
from logbook import KINDS, Log

from picoauth.cli import cli
from picoauth.testing import serving
from tests.pages import blocks

PAGE = Path(__file__).parent.parent / "README.md"
SETTINGS = 'plugins = ["password", "audit"]'


def shown(language: str, test: str) -> list[str]:
    return [
        block.text
        for block in blocks(PAGE)
        if block.language == language and (block.marked("run by") or "").endswith(test)
    ]


def filled(folder: Path) -> None:
    async def work() -> None:
        async with serving(folder, SETTINGS) as server:
            await server.register()
            await server.post("/auth/login", {"username": "ann", "password": "not the password"})

    asyncio.run(work())


def test_commands_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each command works, and the answer stands below it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "picoauth.toml").write_text(SETTINGS, encoding="utf-8")
    filled(tmp_path)
    [commands] = shown("sh", "test_commands_of_the_page")
    answers = []
    for line in commands.splitlines():
        words = line.partition(" > ")[0].split()
        answers.append(CliRunner().invoke(cli, words[1:], prog_name="picoauth"))
    assert [0, 0, 0] == [answer.exit_code for answer in answers]
    listed, verified, exported = (answer.stdout for answer in answers)
    assert 2 == len(listed.splitlines())
    [text] = shown("text", "test_commands_of_the_page")
    assert verified.startswith(text.partition("…")[0])
    assert 3 == len(exported.splitlines())


def test_check_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check of the page ends with what `verify` says, and finds what was altered."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "picoauth.toml").write_text(SETTINGS, encoding="utf-8")
    filled(tmp_path)
    run = CliRunner()
    exported = run.invoke(cli, ["audit", "export"]).stdout
    verified = run.invoke(cli, ["audit", "verify"]).stdout
    [code] = shown("python", "test_check_by_hand")
    for text, fine in (
        (exported, True),
        (exported.replace("UserRegistered", "UserChanged"), False),
        (exported.replace("127.0.0.1", "127.0.0.2"), False),
    ):
        (tmp_path / "audit.jsonl").write_text(text, encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
        assert fine == (done.returncode == 0)
        assert fine == (done.stdout.strip() == verified.rpartition(" ")[2].strip())


async def test_request_of_the_page(tmp_path: Path) -> None:
    """The request gets the members that stand below it."""
    settings = 'plugins = ["password", "boss", "audit"]'
    async with serving(tmp_path, settings, plugins=KINDS) as server:
        await server.register()
        await server.login()
        await Log(server).entries()
        request, answer = shown("http", "test_request_of_the_page")
        path = request.split()[1]
        transport = httpx.ASGITransport(app=server.app.on("admin"))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            found = await client.get(path, headers={"Authorization": "Bearer admin"})
        body = found.json()
        expected = json.loads(answer.partition("\n\n")[2])
        assert expected.keys() == body.keys()
        [entry], [said] = body["entries"], expected["entries"]
        assert {name: entry[name] if value != "…" else "…" for name, value in said.items()} == {
            **said,
            "members": entry["members"],
        }
        assert said["members"].keys() == entry["members"].keys()
