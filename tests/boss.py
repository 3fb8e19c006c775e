"""A guard for the routes of administrators, for tests of plugins that have such routes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx

from picoauth import Guard, NoSettings, Plugin, Request, hookimpl
from picoauth.testing import Server
from picoauth.testing.contracts.access import LET_IN, Expectations, with_principal
from picoauth.testing.contracts.access import POLICIES as KERNEL
from picoauth.testing.people import Someone

BOSS = {"X-Boss": "yes"}


class BossPlugin(Plugin[NoSettings]):
    """Lets in whoever says so."""

    @hookimpl
    def guards(self) -> Mapping[str, Guard]:
        return {"admin": self.admin}

    async def admin(self, request: Request) -> Any:
        return request.headers.get("x-boss")


POLICIES: Mapping[str, Expectations] = {
    **with_principal(KERNEL, "boss", session="401 token_missing", fresh="401 token_missing"),
    "admin": {"*": "403 forbidden", "boss": LET_IN},
}
"""What each policy answers, also to an administrator, and to others about administration."""


async def boss(_: Someone) -> Mapping[str, str]:
    return BOSS


async def order(
    server: Server, method: str, path: str, body: Any = None, **headers: str
) -> httpx.Response:
    """Ask a route of the listener for administration, as an administrator by default."""
    transport = httpx.ASGITransport(app=server.app.on("admin"), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        content = {} if body is None else {"json": body}
        return await client.request(method, path, headers=headers or BOSS, **content)
