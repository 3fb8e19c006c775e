"""The built-in page in a real browser: what a person sees, by keyboard and mouse."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from endpoint import DOOR, DOOR_BACK, Home, asked

from picoauth.testing import PASSWORD, serving
from tests.chromium import Page, chromium
from tests.interop import listening
from tests.processes import free_port

CLIENT = "http://localhost:9/"


@pytest.fixture
async def visit(tmp_path: Path) -> AsyncIterator[tuple[Home, Page, str]]:
    """A tab, a server on loopback, and its address."""
    port = free_port()
    base = f"http://localhost:{port}"
    settings = (
        f'plugins = ["password", "permissions", "privateauth"]\npublic_url = "{base}"\n'
        f'[privateauth]\nconsent_url = "built-in"\n[[privateauth.clients]]\nclient_id = "{DOOR}"\n'
        f'name = "Door"\nredirect_uris = ["{DOOR_BACK}"]\nrequired_permission = "door:open"\n'
    )
    async with serving(tmp_path, settings) as server, chromium() as browser, browser.page() as page:
        await server.register()
        async with listening(server.app, port=port):
            yield Home(server), page, f"{base}/indieauth/authorize?"


async def test_person(visit: tuple[Home, Page, str]) -> None:
    """Ann mistypes her password, logs in, sees who asks, and goes back with a code."""
    _, page, start = visit
    client = {"client_id": CLIENT, "redirect_uri": f"{CLIENT}back"}
    await page.open(start + urlencode(asked(**client, scope="profile")))
    await page.at("Log in")
    await page.fill("User name", "ann")
    await page.fill("Password", "wrong")
    await page.key("Enter")
    assert "Invalid username or password" in await page.problem()
    await page.fill("Password", PASSWORD)
    await page.click("Log in")
    await page.at("Log in to localhost:9?")
    await page.sees("This application runs on your own device.")
    await page.sees(f"{CLIENT}back")
    assert [] == await page.unnamed()
    for width in (320, 1280):
        await page.resize(width)
        assert await page.js("document.documentElement.scrollWidth <= innerWidth")
    await page.click("Log in to localhost:9")
    back = await sent_to(page, f"{CLIENT}back?code=")
    assert "state=st+at%2Fe%2B1" in back
    assert [] == page.complaints()


async def test_double_click(visit: tuple[Home, Page, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Who clicks twice decides once, and is not told that it was decided already."""
    at_home, page, start = visit
    consent, deciding, released = at_home.plugin.parts.consent, asyncio.Event(), asyncio.Event()
    approved = consent.approved

    async def slow(*arguments: Any) -> str:
        deciding.set()
        await released.wait()
        return await approved(*arguments)

    monkeypatch.setattr(consent, "approved", slow)
    client = {"client_id": CLIENT, "redirect_uri": f"{CLIENT}back"}
    await page.open(start + urlencode(asked(**client)))
    await page.at("Log in")
    await page.fill("User name", "ann")
    await page.fill("Password", PASSWORD)
    await page.click("Log in")
    await page.at("Log in to localhost:9?")
    box = "named('button', 'Log in to localhost:9').getBoundingClientRect()"
    x, y = await page.js(f"[{box}.x + {box}.width / 2, {box}.y + {box}.height / 2]")
    for count in (1, 2):
        for kind in ("mousePressed", "mouseReleased"):
            await page.send(
                "Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=count
            )
        await asyncio.wait_for(deciding.wait(), 30)
    released.set()
    await sent_to(page, f"{CLIENT}back?code=")
    posts = page.requests(lambda url: url.endswith("/indieauth/consent"))
    assert 2 == len(posts), posts  # the login, and the decision


async def test_not_permitted(visit: tuple[Home, Page, str]) -> None:
    """Who may not use an application sees why, and goes back without a code."""
    _, page, start = visit
    await page.open(start + urlencode(asked(client_id=DOOR, redirect_uri=DOOR_BACK)))
    await page.at("Log in")
    await page.fill("User name", "ann")
    await page.fill("Password", PASSWORD)
    await page.click("Log in")
    await page.at("Log in to Door?")
    assert "Your account may not use this application." in await page.problem()
    await page.click("Cancel")
    assert "error=access_denied" in await sent_to(page, f"{DOOR_BACK}?")


async def sent_to(page: Page, start: str) -> str:
    """Wait until the browser goes there, where nobody answers."""
    async with asyncio.timeout(30):
        while not (found := page.requests(lambda url: url.startswith(start))):  # noqa: ASYNC110 - it is polled everywhere
            await asyncio.sleep(0.02)
    return found[0]
