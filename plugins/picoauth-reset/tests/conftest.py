"""A server where passwords can be forgotten, whose mail is kept."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from picoauth import Plugin

sys.path.insert(0, str(Path(__file__).parent))

from forgetful import KINDS, SETTINGS


@pytest.fixture
def picoauth_settings() -> str:
    return SETTINGS


@pytest.fixture
def picoauth_plugins() -> Mapping[str, type[Plugin[Any]]]:
    return KINDS
