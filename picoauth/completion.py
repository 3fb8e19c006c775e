"""`picoauth completion`: scripts by which a shell completes commands, options and user names."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import click
from click.shell_completion import CompletionItem, ShellComplete, get_completion_class

from picoauth.errors import ConfigError
from picoauth.running import configuration

MOST = 100
NAMES = """
    select display from identifiers
     where kind = 'username' and value >= ? and value < ? and verified_at is not null
     order by value limit ?
"""


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script for a shell, which completes from then on.

    For bash: picoauth completion bash >> ~/.bashrc

    For zsh: picoauth completion zsh >> ~/.zshrc

    For fish, in config.fish: picoauth completion fish | source
    """
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 - the choice has only those that there are
    made = kind(ctx.find_root().command, {}, "picoauth", "_PICOAUTH_COMPLETE")
    click.echo(ShellComplete.source(made))  # not what asks an installed bash for its version


def names(ctx: click.Context, incomplete: str) -> list[CompletionItem]:
    """User names that begin so, read from the file itself: nothing is made for a key that is hit."""
    try:
        config = configuration(ctx)
        address = f"{(config.base / config.database).absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(address, uri=True)) as connection:
            low = incomplete.lower()
            found = connection.execute(NAMES, (low, f"{low}\U0010ffff", MOST)).fetchall()
    except (ConfigError, sqlite3.Error, ValueError):
        return []
    return [CompletionItem(name) for (name,) in found]


class UserText(click.types.StringParamType):
    """What `user_of` finds a user by; a shell completes it, if that is a user name."""

    def shell_complete(
        self,
        ctx: click.Context,
        param: click.Parameter,  # noqa: ARG002 - click's way
        incomplete: str,
    ) -> list[CompletionItem]:
        return names(ctx, incomplete)


USER = UserText()
"""The type of arguments and options that name a user."""
