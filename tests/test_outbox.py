"""The outbox: committed with its reason, sealed, sent at least once, and dropped aloud."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from picoauth import (
    Caller,
    Conflict,
    MessageDropped,
    Statement,
    Unavailable,
    Undeliverable,
    outbox,
)
from picoauth.outboxrows import BLOCK, LEASE, LONGEST
from picoauth.testing import Clock
from picoauth.testing.captured import Captured
from tests.post import END, Held, Post, posting, well

NEVER = "delete from users where id = 'nobody'"


@pytest.fixture
async def post(tmp_path: Path) -> AsyncIterator[Post]:
    async with posting(tmp_path) as post:
        yield post


def raising(error: BaseException) -> Callable[[], Awaitable[None]]:
    async def act() -> None:
        raise error

    return act


async def turns() -> None:
    """Let every task go on that can: an attempt needs fewer turns than these."""
    for _ in range(20):
        await asyncio.sleep(0)


async def states(post: Post) -> list[str]:
    """Of all messages, in the order in which they were queued."""
    found = sorted(await post.auth.outbox.list(), key=lambda one: int(one["id"].split()[1]))
    return [
        "waits" if one["waits"] else "sent" if one["sent_at"] else one["error"] for one in found
    ]


# What is queued


@pytest.mark.parametrize(
    "payload",
    [b"", b"\0", b"\1", b"a \n", b"{}\0\1\0", b"\n\n", bytes(range(256)), b"x" * BLOCK, b"\1" * 3],
)
async def test_payload_arrives_as_it_is(post: Post, payload: bytes) -> None:
    """Every byte of it, whatever it ends with; afterwards it is gone from the database."""
    await post.queue(payload)
    assert [payload] == await post.flush()
    assert (None, post.auth.now(), 1) == await post.row("sealed, sent_at, tries")


async def test_message_of_a_write_that_fails(post: Post) -> None:
    """It is queued exactly when what it tells of is written."""
    queuing = post.auth.outbox.queuing("post", "1", b"x", about="", expires_at=2**31)
    with pytest.raises(Conflict):
        await post.auth.database.write(queuing, Statement(NEVER, rows=1))
    assert [] == await post.flush()
    await post.auth.database.write(queuing)
    with pytest.raises(Conflict):
        await post.auth.database.write(queuing)
    assert [b"x"] == await post.flush()


async def test_rows_tell_nothing(post: Post, tmp_path: Path) -> None:
    """Whose a message is, what it says and how long it is: no column and no byte tells."""
    user, _ = await post.auth.users.register(post.auth.users.draft(username="ann"))
    await post.queue(b"", b"marked 7d1f8c" * 1000)
    await post.queue(b"marked 7d1f8c", user_id=user.id)
    rows = await post.auth.database.read("select * from outbox")
    assert 1 == len({tuple(map(size, row[1:])) for row in rows})
    assert user.id not in str(rows)
    await post.auth.database.close()
    assert b"7d1f8c" not in written(tmp_path)


def written(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.glob("picoauth.db*"))


def size(value: Any) -> Any:
    return len(value) if isinstance(value, bytes | str) else value


async def test_row_opens_in_no_other_place(post: Post) -> None:
    """One message cannot be sent in the place of another (D-4); what is odd waits, and says so."""
    await post.queue(b"one", b"two")
    [[sealed]] = await post.auth.database.read("select sealed from outbox where id = 'post 0'")
    swap = Statement("update outbox set sealed = ? where id = 'post 1'", (sealed,), rows=1)
    await post.auth.database.write(swap)
    assert [b"one"] == await post.flush()
    error = "The sealed of outbox post 1 was altered in the database: restore it from a backup."
    assert [error] == [one["error"] for one in await post.auth.outbox.list() if one["waits"]]


async def test_altered_message_is_dropped_in_the_end(post: Post) -> None:
    """Nobody can tell whose it was."""
    events = Captured(post.auth.events)
    await post.queue(b"one", life=20)
    await post.auth.database.write(Statement("update outbox set sealed = ?", (b"-",), rows=1))
    assert [] == await post.flush()
    post.clock.advance(20)
    await post.flush()
    dropped = events.one(MessageDropped)
    assert (None, "it came too late") == (dropped.user_id, dropped.why)


# How it is tried again


async def test_pauses(post: Post) -> None:
    """Fifteen seconds, doubling up to an hour; a message that is not due is not touched."""
    post.plugin.act = raising(Unavailable("the mail server is not there"))
    await post.queue(b"x")
    pauses = []
    for tries in range(1, 12):
        await post.flush()
        await post.flush()
        assert tries == len(post.plugin.got)
        next_at, error = await post.row("next_at, error")
        assert "the mail server is not there" == error
        pauses.append(next_at - post.auth.now())
        post.clock.advance(pauses[-1] - 1)
        await post.flush()
        post.clock.advance(1)
    assert [15, 30, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600] == pauses


@pytest.mark.parametrize(("asks", "pause"), [(-5, 15), (0, 15), (40, 40), (10**9, LONGEST)])
async def test_other_side_asks_for_time(post: Post, asks: int, pause: int) -> None:
    """It gets it, up to an hour."""
    post.plugin.act = raising(Unavailable("come later", retry_after=asks))
    await post.queue(b"x")
    await post.flush()
    [next_at] = await post.row("next_at")
    assert pause == next_at - post.auth.now()


async def cancels_itself() -> None:
    task = asyncio.current_task()
    assert task
    task.cancel()
    await asyncio.sleep(0)


async def exits() -> None:
    sys.exit(3)


async def hangs() -> None:
    await asyncio.Event().wait()


async def bears_being_cancelled() -> None:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        raise LookupError("ann@example.com") from None


ODD = [
    (raising(LookupError("ann@example.com")), "LookupError"),
    (raising(TimeoutError("ann@example.com")), "TimeoutError"),
    (raising(RuntimeError("ann@example.com")), "RuntimeError"),
    (raising(Conflict(0)), "Conflict"),
    (raising(Unavailable("no <ann@example.com>\r\n\x1b[2J here")), "no … [2J here"),
    (cancels_itself, "the sender failed: it cancelled itself"),
    (exits, "the sender failed: it called sys.exit()"),
    (hangs, outbox.SLOW),
    (bears_being_cancelled, outbox.SLOW),
]


@pytest.mark.parametrize(("act", "said"), ODD)
async def test_sender_that_fails(
    post: Post,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    act: Callable[[], Awaitable[None]],
    said: str,
) -> None:
    """However it fails, nothing is lost, and others are sent; no address gets anywhere (L-2)."""
    monkeypatch.setattr(outbox, "PATIENCE", 0.01)
    post.plugin.act = act
    await post.queue(b"one")
    await post.queue(b"two", kind="news")
    await post.flush()
    assert ["waits", "sent"] == await states(post)
    assert [said, None] == [one["error"] for one in await post.auth.outbox.list()][::-1]
    await asyncio.sleep(0)
    assert "ann@example.com" not in caplog.text
    assert f"post post 0 has to wait for 15 s: {said}" in caplog.text
    assert ("tests/test_outbox.py:" in caplog.text) == (
        said.endswith("Error") or said == "Conflict"
    )
    post.plugin.act = well
    post.clock.advance(15)
    assert b"one" == (await post.flush())[-1]
    assert ["sent", "sent"] == await states(post)


async def test_refused_message(post: Post, caplog: pytest.LogCaptureFixture) -> None:
    """It is dropped at once: an event says so, with the user, and the list says why."""
    user, _ = await post.auth.users.register(post.auth.users.draft(username="ann"))
    events = Captured(post.auth.events)
    post.plugin.act = raising(Undeliverable("nobody is called ann@example.com"))
    await post.queue(b"x", user_id=user.id)
    await post.flush()
    assert (None, "nobody is called …") == await post.row("sealed, error")
    expected = MessageDropped(
        at=post.auth.now(),
        user_id=user.id,
        message_id="post 0",
        kind="post",
        about="a test",
        why="nobody is called …",
    )
    assert expected == events.one(MessageDropped)
    assert "ann@example.com" not in caplog.text
    post.clock.advance(END)
    assert [b"x"] == await post.flush()


async def test_kind_that_nobody_sends(post: Post, tmp_path: Path) -> None:
    """It waits until a plugin that sends it is listed, and says what is missing."""
    await post.queue(b"x", kind="pigeons")
    await post.queue(b"y")
    assert [b"y"] == await post.flush()
    assert "no listed plugin sends the kind pigeons" == (await post.auth.outbox.list())[0]["error"]
    post.clock.advance(15)
    async with posting(tmp_path, post.clock) as later:
        later.auth.senders = {"pigeons": later.plugin.keep}
        assert [b"x"] == await later.flush()


async def test_message_that_comes_too_late(post: Post) -> None:
    """It is dropped when its end has come, not sent any more, and told."""
    events = Captured(post.auth.events)
    post.plugin.act = raising(Unavailable("not now"))
    await post.queue(b"x", life=16)
    await post.flush()
    post.clock.advance(15)
    await post.flush()
    assert (["waits"], 2) == (await states(post), len(post.plugin.got))
    post.clock.advance(1)
    await post.flush()
    assert (["it came too late"], 2) == (await states(post), len(post.plugin.got))
    assert "it came too late" == events.one(MessageDropped).why
    await post.flush()
    assert 1 == len(events.of(MessageDropped))


async def test_addition_that_fails_to_a_drop(post: Post, caplog: pytest.LogCaptureFixture) -> None:
    """What cannot be told, to an audit for instance, is not dropped; it is tried again."""

    def fail(event: Any) -> None:
        raise LookupError(event)

    post.auth.events.recorders = {"audit": fail}
    post.plugin.act = raising(Undeliverable("never"))
    await post.queue(b"x", b"y")
    await post.flush()
    assert ["waits", "waits"] == await states(post)
    assert "how post post 0 went cannot be noted" in caplog.text
    post.auth.events.recorders = {}
    post.clock.advance(LEASE)
    await post.flush()
    assert ["never", "never"] == await states(post)


# Users


async def test_mail_of_a_deleted_user(post: Post) -> None:
    """Nothing goes to who is gone, and nothing remembers who it was."""
    users = [
        (await post.auth.users.register(post.auth.users.draft(username=name)))[0]
        for name in ("ann", "bob")
    ]
    events = Captured(post.auth.events)
    for user in users:
        await post.queue(user.name.encode(), user_id=user.id)
    await post.auth.database.write(Statement("delete from users where id = ?", (users[0].id,)))
    assert [b"bob"] == await post.flush()
    assert ["its user is gone", "sent"] == await states(post)
    assert events.one(MessageDropped).user_id is None


async def test_what_waits_is_taken_back(post: Post) -> None:
    """With a user goes what waits for that user, and nothing that waits for others."""
    users = [
        (await post.auth.users.register(post.auth.users.draft(username=name)))[0]
        for name in ("ann", "bob")
    ]
    for user in users:
        await post.queue(user.name.encode(), user_id=user.id)
    await post.auth.accounts.delete(users[0].id, Caller())
    assert ["waits"] == await states(post)
    assert [b"bob"] == await post.flush()


async def test_deletion_while_much_waits(post: Post) -> None:
    """Of all that waits for others, and of what nobody can open, nothing is taken back."""
    users = [
        (await post.auth.users.register(post.auth.users.draft(username=name)))[0]
        for name in ("ann", "bob")
    ]
    for number in range(60):
        await post.queue(b"to bob", user_id=users[number % 2].id)
    await post.queue(b"to nobody", b"sealed under another secret")
    sql = "update outbox set sealed = ? where id = (select max(id) from outbox)"
    await post.auth.database.write(Statement(sql, (b"-",)))
    await post.auth.accounts.delete(users[0].id, Caller())
    assert ["waits"] * 32 == await states(post)


# Several at once


async def test_many_are_sent_in_one_flush(post: Post) -> None:
    """Each once, also where several flush at the same time, and looks go on beside."""
    payloads = [str(number).encode() for number in range(50)]
    await post.queue(*payloads)
    await asyncio.gather(*(post.flush() for _ in range(10)))
    assert sorted(payloads) == sorted(post.plugin.got)
    assert ["sent"] * 50 == await states(post)


async def test_two_on_one_file(post: Post, tmp_path: Path) -> None:
    """Two servers send each message once."""
    async with posting(tmp_path, post.clock) as other:
        payloads = [str(number).encode() for number in range(40)]
        for first in range(0, 40, 4):  # each of them is the first now and then
            await post.queue(*payloads[first : first + 4])
            both = (post, other) if first % 8 else (other, post)
            await asyncio.gather(*(one.flush() for one in both * 3))
        assert sorted(payloads) == sorted(post.plugin.got + other.plugin.got)
        assert post.plugin.got
        assert other.plugin.got


async def test_places(post: Post) -> None:
    """Of a kind four at once are sent; messages that hang hold no other kind up."""
    post.plugin.act = held = Held()
    await post.queue(*(b"slow" for _ in range(6)))
    for _ in range(3):
        await post.auth.outbox.look()
        await turns()
    assert [b"slow"] * 4 == post.plugin.got
    await post.queue(b"quick", kind="news")
    await post.auth.outbox.look()
    await turns()
    assert [b"slow"] * 4 + [b"quick"] == post.plugin.got
    held.free.set()
    assert 7 == len(await post.flush())


async def test_claim_has_one_winner(post: Post) -> None:
    """Of fifty that saw the same message due, one gets it."""
    await post.queue(b"x")
    claims = await asyncio.gather(*(post.auth.outbox.rows.claim("post 0", 0) for _ in range(50)))
    assert 1 == len([claim for claim in claims if claim])
    assert [] == await post.flush()


@pytest.mark.parametrize("late", [Unavailable("not now"), Undeliverable("never"), None])
async def test_process_that_is_overtaken(
    post: Post, tmp_path: Path, late: Exception | None
) -> None:
    """Whoever comes back after its lease changes nothing of what another process did or does."""
    events = Captured(post.auth.events)
    post.plugin.act = slow = Held()
    await post.queue(b"x")
    await post.auth.outbox.look()
    await slow.begun.wait()
    post.clock.advance(LEASE - 1)
    async with posting(tmp_path, post.clock) as other:
        assert [] == await other.flush()
        post.clock.advance(1)
        other.plugin.act = held = Held()
        await other.auth.outbox.look()
        await held.begun.wait()
        before = await post.row("next_at, held_until, tries, error")
        if late:
            slow.after = raising(late)
        slow.free.set()
        await post.flush()
        assert [] == events.of(MessageDropped)
        if late:
            assert (*before, ["waits"]) == (
                *await post.row("next_at, held_until, tries, error"),
                await states(post),
            )
        held.free.set()
        await other.flush()
        assert ["sent"] == await states(post)
        assert ([b"x"], [b"x"]) == (post.plugin.got, other.plugin.got)


async def test_retry(post: Post, tmp_path: Path) -> None:
    """What was put off is due at once; what is being sent is not sent by another as well."""
    post.plugin.act = raising(Unavailable("not now"))
    await post.queue(b"one", b"two")
    await post.flush()
    post.plugin.act = held = Held()
    await post.queue(b"three")
    await post.auth.outbox.look()
    await held.begun.wait()
    async with posting(tmp_path, post.clock) as other:
        assert 3 == await other.auth.outbox.retry()
        assert [b"one", b"two"] == sorted(await other.flush())
    held.free.set()
    await post.flush()
    assert ["sent"] * 3 == await states(post)
    assert 0 == await post.auth.outbox.retry()


# The clock


async def test_clock_that_leaps_ahead(post: Post) -> None:
    """Nothing is dropped while the clock may be wrong: what it says is too late waits."""
    events = Captured(post.auth.events)
    await post.auth.jobs.once()
    post.auth.jobs.monotonic = still = Clock()
    post.auth.jobs.offset = 0
    await post.queue(b"x", life=600)
    post.clock.advance(86400)
    await post.flush()
    await post.flush()
    assert (1, "the clock leapt ahead") == await post.row("tries, error")
    post.clock.advance(15)
    await post.flush()
    assert (2, ["waits"]) == (*await post.row("tries"), await states(post))
    post.clock.advance(-86400)
    assert [b"x"] == await post.flush()
    assert [] == events.of(MessageDropped)
    assert still() == post.clock() - 15


async def test_clock_that_stays_ahead(post: Post) -> None:
    """After an hour it is believed."""
    post.auth.jobs.monotonic = still = Clock()
    post.auth.jobs.offset = 0
    await post.queue(b"x", life=600)
    post.clock.advance(86400)
    await post.flush()
    for clock in (still, post.clock):
        clock.advance(3600)
    await post.flush()
    assert ["it came too late"] == await states(post)


async def test_clock_that_goes_back(post: Post) -> None:
    """What is new is sent at once, and what was put off, or held, by a clock ahead is due."""
    await post.queue(b"new")
    post.clock.advance(-600)
    assert [b"new"] == await post.flush()
    post.plugin.act = raising(Unavailable("not now"))
    await post.queue(b"put off")
    await post.flush()
    await post.queue(b"held")
    assert await post.auth.outbox.rows.claim("post 2", 0)
    post.plugin.act = well
    post.clock.advance(-LONGEST - 1)
    assert [b"new", b"put off", b"held", b"put off"] == await post.flush()


# Faults, and the end of a process


async def test_database_that_fails_when_it_is_noted(
    post: Post, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The process remembers that it sent, and does not send again; others are not held up."""

    async def fail(*_: Any) -> None:
        raise Unavailable("the disk is full")

    await post.queue(b"x", b"y")
    with monkeypatch.context() as patch:
        patch.setattr(post.auth.outbox.rows, "sent", fail)
        assert [b"x", b"y"] == sorted(await post.flush())
    assert ["waits", "waits"] == await states(post)
    assert "post post 0 waits for the database: the disk is full" in caplog.text
    post.clock.advance(LEASE)
    assert [b"x", b"y"] == sorted(await post.flush())
    assert (["sent", "sent"], set()) == (await states(post), post.auth.outbox.gone)


