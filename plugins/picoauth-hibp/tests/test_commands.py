"""`picoauth hibp build`, `check` and `verify`, as they are typed."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from breachlists import as_ranges, numbered, ordered
from click.testing import CliRunner, Result

from picoauth.cli import cli
from picoauth_hibp.filters import Filter

SCRIPT = str(Path(sys.executable).with_name("picoauth"))
DEADLINE = 60
"""Seconds after which a test gives up on a process."""
BREACHED = "battery staples"
GUESSED = (
    "This password is easily guessed: choose another one. "
    "It is little more than the name of this site, your name or your address."
)
KNOWN = "This password is known to attackers: choose another one."


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with settings, and with a breach list."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PICOAUTH_CONFIG", raising=False)
    (tmp_path / "list.txt").write_bytes(ordered([BREACHED, *numbered(999)]))
    path = tmp_path / "picoauth.toml"
    path.write_text('plugins = ["password", "hibp"]\n[hibp]\nfilter = "breaches"\n')
    return path


def picoauth(*arguments: str, given: str | bytes | None = None) -> Result:
    return CliRunner().invoke(cli, ["hibp", *arguments], input=given, prog_name="picoauth")


def said(result: Result) -> tuple[int, str, str]:
    return result.exit_code, result.stdout, result.stderr


def test_build(tmp_path: Path) -> None:
    """A list becomes the filter that the settings name; then it is looked at."""
    path = tmp_path / "breaches"
    told = f"{path} has 1000 passwords in 0.0 MB; of those in no breach it refuses one in 2097."
    result = picoauth("build", "list.txt")
    assert (0, f"{told}\nStart the server anew to use it.\n") == said(result)[:2]
    assert (0, f"{told} It is whole.\n") == said(picoauth("verify"))[:2]
    assert (1, f"{KNOWN} It is among those that were stolen elsewhere.\n", "") == said(
        picoauth("check", given=f"{BREACHED}\n")
    )


def test_build_elsewhere(tmp_path: Path) -> None:
    """`--to` says where, and the command how to use it."""
    result = picoauth("build", "list.txt", "--to", "other", "--least", "1")
    expected = 'To use it, set filter = "other" in [hibp].'
    assert (0, expected) == (result.exit_code, result.stdout.splitlines()[1])
    assert (tmp_path / "other").exists()
    assert not (tmp_path / "breaches").exists()


def test_build_nowhere(settings: Path) -> None:
    """Without a place nothing is read."""
    settings.write_text('plugins = ["password", "hibp"]')
    sentence = (
        "picoauth: Nothing says where the filter goes: set `filter` in [hibp], or say --to FILE.\n"
    )
    assert (2, "", sentence) == said(picoauth("build", "list.txt"))
    assert (2, "", "picoauth: There is no filter: set `filter` in [hibp].\n") == said(
        picoauth("verify")
    )


def test_build_from_a_pipe(tmp_path: Path) -> None:
    """The list may come out of an archive, by a pipe."""
    result = picoauth("build", "-", given=(tmp_path / "list.txt").read_bytes())
    assert 0 == result.exit_code
    result = picoauth("build", "-", given=b"x\n")
    sentence = (
        "picoauth: Line 1 of the standard input is not 40 hexadecimal digits, a colon and a "
        "count: nothing was made.\n"
    )
    assert 2 == result.exit_code
    assert result.stderr.endswith(sentence)
    Filter(tmp_path / "breaches").close()  # that of before


def test_build_of_ranges(tmp_path: Path) -> None:
    """A folder of ranges is taken where it is whole, or may be in part."""
    as_ranges(tmp_path / "ranges", [BREACHED])
    assert 2 == picoauth("build", "ranges").exit_code
    assert 0 == picoauth("build", "ranges", "--partial").exit_code


def test_progress_at_a_terminal() -> None:
    """Who watches sees how far it is."""
    ours, theirs = pty.openpty()
    command = [SCRIPT, "hibp", "build", "list.txt"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=theirs) as process:
        os.close(theirs)
        assert 0 == process.wait(DEADLINE)
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    assert "Building" in shown
    assert re.search(r"[1-9]\d?%", shown)


def test_ctrl_c(tmp_path: Path) -> None:
    """Ctrl-C in the middle leaves the old filter, and nothing beside it."""
    (tmp_path / "breaches").write_bytes(b"old")
    command = [SCRIPT, "hibp", "build", "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        while not list(tmp_path.glob(".breaches.*")):  # until it has begun
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert 1 == process.wait(DEADLINE)
        assert process.stderr is not None
        assert b"Aborted!" in process.stderr.read()
    assert [] == list(tmp_path.glob(".breaches.*"))
    assert b"old" == (tmp_path / "breaches").read_bytes()


@pytest.mark.parametrize(
    ("password", "code", "expected"),
    [
        ("correct horse battery staple", 0, "Nothing is known of this password."),
        ("password1", 1, f"{KNOWN} It is among those that are used most."),
        (
            "picoauth!",
            1,
            GUESSED,
        ),
        ("password1\nand more", 1, f"{KNOWN} It is among those that are used most."),
        ("", 0, "Nothing is known of this password."),
    ],
)
def test_check(settings: Path, password: str, code: int, expected: str) -> None:
    """It says what the lists say, and never the password."""
    settings.write_text('plugins = ["password", "hibp"]')
    assert (code, f"{expected}\n", "") == said(picoauth("check", given=f"{password}\n"))


def test_check_takes_no_argument() -> None:
    """What is typed as an argument is seen by everyone on the machine, and refused."""
    assert 2 == picoauth("check", "password1").exit_code


def test_check_at_a_terminal(settings: Path) -> None:
    """At a terminal the password is asked for, and not shown."""
    settings.write_text('plugins = ["password", "hibp"]')
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [SCRIPT, "hibp", "check"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    shown = b""
    while not shown.endswith(b"Password: "):
        shown += os.read(ours, 1024)
    os.write(ours, b"password1\n")
    assert 1 == process.wait(DEADLINE)
    shown += os.read(ours, 1024)
    os.close(ours)
    assert KNOWN.encode() in shown
    assert b"password1" not in shown


def test_check_without_the_filter(tmp_path: Path) -> None:
    """A filter that is missing is told, not passed over."""
    sentence = (
        f"picoauth: filter in [hibp]: {tmp_path / 'breaches'} cannot be read "
        "(No such file or directory): make it with `picoauth hibp build`.\n"
    )
    assert (2, "", sentence) == said(picoauth("check", given="correct horse\n"))


def test_check_that_cannot_be_made(settings: Path) -> None:
    """Where the API has to answer and does not, that is said."""
    settings.write_text(
        'plugins = ["password", "hibp"]\n[hibp]\nmode = "online"\non_error = "deny"\n'
        'url = "http://127.0.0.1:1/"\n'
    )
    result = picoauth("check", given="correct horse\n")
    expected = (
        "This cannot be done right now: try again. "
        "It cannot be looked at right now whether the password is known: try again later.\n"
    )
    assert (1, expected) == (result.exit_code, result.stdout)


def test_damaged(tmp_path: Path) -> None:
    """`verify` finds a body that is damaged."""
    picoauth("build", "list.txt")
    path = tmp_path / "breaches"
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    result = picoauth("verify")
    sentence = f"filter in [hibp]: {path} is damaged: copy it again, or make it anew.\n"
    assert 2 == result.exit_code
    assert result.stderr.endswith(sentence)


def test_commands_of_the_page(tmp_path: Path) -> None:
    """What the page says of the filter, in its order."""
    (tmp_path / "pwned.txt").write_bytes((tmp_path / "list.txt").read_bytes())
    for arguments in (["build", "pwned.txt", "--to", "breaches"], ["verify"]):
        assert 0 == picoauth(*arguments).exit_code
