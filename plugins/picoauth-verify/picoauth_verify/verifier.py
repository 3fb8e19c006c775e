"""Checks access tokens without asking the server about each, and within a bound of time."""

from __future__ import annotations

import hashlib
import os
import threading
import time
import weakref
from collections.abc import Callable
from typing import Literal, Self
from urllib.parse import urlsplit

from picoauth_verify.access import Access, access_of
from picoauth_verify.client import Client
from picoauth_verify.errors import Refused, Stale, Unreachable
from picoauth_verify.follower import Follower
from picoauth_verify.jose import Unreadable, opened
from picoauth_verify.knowledge import Knowledge

TYPE = "at+jwt"
LONGEST = 4096
"""Characters of a token; a longer one is refused unread (K-4)."""
REMEMBERED = 4096
"""Verified tokens that are remembered."""
LAG = 0.5
"""Seconds that a process of the server may be behind its database, as it promises."""
GRAIN = 1
"""The server says in whole seconds when it looked into its database."""
LEAST, MOST = 2, 60
"""Seconds that the bound can be: the server signs a list for a minute."""
MOST_LEEWAY = 30
PATIENCE = 5
"""Seconds for a step of a question, at most; half the bound where that is less."""


UPTIME: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Goes on while the machine sleeps, where there is such a clock (Linux)."""


def uptime() -> float:
    return time.clock_gettime(UPTIME)


class Verifier:
    """Who asks, by an access token of one server.

    `issuer` is the `public_url` of the server; `audience` is its `audience`, if that is set.
    `url` is where the server is reached, if not at the issuer: `unix:/path`, or an `http` or
    `https` address on a way that you trust, since that way the keys come.
    `bound` is in seconds: no token is accepted so long after it was revoked. Where the server
    cannot be asked for that time, `when_unreachable` says whether to refuse all tokens, or to
    accept what was not known to be revoked. `leeway` is in seconds, after a token's end.
    `clock` tells seconds since 1970, `monotonic` seconds that never go back.
    Raises ValueError for settings that cannot be.
    """

    def __init__(
        self,
        issuer: str,
        *,
        audience: str | None = None,
        url: str | None = None,
        bound: float = 2,
        when_unreachable: Literal["refuse", "accept"] = "refuse",
        leeway: float = 0,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = uptime,
    ) -> None:
        if not LEAST <= bound <= MOST:
            raise ValueError(f"bound must be from {LEAST} to {MOST} seconds, not {bound:g}")
        if not 0 <= leeway <= MOST_LEEWAY:
            raise ValueError(f"leeway must be from 0 to {MOST_LEEWAY} seconds, not {leeway:g}")
        if when_unreachable not in ("refuse", "accept"):
            raise ValueError(
                f'when_unreachable must be "refuse" or "accept", not {when_unreachable!r}'
            )
        self.host = origin(issuer)
        self.url = url or issuer
        if not self.url.startswith("unix:"):
            origin(self.url)
        self.issuer = issuer
        self.audience = audience or issuer
        self.bound = bound
        self.lenient = when_unreachable == "accept"
        self.leeway = leeway
        self.clock = clock
        self.monotonic = monotonic
        self.verified: dict[bytes, Access] = {}
        self.lock = threading.Lock()
        self.follower: Follower | None = None
        self.forebear: Follower | None = None
        """Of the process that this one was forked from."""
        VERIFIERS.add(self)

    def check(self, token: str) -> Access:
        """Who has this token. Raises Refused, Unreachable or Stale.

        Checked tokens are remembered; whether one expired, its session ended or its key was
        retired is looked at each time. Only the first check of a process may have to wait.
        """
        if len(token) > LONGEST:
            raise Refused("invalid_token", "The token is too long.")
        known = self.knowledge()
        fingerprint = hashlib.sha256(token.encode("utf-8", "replace")).digest()
        access = self.verified.get(fingerprint)
        if access is not None:
            self.decide(access, known)
            return access
        access = self.verify(token, known)
        self.decide(access, known)
        self.remember(fingerprint, access)
        return access

    def verify(self, token: str, known: Knowledge) -> Access:
        now = self.clock() + self.leeway
        try:
            key, body = opened(token, TYPE, known.keys)
            return access_of(key, body, issuer=self.issuer, audience=self.audience, now=now)
        except Unreadable as error:
            raise Refused("invalid_token", str(error)) from error

    def still(self, access: Access) -> None:
        """Check once more who was let in before: for what goes on for long, as web sockets do.

        Raises Refused, Unreachable or Stale.
        """
        self.decide(access, self.knowledge())

    def decide(self, access: Access, known: Knowledge) -> None:
        if access.expires_at + self.leeway <= self.clock():
            raise Refused("token_expired")
        if known.keys.get(access.key.id) != access.key:
            raise Refused("invalid_token", "The key is not in force.")
        if access.session_id in known.sessions:
            raise Refused("session_ended")
        if not self.lenient and not self.fresh(known):
            raise Stale(self.trouble or "it has not answered for longer than the bound")

    def remember(self, fingerprint: bytes, access: Access) -> None:
        with self.lock:
            self.verified[fingerprint] = access
            if len(self.verified) > REMEMBERED:
                del self.verified[next(iter(self.verified))]

    def fresh(self, known: Knowledge) -> bool:
        """Whether all that was revoked `bound` seconds ago is known.

        The server answers from memory, which is `LAG` behind its database. Where it is further
        behind, as it has lost its database, its lists say so, but in whole seconds.
        """
        now, bound = self.monotonic(), self.bound
        return now - known.list.asked <= bound - LAG and now - known.looked <= bound + GRAIN

    @property
    def ready(self) -> bool:
        """Whether a check will not have to wait."""
        follower = self.follower
        if follower is None:
            return False
        known = follower.known
        return follower.tried.is_set() or (known is not None and self.fresh(known))

    @property
    def trouble(self) -> str | None:
        """Why the server cannot be followed, for a health check; None while it can."""
        return None if self.follower is None else self.follower.trouble

    def knowledge(self) -> Knowledge:
        follower = self.follower
        if follower is None or not follower.tried.is_set():
            follower = self.start()
        known = follower.known
        if known is None:
            raise Unreachable(follower.trouble or "it has not answered yet")
        return known

    def start(self) -> Follower:
        """Begin to follow the server, and wait for its first answer, at most for the bound.

        The first check of a process does it, too.
        """
        with self.lock:
            follower = self.follower or self.follow()
        if not self.ready:
            follower.tried.wait(self.bound)
            follower.tried.set()  # nobody waits again
        return follower

    def follow(self) -> Follower:
        """Begin with what the process knew that this one was forked from."""
        client = Client(self.url, self.host, min(self.bound / 2, PATIENCE))
        known = None if self.forebear is None else self.forebear.known
        self.follower = Follower(
            self.issuer, client, self.bound / 4, self.clock, self.monotonic, known
        )
        weakref.finalize(self, self.follower.ended.set)  # what nobody uses follows no longer
        self.follower.thread.start()
        return self.follower

    def forked(self) -> None:
        """In a forked process no thread goes on, and a lock may be held by one for ever.

        The connection is the other process's: it is neither used nor closed, but kept.
        """
        self.lock = threading.Lock()
        self.forebear, self.follower = self.follower or self.forebear, None

    def close(self) -> None:
        """Stop following, and wait until that is done. A later check begins anew."""
        with self.lock:
            follower, self.follower = self.follower, None
        if follower is not None:
            follower.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def origin(url: str) -> str:
    """The host and port of a web address that has nothing else. Raises ValueError."""
    try:
        parts = urlsplit(url)
        plain = parts.hostname and "@" not in parts.netloc and parts.port != 0
    except ValueError:
        plain = None
    if not plain or url not in (f"http://{parts.netloc}", f"https://{parts.netloc}"):
        raise ValueError(f"{url!r} must be an origin such as https://auth.example.com")
    return parts.netloc


VERIFIERS: weakref.WeakSet[Verifier] = weakref.WeakSet()


def forked() -> None:
    for verifier in list(VERIFIERS):
        verifier.forked()


os.register_at_fork(after_in_child=forked)
