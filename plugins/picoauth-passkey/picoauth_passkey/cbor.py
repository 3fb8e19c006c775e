"""How long CBOR is, and that it is of the kind that authenticators send (CTAP 2.1, section 8)."""

from __future__ import annotations

from picoauth_passkey.refusals import Refusal, require

DEEPEST = 8
"""Levels of arrays and maps; CTAP has four."""
BYTES, TEXT, ARRAY, MAP, TAG = 2, 3, 4, 5, 6
"""Major types (RFC 8949, section 3.1)."""
ONE_BYTE, RESERVED = 24, 28
"""Arguments in a head: up to 23 as they are, then 1, 2, 4 or 8 bytes; the rest is of no use here."""


def end_of(data: bytes, at: int, check: str, depth: int = DEEPEST) -> int:
    """Where the item ends that begins at `at`, without decoding anything.

    A decoder would make objects of tags (dates, patterns), and stop at a depth of its own; so
    tags, indefinite lengths and whatever is too deep never come to one. Raises Refusal(check).
    """
    major, argument, at = head(data, at, check)
    require(major != TAG and depth >= 0, check)
    if major in (BYTES, TEXT):
        at += argument
    if major in (ARRAY, MAP):
        count = argument * (2 if major == MAP else 1)
        require(count <= len(data) - at and depth > 0, check)  # each takes a byte at least
        for _ in range(count):
            at = end_of(data, at, check, depth - 1)
    require(at <= len(data), check)
    return at


def head(data: bytes, at: int, check: str) -> tuple[int, int, int]:
    """Major type, argument, and where the rest begins."""
    if at >= len(data):
        raise Refusal(check)
    major, argument = data[at] >> 5, data[at] & 31
    at += 1
    if argument >= ONE_BYTE:
        require(argument < RESERVED, check)
        size = 1 << (argument - ONE_BYTE)
        require(at + size <= len(data), check)
        argument, at = int.from_bytes(data[at : at + size]), at + size
    return major, argument, at


def require_map(data: bytes, at: int, check: str) -> int:
    """The end of an item that has to be a map."""
    require(head(data, at, check)[0] == MAP, check)
    return end_of(data, at, check)
