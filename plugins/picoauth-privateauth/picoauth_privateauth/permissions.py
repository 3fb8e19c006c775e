"""What users may do elsewhere, as the plugin that keeps permissions says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from picoauth import Auth, Caller, ConfigError
from picoauth_privateauth.clients import Clients
from picoauth_privateauth.settings import RegisteredClient


@runtime_checkable
class Permissions(Protocol):
    """Keeps them: the plugin permissions, or another one in its place."""

    async def held(self, user_id: str) -> frozenset[str]:
        """Own ones and those by roles, in lower case."""

    async def holders(self, permission: str) -> Sequence[str]: ...
    async def grant(self, user_id: str, permission: str, caller: Caller) -> None: ...
    async def revoke(self, user_id: str, permission: str, caller: Caller) -> None: ...


class Rights:
    """Which users a client lets in, and which of their permissions it is told."""

    def __init__(self, auth: Auth, clients: Clients) -> None:
        self.auth = auth
        self.clients = clients

    @property
    def keeper(self) -> Permissions | None:
        found = self.auth.plugins.on.values()
        return next((one for one in found if isinstance(one, Permissions)), None)

    def check(self, clients: Sequence[RegisteredClient]) -> None:
        """Raises ConfigError where a client would let nobody in."""
        for client in clients:
            if client.required_permission is not None and self.keeper is None:
                raise ConfigError(
                    f"privateauth: {client.client_id} requires a permission, and no listed plugin "
                    "keeps permissions: list one, such as permissions."
                )

    async def held(self, user_id: str) -> frozenset[str]:
        return await self.keeper.held(user_id) if self.keeper else frozenset()

    def tells(self, client_id: str) -> list[str]:
        """What this client hears of any user who gets in, whatever scopes are granted.

        Names are for clients of PrivateAuth, as the operator registered them; another one has to
        ask for the profile.
        """
        client = self.clients.registered.get(client_id)
        may = named(client) is not None
        names = may or (client is not None and client.legacy)
        return ["username", *(["name"] if names else ()), *(["permissions"] if may else ())]

    async def admits(self, client_id: str, user_id: str) -> bool:
        """Whether a client may know this user, by the settings and permissions of now."""
        client = self.clients.registered.get(client_id)
        if client is None:
            return self.clients.settings.open_clients
        required = client.required_permission
        return required is None or required in await self.held(user_id)

    async def told(self, client_id: str, user_id: str) -> list[str]:
        """Those of the client's own application: what a user may do elsewhere is not its business."""
        application = named(self.clients.registered.get(client_id))
        if application is None:
            return []
        held = (permission.lower() for permission in await self.held(user_id))
        return sorted(one for one in held if one.partition(":")[0] == application)


def named(client: RegisteredClient | None) -> str | None:
    """What its permissions begin with; that of the one that it requires, if it says nothing else."""
    if client is None:
        return None
    required = client.required_permission
    return client.application or (required.partition(":")[0] if required else None)
