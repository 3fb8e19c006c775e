"""The engine: its contract, keys that it refuses, and bits that were flipped."""

from __future__ import annotations

import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
import pytest_asyncio
from encrypting import KEY, OTHER, PLANTED, SETTINGS, TABLE, opened

from picoauth import Auth, ConfigError, Conflict, Database, Embedded, Statement, Unavailable, parse
from picoauth.backups import backup, restore
from picoauth.testing import serving
from picoauth.testing.contracts import DatabaseContract
from picoauth_encrypted.connections import connecting, raw

HEADER = b"SQLite format 3\0"
THING = Statement("create table t (id integer primary key, name text not null)")
PUT = "insert into t (id, name) values (?, ?)"


def engine(path: Path, key: bytes = KEY) -> Embedded:
    return Embedded(path, connect=connecting(raw(key)), patience=0.05)


class TestEncrypted(DatabaseContract):
    """The engine on one encrypted file."""

    @pytest_asyncio.fixture
    async def database(self, tmp_path: Path) -> AsyncIterator[Database]:
        database = engine(tmp_path / "contract.db")
        yield database
        await database.close()

    async def down(self, database: Database) -> None:
        await database.close()  # type: ignore[attr-defined]


async def test_second_statement_is_refused(tmp_path: Path) -> None:
    """Neither of both is done; a semicolon in a text, or at the end, is none (D-1)."""
    database = engine(tmp_path / "a.db")
    await database.write(THING)
    with pytest.raises(sqlite3.ProgrammingError, match="one statement at a time"):
        await database.write(Statement("insert into t values (1, 'a'); delete from t"))
    with pytest.raises(sqlite3.ProgrammingError, match="one statement at a time"):
        await database.read("select 1; select 2")
    await database.write(Statement("insert into t values (2, 'a;b');"))
    assert [(2, "a;b")] == await database.read("select * from t")
    await database.close()


async def test_what_is_touched_is_counted_by_statement(tmp_path: Path) -> None:
    """A statement that finds nothing does not answer what the one before it touched."""
    database = engine(tmp_path / "a.db")
    await database.write(THING, Statement(PUT, (1, "a"), rows=1))
    for sql in ("select id from t where id = 9", "delete from t where id = 9"):
        with pytest.raises(Conflict) as caught:
            await database.write(Statement(PUT, (2, "b"), rows=1), Statement(sql, rows=1))
        assert 1 == caught.value.index
    await database.close()


async def test_locked_database_is_unavailable(tmp_path: Path) -> None:
    """The codes of errors are those of sqlite3, so that another try may follow."""
    database = engine(tmp_path / "a.db")
    await database.write(THING)
    with closing(opened(tmp_path / "a.db")) as other:
        other.execute("begin immediate")
        with pytest.raises(Unavailable, match="SQLITE_BUSY"):
            await database.write(Statement(PUT, (1, "a")))
    await database.write(Statement(PUT, (1, "a")))
    await database.close()


def test_folder_as_database(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError) as caught:
        opened(tmp_path)
    assert "SQLITE_CANTOPEN" == caught.value.sqlite_errorname


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        (None, "is missing or empty: provide it there."),
        (b"", "is missing or empty: provide it there."),
        (b" \n", "is missing or empty: provide it there."),
        (b"correct horse battery staple", "is too short or too regular: "),
        (b"a" * 64, "is too short or too regular: "),
    ],
)
def test_key_that_is_none(keyed: Path, key: bytes | None, sentence: str) -> None:
    """It refuses to start, and makes no database of any kind (D-3)."""
    path = keyed / "picoauth.key"
    path.unlink() if key is None else path.write_bytes(key)
    with pytest.raises(ConfigError) as caught:
        Auth(parse(SETTINGS, keyed))
    assert sentence in str(caught.value)
    assert not (keyed / "picoauth.db").exists()


