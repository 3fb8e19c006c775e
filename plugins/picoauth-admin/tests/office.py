"""Where administrators work: over the socket, by key, or as users who may."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from picoauth import (
    AuthError,
    Caller,
    Conflict,
    NoSettings,
    Plugin,
    Problem,
    Statement,
    hookimpl,
)
from picoauth.routes import Listener
from picoauth.testing import MailPlugin, Server, Someone
from picoauth_admin import AdminPlugin
from picoauth_admin.keys import Scope
from tests.factors import PLUGINS

LAST_ADMINISTRATOR = Problem(409, "last_administrator", "Somebody has to be an administrator.")

# The last one who has it keeps it: looked at in the write, or two could leave at once.
REVOKE = """
    delete from permits where user_id = ? and permission = ?
       and exists (select 1 from permits o where o.permission = permits.permission
                      and o.user_id <> permits.user_id)
"""


class PermitsPlugin(Plugin[NoSettings]):
    """Knows who may do what: all that administration asks of the plugin permissions."""

    @hookimpl
    def migrations(self) -> Sequence[str]:
        return [
            """
            create table permits (
                user_id text not null references users(id) on delete cascade,
                permission text not null, primary key (user_id, permission)
            )
            """
        ]

    async def held(self, user_id: str) -> frozenset[str]:
        sql = "select permission from permits where user_id = ?"
        return frozenset(p for (p,) in await self.auth.database.read(sql, (user_id,)))

    async def holders(self, permission: str) -> Sequence[str]:
        sql = "select user_id from permits where permission = ? order by user_id"
        return [u for (u,) in await self.auth.database.read(sql, (permission,))]

    async def grant(self, user_id: str, permission: str, caller: Caller) -> None:
        sql = "insert into permits values (?, ?) on conflict do nothing"
        await self.auth.database.write(Statement(sql, (user_id, permission)))

    async def revoke(self, user_id: str, permission: str, caller: Caller) -> None:
        try:
            await self.auth.database.write(Statement(REVOKE, (user_id, permission), rows=1))
        except Conflict as conflict:
            raise AuthError(LAST_ADMINISTRATOR) from conflict


KINDS: Mapping[str, type[Plugin[Any]]] = {
    **PLUGINS,
    "captured-mail": MailPlugin,
    "permits": PermitsPlugin,
}
SETTINGS = """
plugins = ["pin", "key", "code", "admin", "permits", "captured-mail"]
public_url = "https://auth.example.org"
[throttle]
failures = 1000
"""
TCP = ("192.0.2.9", 4711)


@dataclass(frozen=True)
class Office:
    """Asks the listener for administration: over its socket, or by `peer` over TCP."""

    server: Server

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = None,
        peer: tuple[str, int] | None = None,
        listener: Listener = "admin",
        headers: Mapping[str, str] = {},
    ) -> httpx.Response:
        app = self.server.app.on(listener)

        async def from_peer(scope: Any, receive: Any, send: Any) -> None:
            await app({**scope, "client": peer}, receive, send)

        sent = {"Authorization": f"Bearer {token}"} if token else {}
        content = {} if body is None else {"json": body}
        transport = httpx.ASGITransport(app=from_peer, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.request(method, path, headers={**sent, **headers}, **content)

    async def told(self, method: str, path: str, body: Any = None, **more: Any) -> tuple[int, str]:
        """Status and stable code."""
        return told(await self.ask(method, path, body, **more))

    async def get(self, path: str, **more: Any) -> Any:
        answer = await self.ask("GET", path, **more)
        assert 200 == answer.status_code, answer.text
        return answer.json()

    async def make(self, username: str = "ann", **more: Any) -> dict[str, Any]:
        answer = await self.ask("POST", "/admin/users", {"username": username, **more})
        assert 201 == answer.status_code, answer.text
        made: dict[str, Any] = answer.json()
        return made

    async def names(self, query: str = "") -> list[str]:
        return [user["username"] for user in (await self.get(f"/admin/users{query}"))["users"]]

    async def key(self, scope: Scope = "full", name: str = "backup", days: int = 1) -> str:
        keys = self.server.auth.plugin(AdminPlugin).keys
        return await keys.create(name, scope, days, Caller())

    async def administrator(self, username: str = "root", *factors: str) -> Someone:
        """A user who may, with these factors; with a second one by default."""
        someone = await self.server.join(*(factors or ("pin", "key")), username=username)
        permits = self.server.auth.plugin(PermitsPlugin)
        await permits.grant(someone.user.id, "picoauth:admin", Caller())
        return someone


def told(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json().get("code", "") if answer.content else ""


def path(user: Mapping[str, Any] | Someone, below: str = "") -> str:
    user_id = user.user.id if isinstance(user, Someone) else user["id"]
    return f"/admin/users/{user_id}{below}"
