"""The plugin's page: its commands do what it says."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from picoauth.cli import cli
from tests.pages import blocks

PAGE = Path(__file__).parent.parent / "README.md"
MADE = """\
username  user_id  permission      role
ann       …        media:watch     editors
ann       …        picoauth:admin  -
ann       …        wiki:edit       -
ann       …        wiki:edit       editors
"""


def test_commands_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Typed in order, they give Ann what the page says; and every command of the plugin is there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PICOAUTH_CONFIG", raising=False)
    (tmp_path / "picoauth.toml").write_text('plugins = ["permissions"]', encoding="utf-8")
    text = PAGE.read_text(encoding="utf-8")
    typed = ["picoauth users create ann", *commands(), "picoauth permissions list"]
    for line in typed:
        result = CliRunner().invoke(cli, shlex.split(line)[1:], prog_name="picoauth")
        assert 0 == result.exit_code, result.output
    shown = [line.split() for line in result.output.splitlines()]
    assert [line.split()[2:] for line in MADE.splitlines()] == [row[2:] for row in shown]
    for name in ("list", "grant", "revoke", "roles list", "roles set", "roles remove"):
        assert f"`picoauth permissions {name}" in text
        assert 0 == CliRunner().invoke(cli, ["permissions", *name.split(), "--help"]).exit_code


def commands() -> list[str]:
    found = [block.text for block in blocks(PAGE) if block.language == "sh"]
    return [line for text in found for line in text.splitlines() if line.startswith("picoauth")]
