"""Migrations: whose tables they are, the ledger, and starts that race or crash."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar

import pytest

from picoauth import (
    Caller,
    ConfigError,
    Database,
    NoSettings,
    Plugin,
    Statement,
    Unavailable,
    hookimpl,
)
from picoauth.database import Row
from picoauth.migrations import LEDGER, check, digest, entry, holding, migrate
from picoauth.schema import KERNEL, TABLES
from picoauth.testing import serving
from tests import storage
from tests.storage import exactly

NOW = 1_800_000_000
FIRST = "create table toy (id integer primary key, name text not null)"
SECOND = "alter table toy add column colour text"
THIRD = "create unique index toy_name on toy (name)"
TOY = (FIRST, SECOND, THIRD)

FAILED = "The migrations of toy failed, and nothing was changed:"
OUTLIVES = (
    "keeps a user_id that outlives the user: "
    "write `user_id text … references users(id) on delete cascade`."
)

# Forks a process that migrates and kills itself before its n-th statement, for every n.
KILLED = """
import asyncio, itertools, json, os, signal, sqlite3, sys
from pathlib import Path
from picoauth.embedded import Embedded
from picoauth.migrations import LEDGER, migrate
from picoauth.schema import KERNEL

def migrating(path, last):
    left = last

    class Killed(sqlite3.Connection):
        def execute(self, sql, *args):
            nonlocal left
            left -= counting
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().execute(sql, *args)

    def connect(path):
        return sqlite3.connect(path, isolation_level=None, check_same_thread=False, factory=Killed)

    async def start():
        nonlocal counting
        database = Embedded(path, connect=connect)
        await database.write(LEDGER)
        counting = 1
        await migrate(database, "picoauth", KERNEL, 1)
        counting = 0
        await database.close()

    counting = 0
    asyncio.run(start())

def state(path):
    connection = sqlite3.connect(path)
    own = "from sqlite_master where sql is not null and tbl_name <> 'migrations'"
    counts = [connection.execute(f"select count(*) {what}").fetchone()[0]
              for what in ("from migrations", own)]
    assert connection.execute("pragma integrity_check").fetchall() == [("ok",)]
    connection.close()
    return counts

states = []
for last in itertools.count():
    path = Path(sys.argv[1], f"{last}.db")
    child = os.fork()
    if not child:
        migrating(path, last)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    states.append(state(path))
    migrating(path, 10_000)
    verbs = [sql.split()[0] for sql in KERNEL]
    made = verbs.count("create") - verbs.count("drop")
    assert state(path) == [len(KERNEL), made]
    if not status:
        break
