"""The recovery plugin keeps the contracts of factors, of logins and of routes."""

from __future__ import annotations

from picoauth.testing import Server
from picoauth.testing.contracts import AccessContract, FactorContract, MatrixContract


class TestRecovery(FactorContract):
    """A code instead of the second factor, after a first one."""

    factor = "recovery"
    single_use = True


class TestMatrix(MatrixContract):
    """Codes beside second factors of every kind: they stand for each, and ask for nothing."""


class TestAccess(AccessContract):
    """Everybody sees her own; whoever makes new ones has to be there."""


async def test_ceremony_has_no_end(picoauth_server: Server) -> None:
    """A test user who logs in more often than there are codes gets new ones."""
    someone = await picoauth_server.join("pin", "recovery", "code")
    for _ in range(12):
        await someone.login("pin", "recovery")
    assert 12 == await someone.sessions()
