"""The chain: whatever is changed in the file is found, and nothing that was not."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from logbook import KINDS, SETTINGS, Log

from picoauth import Caller, Conflict, LoginFailed, Row, Statement
from picoauth.testing import Clock, Server, serving
from picoauth_audit import AuditPlugin
from picoauth_audit.chain import KEPT, Broken, Head, Heads
from picoauth_audit.sealer import LAG
from picoauth_audit.shapes import DAY
from tests.factors import join
from tests.pages import blocks

PAGE = Path(__file__).parent.parent / "README.md"

ONES = 17
"""How many migrations there were while one table had all rows."""
ONE_TABLE = f"""
    alter table audit add column waiting integer;
    alter table audit add column mac blob;
    insert into audit ({KEPT}, waiting, mac)
    select {KEPT}, place, mac from audit_unsealed order by place desc;
    drop table audit_unsealed;
    create index audit_waiting on audit (waiting) where waiting is not null;
"""
"""The file as it was then, where rows that waited stood in another order."""
CALLER = Caller("192.0.2.1", "Mozilla/5.0", "rq-1", None, "key:night")
COLUMNS = "id seq at event who actor members traces salt address user_agent request_id ids link"


async def told(log: Log, count: int = 3) -> None:
    """Some rows with everything that rows can have, sealed."""
    ann = await join(log.server)
    for number in range(count):
        event = LoginFailed(
            at=log.server.auth.now(),
            user_id=ann.id,
            factor="pin",
            code=f"proof_refused_{number}",
            caller=CALLER,
        )
        await log.server.auth.events.commit(event)
    await log.server.auth.accounts.logout_from_all(ann.id, CALLER, keep="some")
    await log.entries()


def other(value: Any) -> list[Any]:
    """What might stand in the place of a value."""
    if value is None:
        return [1, "x", b"x"]
    if isinstance(value, int):
        return [value + 1, None, 1 << 60]
    if isinstance(value, bytes):
        return [bytes(len(value)), value + b"x", None]
    return [f"{value} ", "x", None]


async def test_every_column_of_every_row(log: Log) -> None:
    """Whichever value of whichever row is changed, verify finds it; and put back, it is whole."""
    await told(log)
    whole = await log.plugin.verifier.verify()
    names = COLUMNS.split()
    rows = await log.read(f"select rowid, {', '.join(names)} from audit order by seq")
    tried = 0
    for rowid, *values in rows:
        for name, value in zip(names, values, strict=True):
            for changed in other(value):
                if not await altered(log, rowid, name, changed):
                    continue
                tried += 1
                assert await log.broken(), (name, value, changed)
                await altered(log, rowid, name, value)
    assert tried > 13 * len(rows)
    assert whole == await log.plugin.verifier.verify()


async def altered(log: Log, rowid: int, name: str, value: Any) -> bool:
    """Change a column; whether the table takes that."""
    sql = f"update audit set {name} = ? where rowid = ?"
    try:
        await log.server.auth.database.write(Statement(sql, (value, rowid), rows=1))
    except Conflict:
        return False
    return True


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("delete from audit where seq = 3", "row 3 is missing"),
        ("delete from audit where seq = 1", "row 1 is missing"),
        ("update audit set seq = -5 where seq = 1", "row -5 is too many"),
        ("update audit set seq = seq + 1 where seq = (select max(seq) from audit)", "chain ends"),
        ("delete from audit where seq = (select max(seq) from audit)", "the chain ends at row"),
        ("delete from audit", "the chain ends at row 0"),
        ("delete from audit_head", "the end of the chain, which was sealed, is gone"),
        ("update audit_head set version = version + 1", "the end of the chain was altered"),
        ("update audit_head set version = 1", "the end of the chain was altered"),
        ("update audit_head set sealed = zeroblob(60)", "cannot be opened"),
        ("update audit_head set name = 'other'", "which was sealed, is gone"),
        (
            ("insert into audit (id, seq, at, event, members, link) "
             "values ('x', 99, 1, 'E', '{}', zeroblob(32))"),
            "the chain ends at row 99",
        ),
        ("insert into audit (id, at, event, members) values ('x', 1, 'E', '{}')", "a row (x)"),
        ("insert into audit select * from audit where seq = 2", None),
        (("update audit set salt = null, address = null, user_agent = null, request_id = null, "
          "ids = null where seq = 4"), "what leads to a person was taken from row 4"),
        ("delete from audit_users", "belongs to nobody"),
        ("update audit_users set salt = zeroblob(16)", "was given to another user"),
        ("update audit_names set subject = zeroblob(32)", "was given to another user"),
    ],
)  # fmt: skip
async def test_what_a_thief_does(log: Log, sql: str, said: str | None) -> None:
    """Rows taken out, put in, moved or cut off, and the head altered: each is found and named."""
    await told(log)
    log.plugin.sealer.heads.seen = Head()  # as a process that has just begun
    if said is None:
        with pytest.raises(Conflict):
            await log.write(sql)
        return
    await log.write(sql)
    assert said in await log.broken()
    assert await log.plugin.check() is not None or "chain" not in said


async def test_two_rows_changed_places(log: Log) -> None:
    """Reordering is found."""
    await told(log)
    await log.write("update audit set seq = 1000 where seq = 3")
    await log.write("update audit set seq = 3 where seq = 4")
    await log.write("update audit set seq = 4 where seq = 1000")
    assert "row 3 was altered, or one before it was added or removed" == await log.broken()


async def test_everything_made_anew(log: Log) -> None:
    """Who has the file but not the secret can compute links, and seal none of them."""
    await told(log)
    await log.write("update audit set event = 'Nothing' where seq = 3")
    link = bytes(32)
    async for row in log.plugin.sealer.all():
        link = row.linked(row.seq, link)
        await log.write("update audit set link = ? where seq = ?", link, row.seq)
    said = await log.broken()
    assert said.startswith("the chain ends at row")
    with pytest.raises(Broken):
        await log.plugin.sealer.seal()
    assert "The audit log is not what was written: see `picoauth audit verify`." == (
        await log.plugin.check()
    )


async def test_forged_row_is_not_sealed(log: Log) -> None:
    """A row that waits gets its place only if somebody with the secret wrote it."""
    await told(log)
    await log.write(
        "insert into audit_unsealed (id, at, event, members, mac) "
        "values ('x', 1, 'UserDeleted', '{}', zeroblob(32))"
    )
    with pytest.raises(Broken, match="the row with the id x waits to be sealed, but is no server"):
        await log.plugin.sealer.settle()
    assert "no server's" in str(log.plugin.keeper.failing or "no server's")


async def test_row_that_is_played_again(log: Log) -> None:
    """A row that was copied before it was sealed gets no second place."""
    await log.entries()
    async with log.plugin.keeper.turn:  # nobody seals
        await join(log.server)
        log.tamper("create table audit_copied as select * from audit_unsealed")
    await log.entries()
    await log.write("insert into audit_unsealed select * from audit_copied")
    with pytest.raises(Broken, match="came twice, or was altered"):
        await log.plugin.sealer.settle()


async def test_rows_that_waited_in_one_table(tmp_path: Path) -> None:
    """What was not sealed when unsealed rows got a table of their own is sealed in its order."""
    older, settings = tmp_path / "older", 'plugins = ["password", "audit"]'
    async with serving(tmp_path, settings) as server:
        log = Log(server)
        await log.entries()
        async with log.plugin.keeper.turn:  # nobody seals
            for name in ("ann", "bob", "cem"):
                await server.register(name)
            shutil.copytree(tmp_path, older)
        wanted = await log.entries()
    with closing(sqlite3.connect(older / "picoauth.db")) as file:
        file.executescript(ONE_TABLE)
        file.execute("delete from migrations where owner = 'audit' and number > ?", (ONES,))
        file.commit()
    async with serving(older, settings) as server:
        log = Log(server)
        assert wanted == await log.entries()
        assert 3 == len(await log.entries(event="UserRegistered"))
        assert len(wanted) == (await log.verify()).rows


async def test_older_state_put_back(tmp_path: Path) -> None:
    """A file that is put back is whole; the running server, or a link noted elsewhere, tells."""
    clock = Clock()
    async with serving(tmp_path, 'plugins = ["password", "audit"]', clock=clock) as server:
        await server.register()
        await Log(server).entries()
    older = tmp_path / "older.db"
    shutil.copy(tmp_path / "picoauth.db", older)
    async with serving(tmp_path, 'plugins = ["password", "audit"]', clock=clock) as server:
        await server.register("bob")
        log = Log(server)
        await log.entries()
        head = (await log.verify()).head
    shutil.copy(older, tmp_path / "picoauth.db")
    async with serving(tmp_path, 'plugins = ["password", "audit"]', clock=clock) as server:
        log = Log(server)
        await log.verify()  # nothing in the file tells
        said = await log.broken({head.seq: head.link})
        assert f"the chain ends at row {head.seq - 1}, but there was a row {head.seq}" == said
        log.plugin.sealer.heads.seen = head  # as the process that had sealed more
        assert "an older state was put back, which ends at row" in await log.broken()


async def test_anchors(log: Log) -> None:
    """A link that was noted is compared, wherever in the chain it stands."""
    await told(log)
    head = (await log.verify()).head
    links = dict(await log.read("select seq, lower(hex(link)) from audit"))
    await log.verify({seq: links[seq] for seq in (1, 3, head.seq)})
    said = await log.broken({3: "00" * 32})
    assert "row 3 has another link than the one that was noted" == said


async def test_order_whatever_the_clock_says(log: Log) -> None:
    """Rows have the order of their commits, also where the clock goes back in between."""
    await join(log.server, "ann")
    log.server.clock.advance(-5000)
    await join(log.server, "bob")
    log.server.clock.advance(99)
    await join(log.server, "cem")
    times = [entry["at"] for entry in await log.entries(event="UserRegistered")]
    start = 1_800_000_000
    assert [start, start - 5000, start - 4901] == times
    await log.verify()


async def test_two_servers_seal_at_once(tmp_path: Path) -> None:
    """Of two that seal one does: no place is left out, and none is given twice."""
    clock = Clock()
    settings = SETTINGS.replace('"code", "key", ', "")
    async with (
        serving(tmp_path, settings, plugins=KINDS, clock=clock) as one,
        serving(tmp_path, settings, plugins=KINDS, clock=clock) as two,
    ):
        servers = (one, two)
        for turn in range(5):
            names = [f"user{turn}x{n}" for n in range(10)]
            joining = [join(servers[n % 2], name) for n, name in enumerate(names)]
            sealing = [server.auth.plugin(AuditPlugin).sealer.settle() for server in servers * 3]
            await asyncio.gather(*joining, *sealing)
        for server in servers:
            found = await Log(server).verify()
        assert found.rows == len(await Log(one).entries())
        assert 50 == len(await Log(two).entries(event="UserRegistered"))


async def test_verify_beside_changes(log: Log) -> None:
    """A look at the whole log is none the worse for what is written and pruned meanwhile."""
    await told(log, 20)

    async def changing() -> None:
        for number in range(10):
            await join(log.server, f"user{number}")
            await log.plugin.sealer.settle()

    await asyncio.gather(changing(), *(log.plugin.verifier.verify() for _ in range(5)))
    await log.verify()


async def test_log_that_changes_too_fast(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it never holds still, that is said, and no row is blamed."""
    await told(log)

    async def moving(self: Heads) -> tuple[Head, bool]:
        self.seen = Head(version=self.seen.version + 1, seq=99)
        return self.seen, True

    monkeypatch.setattr(Heads, "look", moving)
    said = await log.broken()
    assert "the log changes faster than it can be looked at: try again" == said


