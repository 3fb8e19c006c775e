"""Who asks for a mail, or guesses at its code, learns nothing of the account (P-8)."""

from __future__ import annotations

from typing import Any

import pytest
from linked import ADDRESS, MINUTE, SETTINGS, Reader, address, served

from picoauth import Caller
from picoauth.testing import Server
from picoauth_magic_link.links import TRY
from tests.watching import Seen, Watch

KINDS = ("nobody", "known", "unverified", "disabled", "without", "nobody@x.org", ADDRESS)
BEGIN, LOGIN = "/auth/login/begin", "/auth/login"


async def people(server: Server) -> None:
    for name in ("known", "unverified", "disabled", "without"):
        reader = await Reader.joined(server, name, None)
        if name != "without":
            text = ADDRESS if name == "known" else f"{name}@example.com"
            await address(server, reader.id, text, verified=name != "unverified")
        if name == "disabled":
            await server.auth.accounts.disable(reader.id, Caller())


async def begun(watch: Watch, name: str) -> tuple[Seen, str]:
    """The flow is in the newest answer alone, of which the watch keeps the length."""
    flows: list[str] = []
    post = watch.server.client.request

    async def request(*args: Any, **more: Any) -> Any:
        answer = await post(*args, **more)
        flows.append(answer.json().get("flow", ""))
        return answer

    watch.server.client.request = request  # type: ignore[method-assign]
    seen = await watch.post(BEGIN, {"factor": "magic-link", "username": name})
    watch.server.client.request = post  # type: ignore[method-assign]
    return seen, flows[0]


async def test_questions_and_guesses(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """For known and unknown accounts, and beyond the limits, the same answers, reads and writes."""
    async with served(tmp_path, f"{SETTINGS}[throttle]\nfailures = 1000\n") as server:
        await people(server)
        watch = Watch(server, monkeypatch)
        first = same = None
        for _ in range(4):
            for name in KINDS:
                seen, flow = await begun(watch, name)
                guess = {"factor": "magic-link", "flow": flow, "magic-link": "00000000"}
                guessed = await watch.post(LOGIN, guess)
                first, same = first or seen, same or guessed
                assert (first, same) == (seen, guessed), name
            server.clock.advance(MINUTE)
        assert first is not None
        assert same is not None
        assert (200, 401) == (first.answer[0], same.answer[0])
        rows = "select 1 from magic_link where user_id is not null and tries < 100"
        assert 1 == len(await server.auth.database.read(rows))


async def test_delays(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the throttle too, whoever it is, and however the name is written."""
    async with served(tmp_path, f"{SETTINGS}[throttle]\nfailures = 3\n") as server:
        await people(server)
        watch = Watch(server, monkeypatch)
        for known, unknown in (
            ("known", "bob"),
            ("KNOWN", "Bob"),
            ("known", "bob"),
            ("Known", "bOB"),
        ):
            body = {"factor": "magic-link"}
            seen = await watch.post(BEGIN, {**body, "username": known})
            assert seen == await watch.post(BEGIN, {**body, "username": unknown})
        assert 429 == seen.answer[0]


@pytest.mark.parametrize("typed", ["", "what is no name", "@", "x" * 5000, "\u00df@example.com"])
async def test_names_that_are_none(
    server: Server, monkeypatch: pytest.MonkeyPatch, typed: str
) -> None:
    """What can be nobody's name gets the answer of all others."""
    watch = Watch(server, monkeypatch)
    body = {"factor": "magic-link"}
    seen = await watch.post(BEGIN, {**body, "username": typed})
    same = await watch.post(BEGIN, {**body, "username": "bob"})
    assert seen.answer == same.answer


async def test_flood_fills_no_disk(server: Server) -> None:
    """However many names strangers ask for, what is for nobody goes again, but for one row (FL-2)."""
    for number in range(100):
        await server.post(BEGIN, {"factor": "magic-link", "username": f"nobody{number}"})
    await server.auth.outbox.look()
    tables = {"outbox": 0, "magic_link": 1, "tickets where purpose = 'magic-link'": 0}
    for table, rows in tables.items():
        assert [(rows,)] == await server.auth.database.read(f"select count(*) from {table}"), table


async def test_guesses_at_what_is_void(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A guess writes, whoever's code it is, and whether it is dead: no time tells (P-8)."""
    await people(server)
    watch = Watch(server, monkeypatch)
    counted = []

    async def write(*statements: Any, write: Any = server.auth.database.write) -> Any:
        rows = await write(*statements)
        counted.extend(
            len(found) for one, found in zip(statements, rows, strict=True) if one.sql == TRY
        )
        return rows

    monkeypatch.setattr(server.auth.database, "write", write)
    for name in ("nobody", "known"):
        _, flow = await begun(watch, name)
        server.clock.advance(MINUTE)
        await begun(watch, name)  # a newer mail, which voids the first
        guess = {"factor": "magic-link", "flow": flow, "magic-link": "00000000"}
        assert 401 == (await server.post(LOGIN, guess)).status_code
    assert [1, 1] == counted
