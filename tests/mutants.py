"""Runs single tests of a contract by hand, against parts that are right and parts that are not."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from picoauth.testing.contracts.base import Contract

FAILURES = (AssertionError, pytest.fail.Exception)
"""How a test says that something is wrong."""


async def run(contract: Contract, test: str, **fixtures: Any) -> None:
    """Run one test of a contract with those of the fixtures that it asks for."""
    method = getattr(contract, test)
    await method(**{name: fixtures[name] for name in inspect.signature(method).parameters})


async def fails(contract: Contract, test: str, *also: type[Exception], **fixtures: Any) -> None:
    """See that it fails, or raises what a broken part may raise."""
    with pytest.raises((*FAILURES, *also)):
        await run(contract, test, **fixtures)
