"""The page of the plugin: its requests do what they say."""

from __future__ import annotations

from pathlib import Path

from people import Begun, People

from tests.pages import Block, Exchange, blocks

README = Path(__file__).parent.parent / "README.md"


def of(test: str) -> list[Block]:
    return [b for b in blocks(README) if (b.marked("run by") or "").endswith(f"::{test}")]


async def test_requests_of_the_page(them: People) -> None:
    """A login with a domain."""
    await them.linked()
    exchange = Exchange(them.server)
    for block in of("test_requests_of_the_page"):
        await exchange.run(block)
        if "challenge" in exchange.values:
            url = exchange.values["challenge"]["url"]
            exchange.values["indieauth"] = Begun("", url).brought()
    assert "access_token" in exchange.values


async def test_links_of_the_page(them: People) -> None:
    """A domain is linked."""
    exchange = Exchange(them.server)
    exchange.values["access_token"] = await them.token()
    for block in of("test_links_of_the_page"):
        await exchange.run(block)
        if "url" in exchange.values:
            exchange.values["indieauth"] = Begun("", exchange.values["url"]).brought()
    assert "id" in exchange.values
