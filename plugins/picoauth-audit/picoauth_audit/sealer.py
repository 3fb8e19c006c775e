"""Seals rows into the chain, and takes away what is old, whoever of several processes comes first."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import replace

from picoauth import Auth, Conflict, Statement
from picoauth_audit.chain import COLUMNS, KEPT, Broken, Head, Heads, Sealed, Unsealed
from picoauth_audit.events import AuditRestarted, DeletionNoticed, RefusalsCounted
from picoauth_audit.rows import BLANK, MINUTE, Rows, subject
from picoauth_audit.shapes import AuditSettings

log = logging.getLogger("picoauth.audit")
LOWEST = -(1 << 63)
MOST = 100
"""Rows that are sealed, pruned or erased in one write."""
LAG = 60
"""Seconds for which a row may wait; they are sealed within one."""
ANCHOR = 3600
"""Seconds between two lines of the log that say where the chain ends."""
SAID = (
    "the audit log is sealed up to row %d. Whoever keeps this line elsewhere can see later that "
    "nothing before was altered: picoauth audit verify --anchor %d:%s"
)

UNSEALED = f"select {KEPT}, place, mac from audit_unsealed order by place"
SEAL = f"""
    insert into audit ({COLUMNS}) select {KEPT}, ?, ? from audit_unsealed where place = ? and mac = ?
"""
UNSEAL = "delete from audit_unsealed where place = ? and mac = ?"
AFTER = f"select {COLUMNS} from audit where seq > ? order by seq limit ?"
PRUNE = "delete from audit where seq <= ?"
OLD = f"update audit {BLANK} where seq > ? and seq <= ? and salt is not null"
PLACELESS = f"select {COLUMNS} from audit where seq is null order by id"
SEALED, LOST = "delete from audit", "delete from audit_unsealed where place = ?"
OVER = "select kind, minute, count from audit_refusals where minute < ? or minute > ?"
COUNTED = "delete from audit_refusals where kind = ? and minute = ? and count = ?"
ORPHANS = """
    select subject, pseudonym from audit_names n
     where not exists (select 1 from audit_users u where u.pseudonym = n.pseudonym) limit 100
