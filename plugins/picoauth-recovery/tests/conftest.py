"""A server with recovery codes, and second factors that they stand for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from picoauth import Plugin
from tests.factors import PLUGINS


@pytest.fixture
def picoauth_settings() -> str:
    return 'plugins = ["pin", "recovery", "code", "key"]'


@pytest.fixture
def picoauth_plugins() -> Mapping[str, type[Plugin[Any]]]:
    return PLUGINS
