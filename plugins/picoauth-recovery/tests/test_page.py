"""The plugin's page: its requests get the answers that stand below them."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from picoauth.testing import serving
from tests.factors import CodeFactor, CodePlugin, enrol
from tests.pages import Exchange, blocks

PAGE = Path(__file__).parent.parent / "README.md"
SETTINGS = 'plugins = ["password", "totp", "recovery"]'


class TotpFactor(CodeFactor):
    """A second factor of the name that the page has."""

    name: ClassVar[str] = "totp"


class TotpPlugin(CodePlugin):
    factor_type: ClassVar[type[CodeFactor]] = TotpFactor


async def test_requests_of_the_page(tmp_path: Path) -> None:
    """Ann logs in by one of her codes, looks at what is left, and makes new ones."""
    async with serving(tmp_path, SETTINGS, plugins={"totp": TotpPlugin}) as server:
        await server.register()
        tokens = await enrol(server, "111111", table="totp")
        exchange = Exchange(server)
        exchange.values["recovery"] = tokens["recovery"]["codes"][0]
        found = [block for block in blocks(PAGE) if block.language == "http"]
        assert 8 == len(found)
        for block in found:
            await exchange.run(block)
        assert exchange.answer is None
