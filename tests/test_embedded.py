"""The embedded engine: group commit, conditions on rows, and what a broken file answers."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from picoauth import ConfigError, Conflict, Embedded, Statement, Unavailable
from picoauth.sqlite import Connect, connect
from tests.storage import DEADLINE, exactly

DAMAGED = "the database file is damaged (SQLITE_CORRUPT), and a backup has to replace it"
TABLE = Statement("create table t (id integer primary key, name text not null unique)")

HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute(sys.argv[2])
print("held", flush=True)
sys.stdin.readline()
"""


def put(number: int, name: str | None = None) -> Statement:
    return Statement("insert into t values (?, ?)", (number, name or str(number)))


def watching(*before: Callable[[str], None]) -> Connect:
    """Opens connections that tell of each statement before it runs."""

    class Watched(sqlite3.Connection):
        def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
            for tell in before:
                tell(sql)
            return super().execute(sql, *args)

    def opening(path: str) -> sqlite3.Connection:
        return sqlite3.connect(path, isolation_level=None, check_same_thread=False, factory=Watched)

    return opening


class Gate:
    """Holds the writer at one statement, once it is closed, and notes what ran."""

    def __init__(self, at: str) -> None:
        self.at = at
        self.ran: list[str] = []
        self.reached = threading.Event()
        self.open = threading.Event()
        self.open.set()

    def __call__(self, sql: str) -> None:
        self.ran.append(sql)
        if sql == self.at and not self.open.is_set():
            self.reached.set()
            assert self.open.wait(DEADLINE)

    async def closed_on(self, database: Embedded, *statements: Statement) -> asyncio.Task[Any]:
        """Begin a write, and have the writer wait in it."""
        self.ran.clear()
        self.open.clear()
        writing = asyncio.create_task(database.write(*statements))
        assert await asyncio.to_thread(self.reached.wait, DEADLINE)
        return writing


class Fault:
    """Breaks statements that contain a text, so many times, with a result code of SQLite's."""

    def __init__(self, text: str, code: int = sqlite3.SQLITE_FULL, times: int = 1) -> None:
        self.text, self.code, self.times = text, code, times
        self.spared = 0

    def __call__(self, sql: str) -> None:
        if self.text not in sql or not self.times:
            return
        if self.spared:
            self.spared -= 1
            return
        self.times -= 1
        error = sqlite3.OperationalError("as the test wants it")
        error.sqlite_errorcode, error.sqlite_errorname = self.code, f"CODE_{self.code}"
        raise error


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "test.db"


@pytest.fixture
async def database(path: Path) -> AsyncIterator[Embedded]:
    database = Embedded(path, patience=0.05)
    await database.write(TABLE)
    yield database
    await database.close()


@pytest.fixture
async def gate(path: Path) -> AsyncIterator[tuple[Gate, Embedded]]:
    """A database whose writer can be held as it begins."""
    gate = Gate("begin immediate")
    database = Embedded(path, connect=watching(gate))
    await database.write(TABLE)
    yield gate, database
    gate.open.set()
    await database.close()


