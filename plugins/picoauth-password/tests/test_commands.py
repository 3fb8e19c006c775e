"""`picoauth password set`: typed at a terminal, piped in, or given."""

from __future__ import annotations

import asyncio
import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from picoauth.cli import cli
from picoauth.testing import Clock, serving

SCRIPT = str(Path(sys.executable).with_name("picoauth"))
DEADLINE = 60
"""Seconds after which a test gives up on a process."""
NEW = "another horse battery staple"


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with settings, and with Ann."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PICOAUTH_CONFIG", raising=False)
    path = tmp_path / "picoauth.toml"
    path.write_text('plugins = ["password"]', encoding="utf-8")
    assert 0 == picoauth("users", "create", "Ann").exit_code
    return path


def picoauth(*arguments: str, given: str | None = None) -> Result:
    return CliRunner().invoke(cli, arguments, input=given, prog_name="picoauth")


def status(folder: Path, password: str) -> int:
    """What a login answers."""

    async def work() -> int:
        async with serving(folder) as server:
            body = {"username": "ann", "password": password}
            return (await server.post("/auth/login", body)).status_code

    return asyncio.run(work())


@pytest.mark.parametrize("given", [f"{NEW}\n", f"{NEW}\r\n", f"{NEW}\nmore\n", NEW])
def test_piped_in(tmp_path: Path, given: str) -> None:
    """The first line of what is piped in, without its end, and nothing is asked."""
    result = picoauth("password", "set", "ann", given=given)
    assert (0, "The password of ann is set.\n", "") == (
        result.exit_code,
        result.stdout,
        result.stderr,
    )
    assert 200 == status(tmp_path, NEW)
    assert 401 == status(tmp_path, "something else")


def test_given(tmp_path: Path) -> None:
    """A password may be an argument; spaces are part of it."""
    assert 0 == picoauth("password", "set", "ann", "--password", f" {NEW} ").exit_code
    assert 200 == status(tmp_path, f" {NEW} ")
    assert 401 == status(tmp_path, NEW)


@pytest.mark.parametrize(
    ("typed", "asked", "code"),
    [
        ([NEW, NEW], ["Password: ", "Repeat for confirmation: "], 0),
        (
            [NEW, "mistyped horse", NEW, NEW],
            ["Password: ", "Repeat for confirmation: ", "Password: ", "Repeat for confirmation: "],
            0,
        ),
    ],
)
def test_typed(tmp_path: Path, typed: list[str], asked: list[str], code: int) -> None:
    """At a terminal it is asked for twice, and never shown."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [SCRIPT, "password", "set", "ann"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    shown = b""
    for prompt, answer in zip(asked, typed, strict=True):
        while not shown.endswith(prompt.encode()):
            shown += os.read(ours, 1024)
        os.write(ours, f"{answer}\n".encode())
    assert code == process.wait(DEADLINE)
    shown += os.read(ours, 1024)
    os.close(ours)
    assert b"The password of ann is set." in shown
    assert b"horse" not in shown
    assert 200 == status(tmp_path, NEW)


@pytest.mark.parametrize(
    ("password", "said"),
    [
        ("short", "This password is too short. It needs at least 8 characters."),
        ("", "This password is too short. It needs at least 8 characters."),
        (
            "x" * 257,
            "This password is too long. It may have at most 256 characters, and 1024 bytes in UTF-8.",
        ),
        ("a\0 horse with NUL", "The body is not what this route takes. A password is text without NUL."),
    ],
)  # fmt: skip
def test_refused(password: str, said: str) -> None:
    """A password that may not be one is refused in a sentence, and never repeated."""
    result = picoauth("password", "set", "ann", given=f"{password}\n")
    assert (1, "", f"picoauth: {said}\n") == (result.exit_code, result.stdout, result.stderr)


@pytest.mark.parametrize("asked", [True, False])
def test_nobody(monkeypatch: pytest.MonkeyPatch, asked: bool) -> None:  # noqa: FBT001
    """Who is not there gets no password, and nobody has to type one first."""
    if asked:
        monkeypatch.setattr("picoauth_password.commands.typed", lambda: pytest.fail("it asks"))
    result = picoauth("password", "set", "bob", given=f"{NEW}\n")
    sentence = "picoauth: There is no user 'bob': `picoauth users list` shows all.\n"
    assert (2, "", sentence) == (result.exit_code, result.stdout, result.stderr)


def test_every_session_ends(tmp_path: Path) -> None:
    """Who was logged in by the old password is logged out."""
    picoauth("password", "set", "ann", given=f"{NEW}\n")

    clock = Clock(time.time())  # that of the command

    async def log_in() -> str:
        async with serving(tmp_path, clock=clock) as server:
            token: str = (await server.login("ann", NEW))["access_token"]
            return token

    async def validate(token: str) -> tuple[int, str | None]:
        async with serving(tmp_path, clock=clock) as server:
            answer = await server.post("/jwt/validate", token=token)
            return answer.status_code, answer.json().get("code")

    token = asyncio.run(log_in())
    assert (200, None) == asyncio.run(validate(token))
    picoauth("password", "set", "ann", given=f"{NEW}er\n")
    assert (401, "session_ended") == asyncio.run(validate(token))


def test_help() -> None:
    """The help says how the password is given."""
    text = " ".join(picoauth("password", "set", "--help").stdout.split())
    assert "Set a user's password; every session of the user ends." in text
    assert "It is asked for at a terminal, and else the first line of the standard input." in text
