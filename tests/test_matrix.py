"""Each way to begin a login, with each second factor that a user may have enrolled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from picoauth import Plugin
from picoauth.testing import Ceremony
from picoauth.testing.contracts import MatrixContract
from tests.factors import CEREMONIES, EVERY, PLUGINS


@pytest.fixture
def picoauth_settings() -> str:
    return EVERY


@pytest.fixture
def picoauth_plugins() -> Mapping[str, type[Plugin[Any]]]:
    return PLUGINS


@pytest.fixture
def picoauth_ceremonies() -> Mapping[str, type[Ceremony]]:
    return CEREMONIES


class TestMatrix(MatrixContract):
    """Every kind of factor, passwords among them."""
