"""The commands: what goes and what stays, on a stopped server, and `kill -9` at every step."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import warnings
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from encrypting import KEY, OTHER, PLANTED, SETTINGS, invoke, opened, rows

from picoauth import ConfigError, Embedded
from picoauth.copies import sweep
from picoauth.sqlite import connect
from picoauth.testing import serving
from picoauth_encrypted.commands import sound
from picoauth_encrypted.connections import Answer, Connection, connecting, libsql, raw

LIBSQL = b"a key of libSQL"
HEADER = b"SQLite format 3\0"


@pytest.fixture
def folder(keyed: Path) -> Path:
    """Settings with the plugin in them, and an old key."""
    (keyed / "picoauth.toml").write_text(SETTINGS)
    for name, value in (
        ("old.key", OTHER),
        ("libsql.key", LIBSQL),
        ("picoauth.secret", b"".join((OTHER, KEY))),
    ):
        (keyed / name).touch(0o600)
        (keyed / name).write_bytes(value)
    return keyed


def plain(folder: Path) -> sqlite3.Connection:
    return sqlite3.connect(folder / "picoauth.db", isolation_level=None)


def filled(connection: sqlite3.Connection) -> None:
    """A row in the file, and one in the log that a crash would leave."""
    with closing(connection):
        connection.execute("pragma journal_mode = wal")
        connection.execute("create table t (id integer primary key, name text)")
        connection.execute("insert into t values (1, ?), (2, 'x')", (PLANTED,))


FILL = {
    "encrypt": connect,
    "decrypt": opened,
    "rekey": lambda path: opened(path, OTHER),
    "libsql": lambda path: connecting(libsql(LIBSQL))(str(path)),
}
WORDS = {
    "encrypt": ["encrypt"],
    "decrypt": ["decrypt"],
    "rekey": ["rekey", "old.key"],
    "libsql": ["encrypt", "--libsql", "libsql.key"],
}
AFTER = {**dict.fromkeys(WORDS, opened), "decrypt": FILL["encrypt"]}


def words(folder: Path, what: str) -> list[str]:
    return [str(folder / word) if word.endswith(".key") else word for word in WORDS[what]]


@pytest.mark.parametrize("what", WORDS)
def test_moves_every_row(folder: Path, what: str) -> None:
    """The old file stays where it was encrypted under a key; what was plain, or libSQL's, goes."""
    path = folder / "picoauth.db"
    filled(FILL[what](path))
    mode = path.stat().st_mode & 0o700
    result = invoke(folder, "encrypted", *words(folder, what))
    assert 0 == result.exit_code, result.output
    assert [(PLANTED,), ("x",)] == rows(AFTER[what](path))
    assert (0o600, 0o600) == (path.stat().st_mode & 0o777, mode)
    asides = sorted(p.name for p in folder.glob("picoauth.db.*"))
    assert (1 if what in ("decrypt", "rekey") else 0) == len(asides)
    if asides:
        assert [(PLANTED,), ("x",)] == rows(FILL[what](folder / asides[0]))
        assert asides[0] in result.output
    assert [] == list(folder.glob(".picoauth*"))
    leaks = [p for p in folder.iterdir() if PLANTED.encode() in p.read_bytes()]
    assert ([path] if what == "decrypt" else []) == leaks


def test_file_of_libsql_itself(folder: Path) -> None:
    """One that the package `libsql` 0.1.11 has written, with `encryption_key`, is taken over."""
    path = folder / "picoauth.db"
    path.write_bytes(Path(__file__).with_name("libsql-0.1.11.bin").read_bytes())
    result = invoke(folder, "encrypted", *words(folder, "libsql"))
    assert 0 == result.exit_code, result.output
    with closing(opened(path)) as connection:
        found = [text for (text,) in connection.execute("select text from thing order by id")]
    assert ["row 0", "row 1", "row 2"] == found


