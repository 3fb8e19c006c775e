"""Factors of the own account: listed, named and removed, and what a change of credentials ends."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from picoauth import (
    Addition,
    AuthError,
    Caller,
    Conflict,
    CredentialChanged,
    Denied,
    Enrolment,
    Event,
    FactorConfirmed,
    FactorRemoved,
    NoSettings,
    Plugin,
    Session,
    Statement,
    User,
    hookimpl,
)
from picoauth.testing import Server
from tests.accounts import SETTINGS, accounts, cut, heard, login, user_id, watched
from tests.factors import PIN, KeyFactor, code_of, count, join, step

NOW = 1_800_000_000
FRESH = 300
WINDOW = 10


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    """A server on which Ann is registered."""
    async with accounts(tmp_path) as server:
        yield server


def claims(token: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    return found


@dataclass(frozen=True)
class Device:
    """A session of Ann, with its newest tokens."""

    server: Server
    tokens: Mapping[str, Any]

    @property
    def token(self) -> str:
        found: str = self.tokens["access_token"]
        return found

    @property
    def session_id(self) -> str:
        found: str = claims(self.token)["sid"]
        return found

    async def factors(self) -> list[dict[str, Any]]:
        answer = await self.server.get("/auth/factors", token=self.token)
        assert 200 == answer.status_code, answer.text
        found: list[dict[str, Any]] = answer.json()["factors"]
        return found

    async def factor(self, name: str) -> str:
        [found] = [factor["id"] for factor in await self.factors() if factor["factor"] == name]
        factor_id: str = found
        return factor_id

    async def enrol(self, name: str, **body: Any) -> Device:
        answer = await self.server.post(f"/{name}/enrol", body, token=self.token)
        assert 200 == answer.status_code, answer.text
        return replace(self, tokens=answer.json())

    async def remove(self, factor_id: str) -> tuple[int, str | None]:
        answer = await self.server.send("DELETE", f"/auth/factors/{factor_id}", token=self.token)
        return code_of(answer)

    async def rename(self, factor_id: str, label: Any = "mine") -> tuple[int, str | None]:
        path = f"/auth/factors/{factor_id}"
        return code_of(await self.server.send("PATCH", path, {"label": label}, token=self.token))

    async def valid(self) -> tuple[bool, bool]:
        """Whether access and refresh token are accepted; else the session has ended."""
        checked = await self.server.post("/jwt/validate", token=self.token)
        refreshed = await self.server.post("/jwt/refresh", token=self.tokens["refresh_token"])
        codes = [code_of(answer) for answer in (checked, refreshed)]
        assert not set(codes) - {(200, None), (401, "session_ended")}
        return codes[0] == (200, None), codes[1] == (200, None)


async def device(server: Server, username: str = "ann", **proof: Any) -> Device:
    return Device(server, await login(server, username, **proof))


@pytest.fixture
async def mine(server: Server) -> Device:
    """A session of Ann."""
    return await device(server)


async def stored(server: Server, session_id: str) -> Session:
    session = await server.auth.sessions.get(session_id)
    assert session is not None
    return session


async def ann(server: Server) -> User:
    return await server.auth.users.require(await user_id(server))


async def told(server: Server, events: Sequence[Event]) -> list[Event]:
    await server.auth.events.settle()
    return list(events)


async def unconfirmed(server: Server, factor: str) -> Enrolment:
    """An enrolment of Ann that is written, and not yet proven."""
    made = replace(server.auth.users.enrolment((await ann(server)).id, factor), confirmed_at=None)
    await server.auth.database.write(server.auth.users.enrolling(made))
    return made


async def test_list(server: Server, mine: Device) -> None:
    """Each enrolled factor is listed with when it was confirmed and last used."""
    server.clock.advance(5)
    mine = await mine.enrol("code", code="111111")
    server.clock.advance(5)
    await unconfirmed(server, "key")
    await login(server, code="111111")
    listed = await mine.factors()
    ids = [factor.pop("id") for factor in listed]
    expected = [
        ("pin", True, NOW, NOW + 10),
        ("code", True, NOW + 5, NOW + 10),
        ("key", False, None, None),
    ]
    assert [
        {
            "factor": name,
            "label": None,
            "confirmed": confirmed,
            "confirmed_at": confirmed_at,
            "last_used_at": last_used_at,
        }
        for name, confirmed, confirmed_at, last_used_at in expected
    ] == listed
    assert 3 == len(set(ids))


async def test_rename(server: Server, mine: Device) -> None:
    """A factor gets a name to show; nothing else changes, and no old proof hinders that."""
    server.clock.advance(FRESH + 1)
    factor_id = await mine.factor("pin")
    assert (204, None) == await mine.rename(factor_id, "My pin ✓")
    [factor] = await mine.factors()
    assert ("My pin ✓", 0) == (factor["label"], (await ann(server)).epoch)


@pytest.mark.parametrize("label", ["", "x" * 101, None, 3, ["x"]])
async def test_refused_labels(mine: Device, label: Any) -> None:
    """A label is a text of a hundred characters at most."""
    assert (400, "invalid_body") == await mine.rename(await mine.factor("pin"), label)


async def test_factors_of_someone_else(server: Server, mine: Device) -> None:
    """A factor of someone else is not there, as one that is nobody's; nor is it listed (M-3)."""
    await join(server, "bob")
    bob = await device(server, "bob")
    his = await bob.factor("pin")
    for factor_id in (his, "nothing", "%00"):
        assert (404, "not_found") == await mine.rename(factor_id)
        assert (404, "not_found") == await mine.remove(factor_id)
    assert [None] == [factor["label"] for factor in await bob.factors()]
    assert his not in [factor["id"] for factor in await mine.factors()]


