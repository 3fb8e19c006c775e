"""The root secret, the keys derived from it, and sealing of what the database holds."""

from __future__ import annotations

import base64
import hmac
import os
import stat
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from picoauth import secretfile
from picoauth.copies import copying
from picoauth.errors import ConfigError, reason
from picoauth.settings import Config, Secret

LEAST = 32
"""Bytes that a root secret must have (a 256-bit key, K-1)."""

Random = Callable[[int], bytes]


@dataclass(frozen=True)
class Place:
    """Where a sealed value stands. It opens nowhere else, so that rows cannot be swapped (D-4)."""

    table: str
    column: str
    row: str


@dataclass(frozen=True, repr=False)
class Root:
    """One root secret. `id` names it beside what it sealed, and tells nothing about it."""

    id: str
    key: bytes

    def __repr__(self) -> str:
        return f"Root({self.id!r})"


@dataclass(frozen=True)
class Keyed:
    """Rows that hang on root secrets: how many on which, by its id, and how they are keyed anew.

    Without `reseal` something else does that, such as the next login of a user.
    """

    what: str
    count: Callable[[], Awaitable[Mapping[str, int]]]
    reseal: Callable[[], Awaitable[None]] | None = None


class Secrets:
    """Every key comes from here: derived by purpose, from the newest root secret first."""

    def __init__(self, values: Sequence[bytes], random: Random) -> None:
        self.roots = [Root(expand(value, "key id")[:4].hex(), value) for value in values]
        self.random = random
        self.derived: dict[str, dict[str, bytes]] = {}
        self.keyed: list[Keyed] = []
        """All that has to be keyed anew before an old one may go: plugins add what is theirs."""

    def derive(self, purpose: str) -> dict[str, bytes]:
        """Keys of 32 bytes for one purpose, by key id, newest first (HKDF, RFC 5869)."""
        if purpose not in self.derived:
            keys = {root.id: expand(root.key, purpose) for root in self.roots}
            self.derived[purpose] = keys
        return dict(self.derived[purpose])

    def digests(self, purpose: str, text: str) -> list[bytes]:
        """Keyed hashes, newest secret first, for what must be found again but not be read."""
        keys, data = self.derived.get(purpose) or self.derive(purpose), text.encode()
        return [hmac.digest(key, data, "sha256") for key in keys.values()]

    def seal(self, place: Place, value: bytes) -> bytes:
        """Encrypt with AES-256-GCM, bound to the place and the key id."""
        root, nonce = self.roots[0], self.random(12)
        cipher = AESGCM(self.derive("seal")[root.id])
        return bytes.fromhex(root.id) + nonce + cipher.encrypt(nonce, value, bound(place, root.id))

    def open(self, place: Place, sealed: bytes) -> bytes:
        """Decrypt. Raises ConfigError: no root secret of the settings fits."""
        root = next((root for root in self.roots if root.id == sealed[:4].hex()), None)
        if root is None:
            raise ConfigError(
                "The secret is not the one that this database was made with: "
                "put the old one back, at the end of the list where you want a new one."
            )
        try:
            cipher = AESGCM(self.derive("seal")[root.id])
            return cipher.decrypt(sealed[4:16], sealed[16:], bound(place, root.id))
        except (InvalidTag, ValueError) as error:  # the latter for one that was cut short
            raise ConfigError(
                f"The {place.column} of {place.table} {place.row} was altered in the database: "
                "restore it from a backup."
            ) from error


def expand(key: bytes, purpose: str) -> bytes:
    return HKDF(SHA256(), 32, salt=None, info=f"picoauth {purpose}".encode()).derive(key)


def bound(place: Place, key_id: str) -> bytes:
    return f"{place.table}|{place.column}|{place.row}|{key_id}".encode()


def load(config: Config, random: Random) -> Secrets:
    """Read the root secrets, and make the first one where there is none yet.

    Raises ConfigError for a secret that is missing, short, weak or open to others.
    """
    listed = sources(config)
    make(listed[0].path, config, random)
    for source in listed:
        check_mode(source.path)
    return Secrets([value for source in listed for value in held(source)], random)


def held(source: Secret) -> Sequence[bytes]:
    """What a source holds, each one checked. Raises ConfigError."""
    values = secretfile.parse(source.read(), source.source).values
    return [checked(source, value) for value in values]


def sources(config: Config) -> Sequence[Secret]:
    """Where the root secrets are, newest first."""
    return config.secret or (Secret(f"file {config.base / 'picoauth.secret'}"),)


def make(path: Path | None, config: Config, random: Random) -> None:
    """Write a new secret, unless there is one, or a database that another one belongs to.

    Of processes that start at once, one makes it; a secret is there before its database is.
    """
    elsewhere = "://" in config.database
    orphan = not elsewhere and (config.base / config.database).exists()
    if path is None or path.exists():
        return
    if elsewhere:
        raise ConfigError(
            f"{path} is missing, and whether the database elsewhere belongs to one cannot be "
            "told: put it back from your backup, or make the first one by "
            f"`umask 077; openssl rand -base64 33 > {path}`."
        )
    if orphan:
        raise ConfigError(
            f"{path} is missing, but the database {config.database} exists and needs it: "
            "put the secret back from your backup."
        )
    try:
        write(path, base64.urlsafe_b64encode(random(33)) + b"\n")
    except OSError as error:
        raise ConfigError(f"The secret {path} cannot be made: {reason(error)}") from error


def write(path: Path, value: bytes) -> None:
    """Make a file, whole and on the disk, for its owner alone, unless there is one."""
    with copying(path.parent) as folder:
        made = folder / path.name
        made.touch(0o600)
        with made.open("wb") as file:
            file.write(value)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):  # another process was faster
            os.link(made, path)


def strong(source: Secret) -> bytes:
    """A secret that only its owner can read, and no person has typed. Raises ConfigError."""
    check_mode(source.path)
    return checked(source, source.read())


def check_mode(path: Path | None) -> None:
    if path is not None and path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise ConfigError(f"{path} can be read by other users: run `chmod 600 {path}`.")


def checked(source: Secret, value: bytes) -> bytes:
    """Refuse what a person typed: a root secret is random, and long enough (K-1)."""
    if len(value) < least(value) or len(set(value)) < LEAST // 3:
        raise ConfigError(
            f"The secret from {source.source} is too short or too regular: "
            "write at least 32 random bytes, as `openssl rand -base64 33` prints them."
        )
    return value


def least(value: bytes) -> int:
    """Bytes in which 256 bits can be written: as hexadecimal digits, as any text, or as they are."""
    if all(byte in b"0123456789abcdefABCDEF" for byte in value):
        return 2 * LEAST
    return 43 if value.isascii() and value.decode().isprintable() else LEAST
