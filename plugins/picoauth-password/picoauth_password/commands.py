"""The commands `picoauth password …`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from picoauth import USER, started, user_of

if TYPE_CHECKING:
    from picoauth_password.plugin import PasswordPlugin


def commands(plugin: PasswordPlugin) -> Sequence[click.Command]:
    @click.command("set")
    @click.argument("user", type=USER)
    @click.option("--password", help="Others may see it among the processes; better without.")
    def set_password(user: str, password: str | None) -> None:
        """Set a user's password; every session of the user ends.

        It is asked for at a terminal, and else the first line of the standard input.
        """
        with started(plugin.auth) as runner:
            runner.run(user_of(plugin.auth, user))  # before anybody types in vain
            new = typed() if password is None else password
            runner.run(plugin.set_password(user, new))
        click.echo(f"The password of {user} is set.")

    return [set_password]


def typed() -> str:
    """Twice at a terminal, where nobody sees it."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    return click.prompt("Password", hide_input=True, confirmation_prompt=True)
