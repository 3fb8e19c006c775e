"""Users as JSON lines: read, checked, made many at once, made once, and written again."""

from __future__ import annotations

import asyncio
import io
import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picoauth import (
    Addition,
    AuthError,
    Caller,
    Conflict,
    Database,
    Draft,
    Event,
    Imported,
    ImportField,
    NoSettings,
    Plugin,
    Problem,
    Statement,
    Unavailable,
    UserRegistered,
    hookimpl,
    importing,
    problems,
)
from picoauth.drafts import Registration
from picoauth.exporting import exported
from picoauth.identifiers import canonical_username, case_mapped
from picoauth.importing import TOLD, Importer, Report
from picoauth.importlines import LONGEST_LINE, BadLine, Line, Reader
from picoauth.registering import register_all
from picoauth.testing import Server, serving
from tests.plugs import made

NOW = 1_800_000_000
CALLER = Caller(actor="command:tester")


def nothing(_: int) -> None:
    """Nobody watches."""


class Note(ImportField):
    """Texts, of which some are refused."""

    def check(self, value: Any) -> str:
        if not isinstance(value, str):
            raise ValueError("must be a text")  # noqa: TRY004
        return value.upper()

    def make(self, user_id: str, value: str) -> Imported:
        return Imported(
            [], [Statement("insert into notes values (?, ?)", (user_id, value), rows=1)]
        )

    async def dump(self, user_ids: Sequence[str]) -> Mapping[str, Any]:
        return dict.fromkeys(user_ids, "note")


class Key(Note):
    """What only its owner should read."""

    secret = True

    async def dump(self, user_ids: Sequence[str]) -> Mapping[str, Any]:
        return {user_ids[0]: "key"}


class NotesPlugin(Plugin[NoSettings]):
    """Takes two members of lines."""

    @hookimpl
    def migrations(self) -> Sequence[str]:
        return [
            """
            create table notes (
                user_id text primary key references users(id) on delete cascade,
                note text not null unique
            )
            """
        ]

    @hookimpl
    def imports(self) -> Mapping[str, ImportField]:
        return {"note": Note(), "key": Key()}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    settings = 'plugins = ["password", "notes"]'
    async with serving(tmp_path, settings, plugins={"notes": NotesPlugin}) as found:
        yield found


def file_of(*lines: Any) -> io.BytesIO:
    texts = (line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines)
    return io.BytesIO(b"".join(text + b"\n" for text in texts))


def checked(server: Server, *lines: Any) -> Report:
    with closing(Importer(server.auth, CALLER)) as importer:
        report, _ = importer.check(file_of(*lines), nothing)
    return report


async def imported(server: Server, *lines: Any, dry: bool = False) -> Report:
    file = file_of(*lines)
    with closing(Importer(server.auth, CALLER)) as importer:
        importer.check(file, nothing)
        return await importer.run(file, nothing, dry=dry)


def told(report: Report) -> list[tuple[int, str]]:
    return [(one.line, one.problem) for one in report.refused]


async def count(server: Server, table: str = "users") -> int:
    [(found,)] = await server.auth.database.read(f"select count(*) from {table}")
    return int(found)


async def test_hook_imports(server: Server) -> None:
    """A plugin takes members of lines, writes what they come to with the user, and dumps them."""
    report = await imported(server, {"username": "ann", "note": "hello"})
    assert Report(lines=1, made=1) == report
    user = await server.auth.users.find("username", "ann")
    assert user is not None
    assert [(user.id, "HELLO")] == await server.auth.database.read("select * from notes")
    [page] = [page async for page in exported(server.auth)]
    assert [("note", None)] == [(one["note"], one.get("key")) for one in page]
    [page] = [page async for page in exported(server.auth, secrets=True)]
    assert ["key"] == [one["key"] for one in page]


