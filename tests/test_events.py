"""Events: each kind with what it says, committed with its change, and told afterwards."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import pwd
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from enum import Enum, IntEnum
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest

import picoauth
from picoauth import (
    Addition,
    AuthError,
    Caller,
    Condition,
    Conflict,
    Event,
    NoSettings,
    Payload,
    Plugin,
    Problem,
    Proof,
    Session,
    Situation,
    Statement,
    UserChanged,
    UserDeleted,
    UserEnabled,
    UserRegistered,
    hookimpl,
    identifier,
    said,
)
from picoauth.backups import void
from picoauth.callers import untold
from picoauth.delivery import line
from picoauth.keyring import Keyring
from picoauth.testing import Server
from tests.accounts import accounts, asking, login, user_id, watched
from tests.factors import PIN, count, join, step
from tests.storage import until

NOW = 1_800_000_000
SETTINGS = 'plugins = ["watched", "pin", "code", "key", "witness"]\n'
CALLER = Caller("192.0.2.1", "curl/8", "r1")


class Witness(Plugin[NoSettings]):
    """Writes down each event with its change, replies, and hears of it afterwards."""

    @hookimpl
    def migrations(self) -> Sequence[str]:
        return ["create table witness (event text not null, told text not null)"]

    @hookimpl
    def record(self, event: Event) -> Addition:
        name = type(event).__name__
        rows = (Statement("insert into witness values (?, ?)", (name, line(event)), rows=1),)
        return Addition(rows, {"noted": name})

    @hookimpl
    async def on(self, event: Event) -> None:
        self.heard = [*getattr(self, "heard", ()), event]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    """A server with a witness, who saw nothing of Ann's registration."""
    async with accounts(tmp_path, SETTINGS, witness=Witness) as server:
        await heard(server)
        server.auth.plugins.on["witness"].heard = []  # type: ignore[attr-defined]
        await server.auth.database.write(Statement("delete from witness"))
        yield server


async def heard(server: Server) -> list[Event]:
    await server.auth.events.settle()
    plugin: Any = server.auth.plugins.on["witness"]
    found: list[Event] = getattr(plugin, "heard", [])
    return found


async def session(server: Server) -> Session:
    """A session of Ann; the only one."""
    await login(server)
    [found] = await server.auth.sessions.list(await user_id(server))
    return found


Journey = Callable[[Server], Awaitable[dict[str, Any]]]
"""Makes something happen; answers what the event has to say, but for time and caller."""


async def registered(server: Server) -> dict[str, Any]:
    user = await join(server, "bob")
    return {
        "user_id": user.id,
        "factors": ("pin",),
        "imported": False,
        "identifiers": await server.auth.users.identifiers(user.id),
        "locale": None,
    }


async def changed(server: Server) -> dict[str, Any]:
    ann = await user_id(server)
    await server.auth.accounts.change(ann, {"username": "anna", "name": "A"}, CALLER)
    return {"user_id": ann, "fields": ("name", "username")}


ADDRESS = identifier("email", "ann@example.com", verified=False)


async def added(server: Server) -> dict[str, Any]:
    ann = await server.auth.users.require(await user_id(server))
    await server.auth.identities.add(ann, ADDRESS, [], CALLER)
    return {"user_id": ann.id, "kind": "email"}


async def verified(server: Server) -> dict[str, Any]:
    told = await added(server)
    ann = await server.auth.users.require(await user_id(server))
    await server.auth.identities.verify(ann, ADDRESS, [], CALLER)
    return {**told, "replaced": False}


async def restored(server: Server) -> dict[str, Any]:
    ann = await user_id(server)
    await server.auth.accounts.restore(ann, ADDRESS, [], CALLER)
    return {"user_id": ann, "kind": "email"}


async def taken_away(server: Server) -> dict[str, Any]:
    told, found = await added(server), await session(server)
    ann = await server.auth.users.require(found.user_id)
    await server.auth.identities.remove(ann, [ADDRESS], [], CALLER, session_id=found.id)
    return told


