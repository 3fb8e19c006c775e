"""A key, and settings that name it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from encrypting import KEY


@pytest.fixture
def keyed(tmp_path: Path) -> Path:
    """A folder with a key in it."""
    path = tmp_path / "picoauth.key"
    path.touch(0o600)
    path.write_bytes(KEY)
    return tmp_path
