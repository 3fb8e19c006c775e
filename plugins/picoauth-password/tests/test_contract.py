"""The password plugin keeps the contracts of factors and of routes."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from picoauth.testing.contracts import AccessContract, FactorContract


class TestPassword(FactorContract):
    """User name and password, on a server that has nothing else."""

    factor = "password"


class TestAccess(AccessContract):
    """Anybody may make an account; whoever changes a password has to be there."""

    @pytest.fixture
    def open_routes(self) -> Collection[str]:
        return {"POST /auth/register"}
