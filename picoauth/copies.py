"""Folders for copies of the database: what a process that was killed left in one does not stay."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp

PREFIX = ".picoauth-copy-"
NAME = re.compile(rf"{re.escape(PREFIX)}\w{{8}}", re.ASCII)
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def copying(parent: Path) -> Iterator[Path]:
    """A new folder in another one, that nobody else can look into, and that is gone in the end.

    What is left there of who was killed goes first. Raises OSError.
    """
    sweep(parent)
    folder, lock = made(parent)
    try:
        yield folder
    finally:
        try:
            remove(folder, lock)
        finally:
            os.close(lock)


def made(parent: Path) -> tuple[Path, int]:
    """A folder and its lock, which goes with the process that holds it.

    It is on the folder, since SQLite has its own on files, which some systems do not tell apart.
    """
    folder = Path(mkdtemp(prefix=PREFIX, dir=parent))
    try:
        lock = os.open(folder, FOLDER)
    except FileNotFoundError:  # another process swept before there was a lock
        return made(parent)
    except OSError:
        folder.rmdir()
        raise
    fcntl.flock(lock, fcntl.LOCK_EX)
    if folder.exists():
        return folder, lock
    os.close(lock)
    return made(parent)


def remove(folder: Path, opened: int) -> None:
    """By the descriptor, which no link can lead elsewhere."""
    with os.scandir(opened) as found:
        for entry in [*found]:
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.name, dir_fd=opened)
            else:
                os.unlink(entry.name, dir_fd=opened)
    folder.rmdir()


def sweep(parent: Path) -> None:
    """Remove what is there of this user's processes that are gone, as far as that can be."""
    with suppress(OSError):
        for folder in parent.iterdir():
            if NAME.fullmatch(folder.name):
                swept(folder)


def swept(folder: Path) -> None:
    """Remove a folder whose lock nobody holds, if it is one, and this user's."""
    with suppress(OSError), ExitStack() as stack:
        lock = os.open(folder, FOLDER)
        stack.callback(os.close, lock)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(lock).st_uid == os.geteuid():
            remove(folder, lock)
