"""What is written for nobody, so that no answer tells who is somebody, is erased soon after.

A question for nobody writes what a question for a user does: a request that wrote less, or in the
place of something older, would be faster. So that strangers fill no disk by it (FL-2), a task of
its own erases these rows, and the next ones take the room.
"""

from __future__ import annotations

from picoauth.database import Database, Statement

PREFIX, BEYOND = "nobody", "nobodz"
"""With which ids and keys begin that are nobody's, and what is greater than these."""
HASHES = bytes(8)
"""With which the hashes of tickets begin that are nobody's: of none of them there is a secret."""
RATES = 5000
"""Counts of names that are nobody's, at least, of those that are left."""
WAITING = 100
"""Mails to nobody that wait while others do: a few are enough, since no figure counts them."""

ALL = 2**63 - 1

FIND = """
    select (select count(*) from outbox where id >= ? and id < ?),
           (select count(*) from tickets where hash < ?),
           (select count(*) from rates where key >= ? and key < ?)
"""
ERASE = f"""
    delete from outbox where id in
        (select id from outbox where id >= ? and id < ? order by created_at, id limit {ALL} offset ?)
"""
FORGET = f"""
    delete from rates where key in
        (select key from rates where key >= ? and key < ? order by last_at desc limit {ALL} offset ?)
"""


async def erase(database: Database, *, failing: bool) -> None:
    """Erase them; while mail is `failing` a few mails to nobody wait as the others do."""
    end = HASHES[:-1] + b"\1"
    [(mails, tickets, rates)] = await database.read(FIND, (PREFIX, BEYOND, end, PREFIX, BEYOND))
    waiting = WAITING if failing else 0
    statements = []
    if mails > waiting:
        statements.append(Statement(ERASE, (PREFIX, BEYOND, waiting)))
    if tickets:
        statements.append(Statement("delete from tickets where hash < ?", (end,)))
    if rates > 2 * RATES:
        statements.append(Statement(FORGET, (PREFIX, BEYOND, RATES)))
    if statements:
        await database.write(*statements)
