"""The plugin keeps the contract of routes."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from picoauth.testing.contracts import AccessContract


class TestAccess(AccessContract):
    """All of it is open: who forgot a password is logged in nowhere."""

    @pytest.fixture
    def picoauth_settings(self) -> str:
        """With a factor first whose proofs take no time."""
        return 'plugins = ["pin", "code", "password", "captured-mail", "picky", "reset"]'

    @pytest.fixture
    def open_routes(self) -> Collection[str]:
        path = "/auth/forgot_password"
        return {
            "POST /auth/register",
            f"POST {path}",
            f"GET {path}/{{token}}",
            f"PUT {path}/{{token}}",
        }
