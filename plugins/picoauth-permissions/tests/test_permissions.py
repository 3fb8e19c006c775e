"""Permissions and roles: who holds what, and what a name may be."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import pytest
from joserfc.jws import extract_compact

from picoauth import AuthError, Caller, ConfigError, Conflict, Statement
from picoauth.testing import Server, serving
from picoauth_permissions import (
    PermissionGranted,
    PermissionRevoked,
    PermissionsPlugin,
    RoleAssigned,
    RoleChanged,
    RoleRemoved,
    RoleUnassigned,
)
from picoauth_permissions.holdings import Holding
from picoauth_permissions.names import LONGEST, MOST_BYTES
from tests.factors import PIN, PLUGINS, join

BOB = Caller(actor="user:bob")
PLAIN = 'plugins = ["pin", "permissions"]\n'


@runtime_checkable
class Permissions(Protocol):
    """What other plugins ask of this one."""

    async def held(self, user_id: str) -> frozenset[str]: ...
    async def holders(self, permission: str) -> Sequence[str]: ...
    async def grant(self, user_id: str, permission: str, caller: Caller) -> None: ...
    async def revoke(self, user_id: str, permission: str, caller: Caller) -> None: ...


def plugin(server: Server) -> PermissionsPlugin:
    return server.auth.plugin(PermissionsPlugin)


async def user(server: Server, name: str = "ann") -> str:
    return (await join(server, name)).id


async def refused(doing: Any) -> tuple[int, str, str | None]:
    with pytest.raises(AuthError) as caught:
        await doing
    problem = caught.value.problem
    return problem.status, problem.code, caught.value.detail


async def test_protocol(server: Server) -> None:
    """Another plugin finds this one by what it needs of it."""
    found = server.auth.plugin(Permissions)
    ann = await user(server)
    await found.grant(ann, "wiki:edit", BOB)
    assert frozenset({"wiki:edit"}) == await found.held(ann)
    assert [ann] == await found.holders("wiki:edit")
    await found.revoke(ann, "wiki:edit", BOB)
    assert frozenset() == await found.held(ann)
    assert [] == await found.holders("wiki:edit")
    told = [
        one for one in server.events.heard if isinstance(one, PermissionGranted | PermissionRevoked)
    ]
    assert [("wiki:edit", ann, BOB)] * 2 == [(e.permission, e.user_id, e.caller) for e in told]


async def test_held_by_roles(server: Server) -> None:
    """A user holds the own permissions and those of all roles, each once; a change counts at once."""
    ann, bob, on = await user(server), await user(server, "bob"), plugin(server)
    assert ("media:watch", "wiki:edit") == await on.roles.put(
        "editors", ["wiki:edit", "media:watch", "wiki:edit"], BOB
    )
    await on.roles.put("readers", ["media:watch"], BOB)
    for role in ("editors", "readers"):
        await on.holdings.assign(ann, role, BOB)
    await on.grant(ann, "media:watch", BOB)
    await on.grant(bob, "wiki:edit", BOB)
    assert {"media:watch", "wiki:edit"} == await on.held(ann)
    assert [ann] == await on.holders("media:watch")
    assert sorted([ann, bob]) == await on.holders("wiki:edit")
    await on.roles.put("editors", ["wiki:read"], BOB)
    assert {"media:watch", "wiki:read"} == await on.held(ann)
    await on.holdings.unassign(ann, "readers", BOB)
    await on.revoke(ann, "media:watch", BOB)
    assert {"wiki:read"} == await on.held(ann)
    await on.roles.remove("editors", BOB)
    assert set() == await on.held(ann)
    assert {"readers": ["media:watch"]} == await on.roles.all()
    names = Counter(type(event).__name__ for event in server.events.heard if event.caller == BOB)
    assert {
        "RoleChanged": 3,
        "RoleAssigned": 2,
        "PermissionGranted": 2,
        "RoleUnassigned": 1,
        "PermissionRevoked": 1,
        "RoleRemoved": 1,
    } == names
    [changed] = [e for e in server.events.of(RoleChanged) if e.permissions == ("wiki:read",)]
    assert ("editors", None) == (changed.role, changed.user_id)
    assert {"editors", "readers"} == {e.role for e in server.events.of(RoleAssigned)}
    assert {"readers"} == {e.role for e in server.events.of(RoleUnassigned)}
    assert {"editors"} == {e.role for e in server.events.of(RoleRemoved)}


async def test_what_is_done_twice(server: Server) -> None:
    """Granting again changes nothing and is not told; what is not there cannot be taken away."""
    ann, on = await user(server), plugin(server)
    await on.roles.put("empty", [], BOB)
    for _ in range(2):
        await on.grant(ann, "a", BOB)
        await on.holdings.assign(ann, "empty", BOB)
    assert 1 == len(server.events.of(PermissionGranted)) == len(server.events.of(RoleAssigned))
    for doing in (on.revoke(ann, "b", BOB), on.holdings.unassign(ann, "b", BOB)):
        assert (404, "not_found", None) == await refused(doing)
    assert (404, "unknown_role", 'there is no "b"') == await refused(on.roles.remove("b", BOB))
    assert (404, "unknown_role", 'there is no "b"') == await refused(
        on.holdings.assign(ann, "b", BOB)
    )
    assert [] == server.events.of(PermissionRevoked)


async def test_nobody(server: Server) -> None:
    """Nobody holds nothing, and gets nothing."""
    on = plugin(server)
    await on.roles.put("some", ["a"], BOB)
    for doing in (
        on.grant("nobody", "a", BOB),
        on.holdings.assign("nobody", "some", BOB),
        on.holdings.replace("nobody", ["a"], ["some"], BOB),
        on.revoke("nobody", "a", BOB),
    ):
        assert (404, "not_found", None) == await refused(doing)
    assert frozenset() == await on.held("nobody")


WRONG = {
    "Wiki:Edit": 'write it in lower case, "wiki:edit"',
    "": "it has 1 to 128 characters of a-z, 0-9, and . _ : -",
    "a b": "it has 1 to 128 characters of a-z, 0-9, and . _ : -",
    "wiki/edit": "it has 1 to 128 characters of a-z, 0-9, and . _ : -",
    "ä": "it has 1 to 128 characters of a-z, 0-9, and . _ : -",
    "a\n": "it has 1 to 128 characters of a-z, 0-9, and . _ : -",
    "İ": "it has 1 to 128 characters of a-z, 0-9, and . _ : -",
    "\N{KELVIN SIGN}": 'write it in lower case, "k"',
    "a" * (LONGEST + 1): "it has 1 to 128 characters of a-z, 0-9, and . _ : -",
    "' or 1=1 --": "it has 1 to 128 characters of a-z, 0-9, and . _ : -",
}


@pytest.mark.parametrize("name", WRONG)
async def test_names_that_are_none(server: Server, name: str) -> None:
    """What is no permission is refused, and never changed into one."""
    ann, on = await user(server), plugin(server)
    expected = (400, "invalid_permission", WRONG[name])
    for doing in (
        on.grant(ann, name, BOB),
        on.revoke(ann, name, BOB),
        on.holdings.replace(ann, ["a", name], [], BOB),
        on.roles.put("role", [name], BOB),
    ):
        assert expected == await refused(doing)
    expected = (400, "invalid_role", WRONG[name])
    for doing in (
        on.holdings.assign(ann, name, BOB),
        on.holdings.unassign(ann, name, BOB),
        on.holdings.replace(ann, [], [name], BOB),
        on.roles.put(name, [], BOB),
        on.roles.remove(name, BOB),
    ):
        assert expected == await refused(doing)
    assert ({}, frozenset()) == (await on.roles.all(), await on.held(ann))


async def test_longest_name(server: Server) -> None:
    """Every character that a name may have, as often as it may."""
    ann, on = await user(server), plugin(server)
    name = "abcdefghijklmnopqrstuvwxyz0123456789._:-".ljust(LONGEST, "z")
    await on.grant(ann, name, BOB)
    assert {name} == await on.held(ann)


def filling(count: int, of: str) -> list[str]:
    """Permissions that take so many bytes of a list, in all."""
    some = [f"{of}{number:03}".ljust(97, "x") for number in range(count // 100)]
    return [*some, *([of.ljust(count % 100 - 3, "y")] if count % 100 else [])]


async def test_more_than_a_token_carries(server: Server) -> None:
    """Whatever would let a user hold more than a token carries is refused, as a whole."""
    ann, bob, on = await user(server), await user(server, "bob"), plugin(server)
    half = MOST_BYTES // 2
    await on.holdings.replace(ann, filling(half, "a"), [], BOB)
    await on.roles.put("half", filling(half - 10, "b"), BOB)
    await on.holdings.assign(ann, "half", BOB)
    before = await on.held(ann)
    many = (409, "too_many_permissions", None)
    assert many == await refused(on.grant(ann, "c" * 8, BOB))
    assert many == await refused(on.roles.put("half", [*filling(half - 10, "b"), "d" * 8], BOB))
    assert many == await refused(on.roles.put("whole", filling(MOST_BYTES + 4, "e"), BOB))
    await on.roles.put("more", ["f" * 8], BOB)
    assert many == await refused(on.holdings.assign(ann, "more", BOB))
    assert many == await refused(
        on.holdings.replace(ann, filling(half, "a"), ["half", "more"], BOB)
    )
    assert before == await on.held(ann)
    await on.grant(ann, "c" * 7, BOB)
    assert MOST_BYTES == len(json.dumps(sorted(await on.held(ann)), separators=(",", ":"))) - 1
    await on.holdings.assign(bob, "half", BOB)
    await on.roles.put("more", ["f" * 7], BOB)


async def test_shared_permissions_count_once(server: Server) -> None:
    """What several roles bring is one permission."""
    ann, on = await user(server), plugin(server)
    for role in ("one", "two", "three"):
        await on.roles.put(role, filling(MOST_BYTES, "a"), BOB)
        await on.holdings.assign(ann, role, BOB)
    assert 16 == len(await on.held(ann))


async def test_replace(server: Server) -> None:
    """Exactly what is named is held afterwards; what was there before stays, and is not told."""
    ann, on = await user(server), plugin(server)
    await on.roles.put("one", ["r"], BOB)
    await on.roles.put("two", ["s"], BOB)
    await on.holdings.replace(ann, ["a", "b"], ["one"], BOB)
    granted = await server.auth.database.read("select * from permissions where permission = 'b'")
    server.clock.advance(60)
    server.events.clear()
    await on.holdings.replace(ann, ["b", "c"], ["two"], BOB)
    found = await on.holdings.of(ann)
    assert (("b", "c"), ("two",), ("b", "c", "s")) == (found.permissions, found.roles, found.held)
    rows = "select * from permissions where permission = 'b'"
    assert granted == await server.auth.database.read(rows)
    told = Counter(type(event).__name__ for event in server.events.heard)
    assert (
        dict.fromkeys(
            ["PermissionGranted", "PermissionRevoked", "RoleAssigned", "RoleUnassigned"], 1
        )
        == told
    )
    server.events.clear()
    await on.holdings.replace(ann, ["b", "c"], ["two"], BOB)
    assert [] == server.events.heard
    unknown = (404, "unknown_role", 'there is no "three"')
    assert unknown == await refused(on.holdings.replace(ann, [], ["three"], BOB))
    assert found == await on.holdings.of(ann)


async def test_fifty_replacements(server: Server) -> None:
    """Of fifty at once each is whole or refused: what is held is what one of them named."""
    ann, on = await user(server), plugin(server)
    sets = [[f"own{n}"] for n in range(50)]
    await on.roles.put("one", [], BOB)
    results = await asyncio.gather(
        *(on.holdings.replace(ann, own, ["one"], BOB) for own in sets), return_exceptions=True
    )
    refusals = {str(one) for one in results if one is not None}
    assert refusals <= {"conflict"}
    [held] = await on.held(ann)
    assert [held] in sets
    granted, revoked = server.events.of(PermissionGranted), server.events.of(PermissionRevoked)
    assert 1 == len(granted) - len(revoked)


async def test_replacement_that_was_overtaken(server: Server) -> None:
    """What was decided by another state than that which is there comes to nothing."""
    ann, on = await user(server), plugin(server)
    for role in ("one", "two"):
        await on.roles.put(role, [], BOB)
    states = (
        [[], []],
        [["a"], []],
        [["b"], []],
        [["a", "b"], []],
        [["a"], ["one"]],
        [["a"], ["two"]],
    )
    for state in states:
        await on.holdings.replace(ann, *state, BOB)
        for other in states:
            before = Holding(tuple(other[0]), tuple(other[1]), ())
            exchanging = on.holdings.exchange(ann, before, {"c"}, {"one", "two"}, BOB)
            if other == state:
                await exchanging
                await on.holdings.replace(ann, *state, BOB)
            else:
                with pytest.raises(Conflict):
                    await exchanging


async def test_fifty_of_one_role(server: Server) -> None:
    """Of fifty who change a role at once each is whole or refused."""
    on = plugin(server)
    results = await asyncio.gather(
        *(on.roles.put("role", [f"p{n}"], BOB) for n in range(50)), return_exceptions=True
    )
    assert {"conflict"} >= {str(one) for one in results if isinstance(one, Exception)}
    [last] = (await on.roles.all())["role"]
    lost = sum(isinstance(one, Exception) for one in results)
    assert 50 - lost == len(server.events.of(RoleChanged)) > 0
    assert last in {one.permissions[0] for one in server.events.of(RoleChanged)}


async def test_deleted_user(server: Server) -> None:
    """With the user everything goes; roles stay."""
    ann, on = await user(server), plugin(server)
    await on.roles.put("role", ["b"], BOB)
    await on.holdings.replace(ann, ["a"], ["role"], BOB)
    await server.auth.accounts.delete(ann, BOB)
    for table in ("permissions", "permissions_members"):
        assert [] == await server.auth.database.read(f"select * from {table}")
    assert {"role": ["b"]} == await on.roles.all()


async def test_export(server: Server) -> None:
    """A user gets what is held, and by what."""
    ann, bob, on = await user(server), await user(server, "bob"), plugin(server)
    await on.roles.put("role", ["b"], BOB)
    await on.holdings.replace(ann, ["a"], ["role"], BOB)
    await on.grant(bob, "secret", BOB)
    expected = {"permissions": ("a",), "roles": ("role",), "held": ("a", "b")}
    assert expected == await on.export(await server.auth.users.require(ann))


async def claims(server: Server) -> Any:
    answer = await server.post("/auth/login", PIN)
    assert 200 == answer.status_code, answer.text
    token = answer.json().get("access_token")
    return json.loads(extract_compact(token.encode()).payload)


async def test_claim(tmp_path: Path) -> None:
    """By setting, each access token lists what the user holds as it is made; by default, none."""
    settings = f'{PLAIN}[permissions]\nclaim = "permissions"'
    async with serving(tmp_path, settings, plugins=PLUGINS) as server:
        ann, on = await user(server), plugin(server)
        assert [] == (await claims(server))["permissions"]
        await on.roles.put("role", ["b"], BOB)
        await on.holdings.replace(ann, ["c", "a"], ["role"], BOB)
        assert ["a", "b", "c"] == (await claims(server))["permissions"]
    async with serving(tmp_path, PLAIN, plugins=PLUGINS) as server:
        assert "permissions" not in await claims(server)


async def test_fullest_token(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As many permissions as there may be fit into a token, and names never keep a user out."""
    settings = f'{PLAIN}[permissions]\nclaim = "permissions"\n[tokens]\nalgorithm = "ES512"'
    async with serving(tmp_path, settings, plugins=PLUGINS) as server:
        ann, on = await user(server), plugin(server)
        await on.holdings.replace(ann, filling(MOST_BYTES, "a"), [], BOB)
        await server.auth.accounts.change(ann, {"name": "A" * 200}, BOB)
        assert 16 == len((await claims(server))["permissions"])
        await server.auth.accounts.change(ann, {"name": "\N{GRINNING FACE}" * 200}, BOB)
        with caplog.at_level(logging.WARNING, "picoauth.permissions"):
            assert "permissions" not in await claims(server)
    sentence = f"the names of user {ann} leave no room for permissions in a token"
    assert [sentence] == [r.message for r in caplog.records if r.name == "picoauth.permissions"]


