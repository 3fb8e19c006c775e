"""The plugin: its setting, and the words for a file that does not open."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import click

from picoauth import (
    Auth,
    ConfigError,
    Database,
    Embedded,
    Plugin,
    Secret,
    described,
    hookimpl,
    strong,
)
from picoauth_encrypted.connections import Key, connecting, raw

HEADER = b"SQLite format 3\0"
"""How every file begins that is not encrypted."""


@dataclass(frozen=True)
class EncryptedSettings:
    """`[encrypted]`."""

    encryption_key: Secret = described(
        "What the database is encrypted with: at least 32 random bytes."
    )


class EncryptedPlugin(Plugin[EncryptedSettings]):
    """The embedded engine on an encrypted file."""

    offline = True

    def __init__(self, auth: Auth, name: str, settings: EncryptedSettings) -> None:
        super().__init__(auth, name, settings)
        self.key: Key = raw(strong(settings.encryption_key))

    @cached_property
    def path(self) -> Path:
        return self.auth.config.base / self.auth.config.database

    @hookimpl
    def database(self, url: str) -> Database | None:
        if "://" in url:
            raise ConfigError(
                f"{self.name}: the database is no file of this machine: take {self.name} out of `plugins`."
            )
        try:
            return Embedded(self.path, connect=connecting(self.key))
        except ConfigError as error:
            if getattr(error.__cause__, "sqlite_errorname", "") != "SQLITE_NOTADB":
                raise
            raise ConfigError(self.why(self.path)) from error.__cause__

    def why(self, path: Path) -> str:
        """Why a file does not open with the key, and what to do."""
        if is_plain(path):
            return (
                f"{path} is not encrypted: stop the server and run `picoauth {self.name} encrypt`, "
                f"or take {self.name} out of `plugins`."
            )
        return (
            f"The `encryption_key` of [{self.name}] does not open {path}: put the key back that it "
            "was encrypted with, or a backup where the file is damaged."
        )

    @hookimpl
    def commands(self) -> Sequence[click.Command]:
        from picoauth_encrypted.commands import commands  # noqa: PLC0415 - for the CLI alone

        return commands(self)


def is_plain(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(HEADER)) == HEADER


def opens(path: Path, key: Key) -> bool:
    """Whether a file is a database under this key. Raises ConfigError where it cannot be read."""
    connection = connecting(key)(str(path))
    try:
        connection.execute("select count(*) from sqlite_master")
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorname", "") == "SQLITE_NOTADB":
            return False
        raise ConfigError(f"{path} cannot be opened: {error}. Stop what holds it.") from error
    finally:
        connection.close()
    return True
