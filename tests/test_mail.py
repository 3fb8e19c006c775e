"""Mail: made from templates, queued in the write of its reason, sent by the outbox."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from picoauth import (
    Auth,
    AuthError,
    ConfigError,
    Message,
    MessageDropped,
    NoSettings,
    Plugin,
    Sender,
    Unavailable,
    Undeliverable,
    User,
    hookimpl,
    parse,
)
from picoauth import outbox as outbox_module
from picoauth.identifiers import mailbox
from picoauth.outboxrows import LATE
from picoauth.testing import Clock, MailPlugin, Server, delivered, offer, serving


class GreetingPlugin(Plugin[NoSettings]):
    """Has a template, `hello`."""

    async def greet(self, to: str | None, name: str, accept: str = "", **more: Any) -> None:
        values = {"name": name, "link": self.auth.mail.link("/hello#token=abc")}
        end = self.auth.now() + 600
        queuing = self.auth.mail.queuing(
            self, "hello", to, values, expires_at=end, accept=accept, **more
        )
        await self.auth.database.write(queuing)


SETTINGS = """
plugins = ["password", "captured-mail", "greeting"]
public_url = "https://auth.example.org"
"""
PLUGINS: Mapping[str, type[Plugin[Any]]] = {
    "captured-mail": MailPlugin,
    "greeting": GreetingPlugin,
}
LINK = "https://auth.example.org/hello#token=abc"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with serving(tmp_path, SETTINGS, plugins=PLUGINS) as server:
        yield server


def greeting(server: Server) -> GreetingPlugin:
    plugin = server.auth.plugins.on["greeting"]
    assert isinstance(plugin, GreetingPlugin)
    return plugin


async def greeted(
    server: Server, to: str | None, name: str = "Ann", accept: str = "", **more: Any
) -> list[Message]:
    await greeting(server).greet(to, name, accept, **more)
    return await delivered(server)


async def test_mail(server: Server) -> None:
    """It arrives, filled; its body is gone from the outbox."""
    [message] = await greeted(server, "ann@example.com")
    assert ("ann@example.com", "Hello Ann") == (message.to, message.subject)
    assert f"Hello Ann,\n\nopen {LINK} to go on.\n" == message.text
    assert message.html is not None
    assert f'<a href="{LINK}">go on</a>' in message.html
    assert ("greeting/hello", "en", {"name": "Ann", "link": LINK}) == (
        message.template,
        message.language,
        message.values,
    )
    [[sealed, sent_at]] = await server.auth.database.read("select sealed, sent_at from outbox")
    assert (None, server.auth.now()) == (sealed, sent_at)


async def test_mail_that_is_sent_by_the_server(server: Server) -> None:
    """Nobody has to ask for it: the task in the background finds it."""
    plugin, sent = server.auth.plugin(MailPlugin), asyncio.Event()

    async def send(message: Message) -> None:
        plugin.sent.append(message)
        sent.set()

    plugin.send = send  # type: ignore[method-assign]
    await greeting(server).greet("ann@example.com", "Ann")
    await sent.wait()
    assert ["ann@example.com"] == [message.to for message in plugin.sent]


async def test_language(server: Server) -> None:
    """The user's, or the request's, or English."""
    user, _ = await server.auth.users.register(server.auth.users.draft(username="ann"))
    german: User = replace(user, locale="de-AT")
    for accept, who, language in (
        ("", None, "en"),
        ("de", None, "de"),
        ("fr, de-CH;q=0.8, en;q=0.5", None, "de"),
        ("fr", None, "en"),
        ("*", None, "en"),
        ("*, de;q=0.5", None, "de"),
        ("DE_at-x-y-z, en;q=0.9", None, "de"),
        ("en-GB, de;q=0.9", None, "en"),
        ("de;q=0", None, "en"),
        (";;q=x,,\x00\r\n" + "a-" * 5000, None, "en"),
        ("en", german, "de"),
        ("de", replace(user, locale="en"), "en"),
        ("de", replace(user, locale="xx"), "de"),
        ("de", user, "de"),
    ):
        sent = await greeted(server, "ann@example.com", accept=accept, user=who)
        assert (accept, language) == (accept, sent[-1].language)
        assert sent[-1].subject.startswith({"en": "Hello", "de": "Hallo"}[language])


# Nobody


async def rows(server: Server) -> list[tuple[Any, ...]]:
    """The rows as a thief sees them, without ids and with lengths in the place of what is sealed."""
    columns = (
        "kind, about, length(sealed), length(id), created_at, expires_at, next_at - created_at, "
        "held_until, tries, sent_at, error"
    )
    return await server.auth.database.read(f"select {columns} from outbox order by created_at, id")


async def test_mail_to_nobody(tmp_path: Path) -> None:
    """It looks as any other, before and after, and comes to nothing."""
    auth, plugin = made(tmp_path)
    async with auth.started():
        server: Any = plugin
        user, _ = await auth.users.register(auth.users.draft(username="ann"))
        longest = f"{'a' * 64}@{'.'.join(['b' * 62] * 3)}"
        await plugin.greet("ann@example.com", "Ann", user=user)
        await plugin.greet(None, "")
        await plugin.greet(longest, "\N{MATHEMATICAL SCRIPT CAPITAL A}" * 100, "de")
        assert 1 == len(set(await rows(server)))
        assert 2 == len(await delivered(server))
        assert 1 == len(set(await rows(server)))
        assert user.id not in str(await auth.database.read("select * from outbox"))


@pytest.mark.parametrize(
    "trouble",
    [
        Unavailable("smtp.example.com is not there", retry_after=90),
        LookupError("a bug, with ann@example.com"),
        None,
    ],
)
async def test_mail_to_nobody_while_mail_fails(
    tmp_path: Path, trouble: Exception | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits as the others do, so that no figure tells it apart; and it goes as they go."""
    monkeypatch.setattr(outbox_module, "PATIENCE", 0.01)
    auth, plugin = made(tmp_path)
    async with auth.started():
        server: Any = plugin
        mailer = auth.plugin(MailPlugin)
        mailer.refusal = trouble

        async def hangs(_: Message) -> None:
            await asyncio.Event().wait()

        with monkeypatch.context() as patch:
            if trouble is None:
                patch.setattr(mailer, "send", hangs)
            await plugin.greet("ann@example.com", "Ann")
            await delivered(server)
            await plugin.greet(None, "")
            await delivered(server)
            assert 1 == len(set(await rows(server)))
            server.clock.advance(LATE)
            [check] = [check for check in auth.checks if check.name == "outbox"]
            assert await check.run()
        mailer.refusal = None
        assert 1 == len(await delivered(server))
        server.clock.advance(15)
        await delivered(server)
        assert await check.run() is None