async def disabled(server: Server) -> dict[str, Any]:
    ann = await user_id(server)
    await server.auth.accounts.disable(ann, CALLER)
    return {"user_id": ann}


async def closed(server: Server) -> dict[str, Any]:
    grace = replace(server.auth.config.account, deletion_grace=3600)  # or a job deletes her
    server.auth.config = replace(server.auth.config, account=grace)
    ann = await user_id(server)
    await server.auth.accounts.close(ann, CALLER)
    return {"user_id": ann, "delete_at": server.auth.now() + 3600}


async def reopened(server: Server) -> dict[str, Any]:
    ann = (await closed(server))["user_id"]
    await server.auth.accounts.reopen(ann, CALLER)
    return {"user_id": ann}


async def enabled(server: Server) -> dict[str, Any]:
    ann = await user_id(server)
    await server.auth.accounts.enable(ann, CALLER)
    return {"user_id": ann}


async def deleted(server: Server) -> dict[str, Any]:
    ann = await user_id(server)
    await server.auth.accounts.delete(ann, CALLER)
    return {"user_id": ann}


async def logged_in(server: Server) -> dict[str, Any]:
    found = await session(server)
    return {"user_id": found.user_id, "session_id": found.id, "factors": ("pin",)}


async def derived(server: Server) -> dict[str, Any]:
    parent = await session(server)
    tokens = await server.auth.derive(parent, CALLER)
    session_id = server.auth.tokens.check(tokens["access_token"]).session_id
    return {"user_id": parent.user_id, "session_id": session_id, "parent_id": parent.id}


async def failed(server: Server) -> dict[str, Any]:
    await step(server, username="ann", pin="wrong")
    ann = await user_id(server)
    return {"user_id": ann, "factor": "pin", "code": "proof_refused", "typed": None}


async def stepped_up(server: Server) -> dict[str, Any]:
    token = (await login(server))["access_token"]
    await server.post("/auth/stepup", {"factor": "pin", **PIN}, token=token)
    [found] = await server.auth.sessions.list(await user_id(server))
    return {"user_id": found.user_id, "session_id": found.id, "factors": ("pin",)}


async def session_ended(server: Server) -> dict[str, Any]:
    found = await session(server)
    await server.auth.accounts.logout(found.user_id, found.id, CALLER)
    return {"user_id": found.user_id, "session_id": found.id}


async def sessions_ended(server: Server) -> dict[str, Any]:
    found = await session(server)
    await server.auth.accounts.logout_from_all(found.user_id, CALLER)
    return {"user_id": found.user_id, "kept": None}


async def reused(server: Server) -> dict[str, Any]:
    token = (await login(server))["refresh_token"]
    [found] = await server.auth.sessions.list(await user_id(server))
    server.clock.advance(10)
    await server.post("/jwt/refresh", token=token)
    server.clock.advance(10)
    await server.post("/jwt/refresh", token=token)
    return {"user_id": found.user_id, "session_id": found.id}


async def credential_changed(server: Server) -> dict[str, Any]:
    found = await session(server)
    await server.auth.credentials.change_credential(found.id, "pin", [], CALLER)
    return {"user_id": found.user_id, "factor": "pin", "reset": False}


async def confirmed(server: Server) -> dict[str, Any]:
    found = await session(server)
    enrolment = server.auth.users.enrolment(found.user_id, "key")
    await server.auth.credentials.enrol(found.id, enrolment, [], CALLER)
    return {
        "user_id": found.user_id,
        "factor": "key",
        "enrolment_id": enrolment.id,
        "first": True,
    }


async def removed(server: Server) -> dict[str, Any]:
    found = await session(server)
    enrolment = server.auth.users.enrolment(found.user_id, "code")
    await server.auth.credentials.enrol(found.id, enrolment, [], CALLER)
    await server.auth.credentials.remove_factor(found.id, enrolment.id, CALLER)
    return {"user_id": found.user_id, "factor": "code", "enrolment_id": enrolment.id}


async def refused(server: Server) -> dict[str, Any]:
    await server.get("/auth/me")
    return {"user_id": None, "route": "/auth/me", "code": "token_missing"}