async def test_remove(server: Server) -> None:
    """A factor that is removed takes its rows along, ends other sessions, and answers tokens."""
    other, mine = await device(server), await device(server)
    server.clock.advance(1)
    mine = await mine.enrol("code", code="111111")
    assert (False, False) == await other.valid()
    server.clock.advance(1)
    mine = await mine.enrol("code", code="222222")
    other = await device(server, code="111111")
    events, before = heard(server), await ann(server)
    [first, second] = [f["id"] for f in await mine.factors() if f["factor"] == "code"]
    answer = await server.send("DELETE", f"/auth/factors/{second}", token=mine.token)
    assert {"access_token", "refresh_token", "token_type", "expires_in"} == set(answer.json())
    new = replace(mine, tokens=answer.json())
    assert ((True, True), (False, False)) == (await new.valid(), await other.valid())
    assert [await new.factor("pin"), first] == [factor["id"] for factor in await new.factors()]
    assert 0 == await count(server, "code")
    assert before.epoch + 1 == (await ann(server)).epoch
    [event] = await told(server, events)
    assert (
        FactorRemoved(
            at=NOW + 2, user_id=before.id, factor="code", enrolment_id=second, caller=event.caller
        )
        == event
    )
    assert (404, "not_found") == await new.remove(second)


async def test_last_factor(server: Server, mine: Device) -> None:
    """The one factor that a login can start with stays; a second one does not replace it."""
    pin = await mine.factor("pin")
    assert (409, "last_factor") == await mine.remove(pin)
    mine = await mine.enrol("code", code="111111")
    await unconfirmed(server, "key")
    assert (409, "last_factor") == await mine.remove(pin)
    mine = await mine.enrol("spare", code="222222")
    assert (409, "last_factor") == await mine.remove(pin)
    assert (200, None) == await mine.remove(await mine.factor("code"))


async def test_start_that_is_no_login_by_itself(mine: Device) -> None:
    """A key that needs another factor beside it does not replace the pin; the pin does without it."""
    mine = await mine.enrol("key")
    assert (409, "last_factor") == await mine.remove(await mine.factor("pin"))
    assert (200, None) == await mine.remove(await mine.factor("key"))


