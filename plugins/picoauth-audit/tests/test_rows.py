"""Every event is a row: exactly when its change is made, with what it says and nothing else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest
from logbook import Log

from picoauth import (
    AuthError,
    Caller,
    Conflict,
    Event,
    LoginFailed,
    Statement,
    UserChanged,
    UserEnabled,
    identifier,
)
from picoauth.testing import Server, serving
from tests.accounts import accounts, user_id
from tests.factors import join, step
from tests.test_events import CALLER, JOURNEYS

NOW = 1_800_000_000
"""When the tests' clock begins."""
EVENTS = 'plugins = ["watched", "pin", "code", "key", "audit"]\n'


@pytest.fixture
async def watching(tmp_path: Path) -> AsyncIterator[Log]:
    """A server with Ann, like that of the kernel's tests of events."""
    async with accounts(tmp_path, EVENTS) as server:
        yield Log(server)


@pytest.mark.parametrize("name", JOURNEYS)
async def test_every_event_is_a_row(watching: Log, name: str) -> None:
    """A row says what its event says, of whom, and from where; and the log is whole."""
    told = await JOURNEYS[name](watching.server)
    entry = (await watching.entries(event=name))[-1]
    event = [one for one in watching.server.events if type(one).__name__ == name][-1]
    gone = name == "UserDeleted"
    whose = told.pop("user_id")
    assert (None if gone else whose) == entry["user_id"]
    assert (whose is not None) == (entry["who"] is not None)
    for untold in ("identifiers", "locale"):
        told.pop(untold, None)
    assert json.loads(json.dumps(told)) == entry["members"]
    assert event.at == entry["at"]
    caller = asdict(Caller() if gone else event.caller)
    for part in ("address", "user_agent", "request_id", "actor"):
        assert caller[part] == entry[part]
    assert (await watching.verify()).rows == len(await watching.entries())


@pytest.mark.parametrize("name", [name for name in JOURNEYS if name != "AccessRefused"])
async def test_what_cannot_be_audited_is_not_done(watching: Log, name: str) -> None:
    """Where the row cannot be written, its change is not made (L-3)."""
    entries = await watching.entries(event=name)
    events = [type(event).__name__ for event in watching.server.events].count(name)
    await watching.write(
        "create trigger full before insert on audit_unsealed when new.event = "
        f"'{name}' begin select raise(abort, 'no'); end"
    )
    with suppress(AuthError, Conflict, AssertionError):  # as that journey says that it failed
        await JOURNEYS[name](watching.server)
    assert events == [type(event).__name__ for event in watching.server.events].count(name)
    assert entries == await watching.entries(event=name)


async def test_undone_with_its_change(log: Log) -> None:
    """A change that comes to nothing leaves no row."""
    ann = await join(log.server)
    event = UserChanged(at=NOW, user_id=ann.id, fields=("name",))
    with pytest.raises(Conflict):
        await log.server.auth.events.commit(event, Statement("select 1", rows=2))
    assert "UserChanged" not in await log.names()


async def test_typed_name_is_not_kept(log: Log) -> None:
    """What is typed as a name may be a password: the log has but a keyed hash (L-2)."""
    await step(log.server, username="hunter2-oops", pin="1234")
    [entry] = await log.entries(event="LoginFailed")
    assert len(entry["members"]["typed"]) == 64
    whole = (log.server.folder / "picoauth.db-wal").read_bytes()
    assert b"hunter2" not in whole


async def test_texts_are_cut(log: Log) -> None:
    """What a stranger sends takes so much room and no more, and breaks nothing."""
    caller = Caller("a" * 999, "ü\0\ud800\n" * 999, "r" * 999, None, "key:" + "k" * 999)
    await log.server.auth.events.commit(UserEnabled(at=NOW, user_id=None, caller=caller))
    [entry] = await log.entries(event="UserEnabled")
    for part in ("address", "user_agent", "request_id", "actor"):
        assert 200 == len(entry[part])
    assert entry["user_agent"].startswith("ü\0?\nü")
    await log.verify()


@dataclass(frozen=True)
class Part:
    """Of an event."""

    name: str


@dataclass(frozen=True, kw_only=True)
class Nested(Event):
    """An event of a plugin, with more in it than texts."""

    part: Part
    several: tuple[Part, ...]
    more: dict[str, int]
    key: bytes
    names: frozenset[str]


async def test_event_of_any_plugin(log: Log) -> None:
    """Whatever the log of the server can tell is a row."""
    event = Nested(
        at=NOW,
        user_id=None,
        part=Part("a"),
        several=(Part("b"),),
        more={"n": 1},
        key=b"k",
        names=frozenset(("b", "a")),
    )
    await log.server.auth.events.commit(event)
    [entry] = await log.entries(event="Nested")
    assert {
        "part": {"name": "a"},
        "several": [{"name": "b"}],
        "more": {"n": 1},
        "key": "6b",
        "names": ["a", "b"],
    } == entry["members"]
    await log.verify()


