"""Every route of the kernel and of the password plugin, asked as every principal."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import pytest

from picoauth import Plugin
from picoauth.testing import Ceremony
from picoauth.testing.contracts import AccessContract
from tests.factors import CEREMONIES, PLUGINS


@pytest.fixture
def picoauth_settings() -> str:
    return 'plugins = ["pin", "password", "code", "spare", "key", "link"]'


@pytest.fixture
def picoauth_plugins() -> Mapping[str, type[Plugin[Any]]]:
    return PLUGINS


@pytest.fixture
def picoauth_ceremonies() -> Mapping[str, type[Ceremony]]:
    return CEREMONIES


class TestAccess(AccessContract):
    """Nothing but what is named here and in the kit is open to all."""

    @pytest.fixture
    def open_routes(self) -> Collection[str]:
        return {"POST /auth/register"}