@pytest.fixture
def whole_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys that are a login by themselves."""

    async def completes(*_: Any) -> bool:
        return True

    monkeypatch.setattr(KeyFactor, "completes", completes)


@pytest.mark.usefixtures("whole_keys")
async def test_another_start_replaces_it(server: Server, mine: Device) -> None:
    """With another factor to log in by, either may go, but not both."""
    mine = await mine.enrol("key")
    pin, key = await mine.factor("pin"), await mine.factor("key")
    answer = await server.send("DELETE", f"/auth/factors/{pin}", token=mine.token)
    mine = replace(mine, tokens=answer.json())
    assert (409, "last_factor") == await mine.remove(key)


async def test_unconfirmed_factor_may_go(server: Server, mine: Device) -> None:
    """An enrolment that was never confirmed is removed as another is."""
    made = await unconfirmed(server, "key")
    assert (200, None) == await mine.remove(made.id)
    assert ["pin"] == [factor["factor"] for factor in await mine.factors()]


async def test_factor_whose_plugin_is_off(tmp_path: Path) -> None:
    """A factor that nothing offers any more can be removed, and counts for nothing."""
    async with accounts(tmp_path) as server:
        await (await device(server)).enrol("key")
    off = 'plugins = ["watched", "pin"]\nignore_factors = ["key"]'
    async with accounts(tmp_path, off) as server:
        mine = await device(server)
        assert (409, "last_factor") == await mine.remove(await mine.factor("pin"))
        assert (200, None) == await mine.remove(await mine.factor("key"))


async def test_removing_needs_a_fresh_proof(server: Server, mine: Device) -> None:
    """Who came a while ago removes nothing, nor who proved but a first factor (O-6)."""
    server.clock.advance(FRESH + 1)
    assert (403, "stepup_needed") == await mine.remove(await mine.factor("pin"))
    other = await (await device(server)).enrol("code", code="111111")
    assert (200, None) == await other.remove(await other.factor("code"))


async def test_session_without_the_second_factor_removes_nothing(server: Server) -> None:
    """A proof of the first factor, however fresh, is not enough where there is a second."""
    mine = await device(server)
    made = await unconfirmed(server, "code")
    await server.auth.database.write(Statement("update enrolments set confirmed_at = 1"))
    assert (403, "stepup_needed") == await mine.remove(made.id)


@pytest.mark.usefixtures("whole_keys")
async def test_two_last_factors_removed_at_once(mine: Device) -> None:
    """Of two factors to log in by, removed at once from two sides, one stays."""
    mine = await mine.enrol("key")
    ids = [factor["id"] for factor in await mine.factors()]
    codes = await asyncio.gather(*(mine.remove(factor_id) for factor_id in ids * 25))
    assert 1 == codes.count((200, None))
    late = {(404, "not_found"), (409, "last_factor")}
    assert set(codes) <= {(200, None), (401, "start_over"), *late}
    assert 1 == len(await mine.factors())


async def test_fifty_renames_at_once(mine: Device) -> None:
    """Each of fifty renames is done; the last stands."""
    factor_id = await mine.factor("pin")
    codes = await asyncio.gather(*(mine.rename(factor_id, f"pin {n}") for n in range(50)))
    assert {(204, None)} == set(codes)
    [factor] = await mine.factors()
    assert factor["label"] in {f"pin {n}" for n in range(50)}


PIN_CHANGE = "update pin set pin = ? where user_id = ?"


async def changed(server: Server, mine: Device, pin: str = "5678") -> Device:
    """Change Ann's pin in the name of a session, as the password plugin does a password."""
    changing = Statement(PIN_CHANGE, (pin, await user_id(server)), rows=1)
    tokens = await server.auth.credentials.change_credential(
        mine.session_id, "pin", [changing], Caller("192.0.2.1")
    )
    return replace(mine, tokens=tokens)


async def test_change_of_a_credential(server: Server) -> None:
    """The epoch rises, all other sessions end, this one goes on with new tokens (K-12, P-10)."""
    other, mine = await device(server), await device(server)
    events = heard(server)
    server.clock.advance(60)
    new = await changed(server, mine)
    assert ((True, True), (False, False)) == (await new.valid(), await other.valid())
    user, session = await ann(server), await stored(server, mine.session_id)
    assert (1, 1, NOW + 60) == (user.epoch, session.generation, session.rotated_at)
    assert (0, NOW) == (session.epoch, session.auth_time)
    assert (NOW + 60 + 14 * 86400, NOW + 60 + 14 * 86400) == (
        session.idle_at,
        claims(new.tokens["refresh_token"])["exp"],
    )
    changing = CredentialChanged(
        at=NOW + 60, user_id=user.id, factor="pin", caller=Caller("192.0.2.1")
    )
    assert [changing] == await told(server, events)
    assert (401, "proof_refused") == code_of(await step(server, **PIN))
    await login(server, pin="5678")


