"""The contract of the slot `database`: what the kernel and all plugins count on."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_asyncio

from picoauth.database import Database, Row, Statement
from picoauth.errors import Conflict, Unavailable
from picoauth.migrations import LEDGER, migrate
from picoauth.schema import KERNEL
from picoauth.testing.contracts.base import Contract, give_up, together, unfilled

LEAST, MOST = -(2**63), 2**63 - 1

TABLES = (
    """
    create table thing (
        id integer primary key, name text not null unique, size integer not null check (size >= 0)
    )
    """,
    """
    create table part (
        id integer primary key, thing_id integer not null references thing(id) on delete cascade
    )
    """,
    "create table value (id integer primary key, number integer, words text, bytes blob)",
    "create table turn (id integer primary key, name text not null)",
)
INSERT = "insert into thing (id, name, size) values (?, ?, ?)"
UPSERT = """
    insert into thing (id, name, size) values (?, ?, ?)
        on conflict (id) do update set size = thing.size + 1 where thing.size < ?
    returning size
"""


def thing(number: int, name: str | None = None, size: int | None = 1) -> Statement:
    return Statement(INSERT, (number, name or f"thing {number}", size))


REFUSED = {
    "another row has the key": thing(1),
    "another row has the name": thing(3, "thing 1"),
    "a column is empty": thing(3, size=None),
    "a check fails": thing(3, size=-1),
    "a reference points nowhere": Statement("insert into part (id, thing_id) values (1, 9)"),
    "an update breaks a constraint": Statement("update thing set name = 'thing 1' where id = 2"),
    "a text where a number belongs": Statement(INSERT, (3, "three", "three")),
    "a number where bytes belong": Statement("insert into value (id, bytes) values (1, 1)"),
    "too few rows": Statement("update thing set size = 5 where id = 9", rows=1),
    "too many rows": Statement("update thing set size = 5", rows=1),
    "a row where none may be": Statement("delete from thing where id = 1", rows=0),
    "no row to delete": Statement("delete from thing where id = 9", rows=1),
    "too few rows returned": Statement(
        "update thing set size = 5 where id = 9 returning id", rows=1
    ),
    "too many rows returned": Statement("update thing set size = 5 returning id", rows=1),
    "too few rows found": Statement("select id from thing where id = 9", rows=1),
    "nothing to insert": Statement(
        "insert into thing (id, name, size) select 3, 'three', 3 where 1 = 0", rows=1
    ),
    "an insert that gives way": Statement(f"{INSERT} on conflict do nothing", (1, "x", 1), rows=1),
}
"""Statements that conflict in a database with two things."""

VALUES: tuple[tuple[str, Any], ...] = (
    *(("number", number) for number in (0, -1, 2**53 + 1, LEAST, MOST, None)),
    *(("words", text) for text in ("", " a ", "a\0b", "🗝️ \U0010ffff", "e\u0301", "é", "'", None)),
    *(("words", "long " * 20_000), ("bytes", bytes(range(256)) * 400)),
    *(("bytes", raw) for raw in (b"", b"\0", b"\xff\xfe", None)),
)


class DatabaseContract(Contract):
    """Inherit it, and override `database`; the method `down` too, if you can.

    class TestMine(DatabaseContract):
        @pytest_asyncio.fixture
        async def database(self, tmp_path):
            database = MyDatabase(tmp_path / "mine.db")
            yield database
            await database.close()
    """

    @pytest.fixture
    def database(self) -> Database:
        """Override it: your engine on a new, empty database, to be closed afterwards."""
        unfilled("database", "an engine on a new, empty database")

    async def down(self, database: Database) -> None:  # noqa: ARG002
        """Override it: make the database unreachable, as a network or a disk would."""
        pytest.skip("`down` is not overridden")

    @pytest_asyncio.fixture
    async def things(self, database: Database) -> Database:
        """The database with its tables, and two things in one of them."""
        await database.write(*(Statement(sql) for sql in TABLES))
        await database.write(thing(1), thing(2))
        return database

    async def test_reads_what_is_written(self, things: Database) -> None:
        """A read, slow or not, sees every write that was answered, as tuples."""
        for number in range(3, 8):
            await things.write(thing(number))
            for slow in (False, True):
                sql = "select id, name, size from thing where id = ?"
                found = await things.read(sql, (number,), slow=slow)
                assert [(number, f"thing {number}", 1)] == found
                assert [(number,)] == await things.read("select count(*) from thing", slow=slow)
        assert [] == await things.read("select id from thing where id = ?", (99,))

    async def test_every_statement_answers_its_rows(self, things: Database) -> None:
        """One list for each statement, empty for one that returns nothing."""
        answer = await things.write(
            Statement("update thing set size = size + id where id < 9 returning id, size", rows=2),
            Statement("delete from thing where id = 9", rows=0),
            Statement("update thing set name = 'one' where id = 1", rows=1),
            Statement("select name from thing where id = ?", (1,), rows=1),
            Statement("delete from thing where id = 2 returning name"),
        )
        assert [[(1, 2), (2, 3)], [], [], [("one",)], [("thing 2",)]] == [
            sorted(rows) for rows in answer
        ]
        assert [] == await things.write()

    @pytest.mark.parametrize("what", REFUSED)
    async def test_conflict_undoes_the_whole_write(self, things: Database, what: str) -> None:
        """It names the statement, counted from 0; neither those before it nor after it are done."""
        with pytest.raises(Conflict) as caught:
            await things.write(thing(7), thing(8), REFUSED[what], thing(9))
        assert 2 == caught.value.index
        assert [(1, "thing 1", 1), (2, "thing 2", 1)] == await rows(things)
        await things.write(thing(7), thing(8))

    async def test_broken_statement_undoes_the_whole_write(self, things: Database) -> None:
        """What is a bug is no Conflict, and leaves nothing behind either."""
        for broken in (
            Statement("insert into nowhere (id) values (1)"),
            Statement("this is no SQL"),
            Statement(INSERT, (8,)),
        ):
            with pytest.raises(Exception, match=r".") as caught:
                await things.write(thing(7), broken)
            assert not isinstance(caught.value, Conflict)
            assert [(1, "thing 1", 1), (2, "thing 2", 1)] == await rows(things)
        await things.write(thing(7))

    @pytest.mark.parametrize(("column", "value"), VALUES, ids=lambda value: repr(value)[:20])
    async def test_values_come_back_as_they_went(
        self, things: Database, column: str, value: Any
    ) -> None:
        """Whole numbers of 64 bits, any text and any bytes, None; of the type that they had."""
        insert = f"insert into value (id, {column}) values (1, ?) returning {column}"
        [returned] = await things.write(Statement(insert, (value,)))
        found = await things.read(f"select {column} from value where id = 1")
        assert [(value,)] == returned == found
        assert type(value) is type(found[0][0])

    async def test_texts_are_compared_by_code_points(self, things: Database) -> None:
        """No folding of case, accents or spaces: names are made canonical before."""
        names = ["ann", "Ann", "ann ", "ånn", "an\u0301n", "a\u0144n", "ann\0"]
        await things.write(*(thing(n, name) for n, name in enumerate(names, 10)))
        for number, name in enumerate(names, 10):
            assert [(number,)] == await things.read("select id from thing where name = ?", (name,))

    async def test_arguments_are_values(self, things: Database) -> None:
        """Nothing in an argument is ever read as SQL (D-1)."""
        name = "'); delete from thing; -- ? :a $1 %s {} \\"
        await things.write(thing(3, name))
        assert [(3,)] == await things.read("select id from thing where name = ?", (name,))
        assert 3 == len(await rows(things))

    async def test_rows_go_with_what_they_refer_to(self, things: Database) -> None:
        """Deleting a user is one statement: every row that refers to it goes too."""
        part = "insert into part (id, thing_id) values (?, ?)"
        await things.write(Statement(part, (1, 1)), Statement(part, (2, 2)))
        await things.write(Statement("delete from thing where id = 1", rows=1))
        assert [(2,)] == await things.read("select id from part")

    async def test_insert_or_update(self, things: Database) -> None:
        """One statement decides whether a row is new, may change, or stays, and tells which."""
        upsert = Statement(UPSERT, (3, "three", 1, 3))
        answers = [(await things.write(upsert))[0] for _ in range(4)]
        assert [[(1,)], [(2,)], [(3,)], []] == answers

    async def test_rows_are_numbered(self, things: Database) -> None:
        """In the order in which they come, where none of a table gives its key; also at once."""
        insert = "insert into turn (name) values (?)"
        for name in "abc":
            await things.write(Statement(insert, (name,)))
        assert [("a",), ("b",), ("c",)] == await things.read("select name from turn order by id")
        await together(things.write(Statement(insert, ("d",), rows=1)) for _ in range(50))
        assert [(50,)] == await things.read("select count(*) from turn where id > 3")

    async def test_fifty_writes_at_once(self, things: Database) -> None:
        """None is lost, and none is answered before it can be read."""

        async def one(number: int) -> list[Row]:
            raise_size = Statement("update thing set size = size + 1 where id = 1", rows=1)
            await things.write(thing(number), raise_size)
            return await things.read("select id from thing where id = ?", (number,))

        numbers = range(100, 150)
        assert [[(number,)] for number in numbers] == await together(map(one, numbers))
        assert [(51,)] == await things.read("select size from thing where id = 1")

    async def test_one_of_fifty_wins(self, things: Database) -> None:
        """Of fifty that change what all of them saw, one does, and the others conflict."""
        change = Statement("update thing set size = 2 where id = 1 and size = 1", rows=1)
        results = await together(things.write(thing(n), change) for n in range(100, 150))
        assert 1 == results.count([[], []])
        assert 49 == sum(isinstance(result, Conflict) and result.index == 1 for result in results)
        assert 3 == len(await rows(things))

    async def test_failing_write_troubles_no_other(self, things: Database) -> None:
        """Writes that come together stand or fall alone."""
        writes = [
            (thing(n), Statement("update thing set size = 5 where id = 1", rows=n % 2))
            for n in range(100, 150)
        ]
        results = await together(things.write(*each) for each in writes)
        assert [n % 2 == 0 for n in range(100, 150)] == [isinstance(r, Conflict) for r in results]
        odd = await things.read("select id from thing where id >= 100 order by id")
        assert [(n,) for n in range(101, 150, 2)] == odd

    async def test_cancelled_callers_wrote_all_or_nothing(self, things: Database) -> None:
        """Who gives up does not know which of both; nobody else is troubled."""
        writes = [things.write(thing(n), thing(n + 1000)) for n in range(100, 140)]
        results = await give_up(writes)
        # One statement sees one state, whatever is still under way.
        halves = await things.read(
            "select min(id), count(*) from thing where id >= 100 group by id % 1000"
        )
        assert {2} >= {count for _, count in halves}
        answered = {n for n, result in enumerate(results, 100) if result == [[], []]}
        assert set(range(101, 140, 2)) <= answered <= {number for number, _ in halves}
        await things.write(thing(3))

    async def test_migrations_of_the_kernel(self, database: Database) -> None:
        """They apply, once; tables refuse what is not of their types."""
        await database.write(LEDGER)
        assert list(KERNEL) == list(await migrate(database, "picoauth", KERNEL, 0))
        assert [] == list(await migrate(database, "picoauth", KERNEL, 0))
        wrong = Statement("insert into jobs (name, next_at) values ('clean', 'soon')")
        with pytest.raises(Conflict):
            await database.write(wrong)
        assert [] == await database.read("select name from jobs")

    async def test_database_that_is_down(self, things: Database) -> None:
        """Whoever asks hears Unavailable, which is a 503; nobody takes it for an empty table (S-8)."""
        await self.down(things)
        for slow in (False, True):
            with pytest.raises(Unavailable):
                await things.read("select id from thing", slow=slow)
        with pytest.raises(Unavailable):
            await things.write(thing(3))


async def rows(database: Database) -> list[Row]:
    return await database.read("select id, name, size from thing order by id", slow=True)
