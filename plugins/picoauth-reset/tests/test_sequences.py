"""No sequence of steps sets a password without the token that went to its owner (R-6)."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from forgetful import KINDS, PATH, SETTINGS, Forgetful

from picoauth import Statement
from picoauth.testing import Server, serving
from picoauth_password import hashing

LONGEST = 5
UNLIMITED = f"{SETTINGS}[mail]\npause = 0\nhourly = 1000\ndaily = 1000\n"


def cheap(password: bytes, salt: bytes, pepper: bytes, _: Any) -> bytes:
    return hashlib.sha256(salt + pepper + password).digest()


class Attack:
    """Eve, who has an account, and wants Ann's. She reads her own mails, and none of Ann's.

    `token` is the newest that she was sent, or one that she made up. `mine` says whether it is
    good: she asked for it, and did not use it.
    """

    def __init__(self, server: Server, ann: Forgetful, eve: Forgetful) -> None:
        self.server, self.ann, self.eve = server, ann, eve
        self.mail = server.auth.mail
        self.queuing, self.links = self.mail.queuing, [""]
        self.mail.queuing = self.reads  # type: ignore[method-assign]
        self.token, self.mine = "made-up", False

    def reads(self, plugin: Any, template: str, to: Any, values: Any, **more: Any) -> Statement:
        self.links.append(values["link"])
        return self.queuing(plugin, template, to, values, **more)

    async def start(self) -> None:
        """All is as it was in the beginning."""
        tables = ("tickets", "rates", "outbox")
        await self.server.auth.database.write(
            *(Statement(f"delete from {table}") for table in tables)
        )
        self.token, self.mine = "made-up", False

    async def asks_for_ann(self) -> None:
        await self.ann.ask()

    async def asks(self) -> None:
        await self.eve.ask()
        self.token, self.mine = self.links[-1].partition("=")[2], True

    async def looks(self) -> None:
        assert self.mine == ((204, "") == await self.eve.look(self.token))

    async def sets(self) -> None:
        assert self.mine == ((204, "") == await self.eve.set(self.token, "password of Eve"))
        self.mine = False


async def stored(server: Server) -> Mapping[str, str]:
    return dict(await server.auth.database.read("select user_id, hash from password"))


@pytest.fixture
def _cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "argon2id", cheap)


@pytest.mark.usefixtures("_cheap")
async def test_every_sequence(tmp_path: Path) -> None:
    """All of five steps, and so all that are shorter, each from the same beginning.

    Ann's password never changes, and Eve's own only by a token that was sent to her.
    """
    async with serving(tmp_path, UNLIMITED, plugins=KINDS) as server:
        ann = await Forgetful.joined(server)
        eve = await Forgetful.joined(server, "eve", "eve@example.com")
        attack = Attack(server, ann, eve)
        before = await stored(server)
        steps: list[Callable[[], Awaitable[None]]] = [
            attack.asks_for_ann,
            attack.asks,
            attack.looks,
            attack.sets,
        ]
        for sequence in product(steps, repeat=LONGEST):
            await attack.start()
            for step in sequence:
                mine, now = attack.mine, await stored(server)
                await step()
                after = await stored(server)
                assert before[ann.id] == after[ann.id], sequence
                allowed = step == attack.sets and mine
                assert allowed == (now[eve.id] != after[eve.id]), sequence


async def test_ways_round(server: Server) -> None:
    """By another ticket, by another method, by no ticket, by the hash of one."""
    ann = await Forgetful.joined(server)
    before = await stored(server)
    await ann.ask()
    begun = await server.post("/auth/login/begin", {"factor": "password", "username": "ann"})
    [[found]] = await server.auth.database.read(
        "select hash from tickets where user_id = ?", (ann.id,)
    )
    for token in ("", found.hex(), begun.json()["flow"], f"{ann.id}"):
        for method in ("PUT", "POST", "PATCH"):
            body = {"password": "password of Eve"}
            answer = await server.send(method, f"{PATH}/{token}", body)
            assert answer.status_code in {404, 405}, answer.text
    assert before == await stored(server)
