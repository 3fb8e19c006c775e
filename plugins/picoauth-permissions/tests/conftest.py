"""A server with permissions and roles, and somebody whom administrators' routes let in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from picoauth import Plugin
from picoauth.testing import Server, serving
from tests.boss import BossPlugin
from tests.factors import CEREMONIES, PLUGINS

SETTINGS = 'plugins = ["pin", "boss", "permissions"]\n'
KINDS: Mapping[str, type[Plugin[Any]]] = {**PLUGINS, "boss": BossPlugin}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with serving(tmp_path, SETTINGS, plugins=KINDS, ceremonies=CEREMONIES) as server:
        yield server
