"""The scripts of the page about passkeys, in a real browser."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from picoauth.listeners import Bind
from picoauth.testing import PASSWORD
from picoauth.testing import serving as kit
from tests.chromium import PASSKEY, Page, chromium
from tests.pages import DOCS, blocks
from tests.processes import free_port
from tests.wire import serving

SCRIPTS = [block.text for block in blocks(DOCS / "passkeys.md") if block.language == "js"]

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def page(tmp_path: Path) -> AsyncIterator[Page]:
    """A page at the server's own origin, with the scripts, before which Ann sits."""
    port = free_port()
    origin = f"http://localhost:{port}"
    settings = f'plugins = ["password", "passkey", "recovery"]\npublic_url = "{origin}"\n'
    async with kit(tmp_path, settings) as server, chromium() as browser:
        await server.register()
        bind = Bind(public=[f"tcp:127.0.0.1:{port}"])
        async with serving(server.app, bind), browser.page() as found:
            await found.send(
                "Page.setBypassCSP", enabled=True
            )  # an answer of the server is no page
            await found.open(f"{origin}/health-check")
            await found.authenticator(PASSKEY)
            await found.send("Runtime.evaluate", expression="\n".join(SCRIPTS))
            yield found


async def who(page: Page) -> Any:
    """Who is logged in, by the cookie; nobody afterwards."""
    found = await page.js(
        "fetch('/auth/session').then((r) => r.json()).then((s) => s.preferred_username)"
    )
    await page.js("post('/auth/logout', {}).catch(() => null)")
    return found


async def test_scripts_of_the_page(page: Page) -> None:
    """Each does what the page says: by password, with a passkey, by autofill, without a password."""
    assert 7 == len(SCRIPTS)
    ann = f"logInByPassword('ann', '{PASSWORD}')"
    await page.js(ann)
    added = await page.js("addPasskey('Phone')")
    assert ("Phone", 10) == (added["label"], len(added["recovery"]["codes"]))
    assert "ann" == await who(page)
    for way in ("logIn()", "offerPasskeys()", ann):
        await page.js(way)
        assert "ann" == await who(page), way
    bob = await page.js("register('bob')")
    assert ("bob", 10) == (bob["username"], len(bob["recovery"]["codes"]))
    refused = await page.js("logInByPassword('ann', 'wrong').catch((problem) => problem.code)")
    assert "invalid_credentials" == refused
    await page.js("forget({})")