async def test_forever(
    post: Post, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It goes on whatever happens, and says once why it has to wait; a bug with its traceback."""
    monkeypatch.setattr(outbox, "PAUSE", 0)
    read, looked = post.auth.database.read, asyncio.Event()
    troubles: list[Exception | None] = [
        Unavailable("the disk is gone"),
        Unavailable("the disk is gone"),
        *(None, None),  # what is for nobody, and then what waits
        LookupError("a bug"),
        None,
    ]

    async def troubled(*args: Any, **more: Any) -> Any:
        trouble = troubles.pop(0) if troubles else looked.set()
        if trouble is not None:
            raise trouble
        return await read(*args, **more)

    monkeypatch.setattr(post.auth.database, "read", troubled)
    task = asyncio.create_task(post.auth.outbox.forever())
    await looked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ["the outbox has to wait: the disk is gone", "the outbox has to wait: a bug"] == [
        record.getMessage() for record in caplog.records
    ]
    assert [None, LookupError] == [
        record.exc_info and record.exc_info[0] for record in caplog.records
    ]


async def test_many_do_not_wait_for_the_next_look(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who sent has a place for the next one, however long the pause between two looks is."""
    monkeypatch.setattr(outbox, "PAUSE", 3600)
    await post.queue(*(b"x" for _ in range(40)))
    task = asyncio.create_task(post.auth.outbox.forever())
    while "waits" in await states(post):
        await turns()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def stopped(post: Post) -> None:
    """Let the task look once, and stop it."""
    task = asyncio.create_task(post.auth.outbox.forever())
    while not post.plugin.got:
        await turns()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_stop_in_mid_send(post: Post) -> None:
    """A server that stops lets what is being sent end, and notes it."""
    post.plugin.act = held = Held()
    await post.queue(b"x")
    asyncio.get_running_loop().call_later(0.05, held.free.set)
    await stopped(post)
    assert ["sent"] == await states(post)


async def test_stop_while_a_sender_hangs(
    post: Post, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is cut off after a while; the next process sends the message when the lease is over."""
    monkeypatch.setattr(outbox, "GRACE", 0.01)
    post.plugin.act = hangs
    await post.queue(b"x")
    await stopped(post)
    assert {} == post.auth.outbox.under_way
    assert ["waits"] == await states(post)
    post.clock.advance(LEASE)
    async with posting(tmp_path, post.clock) as later:
        assert [b"x"] == await later.flush()


# What is said of it


async def test_check(post: Post) -> None:
    """That something waits for five minutes is said, in words that are for everybody."""
    [check] = [check for check in post.auth.checks if check.name == "outbox"]
    assert not check.vital
    post.plugin.act = raising(Unavailable("smtp.example.com is not there"))
    assert await check.run() is None
    await post.queue(b"x")
    await post.flush()
    assert await check.run() is None
    post.clock.advance(299)
    assert await check.run() is None
    post.clock.advance(1)
    await post.queue(b"y")
    one = "Messages wait in the outbox, the first for 5 minutes: see `picoauth mail list`."
    assert one == await check.run()
    post.clock.advance(359)
    two = "Messages wait in the outbox, the first for 10 minutes: see `picoauth mail list`."
    assert two == await check.run()
    post.plugin.act = well
    await post.auth.outbox.retry()
    await post.flush()
    assert await check.run() is None


async def test_cleaning(post: Post) -> None:
    """What was sent is remembered for a day, why something was dropped for a week, waits stay."""
    await post.queue(b"x")
    await post.flush()
    post.plugin.act = raising(Undeliverable("never"))
    await post.queue(b"y")
    await post.flush()
    post.plugin.act = raising(Unavailable("not now"))
    await post.queue(b"z", life=100 * END)
    await post.flush()
    expected = ["sent", "never", "waits"]
    for days in (0, 1, 6, 1):
        post.clock.advance(days * END + 1)
        for job in post.auth.jobs.jobs:
            await job.run()
        gone = {1: "sent", 6: "never"}.get(days)
        expected = [state for state in expected if state != gone]
        assert expected == await states(post)
