"""A server under administration, whose mail is kept, with factors that take no time."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from picoauth import Plugin
from picoauth.testing import Server

sys.path.insert(0, str(Path(__file__).parent))

from office import KINDS, SETTINGS, Office


@pytest.fixture
def picoauth_settings() -> str:
    return SETTINGS


@pytest.fixture
def picoauth_plugins() -> Mapping[str, type[Plugin[Any]]]:
    return KINDS


@pytest.fixture
def office(picoauth_server: Server) -> Office:
    """Who administrates over the socket."""
    return Office(picoauth_server)
