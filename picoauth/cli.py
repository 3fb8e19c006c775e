"""`picoauth …`: serving, setting up, and looking after users."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from picoauth.errors import AuthError, ConfigError, Conflict, Unavailable

if TYPE_CHECKING:
    from picoauth.auth import Auth
    from picoauth.settings import Config

T = TypeVar("T")

MISUSE = 2
"""Exit code for what the operator has to mend."""


class Cli(click.Group):
    """The kernel's commands, and those of each listed plugin under the plugin's name."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return super().get_command(ctx, cmd_name) or self.plugin(ctx, cmd_name)

    def plugin(self, ctx: click.Context, name: str) -> click.Command | None:
        config = configuration(ctx)
        if name not in config.plugins:
            return None
        commands = dict(auth_of(ctx, config).plugins.collect("commands")).get(name, ())
        return click.Group(name, {command.name or "": command for command in commands})

    def list_commands(self, ctx: click.Context) -> list[str]:
        try:
            auth = auth_of(ctx, configuration(ctx))
        except ConfigError:
            return super().list_commands(ctx)
        plugins = [name for name, commands in auth.plugins.collect("commands") if commands]
        return [*super().list_commands(ctx), *plugins]


@click.group(cls=Cli)
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("picoauth.toml"),
    envvar="PICOAUTH_CONFIG",
    show_default=True,
    show_envvar=True,
    help="The settings file.",
)
@click.version_option(package_name="picoauth")
def cli(path: Path) -> None:
    """A small headless authentication server whose every feature is a plugin."""


def configuration(ctx: click.Context) -> Config:
    from picoauth.config import load  # noqa: PLC0415 - `--help` needs none of it

    return load(settings_path(ctx))


def settings_path(ctx: click.Context) -> Path:
    """`--help` comes before the options are read: then it is the default."""
    path: Path = ctx.find_root().params.get("path", Path("picoauth.toml"))
    return path


def auth_of(ctx: click.Context, config: Config) -> Auth:
    """One `Auth` per run, since it holds the database open."""
    from picoauth.auth import Auth  # noqa: PLC0415

    root = ctx.find_root()
    if root.obj is None:
        root.obj = Auth(config)
    found: Auth = root.obj
    return found


def run(ctx: click.Context, work: Callable[[Auth], Awaitable[T]]) -> T:
    """Do something with a started `Auth`, and close it."""
    auth = auth_of(ctx, configuration(ctx))

    async def whole() -> T:
        async with auth.started():
            return await work(auth)

    return asyncio.run(whole())


@cli.command()
@click.pass_context
def serve(ctx: click.Context) -> None:
    """Serve, on every address of `bind`."""
    from picoauth.banner import serve as start  # noqa: PLC0415

    asyncio.run(start(configuration(ctx), click.echo))


@cli.command()
@click.pass_context
def init(ctx: click.Context) -> None:
    """Write a commented settings file."""
    from picoauth.discovery import installed  # noqa: PLC0415
    from picoauth.template import template  # noqa: PLC0415

    path = settings_path(ctx)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(template(installed()))
    except FileExistsError as error:
        raise ConfigError(f"{path} exists already: edit it, or move it away.") from error
    click.echo(f"Wrote {path}. Start the server with `picoauth serve`.")


@cli.command()
@click.pass_context
def plugins(ctx: click.Context) -> None:
    """Show what is on, in order, and what is installed but not listed."""
    from picoauth.overview import overview  # noqa: PLC0415

    config = configuration(ctx)
    for line in overview(auth_of(ctx, config)):
        click.echo(line)


@cli.command()
@click.pass_context
def migrate(ctx: click.Context) -> None:
    """Bring the database up to date. Serving does the same first."""

    async def work(auth: Auth) -> dict[str, int]:
        return {owner: len(applied) for owner, applied in (await auth.migrate()).items()}

    auth = auth_of(ctx, configuration(ctx))
    applied = asyncio.run(closing(auth, work))
    for owner, count in applied.items():
        click.echo(f"{owner}: {f'{count} migrations applied' if count else 'up to date'}")


async def closing(auth: Auth, work: Callable[[Auth], Awaitable[T]]) -> T:
    try:
        return await work(auth)
    finally:
        await auth.database.close()


def main(arguments: list[str] | None = None) -> None:
    """The console script: what an operator has to mend is one sentence, and exit code 2."""
    from picoauth.users_cli import users  # noqa: PLC0415 - it needs `run`

    cli.add_command(users)
    try:
        cli.main(arguments, prog_name="picoauth", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit(1)
    except ConfigError as error:
        for problem in error.problems:
            click.echo(f"picoauth: {problem}", err=True)
        sys.exit(MISUSE)
    except (AuthError, Conflict, Unavailable) as error:
        click.echo(f"picoauth: {sentence(error)}", err=True)
        sys.exit(1)


def sentence(error: Any) -> str:
    if isinstance(error, AuthError):
        return " ".join(filter(None, (error.problem.title, error.detail)))
    return f"{error}: try again."