async def key_added(server: Server) -> dict[str, Any]:
    keyring = Keyring(server.auth)
    new = keyring.made()
    signs_at = await keyring.add(new)
    return {"user_id": None, "key_id": new.id, "algorithm": "ES256", "signs_at": signs_at}


async def key_retired(server: Server) -> dict[str, Any]:
    [key_id] = server.auth.keys.active
    await Keyring(server.auth).retire(key_id)
    return {"user_id": None, "key_id": key_id}


async def dropped(server: Server) -> dict[str, Any]:
    queuing = server.auth.outbox.queuing("mail", "m1", b"{}", about="x/y", expires_at=0)
    await server.auth.database.write(queuing)
    await server.auth.outbox.flush()
    why = "it came too late"
    return {"user_id": None, "message_id": "m1", "kind": "mail", "about": "x/y", "why": why}


async def backed_up(server: Server) -> dict[str, Any]:
    await void(server.auth, CALLER)
    return {"user_id": None}


JOURNEYS: dict[str, Journey] = {
    "UserRegistered": registered,
    "UserChanged": changed,
    "IdentifierAdded": added,
    "IdentifierVerified": verified,
    "IdentifierRestored": restored,
    "IdentifierRemoved": taken_away,
    "UserDisabled": disabled,
    "UserEnabled": enabled,
    "UserClosed": closed,
    "UserRestored": reopened,
    "UserDeleted": deleted,
    "LoginCompleted": logged_in,
    "SessionDerived": derived,
    "LoginFailed": failed,
    "SteppedUp": stepped_up,
    "SessionEnded": session_ended,
    "SessionsEnded": sessions_ended,
    "RefreshReused": reused,
    "CredentialChanged": credential_changed,
    "FactorConfirmed": confirmed,
    "FactorRemoved": removed,
    "SigningKeyAdded": key_added,
    "SigningKeyRetired": key_retired,
    "MessageDropped": dropped,
    "BackupRestored": backed_up,
    "AccessRefused": refused,
}
LOCAL = ("UserRegistered", "SigningKeyAdded", "SigningKeyRetired", "MessageDropped")
"""What is done here without a request."""
TOLD_ALONE = ("AccessRefused",)
"""Nothing is changed with these, so there is no write that they could join."""


def test_every_event_has_a_journey() -> None:
    """The journeys of this module are those of all events there are."""
    public = (getattr(picoauth, name) for name in picoauth.__all__)
    kinds = {kind for kind in public if isinstance(kind, type) and issubclass(kind, Event)}
    assert set(JOURNEYS) == {kind.__name__ for kind in kinds - {Event}}


ABOUT_THE_FILE = {"BackupRestored": [pytest.mark.embedded]}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=ABOUT_THE_FILE.get(name, [])) for name in JOURNEYS]
)
async def test_event(server: Server, caplog: pytest.LogCaptureFixture, name: str) -> None:
    """An event says exactly this, is noted in the write, told once, and logged as one line."""
    caplog.set_level(logging.INFO, "picoauth.events")
    expected = await JOURNEYS[name](server)
    [event] = [event for event in await heard(server) if type(event).__name__ == name]
    own = {field.name: getattr(event, field.name) for field in fields(event)}
    at, caller = own.pop("at"), own.pop("caller")
    assert (expected, server.auth.now()) == (own, at)
    if caller != CALLER and name not in LOCAL:
        assert ("127.0.0.1", True) == (caller.address, bool(caller.request_id))
    noted = "select told from witness where event = ?"
    rows = await server.auth.database.read(noted, (name,))
    assert ([] if name in TOLD_ALONE else [(line(event),)]) == rows
    lines = [record.getMessage() for record in caplog.records if record.name == "picoauth.events"]
    assert 1 == lines.count(line(event))


async def state(server: Server) -> list[Any]:
    of_users = ("users", "identifiers", "retired_names", "enrolments", "sessions")
    tables = (*of_users, "revocations", "signing_keys")
    return [
        *[await server.auth.database.read(f"select * from {table}") for table in tables],
        await server.auth.database.read("select event from witness where event <> 'LoginFailed'"),
    ]


