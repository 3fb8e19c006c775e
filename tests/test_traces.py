"""A user of every first-party plugin who is deleted: no row, and no byte of the file, remains."""

from __future__ import annotations

from pathlib import Path

import pytest

from picoauth.testing import serving
from picoauth.upkeep import cleaning
from tests.traces import HERE, KIT, annabel, holders, settings, words

OF_USERS = {
    *("users", "identifiers", "enrolments", "sessions", "tickets", "throttle", "renames"),
    *("password", "totp", "passkey", "passkey_users", "email_codes", "email_changes"),
    *("magic_link", "permissions", "permissions_members"),
}


@pytest.mark.parametrize("store", ["", "session-memory"])
async def test_nothing_remains(tmp_path: Path, store: str) -> None:
    """Her rows are in all tables that know users before, and in none afterwards."""
    text = settings(*([store] if store else []))
    async with serving(tmp_path, text, plugins=KIT) as server:
        someone = await annabel(server)
        known = words(someone)
        expected = OF_USERS - ({"sessions"} if store else set())
        assert expected == await holders(server, *known)
        assert await server.auth.sessions.list(someone.user.id)
        waiting = "select count(*) from outbox where sealed is not null"
        before = (await server.auth.database.read(waiting))[0][0]
        assert before
        await server.auth.accounts.delete(someone.user.id, HERE)
        assert [] == await server.auth.sessions.list(someone.user.id)
        assert await holders(server, *known) <= {"tickets"}  # of a login that anybody began
        [(rows,)] = await server.auth.database.read("select count(*) from recovery")
        assert 0 == rows
        server.clock.advance(2 * 3600)
        await cleaning(server.auth).run()
        assert set() == await holders(server, *known)


@pytest.mark.embedded
@pytest.mark.parametrize("store", ["", "session-memory"])
async def test_no_byte_remains(tmp_path: Path, store: str) -> None:
    """Nothing of her is in the file that the server leaves."""
    text = settings(*([store] if store else []))
    async with serving(tmp_path, text, plugins=KIT) as server:
        someone = await annabel(server)
        known = words(someone)
        await server.auth.accounts.delete(someone.user.id, HERE)
        server.clock.advance(2 * 3600)
        await cleaning(server.auth).run()
    written = content(tmp_path)
    assert b"editors" in written
    assert [] == [word for word in known if word.encode() in written]


@pytest.mark.embedded
async def test_the_file_is_searched_well(tmp_path: Path) -> None:
    """Without the deletion every word is found in the file."""
    async with serving(tmp_path, settings(), plugins=KIT) as server:
        known = words(await annabel(server))
    written = content(tmp_path)
    assert known == [word for word in known if word.encode() in written]


def content(folder: Path) -> bytes:
    """All that the engine wrote; a server that stops leaves one file."""
    return b"".join(path.read_bytes() for path in folder.glob("picoauth.db*"))
