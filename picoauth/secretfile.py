"""A file of root secrets: the one in use, the next one, and old ones that something hangs on."""

from __future__ import annotations

import base64
import fcntl
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import NamedTemporaryFile

from picoauth.errors import ConfigError

NEXT, OLD = b"next ", b"old "
OLDER = re.compile(rb"old (\d{1,12}) (\S+)\s*")


@dataclass(frozen=True, repr=False)
class Held:
    """What a file holds. The next secret opens, and seals nothing yet; the rest is newest first."""

    current: bytes
    next: bytes | None = None
    old: Sequence[tuple[int, bytes]] = ()
    """Each with the time from which on it was old."""

    @property
    def values(self) -> Sequence[bytes]:
        """All of them; the first one seals."""
        return [self.current, *([self.next] if self.next else []), *(each for _, each in self.old)]

    @property
    def text(self) -> bytes:
        lines = [self.current, *([NEXT + self.next] if self.next else [])]
        return b"\n".join([*lines, *(b"%s%d %s" % (OLD, at, each) for at, each in self.old), b""])


def parse(text: bytes, source: str) -> Held:
    """A file without marks is one secret, whatever is in it. Raises ConfigError."""
    lines = text.split(b"\n")
    marked = [line for line in lines if line.startswith((NEXT, OLD))]
    if not marked:
        return Held(text)
    rest = [line for line in lines if line.strip() and line not in marked]
    waiting = [line.removeprefix(NEXT).strip() for line in marked if line.startswith(NEXT)]
    old = [OLDER.fullmatch(line) for line in marked if line.startswith(OLD)]
    if len(rest) != 1 or len(waiting) > 1 or None in old:
        raise ConfigError(
            f"The secrets from {source} are mixed up: write the one in use on a line of its own, "
            "at most one line `next SECRET`, and lines `old SECONDS SECRET`."
        )
    return Held(
        rest[0].strip(),
        next(iter(waiting), None),
        tuple((int(found[1]), found[2]) for found in old if found),
    )


def rotated(held: Held, new: bytes, now: int, *, at_once: bool) -> Held:
    """One step on: a new secret is made known, and the next time it is used."""
    if held.next is None and not at_once:
        return replace(held, next=new)
    return Held(held.next or new, None, [(now, held.current), *held.old])


def change(path: Path, source: str, step: Callable[[Held], Held]) -> Held:
    """Replace the file by what follows; at every moment it is the old or the new one, whole.

    Raises ConfigError for a file that cannot be written so.
    """
    path = path.resolve()  # what a link points to is replaced, and not the link
    try:
        with locked(path.parent):
            held = parse(path.read_bytes().strip(), source)
            check_lines(held, source)
            new = step(held)
            replaced(path, new.text)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written anew: {error.strerror}. Run this as the user that owns its folder."
        ) from error
    return new


def check_lines(held: Held, source: str) -> None:
    """Raises ConfigError for a secret that no line can hold."""
    if any(not each.isascii() or len(each.split()) != 1 for each in held.values):
        raise ConfigError(
            f"The secret from {source} is more than a line of text: write a new one into another "
            "file, and name that before it in `secret`."
        )


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One process at a time."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replaced(path: Path, text: bytes) -> None:
    """Written, on the disk and its owner's before it takes the place; what a kill left goes."""
    prefix = f".{path.name}.rotated."
    for left in path.parent.glob(f"{prefix}*"):
        left.unlink()
    with NamedTemporaryFile(dir=path.parent, prefix=prefix, delete=False) as file:  # mode 0600
        try:
            owner = path.stat()
            if (owner.st_uid, owner.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).replace(path)
        except BaseException:
            with suppress(FileNotFoundError):
                Path(file.name).unlink()
            raise


def fresh(random: Callable[[int], bytes]) -> bytes:
    return base64.urlsafe_b64encode(random(33))