async def test_ends_of_a_changed_session(tmp_path: Path) -> None:
    """A change lets a session idle anew, and never outlive its absolute end."""
    async with accounts(tmp_path, f'{SETTINGS}[tokens]\nidle = "10m"\nabsolute = "15m"') as server:
        mine = await device(server)
        server.clock.advance(400)
        await changed(server, mine)
        session = await stored(server, mine.session_id)
        assert (NOW + 900, NOW + 900) == (session.idle_at, session.expires_at)


@pytest.mark.parametrize(("age", "works"), [(WINDOW - 1, True), (WINDOW, False)])
async def test_old_refresh_token_after_a_change(
    server: Server, mine: Device, age: int, *, works: bool
) -> None:
    """The refresh token from before is spent, with the window of any rotation (K-10)."""
    server.clock.advance(60)
    new = await changed(server, mine)
    server.clock.advance(age)
    answer = await server.post("/jwt/refresh", token=mine.tokens["refresh_token"])
    expected = (200, None) if works else (401, "session_ended")
    assert expected == code_of(answer)
    if works:
        assert new.tokens["refresh_token"] == answer.json()["refresh_token"]
    assert (works, works) == await new.valid()


async def test_change_without_rotation(tmp_path: Path) -> None:
    """In stateless mode, too, other sessions end, and the tokens that are answered work."""
    async with accounts(tmp_path, f'{SETTINGS}[tokens]\nrefresh = "stateless"') as server:
        other, mine = await device(server), await device(server)
        new = await changed(server, mine)
        assert ((True, True), (False, False)) == (await new.valid(), await other.valid())


async def test_change_races_with_refreshing(server: Server, mine: Device) -> None:
    """A change and refreshes at once: both are done, and nobody is taken for a thief."""
    token, events = mine.tokens["refresh_token"], heard(server)
    results = await asyncio.gather(
        *(server.post("/jwt/refresh", token=token) for _ in range(10)),
        changed(server, mine),
        *(server.post("/jwt/refresh", token=token) for _ in range(10)),
    )
    [new] = [result for result in results if isinstance(result, Device)]
    assert (True, True) == await new.valid()
    assert {200} == {r.status_code for r in results if isinstance(r, httpx.Response)}
    assert ["CredentialChanged"] == [type(e).__name__ for e in await told(server, events)]


@pytest.mark.parametrize(("rotations", "expected"), [(2, None), (3, "start_over")])
async def test_refresh_comes_between(
    server: Server, mine: Device, monkeypatch: pytest.MonkeyPatch, rotations: int, expected: str
) -> None:
    """A session that rotates while it changes is looked at again, three times in all."""
    change, left = server.auth.sessions.change, [None] * rotations

    async def rotating(session: Session, generation: int) -> Any:
        if left:
            left.pop()
            rotate = "update sessions set generation = generation + 1"
            await server.auth.database.write(Statement(rotate))
        return await change(session, generation)

    monkeypatch.setattr(server.auth.sessions, "change", rotating)
    if expected is None:
        assert (True, True) == await (await changed(server, mine)).valid()
        assert 3 == (await stored(server, mine.session_id)).generation
        return
    with pytest.raises(Denied, match=f"^{expected}$"):
        await changed(server, mine)
    assert 0 == (await ann(server)).epoch


async def test_fifty_changes_at_once(server: Server) -> None:
    """Of fifty changes from two sessions those that raced start over, or have ended.

    What was done raised the epoch by one each, in the name of one session; the last stands.
    """
    first, second = await device(server), await device(server)
    results = await asyncio.gather(
        *(changed(server, (first, second)[n % 2], f"pin {n}") for n in range(50)),
        return_exceptions=True,
    )
    done = [(n, result) for n, result in enumerate(results) if isinstance(result, Device)]
    codes = {str(result) for result in results if isinstance(result, BaseException)}
    assert codes <= {"start_over", "session_ended"}
    assert (1, len(done)) == (len({one.session_id for _, one in done}), (await ann(server)).epoch)
    [(pin,)] = await server.auth.database.read("select pin from pin")
    [last] = [one for n, one in done if pin == f"pin {n}"]
    assert (True, True) == await last.valid()