async def test_a_whole_line(server: Server) -> None:
    """All that a line says is what the user is, and an export says the same."""
    line = {
        "id": "0" * 31 + "v",
        "username": "Ann",
        "email": "Ann@Example.com",
        "email_verified": True,
        "identifiers": [
            {"kind": "email", "value": "old@example.com", "verified": False},
            {"kind": "url", "value": "https://ann.example/", "verified": True},
        ],
        "name": "Ann A.",
        "locale": "de",
        "created_at": 1_600_000_000,
        "disabled": True,
    }
    assert 1 == (await imported(server, line)).made
    user = await server.auth.users.find("email", "ann@example.com")
    assert user is not None
    assert (line["id"], "Ann A.", "de", 1_600_000_000, server.auth.now()) == (
        user.id,
        user.name,
        user.locale,
        user.created_at,
        user.disabled_at,
    )
    [[shown]] = [page async for page in exported(server.auth)]
    del shown["note"]
    assert line == shown


async def test_sparse_lines(server: Server) -> None:
    """Null says nothing, blank lines and a byte order mark are passed over, names are made up."""
    lines = (
        b"\xef\xbb\xbf" + b'{"username": "ann", "name": null}',
        b"",
        {"email": "bob@example.com", "email_verified": True},
        b"  \r",
        {"id": "0" * 32},
    )
    assert Report(lines=3) == checked(server, *lines)
    assert Report(lines=3, made=3) == await imported(server, *lines)
    rows = await server.auth.database.read("select name from users order by name")
    assert [("",), ("ann",), ("bob",)] == rows


BAD: Mapping[str, tuple[Any, str]] = {
    "json": (b"{", "it is not JSON"),
    "deep": (b"[" * 60_000, "it is not JSON"),
    "number": (b'{"username": "a", "created_at": ' + b"9" * 5000 + b"}", "it is not JSON"),
    "nan": (b'{"username": NaN}', "it has a number that JSON has not"),
    "utf8": (b'{"username": "\xff"}', "it is not UTF-8"),
    "list": ([], "it is not an object"),
    "twice": (b'{"username": "a", "username": "b"}', "it has two members of one name"),
    "long": (b" " * (LONGEST_LINE + 1), f"it is longer than {LONGEST_LINE} bytes"),
    "unknown": ({"user": "a"}, '"user" is unknown, did you mean "username"?'),
    "strange": ({"zzz": "a"}, '"zzz" is unknown to all listed plugins'),
    "plugin": ({"username": "a", "note": 1}, "note must be a text"),
    "nobody": (
        {"email": "a@example.com"},
        "it needs a username, or an email that is verified: nobody finds the user else",
    ),
    "username": ({"username": "a b"}, "its username is no valid username"),
    "at": ({"username": "a@example.com"}, "its username is no valid username"),
    "empty": ({"username": ""}, "username must be a text"),
    "nul": ({"username": "a", "name": "a\0"}, "name must be a text"),
    "surrogate": (b'{"username": "a", "name": "\\ud800"}', "name must be a text"),
    "type": ({"username": 7}, "username must be a text"),
    "name": ({"username": "a", "name": "n" * 201}, "name has more than 200 characters"),
    "locale": ({"username": "a", "locale": "n" * 36}, "locale has more than 35 characters"),
    "email": ({"username": "a", "email": "a"}, "its email is no valid email"),
    "alone": ({"username": "a", "email_verified": True}, "email_verified needs an email"),
    "flag": ({"username": "a", "disabled": "no"}, "disabled must be true or false"),
    "future": (
        {"username": "a", "created_at": 1_600_000_000_000},
        "created_at must be seconds since 1970, of a time that is past",
    ),
    "before": (
        {"username": "a", "created_at": -1},
        "created_at must be seconds since 1970, of a time that is past",
    ),
    "time": (
        {"username": "a", "created_at": "yesterday"},
        "created_at must be seconds since 1970, or a time as in RFC 3339",
    ),
    "bool": (
        {"username": "a", "created_at": True},
        "created_at must be seconds since 1970, or a time as in RFC 3339",
    ),
    "zone": (
        {"username": "a", "created_at": "2020-01-01T00:00:00"},
        "created_at must say its time zone",
    ),
    "id": ({"id": "1", "username": "a"}, "id must be one that picoauth made: leave it out"),
    "others": (
        {"username": "a", "identifiers": [{"kind": "username", "value": "b", "verified": True}]},
        "identifiers must be a list of objects with kind, value and verified",
    ),
    "long kind": (
        {"username": "a", "identifiers": [{"kind": "k" * 65, "value": "b", "verified": True}]},
        "identifiers must be a list of objects with kind, value and verified",
    ),
    "digits": (b'{"username": "a", "created_at": ' + b"9" * 60_000 + b"}", "it is not JSON"),
    "infinite": (
        b'{"username": "a", "created_at": 1e400}',
        "created_at must be seconds since 1970, or a time as in RFC 3339",
    ),
    "nested": (
        b'{"username": "a", "identifiers": ' + b"[" * 30_000 + b"]" * 30_000 + b"}",
        "it is not JSON",
    ),
    "no list": (
        {"username": "a", "identifiers": {}},
        "identifiers must be a list of objects with kind, value and verified",
    ),
    "other": (
        {"username": "a", "identifiers": [{"kind": "url", "value": 7, "verified": True}]},
        "identifiers must be a text",
    ),
    "many": (
        {"username": "a", "identifiers": [{"kind": "x", "value": "b", "verified": True}] * 21},
        "identifiers has more than 20 members",
    ),
    "same": (
        {"username": "a", "identifiers": [{"kind": "x", "value": "b", "verified": True}] * 2},
        "identifiers has one twice",
    ),
}


