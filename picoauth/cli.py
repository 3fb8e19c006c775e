"""`picoauth …`: setting up, serving, looking after users; and the commands of plugins."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import nullcontext, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from picoauth import banner
from picoauth.auth import Auth
from picoauth.config import FILE
from picoauth.discovery import REMEDY, find, imported, installed, told
from picoauth.errors import AuthError, ConfigError, Conflict, Unavailable
from picoauth.failures import Failure, Misuse, is_full, unwritten, worded
from picoauth.hooks import Plugin
from picoauth.plugins import each
from picoauth.running import VARIABLE, Unopened, auth_of, command, configuration, settings_path
from picoauth.shapes import suggest
from picoauth.tables import as_json

LATER = {
    **{
        name: f"picoauth.{name}_cli"
        for name in ("users", "sessions", "keys", "secret", "mail", "doctor")
    },
    **dict.fromkeys(("backup", "restore"), "picoauth.backup_cli"),
    "upgrade": "picoauth.upgrade_cli",
    "completion": "picoauth.completion",
    "stress": "picoauth.stress_cli",
    "new-plugin": "picoauth.scaffold",
}
"""Commands by the module they are in, loaded when asked for: serving needs none of them."""

OURS = (
    click.ClickException,
    click.Abort,
    click.exceptions.Exit,
    AuthError,
    ConfigError,
    Conflict,
    Unavailable,
    BrokenPipeError,
)
"""What commands may raise, since there are words for it."""


class Cli(click.Group):
    """The kernel's commands, and those of each listed plugin under the plugin's name."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if any("\udc80" <= character <= "\udcff" for arg in args for character in arg):
            raise click.UsageError("The arguments are not UTF-8.", ctx)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            raise Misuse(error.problems) from error
        except (AuthError, Conflict, Unavailable) as error:
            raise Failure([worded(error)]) from error

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in LATER:
            return later(cmd_name)
        return super().get_command(ctx, cmd_name) or self.plugin(ctx, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if ctx.resilient_parsing:  # a shell asks, at each key: what is broken completes nothing
            with suppress(ConfigError):
                return super().resolve_command(ctx, args)
            return None, None, args
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            near = suggest(name, self.list_commands(ctx)) or "."
            raise click.UsageError(f'There is no command "{name}"{near}', ctx)
        return super().resolve_command(ctx, args)

    def plugin(self, ctx: click.Context, name: str) -> click.Command | None:
        """The commands of a plugin, if it is listed. Raises ConfigError."""
        try:
            listed = configuration(ctx).plugins
        except ConfigError:
            if suggest(name, [*self.commands, *LATER]):
                return None  # which command was meant helps more
            raise
        if name in listed:
            return PluginCommands(name) if has_commands(name) else None
        for found in installed():
            if found.origin.name == name:
                raise ConfigError(
                    f"{found.origin} is not on: add it to `plugins` in {settings_path(ctx)}."
                )
        return None

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of a first run; those of plugins as far as they can be found."""
        try:
            listed = configuration(ctx).plugins
        except ConfigError:
            listed = ()
        found, _ = each(listed, has_commands)
        return [*self.commands, *LATER, *(name for name, some in found.items() if some)]


def later(name: str) -> click.Command:
    command: click.Command = getattr(import_module(LATER[name]), name.replace("-", "_"))
    return command


def has_commands(name: str) -> bool:
    """Whether a plugin brings commands. Its class is imported, but nothing is made."""
    return imported(find(name, installed())).commands is not Plugin.commands


class PluginCommands(click.Group):
    """The commands of one plugin, which is made when one of them is asked for, and no earlier."""

    def __init__(self, name: str) -> None:
        super().__init__(name, help=f"Commands of the plugin {name}.")
        self.plugin = name

    def load(self, ctx: click.Context) -> None:
        """Raises ConfigError, but where a shell asks for what it could complete."""
        with suppress(ConfigError) if ctx.resilient_parsing else nullcontext():
            offline = imported(find(self.plugin, installed())).offline
            auth = auth_of(ctx, Unopened if offline else Auth)
            for one in dict(auth.plugins.collect("commands"))[self.plugin]:
                self.add_command(one)

    def list_commands(self, ctx: click.Context) -> list[str]:
        self.load(ctx)
        return list(self.commands)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        self.load(ctx)
        return super().get_command(ctx, cmd_name)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except OURS:
            raise
        except Exception as error:
            if is_full(error):
                raise
            origin = auth_of(ctx).plugins.origins[self.plugin]
            raise ConfigError(f"{origin} fails ({told(error)}): {REMEDY}.") from error


@click.group(cls=Cli)
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path, readable=False),
    metavar="FILE",
    default=FILE,
    envvar=VARIABLE,
    show_default=True,
    show_envvar=True,
    is_eager=True,
    help="The settings file.",
)
@click.version_option(package_name="picoauth")
def cli(path: Path) -> None:
    """A small headless authentication server whose every feature is a plugin."""


@cli.command()
@click.pass_context
def init(ctx: click.Context) -> None:
    """Write a commented settings file.

    With the plugins that are installed, but for those that keep sessions or data elsewhere.
    """
    from picoauth.template import first  # noqa: PLC0415 - for this command alone

    path = settings_path(ctx)
    text, names, problems = first()
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise ConfigError(f"{path} exists already: edit it, or move it away.") from error
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written: {error.strerror}. Make its folder, or mend its mode."
        ) from error
    for problem in problems:
        click.echo(f"picoauth: left out: {problem}", err=True)
    if not names:
        click.echo(f"Wrote {path}, but no plugin is installed, and nobody can log in without one.")
        click.echo('Run `pip install picoauth-password`, and write "password" into `plugins`.')
        return
    click.echo(f"Wrote {path}, with the plugins {', '.join(names)}.")
    click.echo(f"Start the server: {command(ctx, 'serve')}")


@cli.command()
@click.pass_context
def serve(ctx: click.Context) -> None:
    """Serve, on every address of `bind`."""
    asyncio.run(banner.serve(configuration(ctx), click.echo))


@cli.command()
@as_json
@click.pass_context
def plugins(ctx: click.Context, as_json: bool) -> None:  # noqa: FBT001 - click's way
    """Show what is on, in order, and what is installed but not listed."""
    from picoauth.overview import overview, text  # noqa: PLC0415 - for this command alone

    for shown in overview(auth_of(ctx)):
        for line in [json.dumps(vars(shown))] if as_json else text(shown):
            click.echo(line)


@cli.command()
@click.pass_context
def migrate(ctx: click.Context) -> None:
    """Bring the database up to date. Serving does the same first."""
    from picoauth.upgrade_cli import migrated  # noqa: PLC0415 - for this command alone

    for line in migrated(auth_of(ctx)):
        click.echo(line)


def main(arguments: list[str] | None = None) -> None:
    """The console script: 0 is done, 1 refused, 2 something to mend, in one sentence each."""
    try:
        cli.main(arguments, prog_name="picoauth")
    except OSError as error:
        if not is_full(error):
            raise
        sys.exit(unwritten(error))
