"""Requests that wait for a user: found by a secret id, bound to one user, decided once."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from picoauth import Auth, AuthError, Conflict, Event, Statement, problems
from picoauth_privateauth.asked import Asked
from picoauth_privateauth.problems import REQUEST_DECIDED

SIZE = 32
"""Random bytes of an id."""
MOST = 20_000
"""Requests that are kept, of those that no user opened yet: some 7 KiB each, at most."""
EACH = 100
"""After so many new ones it is looked whether there are more."""
INSERT = "insert into privateauth_requests (id, data, expires_at) values (?, ?, ?)"
FIND = """
    select data, expires_at, user_id, decided_at from privateauth_requests
     where id = ? and expires_at > ?
"""
BIND = """
    update privateauth_requests set user_id = ?
     where id = ? and expires_at > ? and user_id is null and decided_at is null
"""
RELEASE = """
    update privateauth_requests set user_id = null
     where id = ? and user_id = ? and decided_at is null
"""
# A user who was disabled meanwhile decides nothing (S-6).
DECIDE = """
    update privateauth_requests set user_id = ?, decided_at = ?
     where id = ? and expires_at > ? and decided_at is null and (user_id is null or user_id = ?)
       and exists (select 1 from users u where u.id = ? and u.disabled_at is null and u.closed_at is null)
"""
# Nobody has to be anybody to ask: of requests that no user opened yet the oldest make room.
TRIM = """
    delete from privateauth_requests where user_id is null and expires_at <
        (select expires_at from privateauth_requests where user_id is null
          order by expires_at desc limit 1 offset ?)
"""
CLEAN = "delete from privateauth_requests where expires_at < ?"
VOID_REQUESTS = "delete from privateauth_requests"


@dataclass(frozen=True)
class Waiting:
    """A request as its user sees it."""

    id: str
    asked: Asked
    expires_at: int
    user_id: str | None


class Requests:
    """Keeps them for some minutes. Only hashes of ids are stored."""

    def __init__(self, auth: Auth, life: int) -> None:
        self.auth = auth
        self.life = life
        self.kept = 0

    async def keep(self, asked: Asked) -> str:
        """The id under which its user finds it."""
        secret = base64.urlsafe_b64encode(self.auth.secrets.random(SIZE)).rstrip(b"=").decode()
        args = (digest(secret), json.dumps(asked.dump()), self.auth.now() + self.life)
        self.kept += 1
        trimming = [] if self.kept % EACH else [Statement(TRIM, (MOST,))]
        await self.auth.database.write(Statement(INSERT, args, rows=1), *trimming)
        return secret

    async def peek(self, secret: str) -> Asked:
        """What is asked, before it is known by whom. Raises AuthError where it is too late."""
        rows = await self.auth.database.read(FIND, (digest(secret), self.auth.now()))
        if not rows:
            raise AuthError(problems.NOT_FOUND)
        if rows[0][3] is not None:
            raise AuthError(REQUEST_DECIDED)
        return Asked.load(json.loads(rows[0][0]))

    async def look(self, secret: str, user_id: str) -> Waiting:
        """A request that this user may decide. Raises AuthError; of another user's nothing is told."""
        rows = await self.auth.database.read(FIND, (digest(secret), self.auth.now()))
        if not rows or rows[0][2] not in (None, user_id):
            raise AuthError(problems.NOT_FOUND)
        data, expires_at, owner, decided_at = rows[0]
        if decided_at is not None:
            raise AuthError(REQUEST_DECIDED)
        return Waiting(secret, Asked.load(json.loads(data)), expires_at, owner)

    async def open(self, secret: str, user_id: str) -> Waiting:
        """The same, from now on this user's alone."""
        waiting = await self.look(secret, user_id)
        if waiting.user_id is None:
            try:
                args = (user_id, digest(secret), self.auth.now())
                await self.auth.database.write(Statement(BIND, args, rows=1))
            except Conflict:  # another tab of the user, or another user
                return await self.look(secret, user_id)
        return waiting

    async def release(self, secret: str, user_id: str) -> None:
        """Let another user decide it, which this one has opened only."""
        await self.auth.database.write(Statement(RELEASE, (digest(secret), user_id)))

    async def decide(
        self, waiting: Waiting, user_id: str, event: Event, statements: Sequence[Statement] = ()
    ) -> None:
        """Decide it, with what follows from it. Of several at once one wins. Raises AuthError."""
        now = self.auth.now()
        args = (user_id, now, digest(waiting.id), now, user_id, user_id)
        try:
            await self.auth.events.commit(event, Statement(DECIDE, args, rows=1), *statements)
        except Conflict as conflict:
            await self.look(waiting.id, user_id)
            raise AuthError(problems.CONFLICT) from conflict


def digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()
