"""Mail: made from templates, queued in the write of its reason, sent by the outbox."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from picoauth import Message, NoSettings, Plugin
from picoauth.testing import MailPlugin, Server, delivered, serving


class GreetingPlugin(Plugin[NoSettings]):
    """Has a template, `hello`."""

    async def greet(self, to: str | None, name: str, accept: str = "") -> None:
        values = {"name": name, "link": self.auth.mail.link("/hello#token=abc")}
        end = self.auth.now() + 600
        queuing = self.auth.mail.queuing(self, "hello", to, values, expires_at=end, accept=accept)
        await self.auth.database.write(queuing)


SETTINGS = """
plugins = ["password", "captured-mail", "greeting"]
public_url = "https://auth.example.org"
"""


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    plugins = {"captured-mail": MailPlugin, "greeting": GreetingPlugin}
    async with serving(tmp_path, SETTINGS, plugins=plugins) as server:
        yield server


async def greeted(
    server: Server, to: str | None, name: str = "Ann", accept: str = ""
) -> list[Message]:
    plugin = server.auth.plugins.on["greeting"]
    assert isinstance(plugin, GreetingPlugin)
    await plugin.greet(to, name, accept)
    return await delivered(server)


async def test_mail(server: Server) -> None:
    """It arrives, filled; its body is gone from the outbox."""
    [message] = await greeted(server, "ann@example.com")
    assert ("ann@example.com", "Hello Ann") == (message.to, message.subject)
    link = "https://auth.example.org/hello#token=abc"
    assert f"Hello Ann,\n\nopen {link} to go on.\n" == message.text
    assert message.html is not None
    assert f'<a href="{link}">go on</a>' in message.html
    [[sealed, sent_at]] = await server.auth.database.read("select sealed, sent_at from outbox")
    assert (None, server.auth.now()) == (sealed, sent_at)


async def test_mail_to_nobody(server: Server) -> None:
    """It is queued as any other, of the same length, and comes to nothing."""
    assert [] == await greeted(server, None)
