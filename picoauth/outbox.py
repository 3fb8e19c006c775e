"""The outbox: what leaves the server is written with its reason, and sent by a task of its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from picoauth import decoys
from picoauth.asking import asked
from picoauth.database import Statement
from picoauth.errors import ConfigError, Unavailable, Undeliverable
from picoauth.events import MessageDropped
from picoauth.outboxrows import Claimed, Rows
from picoauth.troubles import where, worded

if TYPE_CHECKING:
    from picoauth.auth import Auth

Sender = Callable[[bytes], Awaitable[None]]
"""Sends one payload of the outbox.

Raises Unavailable where another try may succeed, Undeliverable where none will.
"""

log = logging.getLogger("picoauth.outbox")
PAUSE = 1.0
"""Seconds between two looks at what is due."""
PATIENCE = 60.0
"""Seconds that a sender may take."""
SLOW = f"no answer within {PATIENCE:.0f} s"
AT_ONCE = 4
"""Messages of one kind that a process sends at the same time."""
GRACE = 2.0
"""Seconds that a server which stops gives to what is being sent."""


class Outbox:
    """Queues messages of any kind, and sends them by the `senders` of plugins.

    A message is sent at least once: whoever is cut off between sending and noting it sends it
    again, under the same id.
    """

    def __init__(self, auth: Auth) -> None:
        self.auth = auth
        self.rows = Rows(auth.database, auth.secrets, auth.now)
        self.turn = asyncio.Lock()
        self.under_way: dict[asyncio.Task[None], Claimed] = {}
        self.gone: set[str] = set()
        """Ids of what was sent, where that is not noted yet."""

    def queuing(
        self,
        kind: str,
        message_id: str,
        payload: bytes,
        *,
        about: str,
        expires_at: int,
        user_id: str | None = None,
    ) -> Statement:
        """The statement that queues a payload, for the write of what it tells of.

        `about` stays readable in the database, the rest does not. Of a user who is deleted
        nothing is sent any more; leave `user_id` out of what has to go out even then.
        """
        return self.rows.queuing(
            kind, message_id, payload, about=about, expires_at=expires_at, user_id=user_id
        )

    async def forgetting(self, user_id: str) -> Sequence[Statement]:
        """Statements that take back what waits for a user, for the write that deletes it.

        What is queued in the same moment is dropped when it is to be sent.
        """
        found = await self.rows.waiting_for(user_id)
        return [Statement("delete from outbox where id = ?", (one,)) for one in found]

    async def forever(self) -> None:
        failing = False
        try:
            while True:
                failing = await self.looked(quiet=failing)
                await self.pause()
        finally:
            await self.end()

    async def looked(self, *, quiet: bool) -> bool:
        """Look, or log why not: once, until it works again. Whether it failed."""
        try:
            await self.look()
        except Exception as error:
            if not quiet:
                bug = None if isinstance(error, Unavailable) else error
                log.warning("the outbox has to wait: %s", error, exc_info=bug)
            return True
        return False

    async def pause(self) -> None:
        """Until it is time to look again, or a place is free."""
        if not self.under_way:
            await asyncio.sleep(PAUSE)
            return
        some = list(self.under_way)
        await asyncio.wait(some, timeout=PAUSE, return_when=asyncio.FIRST_COMPLETED)

    async def end(self) -> None:
        """Let what is being sent end; what does not is sent again when its lease is over."""
        if self.under_way:
            _, late = await asyncio.wait(list(self.under_way), timeout=GRACE)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def flush(self) -> None:
        """Send all that is due, and wait for what is being sent; what hangs is cut off."""
        await self.look()
        while self.under_way:
            await asyncio.wait(list(self.under_way), return_when=asyncio.FIRST_COMPLETED)
            await self.look()

    async def look(self) -> None:
        """Begin to send what is due. A kind whose messages hang holds no other kind up."""
        async with self.turn:
            await decoys.erase(self.auth.database, failing=self.auth.mail.trouble is not None)
            trusted = not self.auth.jobs.leapt()  # a clock that may be wrong drops nothing
            for kind in await self.rows.kinds():
                sending = [one.id for one in self.under_way.values() if one.kind == kind]
                for message_id, tries in await self.rows.due(kind, AT_ONCE, expired=trusted):
                    if len(sending) < AT_ONCE and message_id not in sending:
                        await self.begin(message_id, tries)
                        sending.append(message_id)

    async def begin(self, message_id: str, tries: int) -> None:
        claimed = await self.rows.claim(message_id, tries)
        if claimed is not None:
            task = asyncio.create_task(self.attempt(claimed))
            self.under_way[task] = claimed
            task.add_done_callback(self.under_way.pop)

    async def attempt(self, claimed: Claimed) -> None:
        """Send, and note how that went; whatever goes wrong stays with this message."""
        try:
            await self.settle(claimed, await self.outcome(claimed))
        except Unavailable as error:
            log.warning("%s %s waits for the database: %s", claimed.kind, claimed.id, error)
        except Exception:
            log.exception("how %s %s went cannot be noted", claimed.kind, claimed.id)

    async def outcome(self, claimed: Claimed) -> Exception | None:
        """None where it was sent, else why not."""
        if claimed.id in self.gone:
            return None
        try:
            error = await self.send(claimed)
        except Exception as raised:  # noqa: BLE001 - it is told by whoever asks
            return raised
        if error is None:
            self.gone.add(claimed.id)
        return error

    async def send(self, claimed: Claimed) -> Exception | None:
        """What the sender raised. Raises what stands in the way before it is asked."""
        if claimed.expires_at <= self.auth.now():
            if self.auth.jobs.leapt():
                raise Unavailable("the clock leapt ahead")
            raise Undeliverable("it came too late")
        user_id, payload = self.rows.open(claimed)
        if user_id is not None and await self.auth.users.get(user_id) is None:
            raise Undeliverable("its user is gone")
        sender = self.auth.senders.get(claimed.kind)
        if sender is None:
            raise Unavailable(f"no listed plugin sends the kind {claimed.kind}")
        try:
            raised: Exception | None = await asked(partial(answer, sender, payload), {}, PATIENCE)
        except TimeoutError as error:
            raise Unavailable(SLOW) from error
        except RuntimeError as error:  # it called sys.exit(), or cancelled itself
            raise Unavailable(f"the sender failed: {error}") from error
        return raised

    async def settle(self, claimed: Claimed, error: Exception | None) -> None:
        if error is None:
            await self.rows.sent(claimed)
            self.gone.discard(claimed.id)
        elif isinstance(error, Undeliverable):
            await self.give_up(claimed, worded(error))
        else:
            asks = error.retry_after if isinstance(error, Unavailable) else 0
            pause = await self.rows.put_off(claimed, asks, worded(error))
            said = f"{worded(error)}{where(error)}"
            log.warning("%s %s has to wait for %d s: %s", claimed.kind, claimed.id, pause, said)

    async def give_up(self, claimed: Claimed, why: str) -> None:
        event = MessageDropped(
            at=self.auth.now(),
            user_id=await self.user(claimed),
            message_id=claimed.id,
            kind=claimed.kind,
            about=claimed.about,
            why=why,
        )
        await self.auth.events.commit(event, self.rows.giving_up(claimed, why))

    async def user(self, claimed: Claimed) -> str | None:
        """Whose message it is, where that can be read, and where the user is still there."""
        try:
            user_id, _ = self.rows.open(claimed)
        except ConfigError:
            return None
        return user_id if user_id and await self.auth.users.get(user_id) else None

    async def waiting(self) -> str | None:
        """What `/health-check` says to everybody.

        No reason and no name; and not how many, since of mails to nobody only a few wait.
        """
        try:
            seconds = await self.rows.late()
        except Unavailable:  # which the check of the database says
            return None
        if seconds is None:
            return None
        return (
            f"Messages wait in the outbox, the first for {seconds // 60} minutes: "
            "see `picoauth mail list`."
        )

    async def retry(self) -> int:
        """Let all that waits be due now; how many that are."""
        return await self.rows.retry()

    async def list(self) -> Sequence[Mapping[str, Any]]:
        """What waits, and what was sent or given up in the last days; without what it says."""
        return await self.rows.list()


async def answer(sender: Sender, payload: bytes) -> Exception | None:
    """What a sender raises, as a value: no log of a forgotten task shows it, with its addresses."""
    try:
        await sender(payload)
    except Exception as error:  # noqa: BLE001 - whoever sends is a plugin, and fails in any way
        return error
    return None
