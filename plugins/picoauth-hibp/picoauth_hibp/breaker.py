"""Leaves a service alone that fails again and again."""

from __future__ import annotations

from collections.abc import Callable


class Breaker:
    """After so many `failures` in a row nobody asks for `pause` seconds; then one tries."""

    def __init__(self, failures: int, pause: int, now: Callable[[], int]) -> None:
        self.failures = failures
        self.pause = pause
        self.now = now
        self.failed = 0
        self.opened_at: int | None = None

    def lets(self) -> bool:
        """Whether to ask; of those who come after the pause, the first one alone.

        A clock that went back counts as a pause that is over.
        """
        if self.opened_at is None:
            return True
        if 0 <= self.now() - self.opened_at < self.pause:
            return False
        self.opened_at = self.now()
        return True

    def fail(self) -> bool:
        """Take note of a failure; whether it is the one that opens."""
        self.failed += 1
        if self.failed < self.failures:
            return False
        opens, self.opened_at = self.opened_at is None, self.now()
        return opens

    def succeed(self) -> bool:
        """Take note of an answer; whether it is the one that closes."""
        closes, self.failed, self.opened_at = self.opened_at is not None, 0, None
        return closes
