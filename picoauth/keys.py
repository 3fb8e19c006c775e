"""Signing keys of access tokens: sealed at rest, loaded by every process, published."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from joserfc.jwk import Key
from joserfc.util import json_b64encode

from picoauth.database import Row, Statement
from picoauth.delivery import Events
from picoauth.errors import Conflict, Unavailable
from picoauth.events import SigningKeyAdded
from picoauth.keymaterial import Material, made, parse
from picoauth.secrets import Place, Secrets
from picoauth.settings import LONGEST_ACCESS, TokenSettings

TYPE = "at+jwt"
MARGIN = 60
"""Seconds that a key is still accepted after the last token that it can have signed."""
AFTER = LONGEST_ACCESS + MARGIN
"""Seconds that a key is still accepted after the next one began to sign."""

ACTIVE = """
    select id, algorithm, created_at, signs_at, retires_at, sealed from signing_keys
     where retires_at is null or retires_at > ?
     order by retires_at is null, retires_at, signs_at, created_at, id
"""

ADD = """
    insert into signing_keys (id, algorithm, created_at, signs_at, sealed) select ?, ?, ?, ?, ?
"""

# One that still waits has signed nothing: it goes at once, and never gets to sign.
DROP = """
    delete from signing_keys
     where signs_at > ? and retires_at is null
       and id <> ? and exists (select 1 from signing_keys where id = ?)
"""

# The tokens of the old ones are good until their end, whatever their life was set to. Also of
# those that one superseded which is dropped now: its time had not come, so they still sign.
SUPERSEDE = """
    update signing_keys set retires_at = ?
     where (retires_at is null or retires_at > ?)
       and id <> ? and exists (select 1 from signing_keys where id = ?)
"""


@dataclass(frozen=True)
class SigningKey:
    """A key and the one algorithm that it is for (K-1). Times are seconds since 1970.

    It is published at once, signs from `signs_at` on, and is accepted until `retires_at`.
    """

    id: str
    algorithm: str
    created_at: int
    signs_at: int
    retires_at: int | None
    key: Key = field(repr=False)

    @property
    def header(self) -> dict[str, str]:
        return {"typ": TYPE, "alg": self.algorithm, "kid": self.id}

    @cached_property
    def encoded_header(self) -> str:
        """What every token of this key begins with, to the letter."""
        return json_b64encode(dict(self.header)).decode()

    @cached_property
    def public(self) -> Mapping[str, Any] | None:
        """The JWK to publish (RFC 7517). A symmetric key has none: who can check can sign."""
        if self.algorithm == "HS256":
            return None
        return {
            **self.key.as_dict(private=False),
            "kid": self.id,
            "alg": self.algorithm,
            "use": "sig",
        }


class Keys:
    """All keys whose tokens are accepted, in the order in which they sign."""

    def __init__(
        self,
        events: Events,
        secrets: Secrets,
        settings: TokenSettings,
        now: Callable[[], int],
    ) -> None:
        self.events = events
        self.database = events.database
        self.secrets = secrets
        self.algorithm = settings.algorithm
        self.overlap = settings.key_overlap
        self.now = now
        self.active: dict[str, SigningKey] = {}
        self.by_header: dict[str, SigningKey] = {}

    @property
    def signing(self) -> SigningKey:
        """The one that no other supersedes; while it still waits, the one before it.

        Raises Unavailable where all that are left are sealed under a secret of other processes.
        """
        keys, now = list(self.active.values()), self.now()
        if not keys:
            raise Unavailable("no signing key can be opened")
        due = [key for key in keys if key.signs_at <= now]
        return (due or keys)[-1]

    async def ensure(self) -> None:
        """Load the keys, and make one unless the newest is of the algorithm that is set.

        It signs at once where it is the very first. Where the algorithm was changed, the old
        key goes on meanwhile, since nobody who verifies knows the new one yet.
        Opening them shows that the root secret is the right one. Raises ConfigError.
        """
        await self.refresh()
        newest = [key for key in self.active.values() if key.retires_at is None]
        if not any(key.algorithm == self.algorithm for key in newest):
            now = self.now()
            new = made(self.algorithm, self.secrets.random)
            signs_at = now + self.overlap if newest else now
            unless = "algorithm = ? and retires_at is null"
            try:
                await self.add(new, signs_at, unless, self.algorithm)
            except Conflict as conflict:
                if conflict.index:  # something that a plugin adds
                    raise
            await self.refresh()  # where another process came first, what it made

    async def add(self, new: Material, signs_at: int, unless: str, *args: str | int) -> None:
        """Raises Conflict, of index 0 where there is a key of which `unless` is true."""
        adding, *rest = self.adding(new, signs_at, unless, *args)
        await self.events.commit(self.added(new, signs_at), replace(adding, rows=1), *rest)

    def added(self, new: Material, signs_at: int) -> SigningKeyAdded:
        return SigningKeyAdded(
            at=self.now(),
            user_id=None,
            key_id=new.id,
            algorithm=new.algorithm,
            signs_at=signs_at,
        )

    async def refresh(self) -> None:
        """Load keys that are new, and drop those that are gone or retired: the latter in any case.

        Raises ConfigError for a new one that the root secret does not open.
        """
        rows = await self.database.read(ACTIVE, (self.now(),))
        here = {row[0] for row in rows}
        self.active = {key_id: key for key_id, key in self.active.items() if key_id in here}
        self.active = {row[0]: self.known(row) for row in rows}
        self.by_header = {key.encoded_header: key for key in self.active.values()}

    def known(self, row: Row) -> SigningKey:
        """One that is in memory is not opened again, whatever became of its times."""
        key_id, algorithm, created_at, signs_at, retires_at, sealed = row
        known = self.active.get(key_id)
        if known and (signs_at, retires_at) == (known.signs_at, known.retires_at):
            return known
        key = known.key if known else self.opened(key_id, algorithm, sealed)
        return SigningKey(key_id, algorithm, created_at, signs_at, retires_at, key)

    def opened(self, key_id: str, algorithm: str, sealed: bytes) -> Key:
        return parse(algorithm, self.secrets.open(place(key_id, algorithm), sealed))

    def adding(
        self, new: Material, signs_at: int, unless: str, *args: str | int
    ) -> Sequence[Statement]:
        """Add a key, unless there is one of which this is true; it supersedes all others."""
        sealed = self.secrets.seal(place(new.id, new.algorithm), new.raw)
        now = self.now()
        row = (new.id, new.algorithm, now, signs_at, sealed)
        return [
            Statement(
                f"{ADD} where not exists (select 1 from signing_keys where {unless})", (*row, *args)
            ),
            Statement(DROP, (now, new.id, new.id)),
            Statement(SUPERSEDE, (signs_at + AFTER, now + AFTER, new.id, new.id)),
        ]

    def published(self) -> dict[str, Any]:
        """The JWK set (RFC 7517, section 5): public parts only."""
        return {"keys": [key.public for key in self.active.values() if key.public is not None]}


def place(key_id: str, algorithm: str) -> Place:
    """Bound to its algorithm, too: a key is good for no other (K-1)."""
    return Place("signing_keys", "sealed", f"{key_id} {algorithm}")


def cleaning(now: int) -> Statement:
    """What signs and verifies no more is erased; an hour late, for clocks that lag.

    The names of those that an operator retired stay, so that none of them ever comes back.
    """
    sql = "delete from signing_keys where retires_at < ? and retires_at > 0"
    return Statement(sql, (now - 3600,))
