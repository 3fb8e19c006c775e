"""The kernel's own tests of faults, on an encrypted file."""

from __future__ import annotations

from encrypting import encrypted  # noqa: F401 - a fixture

from tests.test_faults import *  # noqa: F403