@pytest.mark.parametrize(
    ("what", "state", "sentence"),
    [
        ("encrypt", None, "There is no database {} yet: start the server, which makes it."),
        ("encrypt", "decrypt", "{} is encrypted with the key of the settings already: there is"),
        ("decrypt", "encrypt", "{} is not encrypted already: there is nothing to do."),
        ("rekey", "decrypt", "{} is encrypted with the key of the settings already: there is"),
        ("rekey", "encrypt", "{} is not encrypted: name the key that it is encrypted with."),
        ("encrypt", "rekey", "{} is under another key, or damaged: name the key that it is"),
        ("decrypt", "libsql", "{} is under another key, or damaged: name the key that it is"),
    ],
)
def test_refuses(folder: Path, what: str, state: str | None, sentence: str) -> None:
    """What is not as it says is left as it is."""
    path = folder / "picoauth.db"
    if state:
        filled(FILL[state](path))
    before = path.read_bytes() if state else None
    result = invoke(folder, "encrypted", *words(folder, what))
    assert 2 == result.exit_code
    said = sentence.format(path)
    assert said in result.output, result.output
    assert before == (path.read_bytes() if path.exists() else None)


@pytest.mark.parametrize("what", WORDS)
async def test_refuses_while_the_server_runs(folder: Path, what: str) -> None:
    path = folder / "picoauth.db"
    filled(FILL[what](path))
    server = Embedded(path, connect=FILL[what])
    ended = alone(folder, *words(folder, what))
    assert 2 == ended.returncode
    assert f"{path} is in use: stop the server, and whatever else has it open." in ended.stderr
    assert [(PLANTED,), ("x",)] == await server.read("select name from t order by id")
    await server.close()
    assert under(FILL[what], path)


