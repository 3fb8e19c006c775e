"""The commands `picoauth keys …`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from picoauth.auth import Auth
from picoauth.keymaterial import Material, brought
from picoauth.keyring import Keyring
from picoauth.running import auth_of, run, started
from picoauth.tables import as_json, moment, show

COLUMNS = ("id", "algorithm", "state", "created_at", "signs_at", "retires_at")

at_once = click.option("--now", "at_once", is_flag=True, help="Let it sign at once.")


@click.group()
def keys() -> None:
    """Look after signing keys, and the keys of resource servers."""


@keys.command("list")
@as_json
@click.pass_context
def list_(ctx: click.Context, as_json: bool) -> None:  # noqa: FBT001 - click's way
    """Show the keys whose tokens are accepted."""

    async def work(auth: Auth) -> Sequence[Mapping[str, Any]]:
        signing = auth.keys.signing
        return [
            {
                **{name: getattr(key, name) for name in COLUMNS if name != "state"},
                "state": "signs" if key is signing else state(key.retires_at),
            }
            for key in auth.keys.active.values()
        ]

    found = run(ctx, work)
    show(COLUMNS, found, as_json=as_json)


def state(retires_at: int | None) -> str:
    return "waits" if retires_at is None else "verifies"


@keys.command()
@at_once
@click.pass_context
def rotate(ctx: click.Context, at_once: bool) -> None:  # noqa: FBT001
    """Make the next signing key.

    It is published now, and signs when everybody has had the time to learn it. The one
    before is accepted until its last token has ended.
    """
    add(ctx, lambda keyring: keyring.made(), at_once=at_once)


@keys.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@at_once
@click.pass_context
def import_(ctx: click.Context, file: Path, at_once: bool) -> None:  # noqa: FBT001
    """Bring the next signing key.

    FILE is a private key in PEM, or as a JWK.
    """
    add(ctx, lambda keyring: brought(file, keyring.auth.secrets.random), at_once=at_once)


def add(ctx: click.Context, found: Callable[[Keyring], Material], *, at_once: bool) -> None:
    async def work(auth: Auth) -> tuple[str, int]:
        keyring = Keyring(auth)
        new = found(keyring)
        return new.id, await keyring.add(new, at_once=at_once)

    key_id, signs_at = run(ctx, work)
    click.echo(f"The key {key_id} signs from {'now' if at_once else moment(signs_at)} on.")


@keys.command(context_settings={"ignore_unknown_options": True})  # an id may begin with a dash
@click.argument("key")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def retire(ctx: click.Context, key: str, yes: bool) -> None:  # noqa: FBT001
    """Refuse all that a key signed, at once.

    For one that somebody else got hold of; sessions go on, and their clients refresh.
    """
    auth = auth_of(ctx)
    with started(auth) as runner:
        keyring = Keyring(auth)
        runner.run(keyring.check(key))
        if not yes:
            click.confirm(f"Refuse every access token that {key} signed?", abort=True)
        runner.run(keyring.retire(key))
    click.echo(f"The key {key} is retired: servers refuse its tokens within a second.")


@keys.group()
def servers() -> None:
    """Keys of resource servers, which may ask `/oauth/introspect`."""


@servers.command("add")
@click.argument("name")
@click.pass_context
def add_server(ctx: click.Context, name: str) -> None:
    """Make a key.

    It is shown this once: only its hash is stored.
    """
    click.echo(run(ctx, lambda auth: auth.resource_servers.add(name)))


@servers.command("list")
@as_json
@click.pass_context
def list_servers(ctx: click.Context, as_json: bool) -> None:  # noqa: FBT001
    """Show which resource servers have a key."""
    found = [asdict(server) for server in run(ctx, lambda auth: auth.resource_servers.all())]
    show(("name", "created_at"), found, as_json=as_json)


@servers.command("remove")
@click.argument("name")
@click.pass_context
def remove_server(ctx: click.Context, name: str) -> None:
    """Refuse the key of a resource server from now on."""
    run(ctx, lambda auth: auth.resource_servers.remove(name))
    click.echo(f"The key of {name} is removed.")
