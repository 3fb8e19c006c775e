"""The plugin keeps the contracts of factors, of routes, and the table of logins."""

from __future__ import annotations

from picoauth.testing.contracts import AccessContract, FactorContract, MatrixContract


class TestMagicLink(FactorContract):
    """A code, in the flow that it was sent for."""

    factor = "magic-link"
    single_use = True


class TestMatrix(MatrixContract):
    """As the first step, before each second factor, and beside other first ones."""


class TestAccess(AccessContract):
    """It has no route of its own."""
