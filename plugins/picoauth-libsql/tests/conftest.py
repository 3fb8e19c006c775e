"""A real server for each test; where none is to be had, the tests are left out, but not in CI."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from tests.sqld import MISSING, Sqld, program, sqld

collect_ignore_glob = [] if program() or "CI" in os.environ else ["test_*.py"]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if collect_ignore_glob:
        terminalreporter.write_line(f"picoauth-libsql was not tested: {MISSING}.")


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Sqld]:
    """A server that is empty, and the test's own."""
    with sqld(tmp_path / "sqld") as server:
        yield server
