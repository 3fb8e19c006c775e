"""Users in the log: found by name while they are here, and by nobody afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest
from logbook import Log

from picoauth import Caller, Conflict, Statement, UserDeleted
from picoauth.testing import Clock, serving
from picoauth_audit.chain import Broken
from picoauth_audit.rows import Pseudonym, subject
from tests.factors import join

CALLER = Caller("192.0.2.1", "Mozilla/5.0", "rq-1")


async def test_user_is_found_by_any_name(log: Log) -> None:
    """By user name, verified address, id and pseudonym; nobody by another text."""
    ann = await join(log.server, "ann")
    verify = "insert into identifiers values (?, 'email', 'ann@example.com', 'Ann@example.com', 1)"
    await log.write(verify, ann.id)
    [entry] = await log.entries(event="UserRegistered")
    reader = log.plugin.reader
    for text in ("ann", "ANN", "ann@example.com", ann.id):
        assert ann.id == await reader.user(text)
    assert entry["who"] == await reader.user(entry["who"])
    for text in ("bob", "bob@example.com", "", "%", "' or 1=1 --"):
        assert await reader.user(text) is None
    assert ["UserRegistered"] == await log.names(user=entry["who"])


async def test_names_that_stand_for_others(log: Log) -> None:
    """An id, or a pseudonym, means whose it is, though somebody else took it as a name."""
    ann = await join(log.server, "ann")
    [entry] = await log.entries(event="UserRegistered")
    for text in (ann.id, entry["who"]):
        await join(log.server, text)
    assert [ann.id, entry["who"]] == [
        await log.plugin.reader.user(text) for text in (ann.id, entry["who"])
    ]


async def test_nobody_finds_who_is_deleted(log: Log) -> None:
    """After a deletion nothing in the file leads from the user to the rows, or from them back."""
    ann = await join(log.server, "ann")
    await log.server.auth.accounts.logout_from_all(ann.id, CALLER, keep="session-of-ann")
    before = await log.entries(user=ann.id)
    [who] = {entry["who"] for entry in before}
    [(salt,)] = await log.read("select salt from audit_users")
    await log.server.auth.accounts.delete(ann.id, CALLER)
    after = await log.entries(user=who)
    assert [*(entry["event"] for entry in before), "UserDeleted"] == [e["event"] for e in after]
    assert {(None, None, None, None)} == {
        (e["user_id"], e["address"], e["user_agent"], e["request_id"]) for e in after
    }
    assert [] == await log.entries(user=ann.id)
    await log.verify()
    for table in ("audit_users", "audit_names", "audit_devices", "audit_notices"):
        assert [(0,)] == await log.read(f"select count(*) from {table}")
    dump = str(
        [await log.read("select * from audit"), await log.read("select * from audit_head")]
    ).encode()
    told = (ann.id.encode(), subject(ann.id).hex().encode(), b"session-of-ann", b"192.0.2.1", salt)
    assert not [one for one in told if one in dump]


async def test_administrator_deletes(log: Log) -> None:
    """Of a deletion by somebody else it stays known by whom and from where."""
    ann = await join(log.server, "ann")
    await log.server.auth.accounts.delete(ann.id, Caller("192.0.2.9", actor="key:night"))
    [entry] = await log.entries(event="UserDeleted")
    assert ("192.0.2.9", "key:night") == (entry["address"], entry["actor"])
    assert entry["who"]
    await log.verify()


async def test_rows_of_others_stay_as_they_are(log: Log) -> None:
    """A deletion touches no other user's rows."""
    ann, bob = await join(log.server, "ann"), await join(log.server, "bob")
    await log.server.auth.accounts.disable(bob.id, CALLER)
    before = await log.entries(user=bob.id)
    await log.server.auth.accounts.delete(ann.id, CALLER)
    assert before == await log.entries(user=bob.id)


