"""What waits: codes and links that verify, and links that take a change back."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from picoauth import Auth, AuthError, Denied, Identifier, Problem, Statement, Ticket, User, problems
from picoauth_email.shapes import WRONG_CODE, EmailSettings

VERIFY, CANCEL, LOGIN = "email verify", "email cancel", "email login"
"""Purposes of tickets."""
TRIES = 5
"""After which a code is dead (T-2)."""
DIGITS = 8

MIGRATIONS = (
    """
    create table email_codes (
        user_id text primary key references users(id) on delete cascade,
        value text not null, hash blob not null, tries integer not null, expires_at integer not null
    )
    """,
    """
    create table email_changes (
        id text primary key, user_id text not null references users(id) on delete cascade,
        epoch integer not null, expires_at integer not null
    )
    """,
    "create index email_changes_user on email_changes (user_id)",
)

KEEP = """
    insert into email_codes (user_id, value, hash, tries, expires_at) values (?, ?, ?, 0, ?)
        on conflict (user_id) do update set
            value = excluded.value, hash = excluded.hash, tries = 0,
            expires_at = excluded.expires_at
"""

# Counted before it is looked at: of fifty guesses at once, five are.
TRY = """
    update email_codes set tries = tries + 1
     where user_id = ? and tries < ? and expires_at > ?
    returning value, hash
"""

VOID_CODES = "delete from email_codes"
CHANGE = "insert into email_changes (id, user_id, epoch, expires_at) values (?, ?, ?, ?)"


@dataclass(frozen=True)
class Proven:
    """That the user has an address: its canonical value, and what takes the proof."""

    value: str
    taking: Sequence[Statement]
    refused: Problem
    """What a client hears where that comes to nothing."""


class Pending:
    """Makes and looks at them; the caller writes."""

    def __init__(self, auth: Auth, settings: EmailSettings) -> None:
        self.auth = auth
        self.settings = settings

    def issuing(self, user_id: str, address: Identifier) -> tuple[str, str, Sequence[Statement]]:
        """A new token and a new code for an address, which void the older ones of the user."""
        now, value = self.auth.now(), address.value
        token, issuing = self.auth.tickets.issue(
            VERIFY, {"value": value}, expires_at=now + self.settings.link_life, user_id=user_id
        )
        code = f"{int.from_bytes(self.auth.secrets.random(8)) % 10**DIGITS:0{DIGITS}}"
        digest = self.digests(user_id, value, code)[0]
        keeping = Statement(KEEP, (user_id, value, digest, now + self.settings.code_life))
        return token, code, [self.auth.tickets.voiding(VERIFY, user_id), issuing, keeping]

    def digests(self, user_id: str, value: str, code: str) -> Sequence[bytes]:
        """With a key, since somebody who has the database can try all codes (T-2)."""
        return self.auth.secrets.digests("email code", f"{user_id} {value} {code}")

    def voiding(self, user_id: str) -> Sequence[Statement]:
        """Void what verifies an address of the user."""
        codes = Statement("delete from email_codes where user_id = ?", (user_id,))
        return [self.auth.tickets.voiding(VERIFY, user_id), codes]

    async def by_token(self, user_id: str, token: str) -> Proven:
        """Raises AuthError for a token that is none, too old, or another account's (E-6)."""
        ticket = await self.look(VERIFY, token)
        if ticket.user_id != user_id:
            raise AuthError(problems.NOT_FOUND)
        taking = [self.auth.tickets.taking(VERIFY, token), *self.voiding(user_id)]
        return Proven(ticket.data["value"], taking, problems.NOT_FOUND)

    async def by_code(self, user_id: str, code: str) -> Proven:
        """Raises Denied for a wrong code, a dead one, and one that came too late."""
        typed = code.replace(" ", "").replace("-", "")
        args = (user_id, TRIES, self.auth.now())
        [rows] = await self.auth.database.write(Statement(TRY, args))
        for value, digest in rows:
            for one in self.digests(user_id, value, typed):
                if hmac.compare_digest(one, digest):
                    sql = "delete from email_codes where user_id = ? and hash = ?"
                    taking = Statement(sql, (user_id, digest), rows=1)
                    return Proven(value, [taking, *self.voiding(user_id)], WRONG_CODE)
        raise Denied(WRONG_CODE)

    async def look(self, purpose: str, token: str) -> Ticket:
        """Read a ticket and leave it. Raises AuthError for one that is none, or too old."""
        ticket = await self.auth.tickets.look(purpose, token)
        if ticket is None:
            late = await self.auth.tickets.expired(purpose, token)
            raise AuthError(problems.LINK_EXPIRED if late else problems.NOT_FOUND)
        return ticket

    # Taking back. Whoever has a session may change the address twice, and the second change
    # tells an address of the thief: so an older link voids newer ones, and never the reverse.

    def cancelable(self, user: User, old: Identifier) -> tuple[str, Sequence[Statement]]:
        """A new token by which `old` takes back what the user changes from now on."""
        until = self.auth.now() + self.settings.cancel_life
        change = self.auth.users.new_id()
        data = {"display": old.display, "change": change, "epoch": user.epoch}
        token, issuing = self.auth.tickets.issue(CANCEL, data, expires_at=until, user_id=user.id)
        sql = "delete from email_changes where user_id = ? and expires_at <= ?"
        return token, [
            issuing,
            Statement(sql, (user.id, self.auth.now())),
            Statement(CHANGE, (change, user.id, user.epoch, until)),
        ]

    def canceling(self, token: str, ticket: Ticket) -> Sequence[Statement]:
        """Take the token, if no older one was taken before it; void those of its change, and newer ones."""
        data, user_id = ticket.data, str(ticket.user_id)
        this = "delete from email_changes where id = ?"
        newer = "delete from email_changes where user_id = ? and epoch >= ?"
        return [
            self.auth.tickets.taking(CANCEL, token),
            Statement(this, (data["change"],), rows=1),
            Statement(newer, (user_id, data["epoch"])),
            *self.voiding(user_id),
        ]

    # A login that waits for its address.

    async def waiting(self, user: User) -> str:
        """A ticket for a user whose login lacks but the address; it voids the one before."""
        ticket, issuing = self.auth.tickets.issue(
            LOGIN,
            {"epoch": user.epoch},
            expires_at=self.auth.now() + self.settings.login_life,
            user_id=user.id,
        )
        await self.auth.database.write(self.auth.tickets.voiding(LOGIN, user.id), issuing)
        return ticket

    async def waiter(self, secret: str) -> User:
        """Whose ticket it is. Raises Denied once the account changed: its proofs are of before."""
        ticket = await self.auth.tickets.look(LOGIN, secret)
        user = await self.auth.users.get(str(ticket.user_id)) if ticket else None
        if ticket is None or user is None or user.epoch != ticket.data["epoch"]:
            raise Denied(problems.FLOW_ENDED)
        return user

    async def known(self, user_id: str) -> Mapping[str, Any]:
        """What waits for a user, without what proves anything."""
        codes = "select value, expires_at from email_codes where user_id = ?"
        changes = "select expires_at from email_changes where user_id = ? order by expires_at"
        read = self.auth.database.read
        return {
            "codes": [
                {"address": value, "expires_at": at} for value, at in await read(codes, (user_id,))
            ],
            "changes": [{"cancelable_until": at} for (at,) in await read(changes, (user_id,))],
        }
