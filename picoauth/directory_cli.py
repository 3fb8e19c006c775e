"""The command `picoauth users list`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import click
from click.core import ParameterSource

from picoauth.auth import Auth
from picoauth.directory import Directory, Listed
from picoauth.running import command, run
from picoauth.tables import as_json, show
from picoauth.ways import Query

COLUMNS = ("id", "username", "name", "created_at", "last_login_at", "disabled_at", "delete_at")
AT_ONCE = 1000
"""Users that are read at a time."""

day = click.DateTime(["%Y-%m-%d"])


@click.command("list")
@click.argument("search", required=False)
@click.option("--exact", is_flag=True, help="SEARCH is the whole identifier.")
@click.option("--kind", help="Search in identifiers of this kind: username, email, …")
@click.option("--factor", help="Only who has enrolled this factor.")
@click.option("--disabled/--enabled", default=None, help="Only who can not, or can, log in.")
@click.option("--closed/--open", default=None, help="Only who did, or did not, close the account.")
@click.option("--made-from", type=day, help="Only who was made on this day (UTC) or later.")
@click.option("--made-before", type=day, help="Only who was made before this day (UTC).")
@click.option("--after", help="Begin behind the page before, as that says.")
@click.option("--limit", default=1000, show_default=True, type=click.IntRange(1, 1_000_000))
@as_json
@click.pass_context
def list_(
    ctx: click.Context, /, *, after: str | None, limit: int, as_json: bool, **asked: Any
) -> None:
    """List users in the order in which they were made.

    With SEARCH those who have a user name, an address or another identifier that begins so.
    """
    query = asked_for(asked)

    async def work(auth: Auth) -> tuple[list[Listed], str | None]:
        return await listed(Directory(auth.database), query, after, limit)

    found, more = run(ctx, work)
    shown = [row(one) for one in found]
    show(COLUMNS, shown, as_json=as_json)
    if more:
        again = command(ctx, "users", "list", *given(ctx), "--after", more)
        click.echo(f"There are more: {again}", err=True)


def asked_for(asked: Mapping[str, Any]) -> Query:
    """Days begin at midnight, in UTC."""
    days = {n: v for n, v in asked.items() if isinstance(v, datetime)}
    times = {n: int(day.replace(tzinfo=UTC).timestamp()) for n, day in days.items()}
    query = Query(**{**asked, **times})
    if not query.search and (query.search == "" or query.kind or query.exact):
        raise click.UsageError("--kind and --exact go with SEARCH, which is not empty.")
    return query


def given(ctx: click.Context) -> Iterator[str]:
    """What was typed, but for where to begin, and how to show it."""
    for parameter in ctx.command.params:
        name = str(parameter.name)
        typed = ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if not typed or name in ("after", "as_json"):
            continue
        value = ctx.params[name]
        if isinstance(value, bool):
            yield (parameter.opts if value else parameter.secondary_opts)[0]
        else:
            option = [parameter.opts[0]] if isinstance(parameter, click.Option) else []
            yield from [*option, f"{value:%Y-%m-%d}" if isinstance(value, datetime) else str(value)]


async def listed(
    directory: Directory, query: Query, after: str | None, limit: int
) -> tuple[list[Listed], str | None]:
    """So many users, however many pages those are, and the cursor behind them."""
    found: list[Listed] = []
    while True:
        most = min(AT_ONCE, limit - len(found))
        page = await directory.page(query, after=after, limit=most)
        found += page.users
        after = page.next
        if after is None or len(found) == limit:
            return found, after


def row(one: Listed) -> dict[str, Any]:
    return {n: getattr(one if n == "username" else one.user, n) for n in COLUMNS}
