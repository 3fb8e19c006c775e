"""The commands `picoauth password …`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from picoauth_password.plugin import PasswordPlugin


def commands(plugin: PasswordPlugin) -> Sequence[click.Command]:
    @click.command("set")
    @click.argument("username")
    @click.password_option(help="Asked for, if not given.")
    def set_password(username: str, password: str) -> None:
        """Set the password of a user; every session of the user ends."""

        async def work() -> None:
            async with plugin.auth.started():
                await plugin.set_password(username, password)

        asyncio.run(work())
        click.echo(f"The password of {username} is set.")

    return [set_password]
