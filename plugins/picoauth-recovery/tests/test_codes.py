"""Codes as they are shown, typed and stored."""

from __future__ import annotations

import hashlib
import os
import re

import pytest

from picoauth_recovery.codes import digest, made, read

SHOWN = "000g-40r4-0m30-e209-185g-r38e"
BARE = "000g40r40m30e209185gr38e"


def test_made() -> None:
    """Fifteen random bytes in Crockford's base32, in groups of four."""
    asked: list[int] = []

    def random(count: int) -> bytes:
        asked.append(count)
        return bytes(range(count))

    assert (SHOWN, [15]) == (made(random), asked)
    assert "zzzz-zzzz-zzzz-zzzz-zzzz-zzzz" == made(lambda count: b"\xff" * count)


def test_made_of_every_letter() -> None:
    """All 32 letters come up, and none that looks like another one; no code comes twice."""
    codes = [made(os.urandom) for _ in range(500)]
    assert 500 == len(set(codes))
    assert set("0123456789abcdefghjkmnpqrstvwxyz-") == set("".join(codes))
    assert all(re.fullmatch(r"([^-]{4}-){5}[^-]{4}", code) for code in codes)


@pytest.mark.parametrize(
    "typed",
    [
        SHOWN,
        BARE,
        SHOWN.upper(),
        SHOWN.replace("-", " "),
        f"  {SHOWN}\r\n",
        SHOWN.replace("-", "\u2013"),
        SHOWN.replace("-", "_").replace("0", "o"),
        SHOWN.replace("0", "O").replace("1", "I"),
        SHOWN.replace("1", "l"),
        SHOWN.upper().replace("1", "L"),
    ],
)
def test_read(typed: str) -> None:
    """However it is written, the same code is meant."""
    assert BARE == read(typed)


@pytest.mark.parametrize(
    "typed",
    [
        *("", " ", "-", "\0", "x" * 5000, "123456"),
        *(BARE[:-1], f"{BARE}0", f"{SHOWN} {SHOWN}"),
        *(f"{BARE[:-1]}u", f"{BARE[:-1]}\u0661", f"{BARE[:-1]}\u00e9", f"{BARE[:-1]}\ud800"),
    ],
)
def test_read_what_is_no_code(typed: str) -> None:
    """Too short, too long, or of another alphabet."""
    assert read(typed) is None


def test_digest() -> None:
    """One hash of a code, shown or read: SHA-256, as a hash of 120 random bits may be (O-5)."""
    assert hashlib.sha256(BARE.encode()).digest() == digest(SHOWN) == digest(BARE)
