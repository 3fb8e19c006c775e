"""What a plugin adds to the write of an event, by its hook `record`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from picoauth.database import Statement
from picoauth.errors import Problem


@dataclass(frozen=True)
class Condition:
    """What has to hold for a change to be made, of which a plugin is told by its `record` hook.

    The statement comes before all others of the write: it sees what the change would end.
    Where it touches another number of rows than it says, nothing is written, and the client
    gets the problem.
    """

    statement: Statement
    refused: Problem


@dataclass(frozen=True)
class Addition:
    """What a plugin adds to a write by its `record` hook; `reply` goes into the answer."""

    statements: Sequence[Statement] = ()
    reply: Any = None
    conditions: Sequence[Condition] = ()
