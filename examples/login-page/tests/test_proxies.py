"""The page behind the real proxies, with the files beside it, over TLS."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from picoauth.app import Application
from picoauth.auth import Auth
from picoauth.config import parse
from picoauth.listeners import Bind
from tests.certificates import self_signed
from tests.chromium import Chromium, Page, chromium
from tests.fronts import FRONTS, Setup
from tests.processes import free_port, program
from tests.wire import serving, short_folder

PAGE = Path(__file__).parent.parent
FILES = ("index.html", "login.js", "style.css")
TOML, _ = re.findall(r"```toml\n(.*?)```", (PAGE / "README.md").read_text("utf-8"), re.DOTALL)
PASSWORD = "correct horse battery staple"

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def application(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """What the proxy sends everybody to who wants nothing else."""
    first = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n", 1)[0]
    body = b"<title>The application</title><h1>%s</h1>" % first
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n"
    writer.write(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    await writer.drain()
    writer.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Chromium]:
    async with chromium() as found:
        yield found


@asynccontextmanager
async def site(proxy: str) -> AsyncIterator[str]:
    """Everything as the README says; yields the origin."""
    program(proxy)
    port = free_port()
    app = await asyncio.start_server(application, "127.0.0.1", 0)
    with short_folder() as folder:
        (folder / "login").mkdir()
        for name in FILES:
            shutil.copy(PAGE / name, folder / "login")
        origin = f"https://example.com:{port}"
        settings = parse(TOML.replace("https://example.com", origin), folder)
        bind = Bind(public=[f"unix:{folder}/picoauth.sock"])
        async with app, serving(Application(Auth(settings)), bind):
            pair, host = self_signed(folder, "example.com"), "example.com"
            more = {
                "/usr/share/picoauth": str(folder),
                "127.0.0.1:3000": f"127.0.0.1:{app.sockets[0].getsockname()[1]}",
            }
            with FRONTS[proxy](Setup(PAGE, folder, host, port, pair, more)):
                yield origin


async def create_account(page: Page) -> None:
    await page.click("Create an account")
    await page.fill("User name", "ann")
    await page.fill("Password", PASSWORD)
    await page.click("Create account")


@pytest.mark.parametrize("proxy", FRONTS)
async def test_page_behind_a_proxy(browser: Chromium, proxy: str) -> None:
    """The files beside the page serve it: an account, a login, and the way to the application."""
    async with site(proxy) as origin, browser.page() as page:
        await page.send("Security.setIgnoreCertificateErrors", ignore=True)
        await page.open(f"{origin}/login/?return=/app%3Fa=b")
        await page.at("Sign in")
        await create_account(page)
        await page.at("GET /app?a=b HTTP/1.1")
        await page.open(f"{origin}/login/")
        await page.at("Your account")
        await page.click("Sign out")
        await page.at("Sign in")
        assert [] == page.complaints()
        assert [] == page.requests(lambda url: not url.startswith((origin, "data:")))
        answers = [
            (message["params"]["response"]["url"], message["params"]["response"]["headers"])
            for message in page.happened
            if message["method"] == "Network.responseReceived"
        ]
        headers = next(found for url, found in answers if url.endswith("/login/"))
        given = {name.lower(): value for name, value in headers.items()}
        assert "frame-ancestors 'none'" in given["content-security-policy"]
        assert given["content-security-policy"].startswith("default-src 'self';")


async def test_policies_are_one() -> None:
    """The policy in the page is that of the files, but for what only a header can say."""
    pages = [(PAGE / name).read_text(encoding="utf-8") for name in ("nginx.conf", "Caddyfile")]
    policies = {re.search(r'"(default-src .*?)"', page)[1] for page in pages}  # type: ignore[index]
    [policy] = policies
    without = policy.replace("frame-ancestors 'none'; ", "")
    assert f'content="{without}"' in (PAGE / "index.html").read_text(encoding="utf-8")