@pytest.mark.parametrize("name", [name for name in JOURNEYS if name not in TOLD_ALONE])
async def test_addition_that_fails(
    server: Server, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """Where what a plugin adds fails, nothing of the change is written, told or logged."""
    caplog.set_level(logging.INFO, "picoauth.events")
    plugin, failing = server.auth.events.recorders["witness"], Statement("select 1", rows=2)
    before: list[Any] = []

    def recorder(event: Event) -> Addition:
        if type(event).__name__ != name:
            return plugin(event) or Addition()
        written.append(event)
        return Addition([failing])

    written: list[Event] = []
    write = watched(server).inner.write

    async def noting(*statements: Statement) -> Any:
        if failing in statements:
            before[:] = await state(server)
        return await write(*statements)

    watched(server).inner.write = noting  # type: ignore[method-assign]
    server.auth.events.recorders = {"witness": recorder}
    with suppress(AuthError, Conflict, AssertionError):  # as that journey says that it failed
        await JOURNEYS[name](server)
    assert written
    assert before == await state(server)
    assert name not in [type(event).__name__ for event in await heard(server)]
    assert f'"event": "{name}"' not in caplog.text


async def test_replies_are_answered(server: Server) -> None:
    """What a plugin replies in `record` stands in the answer, under the plugin's name."""
    tokens = await login(server)
    token = tokens["access_token"]
    proof = {"factor": "pin", **PIN}
    answers = {
        "LoginCompleted": tokens,
        "SteppedUp": (await server.post("/auth/stepup", proof, token=token)).json(),
        "UserChanged": (await server.send("PATCH", "/auth/me", {"name": "A"}, token=token)).json(),
        "FactorConfirmed": (await server.post("/key/enrol", token=token)).json(),
    }
    key = answers["FactorConfirmed"]["access_token"]
    factors = (await server.get("/auth/factors", token=key)).json()["factors"]
    [gone] = [factor["id"] for factor in factors if factor["factor"] == "key"]
    removed = await server.send("DELETE", f"/auth/factors/{gone}", token=key)
    answers["FactorRemoved"] = removed.json()
    assert {name: {"noted": name} for name in answers} == {
        name: answer["witness"] for name, answer in answers.items()
    }
    draft = server.auth.users.draft(username="bob")
    _, replies = await server.auth.users.register(draft)
    assert {"witness": {"noted": "UserRegistered"}} == replies


def deletion(user_id: str = "u1", **caller: Any) -> UserDeleted:
    return UserDeleted(at=NOW, user_id=user_id, caller=Caller(**caller))


async def test_nothing_to_write(server: Server) -> None:
    """An event without a change, to which nobody adds anything, is told without a write."""
    events = server.auth.events
    events.recorders = {"silent": lambda _: None, "brief": lambda _: Addition(reply=0)}
    with asking() as asked:
        assert {"brief": 0} == await events.commit(deletion())
    assert [] == asked
    assert deletion() in await heard(server)


async def test_order_of_a_write(server: Server) -> None:
    """What plugins add comes after the change, in the operator's order; a conflict counts so."""
    events = server.auth.events
    one, two, three = (Statement(f"select {n}", rows=1) for n in range(3))
    events.recorders = {"a": lambda _: Addition([two]), "b": lambda _: Addition([three])}
    with asking() as asked:
        await events.commit(deletion(), one)
    assert ["select 0", "select 1", "select 2"] == asked
    events.recorders = {"b": lambda _: Addition([Statement("select 1", rows=2)])}
    with pytest.raises(Conflict) as conflict:
        await events.commit(deletion(), one)
    assert 1 == conflict.value.index


TEAPOT = Problem(418, "teapot", "This is a teapot.")


async def test_condition_of_a_plugin(server: Server) -> None:
    """What has to hold comes before the change, and where it does not the client hears why."""
    events, ann = server.auth.events, await user_id(server)
    here = "update users set epoch = epoch where id = ?"
    gone, left = Statement(here, (ann,), rows=0), Statement(here, (ann,), rows=1)
    events.recorders = {"guard": lambda _: Addition(conditions=[Condition(gone, TEAPOT)])}
    before = await state(server)
    with pytest.raises(AuthError, match=r"^teapot$") as refusal:
        await server.auth.accounts.delete(ann, CALLER)
    assert (TEAPOT, before) == (refusal.value.problem, await state(server))
    assert UserDeleted not in [type(event) for event in await heard(server)]
    events.recorders = {"guard": lambda _: Addition(conditions=[Condition(left, TEAPOT)])}
    await server.auth.accounts.delete(ann, CALLER)
    assert await server.auth.users.get(ann) is None


async def test_order_of_conditions(server: Server) -> None:
    """They come first, in the operator's order, and a conflict does not count them."""
    events = server.auth.events
    one, two, three = (Statement(f"select {n}", rows=1) for n in range(3))
    events.recorders = {
        "a": lambda _: Addition([three], conditions=[Condition(one, TEAPOT)]),
        "b": lambda _: Addition(conditions=[Condition(two, TEAPOT)]),
    }
    with asking() as asked:
        await events.commit(deletion())
        await events.commit(deletion(), Statement("select 9"))
    first, rest = ["select 0", "select 1"], ["select 2"]
    assert [*first, *rest, *first, "select 9", *rest] == asked
    with pytest.raises(Conflict) as conflict:
        await events.commit(deletion(), Statement("select 9"), Statement("select 9", rows=2))
    assert 1 == conflict.value.index
    events.recorders = {"b": lambda _: Addition(conditions=[Condition(two, TEAPOT)])}
    with asking() as asked:
        await events.commit(deletion())
    assert ["select 1"] == asked


async def test_condition_of_a_proof(server: Server) -> None:
    """A condition on what a proof tells refuses the proof."""
    tokens = await login(server)
    enrolled = await server.post("/code/enrol", {"code": "111111"}, token=tokens["access_token"])
    assert 200 == enrolled.status_code
    refusing = Condition(Statement("select 1", rows=0), TEAPOT)

    def recorder(event: Event) -> Addition | None:
        return Addition(conditions=[refusing]) if isinstance(event, Odd) else None

    code: Any = server.auth.factors["code"]
    verify = code.verify

    async def telling(situation: Situation, payload: Payload) -> Proof:
        proof = await verify(situation, payload)
        return replace(proof, events=[Odd(at=NOW, user_id=proof.user.id, what="proof")])

    code.verify = telling
    for recorders, expected in (({"guard": recorder}, 401), ({}, 200)):
        server.auth.events.recorders = recorders
        answer = await step(server, **PIN, code="111111")
        assert expected == answer.status_code, answer.text


def raising(_: Event) -> Addition:
    raise KeyError("bug")


@pytest.mark.parametrize(
    ("recorder", "cause"),
    [
        (raising, KeyError),
        (lambda _: True, AttributeError),
        (lambda _: [Statement("select 1")], AttributeError),
        (lambda _: Addition(reply={1, 2}), TypeError),
        (lambda _: Addition(reply=b"bytes"), TypeError),
        (lambda _: Addition(conditions=[Statement("select 1", rows=0)]), TypeError),  # type: ignore[list-item]
    ],
)
async def test_recorder_that_fails(server: Server, recorder: Any, cause: type[Exception]) -> None:
    """A plugin that cannot note a change undoes it, before the write, and is named."""
    server.auth.events.recorders = {"audit": recorder}
    before = await state(server)
    with pytest.raises(RuntimeError, match=r"^plugin audit failed in record$") as error:
        await server.auth.accounts.delete(await user_id(server), CALLER)
    assert isinstance(error.value.__cause__, cause)
    assert before == await state(server)
    assert UserDeleted not in [type(event) for event in await heard(server)]


@dataclass(frozen=True, kw_only=True)
class Odd(Event):
    """An event of a plugin."""

    what: Any


async def test_event_that_cannot_be_told(server: Server) -> None:
    """An event that is no JSON fails before the write, not after it."""
    rename = Statement("update users set name = 'x'")
    with pytest.raises(TypeError, match="not JSON serializable"):
        await server.auth.events.commit(Odd(at=NOW, user_id=None, what=object()), rename)
    assert "ann" == (await server.auth.users.require(await user_id(server))).name


async def test_told_after_the_commit(server: Server) -> None:
    """Whoever is told reads the change as it is."""
    found: list[Any] = []

    async def looking(event: Event) -> None:
        found.append(await server.auth.users.get(event.user_id or ""))

    server.auth.events.listeners = {"looking": looking}
    bob = await join(server, "bob")
    await server.auth.events.settle()
    assert [bob] == found


async def test_told_of_one_kind(server: Server) -> None:
    """Who hears of one kind of events is asked about no other."""
    told: list[Event] = []

    async def listening(event: Event) -> None:
        told.append(event)

    events = server.auth.events
    events.listeners, events.hears = {"one": listening}, {"one": UserEnabled}
    for event in (deletion(), UserEnabled(at=NOW, user_id=None)):
        await events.commit(event)
    await events.settle()
    assert [UserEnabled] == [type(event) for event in told]


def test_what_changes_nothing() -> None:
    """Of the kernel's events these may come as often as strangers like."""
    kinds = (getattr(picoauth, name) for name in JOURNEYS)
    assert ["LoginFailed", "AccessRefused"] == [k.__name__ for k in kinds if not k.changes]


async def fail(_: Event) -> None:
    raise ValueError("bug")


async def cancel(_: Event) -> None:
    raise asyncio.CancelledError


async def leave(_: Event) -> None:
    raise SystemExit(3)


async def hang(_: Event) -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("listener", [fail, cancel, leave, hang, lambda _: 3])
async def test_listener_that_fails(
    server: Server,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    listener: Any,
) -> None:
    """A plugin that fails to take note is logged by name; the others are told all the same."""
    monkeypatch.setattr("picoauth.delivery.PATIENCE", 0.01)
    told: list[Event] = []

    async def last(event: Event) -> None:
        told.append(event)

    events = server.auth.events
    events.listeners = {"bad": listener, "last": last}
    await join(server, "bob")
    assert events.deliveries
    await until(lambda: not events.deliveries)
    assert ["UserRegistered"] == [type(event).__name__ for event in told]
    messages = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    assert ["plugin bad failed on UserRegistered"] == messages
    assert 2 == await count(server, "users")


async def test_settle_waits(server: Server) -> None:
    """A server that stops lets plugins take note before the database closes."""
    may, done = asyncio.Event(), []

    async def slow(event: Event) -> None:
        await may.wait()
        done.append(event)

    server.auth.events.listeners = {"slow": slow}
    await server.auth.events.commit(deletion())
    settling = asyncio.create_task(server.auth.events.settle())
    await asyncio.sleep(0)
    assert ([], False) == (done, settling.done())
    may.set()
    await settling
    assert [deletion()] == done
    await server.auth.events.settle()


def test_log_line() -> None:
    """A line has the event, the time in UTC, and whatever is known, in one order."""
    event = UserRegistered(at=NOW, user_id="u1", factors=("pin",), caller=CALLER)
    expected = (
        '{"event": "UserRegistered", "time": "2027-01-15T08:00:00+00:00", "user_id": "u1", '
        '"factors": ["pin"], "imported": false, "address": "192.0.2.1", "user_agent": "curl/8", "request_id": "r1"}'
    )
    assert expected == line(event)
    nobody = '{"event": "UserEnabled", "time": "1970-01-01T00:00:00+00:00"}'
    assert nobody == line(UserEnabled(at=0, user_id=None))


ESCAPES = '\r\n\t\0\x1b[31m\x7f\u2028\u202e\ud800"\\{}'


def test_log_line_is_one_line() -> None:
    """Whatever a client sends stays within its text: no line ends, no control characters."""
    event = Odd(at=NOW, user_id=ESCAPES, what=[ESCAPES], caller=Caller(user_agent=ESCAPES))
    told = line(event)
    assert [] == [c for c in told if not " " <= c <= "~" and c != "\x7f"]
    found = json.loads(told)
    said = ESCAPES.replace("\ud800", "?")
    assert (said, [said], said) == (found["user_id"], found["what"], found["user_agent"])


def test_log_line_is_short() -> None:
    """Texts are cut at two hundred characters, those of a list too."""
    event = UserChanged(
        at=NOW, user_id="u" * 999, fields=("f" * 999,), caller=Caller("a" * 999, "b" * 999)
    )
    found = json.loads(line(event))
    assert [200, 200, 200] == [len(found[name]) for name in ("user_id", "address", "user_agent")]
    assert ["f" * 200] == found["fields"]


class Weight(Enum):
    """Of a part."""

    HEAVY = "heavy"


class Level(IntEnum):
    """Of a part."""

    TOP = 1


@dataclass(frozen=True)
class Part:
    """Of an event of a plugin."""

    at: int
    name: str
    parts: tuple[Part, ...] = ()
    secret: str = untold("")


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        (Part(1, "n" * 201), {"at": 1, "name": "n" * 200, "parts": []}),
        (
            Part(1, "a", (Part(2, "b", secret="canary"),), secret="canary"),
            {"at": 1, "name": "a", "parts": [{"at": 2, "name": "b", "parts": []}]},
        ),
        ([Weight.HEAVY, Level.TOP, True, None], ["heavy", 1, True, None]),
        (bytes(range(3)), "000102"),
        (bytes(200), "0" * 200),
        ({"b", "a"}, ["a", "b"]),
        (frozenset({Weight.HEAVY, Level.TOP}), ["heavy", 1]),
        ({"k" * 201: {Weight.HEAVY: (1.5,)}}, {"k" * 200: {"heavy": [1.5]}}),
        ([inf, -inf, nan], ["inf", "-inf", "nan"]),
        (CALLER, {"address": "192.0.2.1", "user_agent": "curl/8", "request_id": "r1", "actor": None}),
    ],
)  # fmt: skip
def test_what_an_event_says(what: Any, expected: Any) -> None:
    """Whatever an event of a plugin has in it is JSON; what is for plugins alone is not told."""
    event = Odd(at=NOW, user_id="u1", what=what)
    assert {"user_id": "u1", "what": expected} == said(event) == json.loads(json.dumps(said(event)))
    assert expected == json.loads(line(event))["what"]


