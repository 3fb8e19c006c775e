"""The plugin keeps the contracts of factors, of routes, and the table of logins."""

from __future__ import annotations

from picoauth.testing.contracts import AccessContract, FactorContract, MatrixContract


class TestTotp(FactorContract):
    """A code after a pin."""

    factor = "totp"
    single_use = True


class TestMatrix(MatrixContract):
    """After each way to begin a login, beside another second factor."""


class TestAccess(AccessContract):
    """Nothing of it is open to anybody who has not just proven to be there."""