@pytest.mark.parametrize("name", BAD)
async def test_bad_lines(server: Server, name: str) -> None:
    """What is wrong with a line is said by number, in a clause without its values."""
    line, problem = BAD[name]
    report = checked(server, {"username": "before"}, line, {"username": "after"})
    assert [(2, problem)] == told(report)
    assert 3 == report.lines


def test_times() -> None:
    """Times are seconds, or texts of RFC 3339."""
    reader = Reader({}, NOW)
    for given_ in (1_577_836_800, "2020-01-01T00:00:00Z", "2020-01-01T01:00:00+01:00"):
        line = reader.line(1, json.dumps({"username": "a", "created_at": given_}).encode())
        assert line is not None
        assert 1_577_836_800 == line.created_at


# Hypothesis says so now and then, of a strategy that does recurse.
@pytest.mark.filterwarnings("ignore:extend=:hypothesis.errors.HypothesisDeprecationWarning")
@given(
    st.one_of(
        st.binary(),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(),
            lambda s: (
                st.lists(s)
                | st.dictionaries(
                    st.sampled_from(
                        ["id", "username", "email", "identifiers", "created_at", "kind"]
                    ),
                    s,
                )
            ),
        ).map(lambda v: json.dumps(v).encode()),
    )
)
@settings(max_examples=60, deadline=None)
def test_lines_of_any_kind(raw: bytes) -> None:
    """Whatever a line is, it is one, or is refused in words."""
    with suppress(BadLine):
        Reader({}, NOW).line(1, raw)


@settings(deadline=None)
@given(st.text(st.characters(min_codepoint=0, max_codepoint=127)))
def test_plain_user_names(text: str) -> None:
    """What needs no tables is mapped as RFC 8265 has it."""
    try:
        expected: str | None = case_mapped(text)
    except AuthError:
        expected = None
    try:
        assert expected == canonical_username(text)
    except AuthError:
        odd = expected is None or len(expected) > 64 or set(expected) & set("@/\\?#%")
        assert odd or set(expected) == {"."}


async def test_names_of_two_lines(server: Server) -> None:
    """Names that two lines have are told before anything is written, whatever way they are written."""
    other = {"kind": "url", "value": "https://ann.example", "verified": True}
    report = checked(
        server,
        {"username": "Ann", "email": "a@example.com"},
        {"username": "ann", "email": "a@example.com"},
        {"username": "c", "email": "A@example.com", "email_verified": True},
        {"username": "d", "email": "a@EXAMPLE.com", "email_verified": True},
        {"id": "0" * 32, "identifiers": [other]},
        {"id": "0" * 32, "identifiers": [{**other, "value": "https://ann.example/"}]},
    )
    assert [
        (2, "its username is that of line 1, too"),
        (4, "its email is that of line 3, too"),
        (6, "its url is that of line 5, too"),
        (6, "its id is that of line 5, too"),
    ] == told(report)


async def test_one_bad_line_among_many(server: Server) -> None:
    """Of 100,000 lines one is wrong: it is told by its number."""
    lines = [b'{"username": "user%d"}' % n for n in range(100_000)]
    lines[50_000] = b'{"username": "user\xff"}'
    report, _ = Importer(server.auth, CALLER).check(file_of(*lines), nothing)
    assert [(50_001, "it is not UTF-8")] == told(report)
    assert 100_000 == report.lines


