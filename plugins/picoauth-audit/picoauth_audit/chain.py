"""The chain: the bytes of a row that a link covers, and the head, which only the secret seals."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from picoauth import Auth, ConfigError, Place, Statement

KEPT = "id, at, event, who, actor, members, traces, salt, address, user_agent, request_id, ids"
"""The columns that a row has before it is sealed and after."""
COLUMNS = f"{KEPT}, seq, link"
FIRST = bytes(32)
"""The link before the first row that there ever was."""
encoded = json.JSONEncoder(separators=(",", ":")).encode
"""JSON as it is stored and hashed."""
PLACE = Place("audit_head", "sealed", "head")
INSERT = "insert into audit_head (name, version, sealed) values ('head', 1, ?)"
MOVE = """
    update audit_head set version = version + 1, sealed = ? where name = 'head' and version = ?
"""
# One statement, so that what it reads is of one moment.
LOOK = """
    select (select version from audit_head where name = 'head'),
           (select sealed from audit_head where name = 'head'),
           (select max(seq) from audit),
           (select link from audit where seq = (select max(seq) from audit))
"""
# Users have pseudonyms from the first row on.
EMPTIED = """
    select 1 from audit_users
     where not exists (select 1 from audit) and not exists (select 1 from audit_unsealed) limit 1
"""


class Broken(Exception):
    """The log is not what was written: in words, where and how."""


@dataclass(frozen=True)
class Entry:
    """What of a row never changes, but that it loses what leads to persons."""

    id: str
    at: int
    event: str
    who: str | None
    actor: str | None
    members: str
    traces: bytes | None
    salt: bytes | None
    address: str | None
    user_agent: str | None
    request_id: str | None
    ids: str | None

    def linked(self, seq: int, before: bytes) -> bytes:
        """SHA-256 of the link before and of what never changes in a row, as JSON."""
        known = [seq, self.id, self.at, self.event, self.who, self.actor, self.members]
        traces = None if self.traces is None else self.traces.hex()
        return hashlib.sha256(before + encoded([*known, traces]).encode()).digest()


@dataclass(frozen=True)
class Unsealed(Entry):
    """A row that waits for its place in the chain."""

    place: int
    """Among those that wait."""
    mac: bytes | None

    def written(self, keys: Iterable[bytes]) -> Unsealed:
        """Itself, if a server wrote it that has the secret. Raises Broken."""
        if not self.is_written(keys):
            raise Broken(f"the row with the id {self.id} waits to be sealed, but is no server's")
        return self

    def is_written(self, keys: Iterable[bytes]) -> bool:
        body, mac = authentic(self.id, self.at, self.event, self.members, self.traces), self.mac
        return any(hmac.compare_digest(hmac.digest(k, body, "sha256"), mac or b"") for k in keys)


@dataclass(frozen=True)
class Sealed(Entry):
    """A row of the chain."""

    seq: int
    link: bytes | None

    def check(self, expected: int, before: bytes) -> bytes:
        """Its link, if it is the one that was made. Raises Broken."""
        if self.seq != expected:
            missing = self.seq > expected
            raise Broken(f"row {expected} is missing" if missing else f"row {self.seq} is too many")
        link = self.linked(self.seq, before)
        if link != self.link:
            raise Broken(f"row {self.seq} was altered, or one before it was added or removed")
        self.check_traces()
        return link

    def check_traces(self) -> None:
        """Erased is all or nothing; what is there is what was written. Raises Broken."""
        found = (self.address, self.user_agent, self.request_id, self.ids)
        same = self.salt is not None and hashed(self.salt, *found) == self.traces
        if not (same or (self.salt is None and not any(one is not None for one in found))):
            raise Broken(
                f"the address of row {self.seq}, or what else leads to a person, was altered"
            )


@dataclass(frozen=True)
class Head:
    """Where the chain ends, and where it begins: the rows up to `first` were pruned."""

    version: int = 0
    seq: int = 0
    link: str = FIRST.hex()
    first: int = 0
    first_link: str = FIRST.hex()
    erased: int = 0
    """Up to this row, what leads to persons was erased."""


class Heads:
    """Reads the head, and moves it: of two processes that would, one does."""

    def __init__(self, auth: Auth) -> None:
        self.auth = auth
        self.seen = Head()
        """The newest that this process knows: an older one is a file that was put back."""

    async def look(self) -> tuple[Head, bool]:
        """The head, and whether the newest secret seals it. Raises Broken."""
        seen = self.seen.version  # before: another look may be answered meanwhile
        [(version, sealed, seq, link)] = await self.auth.database.read(LOOK)
        if version is None:
            if seq is not None or seen or await self.auth.database.read(EMPTIED):
                raise Broken("the end of the chain, which was sealed, is gone")
            return Head(), True
        head = self.opened(version, sealed)
        if version < seen:
            raise Broken(f"an older state was put back, which ends at row {head.seq}")
        if head.seq > head.first and (seq, link) != (head.seq, bytes.fromhex(head.link)):
            raise Broken(f"the chain ends at row {seq or 0}, but row {head.seq} was sealed")
        if head.seq == head.first and seq is not None:
            raise Broken(f"row {seq} is too many")
        if version >= self.seen.version:
            self.seen = head
        newest = next(iter(self.auth.secrets.derive("audit")))
        return head, bytes(sealed[:4]).hex() == newest

    def opened(self, version: int, sealed: bytes) -> Head:
        try:
            head = Head(**json.loads(self.auth.secrets.open(PLACE, sealed)))
        except ConfigError as error:
            raise Broken(f"the end of the chain cannot be opened ({error})") from error
        if head.version != version:
            raise Broken("the end of the chain was altered")
        return head

    def moving(self, before: Head, after: Head) -> Statement:
        """The statement that moves it, if nobody else did: else the whole write is undone."""
        sealed = self.auth.secrets.seal(PLACE, json.dumps(asdict(after)).encode())
        if before.version == 0:
            return Statement(INSERT, (sealed,), rows=1)
        return Statement(MOVE, (sealed, before.version), rows=1)


def authentic(row_id: str, at: int, event: str, members: str, traces: bytes | None) -> bytes:
    """What of a row is known before it is written, for a key of the secret."""
    return encoded([row_id, at, event, members, None if traces is None else traces.hex()]).encode()


def hashed(salt: bytes, *traces: str | None) -> bytes:
    """With a salt that goes with them: whoever sees the hash alone cannot try all addresses."""
    return hashlib.sha256(salt + encoded(traces).encode()).digest()
