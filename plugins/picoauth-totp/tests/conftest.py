"""A server whose first factors take no time: passwords are tested with their own plugin."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from picoauth import Plugin
from picoauth.testing import Server
from tests.factors import PLUGINS

sys.path.insert(0, str(Path(__file__).parent))

from owners import SETTINGS, Owner


@pytest.fixture
def picoauth_settings() -> str:
    return SETTINGS


@pytest.fixture
def picoauth_plugins() -> Mapping[str, type[Plugin[Any]]]:
    return PLUGINS


@pytest_asyncio.fixture
async def ann(server: Server) -> Owner:
    """Logged in by her pin; she has no authenticator yet."""
    return await Owner.joined(server, "ann")


@pytest_asyncio.fixture
async def bob(server: Server) -> Owner:
    """Somebody else."""
    return await Owner.joined(server, "bob")