async def test_actor_is_a_pseudonym(log: Log) -> None:
    """An administrator stands there under a pseudonym, too, which leads back while she is here."""
    ann, bob = await join(log.server), await join(log.server, "bob")
    caller = Caller("192.0.2.7", actor=f"user:{bob.id}")
    await log.server.auth.accounts.disable(ann.id, caller)
    [entry] = await log.entries(actor=f"user:{bob.id}")
    assert ("UserDisabled", ann.id, f"user:{bob.id}") == (
        entry["event"],
        entry["user_id"],
        entry["actor"],
    )
    [(stored,)] = await log.read("select actor from audit where event = 'UserDisabled'")
    assert stored.startswith("user:")
    assert bob.id not in stored
    await log.server.auth.accounts.delete(bob.id, Caller())
    [after] = await log.entries(event="UserDisabled")
    assert (stored, None, ann.id) == (after["actor"], after["address"], after["user_id"])
    await log.verify()


async def test_actor_who_is_gone(log: Log) -> None:
    """Whoever acts in the name of a user that is deleted meanwhile is still somebody."""
    caller = Caller(actor="user:nobody-at-all")
    await log.server.auth.events.commit(UserEnabled(at=NOW, user_id=None, caller=caller))
    [entry] = await log.entries(event="UserEnabled")
    assert "user:gone" == entry["actor"]
    assert [(0,)] == await log.read("select count(*) from audit_names")


async def test_event_after_a_deletion(log: Log) -> None:
    """What still comes of a user who was just deleted gives nobody a pseudonym again."""
    ann = await join(log.server)
    await log.server.auth.accounts.delete(ann.id, CALLER)
    late = LoginFailed(at=NOW, user_id=ann.id, factor="pin", code="proof_refused")
    await log.server.auth.events.commit(late)
    [entry] = await log.entries(event="LoginFailed")
    assert (None, None) == (entry["user_id"], entry["who"])
    assert [(0,)] == await log.read("select count(*) from audit_names")
    await log.verify()


async def test_no_traces_by_setting(tmp_path: Path) -> None:
    """With `traces = 0` no address is written at all."""
    settings = 'plugins = ["password", "audit"]\n[audit]\ntraces = "0s"\n'
    async with serving(tmp_path, settings) as server:
        await server.register()
        log = Log(server)
        [entry] = await log.entries(event="UserRegistered")
        assert (None, None, None) == (entry["address"], entry["user_agent"], entry["request_id"])
        await log.verify()


async def test_session_that_makes_room(tmp_path: Path) -> None:
    """A session that ends for a new one has its row in the same write."""
    settings = 'plugins = ["password", "audit"]\n[logins]\nsessions = 1\n'
    async with serving(tmp_path, settings) as server:
        await server.register()
        await server.login()
        await server.login()
        log = Log(server)
        ann = await user_id(server)
        assert ["UserRegistered", "LoginCompleted", "LoginCompleted", "SessionEnded"] == (
            await log.names(user=ann)
        )


async def test_export_of_the_user(log: Log) -> None:
    """Users get their own rows, and of who acted for them only of what kind it was."""
    ann, bob = await join(log.server), await join(log.server, "bob")
    await log.server.auth.accounts.disable(ann.id, Caller("192.0.2.7", actor=f"user:{bob.id}"))
    await log.server.auth.accounts.enable(ann.id, Caller(actor="key:night"))
    await log.entries()
    known = await log.plugin.export(ann)
    assert [("UserRegistered", None), ("UserDisabled", "user"), ("UserEnabled", "key")] == [
        (one["event"], one["actor"]) for one in known["entries"]
    ]
    assert {ann.id} == {one["user_id"] for one in known["entries"]}
    assert {None} == {one["address"] for one in known["entries"]}


async def test_export_has_an_end(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many rows there are, a user is handed the newest, the oldest of them first."""
    monkeypatch.setattr("picoauth_audit.reading.OWN", 2)
    ann = await join(log.server)
    await log.server.auth.accounts.disable(ann.id, Caller())
    await log.server.auth.accounts.enable(ann.id, Caller())
    await log.entries()
    known = await log.plugin.export(ann)
    assert ["UserDisabled", "UserEnabled"] == [one["event"] for one in known["entries"]]


async def test_address_of_an_identifier(log: Log) -> None:
    """Nothing says what the identifier is: the event has its kind alone."""
    ann = await join(log.server)
    found = identifier("email", "ann@example.com", verified=False)
    await log.server.auth.identities.add(ann, found, [], CALLER)
    [entry] = await log.entries(event="IdentifierAdded")
    assert {"kind": "email"} == entry["members"]


async def test_events_are_rows_of_one_write(log: Log, picoauth_server: Server) -> None:
    """Fifty changes at once are fifty rows, each with a place of its own."""
    users = await asyncio.gather(*(join(picoauth_server, f"user{n}") for n in range(50)))
    entries = await log.entries(event="UserRegistered")
    assert {user.id for user in users} == {entry["user_id"] for entry in entries}
    assert 50 == len({entry["seq"] for entry in entries})
    assert 50 <= (await log.verify()).rows
