"""Follows what the server publishes: its keys, and which sessions ended."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import TypeAlias

from picoauth_verify.client import Client, Unanswered
from picoauth_verify.jose import Key, Unreadable, keys_of
from picoauth_verify.knowledge import Knowledge, List, first, later, read

log = logging.getLogger("picoauth_verify")
KEYS = "/.well-known/jwks.json"
LIST = "/.well-known/picoauth/revocations"
SPACING = 2
"""Seconds between two looks at the keys, at least."""
NOT_FOUND = 404

Keys: TypeAlias = Mapping[str, Key]


@dataclass
class Follower:
    """Asks again and again, in a thread of its own; one of each process.

    Nothing that a client sends makes it ask: which keys there are, the list says, twice a second.
    So made-up keys cause no traffic, and no address of a token is ever asked (RFC 8725, 3.10).
    """

    issuer: str
    client: Client
    pause: float
    clock: Callable[[], float]
    monotonic: Callable[[], float]
    known: Knowledge | None = None
    keys_asked: float = -math.inf
    trouble: str | None = None
    """Why the last try came to nothing."""
    tried: threading.Event = field(default_factory=threading.Event)
    """Set once a try is over, whatever became of it, or somebody has waited long enough."""
    ended: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self.forever, name="picoauth-verify", daemon=True)

    def stop(self) -> None:
        self.ended.set()
        self.thread.join()

    def forever(self) -> None:
        while not self.ended.is_set():
            self.attempt()
            self.tried.set()
            self.ended.wait(self.pause)
        self.client.close()

    def attempt(self) -> None:
        """Learn what is new, or note why not; it is logged when it begins and when it ends."""
        try:
            self.learn()
        except (OSError, HTTPException, Unanswered, Unreadable) as error:
            trouble = told(error)
            if self.trouble is None:
                log.warning("%s cannot be followed: %s", self.issuer, trouble)
            self.trouble = trouble
        except Exception as error:  # the thread has to live
            log.exception("%s cannot be followed", self.issuer)
            self.trouble = repr(error)
        else:
            if self.trouble is not None:
                log.warning("%s is followed again", self.issuer)
            self.trouble = None

    def learn(self) -> None:
        """Raises OSError, HTTPException, Unanswered or Unreadable."""
        asked = self.monotonic()
        text = self.client.get(LIST)
        before = self.before(asked)
        if before is not None and text == before.list.text:
            self.known = before.again(asked)
            return
        found, keys = self.read(text, asked, {} if before is None else before.keys)
        if not set(found.key_ids) <= set(keys):
            keys = self.published(keys)
        now = self.clock()
        self.known = first(found, keys, now) if before is None else later(before, found, keys, now)

    def before(self, now: float) -> Knowledge | None:
        """What the next list is compared with: after a minute of silence, nothing.

        So a server that was set up anew, or from a backup, is followed after a minute.
        """
        return None if self.known is None or self.known.over(now) else self.known

    def read(self, text: bytes, asked: float, keys: Keys) -> tuple[List, Keys]:
        """Read a list by a key in force; else by one that is published now.

        Never by one that only was: somebody may have got hold of it.
        """
        now = self.clock()
        with suppress(Unreadable):
            return read(text, asked, keys, self.issuer, now), keys
        keys = self.published(keys)
        return read(text, asked, keys, self.issuer, now), keys

    def published(self, keys: Keys) -> Keys:
        """Fetch the published keys; those that are known, where that was done a moment ago."""
        now = self.monotonic()
        if now - self.keys_asked < SPACING:
            return keys
        self.keys_asked = now
        return keys_of(self.client.get(KEYS))


def told(error: Exception) -> str:
    if isinstance(error, Unanswered) and error.status == NOT_FOUND:
        return "it publishes no list of ended sessions, as under HS256: ask the server about tokens"
    return str(error) or type(error).__name__