print(json.dumps(states))
"""


def holds(table: str) -> str:
    return (
        f"refers to {table} without `on delete cascade`, so that no user with such a row could be "
        f"deleted: write `references {table}(id) on delete cascade`."
    )


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = storage.engine(tmp_path / "test.db")
    await database.write(LEDGER)
    yield database
    await database.close()


async def tables(database: Database) -> list[str]:
    """What there is beside the ledger."""
    sql = "select name from sqlite_master where type = 'table'"
    return [name for (name,) in await database.read(sql) if name != "migrations"]


def ledger(statements: Sequence[str]) -> list[Statement]:
    """What another process writes into the ledger."""
    return [entry("toy", number, sql, NOW) for number, sql in enumerate(statements, 1)]


class Racing:
    """A database on which somebody else writes just before us."""

    def __init__(self, database: Database, *theirs: Statement) -> None:
        self.database = database
        self.theirs: Sequence[Statement] = theirs

    async def read(self, sql: str, args: Any = (), *, slow: bool = False) -> list[Row]:
        return await self.database.read(sql, args, slow=slow)

    async def write(self, *statements: Statement) -> list[list[Row]]:
        theirs, self.theirs = self.theirs, ()
        await self.database.write(*theirs)
        return await self.database.write(*statements)

    async def close(self) -> None:
        await self.database.close()


@pytest.mark.parametrize(
    "sql",
    [
        "create table my_toy (id text)",
        "CREATE TABLE IF NOT EXISTS my_toy_parts (id text)",
        'create table "my_toy" (id text)',
        "alter table my_toy add column name text",
        "alter table my_toy rename to my_toy_old",
        "drop table my_toy",
        "drop table if exists my_toy",
        "create index by_name on my_toy (user_id)",
        "create unique index if not exists by_name on my_toy (name)",
        "drop index my_toy_by_name",
        "insert into my_toy select id from users",
        "update my_toy set name = 'x'",
        "delete from my_toy where name = 'users'",
        "create table my_toy (user_id text primary key references users(id) on delete cascade)",
        "create table my_toy (user_id text references users on delete cascade, n text)",
        'create table my_toy (n text, "user_id" TEXT REFERENCES "users" ( id ) ON DELETE CASCADE)',
        "create table my_toy (user_id text, foreign key (user_id) references users(id) on delete cascade)",
        "create table my_toy (user_id text references users(id) on update cascade on delete cascade)",
        "create table my_toy (owner text references users(id) on delete cascade)",
        "create table my_toy (e text references enrolments(id) on delete cascade)",
        "create table my_toy (other text references my_toy_parts(id))",
        "create table my_toy (id text, -- of no user_id text, and references users(id)\n n text)",
        "create table my_toy (user_id_hash text)",
        """create table my_toy (u text, k text, v text, foreign key (u, k, v)
           references identifiers (user_id, kind, value) on delete cascade)""",
    ],
)
def test_accepted(sql: str) -> None:
    """A plugin does as it likes with tables of its name, whose rows go with their user."""
    check("my-toy", [sql])


@pytest.mark.parametrize(
    ("sql", "wrong"),
    [
        ("create table other (id text)", "changes other: its tables are named toy or toy_…"),
        ("create table toys (id text)", "changes toys: its tables are named toy or toy_…"),
        ("create table main.toy (id text)", "changes main: its tables are named toy or toy_…"),
        ("alter table other add n text", "changes other: its tables are named toy or toy_…"),
        ("alter table toy rename to other", "changes other: its tables are named toy or toy_…"),
        ("drop table other", "changes other: its tables are named toy or toy_…"),
        ("drop index by_name", "changes by_name: its tables are named toy or toy_…"),
        ("create index toy on other (id)", "changes other: its tables are named toy or toy_…"),
        ("insert into other values (1)", "changes other: its tables are named toy or toy_…"),
        ("update other set id = 1", "changes other: its tables are named toy or toy_…"),
        ("delete from other", "changes other: its tables are named toy or toy_…"),
        ("delete from USERS", "changes users, which is the kernel's: its tables need other names."),
        (
            "alter table toy rename to outbox",
            "changes outbox, which is the kernel's: its tables need other names.",
        ),
        (
            "pragma foreign_keys = off",
            "changes something that is no table: its tables are named toy or toy_…",
        ),
        (
            "/* toy */ create table toy (id text)",
            "changes something that is no table: its tables are named toy or toy_…",
        ),
        ("create table toy (user_id text)", OUTLIVES),
        ("create table toy (n text, user_id integer not null)", OUTLIVES),
        ('create table toy ("user_id" blob)', OUTLIVES),
        ("alter table toy add column user_id text", OUTLIVES),
        (
            "create table toy (user_id text, owner text references users(id) on delete cascade)",
            OUTLIVES,
        ),
        (
            "create table toy (user_id text references toy_parts(id) on delete cascade)",
            OUTLIVES,
        ),
        ("create table toy (user_id text references users(id))", holds("users")),
        ("create table toy (owner text references users(id))", holds("users")),
        ("create table toy (owner text references users)", holds("users")),
        ('create table toy (owner text references "users" (id))', holds("users")),
        ("create table toy (owner text REFERENCES users(id) on delete set null)", holds("users")),
        ("create table toy (o text references users(id) on update cascade)", holds("users")),
        ("alter table toy add column owner text references users(id)", holds("users")),
        ("create table toy (e text references enrolments(id), n text)", holds("enrolments")),
        ("create table toy (s text, foreign key (s) references sessions(id))", holds("sessions")),
        (
            """create table toy (user_id text references users(id) on delete cascade,
               by text references users(id))""",
            holds("users"),
        ),
        (
            """create table toy (owner text references users(id), -- on delete cascade
               n text)""",
            holds("users"),
        ),
    ],
)
def test_refused(sql: str, wrong: str) -> None:
    """Tables of others, and rows that outlive their user or hold it, name plugin and number."""
    expected = f"Migration 2 of plugin toy {wrong}"
    with pytest.raises(ConfigError, match=exactly(expected)):
        check("toy", [FIRST, sql])


@pytest.mark.parametrize("table", sorted(name for name in TABLES if "_" in name))
def test_kernel_tables_are_no_plugins(table: str) -> None:
    """A plugin whose name begins like a kernel table gets at none of it."""
    plugin = table.partition("_")[0]
    expected = (
        f"Migration 1 of plugin {plugin} changes {table}, which is the kernel's: "
        "its tables need other names."
    )
    with pytest.raises(ConfigError, match=exactly(expected)):
        check(plugin, [f"drop table {table}"])


def test_kernel_keeps_its_own_rule() -> None:
    """The kernel's tables are all named, and what refers to a user goes with it."""
    made = {sql.split()[2] for sql in KERNEL if sql.split()[1] == "table"}
    assert set() == made - TABLES
    assert {"migrations"} == TABLES - made
    assert [] == [wrong for sql in KERNEL if (wrong := holding(sql))]