async def test_refusals_are_counted(server: Server) -> None:
    """Of very many refusals the first are told, and all are counted."""
    report = checked(server, *[b"{"] * (TOLD + 5))
    assert (TOLD + 5, TOLD) == (report.refusals, len(report.refused))


async def test_taken_names(server: Server) -> None:
    """Names that somebody has, or had, are told by line, and keep nobody else from being made."""
    await server.register("ann")
    bob = server.auth.users.draft(username="bob")
    await server.auth.users.register(bob)
    await server.auth.accounts.delete(bob.user_id, CALLER)
    lines = [{"username": name} for name in ("Ann", "bob", "carl")]
    for dry, made_ in ((True, 1), (False, 1)):
        report = await imported(server, *lines, dry=dry)
        assert [
            (1, "its username is that of another user"),
            (2, "its name was that of a user who is gone, or has another name now"),
        ] == told(report)
        assert made_ == report.made
    assert 2 == await count(server)


async def test_twice(server: Server) -> None:
    """A line whose user it made is passed over; the same name with anything else is not."""
    line = {"username": "ann", "note": "one"}
    assert Report(lines=1, made=1) == await imported(server, line)
    server.clock.advance(3600)
    again = {"note": "one", "username": "ann", "name": None}
    assert Report(lines=1, there=1) == await imported(server, again)
    report = await imported(server, {"username": "ann", "note": "two"})
    assert [(1, "its username is that of another user")] == told(report)
    assert 1 == await count(server)


async def test_twice_by_id(server: Server) -> None:
    """A line that brings its id along is known by it, whatever became of the user."""
    line = {"id": "0" * 32, "username": "ann"}
    assert Report(lines=1, made=1) == await imported(server, line)
    await server.auth.accounts.change("0" * 32, {"username": "anna"}, CALLER)
    assert Report(lines=1, there=1) == await imported(server, line)


async def test_renamed_since(server: Server) -> None:
    """Who was imported and has another name since is not made again."""
    await imported(server, {"username": "ann"})
    user = await server.auth.users.find("username", "ann")
    assert user is not None
    await server.auth.accounts.change(user.id, {"username": "anna"}, CALLER)
    report = await imported(server, {"username": "ann"})
    assert 1 == report.refusals
    assert 1 == await count(server)


async def test_conflict_with_a_row_of_a_plugin(server: Server) -> None:
    """A line whose own row breaks a constraint is told, and the others of its write are made."""
    lines = [
        {"username": name, "note": note} for name, note in (("a", "x"), ("b", "X"), ("c", "y"))
    ]
    report = await imported(server, *lines)
    assert [(2, "a plugin's row of it is there already")] == told(report)
    assert 2 == report.made == await count(server)


async def test_two_imports_at_once(server: Server) -> None:
    """Two who import the same make each user once; what the other made first is told or passed over."""
    lines = [{"username": f"user{n}"} for n in range(50)]
    reports = await asyncio.gather(*(imported(server, *lines) for _ in range(4)))
    assert 50 == await count(server) == sum(report.made for report in reports)
    for report in reports:
        assert 50 == report.made + report.there + report.refusals
        taken = problems.USERNAME_TAKEN.title.rstrip(".")
        assert {taken} >= {one.problem for one in report.refused}


