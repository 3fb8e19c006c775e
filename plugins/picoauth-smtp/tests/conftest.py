"""Authority, and the helpers beside the tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from picoauth_fetch.testing import Authority

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Of an authority that tests trust by the setting `ca`."""
    return Authority(tmp_path_factory.mktemp("certificates"))
