"""Hashes that other systems make of a password: what each computes, and its bounds."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Protocol

LEAST_TAG, MOST_TAG, MOST_SALT = 16, 128, 256
"""Bytes. A shorter tag would match by chance; an empty one, anything."""
MOST_MEMORY = 256 * 1024 * 1024
"""Bytes that one hash may take, as many times as there are threads that hash."""
MOST_WORK = 1024 * 1024 * 1024
"""Bytes that scrypt or Argon2 may go through: a second or two."""
MOST_ITERATIONS = 5_000_000
"""Runs of PBKDF2's function, for all blocks of the tag together: two seconds or three."""
MOST_BCRYPT = 16
"""Binary logarithm of bcrypt's rounds: four seconds."""
DIGESTS = {"sha1": 20, "sha256": 32, "sha512": 64}
"""Bytes that each makes."""
KEY = 32
"""Bytes of a key for AES-256."""
BCRYPT_BYTES = 72
"""Of a password; bcrypt never looked at more, and systems that use it cut the rest off."""


class Scheme(Protocol):
    """How a hash was made. `problem` is a clause that says why it cannot be verified here."""

    @property
    def tag(self) -> bytes: ...

    def problem(self) -> str | None: ...

    def compute(self, password: bytes) -> bytes:
        """The tag of a password. Raises ValueError where there is none."""
        ...


@dataclass(frozen=True)
class Pbkdf2:
    """RFC 8018, section 5.2."""

    digest: str
    iterations: int
    salt: bytes
    tag: bytes

    def problem(self) -> str | None:
        blocks = -(-len(self.tag) // DIGESTS[self.digest])
        return sized(self.salt, self.tag) or within(
            "iterations", self.iterations * blocks, 1, MOST_ITERATIONS
        )

    def compute(self, password: bytes) -> bytes:
        return hashlib.pbkdf2_hmac(self.digest, password, self.salt, self.iterations, len(self.tag))


@dataclass(frozen=True)
class Scrypt:
    """RFC 7914; `n` is a power of two."""

    n: int
    r: int
    p: int
    salt: bytes
    tag: bytes

    def problem(self) -> str | None:
        return sized(self.salt, self.tag) or impossible(self.n, self.r, self.p)

    def compute(self, password: bytes) -> bytes:
        return scrypt(password, self.salt, self.n, self.r, self.p, length=len(self.tag))


@dataclass(frozen=True)
class Argon2:
    """RFC 9106, without a secret; memory in KiB."""

    kind: str
    version: int
    memory_kib: int
    iterations: int
    parallelism: int
    salt: bytes
    tag: bytes

    def problem(self) -> str | None:
        memory = self.memory_kib * 1024
        return (
            sized(self.salt, self.tag, least_salt=8)
            or within("a p", self.parallelism, 1, 16)
            or within("a memory", memory, 8 * 1024 * self.parallelism, MOST_MEMORY)
            or within("a memory by passes", memory * self.iterations, memory, MOST_WORK)
        )

    def compute(self, password: bytes) -> bytes:
        from argon2.low_level import Type, hash_secret_raw  # noqa: PLC0415 - for who comes from elsewhere

        return hash_secret_raw(
            secret=password,
            salt=self.salt,
            time_cost=self.iterations,
            memory_cost=self.memory_kib,
            parallelism=self.parallelism,
            hash_len=len(self.tag),
            type={"i": Type.I, "d": Type.D, "id": Type.ID}[self.kind],
            version=self.version,
        )


@dataclass(frozen=True)
class Bcrypt:
    """bcrypt, of the password or (Django) of the hexadecimal digits of its SHA-256.

    A password with NUL fits none: the systems disagree about whether it ends there, or is
    refused, and what ends there would be matched by a shorter one.
    """

    salt: bytes
    """As it is written: variant, cost, and 22 characters."""
    tag: bytes
    """31 characters."""
    digested: bool = False

    def problem(self) -> str | None:
        return within("a cost", int(self.salt[4:6]), 4, MOST_BCRYPT)

    def compute(self, password: bytes) -> bytes:
        import bcrypt  # noqa: PLC0415 - for who comes from elsewhere

        if b"\0" in password:
            raise ValueError("bcrypt has no NUL")
        text = hashlib.sha256(password).hexdigest().encode() if self.digested else password
        return bcrypt.hashpw(text[:BCRYPT_BYTES], self.salt)[-len(self.tag) :]


@dataclass(frozen=True)
class Firebase:
    """Firebase's scrypt: the key that it derives encrypts the project's signer key."""

    mem_cost: int
    """Binary logarithm of scrypt's n."""
    rounds: int
    """Scrypt's r."""
    separator: bytes
    salt: bytes
    tag: bytes
    signer_key: bytes | None

    def problem(self) -> str | None:
        if self.signer_key is None:
            return "is Firebase's: set firebase_signer_key in [password], without which nothing fits it"
        if len(self.tag) != len(self.signer_key):
            return "is of a project with another firebase_signer_key"
        return sized(self.salt, self.tag) or impossible(1 << self.mem_cost, self.rounds, 1)

    def compute(self, password: bytes) -> bytes:
        from cryptography.hazmat.primitives.ciphers import (  # noqa: PLC0415 - for who comes from elsewhere
            Cipher,
            algorithms,
            modes,
        )

        key = scrypt(
            password, self.salt + self.separator, 1 << self.mem_cost, self.rounds, 1, length=KEY
        )
        cipher = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()
        return cipher.update(self.signer_key or b"")


def scrypt(password: bytes, salt: bytes, n: int, r: int, p: int, *, length: int) -> bytes:
    return hashlib.scrypt(password, salt=salt, n=n, r=r, p=p, maxmem=2 * MOST_MEMORY, dklen=length)


def impossible(n: int, r: int, p: int) -> str | None:
    # First: two to the power of a greater r, written out, would fill the machine's memory.
    if wide := within("an r", r, 1, 64):
        return wide
    if n <= 1 or n & (n - 1) or n >= 1 << 16 * r:  # RFC 7914, section 2
        return "is by scrypt with an n that is no power of two, or too great for its r"
    memory = 128 * n * r
    return (
        within("a p", p, 1, 64)
        or within("a memory", memory, 1, MOST_MEMORY)
        or within("a memory by p", memory * p, 1, MOST_WORK)
    )


def sized(salt: bytes, tag: bytes, *, least_salt: int = 1) -> str | None:
    if not least_salt <= len(salt) <= MOST_SALT:
        return f"has a salt of {len(salt)} bytes, where {least_salt} to {MOST_SALT} belong"
    if not LEAST_TAG <= len(tag) <= MOST_TAG:
        return f"has a digest of {len(tag)} bytes, where {LEAST_TAG} to {MOST_TAG} belong"
    return None


def within(what: str, value: int, least: int, most: int) -> str | None:
    if least <= value <= most:
        return None
    return f"has {what} of {value}, which must be from {least} to {most}"
