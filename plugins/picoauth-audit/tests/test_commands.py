"""`picoauth audit list | verify | export | restart`."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from logbook import Log

from picoauth import Statement
from picoauth.cli import cli
from picoauth.testing import serving

BOTH = 'plugins = ["password", "audit"]'
ALTERED = "row 2 was altered, or one before it was added or removed"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with settings, with Ann and Bob."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PICOAUTH_CONFIG", raising=False)
    (tmp_path / "picoauth.toml").write_text(BOTH, encoding="utf-8")
    for name in ("ann", "bob"):
        assert 0 == picoauth("users", "create", name).exit_code
    return tmp_path


def picoauth(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments, prog_name="picoauth")


def shown(*arguments: str) -> list[Mapping[str, Any]]:
    result = picoauth("audit", "list", "--json", *arguments)
    assert 0 == result.exit_code, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def tamper(folder: Path, *statements: str) -> None:
    async def work() -> None:
        async with serving(folder) as server:
            for sql in statements:
                await server.auth.database.write(Statement(sql))

    asyncio.run(work())


def test_list(folder: Path) -> None:
    """The newest first, for people and for programs, with who did it."""
    assert ["UserRegistered", "UserRegistered", "SigningKeyAdded"] == [e["event"] for e in shown()]
    [bob, *_] = shown()
    assert bob["actor"].startswith("command:")
    lines = picoauth("audit", "list", "--user", "ann").stdout.splitlines()
    assert ["seq", "at", "event", "user_id", "who", "actor", "address", "members"] == (
        lines[0].split()
    )
    assert 2 == len(lines)
    assert "UserRegistered" in lines[1]
    assert "factors=[]" in lines[1]
    when = datetime.fromtimestamp(bob["at"], UTC)
    assert f"{when:%Y-%m-%d %H:%MZ}" in picoauth("audit", "list", "--user", "bob").stdout
    assert folder.is_dir()


def test_filters() -> None:
    """By user, event, time, actor and address; what fits nothing is nothing."""
    actor = shown()[0]["actor"]
    for arguments, count in (
        (("--user", "bob"), 1),
        (("--event", "UserRegistered"), 2),
        (("--event", "UserRegistered", "--user", "ann"), 1),
        (("--since", "2020-01-01"), 3),
        (("--since", "2020-01-01T00:00:00+02:00"), 3),
        (("--until", "2020-01-01"), 0),
        (("--until", "1577836800"), 0),
        (("--actor", actor), 2),
        (("--address", "192.0.2.1"), 0),
        (("--before", "2"), 1),
    ):
        assert count == len(shown(*arguments)), arguments


def test_pages() -> None:
    """A page says how the next one is asked for."""
    result = picoauth("audit", "list", "--json", "--limit", "2")
    assert "There are more: add --before 2\n" == result.stderr
    assert [1] == [one["seq"] for one in shown("--before", "2")]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("list", "--user", "cem"), "There is no user 'cem', and no such pseudonym: "),
        (
            ("list", "--event", "LoginFaild"),
            "There is no event 'LoginFaild', did you mean LoginFailed?",
        ),
        (("list", "--event", "Eclipse"), "no event 'Eclipse': see how it is written in a list"),
        (("list", "--since", "yesterday"), "write 2027-01-31, or 2027-01-31T08:00, in UTC"),
        (("list", "--until", "-5"), "write 2027-01-31, or 2027-01-31T08:00, in UTC"),
        (("list", "--until", "9" * 30), "write 2027-01-31, or 2027-01-31T08:00, in UTC"),
        (("list", "--limit", "0"), "is not in the range"),
        (("list", "--before", "0"), "is not in the range"),
        (("verify", "--anchor", "7"), "write a place and its link, as 4711:0f3c…"),
    ],
)
def test_what_cannot_be(arguments: tuple[str, ...], said: str) -> None:
    """What makes no sense is refused, with what would."""
    result = picoauth("audit", *arguments)
    assert 2 == result.exit_code
    assert said in result.stderr
    hint = ", and no such pseudonym: `picoauth users list` shows users."
    assert ("cem" in arguments) == (hint in result.stderr)


def test_event_that_did_not_happen() -> None:
    """One that is known is in no row, which is no mistake."""
    assert [] == shown("--event", "SigningKeyRetired")


def test_terminal_is_safe(folder: Path) -> None:
    """What a stranger sends cannot move the cursor of whoever looks."""

    async def work() -> None:
        async with serving(folder, BOTH) as server:
            agent = {"User-Agent": "x"}
            body = {"username": "ann", "password": "wrong password here"}
            await server.client.post("/auth/login", json=body, headers=agent)
            await Log(server).entries()
            await Log(server).write("update audit set address = ? where event = 'LoginFailed'",
                                    "\x1b[2J")  # fmt: skip

    asyncio.run(work())
    result = picoauth("audit", "list")
    assert "\\x1b[2J" in result.stdout
    assert "\x1b" not in result.stdout


def test_verify(folder: Path) -> None:
    """A whole log is 0, a broken one 1, with the place."""
    result = picoauth("audit", "verify")
    assert 0 == result.exit_code
    said, _, head = result.stdout.strip().rpartition(", up to ")
    assert "The audit log is whole: 3 rows" == said
    assert 0 == picoauth("audit", "verify", "--anchor", head).exit_code
    other = picoauth("audit", "verify", "--anchor", f"{head[:-1]}{'0' if head[-1] != '0' else '1'}")
    why = "row 3 has another link than the one that was noted"
    assert (1, f"The audit log is not what was written: {why}.\n") == (
        other.exit_code,
        other.stdout,
    )
    found = json.loads(picoauth("audit", "verify", "--json").stdout)
    assert {"whole": True, "rows": 3, "waiting": 0, "first": 0} == {
        name: found[name] for name in ("whole", "rows", "waiting", "first")
    }
    tamper(folder, "update audit set at = at - 1 where seq = 2")
    result = picoauth("audit", "verify")
    assert (1, f"The audit log is not what was written: {ALTERED}.\n") == (
        result.exit_code,
        result.stdout,
    )
    result = picoauth("audit", "verify", "--json")
    assert (1, {"whole": False, "why": ALTERED}) == (result.exit_code, json.loads(result.stdout))


def test_export() -> None:
    """Every row with its link, in the order of the chain, and by time."""
    lines = picoauth("audit", "export").stdout.splitlines()
    rows = [json.loads(line) for line in lines]
    assert [1, 2, 3] == [row["seq"] for row in rows]
    assert {64} == {len(row["link"]) for row in rows}
    assert {"place", "mac"}.isdisjoint(rows[0])
    assert "" == picoauth("audit", "export", "--until", "2020-01-01").stdout
    assert 3 == len(picoauth("audit", "export", "--since", "2020-01-01").stdout.splitlines())


def test_broken_log_can_be_read(folder: Path) -> None:
    """Where the end is altered, list and export show what is there, and say so."""
    picoauth("audit", "verify")
    tamper(folder, "update audit_head set version = 99")
    for command in ("list", "export"):
        result = picoauth("audit", command)
        assert 0 == result.exit_code
        said = "The audit log is not what was written: the end of the chain was altered.\n"
        assert said == result.stderr
        assert "UserRegistered" in result.stdout


def test_restart(folder: Path) -> None:
    """A broken chain goes into a file, as it is, and a new one begins with a row that says so."""
    result = picoauth("audit", "restart", "old.jsonl")
    assert "The audit log is whole: there is nothing to restart." in result.stderr
    assert 2 == result.exit_code
    tamper(
        folder,
        "update audit set at = at - 1 where seq = 2",
        "insert into audit_unsealed (id, at, event, members) values ('x', 1, 'Forged', '{}')",
    )
    result = picoauth("audit", "restart", str(folder))
    assert f"{folder} cannot be written (File exists): " in result.stderr
    assert "): name a new file in a folder of yours." in result.stderr
    result = picoauth("audit", "restart", "old.jsonl")
    assert (0, "4 rows are in old.jsonl, and a new chain begins.\n") == (
        result.exit_code,
        result.stdout,
    )
    rows = [json.loads(line) for line in (folder / "old.jsonl").read_text().splitlines()]
    assert [1, 2, 3, None] == [row["seq"] for row in rows]
    assert 0o600 == stat.S_IMODE((folder / "old.jsonl").stat().st_mode)
    [only] = shown()
    assert ("AuditRestarted", 4, 4) == (only["event"], only["seq"], only["members"]["rows"])
    assert 0 == picoauth("audit", "verify").exit_code
    assert 0 == picoauth("users", "create", "cem").exit_code
    assert ["UserRegistered"] == [one["event"] for one in shown("--user", "cem")]


def test_restart_without_a_head(folder: Path) -> None:
    """Also where the sealed end itself is gone."""
    picoauth("audit", "verify")
    tamper(folder, "delete from audit_head")
    assert 1 == picoauth("audit", "verify").exit_code
    assert 0 == picoauth("audit", "restart", "old.jsonl").exit_code
    assert 0 == picoauth("audit", "verify").exit_code
