"""A real server, where the machine has one; CI does, and must not skip."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from cluster import BIN, Cluster

READY = find_spec("asyncpg") is not None and BIN is not None
collect_ignore_glob = [] if READY or "CI" in os.environ else ["test_*.py"]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if collect_ignore_glob:
        terminalreporter.write_line("picoauth-postgres was not tested, which needs postgresql.")


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    cluster = Cluster()
    cluster.start()
    yield cluster
    cluster.end()
