"""The plugin's page: its requests get the answers that stand below them."""

from __future__ import annotations

from pathlib import Path

from forgetful import Forgetful, token_of

from picoauth.testing import Server, delivered
from tests.pages import Exchange, blocks

PAGE = Path(__file__).parent.parent / "README.md"


async def test_requests_of_the_page(server: Server) -> None:
    """Ann asks for a link, looks at it, and sets a password."""
    ann = await Forgetful.joined(server)
    exchange = Exchange(server)
    found = [block for block in blocks(PAGE) if block.language == "http"]
    assert 6 == len(found)
    for number, block in enumerate(found):
        if number == 2:
            [message] = await delivered(server)
            exchange.values["id"] = token_of(message)
        await exchange.run(block)
    assert exchange.answer is None
    assert (200, "") == await ann.login("another horse battery staple")
