"""Each way to begin a login, with each second factor that a user may have enrolled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from picoauth import Plugin
from picoauth.testing.contracts import MatrixContract
from tests.factors import EVERY, PLUGINS


@pytest.fixture
def picoauth_settings() -> str:
    return EVERY


@pytest.fixture
def picoauth_plugins() -> Mapping[str, type[Plugin[Any]]]:
    return PLUGINS


class TestMatrix(MatrixContract):
    """Every kind of factor, passwords among them."""