async def test_refused_address_is_no_trouble_of_others(server: Server) -> None:
    """An address that is refused for good says nothing about the mailer."""
    mailer = server.auth.plugin(MailPlugin)
    mailer.refusal = Unavailable("not now")
    await greeted(server, "ann@example.com")
    mailer.refusal = Undeliverable("no such mailbox")
    await greeted(server, "bob@example.com")
    assert "no such mailbox" == server.events.one(MessageDropped).why
    mailer.refusal = None
    assert [] == await greeted(server, None)
    states = [(one["sent_at"], one["error"]) for one in await server.auth.outbox.list()]
    assert {(None, "not now"), (None, "no such mailbox")} == set(states)


async def test_mail_without_a_mailer(tmp_path: Path) -> None:
    """It waits, and says what is missing."""
    settings = 'plugins = ["password", "greeting"]'
    async with serving(tmp_path, settings, plugins=PLUGINS) as server:
        await greeting(server).greet("ann@example.com", "Ann")
        await greeting(server).greet(None, "")
        await server.auth.outbox.flush()
        said = {one["error"] for one in await server.auth.outbox.list()}
        assert {"no listed plugin delivers mail"} == said


async def test_health(server: Server) -> None:
    """Mail that waits is told to everybody, and leaves the server ready."""
    server.auth.plugin(MailPlugin).refusal = Unavailable("not now")
    await greeted(server, "ann@example.com")
    server.clock.advance(LATE)
    await server.auth.revocations.poll()
    said = "Messages wait in the outbox, the first for 5 minutes: see `picoauth mail list`."
    body = {"status": "degraded", "ready": True, "problems": {"outbox": said}}
    for query, status in (("", 200), ("?check=ready", 200), ("?check=outbox", 503)):
        answer = await server.get(f"/health-check{query}")
        assert (status, body) == (answer.status_code, answer.json())


# What a user typed

HOSTILE = [
    "Ann\r\nBcc: eve@example.com",
    "Ann\0",
    '<a href="https://evil.example">click</a>',
    "https://evil.example/?a=b&c",
    "www.evil.example",
    "evil\N{IDEOGRAPHIC FULL STOP}example",
    "evil\N{DIGIT ONE FULL STOP}example",
    "{{ link }} {% include 'x' %}",
    "eve@example.com",
    "\N{RIGHT-TO-LEFT OVERRIDE}moc.elpmaxe.live//:sptth",
    "&lt;b&gt;",
    "\ud800",
    "=?utf-8?q?=0D=0ABcc:?=",
    "a\N{LINE SEPARATOR}b",
    "javascript:alert(1)",
    "",
    " ",
    "x" * 100_000,
]


@pytest.mark.parametrize("name", HOSTILE)
async def test_name_that_would_be_more(server: Server, name: str) -> None:
    """It becomes no header, link, markup or template, wherever it stands (E-1)."""
    [message] = await greeted(server, "ann@example.com", name)
    words = message.values["name"]
    assert f"Hello {words}".strip() == message.subject
    assert len(words) <= 100
    assert f"Hello {words},\n\nopen {LINK} to go on.\n" == message.text
    words = words.replace("'", "&#39;")
    assert f'<p>Hello {words},</p>\n<p><a href="{LINK}">go on</a></p>' == message.html
    assert not set(message.values["name"]) & set(
        '\r\n\0<>&"./:@?={}%()\N{LINE SEPARATOR}\N{IDEOGRAPHIC FULL STOP}'
    )


