"""The commands `picoauth users …`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import click

from picoauth.auth import Auth
from picoauth.callers import Caller
from picoauth.completion import USER
from picoauth.directory_cli import list_
from picoauth.errors import ConfigError, Unavailable
from picoauth.factors_cli import factors
from picoauth.identifiers import identifier
from picoauth.running import auth_of, command, run, started, user_of
from picoauth.sessions import logins
from picoauth.tables import as_json, printable
from picoauth.transfer_cli import export, import_
from picoauth.users import User


@click.group()
def users() -> None:
    """Create, show and look after users."""


for one in (import_, export, list_, factors):
    users.add_command(one)


@users.command()
@click.argument("username")
@click.option("--name", help="Name to show.")
@click.option("--email", help="E-mail address. It counts as verified.")
@as_json
@click.pass_context
def create(
    ctx: click.Context,
    username: str,
    name: str | None,
    email: str | None,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Make a user.

    Nobody can log in as this user before there is a factor, such as a password.
    """

    async def work(auth: Auth) -> tuple[str, bool]:
        draft = auth.users.draft(username=username, name=name)
        if email is not None:
            address = identifier("email", email, verified=True)
            draft = replace(draft, identifiers=[*draft.identifiers, address])
        user, _ = await auth.users.register(draft, caller=Caller.local())
        return user.id, "password" in auth.plugins.on

    made, hint = run(ctx, work)
    if as_json:
        click.echo(json.dumps({"id": made, "username": username}))
        return
    click.echo(f"Made {username}, id {made}.")
    if hint:
        click.echo(f"Give it a password: {command(ctx, 'password', 'set', username)}")


@users.command()
@click.argument("user", type=USER)
@as_json
@click.pass_context
def show(ctx: click.Context, user: str, as_json: bool) -> None:  # noqa: FBT001
    """Show a user, by user name, verified e-mail address or id."""

    async def work(auth: Auth) -> Mapping[str, Any]:
        found = await user_of(auth, user)
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


@users.command("set")
@click.argument("user", type=USER)
@click.option("--username", help="Another user name: nobody else gets the old one.")
@click.option("--name", help="Name to show.")
@click.option("--locale", help="Language tag (RFC 5646).")
@click.option("--email", help="Another e-mail address. It counts as verified; all sessions end.")
@click.pass_context
def set_(ctx: click.Context, /, user: str, email: str | None, **names: str | None) -> None:
    """Change what is known of a user."""
    changes = {member: value for member, value in names.items() if value is not None}
    if not changes and email is None:
        raise ConfigError("Say what to change: --username, --name, --locale or --email.")

    async def work(auth: Auth) -> None:
        found, caller = await user_of(auth, user), Caller.local()
        if email is not None:
            address = identifier("email", email, verified=True)
            await auth.identities.assign(found.id, "email", address, caller)
        await auth.accounts.change(found.id, changes, caller)

    run(ctx, work)
    click.echo(f"{user} is changed.")


@users.command()
@click.argument("user", type=USER)
@click.pass_context
def disable(ctx: click.Context, user: str) -> None:
    """Keep a user out: every session ends at once."""

    async def work(auth: Auth) -> None:
        await auth.accounts.disable((await user_of(auth, user)).id, Caller.local())

    run(ctx, work)
    click.echo(f"{user} is disabled, and logged out.")


@users.command()
@click.argument("user", type=USER)
@click.pass_context
def enable(ctx: click.Context, user: str) -> None:
    """Let a disabled user in again."""

    async def work(auth: Auth) -> None:
        await auth.accounts.enable((await user_of(auth, user)).id, Caller.local())

    run(ctx, work)
    click.echo(f"{user} is enabled.")


@users.command()
@click.argument("user", type=USER)
@click.pass_context
def restore(ctx: click.Context, user: str) -> None:
    """Take back that a user closed the account, which would be deleted later."""

    async def work(auth: Auth) -> None:
        await auth.accounts.reopen((await user_of(auth, user)).id, Caller.local())

    run(ctx, work)
    click.echo(f"{user} is restored.")


@users.command()
@click.argument("user", type=USER)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def delete(ctx: click.Context, user: str, yes: bool) -> None:  # noqa: FBT001
    """Delete a user with everything known.

    Nobody gets the user name again.
    """
    auth = auth_of(ctx)
    with started(auth) as runner:
        found = runner.run(user_of(auth, user))
        if not yes:
            click.confirm(f"Delete {user} for good, with everything known?", abort=True)
        runner.run(auth.accounts.delete(found.id, Caller.local()))
    click.echo(f"{user} is deleted.")


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
