"""What a plugin adds to the lines of an import and an export: the types of the hook `imports`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from picoauth.database import Statement
from picoauth.drafts import Enrolment


@dataclass(frozen=True)
class Imported:
    """What one member of a line comes to, written together with its user."""

    enrolments: Sequence[Enrolment] = ()
    statements: Sequence[Statement] = ()


class ImportField:
    """A member of the lines of an import: checked in a first reading, written in a second."""

    secret: ClassVar[bool] = False
    """Whether an export has it only where secrets are asked for."""
    provable: ClassVar[bool] = False
    """Whether `prove` can tell if a user's own text fits."""

    def check(self, value: Any) -> Any:
        """What of the value is kept. Raises ValueError: one clause, without the value.

        It is called for each line, several times: no I/O, and the same answer each time.
        """
        raise NotImplementedError

    def make(self, user_id: str, value: Any) -> Imported:
        """What is written for a user who is about to be made, from what `check` answered."""
        raise NotImplementedError

    async def prove(self, value: Any, typed: str) -> None:
        """Raises Denied where what the user typed does not fit what `check` answered."""
        raise NotImplementedError

    async def dump(self, user_ids: Sequence[str]) -> Mapping[str, Any]:
        """What an export has of these users, by user id: what `check` takes on another server."""
        return dict.fromkeys(user_ids[:0])
