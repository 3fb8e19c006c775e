"""What was mailed: a token and a code, of which one is good, once."""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from picoauth import Auth, Identifier, Row, Statement, User

PURPOSE = "magic-link"
"""Of the tickets that links have."""
TRIES = 5
"""After which a code is dead (T-2); the link is not, as nobody can guess it."""
VOID = 10**6
"""Tries of what a newer mail voided, link and code."""
DIGITS = 8
CODE = re.compile(rf"[0-9]{{{DIGITS}}}")
NOBODY = ""
"""The id of no user: what is done for a user is done for it, and touches no row."""
SHARED = "nobody".ljust(32, "0")
"""The id of the one row for all mails to nobody: no flood of questions fills the disk."""
KEPT = 3600
"""Seconds for which a row is kept when its time is over."""

MIGRATIONS = (
    """
    create table magic_link (
        id text primary key, user_id text references users(id) on delete cascade,
        epoch integer not null, value text not null, hash blob not null,
        tries integer not null, expires_at integer not null
    )
    """,
    "create index magic_link_user on magic_link (user_id)",
)

KEEP = """
    insert into magic_link (id, user_id, epoch, value, hash, tries, expires_at)
    values (?, ?, ?, ?, ?, 0, ?)
"""

# Counted before it is looked at: of fifty guesses at once, five are. Guesses at a dead code are
# counted too: a write that changes nothing is not synced, and so is faster, and that would tell
# whose code is dead, which nobody's never is.
TRY = """
    update magic_link set tries = tries + 1 where id = ?
    returning tries, expires_at, id, user_id, epoch, value, hash
"""
FIND = """
    select id, user_id, epoch, value, hash from magic_link where id = ? and expires_at > ?
"""


@dataclass(frozen=True)
class Sent:
    """A row: to whom a mail went, and what the user was like then."""

    id: str
    user_id: str | None
    epoch: int
    value: str
    hash: bytes


@dataclass(frozen=True)
class Made:
    """A new token and a new code, and the statements that make them good."""

    id: str
    token: str
    code: str
    statements: Sequence[Statement]


class Links:
    """Makes them, and finds whose they are; the caller writes."""

    def __init__(self, auth: Auth) -> None:
        self.auth = auth

    def making(self, user: User | None, address: Identifier | None, expires_at: int) -> Made:
        """They void the older ones of the user. For nobody they cost the same, and open nothing."""
        made = self.auth.users.new_id() if user else SHARED
        user_id = user.id if user else None
        token, issuing = self.auth.tickets.issue(
            PURPOSE, {"id": made}, expires_at=expires_at, user_id=user_id, decoy=user is None
        )
        code = f"{int.from_bytes(self.auth.secrets.random(8)) % 10**DIGITS:0{DIGITS}}"
        epoch, value = user.epoch if user else 0, address.value if address else ""
        row = (made, user_id, epoch, value, self.digests(made, code)[0], expires_at)
        statements = [
            *self.voiding(user_id or NOBODY),
            issuing,
            Statement("delete from magic_link where id = ?", (made,)),  # the last one for nobody
            Statement(KEEP, row),
        ]
        return Made(made, token, code, statements)

    def digests(self, made: str, code: str) -> Sequence[bytes]:
        """With a key, since somebody who has the database can try all codes (T-2)."""
        return self.auth.secrets.digests("magic-link code", f"{made} {code}")

    def voiding(self, user_id: str) -> Sequence[Statement]:
        """Void all that a user has. The rows stay, so that a guess at them takes as long as any."""
        sql = "update magic_link set tries = ? where user_id = ?"
        links = Statement(sql, (VOID, user_id))
        return [links, self.auth.tickets.voiding(PURPOSE, user_id)]

    def taking(self, sent: Sent) -> Sequence[Statement]:
        """Take link and code at once: of all who come with either, one finds the row (T-3)."""
        sql = "delete from magic_link where id = ? and tries < ?"
        taking = Statement(sql, (sent.id, VOID), rows=1)
        return [taking, *self.voiding(sent.user_id or NOBODY)]

    async def by_code(self, made: str, code: str) -> Sent | None:
        """What a code belongs to that was sent for the flow which began it; a try is counted."""
        [rows] = await self.auth.database.write(Statement(TRY, (made,)))
        now = self.auth.now()
        found = one([row[2:] for row in rows if row[0] <= TRIES and row[1] > now])
        if found is None:
            return None
        fits = [hmac.compare_digest(each, found.hash) for each in self.digests(made, code)]
        return found if any(fits) else None

    async def by_token(self, token: str) -> Sent | None:
        """What a link belongs to, wherever it is opened; nothing is taken."""
        ticket = await self.auth.tickets.look(PURPOSE, token)
        made = ticket.data["id"] if ticket else NOBODY
        return one(await self.auth.database.read(FIND, (made, self.auth.now())))

    async def owner(self, sent: Sent | None) -> User | None:
        """The user, if everything is as it was: the address, and what proves the user (T-4)."""
        if sent is None:
            return None
        user = await self.auth.users.find("email", sent.value)
        same = user is not None and (user.id, user.epoch) == (sent.user_id, sent.epoch)
        return user if same else None

    async def clean(self) -> None:
        """Rows outlive the flows that may still ask for them."""
        sql = "delete from magic_link where expires_at <= ?"
        await self.auth.database.write(Statement(sql, (self.auth.now() - KEPT,)))

    async def known(self, user_id: str) -> Sequence[Mapping[str, Any]]:
        sql = "select value, expires_at from magic_link where user_id = ? and tries < ?"
        rows = await self.auth.database.read(sql, (user_id, VOID))
        return [{"address": value, "expires_at": at} for value, at in rows]


def one(rows: Sequence[Row]) -> Sent | None:
    return Sent(*rows[0]) if rows else None