@pytest.mark.parametrize("what", [object(), Part, [object()], {"a": object()}])
def test_what_no_event_says(what: Any) -> None:
    """What is no JSON is a mistake of the plugin, and is named by its type alone."""
    name = "type" if what is Part else "object"
    with pytest.raises(TypeError, match=f"^Object of type {name} is not JSON serializable$"):
        said(Odd(at=NOW, user_id=None, what=what))


def test_what_is_for_plugins_alone() -> None:
    """Addresses and languages of a registration are in no line, and in no `repr`."""
    caller = Caller(languages="de-CH, tlh")
    event = UserRegistered(
        at=NOW, user_id="u1", identifiers=[ADDRESS], locale="xx-canary", caller=caller
    )
    for text in (line(event), repr(event)):
        assert "u1" in text
        assert [] == [canary for canary in ("ann@", "xx-canary", "tlh") if canary in text]


async def test_name_that_is_nobodys_is_hashed(server: Server) -> None:
    """People type passwords into the field for names: a log has but a keyed hash of them (L-2)."""
    await step(server, username="hunter2", pin="1")
    [event] = [event for event in await heard(server) if type(event).__name__ == "LoginFailed"]
    digest = server.auth.secrets.digests("typed", "hunter2")[0].hex()
    assert (None, digest) == (event.user_id, asdict(event)["typed"])
    assert "hunter2" not in line(event)


def test_who_acts_by_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command acts as who runs it: by the name on this machine, or by number without one."""
    uid = os.getuid()
    assert f"command:{pwd.getpwuid(uid).pw_name}" == Caller.local().actor
    monkeypatch.setattr("os.getuid", lambda: 4_000_123)
    assert "command:4000123" == Caller.local().actor