async def test_ledger(database: Database) -> None:
    """What was applied is written down once, each with its hash and time; the rest follows."""
    assert (FIRST,) == await migrate(database, "toy", TOY[:1], NOW)
    assert () == await migrate(database, "toy", TOY[:1], NOW + 1)
    assert (SECOND, THIRD) == await migrate(database, "toy", TOY, NOW + 2)
    assert () == await migrate(database, "toy", TOY, NOW + 3)
    other = "create table other (id text)"
    assert (other,) == await migrate(database, "other", (other,), NOW + 4)
    assert () == await migrate(database, "nothing", [], NOW)
    expected = [
        ("other", 1, digest(other), NOW + 4),
        ("toy", 1, digest(FIRST), NOW),
        ("toy", 2, digest(SECOND), NOW + 2),
        ("toy", 3, digest(THIRD), NOW + 2),
    ]
    assert expected == await database.read("select * from migrations order by owner, number")


async def test_layout_is_no_drift(database: Database) -> None:
    """A statement in another layout is the same statement."""
    await migrate(database, "toy", TOY, NOW)
    spaced = [f"\n  {sql}  \n".replace(" (", "\n    (") for sql in TOY]
    assert () == await migrate(database, "toy", spaced, NOW)


@pytest.mark.parametrize(
    ("altered", "number"),
    [
        ((FIRST.replace("not null", ""), SECOND, THIRD), 1),
        ((SECOND, FIRST, THIRD), 1),
        ((FIRST, SECOND, THIRD + " desc", "create table toy_more (id text)"), 3),
        ((FIRST, SECOND.upper(), THIRD), 2),
    ],
)
async def test_drift(database: Database, altered: Sequence[str], number: int) -> None:
    """A statement that is not the one that was applied stops the start, and changes nothing."""
    await migrate(database, "toy", TOY, NOW)
    expected = (
        f"Migration {number} of toy is not the one that made this database: "
        "install the version that made it; migrations are only ever added."
    )
    with pytest.raises(ConfigError, match=exactly(expected)):
        await migrate(database, "toy", altered, NOW)
    assert [(3,)] == await database.read("select count(*) from migrations")


async def test_newer_database(database: Database) -> None:
    """A database that a newer version made is left alone."""
    await migrate(database, "toy", TOY, NOW)
    expected = (
        "The database is newer than the installed toy: it has 3 migrations, the package 1. "
        "Install the version that made it, or a newer one."
    )
    with pytest.raises(ConfigError, match=exactly(expected)):
        await migrate(database, "toy", TOY[:1], NOW)


@pytest.mark.parametrize("count", [1, 2, 3])
async def test_another_process_is_faster(database: Database, count: int) -> None:
    """What another process applied meanwhile is not applied again; what it did not know of is."""
    theirs = zip(ledger(TOY[:count]), map(Statement, TOY), strict=False)
    racing = Racing(database, *(statement for pair in theirs for statement in pair))
    assert TOY[count:] == tuple(await migrate(racing, "toy", TOY, NOW))
    assert [(1,), (2,), (3,)] == await database.read("select number from migrations")
    await database.write(Statement("insert into toy values (1, 'x', 'red')"))


async def test_another_process_does_otherwise(database: Database) -> None:
    """Of two versions that start at once on a new file, one stops."""
    racing = Racing(database, *ledger(["create table toy_two (id text)"]))
    with pytest.raises(ConfigError, match=r"^Migration 1 of toy is not the one that made this "):
        await migrate(racing, "toy", TOY, NOW)
    assert [] == await tables(database)


