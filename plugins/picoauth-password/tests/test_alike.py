"""Who fails to log in learns nothing of the account: answer, work and writes are alike (P-8)."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from picoauth import Caller, Statement, User
from picoauth.testing import Server, serving
from picoauth.testing.server import PASSWORD
from picoauth_password import PasswordPlugin, hashing
from picoauth_password.hashing import Cost, argon2id

ON = 'plugins = ["password"]'
MOVED = f"{ON}\n[password]\nmemory_kib = 12288\niterations = 3"
WRONG = "not the password"

# User name or address, and password, of logins that must not be told apart.
FAILURES = {
    "nobody": ("nobody", PASSWORD),
    "no name": ("what is no name", PASSWORD),
    "address of nobody": ("nobody@example.org", PASSWORD),
    "address that is not verified": ("ann@example.org", PASSWORD),
    "wrong password": ("ann", WRONG),
    "wrong password of a disabled user": ("eve", WRONG),
    "right password of a disabled user": ("eve", PASSWORD),
    "user without a password": ("kim", PASSWORD),
    "empty password": ("ann", ""),
    "empty password of a user without one": ("kim", ""),
}


ASKING = ContextVar("ASKING", default=False)
"""Set within a login, and so not where the server works in the background."""


@dataclass
class Seen:
    """What one login made the server do, and what it answered."""

    answer: Any = None
    hashes: list[Cost] = field(default_factory=list)
    writes: list[Sequence[str]] = field(default_factory=list)


class Watch:
    """Counts the runs of Argon2 and the database's writes, all real."""

    def __init__(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        self.server = server
        self.seen = Seen()
        write = server.auth.database.write

        def hashing_(password: bytes, salt: bytes, pepper: bytes, cost: Cost) -> bytes:
            self.seen.hashes.append(cost)
            return argon2id(password, salt, pepper, cost)

        async def writing(*statements: Statement) -> Any:
            if ASKING.get():
                self.seen.writes.append([statement.sql for statement in statements])
            return await write(*statements)

        monkeypatch.setattr(hashing, "argon2id", hashing_)
        monkeypatch.setattr(server.auth.database, "write", writing)

    async def login(self, name: str, password: str) -> Seen:
        self.seen = seen = Seen()
        body = {"username": name, "password": password}
        token = ASKING.set(True)
        answer = await self.server.post("/auth/login", body)
        ASKING.reset(token)
        members = {key: value for key, value in answer.json().items() if key != "request_id"}
        headers = {key: value for key, value in answer.headers.items() if key != "x-request-id"}
        seen.answer = (answer.status_code, members, headers)
        return seen


async def user(server: Server, username: str) -> User:
    found = await server.auth.users.find("username", username)
    assert found is not None
    return found


async def people(server: Server) -> None:
    """Ann, whose address is not verified; Eve, who is disabled; Kim, who has no password."""
    body = {"username": "ann", "password": PASSWORD, "email": "ann@example.org"}
    assert 201 == (await server.post("/auth/register", body)).status_code
    await server.register("eve")
    await server.auth.accounts.disable((await user(server, "eve")).id, Caller())
    await server.auth.users.register(server.auth.users.draft(username="kim"))


async def test_failures_are_alike(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """One status, body and set of headers, one run of Argon2, and the same writes."""
    await people(server)
    watch = Watch(server, monkeypatch)
    seen = {why: await watch.login(*typed) for why, typed in FAILURES.items()}
    expected = seen["nobody"]
    assert (401, "invalid_credentials") == (expected.answer[0], expected.answer[1]["code"])
    assert ([Cost()], 1) == (expected.hashes, len(expected.writes))
    assert dict.fromkeys(FAILURES, expected) == seen


async def test_failures_are_alike_when_the_cost_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is nobody costs what a hash costs now; nobody costs a second run."""
    async with serving(tmp_path) as server:
        await people(server)
    async with serving(tmp_path, MOVED) as server:
        watch = Watch(server, monkeypatch)
        seen = {why: await watch.login(*typed) for why, typed in FAILURES.items()}
        now = Cost(12288, 3)
        assert [now] == seen["nobody"].hashes
        assert dict.fromkeys(FAILURES, 1) == {why: len(each.hashes) for why, each in seen.items()}
        assert [seen["nobody"].answer] * len(seen) == [each.answer for each in seen.values()]
        assert [seen["nobody"].writes] * len(seen) == [each.writes for each in seen.values()]
        assert 200 == (await watch.login("ann", PASSWORD)).answer[0]
        assert [now] == (await watch.login("ann", WRONG)).hashes


async def test_too_long_passwords_are_alike(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is no password is refused without any hashing, whoever it is for (P-7)."""
    await people(server)
    watch = Watch(server, monkeypatch)
    seen = [await watch.login(name, "x" * 257) for name in ("nobody", "ann", "eve", "kim")]
    assert [seen[0]] * 4 == seen
    assert ((400, "password_too_long"), []) == (
        (seen[0].answer[0], seen[0].answer[1]["code"]),
        seen[0].hashes,
    )


async def test_full_queues_are_alike(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is too busy is too busy for everybody."""
    await people(server)
    hasher = server.auth.plugin(PasswordPlugin).hasher
    while hasher.free.acquire(blocking=False):
        pass
    watch = Watch(server, monkeypatch)
    seen = [await watch.login(name, WRONG) for name in ("nobody", "ann", "eve", "kim")]
    assert ([seen[0]] * 4, 503, []) == (seen, seen[0].answer[0], seen[0].hashes)


THROTTLE = f"{ON}\n[throttle]\nfailures = 3\nlongest = 60"


@pytest.mark.parametrize(
    ("known", "unknown"),
    [
        (["ann"] * 6, ["bob"] * 6),
        (
            ["ann", "Ann", "ANN", "\uff41nn", "anN", "ann"],
            ["bob", "Bob", "BOB", "\uff42ob", "boB", "bob"],
        ),
        (
            ["Ann@Example.org", "ann@example.org", "ANN@example.org", "ann@EXAMPLE.org"],
            ["Bob@Example.org", "bob@example.org", "BOB@example.org", "bob@EXAMPLE.org"],
        ),
    ],
    ids=["same", "user names", "addresses"],
)
async def test_throttle_is_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: list[str], unknown: list[str]
) -> None:
    """Delays come at the same guess, for as long, and however the name is written each time."""
    async with serving(tmp_path, THROTTLE) as server:
        await server.register()
        address = "insert into identifiers select id, 'email', 'ann@example.org', '', 1 from users"
        await server.auth.database.write(Statement(address))
        watch = Watch(server, monkeypatch)
        codes = []
        for name, nobody in zip(known, unknown, strict=True):
            seen, same = await watch.login(name, WRONG), await watch.login(nobody, WRONG)
            assert same == seen
            codes.append(seen.answer[1]["code"])
        assert ["invalid_credentials"] * 3 == codes[:3]
        assert {"too_many_attempts"} == set(codes[3:])


async def test_delays_are_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They double up to the longest for a user and for nobody, to the second."""
    async with serving(tmp_path, THROTTLE) as server:
        await server.register()
        watch = Watch(server, monkeypatch)
        delays = []
        for _ in range(19):
            seen, same = await watch.login("ann", WRONG), await watch.login("bob", WRONG)
            assert same == seen
            delay = int(seen.answer[2].get("retry-after", 0))
            delays += [delay] if delay else []
            server.clock.advance(delay)
        assert [1, 2, 4, 8, 16, 32, 60, 60] == delays[:8]
