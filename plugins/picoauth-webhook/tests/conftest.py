"""Secrets of receivers, in the environment."""

from __future__ import annotations

import base64

import pytest

KEYS = (bytes(range(32)), bytes(range(100, 132)))


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found = ["whsec_" + base64.b64encode(key).decode() for key in KEYS]
    for n, secret in enumerate(found):
        monkeypatch.setenv(f"HOOK_{n}", secret)
    return found
