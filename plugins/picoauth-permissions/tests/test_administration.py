"""The routes of administrators, as one of them uses them, and as others cannot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from picoauth import Caller
from picoauth.testing import Server, Someone
from picoauth.testing.contracts import AccessContract
from picoauth.testing.contracts.access import PRINCIPALS, THINGS, Principal, Things
from picoauth_permissions import ADMIN, PermissionGranted, PermissionsPlugin
from picoauth_permissions.administration import ROLE, USER
from tests.boss import POLICIES, boss, order
from tests.factors import join

HERE = Caller()


def worded(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def test_life_of_a_permission(server: Server) -> None:
    """Granted, shown, revoked."""
    ann = (await join(server, "ann")).id
    path = f"/admin/users/{ann}/permissions"
    empty = {"permissions": [], "roles": [], "held": []}
    assert empty == (await order(server, "GET", path)).json()
    for _ in range(2):
        granted = await order(server, "PUT", f"{path}/wiki:edit")
        assert (204, b"") == (granted.status_code, granted.content)
    held = {"permissions": ["wiki:edit"], "roles": [], "held": ["wiki:edit"]}
    assert held == (await order(server, "GET", path)).json()
    [event] = server.events.of(PermissionGranted)
    assert (ann, "wiki:edit") == (event.user_id, event.permission)
    assert event.caller.request_id
    assert 204 == (await order(server, "DELETE", f"{path}/wiki:edit")).status_code
    again = await order(server, "DELETE", f"{path}/wiki:edit")
    assert (404, "not_found") == worded(again)
    assert empty == (await order(server, "GET", path)).json()


async def test_life_of_a_role(server: Server) -> None:
    """Made, assigned, changed, taken away, removed."""
    ann = (await join(server, "ann")).id
    role, belonging = "/admin/roles/editors", f"/admin/users/{ann}/roles/editors"
    assert (404, "unknown_role") == worded(await order(server, "GET", role))
    assert (404, "unknown_role") == worded(await order(server, "PUT", belonging))
    made = await order(server, "PUT", role, {"permissions": ["wiki:edit", "media:watch"]})
    expected = {"role": "editors", "permissions": ["media:watch", "wiki:edit"]}
    assert (200, expected) == (made.status_code, made.json())
    assert expected == (await order(server, "GET", role)).json()
    assert 204 == (await order(server, "PUT", belonging)).status_code
    await order(server, "PUT", "/admin/roles/empty", {"permissions": []})
    found = (await order(server, "GET", "/admin/roles")).json()
    assert {"roles": [expected, {"role": "empty", "permissions": []}]} == found
    held = (await order(server, "GET", f"/admin/users/{ann}/permissions")).json()
    assert {"permissions": [], "roles": ["editors"], "held": expected["permissions"]} == held
    assert 204 == (await order(server, "DELETE", belonging)).status_code
    assert (404, "not_found") == worded(await order(server, "DELETE", belonging))
    assert 204 == (await order(server, "DELETE", role)).status_code
    assert (404, "unknown_role") == worded(await order(server, "DELETE", role))


async def test_replace(server: Server) -> None:
    """Exactly what is named; the answer is what is held."""
    ann = (await join(server, "ann")).id
    path = f"/admin/users/{ann}/permissions"
    await order(server, "PUT", "/admin/roles/editors", {"permissions": ["wiki:edit"]})
    body = {"permissions": ["a"], "roles": ["editors"]}
    answer = await order(server, "PUT", path, body)
    assert (200, {**body, "held": ["a", "wiki:edit"]}) == (answer.status_code, answer.json())
    answer = await order(server, "PUT", path, {"permissions": []})
    assert {"permissions": [], "roles": [], "held": []} == answer.json()


WRONG: dict[str, tuple[str, str, Any, tuple[int, str]]] = {
    "case": ("PUT", "/admin/users/{ann}/permissions/Wiki", None, (400, "invalid_permission")),
    "blank": ("PUT", "/admin/users/{ann}/permissions/a%20b", None, (400, "invalid_permission")),
    "wildcard": ("DELETE", "/admin/users/{ann}/permissions/%25", None, (400, "invalid_permission")),
    "role's case": ("PUT", "/admin/roles/Bosses", {"permissions": []}, (400, "invalid_role")),
    "user": ("GET", "/admin/users/nobody/permissions", None, (404, "not_found")),
    "user to replace": (
        "PUT",
        "/admin/users/nobody/permissions",
        {"permissions": []},
        (404, "not_found"),
    ),
    "unknown member": (
        "PUT",
        "/admin/users/{ann}/permissions",
        {"permissions": [], "admin": True},
        (400, "invalid_body"),
    ),
    "no list": (
        "PUT",
        "/admin/users/{ann}/permissions",
        {"permissions": "a"},
        (400, "invalid_body"),
    ),
    "numbers": ("PUT", "/admin/roles/r", {"permissions": [1]}, (400, "invalid_body")),
    "too many": ("PUT", "/admin/roles/r", {"permissions": ["a"] * 501}, (400, "invalid_body")),
    "too much": (
        "PUT",
        "/admin/roles/r",
        {"permissions": [f"a{n}" for n in range(500)]},
        (409, "too_many_permissions"),
    ),
    "last": (
        "DELETE",
        f"/admin/users/{{ann}}/permissions/{ADMIN}",
        None,
        (409, "last_administrator"),
    ),
    "last of all": (
        "PUT",
        "/admin/users/{ann}/permissions",
        {"permissions": []},
        (409, "last_administrator"),
    ),
}


@pytest.mark.parametrize("what", WRONG)
async def test_bad_input(server: Server, what: str) -> None:
    """Refused by its code, and nothing is changed."""
    method, path, body, expected = WRONG[what]
    ann = (await join(server, "ann")).id
    on = server.auth.plugin(PermissionsPlugin)
    await on.grant(ann, ADMIN, HERE)
    answer = await order(server, method, path.format(ann=ann), body)
    assert expected == worded(answer)
    assert ({ADMIN}, {}) == (await on.held(ann), await on.roles.all())


async def test_too_much_says_how_much(server: Server) -> None:
    """The refusal has the bound."""
    body = {"permissions": [f"a{n}" for n in range(500)]}
    answer = await order(server, "PUT", "/admin/roles/r", body)
    assert 1536 == answer.json()["most_bytes"]


class TestAccess(AccessContract):
    """Administrators alone, and only where they are expected."""

    @pytest.fixture
    def server(self, server: Server) -> Server:
        return server

    @pytest.fixture
    def principals(self) -> Mapping[str, Principal]:
        return {**PRINCIPALS, "boss": boss}

    @pytest.fixture
    def policies(self) -> Mapping[str, Mapping[str, str]]:
        return POLICIES

    @pytest.fixture
    def things(self) -> Mapping[str, Things]:
        paths = (f"{USER}/permissions", f"{USER}/permissions/{{permission}}")
        belonging = (f"{USER}/roles/{{role}}", ROLE)
        return {**THINGS, **dict.fromkeys((*paths, *belonging), things)}


async def things(owner: Someone) -> Mapping[str, str]:
    """A user with a permission and a role."""
    on, user_id = owner.server.auth.plugin(PermissionsPlugin), owner.user.id
    await on.roles.put("editors", ["wiki:edit"], HERE)
    await on.holdings.replace(user_id, ["media:watch"], ["editors"], HERE)
    return {"id": user_id, "permission": "media:watch", "role": "editors"}