@contextmanager
def held(path: Path, sql: str = "begin exclusive") -> Iterator[None]:
    """Another process holds the file."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path), sql],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        yield
        process.communicate("\n")


def seen(path: Path) -> list[int]:
    """What another connection finds."""
    with closing(sqlite3.connect(path)) as other:
        return [number for (number,) in other.execute("select id from t order by id")]


async def test_waiting_writes_share_one_commit(gate: tuple[Gate, Embedded], path: Path) -> None:
    """What comes while the writer is busy is committed together, in the order it came.

    Each of them has a savepoint; the one that came alone needs none.
    """
    held, database = gate
    first = await held.closed_on(database, put(0))
    rest = [asyncio.create_task(database.write(put(n))) for n in range(1, 33)]
    await asyncio.sleep(0)
    held.open.set()
    await asyncio.gather(first, *rest)
    assert ["begin immediate", "commit"] * 2 == [s for s in held.ran if s in ("commit", held.at)]
    assert 32 == held.ran.count("savepoint one")
    assert [str(put(n).sql) for n in range(33)] == [s for s in held.ran if s.startswith("insert")]
    assert list(range(33)) == seen(path)


BROKEN: dict[str, tuple[Statement, type[Exception]]] = {
    "constraint": (put(2, "1"), Conflict),
    "rows": (Statement("update t set name = 'x' where id = 99", rows=1), Conflict),
    "syntax": (Statement("selec"), sqlite3.OperationalError),
    "two statements": (Statement("select 1; select 2"), sqlite3.ProgrammingError),
    "arguments": (Statement("insert into t values (?, ?)", (2,)), sqlite3.ProgrammingError),
    "type": (Statement("insert into t values (?, ?)", (2, object())), sqlite3.Error),  # type: ignore[arg-type]
    "too large": (Statement("insert into t values (?, '2')", (2**63,)), OverflowError),
    "no text": (Statement("insert into t values (2, ?)", ("\ud800",)), UnicodeEncodeError),
    "begin": (Statement("begin"), ValueError),
    "commit": (Statement(" COMMIT"), ValueError),
    "end": (Statement("end transaction"), ValueError),
    "rollback": (Statement("rollback to one"), ValueError),
    "savepoint": (Statement("savepoint two"), ValueError),
    "release": (Statement("release one"), ValueError),
}


@pytest.mark.parametrize("kind", BROKEN)
async def test_broken_write_stays_alone(gate: tuple[Gate, Embedded], path: Path, kind: str) -> None:
    """One of a group that breaks is undone as a whole; its neighbours are written."""
    held, database = gate
    statement, error = BROKEN[kind]
    first = await held.closed_on(database, put(0))
    writes = [(put(1),), (put(10), statement, put(11)), (put(3),)]
    rest = [asyncio.create_task(database.write(*each)) for each in writes]
    await asyncio.sleep(0)
    held.open.set()
    results = await asyncio.gather(first, *rest, return_exceptions=True)
    assert isinstance(results.pop(2), error)
    assert [[[]]] * 3 == results
    assert 2 == held.ran.count("commit")
    assert [0, 1, 3] == seen(path)
    assert not database.writer.in_transaction


@pytest.mark.parametrize("kind", BROKEN)
async def test_broken_write_alone(database: Embedded, path: Path, kind: str) -> None:
    """One that breaks and has no neighbours is undone as a whole; the next one is written."""
    statement, error = BROKEN[kind]
    await database.write(put(2))
    with pytest.raises(error):
        await database.write(put(10), statement, put(11))
    assert not database.writer.in_transaction
    await database.write(put(3))
    assert [2, 3] == seen(path)


async def test_full_disk_fails_the_whole_group(path: Path) -> None:
    """Where the file cannot grow, nobody of the group is told a success, and nothing is kept."""
    gate = Gate("begin immediate")
    database = Embedded(path, connect=watching(gate))
    await database.write(TABLE)
    [(pages,)] = await database.read("pragma page_count")
    database.writer.execute(f"pragma max_page_count = {pages}")
    first = await gate.closed_on(database, put(0))
    rest = [
        asyncio.create_task(database.write(each)) for each in (put(1), put(2, "x" * 99999), put(3))
    ]
    await asyncio.sleep(0)
    gate.open.set()
    results = await asyncio.gather(first, *rest, return_exceptions=True)
    assert [[[]], *["the database answers SQLITE_FULL"] * 3] == [
        str(r) if isinstance(r, Unavailable) else r for r in results
    ]
    assert [0] == seen(path)
    database.writer.execute("pragma max_page_count = 1000")
    await database.write(put(4))
    assert [0, 4] == seen(path)
    await database.close()


@pytest.mark.parametrize("statement", ["commit", "savepoint one", "release one", "begin immediate"])
async def test_failing_step_fails_the_whole_group(path: Path, statement: str) -> None:
    """An error outside the statements of a write is everyone's; the next group is done."""
    gate, fault = Gate("begin immediate"), Fault(statement, sqlite3.SQLITE_IOERR, times=0)
    database = Embedded(path, connect=watching(gate, fault))
    await database.write(TABLE)
    first = await gate.closed_on(database, put(0))
    rest = [asyncio.create_task(database.write(put(n))) for n in (1, 2)]
    await asyncio.sleep(0)
    fault.spared, fault.times = 1, 1
    gate.open.set()
    results = await asyncio.gather(first, *rest, return_exceptions=True)
    assert ["[[]]", *["the database answers CODE_10"] * 2] == [str(result) for result in results]
    assert [0] == seen(path)
    await database.write(put(9))
    assert [0, 9] == seen(path)
    await database.close()


