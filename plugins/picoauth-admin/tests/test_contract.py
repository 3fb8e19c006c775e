"""The plugin keeps the contracts of factors and routes, and of the table of logins."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from picoauth import Plugin
from picoauth.testing import Joining, Server, Someone, serving
from picoauth.testing.contracts import AccessContract, FactorContract, MatrixContract
from picoauth.testing.contracts.access import THINGS, Things, a_session
from picoauth_admin import testing
from picoauth_reset import ResetPlugin

WITH_RESET = """
plugins = ["pin", "key", "admin", "permits", "password", "reset", "captured-mail"]
"""


class TestInvitation(FactorContract):
    """A token that knows its user, good once."""

    factor = "invitation"
    single_use = True
    guessable = False


class TestMatrix(MatrixContract):
    """As the first step, before each second factor, and beside other first ones."""


async def a_user(owner: Someone) -> Mapping[str, str]:
    return {"id": owner.user.id}


async def a_session_of(owner: Someone) -> Mapping[str, str]:
    return {"id": owner.user.id, "session": (await a_session(owner))["id"]}


async def a_factor_of(owner: Someone) -> Mapping[str, str]:
    return {"id": owner.user.id, "factor": (await owner.enrolment("key")).id}


OF_A_USER = (
    "",
    "/email",
    "/disable",
    "/enable",
    "/restore",
    "/sessions",
    "/factors",
    "/invitation",
    "/reset",
)


class TestAccess(AccessContract):
    """Nobody but administrators, whatever they come by, and readers for reading alone."""

    @pytest.fixture
    def things(self) -> Mapping[str, Things]:
        of_users = {f"/admin/users/{{id}}{below}": a_user for below in OF_A_USER}
        return {
            **THINGS,
            **of_users,
            "/admin/users/{id}/sessions/{session}": a_session_of,
            "/admin/users/{id}/factors/{factor}": a_factor_of,
        }


class TestPublicAccess(TestAccess):
    """The same, where it is let onto the public addresses, and passwords can be reset."""

    @pytest.fixture
    def picoauth_settings(self) -> str:
        return WITH_RESET + "[admin]\npublic = true\n[password]\nregister = false\n"

    @pytest.fixture
    def open_routes(self) -> set[str]:
        token = "/auth/forgot_password/{token}"
        return {"POST /auth/forgot_password", f"GET {token}", f"PUT {token}"}

    async def test_which_are_here(self, server: Server) -> None:
        """All of them, and the reset."""
        listeners = {
            registered.route.listener
            for registered in server.app.routes
            if registered.route.policy == "admin"
        }
        assert {"public"} == listeners
        assert server.auth.plugin(ResetPlugin)


async def test_no_administrators(
    picoauth_plugins: Mapping[str, type[Plugin[Any]]], tmp_path: Path
) -> None:
    """Where nobody knows of permissions, or has a second factor, keys are in the table, and no more."""
    for listed in ('["pin", "code", "admin"]', '["pin", "permits", "admin"]'):
        async with serving(tmp_path, f"plugins = {listed}", plugins=picoauth_plugins) as server:
            joining = testing.access(server)
            assert isinstance(joining, Joining)
            assert 3 == len(joining.principals)
