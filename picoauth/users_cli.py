"""The commands `picoauth users …`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import click

from picoauth.auth import Auth
from picoauth.errors import ConfigError, Unavailable
from picoauth.events import Caller
from picoauth.running import command, run
from picoauth.sessions import logins
from picoauth.tables import as_json, printable, table
from picoauth.users import User

LIST = """
    select u.id, i.display, u.name, u.created_at, u.last_login_at, u.disabled_at
      from users u left join identifiers i on i.user_id = u.id and i.kind = 'username'
     where u.id > ? order by u.id limit ?
"""
COLUMNS = ("id", "username", "name", "created_at", "last_login_at", "disabled_at")


@click.group()
def users() -> None:
    """Create, show and look after users."""


@users.command()
@click.argument("username")
@click.option("--name", help="Name to show.")
@as_json
@click.pass_context
def create(ctx: click.Context, username: str, name: str | None, as_json: bool) -> None:  # noqa: FBT001
    """Make a user.

    Who cannot log in before there is a factor, such as a password.
    """

    async def work(auth: Auth) -> tuple[str, bool]:
        user, _ = await auth.users.register(auth.users.draft(username=username, name=name))
        return user.id, "password" in auth.plugins.on

    made, hint = run(ctx, work)
    if as_json:
        click.echo(json.dumps({"id": made, "username": username}))
        return
    click.echo(f"Made {username}, id {made}.")
    if hint:
        click.echo(f"Give it a password: {command(ctx, 'password', 'set', username)}")


@users.command("list")
@click.option("--after", default="", help="Begin after this id.")
@click.option("--limit", default=1000, show_default=True, type=click.IntRange(1, 1_000_000))
@as_json
@click.pass_context
def list_(ctx: click.Context, after: str, limit: int, as_json: bool) -> None:  # noqa: FBT001
    """List users in the order in which they were made."""

    async def work(auth: Auth) -> Sequence[Mapping[str, Any]]:
        rows = await auth.database.read(LIST, (after, limit + 1), slow=True)
        return [dict(zip(COLUMNS, row, strict=True)) for row in rows]

    found = run(ctx, work)
    shown = found[:limit]
    for line in map(json.dumps, shown) if as_json else table(COLUMNS, shown):
        click.echo(line)
    if len(found) > limit:
        more = command(ctx, "users", "list", "--after", shown[-1]["id"])
        click.echo(f"There are more: {more}", err=True)


@users.command()
@click.argument("user")
@as_json
@click.pass_context
def show(ctx: click.Context, user: str, as_json: bool) -> None:  # noqa: FBT001
    """Show a user, by user name, verified e-mail address or id."""

    async def work(auth: Auth) -> Mapping[str, Any]:
        found = await find(auth, user)
        return {
            **asdict(found),
            "identifiers": [asdict(i) for i in await auth.users.identifiers(found.id)],
            "factors": [asdict(e) for e in await auth.users.enrolments(found.id)],
            "sessions": await sessions_of(auth, found),
        }

    shown = run(ctx, work)
    if as_json:
        click.echo(json.dumps(shown))
        return
    for name, value in shown.items():
        shown_as = ", ".join(map(item, value)) if isinstance(value, list) else value
        click.echo(f"{name + ':':15}{printable(name, shown_as)}")


@users.command()
@click.argument("user")
@click.pass_context
def disable(ctx: click.Context, user: str) -> None:
    """Keep a user out: every session ends at once."""

    async def work(auth: Auth) -> None:
        await auth.accounts.disable((await find(auth, user)).id, Caller())

    run(ctx, work)
    click.echo(f"{user} is disabled, and logged out.")


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
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def delete(ctx: click.Context, user: str, yes: bool) -> None:  # noqa: FBT001
    """Delete a user with everything known.

    Nobody gets the user name again.
    """
    if not yes:
        click.confirm(f"Delete {user} for good, with everything known?", abort=True)

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


async def sessions_of(auth: Auth, user: User) -> int | None:
    """How many logins a user has; None where only the server can tell."""
    try:
        return len(logins(await auth.sessions.list(user.id)))
    except Unavailable:
        return None


def item(one: Mapping[str, Any]) -> str:
    """An identifier, or an enrolled factor."""
    if "kind" in one:
        return f"{one['kind']} {one['display']}{'' if one['verified'] else ' (unverified)'}"
    return f"{one['factor']}{'' if one['confirmed_at'] else ' (unconfirmed)'}"