async def test_lost_transaction_fails_the_whole_group(
    gate: tuple[Gate, Embedded], path: Path
) -> None:
    """A statement that undoes the whole group makes all of it try again, and nobody believe it."""
    held, database = gate
    first = await held.closed_on(database, put(0))
    losing = Statement("insert or rollback into t values (0, 'x')")
    rest = [asyncio.create_task(database.write(each)) for each in (put(1), losing, put(2))]
    await asyncio.sleep(0)
    held.open.set()
    results = await asyncio.gather(first, *rest, return_exceptions=True)
    assert ["[[]]", *["the transaction was lost"] * 3] == [str(result) for result in results]
    assert {Unavailable} == {type(result) for result in results[1:]}
    await database.write(put(3))
    assert [0, 3] == seen(path)


async def test_failed_rollback(path: Path) -> None:
    """A rollback that fails leaves nothing behind that a later group would commit."""
    database = Embedded(path)
    await database.write(TABLE)
    await database.close()
    faults = [Fault("commit"), Fault("rollback")]
    database = Embedded(path, connect=watching(*faults))
    with pytest.raises(Unavailable):
        await database.write(put(1))
    with pytest.raises(sqlite3.OperationalError, match="within a transaction"):
        await database.write(put(2))
    await database.write(put(3))
    assert [3] == seen(path)
    await database.close()


async def test_who_comes_while_a_group_fails(path: Path) -> None:
    """Those who came meanwhile would wait for the same lock in vain: they are told at once."""
    gate, fault = Gate("begin immediate"), Fault("begin", sqlite3.SQLITE_BUSY, times=0)
    database = Embedded(path, connect=watching(gate, fault))
    await database.write(TABLE)
    fault.times = 1
    first = await gate.closed_on(database, put(1))
    late = asyncio.create_task(database.write(put(2)))
    await asyncio.sleep(0)
    gate.open.set()
    results = await asyncio.gather(first, late, return_exceptions=True)
    assert ["another process holds the database (CODE_5)"] * 2 == [
        str(result) for result in results
    ]
    assert results[0] is not results[1]
    assert ["begin immediate"] == gate.ran
    await database.close()


async def test_answer_comes_after_the_commit(path: Path) -> None:
    """As long as nothing is committed nobody is told that it was, nor can anyone read it."""
    gate = Gate("commit")
    database = Embedded(path, connect=watching(gate))
    await database.write(TABLE)
    writing = await gate.closed_on(database, put(1))
    assert (False, []) == (writing.done(), seen(path))
    assert [] == await database.read("select id from t")
    gate.open.set()
    await writing
    assert [(1,)] == await database.read("select id from t")
    assert [1] == seen(path)
    await database.close()


async def test_cancelled_callers(gate: tuple[Gate, Embedded], path: Path) -> None:
    """Who gives up before the answer has written all or nothing, and troubles nobody else."""
    held, database = gate
    first = await held.closed_on(database, put(0), put(100))
    rest = [asyncio.create_task(database.write(put(n), put(n + 100))) for n in range(1, 20)]
    await asyncio.sleep(0)
    for task in [first, *rest[::2]]:
        task.cancel()
    held.open.set()
    results = await asyncio.gather(first, *rest, return_exceptions=True)
    assert 11 == sum(isinstance(result, asyncio.CancelledError) for result in results)
    assert [*range(20), *range(100, 120)] == seen(path)


async def test_close_finishes_what_waits(gate: tuple[Gate, Embedded], path: Path) -> None:
    """Closing answers every write that came before; afterwards there is nothing to ask."""
    held, database = gate
    writes = [await held.closed_on(database, put(0))]
    writes += [asyncio.create_task(database.write(put(n))) for n in range(1, 9)]
    await asyncio.sleep(0)
    closing_it = asyncio.create_task(database.close())
    await asyncio.sleep(0)
    for work in (database.read("select 1"), database.write(put(9))):
        with pytest.raises(Unavailable, match=exactly("the database is closed")):
            await work
    held.open.set()
    await asyncio.gather(*writes, closing_it)
    await database.close()
    assert list(range(9)) == seen(path)
    assert ["test.db"] == [each.name for each in path.parent.iterdir()]