def test_key_that_is_not_set(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        Auth(parse('plugins = ["encrypted"]', tmp_path))
    assert "encryption_key" in str(caught.value)
    assert not (tmp_path / "picoauth.db").exists()


def test_key_that_others_can_read(keyed: Path) -> None:
    path = keyed / "picoauth.key"
    path.chmod(0o644)
    with pytest.raises(ConfigError) as caught:
        Auth(parse(SETTINGS, keyed))
    assert f"{path} can be read by other users: run `chmod 600 {path}`." in str(caught.value)


def test_database_elsewhere(keyed: Path) -> None:
    (keyed / "picoauth.secret").touch(0o600)
    (keyed / "picoauth.secret").write_bytes(OTHER)
    with pytest.raises(ConfigError) as caught:
        Auth(parse(f'plugins = ["encrypted"]\ndatabase = "libsql://x"{TABLE}', keyed))
    assert str(caught.value) == (
        "encrypted: the database is no file of this machine: take encrypted out of `plugins`."
    )


async def test_wrong_key(keyed: Path) -> None:
    """The file is left as it is, and opens with the right one afterwards."""
    async with serving(keyed, SETTINGS) as server:
        await server.register()
    before = (keyed / "picoauth.db").read_bytes()
    (keyed / "picoauth.key").write_bytes(OTHER)
    with pytest.raises(ConfigError) as caught:
        Auth(parse(SETTINGS, keyed))
    assert str(caught.value) == (
        f"The `encryption_key` of [encrypted] does not open {keyed / 'picoauth.db'}: put the key "
        "back that it was encrypted with, or a backup where the file is damaged."
    )
    assert before == (keyed / "picoauth.db").read_bytes()
    (keyed / "picoauth.key").write_bytes(KEY)
    async with serving(keyed, SETTINGS) as server:
        await server.login()


def test_plain_file(keyed: Path) -> None:
    with closing(sqlite3.connect(keyed / "picoauth.db")) as plain:
        plain.execute("create table t (id)")
    (keyed / "picoauth.secret").touch(0o600)
    (keyed / "picoauth.secret").write_bytes(OTHER)
    with pytest.raises(ConfigError) as caught:
        Auth(parse(SETTINGS, keyed))
    assert str(caught.value) == (
        f"{keyed / 'picoauth.db'} is not encrypted: stop the server and run "
        "`picoauth encrypted encrypt`, or take encrypted out of `plugins`."
    )


def test_other_errors_stay(keyed: Path) -> None:
    """A folder is no matter of keys."""
    (keyed / "picoauth.secret").touch(0o600)
    (keyed / "picoauth.secret").write_bytes(OTHER)
    (keyed / "picoauth.db").mkdir()
    with pytest.raises(ConfigError, match="cannot be opened: Is a directory"):
        Auth(parse(SETTINGS, keyed))


async def test_backup_is_under_the_same_key(keyed: Path) -> None:
    """And so is what is restored; it logs in again."""
    async with serving(keyed, SETTINGS) as server:
        someone = await server.join("password", "totp")
        await backup(server.auth, keyed / "backup.db")
        clock = server.clock
    assert HEADER != (keyed / "backup.db").read_bytes()[:16]
    with closing(opened(keyed / "backup.db")) as copy:
        assert [(1,)] == copy.execute("select count(*) from totp").fetchall()
    await restore(parse(SETTINGS, keyed), keyed / "backup.db", Auth)
    assert HEADER != (keyed / "picoauth.db").read_bytes()[:16]
    clock.advance(120)
    async with serving(keyed, SETTINGS, clock=clock) as server:
        object.__setattr__(someone, "server", server)
        assert (await someone.login())["access_token"]


async def test_plain_backup_is_not_restored(keyed: Path) -> None:
    async with serving(keyed, SETTINGS) as server:
        await server.register()
    with closing(sqlite3.connect(keyed / "backup.db")) as plain:
        plain.execute("create table t (id)")
    before = (keyed / "picoauth.db").read_bytes()
    with pytest.raises(ConfigError) as caught:
        await restore(parse(SETTINGS, keyed), keyed / "backup.db", Auth)
    assert str(caught.value).startswith(f"{keyed / 'backup.db'} is not encrypted: ")
    assert before == (keyed / "picoauth.db").read_bytes()


def made(folder: Path, count: int) -> list[tuple[int, str]]:
    """A database with rows in its file and others in its log, as a crash leaves it."""
    script = f"""
import os, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from encrypting import opened
c = opened(Path({str(folder / "live.db")!r}))
c.execute("pragma journal_mode = wal")
c.execute("pragma wal_autocheckpoint = 0")
c.execute("create table t (id integer primary key, name text not null)")
for n in range({count}):
    c.execute("insert into t values (?, ?)", (n, "{PLANTED} %d " % n * 20))
    if n == {count // 2}:
        c.execute("pragma wal_checkpoint(full)")
os.kill(os.getpid(), 9)
"""
    ended = subprocess.run([sys.executable, "-c", script], check=False)
    assert -signal.SIGKILL == ended.returncode
    return [(n, f"{PLANTED} {n} " * 20) for n in range(count)]


def test_flipped_bits_are_noticed(tmp_path: Path) -> None:
    """150 of the file and 150 of its log: an error, or rows that were written, and no others (D-2).

    A log is cut where its check fails, as after a crash: commits at its end are then missing.
    """
    rows, chance = made(tmp_path, 200), random.Random(9)  # noqa: S311 - no secret
    found = {"error": 0, "cut": 0, "whole": 0}
    for number in range(300):
        for end in ("", "-wal"):
            shutil.copyfile(tmp_path / f"live.db{end}", tmp_path / f"try.db{end}")
        (tmp_path / "try.db-shm").unlink(missing_ok=True)
        end = "" if number < 150 else "-wal"
        flip(tmp_path / f"try.db{end}", chance)
        answer = looked(tmp_path / "try.db")
        if answer is None:
            found["error"] += 1
        else:
            assert answer == rows[: len(answer)]
            assert len(answer) >= 101  # the file has these
            found["whole" if answer == rows else "cut"] += 1
    assert found["error"] + found["cut"] >= 250, found


def test_every_flipped_bit_of_a_file_is_noticed(tmp_path: Path) -> None:
    """150 of them, in a file that has no log: each is an error (D-2)."""
    with closing(opened(tmp_path / "live.db")) as connection:
        connection.execute("create table t (id integer primary key, name text not null)")
        connection.execute("insert into t values (1, ?)", (PLANTED * 1000,))
    assert [(1, PLANTED * 1000)] == looked(tmp_path / "live.db")
    chance = random.Random(9)  # noqa: S311 - no secret
    for _ in range(150):
        shutil.copyfile(tmp_path / "live.db", tmp_path / "try.db")
        flip(tmp_path / "try.db", chance)
        assert looked(tmp_path / "try.db") is None


def flip(path: Path, chance: random.Random) -> None:
    with path.open("r+b") as file:
        bit = chance.randrange(path.stat().st_size * 8)
        file.seek(bit // 8)
        [byte] = file.read(1)
        file.seek(bit // 8)
        file.write(bytes([byte ^ 1 << bit % 8]))


def looked(path: Path) -> list[tuple[int, str]] | None:
    try:
        with closing(opened(path)) as connection:
            return connection.execute("select id, name from t order by id").fetchall()
    except sqlite3.Error:
        return None


def test_nothing_is_written_beside(tmp_path: Path) -> None:
    """What is sorted, and too large for the cache, stays in memory; by SQLite's default it would not."""
    script = f"""
import os, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from encrypting import opened
def temporary():
    links = [os.path.join("/proc/self/fd", name) for name in os.listdir("/proc/self/fd")]
    return sum("(deleted)" in os.readlink(link) for link in links if os.path.islink(link))
def sorted_files():
    rows = c.apsw.execute("select name from t order by name desc")
    next(rows)
    return temporary()
c = opened(Path({str(tmp_path / "a.db")!r}))
c.execute("create table t (name text)")
n = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 60000)"
c.execute("insert into t " + n + " select '{PLANTED} ' || i || hex(randomblob(100)) from n")
c.execute("pragma cache_size = 10")
ours = sorted_files()
c.execute("pragma temp_store = file")
print(ours, sorted_files() > 0)
"""
    ended = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    assert "0 True\n" == ended.stdout
    assert PLANTED.encode() not in b"".join(p.read_bytes() for p in tmp_path.glob("a.db*"))


def test_killed_server_loses_nothing(tmp_path: Path) -> None:
    """What was answered is there after `kill -9`, and the file is sound."""
    script = f"""
import asyncio, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from encrypting import KEY
from picoauth import Embedded, Statement
from picoauth_encrypted.connections import connecting, raw
async def work():
    database = Embedded(Path({str(tmp_path / "a.db")!r}), connect=connecting(raw(KEY)))
    await database.write(Statement("create table if not exists t (id integer primary key, name text not null)"))
    [(start,)] = await database.read("select coalesce(max(id), 0) from t")
    async def put(n):
        await database.write(Statement("insert into t values (?, 'x')", (n,), rows=1))
        print(n, flush=True)
    for n in range(start + 1, start + 100000, 8):
        await asyncio.gather(*map(put, range(n, n + 8)))
asyncio.run(work())
"""
    acknowledged: set[int] = set()
    for many in (1, 30, 100, 7, 55):
        command = [sys.executable, "-c", script]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            acknowledged.update(int(process.stdout.readline()) for _ in range(many))
            process.kill()
            acknowledged.update(map(int, process.stdout.read().rpartition("\n")[0].split()))
    with closing(opened(tmp_path / "a.db")) as connection:
        assert acknowledged <= {n for (n,) in connection.execute("select id from t")}
        assert [("ok",)] == connection.execute("pragma integrity_check").fetchall()
