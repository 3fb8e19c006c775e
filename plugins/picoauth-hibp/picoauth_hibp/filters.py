"""The file that stands for a breach list of any size: how it is laid out, and asked.

A head; where each of 2^bits buckets begins, as 32 bits; and of each digest 16 bits. The first
`bits` bits of a digest are its bucket, the 16 that follow stand there. All numbers are little
endian.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from picoauth import ConfigError

MAGIC, VERSION = b"picohibp", 1
HEAD = struct.Struct("<8sIIQQQ32s")
SUM = struct.Struct("<I")
START = 128
"""Where the body begins."""
KEPT = 16
"""Bits of a digest that stand in its bucket."""
PER_BUCKET = 32
"""Digests of a bucket, at most, in a list that is spread evenly: 1 in 2,048 is found wrongly."""
BLOCK = 1 << 20


@dataclass(frozen=True)
class Head:
    """What a filter says of itself."""

    bits: int
    entries: int
    made: int
    """When, in seconds."""
    least: int
    """In how many accounts a password had to be."""
    checksum: bytes
    """SHA-256 of the body."""

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        return self.entries_at + 2 * self.entries

    @property
    def entries_at(self) -> int:
        return START + 4 * ((1 << self.bits) + 1)

    @property
    def wrongly(self) -> float:
        """How often a password that is in no list is found all the same."""
        return self.entries / (1 << (self.bits + KEPT))

    def packed(self) -> bytes:
        fields = (self.bits, self.entries, self.made, self.least, self.checksum)
        raw = HEAD.pack(MAGIC, VERSION, *fields)
        return (raw + SUM.pack(zlib.crc32(raw))).ljust(START, b"\0")

    @classmethod
    def read(cls, raw: bytes) -> Head | None:
        """None for what is no head of this version, or damaged."""
        if len(raw) < START or raw[:START] != raw[: HEAD.size + SUM.size].ljust(START, b"\0"):
            return None
        magic, version, *fields = HEAD.unpack_from(raw)
        [expected] = SUM.unpack_from(raw, HEAD.size)
        if (magic, version, expected) != (MAGIC, VERSION, zlib.crc32(raw[: HEAD.size])):
            return None
        return cls(*fields)


class Filter:
    """A filter that is open. Raises ConfigError for a file that is none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                self.head = self.checked(file)
                self.map = mmap.mmap(file.fileno(), self.head.size, access=mmap.ACCESS_READ)
        except OSError as error:
            raise ConfigError(
                f"filter in [hibp]: {path} cannot be read ({error.strerror}): "
                "make it with `picoauth hibp build`."
            ) from None

    def checked(self, file: BinaryIO) -> Head:
        head, found = Head.read(file.read(START)), os.fstat(file.fileno()).st_size
        if head is None:
            raise ConfigError(
                f"filter in [hibp]: {self.path} is not what `picoauth hibp build` makes here: "
                "make it anew."
            )
        if found != head.size:
            raise ConfigError(
                f"filter in [hibp]: {self.path} has {found} bytes of {head.size}: "
                "copy it again, or make it anew."
            )
        return head

    def has(self, digest: bytes) -> bool:
        """Whether a digest is in the list; wrongly so for a few. Raises OSError for a cut file.

        Reading a mapped page that the file no longer has would kill the process.
        """
        if self.map.size() != self.head.size:  # that of the file
            raise OSError(f"{self.path} has changed under the server: start it anew")
        number = int.from_bytes(digest[:8])
        bucket = number >> (64 - self.head.bits)
        wanted = number >> (64 - self.head.bits - KEPT) & 0xFFFF
        begin, end = struct.unpack_from("<2I", self.map, START + 4 * bucket)
        return wanted in struct.unpack_from(
            f"<{end - begin}H", self.map, self.head.entries_at + 2 * begin
        )

    def verify(self, read: Callable[[int], object]) -> None:
        """Compare the whole body with the checksum; `read` is told of bytes. Raises ConfigError."""
        self.map.seek(START)
        if summed(self.map, read) != self.head.checksum:
            raise ConfigError(
                f"filter in [hibp]: {self.path} is damaged: copy it again, or make it anew."
            )

    def close(self) -> None:
        self.map.close()


def summed(file: BinaryIO | mmap.mmap, read: Callable[[int], object]) -> bytes:
    """SHA-256 of what is left of a file."""
    checksum = hashlib.sha256()
    while block := file.read(BLOCK):
        checksum.update(block)
        read(len(block))
    return checksum.digest()