async def test_close_takes_no_lock(path: Path) -> None:
    """Where nothing waits, closing asks for nothing that another process could hold."""
    ran: list[str] = []
    database = Embedded(path, connect=watching(ran.append))
    await database.write(TABLE)
    ran.clear()
    await database.close()
    assert [] == ran


async def test_close_while_a_group_fails(path: Path) -> None:
    """A close that comes while a group fails is not forgotten."""
    gate = Gate("begin immediate")
    database = Embedded(path, connect=watching(gate), patience=0.05)
    await database.write(TABLE)
    with held(path):
        writing = await gate.closed_on(database, put(1))
        closing_it = asyncio.create_task(database.close())
        await asyncio.sleep(0)
        gate.open.set()
        with pytest.raises(
            Unavailable, match=exactly("another process holds the database (SQLITE_BUSY)")
        ):
            await writing
        await asyncio.wait_for(closing_it, DEADLINE)
    assert ["begin immediate"] == gate.ran


def test_loop_that_ended(path: Path) -> None:
    """A write whose loop is gone is done all the same; nobody is told."""
    gate = Gate("commit")
    database = Embedded(path, connect=watching(gate))

    async def leave() -> None:
        await database.write(TABLE)
        await gate.closed_on(database, put(1))

    asyncio.run(leave())
    gate.open.set()
    asyncio.run(database.close())
    assert [1] == seen(path)


async def test_locked_by_another_process(database: Embedded, path: Path) -> None:
    """While another process writes, writes are refused within the patience; reads go on."""
    await database.write(put(1))
    with held(path):
        with pytest.raises(
            Unavailable, match=exactly("another process holds the database (SQLITE_BUSY)")
        ) as caught:
            await database.write(put(2))
        assert 1 == caught.value.retry_after
        assert [(1,)] == await database.read("select id from t")
    await database.write(put(3))
    assert [1, 3] == seen(path)


