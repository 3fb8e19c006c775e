"""The ASGI application under another server than ours."""

from __future__ import annotations

from pathlib import Path

import httpx

from picoauth import NoSettings, Plugin, Reply, Request, Route, hookimpl
from picoauth.app import Application, create_app
from picoauth.auth import Auth
from picoauth.config import parse
from picoauth.discovery import installed
from picoauth.testing.server import PASSWORD, offer
from tests.interop import under_uvicorn


class Office(Plugin[NoSettings]):
    """A route for administration."""

    @hookimpl
    def routes(self) -> list[Route]:
        route = Route(
            method="GET", path="/office", handler=self.office, policy="public", listener="admin"
        )
        return [route]

    async def office(self, _: Request) -> Reply:
        raise AssertionError


async def test_a_login_under_uvicorn(tmp_path: Path) -> None:
    """Everything works: start and stop, the edge, Quart's routes, problems."""
    app = create_app(parse('plugins = ["password"]', tmp_path))
    async with under_uvicorn(app, "on") as address, httpx.AsyncClient(base_url=address) as client:
        assert app.ready
        ann = {"username": "ann", "password": PASSWORD}
        assert 201 == (await client.post("/auth/register", json=ann)).status_code
        login = await client.post("/auth/login", json=ann)
        bearer = {"Authorization": f"Bearer {login.json()['access_token']}"}
        checked = await client.post("/jwt/validate", headers=bearer)
        assert "ann" == checked.json()["preferred_username"]
        me = await client.get("/auth/me", headers=bearer)
        assert "ann" == me.json()["username"]
        wrong = await client.post("/auth/login", json={**ann, "password": "wrong"})
        assert (401, "invalid_credentials") == (wrong.status_code, wrong.json()["code"])
        foreign = await client.get("/health-check", headers={"Host": "elsewhere.example"})
        assert (400, "invalid_host") == (foreign.status_code, foreign.json()["code"])
    assert not app.ready


async def test_no_administration_under_uvicorn(tmp_path: Path) -> None:
    """Another server has one listener, which is the public one."""
    found = [*installed(), offer("office", Office)]
    app = Application(Auth(parse('plugins = ["password", "office"]', tmp_path), found=found))
    async with under_uvicorn(app, "on") as address, httpx.AsyncClient(base_url=address) as client:
        assert 404 == (await client.get("/office")).status_code
