"""The digest by which breached passwords are known, and the list of the commonest."""

from __future__ import annotations

import hashlib
import unicodedata
from bisect import bisect_left
from functools import cache
from importlib.resources import files

KEPT = 8
"""Bytes of each digest in the list: two passwords share them once in 10^15 tries."""


def digest(password: str) -> bytes:
    """SHA-1, as the public breach lists have it; it protects nothing here."""
    text = unicodedata.normalize("NFC", password)
    return hashlib.sha1(text.encode("utf-8", "surrogatepass"), usedforsecurity=False).digest()


def folded(password: str) -> str:
    """One text for all ways to write a password in capitals or small letters."""
    return unicodedata.normalize("NFKC", password).casefold()


def is_common(password: str) -> bool:
    """Whether it is among the commonest, however its letters are written."""
    wanted, known = digest(folded(password))[:KEPT], common()
    count = len(known) // KEPT
    at = bisect_left(range(count), wanted, key=lambda n: known[n * KEPT : (n + 1) * KEPT])
    return known[at * KEPT : (at + 1) * KEPT] == wanted


@cache
def common() -> bytes:
    """Sorted digests without anything between; NOTICE says whose lists they are made of."""
    return files("picoauth_hibp").joinpath("common.bin").read_bytes()


def packed(passwords: set[str]) -> bytes:
    """The list as it is stored."""
    return b"".join(sorted(digest(folded(password))[:KEPT] for password in passwords))
