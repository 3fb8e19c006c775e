"""The commands `picoauth users …`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from picoauth.cli import run
from picoauth.errors import ConfigError
from picoauth.events import Caller

if TYPE_CHECKING:
    from picoauth.auth import Auth
    from picoauth.users import User

LIST = """
    select u.id, coalesce(i.display, ''), u.name, u.created_at, u.last_login_at, u.disabled_at
      from users u left join identifiers i on i.user_id = u.id and i.kind = 'username'
     where u.id > ? order by u.id limit ?
"""
COLUMNS = ("id", "username", "name", "created_at", "last_login_at", "disabled_at")

as_json = click.option("--json", "as_json", is_flag=True, help="For programs.")


@click.group()
def users() -> None:
    """Create, show and look after users."""


@users.command()
@click.argument("username")
@click.option("--name", help="Name to show.")
@click.pass_context
def create(ctx: click.Context, username: str, name: str | None) -> None:
    """Make a user, who can log in once a factor is set, as by `picoauth password set`."""

    async def work(auth: Auth) -> User:
        user, _ = await auth.users.register(auth.users.draft(username=username, name=name))
        return user

    click.echo(f"Made {username}, id {run(ctx, work).id}.")


@users.command("list")
@click.option("--after", default="", help="Begin after this id.")
@click.option("--limit", default=1000, show_default=True, type=click.IntRange(1))
@as_json
@click.pass_context
def list_(ctx: click.Context, after: str, limit: int, as_json: bool) -> None:  # noqa: FBT001
    """List users in the order in which they were made."""

    async def work(auth: Auth) -> Sequence[Mapping[str, Any]]:
        rows = await auth.database.read(LIST, (after, limit), slow=True)
        return [dict(zip(COLUMNS, row, strict=True)) for row in rows]

    found = run(ctx, work)
    for one in found if as_json else table(found):
        click.echo(json.dumps(one) if as_json else one)


@users.command()
@click.argument("user")
@as_json
@click.pass_context
def show(ctx: click.Context, user: str, as_json: bool) -> None:  # noqa: FBT001
    """Show a user, by user name, verified e-mail address or id."""

    async def work(auth: Auth) -> Mapping[str, Any]:
        found = await find(auth, user)
        sessions = await auth.sessions.list(found.id)
        return {
            **asdict(found),
            "identifiers": [asdict(i) for i in await auth.users.identifiers(found.id)],
            "factors": [e.factor for e in await auth.users.enrolments(found.id)],
            "sessions": len(sessions),
        }

    shown = run(ctx, work)
    if as_json:
        click.echo(json.dumps(shown))
        return
    for name, value in shown.items():
        click.echo(f"{name + ':':15}{printable(name, value)}")


@users.command()
@click.argument("user")
@click.pass_context
def disable(ctx: click.Context, user: str) -> None:
    """Keep a user out: every session ends at once."""

    async def work(auth: Auth) -> None:
        await auth.accounts.disable((await find(auth, user)).id, Caller())

    run(ctx, work)
    click.echo(f"{user} is disabled.")


@users.command()
@click.argument("user")
@click.pass_context
def enable(ctx: click.Context, user: str) -> None:
    """Let a disabled user in again."""

    async def work(auth: Auth) -> None:
        await auth.accounts.enable((await find(auth, user)).id, Caller())

    run(ctx, work)
    click.echo(f"{user} is enabled.")


@users.command()
@click.argument("user")
@click.confirmation_option(prompt="This deletes the user for good. Go on?")
@click.pass_context
def delete(ctx: click.Context, user: str) -> None:
    """Delete a user with everything known; nobody gets the user name again."""

    async def work(auth: Auth) -> None:
        await auth.accounts.delete((await find(auth, user)).id, Caller())

    run(ctx, work)
    click.echo(f"{user} is deleted.")


async def find(auth: Auth, text: str) -> User:
    kind = "email" if "@" in text else "username"
    user = await auth.users.find(kind, text) or await auth.users.get(text)
    if user is None:
        raise ConfigError(f"There is no user {text!r}: `picoauth users list` shows all.")
    return user


def table(found: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = [COLUMNS, *([printable(n, one[n]) for n in COLUMNS] for one in found)]
    widths = [max(len(row[n]) for row in rows) for n in range(len(COLUMNS))]
    return [
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def printable(name: str, value: Any) -> str:
    if value is None:
        return "-"
    if name.endswith("_at"):
        return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d %H:%M")
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