ENDS: dict[str, Callable[[Server, str, str], Awaitable[object]]] = {
    "disable": lambda server, ann, _: server.auth.accounts.disable(ann, Caller()),
    "delete": lambda server, ann, _: server.auth.accounts.delete(ann, Caller()),
    "logout_from_all": lambda server, ann, _: server.auth.accounts.logout_from_all(ann, Caller()),
    "logout": lambda server, ann, sid: server.auth.accounts.logout(ann, sid, Caller()),
}


@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("late", [False, True])
async def test_change_races_with_an_end(
    server: Server, mine: Device, monkeypatch: pytest.MonkeyPatch, how: str, *, late: bool
) -> None:
    """A change whose session or user ends before its write comes to nothing."""
    user, change = await ann(server), server.auth.sessions.change

    async def ending(session: Session, generation: int) -> Any:
        statements = await change(session, generation)
        monkeypatch.setattr(server.auth.sessions, "change", change)
        await ENDS[how](server, user.id, mine.session_id)
        return statements

    if late:
        monkeypatch.setattr(server.auth.sessions, "change", ending)
    else:
        await ENDS[how](server, user.id, mine.session_id)
    expected = "start_over" if late and how != "logout" else "session_ended"
    changing = Statement(PIN_CHANGE, ("5678", user.id))
    with pytest.raises(Denied, match=f"^{expected}$"):
        await server.auth.credentials.change_credential(
            mine.session_id, "pin", [changing], Caller()
        )
    left = await server.auth.database.read("select pin from pin")
    assert ([] if how == "delete" else [("1234",)]) == left
    assert (False, False) == await mine.valid()


