"""A server where people log in by domains, in a web of the test's own."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from people import OPEN, TRUSTED, People, people


@pytest.fixture
async def them(tmp_path: Path) -> AsyncIterator[People]:
    """Only linked domains get in."""
    async with people(tmp_path) as running:
        yield running


@pytest.fixture
async def anybody(tmp_path: Path) -> AsyncIterator[People]:
    """Every domain gets in."""
    async with people(tmp_path, OPEN + TRUSTED) as running:
        yield running
