"""The commands `picoauth permissions …`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from picoauth import USER, Caller, run_started, tables, user_of

if TYPE_CHECKING:
    from picoauth_permissions.plugin import PermissionsPlugin

ROWS = """
    select i.display, p.user_id, p.permission, null from permissions p
      left join identifiers i on i.user_id = p.user_id and i.kind = 'username'
     where ? is null or p.permission = ?
    union all
    select i.display, m.user_id, c.permission, m.role from permissions_members m
      join permissions_contents c on c.role = m.role
      left join identifiers i on i.user_id = m.user_id and i.kind = 'username'
     where ? is null or c.permission = ?
     order by 3, 1, 2, 4
"""
COLUMNS = ("username", "user_id", "permission", "role")


def commands(plugin: PermissionsPlugin) -> Sequence[click.Command]:
    return [listing(plugin), *changing(plugin), roles(plugin)]


def listing(plugin: PermissionsPlugin) -> click.Command:
    @click.command("list")
    @click.argument("user", type=USER, required=False)
    @click.option("--permission", help="Only who holds this one.")
    @tables.as_json
    def list_(user: str | None, permission: str | None, as_json: bool) -> None:  # noqa: FBT001
        """Who holds what, and by which role; of one user, by name, address or id."""

        async def work() -> Sequence[Mapping[str, Any]]:
            only = await user_of(plugin.auth, user) if user else None
            args = (permission,) * 4
            rows = await plugin.auth.database.read(ROWS, args, slow=True)
            found = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
            return [one for one in found if only is None or one["user_id"] == only.id]

        tables.show(COLUMNS, run_started(plugin.auth, work), as_json=as_json)

    return list_


def changing(plugin: PermissionsPlugin) -> Sequence[click.Command]:
    @click.command()
    @click.argument("user", type=USER)
    @click.argument("permissions", nargs=-1, required=True)
    def grant(user: str, permissions: Sequence[str]) -> None:
        """Give a user permissions; `picoauth:admin` makes an administrator."""

        async def work() -> None:
            found = await user_of(plugin.auth, user)
            for permission in permissions:
                await plugin.grant(found.id, permission, Caller.local())

        run_started(plugin.auth, work)
        click.echo(f"{user} has {', '.join(permissions)}.")

    @click.command()
    @click.argument("user", type=USER)
    @click.argument("permissions", nargs=-1, required=True)
    def revoke(user: str, permissions: Sequence[str]) -> None:
        """Take permissions from a user; what a role brings stays."""

        async def work() -> None:
            found = await user_of(plugin.auth, user)
            for permission in permissions:
                await plugin.revoke(found.id, permission, Caller.local())

        run_started(plugin.auth, work)
        click.echo(f"{user} has lost {', '.join(permissions)}.")

    return [grant, revoke]


def roles(plugin: PermissionsPlugin) -> click.Group:
    group = click.Group("roles", help="Lists of permissions under a name.")
    for command in (*defining(plugin), *assigning(plugin)):
        group.add_command(command)
    return group


def defining(plugin: PermissionsPlugin) -> Sequence[click.Command]:
    @click.command("list")
    @tables.as_json
    def list_(as_json: bool) -> None:  # noqa: FBT001
        """Every role, and what it brings."""
        found = run_started(plugin.auth, plugin.roles.all)
        shown = [{"role": role, "permissions": list(some)} for role, some in found.items()]
        tables.show(("role", "permissions"), shown, as_json=as_json)

    @click.command("set")
    @click.argument("role")
    @click.argument("permissions", nargs=-1)
    def put(role: str, permissions: Sequence[str]) -> None:
        """Make a role, or let it bring exactly these permissions."""

        async def work() -> Sequence[str]:
            return await plugin.roles.put(role, permissions, Caller.local())

        brings = run_started(plugin.auth, work)
        click.echo(f"{role} brings {', '.join(brings) or 'nothing'}.")

    @click.command()
    @click.argument("role")
    def remove(role: str) -> None:
        """Remove a role; who has it loses it."""

        async def work() -> None:
            await plugin.roles.remove(role, Caller.local())

        run_started(plugin.auth, work)
        click.echo(f"{role} is gone.")

    return [list_, put, remove]


def assigning(plugin: PermissionsPlugin) -> Sequence[click.Command]:
    @click.command()
    @click.argument("role")
    @click.argument("user", type=USER)
    def assign(role: str, user: str) -> None:
        """Give a user a role."""

        async def work() -> None:
            await plugin.holdings.assign(
                (await user_of(plugin.auth, user)).id, role, Caller.local()
            )

        run_started(plugin.auth, work)
        click.echo(f"{user} has the role {role}.")

    @click.command()
    @click.argument("role")
    @click.argument("user", type=USER)
    def unassign(role: str, user: str) -> None:
        """Take a role from a user."""

        async def work() -> None:
            await plugin.holdings.unassign(
                (await user_of(plugin.auth, user)).id, role, Caller.local()
            )

        run_started(plugin.auth, work)
        click.echo(f"{user} has lost the role {role}.")

    return [assign, unassign]
