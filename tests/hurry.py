"""Checks that hang, for tests that wait for none of them and for all of the others."""

from __future__ import annotations

import pytest

from picoauth import Check, checks


def hurry(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """This check may take no time, and any other one as much as it likes."""
    attempt = checks.attempt

    async def hurried(check: Check, _: float) -> str | None:
        return await attempt(check, 0.01 if check.name == name else 60)

    monkeypatch.setattr(checks, "attempt", hurried)
