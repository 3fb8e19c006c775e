"""Deleting a user: every row goes, in every table, and no byte of the user stays in the file."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from picoauth import Auth, Caller, Statement, identifier, parse
from picoauth.testing import Server
from picoauth.upkeep import cleaning
from tests.accounts import SETTINGS, accounts, login, user_id
from tests.factors import PIN, begin, code_of, join, step
from tests.firstparty import LISTED
from tests.traces import holders, tables

AGENT = "the agent of ann"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    """A server on which Ann left traces wherever users do."""
    async with accounts(tmp_path, f"{SETTINGS}[throttle]\nfailures = 1000") as server:
        await join(server, "bob")
        await traces(server)
        yield server


async def traces(server: Server) -> None:
    """Let Ann do everything that writes a row."""
    server.client.headers["User-Agent"] = AGENT
    tokens = await login(server)
    for path, code in (("/code/enrol", "111111"), ("/spare/enrol", "222222"), ("/key/enrol", "")):
        answer = await server.post(path, {"code": code} if code else None, token=token_of(tokens))
        assert 200 == answer.status_code, answer.text
        tokens = answer.json()
    proven = await step(server, **PIN)
    assert (401, "more_needed") == code_of(proven)
    await step(server, proven.json()["flow"], code="wrong")
    await step(server, username="ann", pin="wrong")
    await step(server, **PIN, spare="wrong")
    await server.post("/auth/stepup/begin", {"factor": "code"}, token=token_of(tokens))
    await server.send(
        "PATCH", "/auth/me", {"username": "anna", "locale": "de"}, token=token_of(tokens)
    )
    ann, now = await user_id(server, "anna"), server.auth.now()
    found = identifier("email", "anna@example.org", verified=True)
    await server.auth.database.write(server.auth.users.naming(ann, found, now))
    _, issuing = server.auth.tickets.issue("reset", {"to": ann}, expires_at=now + 60, user_id=ann)
    await server.auth.database.write(issuing)
    server.client.headers["User-Agent"] = "another agent"


def token_of(tokens: dict[str, Any]) -> str:
    found: str = tokens["access_token"]
    return found


async def test_no_table_holds_the_user(server: Server) -> None:
    """After a deletion no row anywhere has the user's id, names or address."""
    ann = await user_id(server, "anna")
    known = (ann, "anna", AGENT)
    expected = {
        "users",
        "identifiers",
        "renames",
        "enrolments",
        "sessions",
        "tickets",
        "throttle",
        "pin",
        "code",
        "spare",
    }
    assert expected == await holders(server, *known)
    await server.auth.accounts.delete(ann, Caller())
    assert set() == await holders(server, *known)
    assert {"users", "identifiers", "enrolments", "pin"} == await holders(
        server, await user_id(server, "bob")
    )


async def test_challenge_to_a_name(server: Server) -> None:
    """A login that somebody began for the user ends as it would for nobody, and is forgotten.

    Until then its ticket may say whom it was for: to take it away would tell a stranger
    that there was somebody.
    """
    ann, life = await user_id(server, "anna"), server.auth.config.logins.flow_life
    flows = [await begin(server, "link", to=name) for name in ("anna", "nobody")]
    await server.auth.accounts.delete(ann, Caller())
    answers = [await step(server, flow, factor="link", clicked=True) for flow in flows]
    assert [(401, "proof_refused")] * 2 == [code_of(answer) for answer in answers]
    await begin(server, "link", to="bob")
    bob = await user_id(server, "bob")
    await server.auth.accounts.delete(bob, Caller())
    assert {"tickets"} == await holders(server, bob)
    server.clock.advance(life + 3601)
    await cleaning(server.auth).run()
    assert set() == await holders(server, ann, bob)


@pytest.mark.embedded
async def test_no_byte_of_the_user_stays_in_the_file(server: Server) -> None:
    """Once the file is packed, nothing of the user is found in its bytes."""
    ann, path = await user_id(server, "anna"), server.folder / "picoauth.db"
    assert ann.encode() in b"".join(
        file.read_bytes() for file in server.folder.glob("picoauth.db*")
    )
    await server.auth.accounts.delete(ann, Caller())
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("vacuum")
        connection.execute("pragma wal_checkpoint(truncate)")
    packed = b"".join(file.read_bytes() for file in server.folder.glob("picoauth.db*"))
    words = [ann, "anna", AGENT, "anna@example.org"]
    assert [] == [word for word in words if word.encode() in packed]
    assert b"bob" in packed


async def test_what_is_kept_says_nothing(server: Server) -> None:
    """What outlives the user: keyed hashes of the names, and ids of sessions that ended."""
    ann = await user_id(server, "anna")
    before = {table: await rows(server, table) for table in await tables(server)}
    sessions = {row[0] for row in before["sessions"] if row[1] == ann}
    await server.auth.accounts.delete(ann, Caller())
    after = {table: await rows(server, table) for table in await tables(server)}
    grown = {table: after[table] - before[table] for table in after}
    assert {"retired_names", "revocations"} == {table for table, new in grown.items() if new}
    assert sessions == {row[0] for row in after["revocations"]}
    assert 2 == len(after["retired_names"])


async def rows(server: Server, table: str) -> set[Any]:
    return set(await server.auth.database.read(f"select * from {table}"))


async def test_rows_of_plugins_go_with_their_user(server: Server) -> None:
    """Whatever refers to a user goes with it in one statement, whoever deletes the row."""
    ann = await user_id(server, "anna")
    await server.auth.database.write(Statement("delete from users where id = ?", (ann,)))
    assert await holders(server, ann) <= {"throttle", "tickets"}


@pytest.mark.embedded
async def test_no_reference_is_left(server: Server) -> None:
    """No row refers to one that went with the user."""
    await server.auth.accounts.delete(await user_id(server, "anna"), Caller())
    assert [] == await server.auth.database.read("pragma foreign_key_check")


async def test_factor_that_is_no_longer_listed(tmp_path: Path) -> None:
    """Failures of a factor whose plugin is off are forgotten, too."""
    async with accounts(tmp_path, f"{SETTINGS}[throttle]\nfailures = 1000") as server:
        await traces(server)
    off = 'ignore_factors = ["code", "spare", "key", "link"]\nplugins = ["watched", "pin"]'
    async with accounts(tmp_path, off, name="anna") as server:
        ann = await user_id(server, "anna")
        assert "throttle" in await holders(server, ann)
        await server.auth.accounts.delete(ann, Caller())
        assert set() == await holders(server, ann, "anna")


STRANGERS = """
[privateauth]
consent_url = "built-in"

[indieauth-login]
domains = true
"""


@pytest.mark.embedded
async def test_rows_that_go_along_are_found_by_an_index(tmp_path: Path) -> None:
    """By one that begins with their column: else each deletion would read a whole table."""
    listed = json.dumps([*LISTED, "privateauth", "indieauth-login"])
    auth = Auth(parse(f"plugins = {listed}\n{STRANGERS}", tmp_path))
    await auth.migrate()
    await auth.database.close()
    with closing(sqlite3.connect(tmp_path / "picoauth.db")) as database:
        tables = database.execute("select name from sqlite_master where type = 'table'").fetchall()
        children = {
            (table, key[3])
            for (table,) in tables
            for key in database.execute(f"pragma foreign_key_list({table})")
        }
        ways = {
            (table, column): database.execute(
                f"explain query plan select 1 from {table} where {column} = ?", ("",)
            ).fetchone()[3]
            for table, column in children
        }
    assert {("password", "enrolment_id"), ("totp", "user_id")} <= children
    assert [] == [child for child, way in ways.items() if not way.startswith("SEARCH")]
