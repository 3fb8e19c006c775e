"""The login page in a real browser, before a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from picoauth.http import Asgi
from picoauth.listeners import Bind
from picoauth.testing import PASSWORD, Server, serving as kit
from tests.chromium import Chromium, Page, chromium
from tests.processes import free_port
from tests.wire import serving

PAGE = Path(__file__).parent.parent
pytestmark = pytest.mark.asyncio(loop_scope="module")
TYPES = {".html": b"text/html", ".js": b"text/javascript", ".css": b"text/css"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Chromium]:
    async with chromium() as found:
        yield found


@dataclass(frozen=True)
class Site:
    """What nginx does by the file beside the page: its files below `/login/`, and the server."""

    server: Server

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        yield

    def stopping(self) -> None: ...

    def on(self, listener: Any) -> Asgi:
        return self.answer

    async def answer(self, scope: Any, receive: Any, send: Any) -> None:
        path = scope["path"]
        if not path.startswith("/login/"):
            await self.server.app(scope, receive, send)
            return
        file = PAGE / (path.removeprefix("/login/") or "index.html")
        headers = [(b"content-type", TYPES[file.suffix])]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": file.read_bytes()})


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser: Chromium, tmp_path: Path) -> AsyncIterator[Page]:
    port = free_port()
    settings = f'plugins = ["password"]\npublic_url = "http://localhost:{port}"\n'
    async with (
        kit(tmp_path, settings) as server,
        serving(Site(server), Bind(public=[f"tcp:127.0.0.1:{port}"])),
        browser.page() as found,
    ):
        await found.open(f"http://localhost:{port}/login/")
        yield found
        assert [] == found.complaints()


async def test_register_and_sign_in(page: Page) -> None:
    await page.at("Sign in")
    await page.click("Create an account")
    await page.at("Create an account")
    await page.fill("User name", "ann")
    await page.fill("Password", PASSWORD)
    await page.click("Create account")
    await page.at("Your account")
    await page.sees("Signed in as ann")
    await page.click("Sign out")
    await page.at("Sign in")
    await page.fill("User name", "ann")
    await page.fill("Password", "wrong")
    await page.click("Sign in")
    print(await page.problem())
    await page.picture(Path("/tmp/shot.png"))
