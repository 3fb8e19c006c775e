"""The commands `picoauth users factors …`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from picoauth import shown
from picoauth.auth import Auth
from picoauth.callers import Caller
from picoauth.completion import USER
from picoauth.drafts import Enrolment
from picoauth.errors import ConfigError
from picoauth.running import auth_of, run, started, user_of
from picoauth.tables import as_json, show
from picoauth.users import User

COLUMNS = ("id", "factor", "label", "confirmed_at", "last_used_at")


@click.group()
def factors() -> None:
    """Show what users log in with, and remove what they lost."""


@factors.command("list")
@click.argument("user", type=USER)
@as_json
@click.pass_context
def list_(ctx: click.Context, user: str, as_json: bool) -> None:  # noqa: FBT001
    """Show the factors that a user has enrolled."""

    async def work(auth: Auth) -> Sequence[Mapping[str, Any]]:
        found = await auth.users.enrolments((await user_of(auth, user)).id)
        return [shown.factor(one) for one in found]

    found = run(ctx, work)
    show(COLUMNS, found, as_json=as_json)


@factors.command(context_settings={"ignore_unknown_options": True})
@click.argument("user", type=USER)
@click.argument("factor")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def remove(ctx: click.Context, user: str, factor: str, yes: bool) -> None:  # noqa: FBT001
    """Take a factor from a user who lost it; every session of the user ends.

    FACTOR is its name, such as totp, or the id of one of several. Be sure first who asks for it:
    without a second factor, a password is enough.
    """
    auth = auth_of(ctx)
    with started(auth) as runner:
        owner = runner.run(user_of(auth, user))
        gone = runner.run(one_of(auth, owner, user, factor))
        if not yes:
            click.confirm(f"Remove {factor} of {user}?", abort=True)
        runner.run(auth.credentials.withdraw_factor(owner.id, gone.id, Caller.local()))
    click.echo(f"{user} has no longer {gone.factor} {gone.label or gone.id}, and is logged out.")


async def one_of(auth: Auth, owner: User, user: str, factor: str) -> Enrolment:
    """The one that is meant. Raises ConfigError where there is none, or several."""
    enrolments = await auth.users.enrolments(owner.id)
    found = [one for one in enrolments if factor in (one.id, one.factor)]
    if len(found) != 1:
        raise ConfigError(
            f"{user} has {len(found)} factors {factor!r}: `picoauth users factors list {user}` "
            "shows the ids."
        )
    return found[0]
