"""An endpoint on a watched database, where logging in costs no hashing."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from endpoint import Home, home

from picoauth_fetch.testing import Authority, Site, site

NAMES = ("client.example", "client.example.org", "pics.example", "ann.example")


@pytest.fixture
async def at_home(tmp_path: Path) -> AsyncIterator[Home]:
    async with home(tmp_path) as running:
        yield running


@pytest.fixture
async def web(at_home: Home, tmp_path: Path) -> AsyncIterator[Site]:
    """A server for every name of `NAMES`, by https; what it says is told by the test."""
    authority = Authority(tmp_path)
    async with site(authority.context(*NAMES)) as made:
        at_home.fetching(dict.fromkeys(NAMES, made.place), authority.ca)
        yield made
