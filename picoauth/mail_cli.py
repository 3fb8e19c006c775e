"""The commands `picoauth mail …`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from picoauth.asking import asked
from picoauth.auth import Auth
from picoauth.discovery import told
from picoauth.errors import AuthError, ConfigError, Unavailable, Undeliverable
from picoauth.identifiers import mailbox
from picoauth.mail import Message
from picoauth.outbox import PATIENCE
from picoauth.running import run
from picoauth.tables import as_json, show

COLUMNS = ("id", "kind", "about", "state", "created_at", "tries", "next_at", "error")


@click.group()
def mail() -> None:
    """Look after what leaves by mail."""


@mail.command("list")
@as_json
@click.pass_context
def list_(ctx: click.Context, as_json: bool) -> None:  # noqa: FBT001 - click's way
    """Show what waits in the outbox, and what was sent or given up in the last days."""
    found = [shown(one) for one in run(ctx, lambda auth: auth.outbox.list())]
    show(COLUMNS, found, as_json=as_json)


def shown(one: Mapping[str, Any]) -> dict[str, Any]:
    state = "sent" if one["sent_at"] else "waits" if one["waits"] else "given up"
    next_at = one["next_at"] if state == "waits" else None
    return {name: {**one, "state": state, "next_at": next_at}[name] for name in COLUMNS}


@mail.command()
@click.pass_context
def retry(ctx: click.Context) -> None:
    """Send all that waits now: the server does it within a second."""
    count = run(ctx, lambda auth: auth.outbox.retry())
    click.echo(f"{count} message{'' if count == 1 else 's'} will be tried now.")


@mail.command()
@click.argument("address")
@click.pass_context
def test(ctx: click.Context, address: str) -> None:
    """Send a mail to ADDRESS, past the outbox, and say how that went."""

    async def work(auth: Auth) -> None:
        if auth.mailer is None:
            raise ConfigError("No listed plugin delivers mail: add one to `plugins`, such as smtp.")
        message = Message(
            id=auth.users.new_id(),
            to=mailbox(address),
            subject="A test of picoauth",
            text=f"This server can send mail: {auth.config.public_url}\n",
            expires_at=auth.now() + 3600,
        )
        async with auth.lifespans():
            await asked(auth.mailer.send, {"message": message}, PATIENCE)

    try:
        run(ctx, work)
    except (AuthError, ConfigError):
        raise
    except Exception as error:
        said = str(error) if isinstance(error, (Unavailable, Undeliverable)) else told(error)
        raise ConfigError(
            f"The mail was not sent ({said}): see to the settings of what delivers mail."
        ) from error
    click.echo("Sent: see whether it arrives.")