def test_locked_while_it_starts(path: Path) -> None:
    """A file that stays locked is no database for now: the operator is told."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("create table t (id)")
        other.execute("begin exclusive")
        expected = (
            f"{path} cannot be opened as a database: database is locked. "
            "Stop what holds it, or try again."
        )
        with pytest.raises(ConfigError, match=exactly(expected)):
            Embedded(path, patience=0.03)


@pytest.mark.parametrize("statement", ["journal_mode", "sqlite_master", "query_only"])
async def test_start_waits_for_another_one(path: Path, statement: str) -> None:
    """Two processes make one new file: SQLite refuses one of them, which then tries again."""
    fault = Fault(statement, sqlite3.SQLITE_BUSY, times=2)
    database = Embedded(path, connect=watching(fault))
    assert 0 == fault.times
    await database.write(TABLE)
    await database.close()


@pytest.mark.parametrize("statement", ["query_only", "synchronous"])
def test_failed_start_leaves_nothing_open(path: Path, statement: str) -> None:
    """Where one connection fails, those already open are closed."""
    made: list[sqlite3.Connection] = []
    watched = watching(Fault(statement, sqlite3.SQLITE_IOERR))

    def noting(path: str) -> sqlite3.Connection:
        made.append(watched(path))
        return made[-1]

    expected = (
        f"{path} cannot be opened as a database: as the test wants it. "
        "Put a backup in its place, or name another file as `database`."
    )
    with pytest.raises(ConfigError, match=exactly(expected)):
        Embedded(path, connect=noting)
    assert made
    for connection in made:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            connection.execute("select 1")


async def test_inline_read_that_meets_a_lock(path: Path) -> None:
    """A look-up that finds the file locked for a moment waits on the reader thread."""
    fault = Fault("from t", sqlite3.SQLITE_BUSY, times=0)
    database = Embedded(path, connect=watching(fault))
    await database.write(TABLE, put(1))
    fault.times = 1
    assert [(1,)] == await database.read("select id from t")
    fault.times = 2
    with pytest.raises(Unavailable, match=exactly("another process holds the database (CODE_5)")):
        await database.read("select id from t")
    await database.close()


async def test_slow_reads_leave_the_loop_free(path: Path) -> None:
    """A read marked slow waits on a thread of its own, while the loop goes on."""
    go = threading.Event()

    def opening(path: str) -> sqlite3.Connection:
        connection = connect(path)
        connection.create_function("hold", 0, lambda: go.wait(DEADLINE))
        return connection

    database = Embedded(path, connect=opening)
    await database.write(TABLE, put(1))
    reading = asyncio.create_task(database.read("select hold()", slow=True))
    assert [(1,)] == await database.read("select id from t")
    assert [[]] == await database.write(put(2))
    assert not reading.done()
    go.set()
    assert [(1,)] == await reading
    await database.close()


@pytest.mark.parametrize("slow", [False, True])
async def test_readers_cannot_write(database: Embedded, *, slow: bool) -> None:
    """What reads is unable to write, and a bug of ours stays a bug."""
    with pytest.raises(Unavailable, match=exactly("the database answers SQLITE_READONLY")):
        await database.read("insert into t values (1, 'x')", slow=slow)
    with pytest.raises(sqlite3.OperationalError, match=exactly("no such table: nobody")):
        await database.read("select 1 from nobody", slow=slow)
    assert [] == await database.read("select id from t", slow=slow)


async def test_no_transaction_stays_open(database: Embedded) -> None:
    """Nobody opens a transaction that outlives a call: the next read sees the newest state."""
    for number in range(3):
        await database.write(put(number))
        for slow in (False, True):
            assert [(number + 1,)] == await database.read("select count(*) from t", slow=slow)
        with pytest.raises(Conflict):
            await database.write(put(number))
        connections = (database.writer, database.reader, database.slow)
        assert [False] * 3 == [connection.in_transaction for connection in connections]


@pytest.mark.parametrize(
    "sql",
    [
        "create table s (n integer)",
        "\n CREATE TABLE IF NOT EXISTS s (n integer) ;\n",
        "create\ttable s (n integer) -- of numbers",
    ],
)
async def test_tables_check_their_types(database: Embedded, sql: str) -> None:
    """Every table that a migration makes is strict."""
    await database.write(Statement(sql))
    with pytest.raises(Conflict):
        await database.write(Statement("insert into s values ('seven')"))
    await database.write(Statement("insert into s values (7)"))


async def test_settings_of_connections(database: Embedded) -> None:
    """Every connection is durable, checks references and trusts no schema; readers only read."""
    await database.read("select 1", slow=True)
    expected = {
        "synchronous": 2,
        "foreign_keys": 1,
        "trusted_schema": 0,
        "secure_delete": 1,
        "journal_mode": "wal",
    }
    for connection, more in (
        (database.writer, {"query_only": 0, "busy_timeout": 50}),
        (database.reader, {"query_only": 1, "busy_timeout": 0}),
        (database.slow, {"query_only": 1, "busy_timeout": 50}),
    ):
        wanted = expected | more
        assert wanted == {n: connection.execute(f"pragma {n}").fetchone()[0] for n in wanted}


async def test_files_are_their_owners(path: Path) -> None:
    """Database, log and index are readable for their owner alone, whatever the umask."""
    before = os.umask(0)
    try:
        database = Embedded(path)
        await database.write(TABLE)
    finally:
        os.umask(before)
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
    assert {"test.db": 0o600, "test.db-wal": 0o600, "test.db-shm": 0o600} == modes
    await database.close()


async def test_second_engine_drops_no_lock(database: Embedded, path: Path) -> None:
    """Another engine of this process on the same file comes and goes; the first keeps its locks."""
    second = Embedded(path)
    await second.close()
    leave = (
        "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('pragma journal_mode=delete')"
    )
    command = [sys.executable, "-c", leave, str(path)]
    process = await asyncio.create_subprocess_exec(*command, stderr=subprocess.PIPE)
    _, said = await process.communicate()
    assert b"sqlite3.OperationalError: database is locked" == said.splitlines()[-1]
    await database.write(put(1))


def test_file_that_is_no_database(path: Path) -> None:
    """What is no database stays as it is, and the operator is told."""
    path.write_bytes(b"picoauth" * 1000)
    expected = (
        f"{path} cannot be opened as a database: file is not a database. "
        "Put a backup in its place, or name another file as `database`."
    )
    with pytest.raises(ConfigError, match=exactly(expected)):
        Embedded(path)
    assert b"picoauth" * 1000 == path.read_bytes()


def spoil(path: Path) -> None:
    """Overwrite all but the first two pages."""
    whole = path.read_bytes()
    path.write_bytes(whole[:8192].ljust(len(whole), b"\xff"))


async def test_corrupt_page(path: Path) -> None:
    """A page that rots while the server runs is no bug of ours: reads and writes are unavailable."""
    database = Embedded(path)
    await database.write(TABLE, *(put(n, f"{n}" * 500) for n in range(100)))
    await database.close()
    spoil(path)
    database = Embedded(path)
    for slow in (False, True):
        with pytest.raises(Unavailable, match=exactly(DAMAGED)):
            await database.read("select id, name from t", slow=slow)
    with pytest.raises(Unavailable, match=exactly(DAMAGED)):
        await database.write(Statement("update t set name = name || 'x'"))
    await database.close()


async def test_file_that_turned_read_only(path: Path) -> None:
    """A file that cannot be written is unavailable for writes; reads go on."""
    database = Embedded(path)
    await database.write(TABLE, put(1))

    def read_only(path: str) -> sqlite3.Connection:
        address = f"file:{path}?mode=ro"
        return sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False)

    other = Embedded(path, connect=read_only)
    with pytest.raises(Unavailable, match=exactly("the database answers SQLITE_READONLY")):
        await other.write(put(2))
    assert [(1,)] == await other.read("select id from t")
    await other.close()
    await database.close()


@contextmanager
def unprivileged() -> Iterator[Path]:
    """A folder that everyone may enter, and no right to overrule modes."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        user = os.geteuid()
        os.seteuid(65534 if user == 0 else user)
        try:
            yield Path(folder)
        finally:
            os.seteuid(user)


