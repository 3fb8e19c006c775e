"""How test users log in by mail, whatever delivers it, and whoever else sends some."""

from __future__ import annotations

from pathlib import Path

from linked import served

from tests.test_mail import GreetingPlugin

OTHERS = 'plugins = ["magic-link", "pin", "mail-console", "greeting"]'


async def test_other_mailer(tmp_path: Path) -> None:
    """A user logs in as often as she likes, within a minute too."""
    async with served(tmp_path, OTHERS, {"greeting": GreetingPlugin}) as server:
        ann = await server.join("magic-link")
        for _ in range(5):
            await ann.login()
        assert 5 == await ann.sessions()


async def test_mails_of_others(tmp_path: Path) -> None:
    """They are none of the ceremony's."""
    async with served(tmp_path, OTHERS, {"greeting": GreetingPlugin}) as server:
        ann = await server.join("magic-link")
        flow, challenge = await ann.begin("magic-link")
        await server.auth.plugin(GreetingPlugin).greet("ann@example.com", "Ann", user=ann.user)
        payload = await server.ceremonies["magic-link"].answer(ann, challenge)
        assert 200 == (await ann.send("magic-link", payload, flow)).status_code
