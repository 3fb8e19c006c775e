"""Tickets: taken once, for one purpose, before they end."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from picoauth import Conflict, Database, Statement, Ticket
from picoauth.testing import Clock
from picoauth.tickets import Tickets, cleaning
from tests import storage
from tests.storage import kernel_tables

PURPOSES = ["flow", "stepup", "reset", "email", "code"]


class Counting:
    """Randomness that never repeats and is known beforehand."""

    def __init__(self) -> None:
        self.next = itertools.count(1)

    def __call__(self, size: int) -> bytes:
        return draw(next(self.next))[:size]


def draw(number: int) -> bytes:
    return hashlib.sha256(bytes([number])).digest()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with kernel_tables(tmp_path) as database:
        yield database


@pytest.fixture
def tickets(database: Database, clock: Clock) -> Tickets:
    return Tickets(database, lambda: int(clock()), Counting())


async def issued(
    tickets: Tickets, purpose: str = "flow", user_id: str | None = None, life: int = 300
) -> str:
    """A ticket that is written."""
    data = {"for": purpose, "list": [1, "é", None]}
    secret, statement = tickets.issue(
        purpose, data, expires_at=tickets.now() + life, user_id=user_id
    )
    await tickets.database.write(statement)
    return secret


async def test_ticket_carries_what_it_was_given(tickets: Tickets) -> None:
    """A ticket answers user, data and end; looking leaves it, taking does not."""
    secret = await issued(tickets, user_id="ann")
    expected = Ticket("ann", {"for": "flow", "list": [1, "é", None]}, 1_800_000_300)
    assert expected == await tickets.look("flow", secret)
    assert expected == await tickets.look("flow", secret)
    assert expected == await tickets.take("flow", secret)
    assert (None, None) == (await tickets.look("flow", secret), await tickets.take("flow", secret))


async def test_ticket_of_nobody(tickets: Tickets) -> None:
    """A ticket need not be somebody's."""
    secret = await issued(tickets)
    taken = await tickets.take("flow", secret)
    assert taken is not None
    assert taken.user_id is None


async def test_ticket_is_valid_once_it_is_written(tickets: Tickets) -> None:
    """What was issued but not written is none."""
    secret, _ = tickets.issue("flow", {}, expires_at=tickets.now() + 300)
    assert await tickets.take("flow", secret) is None


@pytest.mark.embedded
async def test_secret_is_long_and_not_stored(tickets: Tickets, tmp_path: Path) -> None:
    """256 random bits are handed out, and no file has them (T-2)."""
    secret = await issued(tickets)
    assert base64.urlsafe_b64encode(draw(1)).decode() == secret + "="
    assert secret != await issued(tickets)
    found = stored(tmp_path)
    assert secret.encode() not in found
    assert draw(1) not in found
    assert hashlib.sha256(secret.encode()).digest() in found


def stored(folder: Path) -> bytes:
    return b"".join(each.read_bytes() for each in folder.iterdir())


async def test_purpose_is_part_of_a_ticket(tickets: Tickets) -> None:
    """A ticket made for one purpose is not there for any other (T-1)."""
    for made, asked in itertools.product(PURPOSES, repeat=2):
        secret = await issued(tickets, made)
        assert (made == asked) == (await tickets.look(asked, secret) is not None)
        if made != asked:
            with pytest.raises(Conflict):
                await tickets.database.write(tickets.taking(asked, secret))
        assert (made == asked) == (await tickets.take(asked, secret) is not None)
        assert (made != asked) == (await tickets.take(made, secret) is not None)


@pytest.mark.parametrize("spoil", ["", "{}=", " {}", "{}\0", "💥", "A" * 43])
async def test_secret_that_was_never_issued(tickets: Tickets, spoil: str) -> None:
    """Nothing but the very secret finds a ticket."""
    secret = spoil.format(await issued(tickets))
    assert await tickets.look("flow", secret) is None
    assert await tickets.take("flow", secret) is None
    with pytest.raises(Conflict):
        await tickets.database.write(tickets.taking("flow", secret))
    assert [(1,)] == await tickets.database.read("select count(*) from tickets")


@pytest.mark.parametrize("age", [299, 300, 301])
async def test_ticket_ends_at_its_time(tickets: Tickets, clock: Clock, age: int) -> None:
    """A ticket works before its end and not from it on, by the clock of its use (T-5)."""
    secrets = [await issued(tickets), await issued(tickets)]
    clock.advance(age)
    alive = age < 300
    assert alive == (await tickets.look("flow", secrets[0]) is not None)
    assert alive == (await tickets.take("flow", secrets[0]) is not None)
    if alive:
        await tickets.database.write(tickets.taking("flow", secrets[1]))
    else:
        with pytest.raises(Conflict):
            await tickets.database.write(tickets.taking("flow", secrets[1]))


