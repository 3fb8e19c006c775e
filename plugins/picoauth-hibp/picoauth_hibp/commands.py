"""The commands `picoauth hibp …`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from picoauth import AuthError, ConfigError
from picoauth_hibp.building import build
from picoauth_hibp.filters import START, Head
from picoauth_hibp.lists import Reader
from picoauth_password import PasswordContext

if TYPE_CHECKING:
    from picoauth_hibp.plugin import HibpPlugin

STEPS = 1 << 16
"""Of a progress bar: digests are in order, so where one is tells how much is done."""


def commands(plugin: HibpPlugin) -> Sequence[click.Command]:
    return [building(plugin), checking(plugin), verifying(plugin)]


def building(plugin: HibpPlugin) -> click.Command:
    @click.command("build")
    @click.argument("source", metavar="FILE", type=click.Path(exists=True, allow_dash=True))
    @click.option("--to", type=click.Path(dir_okay=False), help="Where to, if not to `filter`.")
    @click.option(
        "--least",
        type=click.IntRange(1),
        default=1,
        show_default=True,
        help="Take only passwords of at least so many accounts.",
    )
    @click.option("--partial", is_flag=True, help="Take a folder that lacks ranges.")
    def build_filter(source: str, to: str | None, least: int, partial: bool) -> None:  # noqa: FBT001
        """Make the filter of the public breach list.

        FILE has a line HASH:COUNT for each password, ordered by hash; or it is a folder with a
        file for each range of hashes; or - for the standard input.
        """
        path = Path(to) if to else plugin.settings.filter
        if path is None:
            raise ConfigError(
                "Nothing says where the filter goes: set `filter` in [hibp], or say --to FILE."
            )
        parts = Reader(least).of_path(Path(source), partial=partial)
        with click.progressbar(length=STEPS, label="Building", file=sys.stderr) as bar:
            head = build(
                path,
                parts,
                made=plugin.auth.now(),
                least=least,
                progress=lambda step: bar.update(step - bar.pos),
            )
        click.echo(told(head, path))
        if path == plugin.settings.filter:
            click.echo("Start the server anew to use it.")
        else:
            click.echo(f'To use it, set filter = "{path}" in [hibp].')

    return build_filter


def told(head: Head, path: Path) -> str:
    return (
        f"{path} has {head.entries} passwords in {head.size / 1e6:.1f} MB; "
        f"of those in no breach it refuses one in {1 / head.wrongly:.0f}."
    )


def checking(plugin: HibpPlugin) -> click.Command:
    @click.command("check")
    def check() -> None:
        """Ask for a password, and say what the lists say.

        Without a terminal it is the first line of the standard input.
        """
        password = typed()
        try:
            asyncio.run(plugin.check_password(password, PasswordContext()))
        except AuthError as error:
            click.echo(f"{error.problem.title} {error.detail}")
            raise SystemExit(1) from None
        click.echo("Nothing is known of this password.")

    return check


def typed() -> str:
    """Nobody sees it, and no list of processes has it."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    return str(click.prompt("Password", hide_input=True))


def verifying(plugin: HibpPlugin) -> click.Command:
    @click.command("verify")
    def verify() -> None:
        """Read the whole filter, and compare it with its checksum."""
        opened = plugin.opened()
        if opened is None:
            raise ConfigError("There is no filter: set `filter` in [hibp].")
        body = opened.head.size - START
        with click.progressbar(length=body, label="Reading", file=sys.stderr) as bar:
            opened.verify(bar.update)
        click.echo(f"{told(opened.head, opened.path)} It is whole.")

    return verify