@pytest.mark.parametrize(
    "name",
    [
        "Ann-Marie O'Neill",
        "Zoë Müller",
        "Zoe\N{COMBINING DIAERESIS}",
        "\u0939\u093f\u0928\u094d\u0926\u0940",
        "\u0e19\u0e49\u0e33",
        "山田 太郎",
        "R2-D2_x",
    ],
)
async def test_name_stays_what_it_is(server: Server, name: str) -> None:
    """Letters, marks and digits of every script arrive as they were typed."""
    [message] = await greeted(server, "ann@example.com", name)
    assert f"Hello {name}" == message.subject
    assert name.replace("'", "&#39;") in str(message.html)


async def test_link(server: Server) -> None:
    """It begins with `public_url`, whatever comes after; what no URL has is encoded."""
    mail = server.auth.mail
    for path, expected in (
        ("hello?a=b&c#d", "/hello?a=b&c#d"),
        ("//evil.example", "/evil.example"),
        ("@evil.example", "/@evil.example"),
        ('/x"\r\n<b>\0', "/x%22%0D%0A%3Cb%3E%00"),
        ("/é%20 ", "/%C3%A9%20%20"),
    ):
        assert f"https://auth.example.org{expected}" == mail.link(path)


@pytest.mark.parametrize(
    "to",
    [
        "",
        "ann",
        "ann@",
        "@example.com",
        "ann@example.com\r\nBcc: eve@example.com",
        "ann\n@example.com",
        "ann@exa\0mple.com",
        "ann@example.com, eve@example.com",
        "ann@example.com;eve@example.com",
        "ann@example.com eve@example.com",
        "ann@eve@example.com",
        "Ann <ann@example.com>",
        '"Ann"@example.com',
        '"a b"@example.com',
        "ann(comment)@example.com",
        "ann@[192.0.2.1]",
        "ann@localhost",
        "ann@exa mple.com",
        "ann@-.com.",
        "ann@ex\ud800.com",
        "a" * 243 + "@example.com",
        "\N{LATIN CAPITAL LETTER SHARP S}" * 120 + "@example.com",
        "<\N{COMBINING LONG SOLIDUS OVERLAY}@example.com>",
        "a" * 300,
    ],
)
async def test_address_that_is_none(server: Server, to: str) -> None:
    """It is refused where it is queued: nothing is written."""
    with pytest.raises(AuthError) as caught:
        await greeting(server).greet(to, "Ann")
    assert "invalid_email" == caught.value.problem.code
    assert [] == await server.auth.outbox.list()


@pytest.mark.parametrize(
    ("typed", "sent_to"),
    [
        ("Ann+x@Example.COM", "Ann+x@example.com"),
        ("ann@bücher.example", "ann@xn--bcher-kva.example"),
        ("änn@example.com", "änn@example.com"),
        ("a\N{COMBINING DIAERESIS}nn@example.com", "änn@example.com"),
        ("<\N{COMBINING LONG SOLIDUS OVERLAY}@example.com", "\N{NOT LESS-THAN}@example.com"),
        ("a" * 242 + "@example.com", "a" * 242 + "@example.com"),
    ],
)
def test_mailbox(typed: str, sent_to: str) -> None:
    """The left part stays as it was typed, the domain is as it is looked up."""
    assert sent_to == mailbox(typed)


# What stops the start


def made(folder: Path, more: str = "", **kinds: type[Plugin[Any]]) -> tuple[Auth, GreetingPlugin]:
    """A kernel with the plugins, and the plugin, which looks like a `Server` to the kit."""
    found = {**PLUGINS, **kinds}
    names = ", ".join(f'"{name}"' for name in found)
    settings = f'plugins = [{names}]\npublic_url = "https://auth.example.org"\n{more}'
    clock = Clock()
    offers = [offer(name, kind) for name, kind in found.items()]
    auth = Auth(parse(settings, folder), clock=clock, monotonic=clock, found=offers)
    plugin: Any = auth.plugins.on["greeting"]
    plugin.clock = clock
    return auth, plugin


def test_sender_of_mail(tmp_path: Path) -> None:
    """Mail has a slot of its own."""

    class Other(Plugin[NoSettings]):
        @hookimpl
        def senders(self) -> Mapping[str, Sender]:
            return {"mail": MailPlugin.send}  # type: ignore[dict-item]

    with pytest.raises(ConfigError) as caught:
        made(tmp_path, other=Other)
    sentence = "senders: mail is what the slot mailer sends: fill that instead."
    assert sentence == str(caught.value)
