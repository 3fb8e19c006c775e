"""Reads the public breach list: one file, or a folder with a file for each range of digests."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from picoauth import ConfigError

CHUNK = 1 << 18
LONGEST = 128
"""Bytes of a line, and more than any has."""
RANGE = re.compile(r"([0-9A-F]{5})\.txt")
RANGES = 16**5
"""Files of a whole download."""
WORD = 16
"""Hexadecimal digits of a digest that are looked at."""


@dataclass(frozen=True)
class Kind:
    """How the lines of a file are written: with a whole digest, or without what its name says."""

    digits: int
    shown: str

    @property
    def line(self) -> bytes:
        return rb"[0-9A-Fa-f]{%d}:[0-9]{1,12}\r?\n" % self.digits


WHOLE = Kind(40, "40 hexadecimal digits, a colon and a count")
REST = Kind(35, "35 hexadecimal digits, a colon and a count")


class Reader:
    """The beginnings of digests, 64 bits of each, in order. Raises ConfigError for a bad line."""

    def __init__(self, least: int) -> None:
        self.least = least
        self.last = 0

    def of_path(self, path: Path, *, partial: bool) -> Iterator[Sequence[int]]:
        """`-` is the standard input."""
        if path.is_dir():
            yield from self.of_folder(path, partial=partial)
        elif str(path) == "-":
            yield from self.of_file(sys.stdin.buffer, "the standard input", "")
        else:
            with reading(path), path.open("rb") as file:
                yield from self.of_file(file, str(path), "")

    def of_folder(self, folder: Path, *, partial: bool) -> Iterator[Sequence[int]]:
        with reading(folder):
            names = sorted(one.name for one in folder.iterdir() if RANGE.fullmatch(one.name))
        if not names or (len(names) < RANGES and not partial):
            raise ConfigError(
                f"{folder} has {len(names)} of {RANGES} files of ranges: "
                "finish the download, or say --partial."
            )
        for name in names:
            path = folder / name
            with reading(path), path.open("rb") as file:
                yield from self.of_file(file, str(path), name[:5])

    def of_file(self, file: BinaryIO, name: str, prefix: str) -> Iterator[Sequence[int]]:
        kind = REST if prefix else WHOLE
        whole = re.compile(rb"(?>%s)*+" % kind.line)
        before = 0
        while chunk := file.read(CHUNK):
            chunk += file.readline(LONGEST)
            if not chunk.endswith(b"\n"):  # the end, or a line that is longer than any
                chunk += b"\n"
            lines = chunk.split(b"\n")[:-1]
            if not whole.fullmatch(chunk):
                bad = next(n for n, line in enumerate(lines) if not fits(kind, line))
                raise ConfigError(
                    f"Line {before + bad + 1} of {name} is not {kind.shown}: nothing was made."
                )
            numbers = self.ordered(lines, prefix, name, before)
            padded = b":0" in chunk
            yield self.kept(lines, numbers) if padded or self.least > 1 else numbers
            before += len(lines)

    def ordered(self, lines: Sequence[bytes], prefix: str, name: str, before: int) -> Sequence[int]:
        """The numbers of lines, each at least as large as the one before."""
        digits = WORD - len(prefix)
        base = int(prefix or "0", 16) << (4 * digits)
        numbers = [base + int(line[:digits], 16) for line in lines]
        if numbers[0] < self.last or numbers != sorted(numbers):
            late = [
                n for n, one in enumerate(numbers) if one < (numbers[n - 1] if n else self.last)
            ]
            raise ConfigError(
                f"Line {before + late[0] + 1} of {name} is out of order: "
                "take the list that is ordered by hash; nothing was made."
            )
        self.last = numbers[-1]
        return numbers

    def kept(self, lines: Sequence[bytes], numbers: Sequence[int]) -> Sequence[int]:
        """Those in enough accounts. A count of 0 is padding, as the range API has it."""
        counts = (int(line.rpartition(b":")[2]) for line in lines)
        both = zip(numbers, counts, strict=True)
        return [number for number, count in both if count >= self.least]


def fits(kind: Kind, line: bytes) -> bool:
    return re.fullmatch(kind.line, line + b"\n") is not None


@contextmanager
def reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from None
