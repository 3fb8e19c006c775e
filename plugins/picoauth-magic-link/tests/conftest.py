"""A server where one logs in by mail, which is kept, and by factors that take no time."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from picoauth import Plugin

sys.path.insert(0, str(Path(__file__).parent))

from linked import KINDS, SETTINGS


@pytest.fixture
def picoauth_settings() -> str:
    return SETTINGS


@pytest.fixture
def picoauth_plugins() -> Mapping[str, type[Plugin[Any]]]:
    return KINDS