async def test_ticket_that_came_too_late(tickets: Tickets, clock: Clock) -> None:
    """It is told from one that never was, was taken, or is for something else."""
    late, taken = await issued(tickets, "reset"), await issued(tickets, "reset")
    assert not await tickets.expired("reset", late)
    assert await tickets.take("reset", taken)
    clock.advance(300)
    assert await tickets.expired("reset", late)
    others = [("reset", taken), ("reset", "made up"), ("flow", late)]
    assert [False] * 3 == [await tickets.expired(*other) for other in others]


async def test_clock_that_goes_back_revives_nothing(tickets: Tickets, clock: Clock) -> None:
    """A ticket that was taken stays taken, whatever the clock does (FT-1)."""
    secret = await issued(tickets)
    await tickets.take("flow", secret)
    clock.advance(-7200)
    assert await tickets.take("flow", secret) is None


async def test_fifty_at_once(tickets: Tickets) -> None:
    """Of fifty who take one ticket at once, one has it (T-3)."""
    secret = await issued(tickets)
    taken = await asyncio.gather(*(tickets.take("flow", secret) for _ in range(50)))
    assert 1 == len([ticket for ticket in taken if ticket is not None])


async def test_fifty_effects_at_once(tickets: Tickets) -> None:
    """Of fifty writes that take one ticket, one has its effect, and the others have none (T-3)."""
    secret = await issued(tickets)
    effect = "insert into retired_names (hash, retired_at) values (?, 0)"
    results = await asyncio.gather(
        *(
            tickets.database.write(Statement(effect, (bytes([n]),)), tickets.taking("flow", secret))
            for n in range(50)
        ),
        return_exceptions=True,
    )
    conflicts = [result for result in results if isinstance(result, Conflict)]
    assert [1] * 49 == [conflict.index for conflict in conflicts]
    assert [(1,)] == await tickets.database.read("select count(*) from retired_names")


async def test_effect_that_fails_leaves_the_ticket(tickets: Tickets) -> None:
    """Where the effect comes to nothing the ticket can still be taken."""
    secret = await issued(tickets)
    failing = Statement("update users set name = 'x' where id = 'nobody'", rows=1)
    with pytest.raises(Conflict):
        await tickets.database.write(tickets.taking("flow", secret), failing)
    assert await tickets.take("flow", secret) is not None


async def test_voiding(tickets: Tickets) -> None:
    """A user's tickets of one purpose are voided; other purposes and users keep theirs (T-5)."""
    voided = [await issued(tickets, "reset", "ann") for _ in range(2)]
    kept = {
        purpose: await issued(tickets, purpose, user)
        for purpose, user in (("email", "ann"), ("reset", "bob"))
    }
    secret, statement = tickets.issue("reset", {}, expires_at=tickets.now() + 300, user_id="ann")
    await tickets.database.write(tickets.voiding("reset", "ann"), statement)
    assert [None, None] == [await tickets.take("reset", each) for each in voided]
    for purpose, each in {**kept, "reset ": secret}.items():
        assert await tickets.take(purpose.strip(), each) is not None


async def test_deleted_user(tickets: Tickets) -> None:
    """The tickets of a user go with the user (S-6)."""
    secret = await issued(tickets, "reset", "ann")
    await tickets.database.write(Statement("delete from users where id = 'ann'"))
    assert await tickets.take("reset", secret) is None


@pytest.mark.parametrize(("age", "left"), [(300, 1), (3900, 1), (3901, 0)])
async def test_cleaning(tickets: Tickets, clock: Clock, age: int, left: int) -> None:
    """Tickets are removed an hour after their end, for the sake of clocks that lag."""
    await issued(tickets)
    clock.advance(age)
    await tickets.database.write(cleaning(tickets.now()))
    assert [(left,)] == await tickets.database.read("select count(*) from tickets")


async def test_taking_is_one_statement(
    tmp_path: Path, tickets: Tickets, database: Database
) -> None:
    """Nothing is read before it is taken: another process may come between."""
    secret = await issued(tickets)
    statement = tickets.taking("flow", secret)
    other = storage.engine(tmp_path / "test.db")
    [taken] = await other.write(statement)
    assert 1 == len(taken)
    await other.close()
    with pytest.raises(Conflict):
        await database.write(statement)
