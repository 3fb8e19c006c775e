"""The commands `picoauth encrypted …`, for a server that is stopped."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from picoauth import ConfigError, Secret, exchange, strong
from picoauth_encrypted.connections import PLAIN, Key, connecting, libsql, raw
from picoauth_encrypted.plugin import is_plain, opens

if TYPE_CHECKING:
    from picoauth_encrypted.plugin import EncryptedPlugin

FILE = click.Path(path_type=Path)


def commands(plugin: EncryptedPlugin) -> Sequence[click.Command]:
    @click.command()
    @click.option("--libsql", "libsql_key", type=FILE, metavar="KEY", help="A file with its key.")
    def encrypt(libsql_key: Path | None) -> None:
        """Encrypt the database; the plain file goes.

        With --libsql, one that libSQL has encrypted: it is moved to the cipher of this plugin.
        """
        key = PLAIN if libsql_key is None else theirs(libsql_key)
        change(plugin, key, plugin.key, keep=False)
        click.echo(f"Encrypted {plugin.path}. Blocks of the disk, and backups, may still hold it.")

    @click.command()
    def decrypt() -> None:
        """Make the database a plain file again; then take the plugin out of `plugins`."""
        aside = change(plugin, plugin.key, PLAIN, keep=True)
        click.echo(f"Decrypted {plugin.path}: take {plugin.name} out of `plugins` now.")
        click.echo(f"The encrypted one is {aside}: delete it when all is well.")

    @click.command()
    @click.argument("old", type=FILE)
    def rekey(old: Path) -> None:
        """Encrypt the database with the key of the settings, which is a new one.

        OLD is a file with the key that it is under until now.
        """
        aside = change(plugin, raw(strong(secret(old))), plugin.key, keep=True)
        click.echo(f"Encrypted {plugin.path} with the new key.")
        click.echo(f"The one under the old key is {aside}: delete it when all is well.")

    return [encrypt, decrypt, rekey]


def secret(path: Path) -> Secret:
    return Secret(f"file {path}")


def theirs(path: Path) -> Key:
    """Raises ConfigError for a key that libSQL cannot have had."""
    try:
        return libsql(secret(path).read())
    except ValueError as error:
        raise ConfigError(f"The key in {path} is no text, as one of libSQL is.") from error


def change(plugin: EncryptedPlugin, before: Key, after: Key, *, keep: bool) -> Path | None:
    """Write the database anew, under another key. Raises ConfigError."""
    path = plugin.path
    check(path, before, after)

    def fill(connection: Any, file: Path) -> None:
        try:
            connection.execute("vacuum into ?", (address(file, after),))
        except sqlite3.Error as error:
            if error.sqlite_errorname == "SQLITE_FULL":
                raise
            raise damaged(str(error)) from error
        sound(file, after)

    return exchange(path, connecting(before), fill, now=plugin.auth.now(), keep=keep)


def check(path: Path, before: Key, after: Key) -> None:
    """Raises ConfigError for a database that is not under the key, or is done already."""
    if not path.exists():
        raise ConfigError(f"There is no database {path} yet: start the server, which makes it.")
    if opens(path, before):
        return
    if opens(path, after):
        said = "is encrypted with the key of the settings" if after.text else "is not encrypted"
        raise ConfigError(f"{path} {said} already: there is nothing to do.")
    state = "is not encrypted" if is_plain(path) else "is under another key, or damaged"
    raise ConfigError(f"{path} {state}: name the key that it is encrypted with.")


def address(file: Path, key: Key) -> str:
    """A file for SQLite to write, under a key."""
    return f"file:{quote(str(file))}?cipher={key.cipher}&key={quote(key.text)}"


def sound(file: Path, key: Key) -> None:
    """Raises ConfigError for a file in which SQLite finds faults."""
    try:
        with closing(connecting(key)(str(file))) as connection:
            found = [row[0] for row in connection.execute("pragma integrity_check(1)")]
    except sqlite3.Error as error:
        found = [str(error)]
    if found != ["ok"]:
        raise damaged(found[0])


def damaged(what: str) -> ConfigError:
    return ConfigError(f"The database is damaged: {what}. Put a backup in its place.")
