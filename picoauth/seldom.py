"""A filter for what a log would be told again and again."""

from __future__ import annotations

from logging import Filter, LogRecord

MINUTE = 60
KINDS = 100
"""Reasons that are remembered."""


class Seldom(Filter):
    """Lets each reason through once a minute: a flood of requests is no flood of lines.

    A reason is the `extra` member `seldom` of a record; one without it always passes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.until: dict[str, float] = {}

    def filter(self, record: LogRecord) -> bool:
        reason: str | None = getattr(record, "seldom", None)
        if reason is None:
            return True
        if record.created < self.until.get(reason, 0):
            return False
        if len(self.until) >= KINDS:
            self.until.clear()
        self.until[reason] = record.created + MINUTE
        return True
