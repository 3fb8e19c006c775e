"""The command `picoauth doctor`, as a person and a script have it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from picoauth.cli import cli
from tests.test_doctor import contents

SCRIPT = str(Path(sys.executable).with_name("picoauth"))
DEADLINE = 60
"""Seconds after which a test gives up on a process."""
STRICT = """plugins = ["password"]
trusted_proxies = ["unix"]
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the command is run: a folder with a settings file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PICOAUTH_CONFIG", raising=False)
    (tmp_path / "picoauth.toml").write_text(STRICT, encoding="utf-8")
    return tmp_path


def picoauth(*arguments: str) -> Result:
    result = CliRunner().invoke(cli, arguments, prog_name="picoauth")
    assert isinstance(result.exception, SystemExit | None), result.exception
    return result


def test_first_look(folder: Path) -> None:
    """Before the first start: something to mend, and nothing is made."""
    before = contents(folder)
    result = picoauth("doctor")
    assert 1 == result.exit_code
    first, second, *_, last = result.stdout.splitlines()
    assert "warning  migrations, the weakest link" == first
    assert second.startswith("  There is no database yet, ")
    assert last.startswith("Fine: settings-file, database-files, ")
    assert before == contents(folder)


def test_for_programs() -> None:
    """One object a line; advice alone is no failure."""
    assert 0 == picoauth("users", "list").exit_code
    result = picoauth("doctor", "--json")
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert {("check", "level", "problem")} == {tuple(one) for one in found}
    assert {"advice"} == {one["level"] for one in found if one["problem"]}
    assert 0 == result.exit_code


def test_checks_are_documented() -> None:
    """Each check has a name of its own, and a line on the doctor's page, with its level."""
    page = Path(__file__).parent.parent / "docs" / "doctor.md"
    text = page.read_text(encoding="utf-8")
    found = [json.loads(line) for line in picoauth("doctor", "--json").stdout.splitlines()]
    names = [one["check"] for one in found]
    assert {"database", "revocations", "clock", "password-cost", "password-peppers"} <= {*names}
    assert sorted(set(names)) == sorted(names)
    lines = [f"| `{one['check']}` | {one['level']} | " for one in found]
    assert [] == [line for line in lines if line not in text]


def break_settings(folder: Path) -> None:
    (folder / "picoauth.toml").write_text("colour = 1", encoding="utf-8")


def list_unknown(folder: Path) -> None:
    (folder / "picoauth.toml").write_text('plugins = ["pasword"]', encoding="utf-8")


def open_secret(folder: Path) -> None:
    (folder / "picoauth.secret").chmod(0o644)


def lose_secret(folder: Path) -> None:
    (folder / "picoauth.secret").unlink()


def lose_settings(folder: Path) -> None:
    (folder / "picoauth.toml").unlink()


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (break_settings, "picoauth: colour: is unknown.\npicoauth: plugins: is missing.\n"),
        (list_unknown, 'picoauth: plugins: pasword is not installed, did you mean "password"?\n'),
        (
            open_secret,
            (
                "picoauth: {folder}/picoauth.secret can be read by other users: "
                "run `chmod 600 {folder}/picoauth.secret`.\n"
            ),
        ),
        (
            lose_secret,
            (
                "picoauth: {folder}/picoauth.secret is missing, but the database picoauth.db exists "
                "and needs it: put the secret back from your backup.\n"
            ),
        ),
        (
            lose_settings,
            (
                "picoauth: There is no picoauth.toml: write one with `picoauth init`, "
                "or name another with --config.\n"
            ),
        ),
    ],
)
def test_start_that_will_fail(folder: Path, fault: Callable[[Path], None], sentence: str) -> None:
    """What stops the server is predicted, in its words; a script sees it by the code (FO-1)."""
    assert 0 == picoauth("users", "list").exit_code
    fault(folder)
    before = contents(folder)
    result = picoauth("doctor")
    assert (2, "", sentence.format(folder=folder)) == (
        result.exit_code,
        result.stdout,
        result.stderr,
    )
    assert sentence.format(folder=folder) == picoauth("serve").stderr
    assert before == contents(folder)


def test_address_in_use(folder: Path) -> None:
    """An address that is not free is no fault of the settings, but a finding (FO-1)."""
    (folder / "picoauth.sock").write_text("no socket", encoding="utf-8")
    assert 0 == picoauth("users", "list").exit_code
    result = picoauth("doctor")
    assert 1 == result.exit_code
    assert [
        "danger   listeners, the weakest link",
        (
            f"  bind: {folder}/picoauth.sock exists and is no socket: move it away, or choose another "
            "path."
        ),
    ] == result.stdout.splitlines()[:2]


def test_the_console_script(folder: Path) -> None:
    """The installed command ends with the code, by any path to the settings."""
    environment = {**os.environ, "PICOAUTH_CONFIG": str(folder / "picoauth.toml")}
    asked = [SCRIPT, "doctor", "--json"]
    done = subprocess.run(
        asked, check=False, capture_output=True, text=True, env=environment, timeout=DEADLINE
    )
    assert (1, "") == (done.returncode, done.stderr)
    assert "migrations" == json.loads(done.stdout.splitlines()[0])["check"]


def test_help() -> None:
    """The two commands, and what the codes mean."""
    shown = picoauth("doctor", "--help").stdout
    assert "proxy  Ask the running server what it sees of a request." in shown
    assert "Exits with 0 where there is nothing but advice" in shown
