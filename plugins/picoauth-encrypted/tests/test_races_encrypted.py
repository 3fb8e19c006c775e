"""The kernel's own tests of races, on an encrypted file."""

from __future__ import annotations

from encrypting import encrypted  # noqa: F401 - a fixture

from tests.test_races import *  # noqa: F403
