"""Who asks for a new password learns nothing of the account: answer, work and writes are alike."""

from __future__ import annotations

import asyncio

import pytest
from forgetful import MINUTE, PATH, address

from picoauth import Caller, Message, Unavailable
from picoauth.testing import MailPlugin, Server, delivered
from picoauth_password import PasswordPlugin
from tests.watching import Watch

SETS, ROUNDS = 10, 15


class SlowMail:
    """A mail server that takes two seconds for each; they never end before the tests do."""

    def __init__(self, plugin: MailPlugin) -> None:
        self.begun: list[str] = []
        self.asked = asyncio.Event()
        plugin.send = self.send  # type: ignore[method-assign]

    async def send(self, message: Message) -> None:
        self.begun.append(message.to)
        self.asked.set()
        await asyncio.Event().wait()


async def people(server: Server, number: int) -> list[dict[str, str]]:
    """How to ask for each kind of user, and for nobody; of the first alone there comes a mail."""
    users = server.auth.users
    for name in ("known", "unverified", "disabled", "without"):
        user, _ = await users.register(users.draft(username=f"{name}{number}"))
        if name != "without":
            text = f"{name}{number}@example.com"
            await address(server, user.id, text, verified=name != "unverified")
        if name == "disabled":
            await server.auth.accounts.disable(user.id, Caller())
    return [
        {"username": f"nobody{number}"},
        {"username": f"known{number}"},
        {"username": f"unverified{number}"},
        {"username": f"disabled{number}"},
        {"username": f"without{number}"},
        {"email": f"nobody{number}@example.com"},
        {"email": f"unverified{number}@example.com"},
    ]


async def test_thousand_questions(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """For known and unknown accounts one answer, the same reads and writes, and no hashing (R-1).

    The mail server takes its time, and nobody waits for it.
    """
    slow = SlowMail(server.auth.plugin(MailPlugin))
    watch = Watch(server, monkeypatch)
    server.auth.plugin(PasswordPlugin).hasher.close()  # no password is hashed
    first = await watch.post(PATH, {"username": "somebody"})
    assert (202, {}) == first.answer[:2]
    assert ([2, 3], 2) == ([len(write) for write in first.writes], len(first.reads))
    bodies = [body for number in range(SETS) for body in await people(server, number)]
    for _ in range(ROUNDS):
        for body in bodies:
            assert first == await watch.post(PATH, body), body
        server.clock.advance(MINUTE)
    assert len(bodies) * ROUNDS > 1000
    await server.auth.outbox.look()
    await slow.asked.wait()
    assert set() == {to for to in slow.begun if not to.startswith("known")}


@pytest.mark.parametrize(
    ("known", "unknown"),
    [
        ({"username": "known0"}, {"username": "nobody0"}),
        ({"username": "KNOWN0"}, {"username": "Nobody0"}),
        ({"email": "Known0@example.com"}, {"email": "Nobody0@example.com"}),
    ],
    ids=str,
)
async def test_limits_are_alike(
    server: Server, monkeypatch: pytest.MonkeyPatch, known: dict[str, str], unknown: dict[str, str]
) -> None:
    """Beyond them too, for however long."""
    await people(server, 0)
    watch = Watch(server, monkeypatch)
    for _ in range(14):
        assert await watch.post(PATH, known) == await watch.post(PATH, unknown)
        server.clock.advance(MINUTE / 2)


@pytest.mark.parametrize(
    "typed", ["", "what is no name", "@", "x" * 5000, "a@b@c", "\u00df@example.com"]
)
async def test_names_that_are_none(
    server: Server, monkeypatch: pytest.MonkeyPatch, typed: str
) -> None:
    """What can be nobody's name gets the answer, and the writes, of all others."""
    watch = Watch(server, monkeypatch)
    seen, same = (
        await watch.post(PATH, {"username": typed}),
        await watch.post(PATH, {"username": "bob"}),
    )
    assert (seen.answer, seen.writes) == (same.answer, same.writes)


async def test_rows_are_alike(server: Server) -> None:
    """Who reads the outbox learns nothing either, before or after it is sent."""
    for body in await people(server, 0):
        await server.post(PATH, body)
    columns = "kind, about, length(sealed), created_at, expires_at, tries, sent_at, error"
    for _ in range(2):
        rows = await server.auth.database.read(f"select distinct {columns} from outbox")
        assert 1 == len(rows)
        await server.auth.outbox.flush()


MAIL = 4
"""Pages of a row of the outbox, whose payload is padded to 16 KiB."""


async def flooded(server: Server, first: int, rounds: int) -> int:
    """Strangers ask by ten names a second; the pages of the file after that."""
    for number in range(first, first + rounds):
        for name in range(5):
            await server.post(PATH, {"username": f"nobody{number}.{name}"})
            await server.post(PATH, {"email": f"nobody{number}.{name}@example.com"})
        server.clock.advance(1)
        await server.auth.outbox.look()
    [[found]] = await server.auth.database.read("pragma page_count")
    return int(found)


@pytest.mark.parametrize("failing", [False, True], ids=["well", "failing"])
async def test_flood_fills_no_disk(
    server: Server, monkeypatch: pytest.MonkeyPatch, *, failing: bool
) -> None:
    """However many names strangers ask for, the file stops growing (FL-2).

    Also while no mail can be sent; what waits for users stays.
    """
    monkeypatch.setattr("picoauth.decoys.RATES", 20)
    monkeypatch.setattr("picoauth.decoys.WAITING", 5)
    await people(server, 0)
    mailer = server.auth.plugin(MailPlugin)
    mailer.refusal = Unavailable("not now") if failing else None
    await server.post(PATH, {"username": "known0"})
    await server.auth.outbox.flush()
    before = await flooded(server, 0, 20)
    grown = await flooded(server, 20, 60) - before
    # Six hundred questions more: not as much as the mail of one takes. A page may always be
    # split, since keys are random.
    assert grown < MAIL
    most = {"outbox": 1 + 5 * failing, "tickets": 1, "rates": 2 + 60}
    for table, rows in most.items():
        [(count,)] = await server.auth.database.read(f"select count(*) from {table}")
        assert count <= rows, table
    mailer.refusal = None
    await server.auth.outbox.retry()
    assert ["known0@example.com"] == [message.to for message in await delivered(server)]
