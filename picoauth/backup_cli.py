"""The commands `picoauth backup` and `picoauth restore`."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from picoauth.auth import Auth
from picoauth.backups import backup as back_up
from picoauth.backups import restore as put_back
from picoauth.errors import ConfigError
from picoauth.running import auth_of, configuration

FILE = click.Path(path_type=Path)


@click.command()
@click.argument("file", type=FILE)
@click.pass_context
def backup(ctx: click.Context, file: Path) -> None:
    """Copy the database to a new FILE.

    The server goes on meanwhile. The root secret is not in the copy, which is of no use
    without it: keep both, in different places.
    """
    asyncio.run(back_up(auth_of(ctx), file))
    click.echo(f"Wrote {file}. The root secret is not in it: keep that in another place.")


@click.command()
@click.argument("file", type=FILE)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def restore(ctx: click.Context, file: Path, yes: bool) -> None:  # noqa: FBT001 - click's way
    """Put a backup in the place of the database, while the server is stopped.

    Everybody is logged out, and links, recovery codes and signing keys are void: what was
    spent since the backup was made cannot be known.
    """
    config = configuration(ctx)
    if not yes:
        check(file)
        click.confirm(f"Put {file} in the place of {config.database}?", abort=True)
    before = asyncio.run(put_back(config, file, Auth))
    click.echo(f"Restored {file}. Everybody has to log in again.")
    if before:
        click.echo(f"The database from before is {before}: delete it when all is well.")


def check(file: Path) -> None:
    """Before anybody is asked about it. Raises ConfigError."""
    try:
        file.open("rb").close()
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}.") from error
