"""The kernel's own tests, on PostgreSQL: some of them, or with PICOAUTH_WHOLE=1 all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.elsewhere import KERNEL, every, run

MORE = (
    *("test_ahead", "test_deletion", "test_importing", "test_jobs", "test_migrations"),
    *("test_round_trips", "test_throttle", "test_tickets", "test_traces"),
)
"""Those whose SQL is composed, and that take seconds alone."""
MODULES = every() if "PICOAUTH_WHOLE" in os.environ else (*KERNEL, *MORE)


@pytest.mark.timeout(1800)  # a whole module is one test here
@pytest.mark.parametrize("module", MODULES)
def test_kernel(module: str) -> None:
    run("engines:Engines", Path(__file__).parent, module)
