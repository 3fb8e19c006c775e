"""Connections of SQLite3 Multiple Ciphers that speak as those of `sqlite3` do."""

from __future__ import annotations

import hmac
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from picoauth import Row

CIPHER = "chacha20"
"""ChaCha20-Poly1305 (RFC 8439), a nonce and a tag for each page."""
LIBSQL = "aes256cbc"
"""What libSQL encrypts with: AES-256-CBC without a tag."""


@dataclass(frozen=True, repr=False)
class Key:
    """What a file is under. One that is raw costs no derivation at each connection."""

    cipher: str
    text: str


def raw(secret: bytes) -> Key:
    """Of a random secret, one hash is derivation enough."""
    return Key(CIPHER, f"raw:{hmac.digest(secret, b'picoauth encrypted', 'sha256').hex()}")


def libsql(secret: bytes) -> Key:
    """Raises ValueError for a key that is no text."""
    return Key(LIBSQL, secret.decode())


PLAIN = Key(CIPHER, "")
Connect: TypeAlias = Callable[[str], "Connection"]


def connecting(key: Key) -> Connect:
    return lambda path: Connection(path, key)


class Answer:
    """The rows of a statement that is done, and how many it touched."""

    def __init__(self, rows: list[Row], rowcount: int) -> None:
        self.rows = rows
        self.rowcount = rowcount
        self.description = rows or None

    def fetchall(self) -> list[Row]:
        return self.rows

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)


class Connection:
    """One to a file under a key. Nothing of it is written elsewhere than there and beside it."""

    def __init__(self, path: str, key: Key) -> None:
        import apsw  # noqa: PLC0415 - for whoever opens a file

        self.error = apsw.Error
        flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_URI
        try:
            self.apsw = apsw.Connection(path, flags=flags)
        except apsw.Error as error:
            raise translated(error) from None
        self.execute("pragma temp_store = memory")
        if key.text:
            self.apsw.pragma("cipher", key.cipher)
            self.apsw.pragma("key", key.text)

    @property
    def in_transaction(self) -> bool:
        return self.apsw.in_transaction

    def execute(self, sql: str, args: Sequence[Any] = (), /) -> Answer:
        """One statement, to its end. Raises sqlite3.Error."""
        cursor = self.apsw.cursor()
        if ";" in sql:
            cursor.exec_trace = Single()
        before = self.apsw.total_changes()
        try:
            rows = cursor.execute(sql, args).fetchall()
        except self.error as error:
            raise translated(error) from None
        changed = self.apsw.total_changes() != before
        return Answer(rows, self.apsw.changes() if changed else 0)

    def close(self) -> None:
        self.apsw.close()


class Single:
    """Stops what would be a second statement of a text."""

    def __init__(self) -> None:
        self.seen = False

    def __call__(self, *_: object) -> bool:
        if self.seen:
            raise sqlite3.ProgrammingError("You can only execute one statement at a time.")
        self.seen = True
        return True


def translated(error: Exception) -> sqlite3.Error:
    """The same error as `sqlite3` raises it, with its code and the code's name."""
    import apsw  # noqa: PLC0415 - see above

    broken = isinstance(error, apsw.ConstraintError | apsw.MismatchError)
    same = (sqlite3.IntegrityError if broken else sqlite3.OperationalError)(str(error))
    same.sqlite_errorcode = getattr(error, "extendedresult", 0)
    primary = same.sqlite_errorcode & 0xFF
    same.sqlite_errorname = str(apsw.mapping_result_codes.get(primary, "SQLITE_MISUSE"))
    return same