# What is old.


@pytest.fixture
def picoauth_settings() -> str:
    return f'{SETTINGS}[audit]\nretention = "30d"\ntraces = "10d"\n'


async def test_traces_are_erased(log: Log) -> None:
    """After their time addresses and ids are gone, the rows are not, and the chain is whole."""
    await told(log)
    before = await log.entries()
    assert any(entry["address"] for entry in before)
    log.server.clock.advance(11 * DAY)
    young = await join(log.server, "bob")
    await log.entries()
    await log.plugin.clean()
    after = await log.entries(until=log.server.auth.now() - DAY)
    assert {(None, None, None)} == {
        (entry["address"], entry["user_agent"], entry["request_id"]) for entry in after
    }
    assert [entry["event"] for entry in before] == [entry["event"] for entry in after]
    [entry] = await log.entries(event="SessionsEnded")
    assert {} == entry["members"]
    assert young.id
    found = await log.verify()
    assert found.head.erased == len(before)
    await log.write("update audit_head set version = version")  # nothing
    await log.verify()


async def test_old_rows_are_pruned(log: Log) -> None:
    """From the front, in blocks; the chain begins behind them, and what comes before is too much."""
    await told(log, 30)
    [first] = await log.read("select * from audit where seq = 1")
    noted = dict(await log.read("select seq, lower(hex(link)) from audit"))
    count = len(await log.entries())
    log.server.clock.advance(31 * DAY)
    await join(log.server, "bob")
    await log.entries()
    await log.plugin.clean()
    found = await log.verify()
    assert (1, count, count + 1) == (found.rows, found.head.first, found.head.seq)
    await log.verify({count: noted[count]})
    assert "row 1 was pruned: take a later link to compare with" == await log.broken({1: noted[1]})
    marks = ", ".join("?" * len(first))
    await log.write(f"insert into audit values ({marks})", *first)
    assert "row 1 is too many" == await log.broken()


