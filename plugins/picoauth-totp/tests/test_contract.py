"""The plugin keeps the contracts of factors, of routes, and the table of logins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from picoauth import Plugin
from picoauth.testing import Ceremony
from picoauth.testing.contracts import AccessContract, FactorContract, MatrixContract
from tests.factors import CEREMONIES, PLUGINS


@pytest.fixture
def picoauth_settings() -> str:
    """A first factor that takes no time, as the tests of the password plugin are its own."""
    return 'plugins = ["pin", "key", "totp"]'


@pytest.fixture
def picoauth_plugins() -> Mapping[str, type[Plugin[Any]]]:
    return PLUGINS


@pytest.fixture
def picoauth_ceremonies() -> Mapping[str, type[Ceremony]]:
    return CEREMONIES


class TestTotp(FactorContract):
    """A code after a pin."""

    factor = "totp"
    single_use = True


class TestMatrix(MatrixContract):
    """After each way to begin a login, beside another second factor."""


class TestAccess(AccessContract):
    """Nothing of it is open to anybody who has not just proven to be there."""
