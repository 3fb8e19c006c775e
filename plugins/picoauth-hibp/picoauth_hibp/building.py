"""Turns an ordered breach list of any size into a filter, in little memory and in one pass."""

from __future__ import annotations

import os
import secrets
import struct
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path

from picoauth import ConfigError
from picoauth_hibp.filters import KEPT, PER_BUCKET, START, Head, summed

SAMPLE = 1 << 16
"""Digests that tell how many there will be: they are spread evenly, so to 1 in 100."""
MOST = (1 << 32) - 1
TOLERATED = 1 / 1000
"""Most of the passwords in no list that a filter may find."""
BLOCK = 1 << 16
"""Buckets that are written at once where nothing is in them."""

Numbers = Sequence[int]
"""The first 64 bits of digests, in order."""


def build(
    path: Path,
    parts: Iterable[Numbers],
    *,
    made: int,
    least: int,
    progress: Callable[[int], object],
) -> Head:
    """Make a filter, whole or not at all; `progress` is told the first 16 bits of where it is.

    What was at `path` stays until the end. Raises ConfigError.
    """
    try:
        with replacing(path) as temporary:
            return written(temporary, parts, made, least, progress)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written: {error.strerror}. What was there is still there."
        ) from error


def written(
    path: Path,
    parts: Iterable[Numbers],
    made: int,
    least: int,
    progress: Callable[[int], object],
) -> Head:
    first, rest = sampled(iter(parts))
    head = Head(bits_of(first), 0, made, least, b"")
    with Body(path, head) as body:
        for numbers in chain([first], rest):
            for at in range(0, len(numbers), SAMPLE):
                body.add(numbers[at : at + SAMPLE])
                progress(body.last >> 48)
        head = body.finished()
    with path.open("r+b") as file:
        file.seek(START)
        head = replace(head, checksum=summed(file, lambda _: None))
        file.seek(0)
        file.write(head.packed())
        file.flush()
        os.fsync(file.fileno())
    return head


def sampled(parts: Iterator[Numbers]) -> tuple[Numbers, Iterator[Numbers]]:
    """Enough of the beginning, and all that follows."""
    first: list[int] = []
    for numbers in parts:
        first += numbers
        if len(first) >= SAMPLE:
            break
    if not first:
        raise ConfigError("There is no hash in the list: nothing was made.")
    return first, parts


def bits_of(first: Numbers) -> int:
    """How many buckets as many digests need as the beginning promises."""
    count = len(first)
    if count >= SAMPLE:
        count = min((count << 64) // (first[-1] - first[0] + 1), MOST)
    return max(1, ((count - 1) // PER_BUCKET).bit_length())


class Body(ExitStack):
    """Writes buckets and entries side by side, each at its place in the one file."""

    def __init__(self, path: Path, head: Head) -> None:
        super().__init__()
        self.head = head
        self.shift = 64 - head.bits
        self.bucket = 0
        """The first bucket of which it is not known where it begins."""
        self.count = 0
        self.last = 0
        self.buckets = self.enter_context(path.open("r+b"))
        self.entries = self.enter_context(path.open("r+b"))
        self.buckets.seek(START)
        self.entries.seek(head.entries_at)

    def add(self, numbers: Numbers) -> None:
        self.last = numbers[-1]
        shift = self.shift - KEPT
        self.begin(numbers, self.last >> self.shift)
        kept = (number >> shift & 0xFFFF for number in numbers)
        self.entries.write(struct.pack(f"<{len(numbers)}H", *kept))
        self.count += len(numbers)

    def begin(self, numbers: Numbers, last: int) -> None:
        """Say where buckets begin, up to the last one that these numbers are in."""
        at = 0
        while self.bucket <= last:
            buckets = range(self.bucket, min(last + 1, self.bucket + BLOCK))
            begins = []
            for bucket in buckets:
                at = bisect_left(numbers, bucket << self.shift, at)
                begins.append(self.count + at)
            self.buckets.write(struct.pack(f"<{len(begins)}I", *begins))
            self.bucket = buckets.stop

    def finished(self) -> Head:
        """Where the buckets begin that nothing is in, and the end of all. Raises ConfigError."""
        head = replace(self.head, entries=self.count)
        if self.count > MOST or head.wrongly > TOLERATED:
            raise ConfigError(
                "The hashes of the list are not spread evenly, or too many: nothing was made."
            )
        self.begin((), 1 << head.bits)
        return head


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file beside `path` that takes its place in the end, or is gone."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        temporary.touch(0o644, exist_ok=False)  # it holds nothing that is not public
        temporary.chmod(0o644)
        yield temporary
        temporary.replace(path)
    except BaseException:  # Ctrl-C, too
        with suppress(OSError):
            temporary.unlink()
        raise
    synced(path.parent)


def synced(folder: Path) -> None:
    """Make a new name last."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
