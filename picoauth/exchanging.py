"""Another file in the place of the database, while nobody has it open."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from picoauth.backups import alone, beside, swapped
from picoauth.errors import ConfigError
from picoauth.sqlite import Connect, Connection


def exchange(
    path: Path,
    connect: Connect,
    fill: Callable[[Connection, Path], None],
    *,
    now: int,
    keep: bool,
) -> Path | None:
    """Put what `fill` writes into an empty file in the place of a database that is stopped.

    Whoever ends it half-way leaves the old or the new one, whole. Answers where the one
    before is now, if it is to be kept. Raises ConfigError.
    """
    with beside(path) as file, alone(connect, path) as connection:
        if connection is None:
            raise ConfigError(f"There is no database {path} yet: start the server, which makes it.")
        connection.execute("commit")  # the lock stays: its mode is exclusive
        fill(connection, file)
        flush(file)
        path.with_name(f"{path.name}-journal").unlink(missing_ok=True)  # of leaving WAL mode
        if keep:
            return swapped(path, file, now)
        file.replace(path)
        return None


def flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