@pytest.mark.parametrize("claim", ["sub", "exp", "name"])
async def test_claim_that_is_taken(tmp_path: Path, claim: str) -> None:
    """A claim that tokens have already stops the start, not every login."""
    settings = f'{PLAIN}[permissions]\nclaim = "{claim}"'
    sentence = r"^\[permissions\].claim: must not be a claim that tokens have already\.$"
    with pytest.raises(ConfigError, match=sentence):
        async with serving(tmp_path, settings, plugins=PLUGINS):
            pass


async def test_without_administration(tmp_path: Path) -> None:
    """Where nobody guards administrators' routes there are none, and the rest works."""
    async with serving(tmp_path, PLAIN, plugins=PLUGINS) as server:
        paths = [one.route.path for one in server.app.routes]
        assert [] == [path for path in paths if path.startswith("/admin")]
        await plugin(server).grant(await user(server), "a", BOB)


async def test_rows_cannot_point_nowhere(server: Server) -> None:
    """Every row belongs to a user and to a role."""
    ann = await user(server)
    await plugin(server).grant(ann, "a", BOB)
    await server.auth.database.write(Statement("delete from users where id = ?", (ann,)))
    assert [] == await server.auth.database.read("pragma foreign_key_check")
    assert [] == await server.auth.database.read("select * from permissions")


async def test_too_many_at_once(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever loses every race is told so, and nothing is changed."""
    ann, on = await user(server), plugin(server)

    async def lost(*_: Any) -> None:
        raise Conflict(0)

    monkeypatch.setattr(on.holdings, "exchange", lost)
    assert (409, "conflict", None) == await refused(on.holdings.replace(ann, ["a"], [], BOB))
    monkeypatch.setattr(on.holdings, "commit", lost)
    assert (409, "conflict", None) == await refused(on.roles.put("role", ["b"], BOB))
    assert {} == await on.roles.all()
