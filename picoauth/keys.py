"""Signing keys of access tokens: made, sealed at rest, loaded by every process, published."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from joserfc.jwk import ECKey, Key, OctKey, OKPKey
from joserfc.util import json_b64encode

from picoauth.database import Database, Statement
from picoauth.secrets import Place, Secrets

TYPE = "at+jwt"
CURVES = {"ES256": "P-256", "ES512": "P-521"}


@dataclass(frozen=True)
class SigningKey:
    """A key and the one algorithm that it is for (K-1)."""

    id: str
    algorithm: str
    created_at: int
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
    """All keys whose tokens are accepted, newest last; the newest of the set algorithm signs."""

    def __init__(
        self, database: Database, secrets: Secrets, algorithm: str, now: Callable[[], int]
    ) -> None:
        self.database = database
        self.secrets = secrets
        self.algorithm = algorithm
        self.now = now
        self.active: dict[str, SigningKey] = {}
        self.by_header: dict[str, SigningKey] = {}

    @property
    def signing(self) -> SigningKey:
        return [key for key in self.active.values() if key.algorithm == self.algorithm][-1]

    async def ensure(self) -> None:
        """Load the keys, and make one where there is none of the algorithm that is set.

        Opening them shows that the root secret is the right one. Raises ConfigError.
        """
        await self.refresh()
        if not any(key.algorithm == self.algorithm for key in self.active.values()):
            await self.database.write(self.making())
            await self.refresh()

    async def refresh(self) -> None:
        """Load keys that are new, and drop those that are gone."""
        rows = await self.database.read(
            "select id, algorithm, created_at, sealed from signing_keys order by created_at, id"
        )
        self.active = {row[0]: self.active.get(row[0]) or self.opened(*row) for row in rows}
        self.by_header = {key.encoded_header: key for key in self.active.values()}

    def opened(self, key_id: str, algorithm: str, created_at: int, sealed: bytes) -> SigningKey:
        raw = self.secrets.open(place(key_id, algorithm), sealed)
        return SigningKey(key_id, algorithm, created_at, parse(algorithm, raw))

    def making(self) -> Statement:
        """One of several processes that start at once makes the key."""
        key_id = self.secrets.random(9).hex()
        sealed = self.secrets.seal(
            place(key_id, self.algorithm), generate(self.algorithm, self.secrets)
        )
        sql = """
            insert into signing_keys (id, algorithm, created_at, sealed) select ?, ?, ?, ?
             where not exists (select 1 from signing_keys where algorithm = ?)
        """
        return Statement(sql, (key_id, self.algorithm, self.now(), sealed, self.algorithm))

    def published(self) -> dict[str, Any]:
        """The JWK set (RFC 7517, section 5): public parts only."""
        return {"keys": [key.public for key in self.active.values() if key.public is not None]}


def place(key_id: str, algorithm: str) -> Place:
    """Bound to its algorithm, too: a key is good for no other (K-1)."""
    return Place("signing_keys", "sealed", f"{key_id} {algorithm}")


def generate(algorithm: str, secrets: Secrets) -> bytes:
    """A new private key as PKCS #8, or 32 random bytes for HS256."""
    if algorithm == "HS256":
        return secrets.random(32)
    if algorithm == "EdDSA":
        return OKPKey.generate_key("Ed25519").as_pem(private=True)
    return ECKey.generate_key(CURVES[algorithm]).as_pem(private=True)


def parse(algorithm: str, raw: bytes) -> Key:
    kinds: Mapping[str, type[Key]] = {"HS256": OctKey, "EdDSA": OKPKey}
    return kinds.get(algorithm, ECKey).import_key(raw)