@pytest.mark.parametrize("mode", [0o444, 0o000, 0o222])
def test_file_without_permission(mode: int) -> None:
    """A file that this user may not read and write stops the start, and is left alone."""
    with unprivileged() as folder:
        path = folder / "test.db"
        user = os.geteuid()
        os.seteuid(os.getuid())
        path.write_bytes(b"")
        path.chmod(mode)
        os.seteuid(user)
        expected = (
            f"The database {path} cannot be opened: Permission denied. Run this as the user that the "
            "server runs as, or give that user the file and its folder."
        )
        with pytest.raises(ConfigError, match=exactly(expected)):
            Embedded(path)
        assert mode == stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("missing/test.db", "No such file or directory"), (".", "Is a directory")],
)
def test_path_that_is_wrong(tmp_path: Path, name: str, reason: str) -> None:
    """A path that cannot be a file is told with the remedy, and nothing is made."""
    path = tmp_path / name
    expected = f"The database {path} cannot be opened: {reason}. Make its folder, or mend its mode."
    with pytest.raises(ConfigError, match=exactly(expected)):
        Embedded(path)
    assert [] == list(tmp_path.iterdir())


def test_sqlite_that_is_too_old(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library without strict tables is refused, before there is a file."""
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 36, 0))
    monkeypatch.setattr(sqlite3, "sqlite_version", "3.36.0")
    expected = "SQLite 3.36.0 is too old: install 3.37 or newer."
    with pytest.raises(ConfigError, match=exactly(expected)):
        Embedded(path)
    assert not path.exists()


def test_file_system_without_shared_memory(path: Path) -> None:
    """Where WAL is impossible, look-ups would meet locks: that is no place for the file."""

    def without(path: str) -> sqlite3.Connection:
        address = f"file:{path}?vfs=unix-dotfile"
        return sqlite3.connect(address, uri=True, isolation_level=None)

    expected = (
        f"{path} cannot be opened as a database: its file system has no shared memory for WAL "
        "mode. Put a backup in its place, or name another file as `database`."
    )
    with pytest.raises(ConfigError, match=exactly(expected)):
        Embedded(path, connect=without)
