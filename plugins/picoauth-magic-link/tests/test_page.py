"""The plugin's page: its requests get the answers that stand below them."""

from __future__ import annotations

from pathlib import Path

from linked import MINUTE, Reader, code_of, token_of

from picoauth.testing import Server
from tests.pages import Exchange, blocks

PAGE = Path(__file__).parent.parent / "README.md"


async def test_requests_of_the_page(server: Server) -> None:
    """Ann errs, logs in by her code, and then by a link."""
    ann = await Reader.joined(server)
    exchange = Exchange(server)
    found = [block for block in blocks(PAGE) if block.language == "http"]
    assert 8 == len(found)
    for number, block in enumerate(found):
        if number == 2:
            exchange.values["magic-link"] = code_of(await ann.mail())
        if number == 6:
            server.clock.advance(MINUTE)
            await ann.begin()
            exchange.values["magic-link"] = token_of(await ann.mail())
        await exchange.run(block)
    assert exchange.answer is None
    assert 2 == await ann.sessions()