"""
USERS = "select id from users where id > ? order by id limit ?"


class Sealer:
    """Links rows, in the order in which they were committed; each round is one write, or none."""

    def __init__(self, auth: Auth, settings: AuditSettings, rows: Rows) -> None:
        self.auth = auth
        self.settings = settings
        self.rows = rows
        self.heads = Heads(auth)
        self.said_at = 0
        self.said = 0

    async def settle(self) -> Head:
        """Seal all that waits; answers where the chain ends. Raises Broken, Unavailable."""
        while await self.seal():
            pass
        head, _ = await self.heads.look()
        return head

    async def seal(self) -> bool:
        """Seal what waits, so many rows at most; whether there may be more."""
        head, newest = await self.heads.look()
        found = await self.auth.database.read(f"{UNSEALED} limit ?", (MOST,))
        rows = [Unsealed(*row).written(self.rows.keys) for row in found]
        if not rows and newest:
            return False
        after, statements = linked(head, rows)
        try:
            await self.auth.database.write(self.heads.moving(head, after), *statements)
        except Conflict as conflict:
            if conflict.index and (await self.heads.look())[0].version == head.version:
                twice = rows[(conflict.index - 1) // 2].id
                raise Broken(
                    f"the row with the id {twice} came twice, or was altered"
                ) from conflict
            return True  # another process sealed them
        return len(rows) == MOST

    async def lag(self) -> int:
        """Seconds for which the first row waits."""
        [(since,)] = await self.auth.database.read("select min(at) from audit_unsealed")
        return 0 if since is None else self.auth.now() - int(since)

    def say(self, head: Head) -> None:
        """Tell the log where the chain ends, so that what is cut off is known elsewhere."""
        if head.seq != self.said:
            self.said, self.said_at = head.seq, self.auth.now()
            log.info(SAID, head.seq, head.seq, head.link)

    def say_hourly(self, head: Head) -> None:
        if not 0 <= self.auth.now() - self.said_at < ANCHOR:
            self.say(head)

    # What is old.

    async def clean(self) -> None:
        """Prune rows, erase what leads to persons, and let go of users who were deleted."""
        await self.settle()
        while await self.prune():
            pass
        while await self.erase():
            pass
        await self.notice_deletions()

    async def old(self, after: int, span: int) -> Sequence[Sealed]:
        """The next rows that are older than that, from the front on, with none left out."""
        found = await self.auth.database.read(AFTER, (after, MOST), slow=True)
        rows = [Sealed(*row) for row in found]
        now = self.auth.now()
        times = written([row.at for row in rows], now)
        young = next((n for n, at in enumerate(times) if at >= now - span), len(rows))
        return rows[:young]

    async def prune(self) -> bool:
        """Take the oldest rows away, if they are what was sealed. Raises Broken."""
        head, _ = await self.heads.look()
        rows, link = await self.old(head.first, self.settings.retention), head.first_link
        for place, row in enumerate(rows, head.first + 1):
            link = row.check(place, bytes.fromhex(link)).hex()
        if not rows:
            return False
        last = rows[-1].seq
        after = replace(head, first=last, first_link=link, erased=max(last, head.erased))
        return await self.moved(head, after, Statement(PRUNE, (last,), rows=len(rows)))

    async def erase(self) -> bool:
        """Take from old rows what leads to persons; the chain has but a hash of it."""
        head, _ = await self.heads.look()
        begin = max(head.erased, head.first)
        rows = await self.old(begin, self.settings.traces)
        if not rows:
            return False
        last = rows[-1].seq
        blank = Statement(OLD, (begin, last))
        return await self.moved(head, replace(head, erased=last), blank)

    async def moved(self, before: Head, after: Head, *statements: Statement) -> bool:
        after = replace(after, version=before.version + 1)
        try:
            await self.auth.database.write(self.heads.moving(before, after), *statements)
        except Conflict:  # the chain went on meanwhile: the next round looks again
            return False
        return True

    async def notice_deletions(self) -> None:
        """Of users who were deleted while the plugin was off nobody told it."""
        rows = await self.auth.database.read(ORPHANS, slow=True)
        found: dict[bytes, str] = dict(rows)
        if found:
            async for user_id in self.users():  # one who is here lost the pseudonym to somebody
                found.pop(subject(user_id), None)
        for named, pseudonym in found.items():
            event = DeletionNoticed(at=self.auth.now(), user_id=None, pseudonym=pseudonym)
            *erasing, gone = self.rows.erasing(named)
            with suppress(Conflict):  # another process noticed
                await self.auth.events.commit(event, *erasing, replace(gone, rows=1))

    async def users(self) -> AsyncIterator[str]:
        after = ""
        while rows := await self.auth.database.read(USERS, (after, MOST), slow=True):
            for (user_id,) in rows:
                yield user_id
            after = rows[-1][0]

    async def count(self) -> None:
        """Write down how many refusals of a minute that is over have no row."""
        now = self.auth.now()
        over = await self.auth.database.read(OVER, (now - 2 * MINUTE, now + MINUTE))
        for kind, minute, count in over:
            event = RefusalsCounted(
                at=now,
                user_id=None,
                kind=kind,
                minute=minute,
                count=count - self.settings.refusals,
            )
            counted = Statement(COUNTED, (kind, minute, count), rows=1)
            with suppress(Conflict):  # another process did
                if event.count > 0:
                    await self.auth.events.commit(event, counted)
                else:
                    await self.auth.database.write(counted)

    # A new beginning.

    async def all(self) -> AsyncIterator[Sealed]:
        """Every row that has a place, in the order of places."""
        after = LOWEST
        while rows := await self.auth.database.read(AFTER, (after, MOST), slow=True):
            for row in (Sealed(*each) for each in rows):
                yield row
                after = row.seq

    async def placeless(self) -> Sequence[Sealed]:
        """Rows that stand in the chain without a place."""
        return [Sealed(*row) for row in await self.auth.database.read(PLACELESS, slow=True)]

    async def forged(self) -> Sequence[Unsealed]:
        """Rows that wait for a place, and that no server would give one."""
        waiting = [Unsealed(*row) for row in await self.auth.database.read(UNSEALED, slow=True)]
        return [row for row in waiting if not row.is_written(self.rows.keys)]

    async def restart(self, why: str, last: int, rows: int, forged: Sequence[Unsealed]) -> None:
        """Begin a new chain behind `last`: the old one, and what is `forged`, is taken away."""
        version = "select version from audit_head where name = 'head'"
        found = await self.auth.database.read(version)
        now = Head(version=found[0][0] if found else 0)
        head = Head(version=now.version + 1, seq=last, first=last, erased=last)
        gone = [Statement(LOST, (row.place,)) for row in forged]
        event = AuditRestarted(at=self.auth.now(), user_id=None, why=why, rows=rows)
        await self.auth.events.commit(event, self.heads.moving(now, head), Statement(SEALED), *gone)
        self.heads.seen = Head()


def written(times: Sequence[int], now: int) -> Sequence[int]:
    """When rows were, each: one of a clock that was ahead is as old as the one behind it."""
    found: list[int] = []
    for at in reversed(times):
        found.append(at if at <= now or not found else found[-1])
    return found[::-1]


def linked(head: Head, rows: Sequence[Unsealed]) -> tuple[Head, list[Statement]]:
    """The head after these rows, and what gives each its place: two statements for each."""
    link, statements = bytes.fromhex(head.link), []
    for seq, row in enumerate(rows, head.seq + 1):
        link = row.linked(seq, link)
        statements.append(Statement(SEAL, (seq, link, row.place, row.mac), rows=1))
        statements.append(Statement(UNSEAL, (row.place, row.mac), rows=1))
    moved = replace(head, version=head.version + 1, seq=head.seq + len(rows), link=link.hex())
    return moved, statements