async def test_made_by_another_import_just_now(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whom another import of the line makes between a look and a write is there."""

    async def blind(*_: Any) -> Mapping[tuple[str, str], str]:
        return {}

    line = {"username": "ann"}
    assert 1 == (await imported(server, line)).made
    monkeypatch.setattr(Importer, "owners", blind)
    assert Report(lines=1, there=1) == await imported(server, line)
    server.clock.advance(1)
    taken = problems.USERNAME_TAKEN.title.rstrip(".")
    assert [(1, taken)] == told(await imported(server, line))


class PickyPlugin(Plugin[NoSettings]):
    """Keeps one from being made, and takes note of the others."""

    def __init__(self, *given_: Any) -> None:
        super().__init__(*given_)
        self.events: list[UserRegistered] = []

    @hookimpl
    async def check_registration(self, draft: Draft) -> Problem | None:
        assert draft.imported
        return problems.REFUSED if draft.name == "mallory" else None

    @hookimpl
    async def on(self, event: Event) -> None:
        if isinstance(event, UserRegistered):
            self.events.append(event)


async def test_plugins_have_their_say(tmp_path: Path) -> None:
    """Each user is asked about and told of, as at a registration, and who acts is known."""
    async with serving(
        tmp_path, 'plugins = ["password", "picky"]', plugins={"picky": PickyPlugin}
    ) as server:
        lines = [{"username": name} for name in ("ann", "mallory", "bob")]
        report = await imported(server, *lines)
        assert [(2, problems.REFUSED.title.rstrip("."))] == told(report)
        picky = server.auth.plugins.on["picky"]
        assert isinstance(picky, PickyPlugin)
        assert [("ann", True, CALLER), ("bob", True, CALLER)] == [
            (event.identifiers[0].value, event.imported, event.caller) for event in picky.events
        ]


def recording(sql: str) -> type[Plugin[Any]]:
    def record(_: Any, event: Event) -> Addition | None:
        args = (event.user_id,)
        return (
            Addition([Statement(sql, args, rows=1)]) if isinstance(event, UserRegistered) else None
        )

    return made(record=hookimpl(record))


async def test_conflict_with_what_a_plugin_records(tmp_path: Path) -> None:
    """What a plugin records of one user undoes that user alone."""
    sql = "update users set epoch = 0 where id = ? and name <> 'bob'"
    async with serving(
        tmp_path, 'plugins = ["password", "rec"]', plugins={"rec": recording(sql)}
    ) as server:
        drafts = [server.auth.users.draft(username=name) for name in ("ann", "bob", "carl")]
        registrations = [Registration(draft) for draft in drafts]
        whys = await register_all(server.auth.users, registrations, CALLER)
        assert [None, Conflict, None] == [why and type(why) for why in whys]
        assert 2 == await count(server)


async def test_sample(server: Server) -> None:
    """The line of a sample is found by any of its names."""
    importer = Importer(server.auth, CALLER)
    lines = [{"username": "ann"}, {"username": "bob", "email": "B@example.com"}]
    for sample, number in (
        (("username", "ann"), 1),
        (("email", "b@example.com"), 2),
        (("username", "x"), None),
    ):
        _, line = importer.check(file_of(*lines), nothing, sample=sample)
        assert number == (line and line.number)


async def test_lines_are_made_in_the_order_of_names(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever their order in the file: what one write adds is on few pages of an index."""
    made_: list[tuple[int, str]] = []

    async def make(_: Importer, fresh: Sequence[Line]) -> Sequence[None]:
        made_.extend((line.number, line.name) for line in fresh)
        return [None] * len(fresh)

    monkeypatch.setattr(Importer, "make", make)
    monkeypatch.setattr(importing, "BATCH", 2)
    address = {"email": "a@example.com", "email_verified": True}
    report = await imported(
        server,
        b'\xef\xbb\xbf{"username": "dora"}',
        b" " * (2 * LONGEST_LINE),
        {"username": "Carl", **address},
        b"{",
        {"username": "bob"},
        {"email": "z@example.com", "email_verified": True},
    )
    assert [(6, "z"), (5, "bob"), (3, "Carl"), (1, "dora")] == made_
    assert (4, 4, 0) == (report.lines, report.made, report.refusals)


class Elsewhere:
    """A database that is no file of this machine."""

    def __init__(self, inner: Database) -> None:
        self.read, self.write, self.close = inner.read, inner.write, inner.close


@pytest.mark.embedded
async def test_database_elsewhere(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file's own engine gets room for so many writes; of any other nothing is asked."""
    [(before,)] = server.auth.database.writer.execute("pragma cache_size")  # type: ignore[attr-defined]
    with monkeypatch.context() as patch:
        patch.setattr(server.auth, "database", Elsewhere(server.auth.database))
        assert 1 == (await imported(server, {"username": "ann"})).made
    for name, room in (("ann", before), ("bob", -49152)):
        assert [(room,)] == [*server.auth.database.writer.execute("pragma cache_size")]  # type: ignore[attr-defined]
        await imported(server, {"username": name})


async def test_a_file_that_changes(server: Server) -> None:
    """What is no line any more where one was found makes no user, and is told."""
    file = file_of({"username": "ann"}, {"username": "bob"})
    with closing(Importer(server.auth, CALLER)) as importer:
        importer.check(file, nothing)
        file.seek(0)
        file.write(b"##")
        report = await importer.run(file, nothing)
    assert [(1, "it is not JSON")] == told(report)
    assert (2, 1) == (report.lines, report.made)


async def test_fields_have_defaults() -> None:
    """A field that is not provable, or dumps nothing, has nothing to write."""
    field = ImportField()
    assert {} == await field.dump(["1"])
    assert (False, False) == (field.secret, field.provable)
    for call in (lambda: field.check(1), lambda: field.make("1", 1)):
        with pytest.raises(NotImplementedError):
            call()
    with pytest.raises(NotImplementedError):
        await field.prove(1, "x")


async def test_pages_of_an_export(server: Server) -> None:
    """An export has everybody once, in the order in which they were made."""
    lines = [{"username": f"user{n}"} for n in range(1203)]
    await imported(server, *lines)
    pages = [page async for page in exported(server.auth)]
    assert [500, 500, 203] == [len(page) for page in pages]
    assert 1203 == len({one["username"] for page in pages for one in page})
    ids = [one["id"] for page in pages for one in page]
    assert sorted(ids) == ids


CHILD = """
import os, signal, sys
from picoauth import groupcommit
from picoauth.cli import cli

whole, writes = groupcommit.every, []

def every(connection, statements):
    found = whole(connection, statements)
    if any(len(one.args) > 100 for one in statements):
        writes.append(found)
        if len(writes) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
    return found

groupcommit.every = every
cli(["users", "import", "users.jsonl"])
"""


@pytest.mark.embedded
def test_killed(tmp_path: Path) -> None:
    """An import that is killed within a write has made whole users, and doing it again finishes it."""
    (tmp_path / "picoauth.toml").write_text('plugins = ["password"]')
    written, all_ = 2 * importing.BATCH, 4 * importing.BATCH
    lines = "".join(
        json.dumps({"username": f"user{n}", "password_hash": HASH}) + "\n" for n in range(all_)
    )
    (tmp_path / "users.jsonl").write_text(lines)
    killed = subprocess.run(
        [sys.executable, "-c", CHILD], cwd=tmp_path, capture_output=True, check=False
    )
    assert -signal.SIGKILL == killed.returncode, killed.stderr
    tables = ("users", "identifiers", "enrolments", "password")

    def counts() -> set[int]:
        connection = sqlite3.connect(tmp_path / "picoauth.db")
        found = {
            connection.execute(f"select count(*) from {name}").fetchone()[0] for name in tables
        }
        connection.close()
        return found

    assert {written} == counts()
    script = Path(sys.executable).with_name("picoauth")
    command = [str(script), "users", "import", "users.jsonl", "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
    report = json.loads(done.stdout)
    found = tuple(report[n] for n in ("lines", "made", "there", "refusals"))
    assert (all_, all_ - written, written, 0) == found
    assert {all_} == counts()


HASH = "$2b$04$usesomesillystringforeSZ3saLXGnQtLrpxgqydzBYMhY/4iDpG"


async def test_import_of_nothing(server: Server) -> None:
    """No line makes no user."""
    report = await imported(server)
    assert (0, []) == (report.made, report.refused)


async def test_line_that_another_import_made(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two imports of one line at once, the second finds the user there."""

    async def make(_: Importer, fresh: Sequence[Any]) -> Sequence[Exception]:
        return [Conflict(0) for _ in fresh]

    monkeypatch.setattr(Importer, "make", make)
    report = await imported(server, {"username": "ann"})
    assert (0, 1, []) == (report.made, report.there, report.refused)


async def test_import_that_is_broken_off(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure before anything is written is told as it is."""

    async def fresh(*_: Any) -> Any:
        raise Unavailable("the database answers SQLITE_IOERR")

    monkeypatch.setattr(Importer, "fresh", fresh)
    with pytest.raises(Unavailable):
        await imported(server, {"username": "ann"})