async def test_rows_that_break_a_migration(database: Database) -> None:
    """A migration that its rows do not fit is no race: the operator is told, and nothing is changed."""
    await migrate(database, "toy", TOY[:1], NOW)
    same = "insert into toy (id, name) values (?, 'same')"
    await database.write(Statement(same, (1,)), Statement(same, (2,)))
    expected = f"{FAILED} the rows that are there break number 3. Install another version of it."
    with pytest.raises(ConfigError, match=exactly(expected)):
        await migrate(database, "toy", TOY, NOW)
    assert [(1,)] == await database.read("select number from migrations")
    assert [(1, "same"), (2, "same")] == await database.read("select * from toy")


@pytest.mark.embedded
@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("create tabel toy_two (id text)", 'near "tabel": syntax error'),
        ("create table toy (id text)", "table toy already exists"),
        ("create table toy_two (id varchar)", 'unknown datatype for toy_two.id: "varchar"'),
        ("commit", "a write is one transaction already"),
    ],
)
async def test_migration_that_fails(database: Database, sql: str, reason: str) -> None:
    """A migration that cannot be run stops the start with a sentence, and changes nothing."""
    expected = f"{FAILED} {reason}. Install another version of it."
    with pytest.raises(ConfigError, match=exactly(expected)):
        await migrate(database, "toy", [FIRST, sql], NOW)
    assert ([], []) == (await tables(database), await database.read("select * from migrations"))


@pytest.mark.embedded
async def test_locked_database(database: Database, tmp_path: Path) -> None:
    """A database that is locked is not broken; one that is up to date is not even asked."""
    await migrate(database, "toy", TOY[:1], NOW)
    with closing(sqlite3.connect(tmp_path / "test.db", isolation_level=None)) as other:
        other.execute("begin immediate")
        assert () == await migrate(database, "toy", TOY[:1], NOW)
        with pytest.raises(
            Unavailable, match=exactly("another process holds the database (SQLITE_BUSY)")
        ):
            await migrate(database, "toy", TOY, NOW)
    assert (SECOND, THIRD) == await migrate(database, "toy", TOY, NOW)


@pytest.mark.embedded
def test_killed_at_each_statement(tmp_path: Path) -> None:
    """Killed before any statement, a start leaves the old schema or the new; the next one mends it."""
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    states = json.loads(result.stdout)
    verbs = [sql.split()[0] for sql in KERNEL]
    made = verbs.count("create") - verbs.count("drop")
    steps = 2 * len(KERNEL) + len(("select", "begin", "commit"))
    assert [[0, 0]] * steps + [[len(KERNEL), made]] == states


class Toy(Plugin[NoSettings]):
    """A plugin with a table that refers to users by another name than `user_id`."""

    statements: ClassVar[Sequence[str]] = (
        "create table toy (owner text references users(id) on delete cascade)",
    )

    @hookimpl
    def migrations(self) -> Sequence[str]:
        return self.statements


async def test_deleting_a_user_takes_every_reference(tmp_path: Path) -> None:
    """A row of a plugin goes with the user to whom it refers, whatever its column is named."""
    settings = 'plugins = ["password", "toy"]'
    async with serving(tmp_path, settings, plugins={"toy": Toy}) as server:
        user, _ = await server.auth.users.register(server.auth.users.draft(username="ann"))
        row = Statement("insert into toy values (?)", (user.id,))
        await server.auth.database.write(row)
        await server.auth.accounts.delete(user.id, Caller())
        assert [] == await server.auth.database.read("select * from toy")


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        (
            "create table other (id text)",
            "Migration 2 of plugin toy changes other: its tables are named toy or toy_…",
        ),
        pytest.param(
            "create table toy_two (id integer",
            f"{FAILED} incomplete input. Install another version of it.",
            marks=pytest.mark.embedded,
        ),
    ],
)
async def test_plugin_that_stops_the_server(tmp_path: Path, sql: str, expected: str) -> None:
    """A plugin whose migrations are refused or fail stops the start; without it all is well."""
    broken = type("Broken", (Toy,), {"statements": [FIRST, sql]})
    with pytest.raises(ConfigError, match=exactly(expected)):
        async with serving(tmp_path, 'plugins = ["password", "toy"]', plugins={"toy": broken}):
            pass
    async with serving(tmp_path) as server:
        assert {"picoauth": [], "password": []} == {
            owner: list(applied) for owner, applied in (await server.auth.migrate()).items()
        }
        assert "toy" not in await tables(server.auth.database)
