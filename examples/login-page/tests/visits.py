"""Somebody before the page in a real browser, and a real server behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from picoauth.http import Asgi
from picoauth.listeners import Bind
from picoauth.testing import Server, Someone
from picoauth.testing import serving as kit
from tests.chromium import Chromium, Page
from tests.processes import free_port
from tests.wire import serving

PAGE = Path(__file__).parent.parent
TYPES = {".html": b"text/html", ".js": b"text/javascript", ".css": b"text/css"}
PLUGINS = 'plugins = ["password", "totp", "recovery", "passkey"]\n'
SECRET = "correct horse battery staple"
ANN = f"{SECRET} of ann"
"""Ann's password, as the kit makes it."""


@dataclass
class Site:
    """Does what the proxies do by the files beside the page: its files, and the server."""

    server: Server
    down: bool = False
    """Whether the server does not answer, so that the proxy does, in HTML."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        yield  # the kit runs it already

    def stopping(self) -> None: ...

    def on(self, listener: Any) -> Asgi:
        return self.answer

    async def answer(self, scope: Any, receive: Any, send: Any) -> None:
        name = scope["path"].removeprefix("/login/")
        if name != scope["path"]:
            file = PAGE / (name or "index.html")
            await answered(send, 200, TYPES[file.suffix], file.read_bytes())
        elif self.down:
            await answered(send, 502, b"text/html", b"<h1>Bad gateway</h1>")
        else:
            await self.server.app(scope, receive, send)


async def answered(send: Any, status: int, kind: bytes, body: bytes) -> None:
    headers = [(b"content-type", kind)]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@dataclass(frozen=True)
class Visit:
    """Somebody before the page."""

    page: Page
    site: Site
    url: str

    @property
    def server(self) -> Server:
        return self.site.server

    async def ann(self, *factors: str) -> Someone:
        """Ann, with a password and whatever else."""
        return await self.server.join("password", *factors, username="ann")

    async def open(self, query: str = "", heading: str = "Sign in") -> None:
        await self.page.open(f"{self.url}{query}")
        await self.page.at(heading)

    async def password(self, password: str = ANN, heading: str = "Your account") -> None:
        """Sign in by password, or take that step."""
        await self.page.at("Sign in")
        await self.page.fill("User name", "ann")
        await self.page.fill("Password", password)
        await self.page.click("Sign in")
        await self.page.at(heading)

    async def leave(self) -> None:
        await self.page.click("Sign out")
        await self.page.sees("You are signed out.")

    async def rows(self, heading: str) -> list[str]:
        """What a list of the account has."""
        found: list[str] = await self.page.js(
            f"[...document.querySelectorAll('section section')]"
            f".find((e) => e.querySelector('h2').textContent === {heading!r})"
            ".querySelectorAll('li')".join(("[...", "].map((e) => e.innerText)"))
        )
        return found


@asynccontextmanager
async def visiting(
    browser: Chromium, folder: Path, settings: str = "", elsewhere: str = "data:", **more: Any
) -> AsyncIterator[Visit]:
    """The page with a server behind it; nothing may turn up in the browser's log meanwhile.

    No page but this origin's is asked for, and those of `elsewhere`, if they begin so.
    """
    port = free_port()
    origin = f"http://localhost:{port}"
    text = f'public_url = "{origin}"\n{settings if "plugins" in settings else PLUGINS + settings}'
    bind = Bind(public=[f"tcp:127.0.0.1:{port}"])
    async with kit(folder, text, **more) as server, browser.page() as page:
        site = Site(server)
        async with serving(site, bind):
            yield Visit(page, site, f"{origin}/login/")
        found = page.complaints()
        assert [] == found, found
        assert [] == page.requests(lambda url: not url.startswith((origin, "data:", elsewhere)))


OVERFLOWING = """
all('*').filter((e) => e.getBoundingClientRect().right > innerWidth).map((e) => e.outerHTML)
"""


async def look(page: Page, heading: str) -> None:
    """A view fits into 320 pixels, has its heading first, and every control has a name."""
    await page.at(heading)
    assert [] == await page.unnamed()
    assert 320 == await page.js("document.documentElement.scrollWidth"), heading
    assert [] == await page.js(OVERFLOWING), heading
    focused = "document.activeElement.closest('main > section, dialog')?.innerText.trim()"
    assert (await page.js(focused)).startswith(heading)
