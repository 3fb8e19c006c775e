"""Inserts of one row each, joined into statements of many rows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from picoauth import Caller, Conflict, Statement
from picoauth.drafts import Registration
from picoauth.merging import MOST, merged
from picoauth.registering import register_all
from picoauth.testing import Server, serving

ROW = "insert into a (x, y) values (?, (select ? where not exists (select 1 from b)))"


def row(sql: str, *args: str, rows: int | None = 1) -> Statement:
    return Statement(sql, args, rows)


def texts(parts: Sequence[Sequence[Statement]]) -> list[tuple[str, list[object], int | None]]:
    return [(one.sql, [*one.args], one.rows) for one in merged(parts)]


def test_rows_of_one_table() -> None:
    """Rows for one table are one statement, whose arguments are theirs in turn."""
    head, values, one = ROW.partition("values ")
    assert [(f"{head}{values}{one}, {one}", ["1", "2", "3", "4"], 2)] == texts(
        [[row(ROW, "1", "2")], [row(ROW, "3", "4")]]
    )
    plain = "insert into a values (?)"
    assert [("insert into a values (?), (?)", ["1", "2"], None)] == texts(
        [[row(plain, "1", rows=None), row(plain, "2", rows=None)]]
    )


def test_order_of_each_part() -> None:
    """What a part does first it does first in the whole, whatever the others do between."""
    a, b, c = (f"insert into {name} values (?)" for name in "abc")
    parts = [[row(a, "1"), row(c, "2")], [row(a, "3"), row(b, "4"), row(c, "5")], [row(b, "6")]]
    assert [
        ("insert into a values (?), (?)", ["1", "3"], 2),
        (c, ["2"], 1),
        ("insert into b values (?), (?)", ["4", "6"], 2),
        (c, ["5"], 1),
    ] == texts(parts)


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("insert into a select ? where 1 = 1", 1),
        ("insert into a values (?) on conflict do nothing", None),
        ("insert into a values (?) returning x", 1),
        ("insert into a values (?), (1)", 2),
        ("insert into a values (?), ('(')", 1),
        ("insert into a values (?, '(')", 1),
        ("insert into a values (?)", 0),
        ("update a set x = ?", 1),
    ],
)
def test_what_stays_as_it_is(sql: str, rows: int | None) -> None:
    """Whatever does more than to insert a row is done for each."""
    same = [row(sql, "1", rows=rows), row(sql, "2", rows=rows)]
    assert same == merged([[same[0]], [same[1]]])


def test_no_statement_has_too_many_arguments() -> None:
    """Very many rows are as many statements as an engine needs."""
    found = merged([[row("insert into a values (?)", "1")]] * (MOST + 2))
    assert [MOST, 2] == [len(one.args) for one in found] == [one.rows for one in found]
    assert 1 == len(merged([[row("insert into a values (1)")]] * 2))


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with serving(tmp_path, 'plugins = ["password"]') as found:
        yield found


async def test_one_of_many_is_refused(server: Server) -> None:
    """Of many at once, only those are not made whose names are taken, or were somebody's."""
    users = server.auth.users
    await server.register("ann")
    gone = users.draft(username="bob")
    await users.register(gone)
    await server.auth.accounts.delete(gone.user_id, Caller())
    names = ("carl", "Ann", "dora", "bob", "emil")
    made = [Registration(users.draft(username=name)) for name in names]
    whys = await register_all(users, made, Caller())
    assert [True, False, True, False, True] == [why is None for why in whys]
    found = await server.auth.database.read("select value from identifiers order by value")
    assert [("ann",), ("carl",), ("dora",), ("emil",)] == found


async def test_many_are_few_statements(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred users take as many statements as one."""
    made_of: list[str] = []
    write = server.auth.database.write

    async def counted(*statements: Statement) -> list[list[tuple[object, ...]]]:
        made_of.extend(one.sql.split()[2] for one in statements if "insert" in one.sql)
        return await write(*statements)

    monkeypatch.setattr(server.auth.database, "write", counted)
    users = server.auth.users
    for number in (1, 100):
        made = [Registration(users.draft(username=f"u{number}-{n}")) for n in range(number)]
        assert [None] * number == await register_all(users, made, Caller())
    assert ["users", "identifiers"] * 2 == [name for name in made_of if name != "jobs"]


async def test_rows_of_one_statement_are_undone_together(server: Server) -> None:
    """Where one of the rows breaks a constraint, none of them is there."""
    users, now = server.auth.users, server.auth.now()
    drafts = [users.draft(username=name) for name in ("ann", "ANN")]
    parts = [
        [users.making(one, now), users.naming(one.user_id, one.identifiers[0], now)]
        for one in drafts
    ]
    with pytest.raises(Conflict):
        await server.auth.database.write(*merged(parts))
    assert [] == await server.auth.database.read("select id from users")
