"""The commands `picoauth webhook …`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from picoauth import ConfigError, Unavailable, Undeliverable, run_started, tables

if TYPE_CHECKING:
    from picoauth_webhook.plugin import WebhookPlugin

COLUMNS = ("id", "endpoint", "type", "state", "created_at", "tries", "error")
endpoint_option = click.option("--endpoint", metavar="NAME", help="Those of one endpoint.")
given_up_option = click.option("--given-up", is_flag=True, help="Those that were given up.")


def commands(plugin: WebhookPlugin) -> Sequence[click.Command]:
    @click.command("list")
    @endpoint_option
    @given_up_option
    @tables.as_json
    def list_(endpoint: str | None, given_up: bool, as_json: bool) -> None:  # noqa: FBT001 - click's way
        """Show the messages that are kept, and how they went; nothing of what they say."""
        found = run_started(plugin.auth, lambda: chosen(plugin, endpoint, given_up=given_up))
        tables.show(COLUMNS, found, as_json=as_json)

    @click.command()
    @click.argument("name", metavar="ENDPOINT")
    def test(name: str) -> None:
        """Post a message of the type Test to ENDPOINT, and say how that went."""
        checked(plugin, name)
        click.echo(run_started(plugin.auth, lambda: tested(plugin, name)))

    @click.command()
    @click.argument("ids", nargs=-1)
    @endpoint_option
    @given_up_option
    def replay(ids: tuple[str, ...], endpoint: str | None, given_up: bool) -> None:  # noqa: FBT001 - click's way
        """Queue messages once more: those of IDS, or all that were given up.

        Each keeps its id, by which a receiver knows what it has already.
        """
        if bool(ids) == given_up:
            raise click.UsageError("Name messages, or say --given-up.")
        if not run_started(plugin.auth, lambda: replayed(plugin, ids, endpoint)):
            raise click.exceptions.Exit(1)

    return [list_, test, replay]


def checked(plugin: WebhookPlugin, endpoint: str | None) -> None:
    """Raises ConfigError for an endpoint that is none."""
    if endpoint is not None and endpoint not in plugin.endpoints:
        raise ConfigError(
            f'There is no endpoint "{endpoint}" in the settings: '
            f"there is {', '.join(plugin.endpoints)}."
        )


async def tested(plugin: WebhookPlugin, name: str) -> str:
    """Raises ConfigError."""
    try:
        await plugin.test(name)
    except (Unavailable, Undeliverable) as error:
        raise ConfigError(
            f"The message did not arrive, since {error}: see to the endpoint {name}."
        ) from error
    return f"{name} took it."


async def chosen(
    plugin: WebhookPlugin, endpoint: str | None, *, given_up: bool
) -> list[Mapping[str, Any]]:
    checked(plugin, endpoint)
    return [
        one
        for one in await plugin.kept.list()
        if endpoint in (None, one["endpoint"]) and (one["state"] == "given up" or not given_up)
    ]


async def replayed(plugin: WebhookPlugin, ids: Sequence[str], endpoint: str | None) -> bool:
    """Whether all were queued; says of each how that went."""
    found = ids or [str(one["id"]) for one in await chosen(plugin, endpoint, given_up=True)]
    fine = True
    for notice_id in found:
        why = await plugin.replay(notice_id)
        fine = fine and why is None
        click.echo(f"{notice_id}: {why or 'queued'}", err=why is not None)
    if not found:
        click.echo("No message was given up.")
    return fine
