"""One key per session and one list of ids per user, each changed by commands on that key alone.

So all of it works in a cluster, where two keys may be on two servers.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any

from picoauth import Conflict, Session, Unavailable
from picoauth_session_redis.client import Commands

log = logging.getLogger("picoauth.session_redis")

REMOVED = b""
"""What stands in the place of a session that was removed, so that no late `put` revives it."""
LATE = 300
"""Seconds that it stands there, and that an id may be listed whose session is not there yet."""

TICKS = 20
"""Turns of the loop that an answer has to arrive and to be read, however long they take."""

# Replaces exactly what was read, so that of two changes at once one is refused.
CHANGE = """
if redis.call('get', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('set', KEYS[1], ARGV[2], 'ex', ARGV[3])
return 1
"""

# The list of a user lives as long as the last of the sessions in it.
NOTE = """
redis.call('zadd', KEYS[1], ARGV[1], ARGV[2])
if redis.call('ttl', KEYS[1]) < tonumber(ARGV[3]) then
    redis.call('expire', KEYS[1], ARGV[3])
end
"""


class RedisKeeper:
    """Keeps sessions under keys that begin with `prefix`, each until its idle end.

    An operation has `patience` seconds once it has one of `places` connections.
    """

    def __init__(
        self,
        client: Commands,
        *,
        prefix: str,
        places: int,
        patience: float,
        now: Callable[[], int],
    ) -> None:
        self.client = client
        self.prefix = prefix
        self.patience = patience
        self.places = asyncio.Semaphore(places)
        self.now = now
        self.hung = 0
        """How often the server did not answer in time."""

    def key(self, session_id: str) -> str:
        return f"{self.prefix}session:{session_id}"

    def ids(self, user_id: str) -> str:
        return f"{self.prefix}user:{user_id}"

    def life(self, end: int) -> int:
        """Seconds, not a time: the server's clock is its own."""
        return max(1, end - self.now())

    async def put(self, session: Session) -> None:
        """Listed first: a session that is in no list could not be ended with all others."""
        key = self.key(session.id)
        async with self.asking():
            await self.note(session)
            fresh = await self.first(key, dump(session), self.life(end(session)))
        if not fresh:
            raise Conflict(0)

    async def first(self, key: str, value: bytes, life: int) -> bool:
        """Whether nothing was there; a connection that broke may have done it before."""
        from redis.exceptions import ConnectionError as Broken  # noqa: PLC0415

        command = ("set", key, value, "nx", "ex", life)
        try:
            return bool(await self.do(*command))
        except Broken:
            return bool(await self.do(*command)) or await self.do("get", key) == value

    async def note(self, session: Session) -> None:
        """Put a session on its user's list."""
        ids, life = self.ids(session.user_id), self.life(session.expires_at)
        await self.twice("eval", NOTE, 1, ids, session.created_at, session.id, life)

    async def change(self, session: Session, before: Session) -> None:
        """Listed anew, since the list may have been lost, by a failover for instance."""
        key, old = self.key(session.id), dump(before)
        async with self.asking():
            await self.note(session)
            done = await self.replaced(key, old, session)
            done = done or await self.rewritten(key, before, session)
        if not done:
            raise Conflict(0)

    async def rewritten(self, key: str, before: Session, session: Session) -> bool:
        """Another version of picoauth may have written the same in its own way."""
        kept = await self.do("get", key)
        if kept in (None, dump(before)) or load(kept) != before:
            return False
        return await self.replaced(key, kept, session)

    async def replaced(self, key: str, old: bytes, session: Session) -> bool:
        life = self.life(end(session))
        return bool(await self.do("eval", CHANGE, 1, key, old, dump(session), life))

    async def get(self, session_id: str) -> Session | None:
        async with self.asking():
            return load(await self.twice("get", self.key(session_id)))

    async def list(self, user_id: str) -> Sequence[Session]:
        ids = self.ids(user_id)
        async with self.asking():
            listed = await self.twice("zrange", ids, 0, -1)
            values = await self.all(listed) if listed else []
            # One that cannot be read is there all the same: another version may read it.
            gone = [name for name, value in zip(listed, values, strict=True) if not value]
            if gone:
                await self.forget(ids, gone)
        return [one for value in values if (one := load(value)) is not None]

    async def all(self, listed: Sequence[bytes]) -> Sequence[bytes | None]:
        pipeline = self.client.pipeline(transaction=False)
        for name in listed:
            pipeline.get(self.key(name.decode()))
        values: Sequence[bytes | None] = await pipeline.execute()
        return values

    async def forget(self, ids: str, gone: Sequence[bytes]) -> None:
        """Take ended sessions off the list, but for those that may be on their way."""
        old = await self.do("zrange", ids, "-inf", self.now() - LATE, "byscore")
        names = set(gone) & set(old)
        if names:
            await self.do("zrem", ids, *names)

    async def remove(self, session_id: str, user_id: str) -> None:
        async with self.asking():
            await self.twice("set", self.key(session_id), REMOVED, "ex", LATE)
            await self.twice("zrem", self.ids(user_id), session_id)

    async def policy(self) -> str:
        """By what the server throws keys away where memory is short; `noeviction` if it does not."""
        async with self.asking():
            said = told(await self.twice("info", "memory"))
        return str(said["maxmemory_policy"]) if int(said["maxmemory"]) else "noeviction"

    async def do(self, *command: Any) -> Any:
        return await self.client.execute_command(*command)

    async def twice(self, *command: Any) -> Any:
        """Once more, where a connection broke: for what does no harm when it is done again."""
        from redis.exceptions import ConnectionError as Broken  # noqa: PLC0415

        try:
            return await self.do(*command)
        except Broken:
            return await self.do(*command)

    @asynccontextmanager
    async def asking(self) -> AsyncIterator[None]:
        """Raises Unavailable for whatever the server does not do, or not in time.

        A connection on which somebody gave up, before its answer was there, is closed by the
        client: the next one on it would get that answer. Whoever waits for a place while the
        server hangs waits no longer: after all before them it would be too long.
        """
        from redis.exceptions import RedisClusterException, RedisError  # noqa: PLC0415

        hung = self.hung
        async with self.places:
            if hung != self.hung:
                raise Unavailable("Redis did not answer others just now")
            try:
                async with Patience(self.patience):
                    yield
            except TimeoutError as error:
                self.hung += 1
                raise Unavailable(f"Redis did not answer within {self.patience} s") from error
            except (RedisError, RedisClusterException, OSError) as error:
                raise Unavailable(f"Redis: {type(error).__name__}") from error


class Patience:
    """Raises TimeoutError after so many seconds, in which the loop has turned `TICKS` times.

    Where a thousand requests come at once, one turn may take longer than all of it, and the
    answer is there and waits to be read.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.left = TICKS
        self.limit = asyncio.timeout(None)

    async def __aenter__(self) -> None:
        await self.limit.__aenter__()
        self.wait()

    def wait(self) -> None:
        loop = asyncio.get_running_loop()
        self.timer = loop.call_later(self.seconds / TICKS, self.tick)

    def tick(self) -> None:
        self.left -= 1
        if self.left:
            self.wait()
        else:
            self.limit.reschedule(asyncio.get_running_loop().time())

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.timer.cancel()
        await self.limit.__aexit__(kind, error, trace)


def told(info: Any) -> Mapping[str, Any]:
    """What a server says of itself, which the client of a cluster leaves as it came."""
    if isinstance(info, Mapping):
        return info
    pairs = (line.partition(":") for line in info.decode().splitlines())
    return {name: value for name, _, value in pairs}


def end(session: Session) -> int:
    return min(session.idle_at, session.expires_at)


def dump(session: Session) -> bytes:
    members = dataclasses.asdict(session)
    members["cookie"] = session.cookie and session.cookie.hex()
    return json.dumps(members, separators=(",", ":")).encode()


NAMES = frozenset(field.name for field in dataclasses.fields(Session))


def load(value: bytes | None) -> Session | None:
    """A session, also one that a newer version wrote, whose further members are left out.

    What is none is no session: it must not keep those beside it from being ended.
    """
    if not value:
        return None
    try:
        members = {name: item for name, item in json.loads(value).items() if name in NAMES}
        members["amr"] = tuple(members["amr"])
        members["cookie"] = members.get("cookie") and bytes.fromhex(members["cookie"])
        return Session(**members)
    except (ValueError, KeyError, TypeError, AttributeError):
        log.warning("a session that cannot be read counts as none")
        return None
