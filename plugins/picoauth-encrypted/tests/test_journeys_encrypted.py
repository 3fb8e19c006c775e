"""The kernel's own tests of journeys, on an encrypted file."""

from __future__ import annotations

from encrypting import encrypted  # noqa: F401 - a fixture

from tests.test_journeys import *  # noqa: F403
