"""The commands `picoauth secret …`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from picoauth.auth import Auth
from picoauth.errors import ConfigError
from picoauth.resealing import hanging
from picoauth.running import auth_of, command, configuration, run
from picoauth.secretfile import Held, change, fresh, parse, rotated
from picoauth.secrets import sources
from picoauth.settings import Config, Secret
from picoauth.tables import moment


@click.group()
def secret() -> None:
    """Look after the root secret."""


@secret.command()
@click.option("--now", "at_once", is_flag=True, help="In one step: for one server alone.")
@click.pass_context
def rotate(ctx: click.Context, at_once: bool) -> None:  # noqa: FBT001 - click's way
    """Take a new root secret, in two steps.

    The first makes it known, the second uses it; after each every server is to be restarted.
    """
    auth = auth_of(ctx)
    source, path = file(auth.config)
    new, now = fresh(auth.secrets.random), auth.now()
    held = change(path, source.source, lambda held: rotated(held, new, now, at_once=at_once))
    again = command(ctx, "secret", "rotate")
    if held.next:
        click.echo(f"The next root secret is in {path}; nothing uses it yet.")
        click.echo(
            f"Restart every server that uses this file, or a copy. Then run `{again}` again."
        )
        return
    click.echo(f"The new root secret is the first in {path}. Restart every server.")
    click.echo(
        "Within minutes they seal anew what the old one sealed; `picoauth doctor` counts it."
    )


@secret.command()
@click.option("--yes", is_flag=True, help="Though sessions, or retired names, hang on them.")
@click.pass_context
def forget(ctx: click.Context, yes: bool) -> None:  # noqa: FBT001
    """Drop the old root secrets from the file, if nothing hangs on them any more."""
    source, path = file(configuration(ctx))
    held = parse(source.read(), source.source)
    if not held.old:
        raise ConfigError(f"There is no old secret in {path}: nothing is to be forgotten.")
    run(ctx, lambda auth: check(auth, held, yes=yes))
    # Nothing was seen of one that became old meanwhile.
    change(
        path,
        source.source,
        lambda now: replace(now, old=[one for one in now.old if one not in held.old]),
    )
    click.echo(f"Dropped {len(held.old)} from {path}. Restart every server.")


def file(config: Config) -> tuple[Secret, Path]:
    """The first source. Raises ConfigError for one that is no file."""
    source = sources(config)[0]
    if source.path is None:
        raise ConfigError(
            f"The secret comes from {source.source}: list a new one behind it in `secret`, restart "
            "every server, list it first, and restart them again."
        )
    return source, source.path


async def check(auth: Auth, held: Held, *, yes: bool) -> None:
    """Raises ConfigError where an old secret is needed."""
    found = await hanging(auth)
    if found:
        said = ", ".join(f"{what} ({count})" for what, count in found.items())
        raise ConfigError(
            f"On the old secrets hang {said}: let the server run, which seals anew what it can, and "
            "let users log in, or set who comes no more another password."
        )
    latest = max(at for at, _ in held.old)
    until = latest + longest(auth.config)
    if until > auth.now() and not yes:
        raise ConfigError(
            f"Sessions from before {moment(latest)} may hang on the old secrets until "
            f"{moment(until)}: wait, or end them now with --yes."
        )
    sql = "select count(*) from retired_names where retired_at <= ?"
    [(names,)] = await auth.database.read(sql, (until,))
    if names and not yes:
        raise ConfigError(
            f"Retired names ({names}) may be known by the old secrets alone, and free without them: "
            "keep them, or free the names with --yes."
        )


def longest(config: Config) -> int:
    """Seconds for which something that a client was handed may be good."""
    lives = (config.ends(0, delivery)[1] for delivery in ("token", "cookie", "remembered"))
    return max(lives)
