"""The commands `picoauth doctor …`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from picoauth.errors import ConfigError
from picoauth.formats import check_url
from picoauth.observing import Observed, scratch
from picoauth.running import auth_of, configuration, settings_path
from picoauth.settings import Config
from picoauth.tables import as_json, printable

if TYPE_CHECKING:
    from picoauth.proxychecked import Seen


@click.group(invoke_without_command=True)
@as_json
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:  # noqa: FBT001 - click's way
    """Look at everything, and name the weakest link first.

    Nothing is changed. Exits with 0 where there is nothing but advice, with 1 where there is
    something to mend, and with 2 where the server would not start.
    """
    if ctx.invoked_subcommand is not None:
        return
    from picoauth.doctor import examine, failing, text  # noqa: PLC0415 - for this command alone

    found = asyncio.run(examine(configuration(ctx), settings_path(ctx)))
    say(map(dumped, found) if as_json else text(found))
    ctx.exit(int(failing(found)))


@doctor.command()
@click.argument("url", required=False)
@as_json
@click.pass_context
def proxy(ctx: click.Context, url: str | None, as_json: bool) -> None:  # noqa: FBT001
    """Ask the running server what it sees of a request.

    The request takes the way of your users, through your proxy: to `public_url`, or to URL.
    """
    from picoauth.doctor import failing, text  # noqa: PLC0415 - as above
    from picoauth.proxychecked import Probe  # noqa: PLC0415

    config = configuration(ctx)
    target = config.public_url if url is None else checked(url)
    asyncio.run(ready(config))
    report = asyncio.run(Probe(auth_of(ctx), target).run())
    if as_json:
        say(dumped(one) for one in (report.seen, *report.findings) if one is not None)
    else:
        say([*shown(target, report.seen), *text(report.findings)])
    ctx.exit(int(failing(report.findings)))


def checked(url: str) -> str:
    try:
        check_url(url)
    except ValueError as error:
        raise click.BadParameter(f"{error}.") from error
    return url


async def ready(config: Config) -> None:
    """See that the server has started here. Raises ConfigError."""
    with scratch() as folder:
        auth = Observed(config, folder)
        async with auth.started():
            pass  # it would start, which says whether anything is still to come
    if auth.new or auth.to_come:
        raise ConfigError("The server has not started with these settings yet: start it.")


def shown(url: str, seen: Seen | None) -> Iterator[str]:
    if seen is None:
        return
    peer = "the unix socket" if seen.peer is None else seen.peer
    told = {"address": seen.address, "host": seen.host, "scheme": seen.scheme, "comes from": peer}
    yield f"Of a request to {url} the server sees:"
    for name, value in {**told, **seen.headers}.items():
        yield f"  {name:18}{'-' if value is None else value}"


def say(lines: Iterable[str]) -> None:
    """Without what would move the cursor of a terminal: some of it was said by strangers."""
    for line in lines:
        click.echo(printable("", line))


def dumped(one: Any) -> str:
    return json.dumps(asdict(one))