async def test_row_of_a_clock_that_was_ahead(log: Log) -> None:
    """It is as old as what came after it, and keeps nothing from being erased and pruned."""
    log.server.clock.advance(20 * 365 * DAY)
    await join(log.server, "late")
    await log.entries()
    log.server.clock.advance(-20 * 365 * DAY)
    await told(log)
    await log.entries()
    log.server.clock.advance(11 * DAY)
    await log.plugin.clean()
    found = await log.verify()
    assert found.head.erased == found.head.seq
    log.server.clock.advance(20 * DAY)
    await log.plugin.clean()
    assert 0 == (await log.verify()).rows


async def test_row_of_a_clock_that_was_behind(log: Log) -> None:
    """It takes nothing along that came before it, and is young."""
    await told(log)
    count = len(await log.entries())
    with log.server.clock.ago(log.server.clock()):
        await join(log.server, "early")
    await log.entries()
    await log.plugin.clean()
    assert count < (await log.verify()).rows
    assert all(entry["user_id"] for entry in await log.entries(event="UserRegistered"))


async def test_log_that_was_taken_away_whole(log: Log) -> None:
    """Users who have pseudonyms had rows: a process that has just begun knows it, too."""
    await told(log)
    log.plugin.sealer.heads.seen = Head()
    await log.write("delete from audit")
    await log.write("delete from audit_head")
    assert "the end of the chain, which was sealed, is gone" == await log.broken()


