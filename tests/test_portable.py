"""SQL that every engine understands: SQLite from 3.37, libSQL and PostgreSQL.

examples/picoauth-postgres has every statement looked at by a real server; this is for those who
have none, and says why.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.portable import shown, statements

FILES = {
    "picoauth/backups.py",
    "picoauth/embedded.py",
    "picoauth/groupcommit.py",
    "picoauth/importfiles.py",
    "picoauth/observing.py",
    "picoauth/schemachecked.py",
    "picoauth/sqlite.py",
    "picoauth/testing/faults.py",
    "picoauth_encrypted/commands.py",
    "picoauth_encrypted/connections.py",
    "picoauth_encrypted/plugin.py",
    "picoauth_libsql/batch.py",
    "picoauth_libsql/plugin.py",
}
"""They speak to SQLite, or to libSQL, and to nothing else."""
FOLDED = {f"hash like '{begins}%'" for begins in ("$2_$__$", "bcrypt", "$fbscrypt$")}
"""What tells capitals, or not, and has none."""

MAKES = r"^\s*(create|alter)\s+table\b.*"
REASONS = {
    r"\blimit\s+-": "PostgreSQL knows no limit below zero: write a large one",
    r"\browid\b": "PostgreSQL has none: name a column",
    r"\binsert\s+or\b|^\s*replace\b": "PostgreSQL has neither: write `on conflict`",
    r"\?\d|[\s(,=][:@$]\w": "an argument is `?`, and each engine numbers them by itself",
    r"(<<|>>)(?!\s*cast\()": "PostgreSQL shifts by an `integer`: write `cast(… as integer)`",
    r"\b\d+\s*(<<|>>)": "PostgreSQL has 32 bits for a number that is written out: write `cast(… as bigint)`",
    r"==": "PostgreSQL has only `=`",
    r"\bis\s+(not\s+)?(?!(not|null)\b)[\w?]": "PostgreSQL asks so for null alone",
    r"\b(max|min)\s*\([^()]*,": "PostgreSQL takes the most of rows, not of values: write `case`",
    r"\b(abs|char|changes|date|datetime|format|group_concat|hex|ifnull|iif|instr|json\w*"
    r"|julianday|last_insert_rowid|printf|random|randomblob|round|strftime|time|total"
    r"|typeof|unicode|unixepoch|zeroblob)\s*\(": "not every engine has this function",
    r"\bnow\s*\(|\bcurrent_(date|time)": "the time is an argument, from `auth.now()`",
    r"\b(glob|ilike|match|regexp)\b": "not every engine compares so",
    r"\blike\b": "PostgreSQL tells capitals from small letters, SQLite does not",
    r"\bcollate\b": "each engine has names of its own: fold a text before it is written",
    r"\bpragma\b|\bsqlite_|\bpg_": "only one engine has this",
    r"\bautoincrement\b|\bwithout\s+rowid\b|\bstrict\b": "the engine adds what it needs",
    r"[`\"\[]": "engines quote in different ways: take plain names",
    r"\bx'": "PostgreSQL takes it for bits: make it an argument",
    r"^\s*(update|delete)\b(?!.*\bselect\b).*\blimit\b": "PostgreSQL has no limit here: select keys",
    r"\bdo\s+update\s+set\b.*=\s*[a-z_]+\s*[-+*/|]": "PostgreSQL asks whose: write TABLE.COLUMN",
    r"^\s*(begin|commit|rollback|savepoint|release|vacuum|attach)\b": "a write is a transaction",
    MAKES + r"\w\s+(any|bigint|bool\w*|date\w*|float|int|json\w*|numeric|real|time\w*|varchar)\b": (
        "a column is text, integer or blob"
    ),
    MAKES + r"\bdefault\s*\(": "what a column has by default is a constant",
}
"""What to look for, and what is wrong with it."""
NAMELESS = "PostgreSQL wants a name for it: write `as NAME`"


def complaints(sql: str) -> Iterator[str]:
    for folded in FOLDED:
        sql = sql.replace(folded, "")
    texts = re.sub(r"(?<!\bx)'[^']*'", "''", re.sub(r"\{[^{}]*\}", "computed", sql))
    for pattern, reason in REASONS.items():
        if re.search(pattern, texts, re.IGNORECASE | re.DOTALL):
            yield reason
    if any(nameless(texts[found.end() :]) for found in re.finditer(r"\b(from|join)\s*\(", texts)):
        yield NAMELESS


def nameless(rest: str) -> bool:
    """Whether what follows the end of a bracket is no name."""
    depth = 1
    for place, letter in enumerate(rest):
        depth += (letter == "(") - (letter == ")")
        if not depth:
            return not re.match(r"\s+(as\s+)?(?!on\b|where\b|group\b|order\b)\w", rest[place + 1 :])
    return True


def test_statements_are_portable() -> None:
    """What an engine elsewhere refuses is found where it is written."""
    found = [
        f"{sql.module}:{sql.node.lineno}: {reason}"
        for sql in statements()
        if sql.module not in FILES
        for reason in complaints(sql.text)
    ]
    assert found == []


def test_examples_are_portable() -> None:
    """What a plugin's author copies from the docs runs on every engine."""
    found = [
        f"{sql.path}:{sql.node.lineno}: {reason}"
        for sql in shown()
        for reason in complaints(sql.text)
    ]
    assert found == []
    assert shown()


def test_what_is_left_out() -> None:
    """The test looks at something, and whoever is left out says what no other engine takes."""
    assert FILES == {sql.module for sql in statements() if [*complaints(sql.text)]}


WRONG = (
    "select id from users limit -1 offset ?",
    "select id from users order by rowid",
    "insert or ignore into users (id) values (?)",
    "select id from users where id = ?1",
    "select id from users where id = :id",
    "select failures << (failures - ?) from throttle",
    "select 1 << cast(failures as integer) from throttle",
    "select id from users where id == ?",
    "select id from users where epoch is ?",
    "select max(next_at, ?) from throttle",
    "select ifnull(name, '') from users",
    "select current_timestamp",
    "select id from users where name glob ?",
    "select id from users where name like ?",
    "select id from users order by name collate nocase",
    "select name from sqlite_master",
    "create table thing (id integer primary key autoincrement)",
    'select id from "users"',
    "update users set name = x''",
    "delete from users where id = ? limit 1",
    "insert into throttle (key) values (?) on conflict (key) do update set failures = failures + 1",
    "begin immediate",
    "create table thing (id text primary key, at real)",
    "create table thing (id text primary key, at integer default (1 + 1))",
)


def test_each_reason_is_found() -> None:
    """Of every pattern there is a statement that it finds, and that nothing else complains of."""
    said = [[*complaints(sql)] for sql in WRONG]
    assert [1] * len(WRONG) == [len(reasons) for reasons in said]
    assert {*REASONS.values()} == {reason for [reason] in said}


@pytest.mark.parametrize(
    "sql",
    [
        "select count(*) from (select 1 from users)",
        "select count(*) from (select 1 from users) where 1 = 1",
        "select 1 from users join (select (1)) on 1 = 1",
    ],
)
def test_select_without_a_name(sql: str) -> None:
    assert [NAMELESS] == [*complaints(sql)]


def test_what_is_no_mistake() -> None:
    """Values between quotes, and what only looks like a mistake."""
    sql = """
        select max(seq), 'limit -1 ?1 "now"' from (select 1 as seq from users) as one
         where name is not null and (epoch is null) and hash like 'bcrypt%'
    """
    assert [] == [*complaints(sql)]
