"""Publishes which sessions ended, signed, so that who verifies tokens offline refuses theirs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

from picoauth.errors import AuthError, Unavailable
from picoauth.jose import signed
from picoauth.keys import Keys
from picoauth.problems import NOT_FOUND
from picoauth.revocations import Ended, Revocations

TYPE = "revocations+jwt"
LIFE = 60
"""Seconds for which a document says how things are."""
BEAT = 15
"""Seconds after which a stream says that nothing happened."""
MOST = 100
"""Streams at a time. A verifier needs one, and everybody may open it."""
ROOM = 100
"""Documents that a stream may be behind before it is cut off: its reader comes again."""

Stream = asyncio.Queue[str | None]


class Feed:
    """Documents for who asks, and streams for who wants to know as it happens.

    Each document names sessions that ended (`sids`, with the time until which a token of
    theirs could be valid) and the keys in force (`kids`). The list only ever grows, until
    an entry's time is over: so a reader adds up what it gets, in whatever order.
    """

    def __init__(
        self, issuer: str, keys: Keys, revocations: Revocations, now: Callable[[], int]
    ) -> None:
        self.issuer = issuer
        self.keys = keys
        self.revocations = revocations
        self.now = now
        self.beat: float = BEAT
        self.streams: set[Stream] = set()
        self.closed = False
        self.told: tuple[str, ...] = ()
        self.latest: tuple[tuple[object, ...], str] = ((), "")
        revocations.listeners.append(self.push)

    @property
    def kids(self) -> tuple[str, ...]:
        return tuple(self.keys.active)

    def document(self) -> str:
        """All that is known, signed anew each second. Raises AuthError under HS256.

        There nothing can be published: who could check the signature could make it.
        """
        known = self.revocations
        version = (known.looked_at, known.seq, len(known.recent), self.kids)
        if self.latest[0] != version:
            self.latest = version, self.sign(known.recent)
        return self.latest[1]

    def sign(self, ended: Ended) -> str:
        """`iat` is when the database was last asked: no document claims to know more."""
        key, now, at = self.keys.signing, self.now(), self.revocations.looked_at
        if key.public is None:
            raise AuthError(NOT_FOUND)
        claims = {
            "iss": self.issuer,
            "iat": at,
            "exp": at + LIFE,
            "seq": self.revocations.seq,
            "kids": self.kids,
            "sids": {session_id: end for session_id, end in ended.items() if end > now},
        }
        return signed(key.key, {**key.header, "typ": TYPE}, claims)

    def open(self) -> AsyncIterator[bytes]:
        """A stream of server-sent events. Raises AuthError under HS256, Unavailable for too many."""
        self.document()
        if self.closed or len(self.streams) >= MOST:
            raise Unavailable("there are too many streams", retry_after=5)
        return self.events(Stream(ROOM))

    async def events(self, stream: Stream) -> AsyncIterator[bytes]:
        self.streams.add(stream)  # before what is known so far: nothing falls between
        try:
            document: str | None = self.document()
            while document is not None:
                yield f"event: revocations\ndata: {document}\n\n".encode()
                document = await self.next(stream)
        finally:
            self.streams.discard(stream)

    async def next(self, stream: Stream) -> str | None:
        """What happened next, or that nothing did: a reader knows that it missed nothing."""
        try:
            async with asyncio.timeout(self.beat):
                return await stream.get()
        except TimeoutError:
            return self.news({})

    def push(self, ended: Ended) -> None:
        """Tell every stream what just happened."""
        document = self.news(ended) if self.streams else None
        for stream in list(self.streams):
            if document is None or stream.full():
                self.cut(stream)
            else:
                stream.put_nowait(document)

    def news(self, ended: Ended) -> str | None:
        """What just happened, signed; None once a secret signs, which nobody else may know."""
        try:
            return self.sign(ended)
        except AuthError:
            return None

    async def look(self) -> None:
        """Tell every stream where the keys in force are others than before."""
        if self.told != self.kids:
            self.told = self.kids
            self.push({})

    def cut(self, stream: Stream) -> None:
        self.streams.discard(stream)
        with suppress(asyncio.QueueEmpty):
            while True:
                stream.get_nowait()
        stream.put_nowait(None)

    def end(self) -> None:
        for stream in list(self.streams):
            self.cut(stream)

    def close(self) -> None:
        """The server stops: what streams is over, and nothing begins to."""
        self.closed = True
        self.end()
