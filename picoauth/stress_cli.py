"""The command `picoauth stress`."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from picoauth.errors import ConfigError
from picoauth.observing import scratch
from picoauth.running import configuration, settings_path

if TYPE_CHECKING:
    from picoauth.stress.outcome import Outcome
    from picoauth.stress.plan import Plan

FILE = click.Path(dir_okay=False, path_type=Path)
SPAN = click.FloatRange(min=0.1, max=3600)
USUAL = "login=10,register=1,refresh=20,validate=60,sessions=9"
"""As a small site sees it: many checks, some refreshes, a login now and then."""
INTERRUPTED = 130
"""As shells have it: 128, and the number of SIGINT."""


@click.command()
@click.option("--mix", default=USUAL, show_default=True, help="What users do, by weight.")
@click.option("--second", metavar="FACTOR", help="A second factor, such as totp, of some users.")
@click.option(
    "--second-share",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    help="How many of them have it.",
)
@click.option(
    "--users",
    type=click.IntRange(1, 100_000),
    default=60,
    show_default=True,
    help="How many there are.",
)
@click.option(
    "--loop",
    type=click.Choice(["open", "closed"]),
    default="open",
    show_default=True,
    help="Operations come by the clock, or each client waits for its answer.",
)
@click.option(
    "--start", type=click.FloatRange(min=0.1), help="Operations a second (20), or clients (1)."
)
@click.option(
    "--factor",
    type=click.FloatRange(min=1.05, max=10),
    default=1.5,
    show_default=True,
    help="Each step is so many times the one before.",
)
@click.option(
    "--steps",
    type=click.IntRange(1, 50),
    default=10,
    show_default=True,
    help="How many steps up, at most.",
)
@click.option("--duration", type=SPAN, default=5.0, show_default=True, help="Seconds of a step.")
@click.option("--warm-up", type=SPAN, default=2.0, show_default=True, help="Seconds before it.")
@click.option(
    "--p99",
    "limit",
    type=click.FloatRange(min=0.001, max=3600),
    default=1.0,
    show_default=True,
    help="Seconds: more is too much.",
)
@click.option(
    "--flood",
    type=click.IntRange(1, 1000),
    default=32,
    show_default=True,
    help="Clients that log in without pause, while tokens are checked.",
)
@click.option(
    "--target", type=SPAN, default=0.25, show_default=True, help="Seconds of one password hash."
)
@click.option("--slow", default="", help="Seconds more: commits=0.02,store=0.005,mail=0.2.")
@click.option("--least", default="", help="Bounds: logins_per_second=20, for instance.")
@click.option("--most", default="", help="Bounds: login_p99_ms=500, for instance.")
@click.option(
    "--seed",
    type=int,
    default=20260101,
    show_default=True,
    help="Of the choices that are made by chance.",
)
@click.option("--url", help="A server that runs already, and says that it may be loaded.")
@click.option(
    "--json", "json_file", type=FILE, help="Write it for programs, to - for standard output."
)
@click.option("--html", type=FILE, help="Write a report for people.")
@click.pass_context
def stress(
    ctx: click.Context,
    /,
    url: str | None,
    json_file: Path | None,
    html: Path | None,
    **options: Any,
) -> None:
    """Load these settings as users would, and say which link gives way first.

    A server of their own is started for it, with an empty database that is gone in the end;
    nothing is sent to anybody. Exit code 1 says that a bound of --least or --most is not kept.
    """
    from picoauth.stress import run  # noqa: PLC0415 - for this command alone

    plan = planned(options)
    for path in filter(None, (json_file, html)):
        writable(path)
    with scratch() as folder, progress() as say:
        try:
            found = asyncio.run(
                run.stress(configuration(ctx), settings_path(ctx), folder, plan, say, url=url)
            )
        except KeyboardInterrupt:
            click.echo("\nInterrupted: there is no report.", err=True)
            ctx.exit(INTERRUPTED)
    shown(found, json_file, html)
    if not found.fine:
        ctx.exit(1)


def planned(options: Mapping[str, Any]) -> Plan:
    """Raises ConfigError."""
    from picoauth.stress.plan import Plan, mix_of, numbers_of  # noqa: PLC0415 - as above
    from picoauth.stress.run import SUMMARY  # noqa: PLC0415 - as above

    read = {
        "mix": mix_of(options["mix"]),
        "slow": numbers_of("--slow", options["slow"], ("commits", "store", "mail")),
        "least": numbers_of("--least", options["least"], SUMMARY),
        "most": numbers_of("--most", options["most"], SUMMARY),
        "start": options["start"] or (20.0 if options["loop"] == "open" else 1.0),
    }
    return Plan(**{**options, **read})


def shown(found: Outcome, json_file: Path | None, html: Path | None) -> None:
    """Print it, and write what was asked for. Raises ConfigError."""
    from picoauth.stress import page, report  # noqa: PLC0415 - as above

    if str(json_file) == "-":
        click.echo(json.dumps(found.json()))
    else:
        for line in report.lines(found):
            click.echo(line)
        if json_file is not None:
            written(json_file, json.dumps(found.json(), indent=2) + "\n")
    if html is not None:
        written(html, page.page(found))


def writable(path: Path) -> None:
    """Better said now than after minutes. Raises ConfigError."""
    where = path if path.exists() else path.parent
    if str(path) != "-" and not os.access(where, os.W_OK):
        raise ConfigError(f"{path} cannot be written: make its folder, or name another file.")


def written(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}.") from error


@contextmanager
def progress() -> Iterator[Callable[[str, float], None]]:
    """On standard error: a bar on a terminal, else a line for each part."""
    if not sys.stderr.isatty():
        yield lambda what, part: click.echo(f"{part:4.0%}  {what}", err=True)
        return

    def bar(what: str, part: float) -> None:
        width = 24
        full = "█" * int(part * width)
        click.echo(f"\r\033[K{full:░<{width}} {part:4.0%}  {what}", err=True, nl=False)

    try:
        yield bar
    finally:
        click.echo("\r\033[K", err=True, nl=False)
