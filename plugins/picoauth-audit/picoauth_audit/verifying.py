"""Looks at the whole log: each row, its place, the head, and whose rows are whose."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from picoauth import Auth, Row
from picoauth_audit.chain import COLUMNS, Broken, Head, Heads, Sealed
from picoauth_audit.rows import Pseudonym, subject

BLOCK = 1000
LOWEST = -(1 << 63)
TRIES = 5
"""How often a look begins anew that a change of the log came into."""

BY_PLACE = f"select {COLUMNS} from audit where seq > ? order by seq limit ?"
LOOSE = "select id from audit where seq is null or seq < 1 limit 1"
UNSEALED = "select count(*) from audit_unsealed"
DELETED = "d.seq is not null and d.event in ('UserDeleted', 'DeletionNoticed')"
# Each of these tells of rows that the chain covers, but for what it cannot cover.
ERASED = f"""
    select seq from audit a
     where salt is null and traces is not null and seq > ? and not exists (
           select 1 from audit d where d.who = a.who and {DELETED}) and not exists (
           select 1 from audit d where d.who = substr(a.actor, 6) and {DELETED})
     order by seq limit 1
"""
NOBODY = f"""
    select who from (select distinct who from audit where who is not null) a
     where not exists (select 1 from audit_users u where u.pseudonym = a.who)
       and not exists (select 1 from audit d where d.who = a.who and {DELETED})
     limit 1
"""
USERS = """
    select pseudonym, salt, user_id from audit_users where pseudonym > ? order by pseudonym limit ?
"""
NAMES = """
    select n.subject, n.pseudonym, u.user_id from audit_names n
      left join audit_users u on u.pseudonym = n.pseudonym
     where n.pseudonym > ? order by n.pseudonym limit ?
"""


@dataclass(frozen=True)
class Verified:
    """A log that is whole: how many rows, and where it ends."""

    rows: int
    head: Head
    waiting: int
    """Rows that are not sealed yet."""


class Verifier:
    """Reads blocks, so that a long log takes no more memory than a short one."""

    def __init__(self, auth: Auth, heads: Heads) -> None:
        self.auth = auth
        self.heads = heads

    async def verify(self, anchors: Mapping[int, str] | None = None) -> Verified:
        """Raises Broken with the first thing that is wrong. `anchors` are links known elsewhere."""
        for _ in range(TRIES):
            before, _ = await self.heads.look()
            try:
                return await self.whole(before, dict(anchors or {}))
            except Broken:
                if (await self.heads.look())[0].version == before.version:
                    raise  # nothing came in between
        raise Broken("the log changes faster than it can be looked at: try again")

    async def whole(self, head: Head, anchors: Mapping[int, str]) -> Verified:
        self.check_range(head, anchors)
        await self.check_rows(head, anchors)
        for sql, args, what in (
            (LOOSE, (), "a row ({}) of the chain has no place in it"),
            (ERASED, (head.erased,), "what leads to a person was taken from row {}"),
            (NOBODY, (), "the pseudonym {} belongs to nobody, and no deletion is noted"),
        ):
            for (found,) in await self.auth.database.read(sql, args, slow=True):
                raise Broken(what.format(found))
        await self.check_users()
        [(waiting,)] = await self.auth.database.read(UNSEALED, slow=True)
        return Verified(head.seq - head.first, head, waiting)

    def check_range(self, head: Head, anchors: Mapping[int, str]) -> None:
        for seq in anchors:
            if seq > head.seq:
                raise Broken(f"the chain ends at row {head.seq}, but there was a row {seq}")
            if seq < head.first:
                raise Broken(f"row {seq} was pruned: take a later link to compare with")

    async def check_rows(self, head: Head, anchors: Mapping[int, str]) -> None:
        place, link = head.first, bytes.fromhex(head.first_link)
        compare(anchors, place, link)
        after = LOWEST
        while rows := await self.auth.database.read(BY_PLACE, (after, BLOCK), slow=True):
            for one in (Sealed(*row) for row in rows):
                place += 1
                link = one.check(place, link)
                compare(anchors, place, link)
                after = one.seq
        if (place, link.hex()) != (head.seq, head.link):
            raise Broken(f"the chain ends at row {place}, but row {head.seq} was sealed")

    async def check_users(self) -> None:
        """A pseudonym is made of its user's id: none can be handed to another user."""
        async for pseudonym, salt, user_id in self.every(USERS, 0):
            if Pseudonym.of(user_id, salt).text != pseudonym:
                raise Broken(f"the pseudonym {pseudonym} was given to another user")
        async for named, pseudonym, user_id in self.every(NAMES, 1):
            if user_id is not None and subject(user_id) != named:
                raise Broken(f"the pseudonym {pseudonym} was given to another user")

    async def every(self, sql: str, key: int) -> AsyncIterator[Row]:
        after = ""
        while rows := await self.auth.database.read(sql, (after, BLOCK), slow=True):
            for row in rows:
                yield row
            after = rows[-1][key]


def compare(anchors: Mapping[int, str], place: int, link: bytes) -> None:
    if anchors.get(place, link.hex()) != link.hex():
        raise Broken(f"row {place} has another link than the one that was noted")
