"""What is known of the server at a moment: its keys, the sessions that ended, and how old that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from picoauth_verify.jose import Key, Unreadable, json_of, opened

TYPE = "revocations+jwt"
SKEW = 60
"""Seconds that the clocks of server and application may differ."""


@dataclass(frozen=True)
class List:
    """A list of ended sessions, as the server signed it. Its times are seconds since 1970."""

    text: bytes
    asked: float
    """When it was asked for, by the application's monotonic clock: it says what the server knew
    then, or later. No other clock is needed for that, and no answer that lay somewhere is new."""
    issued_at: float
    """When the server had last looked into its database."""
    expires_at: float
    seq: int
    key_ids: Sequence[str]
    sessions: Mapping[str, float]


@dataclass(frozen=True)
class Knowledge:
    """All that the lists so far said."""

    list: List
    """The newest."""
    keys: Mapping[str, Key]
    """Those in force."""
    sessions: Mapping[str, float]
    """Those that ended, with the time until which a token of theirs could be valid."""
    looked: float
    """The server looked into its database at this time of the monotonic clock, or later."""

    def over(self, now: float) -> bool:
        """Whether the list does not hold any longer, by what it says itself."""
        return now - self.list.asked > self.list.expires_at - self.list.issued_at

    def again(self, asked: float) -> Knowledge:
        """The same list was given once more."""
        return replace(self, list=replace(self.list, asked=asked))


def read(text: bytes, asked: float, keys: Mapping[str, Key], issuer: str, now: float) -> List:
    """Check a list. Raises Unreadable."""
    _, body = opened(text.decode("ascii", "replace"), TYPE, keys)
    claims = json_of(body)
    if claims.get("iss") != issuer:
        raise Unreadable("The list is of another issuer.")
    found = list_of(text, asked, claims)
    if not found.issued_at - SKEW <= now < found.expires_at:
        raise Unreadable("The list is not of this time: the clocks differ, or it was kept back.")
    return found


def list_of(text: bytes, asked: float, claims: Mapping[str, Any]) -> List:
    sessions, key_ids = claims.get("sids"), claims.get("kids")
    ends = sessions.values() if type(sessions) is dict else [None]
    times = [claims.get("iat"), claims.get("exp"), *ends]
    if (
        type(sessions) is not dict
        or type(key_ids) is not list
        or not all(type(key_id) is str for key_id in key_ids)
        or not all(type(time) in (int, float) for time in times)
        or type(claims.get("seq")) is not int
    ):
        raise Unreadable("The list lacks a claim, or one is of a wrong kind.")
    return List(text, asked, claims["iat"], claims["exp"], claims["seq"], key_ids, sessions)


def first(found: List, keys: Mapping[str, Key], now: float) -> Knowledge:
    """Nothing was known before: how old the list is, only the clock of the wall can tell."""
    age = max(0, now - found.issued_at)
    return Knowledge(found, in_force(found, keys), found.sessions, found.asked - age)


def later(before: Knowledge, found: List, keys: Mapping[str, Key], now: float) -> Knowledge:
    """Add a list to what is known. Raises Unreadable for one that is older: it may be replayed.

    An entry stays until its time is over, though a list lacks it: of several processes of a
    server, some learn of it half a second later.
    Where the server says a later time of its look than in the list before, it looked after it
    had given that one, so after that one was asked for.
    """
    last = before.list
    if found.issued_at < last.issued_at or found.seq < last.seq:
        raise Unreadable("The list is older than the one before.")
    sessions = {**before.sessions, **found.sessions}
    sessions = {session_id: end for session_id, end in sessions.items() if end > now}
    looked = last.asked if found.issued_at > last.issued_at else before.looked
    return Knowledge(found, in_force(found, keys), sessions, looked)


def in_force(found: List, keys: Mapping[str, Key]) -> Mapping[str, Key]:
    return {key_id: keys[key_id] for key_id in found.key_ids if key_id in keys}
