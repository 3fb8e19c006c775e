"""Fixtures for the tests of the kernel and of every plugin."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from picoauth.testing import Server, serving


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    """A running server with password login."""
    async with serving(tmp_path) as running:
        yield running
