"""The commands `picoauth sessions …`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from picoauth.auth import Auth
from picoauth.callers import Caller
from picoauth.completion import USER
from picoauth.errors import AuthError, ConfigError
from picoauth.running import command, run, user_of
from picoauth.shown import sessions as sessions_shown
from picoauth.tables import as_json, show

COLUMNS = ("id", "created_at", "used_at", "expires_at", "delivery", "device", "address")


@click.group()
def sessions() -> None:
    """Show and end what users are logged in by."""


@sessions.command("list")
@click.argument("user", type=USER)
@as_json
@click.pass_context
def list_(ctx: click.Context, user: str, as_json: bool) -> None:  # noqa: FBT001
    """Show a user's sessions, the newest first."""

    async def work(auth: Auth) -> Sequence[Mapping[str, Any]]:
        found = await auth.sessions.list((await user_of(auth, user)).id)
        shown = sessions_shown(found)
        return [{name: v for name, v in one.items() if name != "current"} for one in shown]

    found = run(ctx, work)
    show(COLUMNS, found, as_json=as_json)


@sessions.command()
@click.argument("user", type=USER)
@click.argument("session", required=False)
@click.option("--all", "every", is_flag=True, help="All sessions of the user.")
@click.pass_context
def end(ctx: click.Context, user: str, session: str | None, every: bool) -> None:  # noqa: FBT001
    """End one of a user's sessions, by its id, or all of them."""
    if every == (session is not None):
        raise ConfigError("Name a session, or all of them by --all.")

    async def work(auth: Auth) -> None:
        user_id = (await user_of(auth, user)).id
        if session is None:
            await auth.accounts.logout_from_all(user_id, Caller.local())
            return
        try:
            await auth.accounts.logout(user_id, session, Caller.local())
        except AuthError as error:
            listing = command(ctx, "sessions", "list", user)
            raise ConfigError(f"{user} has no session {session}: `{listing}` shows all.") from error

    run(ctx, work)
    click.echo(f"{user} is logged out{' of that session' if session else ''}.")
