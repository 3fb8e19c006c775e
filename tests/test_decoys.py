"""What is written for nobody goes again, and nothing else does."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from picoauth import Auth, decoys, parse
from picoauth.testing import Clock

COUNT = """
    select (select count(*) from outbox), (select count(*) from tickets),
           (select count(*) from rates)
"""


async def counted(auth: Auth) -> list[int]:
    [row] = await auth.database.read(COUNT)
    return list(row)


@pytest.mark.parametrize("failing", [False, True], ids=["well", "failing"])
async def test_erased(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, failing: bool) -> None:
    """All mails and tickets, but a few mails while none can be sent; counts above a bound."""
    monkeypatch.setattr(decoys, "RATES", 3)
    monkeypatch.setattr(decoys, "WAITING", 2)
    clock = Clock()
    auth = Auth(parse("plugins = []", tmp_path), clock=clock, monotonic=clock, found=[])
    async with auth.started():
        end = auth.now() + 300
        for number in range(5):
            for prefix in ("", decoys.PREFIX):
                message = f"{prefix}{number}"
                queuing = auth.outbox.queuing("mail", message, b"", about="x", expires_at=end)
                _, issuing = auth.tickets.issue("reset", {}, expires_at=end, decoy=bool(prefix))
                await auth.database.write(queuing, issuing)
                await auth.mail.rates.take(f"{prefix} {number}")
            clock.advance(1)
        await decoys.erase(auth.database, failing=failing)
        assert [5 + 2 * failing, 5, 10] == await counted(auth)
        for number in range(5, 8):
            await auth.mail.rates.take(f"{decoys.PREFIX} {number}")
        await decoys.erase(auth.database, failing=failing)
        await decoys.erase(auth.database, failing=failing)
        assert [5 + 2 * failing, 5, 5 + 3] == await counted(auth)
        left = await auth.database.read("select id from outbox where id like 'nobody%' order by id")
        assert [("nobody0",), ("nobody1",)][: 2 * failing] == left


async def test_secret_of_a_decoy(tmp_path: Path) -> None:
    """It opens nothing, and neither does anything that is stored."""
    auth = Auth(parse("plugins = []", tmp_path), found=[])
    async with auth.started():
        end = auth.now() + 300
        secret, issuing = auth.tickets.issue("reset", {}, expires_at=end, decoy=True)
        await auth.database.write(issuing)
        [(stored,)] = await auth.database.read("select hash from tickets")
        assert hashlib.sha256(secret.encode()).digest()[8:] == stored[8:]
        assert await auth.tickets.look("reset", secret) is None
        assert await auth.tickets.take("reset", secret) is None