def alone(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own: within one, locks hold nobody up."""
    arguments = ["--config", str(folder / "picoauth.toml"), "encrypted", *words]
    script = f"from picoauth.cli import main; main({arguments!r})"
    return subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, text=True
    )


def test_busy_database(folder: Path) -> None:
    """One that cannot even be looked at."""
    with closing(plain(folder)) as holder:
        holder.execute("create table t (id)")
        holder.execute("begin exclusive")
        result = alone(folder, "encrypt")
    assert 2 == result.returncode
    assert "cannot be opened: database is locked. Stop what holds it." in result.stderr


def test_key_of_libsql_is_text(folder: Path) -> None:
    filled(plain(folder))
    (folder / "libsql.key").write_bytes(b"\xff\xfe")
    result = invoke(folder, "encrypted", "encrypt", "--libsql", str(folder / "libsql.key"))
    assert 2 == result.exit_code
    assert result.output == (
        f"picoauth: The key in {folder / 'libsql.key'} is no text, as one of libSQL is.\n"
    )


def test_damaged_database_stays(folder: Path) -> None:
    """Nothing takes its place that SQLite finds faults in."""
    path = folder / "picoauth.db"
    filled(opened(path, OTHER))
    with path.open("r+b") as file:
        file.seek(4096 + 100)
        file.write(b"\0" * 64)
    before = path.read_bytes()[4096:]
    result = invoke(folder, "encrypted", "rekey", str(folder / "old.key"))
    assert 2 == result.exit_code
    assert result.output.startswith("picoauth: The database is damaged: ")
    assert result.output.endswith(". Put a backup in its place.\n")
    assert before == path.read_bytes()[4096:]
    assert [] == list(folder.glob(".picoauth*"))


def test_copy_that_is_damaged(folder: Path) -> None:
    """It takes nothing's place."""
    (folder / "copy").write_bytes(b"no database " * 1000)
    with pytest.raises(ConfigError) as caught:
        sound(folder / "copy", raw(KEY))
    assert str(caught.value) == (
        "The database is damaged: file is not a database. Put a backup in its place."
    )


@pytest.mark.parametrize("what", ["encrypt", "rekey"])
def test_full_disk(folder: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """The old one stays, and nothing beside it."""
    path, execute = folder / "picoauth.db", Connection.execute

    def full(self: Connection, sql: str, *args: Any) -> Answer:
        if sql.startswith("vacuum"):
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorname = "SQLITE_FULL"
            raise error
        return execute(self, sql, *args)

    filled(FILL[what](path))
    monkeypatch.setattr(Connection, "execute", full)
    result = invoke(folder, "encrypted", *words(folder, what))
    assert 2 == result.exit_code
    assert "cannot be written: database or disk is full. Choose a folder" in result.output
    assert under(FILL[what], path)
    assert [] == list(folder.glob(".picoauth*"))


async def test_command_for_a_server_with_users(folder: Path) -> None:
    """From plain to encrypted, to another key, and back: they log in each time."""
    bare = 'plugins = ["password", "totp"]'
    async with serving(folder, bare) as server:
        await server.register()
    for what, settings, key in (
        (["encrypt"], SETTINGS, KEY),
        (["rekey", str(folder / "old.key")], SETTINGS, OTHER),
        (["decrypt"], bare, OTHER),
    ):
        if what[0] == "rekey":
            (folder / "old.key").write_bytes(KEY)
            (folder / "picoauth.key").write_bytes(OTHER)
        result = await asyncio.to_thread(invoke, folder, "encrypted", *what)
        assert 0 == result.exit_code, (result.output, key)
        async with serving(folder, settings) as server:
            await server.login()


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


class Killer:
    """Ends its process by SIGKILL at a step: a statement, or a file that is opened, moved or removed."""

    def __init__(self, after: int) -> None:
        self.left = after

    def step(self) -> None:
        self.left -= 1
        if self.left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def audited(self, event: str, args: tuple[object, ...]) -> None:
        moved = event in ("os.rename", "os.link", "os.remove")
        if moved or (event == "open" and "picoauth.db" in str(args[0])):
            self.step()

    def arm(self) -> None:
        execute = Connection.execute

        def stepping(connection: Connection, *args: Any) -> Answer:
            self.step()
            answer = execute(connection, *args)
            self.step()
            return answer

        Connection.execute = stepping  # type: ignore[assignment]
        sys.addaudithook(self.audited)


def killed(after: int, folder: Path, *words: str) -> bool:
    """Whether the command was killed at that step; in a process that is forked off."""
    with warnings.catch_warnings(action="ignore"):
        child = os.fork()
    if child == 0:
        Killer(after).arm()
        os._exit(invoke(folder, *words).exit_code)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, -signal.SIGKILL)
    return status != 0


@pytest.mark.parametrize("what", WORDS)
def test_killed_at_every_step(folder: Path, what: str) -> None:
    """The old or the new one is there, whole; the command, run again, ends what was begun."""
    path, arguments = folder / "picoauth.db", ["encrypted", *words(folder, what)]
    for after in count():
        for left in folder.glob("*picoauth.db*"):
            left.unlink()
        filled(FILL[what](path))
        dead = killed(after, folder, *arguments)
        done = under(AFTER[what], path)
        assert done != under(FILL[what], path)
        again = invoke(folder, *arguments)
        assert (2 if done else 0) == again.exit_code, (after, again.output)
        assert [(PLANTED,), ("x",)] == rows(AFTER[what](path))
        leaks = [p.name for p in files(folder) if PLANTED.encode() in p.read_bytes()]
        assert ([path.name] if what == "decrypt" else []) == leaks
        if not done:  # what was left goes with the next run
            assert [] == list(folder.glob(".picoauth*"))
        sweep(folder)  # as a start does
        assert [] == list(folder.glob(".picoauth*"))
        if not dead:
            break
    assert after > 15


def under(opening: object, path: Path) -> bool:
    """Whether a file has its rows, opened so."""
    try:
        return [(PLANTED,), ("x",)] == rows(opening(path))  # type: ignore[operator]
    except sqlite3.Error:
        return False
