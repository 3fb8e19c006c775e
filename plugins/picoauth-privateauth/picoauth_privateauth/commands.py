"""The commands `picoauth privateauth …`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from picoauth import USER, Caller, run_started, tables, user_of
from picoauth_privateauth.granted import COLUMNS as GRANTS

if TYPE_CHECKING:
    from picoauth_privateauth.plugin import PrivateAuthPlugin

CLIENTS = ("client_id", "name", "pkce", "required_permission", "redirect_uris")


def commands(plugin: PrivateAuthPlugin) -> Sequence[click.Command]:
    return [clients(plugin), grants(plugin), profiles(plugin)]


def clients(plugin: PrivateAuthPlugin) -> click.Command:
    @click.command("clients")
    @tables.as_json
    def command(as_json: bool) -> None:  # noqa: FBT001
        """List the clients that are registered in the settings."""
        rows = [
            {
                "client_id": client_id,
                "name": client.name,
                "pkce": client.pkce,
                "required_permission": client.required_permission,
                "redirect_uris": list(client.redirect_uris),
            }
            for client_id, client in plugin.clients.registered.items()
        ]
        tables.show(CLIENTS, rows, as_json=as_json)

    return command


def grants(plugin: PrivateAuthPlugin) -> click.Command:
    @click.command("grants")
    @click.argument("user", type=USER)
    @click.option("--end", metavar="ID", help="End this one.")
    @tables.as_json
    def command(user: str, end: str | None, as_json: bool) -> None:  # noqa: FBT001
        """List the clients that a user let in, or end what one of them may do."""

        async def work() -> Sequence[Mapping[str, Any]]:
            found = await user_of(plugin.auth, user)
            if end is not None:
                await plugin.granted.ended(found.id, end, Caller.local())
            return await plugin.granted.of(found.id)

        tables.show(GRANTS, run_started(plugin.auth, work), as_json=as_json)

    return command


def profiles(plugin: PrivateAuthPlugin) -> click.Command:
    @click.command("profiles")
    @click.argument("user", type=USER)
    @click.option("--add", metavar="URL", help="Give the user this one; nobody looks at the page.")
    @click.option("--remove", metavar="URL", help="Take this one from the user.")
    @tables.as_json
    def command(user: str, add: str | None, remove: str | None, as_json: bool) -> None:  # noqa: FBT001
        """List the profile URLs of a user, add one or remove one."""

        async def work() -> Sequence[Mapping[str, Any]]:
            found = await user_of(plugin.auth, user)
            await plugin.give(found, add, remove, Caller.local())
            person = await plugin.profiles.require(found.id)
            return [{"url": url} for url in person.profiles]

        tables.show(["url"], run_started(plugin.auth, work), as_json=as_json)

    return command