async def test_answers_that_overtake_each_other(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look that is answered late saw no older state that somebody put back."""
    await told(log)
    heads, database = log.plugin.sealer.heads, log.server.auth.database
    read = database.read

    async def late(sql: str, *more: Any, **options: Any) -> list[Row]:
        rows = await read(sql, *more, **options)
        if "audit_head" in sql:
            monkeypatch.setattr(database, "read", read)
            await join(log.server, "bob")
            await log.plugin.keeper.round()
        return rows

    monkeypatch.setattr(database, "read", late)
    head, _ = await heads.look()
    newest, _ = await heads.look()
    assert head.version < newest.version == heads.seen.version


async def test_everything_is_pruned(log: Log) -> None:
    """A log of which nothing is left is whole, and goes on where it ended."""
    await told(log)
    end = (await log.verify()).head.seq
    log.server.clock.advance(31 * DAY)
    await log.plugin.clean()
    assert (0, end) == ((await log.verify()).rows, (await log.verify()).head.first)
    await join(log.server, "bob")
    [entry] = await log.entries()
    assert end + 1 == entry["seq"]
    await log.write("update audit set seq = 1")
    assert "the chain ends at row 1" in await log.broken()
    await log.write("delete from audit")
    assert "the chain ends at row 0" in await log.broken()


async def test_stray_row_of_an_empty_log(log: Log) -> None:
    """Where everything was pruned, a row that is there is too many."""
    await told(log)
    log.server.auth.jobs.jobs = ()
    async with log.plugin.keeper.turn:  # nobody seals meanwhile
        log.server.clock.advance(31 * DAY)
        await log.plugin.clean()
        sql = "insert into audit (id, seq, at, event, members) values ('x', 2, 1, 'E', '{}')"
        await log.write(sql)
        assert "row 2 is too many" == await log.broken()


async def test_altered_rows_are_not_pruned(log: Log) -> None:
    """Time takes no evidence away: what is altered stays, and the chain stays broken."""
    await told(log)
    await log.write("update audit set event = 'x' where seq = 2")
    count = await log.read("select count(*) from audit")
    log.server.clock.advance(31 * DAY)
    await log.plugin.clean()
    with pytest.raises(Broken, match="row 2 was altered"):
        await log.plugin.sealer.clean()
    assert count == await log.read("select count(*) from audit")


async def test_two_clean_at_once(log: Log) -> None:
    """Of two processes that prune one does, and the other one is content."""
    await told(log, 10)
    log.server.clock.advance(31 * DAY)
    await asyncio.gather(*(log.plugin.sealer.clean() for _ in range(4)))
    assert 0 == (await log.verify()).rows


async def test_lag_is_told(log: Log) -> None:
    """Rows that wait for long are a problem of the server's, which stays ready."""
    await log.entries()
    await join(log.server)
    assert await log.plugin.check() is None
    await log.write("update audit_unsealed set at = at - ?", LAG + 60)
    said = await log.plugin.check()
    assert "Rows of the audit log wait to be sealed, for 2 minutes: see the log." in (said, said)
    [check] = log.plugin.checks()
    assert (False, "danger") == (check.vital, check.level)


async def test_secret_is_rotated(tmp_path: Path) -> None:
    """A new secret seals the head at the next start; then the old one is not needed any more."""
    settings = 'plugins = ["password", "audit"]\nsecret = [{}]\n'
    for name in ("old", "new"):
        path = tmp_path / f"{name}.secret"
        path.write_text(f"{name}-0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKL")
        path.chmod(0o600)
    old, new = '{ file = "old.secret" }', '{ file = "new.secret" }'
    async with serving(tmp_path, settings.format(old)) as server:
        await Log(server).entries()
    async with serving(tmp_path, settings.format(f"{new}, {old}")) as server:
        log = Log(server)
        await log.entries()
        [(sealed,)] = await log.read("select sealed from audit_head")
        assert bytes(sealed[:4]).hex() == server.auth.secrets.roots[0].id
        await log.verify()


async def test_where_it_ends_is_told(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    """The log of the server says once an hour where the chain ends, if it went on."""
    caplog.set_level("INFO", "picoauth.audit")
    log.plugin.sealer.said_at = log.server.auth.now()
    await told(log)
    assert [] == caplog.messages
    log.server.clock.advance(3600)
    await log.entries()
    head = (await log.verify()).head
    [shown] = [block.text for block in blocks(PAGE) if "is sealed up to row" in block.text]
    said = shown.strip().replace("4711:0f3c…", f"{head.seq}:{head.link}")
    assert [said.replace("4711", str(head.seq))] == caplog.messages
    log.server.clock.advance(3600)
    await log.entries()
    assert 1 == len(caplog.messages)


async def test_waiting_rows_are_counted(picoauth_server: Server) -> None:
    """What is not sealed yet is said, and no fault."""
    log = Log(picoauth_server)
    await log.entries()
    async with log.plugin.keeper.turn:  # nobody seals
        await join(picoauth_server)
        assert 1 == (await log.plugin.verifier.verify()).waiting


async def test_sealed_in_blocks(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many wait, each write seals so many; all of them in the end, in their order."""
    monkeypatch.setattr("picoauth_audit.sealer.MOST", 2)
    async with log.plugin.keeper.turn:
        before, _ = await log.plugin.sealer.heads.look()
        for number in range(5):
            await join(log.server, f"user{number}")
        head = await log.plugin.sealer.settle()
    assert head.version >= before.version + 3
    assert 5 == len(await log.entries(event="UserRegistered"))
    await log.verify()
