"""The kernel's own tests, on a libSQL server."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.elsewhere import KERNEL, run


@pytest.mark.timeout(1800)  # a whole module is one test here
@pytest.mark.parametrize("module", KERNEL)
def test_kernel(module: str) -> None:
    run("engines:Engines", Path(__file__).parent, module)
