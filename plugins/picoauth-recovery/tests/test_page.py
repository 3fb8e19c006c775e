"""The plugin's page: its requests get the answers that stand below them."""

from __future__ import annotations

from base64 import b32decode
from pathlib import Path

from picoauth.testing import serving
from picoauth_totp.testing import App
from tests.pages import Exchange, blocks

PAGE = Path(__file__).parent.parent / "README.md"
SETTINGS = 'plugins = ["password", "totp", "recovery"]'


async def test_requests_of_the_page(tmp_path: Path) -> None:
    """Ann logs in by one of her codes, looks at what is left, and makes new ones."""
    async with serving(tmp_path, SETTINGS) as server:
        await server.register()
        token = (await server.login())["access_token"]
        added = (await server.post("/auth/totp", {}, token=token)).json()
        code = App(b32decode(added["secret"]), server.clock).code()
        body = {"id": added["id"], "code": code}
        confirmed = await server.post("/auth/totp/confirm", body, token=token)
        exchange = Exchange(server)
        exchange.values["recovery"] = confirmed.json()["recovery"]["codes"][0]
        found = [block for block in blocks(PAGE) if block.language == "http"]
        assert 8 == len(found)
        for block in found:
            await exchange.run(block)
        assert exchange.answer is None
