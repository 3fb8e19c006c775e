"""The commands `picoauth admin …`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeVar

import click

from picoauth import USER, Caller, ConfigError, run_started, tables, user_of
from picoauth_admin.custody import reset, resets_of
from picoauth_admin.guard import ADMIN, Permissions, permissions_of
from picoauth_admin.keys import Scope

if TYPE_CHECKING:
    from picoauth_admin.plugin import AdminPlugin

T = TypeVar("T")

KEYS = ("name", "scope", "created_at", "expires_at")
ADMINISTRATORS = ("id", "username", "name", "disabled_at")
MOST_DAYS = 3650


class Work:
    """What the commands do, each with a started kernel."""

    def __init__(self, plugin: AdminPlugin) -> None:
        self.plugin = plugin
        self.auth = plugin.auth

    def run(self, work: Callable[[], Awaitable[T]]) -> T:
        return run_started(self.auth, work)

    @property
    def permissions(self) -> Permissions:
        """Raises ConfigError where nothing knows of permissions."""
        found = permissions_of(self.auth)
        if found is None:
            raise ConfigError(
                "Administrators are users with a permission, and no listed plugin knows of any: "
                'add "permissions" to `plugins`, or make a key: `picoauth admin keys create NAME`.'
            )
        return found

    async def administrators(self) -> Sequence[Mapping[str, Any]]:
        found = [await self.auth.users.get(one) for one in await self.permissions.holders(ADMIN)]
        return [
            {
                "id": user.id,
                "username": await self.auth.users.username(user.id),
                "name": user.name,
                "disabled_at": user.disabled_at,
            }
            for user in found
            if user is not None
        ]

    async def add(self, text: str) -> bool:
        """Answers whether the user has a second factor, without which nothing is allowed."""
        permissions, user = self.permissions, await user_of(self.auth, text)
        await permissions.grant(user.id, ADMIN, Caller.local())
        return self.auth.logins.rule.demands(await self.auth.users.enrolments(user.id))

    async def remove(self, text: str) -> None:
        permissions, user = self.permissions, await user_of(self.auth, text)
        await permissions.revoke(user.id, ADMIN, Caller.local())

    async def invite(self, text: str, *, link: bool) -> tuple[str, int]:
        """What to print, and until when it is good."""
        user, caller = await user_of(self.auth, text), Caller.local()
        made = await (self.plugin.invitations.show if link else self.plugin.invitations.mail)(
            user, caller
        )
        told = made.address.display if made.address else made.link
        return told, made.expires_at

    async def reset(self, text: str) -> str:
        resets = resets_of(self.auth)
        if resets is None:
            raise ConfigError('No listed plugin resets passwords: add "reset" to `plugins`.')
        sent = await reset(self.auth, resets, (await user_of(self.auth, text)).id, Caller.local())
        return sent.display


def commands(plugin: AdminPlugin) -> Sequence[click.Command]:
    work = Work(plugin)
    return [*administrators(work), keys(work), invite(work), resetting(work)]


def administrators(work: Work) -> Sequence[click.Command]:
    @click.command("list")
    @tables.as_json
    def list_(as_json: bool) -> None:  # noqa: FBT001 - click's way
        """Show who is an administrator."""
        tables.show(ADMINISTRATORS, work.run(work.administrators), as_json=as_json)

    @click.command()
    @click.argument("user", type=USER)
    def add(user: str) -> None:
        """Make a user an administrator."""
        second = work.run(lambda: work.add(user))
        click.echo(f"{user} is an administrator.")
        if not second:
            click.echo(f"{user} needs a second factor before that is of any use.", err=True)

    @click.command()
    @click.argument("user", type=USER)
    def remove(user: str) -> None:
        """Make an administrator a user like any other. The last one stays."""
        work.run(lambda: work.remove(user))
        click.echo(f"{user} is no administrator any more.")

    return [list_, add, remove]


def keys(work: Work) -> click.Group:
    @click.group("keys")
    def group() -> None:
        """Keys for programs that administrate."""

    @group.command()
    @click.argument("name")
    @click.option(
        "--scope",
        type=click.Choice(["read", "full"]),
        default="read",
        show_default=True,
        help="What it may do.",
    )
    @click.option(
        "--days",
        type=click.IntRange(1, MOST_DAYS),
        default=90,
        show_default=True,
        help="How long it is good.",
    )
    def create(name: str, scope: Scope, days: int) -> None:
        """Make a key.

        It is shown this once: only its hash is stored.
        """
        click.echo(work.run(lambda: work.plugin.keys.create(name, scope, days, Caller.local())))

    @group.command("list")
    @tables.as_json
    def list_(as_json: bool) -> None:  # noqa: FBT001
        """Show which keys there are, also those that expired."""
        found = work.run(work.plugin.keys.all)
        tables.show(KEYS, [asdict(one) for one in found], as_json=as_json)

    @group.command()
    @click.argument("name")
    def revoke(name: str) -> None:
        """Refuse a key from now on."""
        work.run(lambda: work.plugin.keys.revoke(name, Caller.local()))
        click.echo(f"The key {name} is revoked.")

    return group


def invite(work: Work) -> click.Command:
    @click.command()
    @click.argument("user", type=USER)
    @click.option("--link", is_flag=True, help="Print the link instead of mailing it.")
    def invite(user: str, link: bool) -> None:  # noqa: FBT001
        """Let a user in once, to set a password or enrol a passkey.

        The link goes to the user's address, which it verifies. Whoever gets the link gets the
        account, but for its second factor.
        """
        told, end = work.run(lambda: work.invite(user, link=link))
        if link:
            click.echo(told)
        else:
            click.echo(f"An invitation is on its way to {told}, good until {tables.moment(end)}.")

    return invite


def resetting(work: Work) -> click.Command:
    @click.command("reset")
    @click.argument("user", type=USER)
    def reset(user: str) -> None:
        """Send a user a link for a new password."""
        address = work.run(lambda: work.reset(user))
        click.echo(f"A link for a new password is on its way to {address}.")

    return reset