async def test_session_of_a_deleted_user(
    server: Server, mine: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session that another store kept longer than its user changes nothing."""
    session = await stored(server, mine.session_id)
    await server.auth.accounts.delete(session.user_id, Caller())

    async def get(_: str) -> Session:
        return session

    monkeypatch.setattr(server.auth.sessions, "get", get)
    with pytest.raises(AuthError, match=r"^not_found$"):
        await server.auth.credentials.change_credential(session.id, "pin", [], Caller())


async def test_conflict_of_the_plugin(server: Server, mine: Device) -> None:
    """Where a statement of the plugin's misses its row, all is undone: start over."""
    failing = Statement(PIN_CHANGE, ("5678", "nobody"), rows=1)
    with pytest.raises(Denied, match=r"^start_over$"):
        await server.auth.credentials.change_credential(mine.session_id, "pin", [failing], Caller())
    assert ((True, True), 0) == (await mine.valid(), (await ann(server)).epoch)


async def test_fail_each_statement(server: Server) -> None:
    """Whichever statement of a removal fails, nothing of it is left, and no event is told."""
    other, mine = await device(server), await device(server)
    made = await unconfirmed(server, "key")
    events, tables = heard(server), ("users", "enrolments", "sessions", "revocations")
    before = [await server.auth.database.read(f"select * from {table}") for table in tables]
    with cut(server) as database:
        while database.after <= database.written:
            assert (401, "start_over") == await mine.remove(made.id)
            after = [await server.auth.database.read(f"select * from {table}") for table in tables]
            assert before == after
            assert [] == await told(server, events)
            database.after += 1
    assert 5 < database.after
    assert ((True, True), (True, True)) == (await mine.valid(), await other.valid())
    assert (200, None) == await mine.remove(made.id)


@pytest.mark.parametrize(
    ("before", "factor", "first"),
    [
        ((), "code", True),
        ((), "key", True),
        ((), "spare", False),
        (("spare",), "code", True),
        (("code",), "key", False),
        (("code",), "spare", False),
        (("key",), "code", False),
    ],
)
async def test_first_second_factor(
    server: Server, mine: Device, before: Sequence[str], factor: str, *, first: bool
) -> None:
    """`first` says exactly that the user had no second factor before, spare codes aside."""
    for name in before:
        mine = await mine.enrol(name, **({} if name == "key" else {"code": "111111"}))
    events, user = heard(server), await ann(server)
    mine = await mine.enrol(factor, **({} if factor == "key" else {"code": "222222"}))
    [event] = await told(server, events)
    assert isinstance(event, FactorConfirmed)
    expected = FactorConfirmed(
        at=NOW,
        user_id=user.id,
        factor=factor,
        enrolment_id=event.enrolment_id,
        first=first,
        caller=event.caller,
    )
    assert (expected, user.epoch + 1) == (event, (await ann(server)).epoch)
    assert event.enrolment_id in [one["id"] for one in await mine.factors()]


async def test_first_is_exact_for_two_at_once(server: Server, mine: Device) -> None:
    """Of twenty second factors enrolled at once one is first, and those that raced start over."""
    events = heard(server)
    paths = [("/code/enrol", {"code": "111111"}), ("/key/enrol", None)] * 10
    answers = await asyncio.gather(
        *(server.post(path, body, token=mine.token) for path, body in paths)
    )
    codes = [code_of(answer) for answer in answers]
    assert set(codes) <= {(200, None), (401, "start_over"), (403, "stepup_needed")}
    confirmed = [
        event for event in await told(server, events) if isinstance(event, FactorConfirmed)
    ]
    assert codes.count((200, None)) == len(confirmed)
    assert [True] == [event.first for event in confirmed if event.first]


async def test_enrolment_after_the_last_one_went(server: Server, mine: Device) -> None:
    """A second factor that comes after the last one was removed is first again."""
    mine = await mine.enrol("code", code="111111")
    answer = await server.send(
        "DELETE", f"/auth/factors/{await mine.factor('code')}", token=mine.token
    )
    events = heard(server)
    await replace(mine, tokens=answer.json()).enrol("key")
    [event] = await told(server, events)
    assert isinstance(event, FactorConfirmed)
    assert event.first


async def test_confirm(server: Server, mine: Device) -> None:
    """An unconfirmed enrolment is put in force once, and counts from then on."""
    made, other = await unconfirmed(server, "code"), await device(server)
    server.clock.advance(5)
    confirm = server.auth.credentials.confirm
    tokens = await confirm(mine.session_id, made, [], Caller())
    assert ((True, True), (False, False)) == (
        await replace(mine, tokens=tokens).valid(),
        await other.valid(),
    )
    [enrolment] = [e for e in await server.auth.users.enrolments(made.user_id) if e.id == made.id]
    assert NOW + 5 == enrolment.confirmed_at
    assert (401, "more_needed") == code_of(await step(server, **PIN))
    with pytest.raises(Denied, match=r"^start_over$"):
        await confirm(mine.session_id, made, [], Caller())
    assert 1 == (await ann(server)).epoch


@pytest.mark.parametrize("how", ["enrol", "confirm"])
async def test_factor_of_someone_else_is_not_enrolled(
    server: Server, mine: Device, how: str
) -> None:
    """A session enrols and confirms for its own user, whatever a plugin passes on (W-7)."""
    bob = await join(server, "bob")
    made = replace(server.auth.users.enrolment(bob.id, "code"), confirmed_at=None)
    if how == "confirm":
        await server.auth.database.write(server.auth.users.enrolling(made))
    before = await server.auth.users.enrolments(bob.id)
    with pytest.raises(AuthError, match=r"^not_found$"):
        await getattr(server.auth.credentials, how)(mine.session_id, made, [], Caller())
    assert (before, 0) == (
        await server.auth.users.enrolments(bob.id),
        (await ann(server)).epoch,
    )


@pytest.mark.parametrize(("factor", "fresh"), [("code", True), ("key", True), ("spare", False)])
async def test_enrolling_is_a_proof(
    server: Server, mine: Device, factor: str, *, fresh: bool
) -> None:
    """Who enrols a second factor has proven it; spare codes prove nothing by being printed."""
    server.clock.advance(5)
    await mine.enrol(factor, **({} if factor == "key" else {"code": "111111"}))
    session = await stored(server, mine.session_id)
    assert (NOW, NOW + 5 if fresh else None) == (session.auth_time, session.second_at)


async def test_spare_codes_keep_nobody_fresh(server: Server, mine: Device) -> None:
    """New spare codes every few minutes do not stand for a second factor that is not there."""
    mine = await mine.enrol("code", code="111111")
    server.clock.advance(FRESH)
    mine = await mine.enrol("spare", code="222222")
    server.clock.advance(1)
    answer = await server.post("/spare/enrol", {"code": "333333"}, token=mine.token)
    assert (403, "stepup_needed") == code_of(answer)


async def test_reset(server: Server) -> None:
    """A credential that is reset ends every session, at once; the epoch rises."""
    devices = [await device(server) for _ in range(2)]
    events, user = heard(server), await ann(server)
    changing = Statement(PIN_CHANGE, ("5678", user.id), rows=1)
    server.auth.events.recorders = {"audit": lambda _: Addition(reply="noted")}
    reset = server.auth.credentials.reset_credential
    assert {"audit": "noted"} == await reset(user, "pin", [changing], Caller("192.0.2.1"))
    for one in devices:
        assert (False, False) == await one.valid()
    caller = Caller("192.0.2.1")
    expected = CredentialChanged(at=NOW, user_id=user.id, factor="pin", reset=True, caller=caller)
    assert ([expected], 1) == (await told(server, events), (await ann(server)).epoch)
    await login(server, pin="5678")


async def test_reset_of_what_changed(server: Server) -> None:
    """A reset that was begun before another change, or a disabling, comes to nothing (T-4)."""
    user, reset = await ann(server), server.auth.credentials.reset_credential
    changing = Statement(PIN_CHANGE, ("5678", user.id), rows=1)
    await server.auth.accounts.logout_from_all(user.id, Caller())
    with pytest.raises(Denied, match=r"^start_over$"):
        await reset(user, "pin", [changing], Caller())
    await server.auth.accounts.disable(user.id, Caller())
    with pytest.raises(Denied, match=r"^start_over$"):
        await reset(await ann(server), "pin", [changing], Caller())
    assert [("1234",)] == await server.auth.database.read("select pin from pin")


async def test_reset_tells_the_plugin_of_its_conflict(server: Server) -> None:
    """A statement of the plugin's that misses its row is for the plugin to word."""
    user = await ann(server)
    statements = [Statement("select 1"), Statement(PIN_CHANGE, ("5678", "nobody"), rows=1)]
    with pytest.raises(Conflict) as conflict:
        await server.auth.credentials.reset_credential(user, "pin", statements, Caller())
    assert (1, 0) == (conflict.value.index, (await ann(server)).epoch)


async def test_database_goes_down_after_a_change(
    server: Server, mine: Device, caplog: pytest.LogCaptureFixture
) -> None:
    """What is committed is answered as done, with tokens, though nothing can be read after it."""
    watched(server).down_after = "insert into revocations"
    new = await changed(server, mine)
    sentence = "sessions that just ended are not refused here yet: the database is down"
    assert [sentence] == [r.getMessage() for r in caplog.records if r.name == "picoauth.changes"]
    watched(server).down_after, watched(server).down = None, False
    assert (True, True) == await new.valid()


class Failing(Plugin[NoSettings]):
    """Adds a claim until it is told to fail."""

    broken = False

    @hookimpl
    async def claims(self, user: User, session: Session) -> Mapping[str, Any]:
        if self.broken:
            raise RuntimeError("no claims today")
        return {"generation": session.generation}


async def test_claims_that_fail(tmp_path: Path) -> None:
    """Where a plugin cannot say its claims, the credential stays, and so does the session."""
    settings = SETTINGS.replace("watched", "failing")
    async with accounts(tmp_path, settings, failing=Failing) as server:
        mine = await device(server)
        new = await changed(server, mine)
        assert 1 == claims(new.token)["generation"]
        plugin: Any = server.auth.plugins.on["failing"]
        plugin.broken = True
        with pytest.raises(Denied, match=r"^refused$"):
            await changed(server, new, "9999")
        assert [("5678",)] == await server.auth.database.read("select pin from pin")
        assert (1, 1) == (
            (await ann(server)).epoch,
            (await stored(server, mine.session_id)).generation,
        )
