"""The routes by which administrators see and change permissions and roles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from picoauth import Reply, Request, Route, described, problems
from picoauth_permissions.names import (
    INVALID_PERMISSION,
    INVALID_ROLE,
    LAST_ADMINISTRATOR,
    TOO_MANY_PERMISSIONS,
    UNKNOWN_ROLE,
)

if TYPE_CHECKING:
    from picoauth_permissions.plugin import PermissionsPlugin

SAMPLE = ["media:watch", "wiki:edit"]
USER, ROLE = "/admin/users/{id}", "/admin/roles/{role}"


@dataclass(frozen=True)
class Wanted:
    """What a user shall hold; what is not named is taken away."""

    permissions: tuple[str, ...] = described(
        "Permissions of the own.", most=500, example=["media:watch"]
    )
    roles: tuple[str, ...] = described("Names of roles.", default=(), most=500, example=[])


@dataclass(frozen=True)
class Contents:
    """What a role shall bring; what is not named is taken away."""

    permissions: tuple[str, ...] = described("Permissions.", most=500, example=SAMPLE)


@dataclass(frozen=True)
class Held:
    """What a user holds."""

    permissions: tuple[str, ...] = described("Permissions of the own.", example=["media:watch"])
    roles: tuple[str, ...] = described("Names of roles.", example=["editors"])
    held: tuple[str, ...] = described("All of it, also by roles.", example=SAMPLE)


@dataclass(frozen=True)
class Role:
    """A list of permissions."""

    role: str = described("Its name.", example="editors")
    permissions: tuple[str, ...] = described("What it brings.", example=SAMPLE)


@dataclass(frozen=True)
class AllRoles:
    """Every role that there is."""

    roles: tuple[Role, ...] = described("By name.")


class Administration:
    """The routes below `/admin`."""

    def __init__(self, plugin: PermissionsPlugin) -> None:
        self.plugin = plugin
        self.holdings = plugin.holdings
        self.roles = plugin.roles

    def routes(self) -> Sequence[Route]:
        def route(method: str, path: str, handler: Any, *refusals: Any, **more: Any) -> Route:
            return Route(
                method=method,
                path=path,
                handler=handler,
                policy="admin",
                listener="admin",
                problems=refusals,
                **more,
            )

        one, gone, last = (
            f"{USER}/permissions/{{permission}}",
            problems.NOT_FOUND,
            LAST_ADMINISTRATOR,
        )
        belonging, many = f"{USER}/roles/{{role}}", TOO_MANY_PERMISSIONS
        odd, named, none = INVALID_PERMISSION, INVALID_ROLE, UNKNOWN_ROLE
        every = (gone, odd, named, none, last, many, problems.CONFLICT)
        held: dict[str, Any] = {"answer": Held}
        done: dict[str, Any] = {"status": 204}
        return [
            route("GET", f"{USER}/permissions", self.show, gone, **held),
            route("PUT", f"{USER}/permissions", self.replace, *every, body=Wanted, **held),
            route("PUT", one, self.grant, gone, odd, many, **done),
            route("DELETE", one, self.revoke, gone, odd, last, **done),
            route("PUT", belonging, self.assign, gone, named, none, many, **done),
            route("DELETE", belonging, self.unassign, gone, named, last, **done),
            route("GET", "/admin/roles", self.list, answer=AllRoles),
            route("GET", ROLE, self.show_role, none, answer=Role),
            route(
                "PUT",
                ROLE,
                self.put,
                odd,
                named,
                last,
                many,
                problems.CONFLICT,
                body=Contents,
                answer=Role,
            ),
            route("DELETE", ROLE, self.remove, named, none, last, **done),
        ]

    async def show(self, request: Request) -> Reply:
        """What a user holds, and by what."""
        await self.plugin.auth.users.require(request.path["id"])
        return Reply(asdict(await self.holdings.of(request.path["id"])))

    async def replace(self, request: Request) -> Reply:
        """Let a user have exactly these permissions and roles."""
        user_id, body = request.path["id"], request.body
        await self.holdings.replace(user_id, body.permissions, body.roles, request.caller)
        return Reply(asdict(await self.holdings.of(user_id)))

    async def grant(self, request: Request) -> Reply:
        """Give a user a permission."""
        path = request.path
        await self.holdings.grant(path["id"], path["permission"], request.caller)
        return Reply(status=204)

    async def revoke(self, request: Request) -> Reply:
        """Take a permission of the own from a user."""
        path = request.path
        await self.holdings.revoke(path["id"], path["permission"], request.caller)
        return Reply(status=204)

    async def assign(self, request: Request) -> Reply:
        """Give a user a role."""
        await self.holdings.assign(request.path["id"], request.path["role"], request.caller)
        return Reply(status=204)

    async def unassign(self, request: Request) -> Reply:
        """Take a role from a user."""
        await self.holdings.unassign(request.path["id"], request.path["role"], request.caller)
        return Reply(status=204)

    async def list(self, _: Request) -> Reply:
        """Every role, with what it brings."""
        found = await self.roles.all()
        return Reply({"roles": [{"role": r, "permissions": list(p)} for r, p in found.items()]})

    async def show_role(self, request: Request) -> Reply:
        """What a role brings."""
        role = request.path["role"]
        return Reply({"role": role, "permissions": await self.roles.require(role)})

    async def put(self, request: Request) -> Reply:
        """Make a role, or let it bring exactly these permissions."""
        role = request.path["role"]
        permissions = await self.roles.put(role, request.body.permissions, request.caller)
        return Reply({"role": role, "permissions": permissions})

    async def remove(self, request: Request) -> Reply:
        """Remove a role; who has it loses it."""
        await self.roles.remove(request.path["role"], request.caller)
        return Reply(status=204)
