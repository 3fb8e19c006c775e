"""The plugin's page: its requests get the answers that stand below them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from letters import MINUTE, code_of, token_of

from picoauth import Auth, parse
from picoauth.discovery import installed
from picoauth.testing import MailPlugin, Server, delivered, offer, serving
from picoauth.testing.server import PASSWORD
from picoauth_email.plugin import EmailPlugin
from tests.pages import Block, Exchange, blocks

PAGE = Path(__file__).parent.parent / "README.md"
SETTINGS = 'plugins = ["password", "captured-mail", "email"]\n'
KINDS: Any = {"captured-mail": MailPlugin}


def requests(test: str) -> Iterator[tuple[Block, Block]]:
    """Each with its answer."""
    own = [b for b in blocks(PAGE) if (b.marked("run by") or "").endswith(f"::{test}")]
    return zip(own[::2], own[1::2], strict=True)


async def run(exchange: Exchange, request: Block, answer: Block) -> None:
    await exchange.run(request)
    await exchange.run(answer)


async def last(server: Server) -> Any:
    return (await delivered(server))[-1]


async def test_requests_of_the_page(tmp_path: Path) -> None:
    """Ann sets an address and verifies it; then she sets another one, and takes that back."""
    async with serving(tmp_path, SETTINGS, plugins=KINDS) as server:
        await server.register()
        exchange = Exchange(server)
        exchange.values.update(await server.login())
        asking, verifying, canceling = requests("test_requests_of_the_page")
        await run(exchange, *asking)
        exchange.values["code"] = code_of(await last(server))
        await run(exchange, *verifying)
        server.clock.advance(MINUTE)
        body, token = {"address": "ann@example.org"}, exchange.values["access_token"]
        assert 202 == (await server.post("/auth/email", body, token=token)).status_code
        exchange.values["token"] = token_of(await last(server))
        await run(exchange, *canceling)
        assert 401 == (await server.get("/auth/me", token=token)).status_code


async def test_requests_before_a_login(tmp_path: Path) -> None:
    """Ann mistyped her address at the registration; she gives another one before she logs in."""
    settings = f"{SETTINGS}[email]\nrequire_verified = true\n"
    async with serving(tmp_path, settings, plugins=KINDS) as server:
        body = {"username": "ann", "password": PASSWORD, "email": "ann@example.com"}
        assert 201 == (await server.post("/auth/register", body)).status_code
        server.clock.advance(MINUTE)
        exchange = Exchange(server)
        refused, asking, verifying = requests("test_requests_before_a_login")
        await run(exchange, *refused)
        await run(exchange, *asking)
        exchange.values["code"] = code_of(await last(server))
        await run(exchange, *verifying)
        await server.login()


def test_templates_of_the_page(tmp_path: Path) -> None:
    """The page has each template, with all its values."""
    auth = Auth(parse(SETTINGS, tmp_path), found=[*installed(), offer("captured-mail", MailPlugin)])
    templates = auth.mail.of(auth.plugin(EmailPlugin))
    rows = [line.split("|") for line in PAGE.read_text("utf-8").splitlines()]
    for name in templates.names:
        [values] = [row[3] for row in rows if row[1:2] == [f" `{name}` "]]
        assert templates.values(name) == set(re.findall("`([a-z]+)`", values))
