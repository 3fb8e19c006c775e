"""What holds for the tests of the kernel alone."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

from picoauth import discovery
from picoauth.testing.server import offered

EXAMPLES = {
    path.parent.name for path in Path(__file__).parents[1].glob("examples/*/pyproject.toml")
}


@pytest.fixture(autouse=True, scope="module")
def without_examples() -> Iterator[None]:
    """The examples are installed beside, for their own tests: here they are not there."""

    def found(**chosen: Any) -> Any:
        every = entry_points(**chosen)
        return [e for e in every if e.dist.name not in EXAMPLES] if chosen else every

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(discovery, "entry_points", found)
        offered.cache_clear()
        yield
    offered.cache_clear()
