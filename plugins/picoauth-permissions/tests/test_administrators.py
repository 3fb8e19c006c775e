"""The last administrator stays, whatever is tried, by however many at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from picoauth import AuthError, Caller, Statement, UserClosed, UserDeleted, UserDisabled
from picoauth.checks import run
from picoauth.testing import Server
from picoauth_permissions import ADMIN, PermissionRevoked, PermissionsPlugin, RoleUnassigned
from tests.factors import PIN, join, step

BOB = Caller(actor="command:bob")
LAST = "last_administrator"

Losing = Callable[[Server, str], Awaitable[Any]]
ROLE = "bosses"


def on(server: Server) -> PermissionsPlugin:
    return server.auth.plugin(PermissionsPlugin)


LOSING: dict[str, Losing] = {
    "revoke": lambda server, ann: on(server).revoke(ann, ADMIN, BOB),
    "replace": lambda server, ann: on(server).holdings.replace(ann, ["other"], [], BOB),
    "unassign": lambda server, ann: on(server).holdings.unassign(ann, ROLE, BOB),
    "disable": lambda server, ann: server.auth.accounts.disable(ann, BOB),
    "close": lambda server, ann: server.auth.accounts.close(ann, BOB),
    "delete": lambda server, ann: server.auth.accounts.delete(ann, BOB),
}
"""Every way in which one user stops to be an administrator."""
OF_THE_ROLE: dict[str, Losing] = {
    "empty": lambda server, _: on(server).roles.put(ROLE, ["other"], BOB),
    "remove": lambda server, _: on(server).roles.remove(ROLE, BOB),
}
BY_ROLE = {"unassign", *OF_THE_ROLE}


async def appoint(server: Server, name: str, how: str) -> str:
    """Make an administrator, in such a way that `how` can end it."""
    user = await join(server, name)
    if how in BY_ROLE:
        await on(server).roles.put(ROLE, [ADMIN], BOB)
        await on(server).holdings.assign(user.id, ROLE, BOB)
    else:
        await on(server).grant(user.id, ADMIN, BOB)
    return user.id


async def able(server: Server) -> list[str]:
    """Administrators who may log in."""
    found = [await server.auth.users.require(one) for one in await on(server).holders(ADMIN)]
    return [user.id for user in found if not user.barred]


async def state(server: Server) -> list[Any]:
    tables = ("users", "permissions", "permissions_members", "permissions_contents", "sessions")
    return [await server.auth.database.read(f"select * from {table}") for table in tables]


@pytest.mark.parametrize("how", [*LOSING, *OF_THE_ROLE])
async def test_last_administrator(server: Server, how: str) -> None:
    """Nothing takes the permission from the last one, and what is refused changes nothing."""
    ann = await appoint(server, "ann", how)
    await join(server, "bob")
    before = await state(server)
    with pytest.raises(AuthError, match=rf"^{LAST}$") as caught:
        await {**LOSING, **OF_THE_ROLE}[how](server, ann)
    assert (409, before) == (caught.value.problem.status, await state(server))
    kinds = (UserClosed, UserDeleted, UserDisabled, PermissionRevoked, RoleUnassigned)
    assert [] == [event for event in server.events.heard if isinstance(event, kinds)]


@pytest.mark.parametrize("how", LOSING)
async def test_one_of_two(server: Server, how: str) -> None:
    """While another one is left, an administrator loses it as everybody does."""
    ann, bob = await appoint(server, "ann", how), await appoint(server, "bob", "delete")
    await LOSING[how](server, ann)
    assert [bob] == await able(server)


@pytest.mark.parametrize("how", OF_THE_ROLE)
async def test_role_that_is_not_all(server: Server, how: str) -> None:
    """A role may go while somebody else holds the permission, or where nobody has the role."""
    await appoint(server, "ann", how)
    bob = await appoint(server, "bob", "delete")
    await OF_THE_ROLE[how](server, "")
    assert [bob] == await able(server)
    await on(server).roles.put(ROLE, [ADMIN], BOB)
    await OF_THE_ROLE[how](server, "")
    assert [bob] == await able(server)


@pytest.mark.parametrize("how", LOSING)
async def test_a_disabled_one_does_not_count(server: Server, how: str) -> None:
    """Who cannot log in administrates nothing, and so keeps nobody else from being the last."""
    ann, bob = await appoint(server, "ann", how), await appoint(server, "bob", "delete")
    await server.auth.accounts.disable(bob, BOB)
    with pytest.raises(AuthError, match=rf"^{LAST}$"):
        await LOSING[how](server, ann)
    await server.auth.accounts.delete(bob, BOB)  # who was not able either
    assert [ann] == await able(server)


@pytest.mark.parametrize("how", [*LOSING, *OF_THE_ROLE])
async def test_where_nobody_is_able(server: Server, how: str) -> None:
    """If no administrator was left, as while the plugin was off, nothing is held up by that."""
    ann = await appoint(server, "ann", how)
    await server.auth.database.write(*disabling(ann))
    await {**LOSING, **OF_THE_ROLE}[how](server, ann)
    assert [] == await able(server)


def disabling(user_id: str) -> Any:
    return [Statement("update users set disabled_at = 1 where id = ?", (user_id,), rows=1)]


async def test_a_closed_one_does_not_count(server: Server) -> None:
    """Who may only come back is none who is there; whoever restores the account is one again."""
    ann, bob = await appoint(server, "ann", "delete"), await appoint(server, "bob", "delete")
    await server.auth.accounts.close(bob, BOB)
    with pytest.raises(AuthError, match=rf"^{LAST}$"):
        await server.auth.accounts.close(ann, BOB)
    await server.auth.accounts.reopen(bob, BOB)
    await server.auth.accounts.close(ann, BOB)
    assert [bob] == await able(server)
    await server.auth.accounts.leaving.sweep()
    assert await server.auth.users.get(ann) is None


async def test_held_twice(server: Server) -> None:
    """Who holds it by a role, too, may lose the own permission, and the other way round."""
    ann = await appoint(server, "ann", "unassign")
    await on(server).grant(ann, ADMIN, BOB)
    await on(server).revoke(ann, ADMIN, BOB)
    await on(server).grant(ann, ADMIN, BOB)
    await on(server).holdings.unassign(ann, ROLE, BOB)
    await on(server).holdings.assign(ann, ROLE, BOB)
    await on(server).holdings.replace(ann, [], [ROLE], BOB)
    await on(server).holdings.replace(ann, [ADMIN], [], BOB)
    assert [ann] == await able(server)
    await on(server).roles.put("others", [ADMIN], BOB)
    await on(server).holdings.replace(ann, [], ["others", ROLE], BOB)
    await on(server).roles.remove("others", BOB)
    with pytest.raises(AuthError, match=rf"^{LAST}$"):
        await on(server).roles.remove(ROLE, BOB)
    assert [ann] == await able(server)


async def test_other_permissions_and_roles(server: Server) -> None:
    """Of everything else the last one goes as the first did, also from an administrator."""
    ann = await appoint(server, "ann", "delete")
    for one in ("picoauth:admins", "xpicoauth:admin", "picoauth"):
        await on(server).grant(ann, one, BOB)
        await on(server).roles.put("some", [one], BOB)
        await on(server).holdings.assign(ann, "some", BOB)
        await on(server).revoke(ann, one, BOB)
        await on(server).holdings.unassign(ann, "some", BOB)
        await on(server).roles.remove("some", BOB)
    user = await join(server, "bob")
    await server.auth.accounts.disable(user.id, BOB)
    await server.auth.accounts.delete(user.id, BOB)


async def test_own_account(server: Server) -> None:
    """An administrator cannot delete the own account while there is no other one."""
    await appoint(server, "ann", "delete")
    token = (await step(server, **PIN)).json()["access_token"]
    answer = await server.send("DELETE", "/auth/me", token=token)
    assert (409, LAST) == (answer.status_code, answer.json()["code"])
    assert 200 == (await server.get("/auth/me", token=token)).status_code
    await appoint(server, "bob", "delete")
    answer = await server.send("DELETE", "/auth/me", token=token)
    assert 204 == answer.status_code


@pytest.mark.parametrize("how", LOSING)
async def test_fifty_at_once(server: Server, how: str) -> None:
    """However many try to remove the last two at once, one is left, and is told so."""
    both = [await appoint(server, name, how) for name in ("ann", "bob")]
    attempts = [LOSING[how](server, both[n % 2]) for n in range(50)]
    results = await asyncio.gather(*attempts, return_exceptions=True)
    [left] = await able(server)
    counted = Counter(str(one) for one in results)
    assert 25 == counted[LAST], counted
    assert left in both
    kinds = (UserClosed, UserDeleted, UserDisabled, PermissionRevoked, RoleUnassigned)
    gone = [event.user_id for event in server.events.heard if isinstance(event, kinds)]
    assert {*both} - {left} == {*gone}
    assert how == "disable" or 1 == len(gone)  # who is disabled may be disabled again


async def test_every_way_at_once(server: Server) -> None:
    """Whatever is tried on the last two by all ways at once, somebody is left."""
    both = [await appoint(server, name, "delete") for name in ("ann", "bob")]
    await on(server).roles.put(ROLE, [ADMIN], BOB)
    for one in both:
        await on(server).holdings.assign(one, ROLE, BOB)
    ways = [*LOSING.values(), *OF_THE_ROLE.values()]
    attempts = [ways[n // 2 % len(ways)](server, both[n % 2]) for n in range(7 * len(ways))]
    await asyncio.gather(*attempts, return_exceptions=True)
    assert 1 == len(await able(server))


async def test_doctor(server: Server) -> None:
    """Nobody is missed where there never was one; where there was, the doctor says what to do."""
    checks = [one for one in server.auth.checks if one.name == "permissions-administrator"]
    assert {"permissions-administrator": None} == await run(checks)
    ann = await appoint(server, "ann", "delete")
    assert {"permissions-administrator": None} == await run(checks)
    await server.auth.database.write(*disabling(ann))
    assert {
        "permissions-administrator": "Nobody who may log in holds picoauth:admin, though somebody "
        "did: `picoauth permissions grant USER picoauth:admin` appoints one."
    } == await run(checks)


@pytest.mark.parametrize("how", ["disable", "delete"])
async def test_user_who_is_gone(server: Server, how: str) -> None:
    """Who is not there is not found, and not taken for the last one."""
    ann = await appoint(server, "ann", how)
    await appoint(server, "bob", how)
    await server.auth.accounts.delete(ann, BOB)
    with pytest.raises(AuthError, match=r"^not_found$"):
        await LOSING[how](server, ann)
