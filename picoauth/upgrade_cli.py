"""The command `picoauth upgrade`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from picoauth import upgrades
from picoauth.auth import Auth
from picoauth.backups import backup
from picoauth.config import changed
from picoauth.errors import ConfigError
from picoauth.failures import Failure
from picoauth.observing import scratch
from picoauth.running import auth_of, configuration
from picoauth.settings import Config


@click.command()
@click.option("--dry-run", is_flag=True, help="Try it on a copy, and change nothing.")
@click.pass_context
def upgrade(ctx: click.Context, dry_run: bool) -> None:  # noqa: FBT001 - click's way
    """Bring the database up to date, after a copy of it was made. Serving does the same first.

    A dry run does it to the copy, makes users in there, and logs them in by every factor. It
    exits with 1 where one of them cannot log in.
    """
    if dry_run:
        rehearsed(configuration(ctx))
        return
    for line in migrated(auth_of(ctx)):
        click.echo(line)


def migrated(auth: Auth) -> Sequence[str]:
    """What was applied; the database is closed in the loop that its connections belong to."""

    async def whole() -> Mapping[str, Sequence[str]]:
        try:
            return await auth.migrate()
        finally:
            await auth.database.close()

    return told(asyncio.run(whole()))


def told(applied: Mapping[str, Sequence[str]]) -> Sequence[str]:
    """What was applied, a line for each owner."""
    some = ((name, len(statements)) for name, statements in applied.items())
    return [f"{name}: {applications(count) if count else 'up to date'}" for name, count in some]


def applications(count: int) -> str:
    return f"{count} migration{'' if count == 1 else 's'} applied"


def rehearsed(config: Config) -> None:
    """Raises ConfigError, and Failure where a login fails."""
    with scratch() as folder:
        applied, outcomes = asyncio.run(tried(config, folder))
    for line in (*told(applied), *(f"login by {name}: {said}" for name, said in outcomes.items())):
        click.echo(line)
    failed = [name for name, said in outcomes.items() if said.startswith("fails")]
    if failed:
        raise Failure([f"After the upgrade nobody could log in by {', '.join(failed)}."])


async def tried(
    config: Config, folder: Path
) -> tuple[Mapping[str, Sequence[str]], Mapping[str, str]]:
    """Migrate a copy in the folder, and log in there."""
    try:
        from picoauth.testing import Clock  # noqa: PLC0415 - an extra that most lack
        from picoauth.testing.rehearsal import rehearse  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(
            "A dry run logs users in by the test kit: run `pip install 'picoauth[testing]'` first."
        ) from error
    clock = Clock(time.time())
    copy = await copied(config, folder)
    auth = Auth(changed(config, database=str(copy)), clock=clock, monotonic=clock)
    applied = await upgrades.upgrade(auth)
    return applied, await rehearse(auth, clock, folder)


async def copied(config: Config, folder: Path) -> Path:
    auth = Auth(config)
    try:
        await backup(auth, folder / "picoauth.db")
    finally:
        await auth.database.close()
    return folder / "picoauth.db"
