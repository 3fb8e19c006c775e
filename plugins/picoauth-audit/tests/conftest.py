"""A server with the audit log, factors of every kind, and mail that is kept."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from picoauth import Plugin
from picoauth.testing import Server

sys.path.insert(0, str(Path(__file__).parent))

from logbook import KINDS, SETTINGS, Log


@pytest.fixture
def picoauth_settings() -> str:
    return SETTINGS


@pytest.fixture
def picoauth_plugins() -> Mapping[str, type[Plugin[Any]]]:
    return KINDS


@pytest.fixture
async def log(picoauth_server: Server) -> Log:
    return Log(picoauth_server)
