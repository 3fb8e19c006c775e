"""Breach lists for tests, as they are published."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path


def sha1(text: str) -> str:
    return hashlib.sha1(text.encode()).hexdigest().upper()


def line(text: str, count: int = 1) -> str:
    return f"{sha1(text)}:{count}"


def ordered(texts: Iterable[str], count: int = 1, end: str = "\r\n") -> bytes:
    return "".join(f"{one}{end}" for one in sorted(line(text, count) for text in texts)).encode()


def numbered(count: int) -> list[str]:
    """As many passwords, none of them in any list."""
    return [f"a password with number {n}" for n in range(count)]


def as_ranges(folder: Path, texts: Iterable[str]) -> None:
    """A file for each range that something is in."""
    folder.mkdir()
    for one in sorted(line(text) for text in texts):
        with (folder / f"{one[:5]}.txt").open("a", newline="") as file:
            file.write(f"{one[5:]}\r\n")