async def test_unsealed_rows_of_who_is_deleted(log: Log) -> None:
    """What was not sealed yet is erased just so, and sealed as it is then."""
    async with log.plugin.keeper.turn:
        ann = await join(log.server, "ann")
        boss = Caller("192.0.2.8", actor=f"user:{ann.id}")
        bob = await join(log.server, "bob")
        await log.server.auth.accounts.disable(ann.id, CALLER)
        await log.server.auth.accounts.disable(bob.id, boss)
        await log.server.auth.accounts.delete(ann.id, CALLER)
    [disabled] = await log.entries(user=bob.id, event="UserDisabled")
    assert disabled["address"] is None
    await log.verify()
    held = await log.read("select count(*) from audit where address is not null")
    assert [(0,)] == held


async def test_deletion_that_comes_to_nothing(log: Log) -> None:
    """Where a deletion is undone the user is known as before."""
    ann = await join(log.server, "ann")
    event = UserDeleted(at=1, user_id=ann.id)
    with pytest.raises(Conflict):
        await log.server.auth.events.commit(event, Statement("select 1", rows=2))
    assert ["UserRegistered"] == await log.names(user=ann.id)


async def test_deleted_while_the_plugin_was_off(tmp_path: Path) -> None:
    """At its next start the plugin lets go of users of whose deletion it was not told."""
    clock = Clock()
    async with serving(tmp_path, 'plugins = ["password", "audit"]', clock=clock) as server:
        ann, bob = await server.register(), await server.register("bob")
        [entry] = await Log(server).entries(user=ann["id"])
    async with serving(tmp_path, 'plugins = ["password"]', clock=clock) as server:
        await server.auth.accounts.delete(ann["id"], CALLER)
    async with serving(tmp_path, 'plugins = ["password", "audit"]', clock=clock) as server:
        log = Log(server)
        await log.plugin.sealer.notice_deletions()
        found = await log.entries(user=entry["who"])
        assert ["UserRegistered", "DeletionNoticed"] == [one["event"] for one in found]
        assert {None} == {one["address"] for one in found}
        assert ["UserRegistered"] == await log.names(user=bob["id"])
        await log.verify()


async def test_pseudonym_taken_away(log: Log) -> None:
    """Who takes a user's pseudonym away makes no deletion of it: the user is still here."""
    await join(log.server, "ann")
    await log.entries()
    await log.write("delete from audit_users")
    await log.plugin.sealer.notice_deletions()
    assert "DeletionNoticed" not in await log.names()
    with pytest.raises(Broken, match="belongs to nobody, and no deletion is noted"):
        await log.plugin.verifier.verify()


async def test_pseudonyms_differ(log: Log) -> None:
    """They are made of salt and id, and of another salt for the same user anew."""
    assert Pseudonym.of("ann", b"1") == Pseudonym.of("ann", b"1")
    texts = {Pseudonym.of(user, salt).text for user in ("ann", "bob") for salt in (b"1", b"2")}
    assert 4 == len(texts)
    users = [await join(log.server, f"user{n}") for n in range(5)]
    found = await log.entries(event="UserRegistered")
    assert 5 == len({entry["who"] for entry in found}) == len(users)


async def test_known_users_are_named_once(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has a pseudonym costs no statement for it again; so many are remembered, and no more."""
    monkeypatch.setattr("picoauth_audit.rows.KNOWN", 2)
    rows = log.plugin.rows
    ann = await join(log.server, "ann")
    rows.known.clear()
    rows.fresh.clear()
    event = UserDeleted(at=1, user_id=ann.id)
    assert 2 == len(
        [
            one
            for one in rows.appending(event)
            if "insert into audit_names" in one.sql or "insert into audit_users" in one.sql
        ]
    )
    await log.entries()
    assert {subject(ann.id)} == rows.known
    assert 0 == len(
        [
            one
            for one in rows.appending(event)
            if "insert into audit_names" in one.sql or "insert into audit_users" in one.sql
        ]
    )
    rows.known |= {b"other"}
    rows.fresh |= {b"nobody"}
    for name in ("bob", "cem", "dan"):
        await join(log.server, name)
    await log.entries()
    assert len(rows.known) <= 2
    assert ["UserRegistered"] * 4 == await log.names(event="UserRegistered")
    assert None not in {entry["who"] for entry in await log.entries(event="UserRegistered")}
    await log.server.auth.accounts.delete(ann.id, CALLER)
    assert "UserDeleted" in await log.names()
    await log.verify()
