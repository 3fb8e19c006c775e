"""What can go wrong, in the words that clients and operators get to read."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class Problem:
    """One kind of refusal: an RFC 9457 problem with a stable code."""

    status: int
    code: str
    title: str
    logged: bool = False
    """Whoever runs the server may have to mend it: its log says so, once a minute."""


class AuthError(Exception):
    """A refusal that a client gets as problem details (RFC 9457).

    `detail` says what is special about this one; `extra` becomes members of
    the answer. Neither may hold a secret: both reach logs.
    """

    def __init__(
        self,
        problem: Problem,
        detail: str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        **extra: Any,
    ) -> None:
        super().__init__(problem.code)
        self.problem = problem
        self.detail = detail
        self.headers = dict(headers or {})
        self.extra = extra


class Denied(AuthError):
    """A proof was refused, or a check said no. Access is decided by raising, never by a bool."""


class ConfigError(Exception):
    """What an operator has to mend before the server starts: one sentence each."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems: Sequence[str] = problems


DENIED = os.strerror(errno.EACCES)
AS_OWNER = (
    "Run this as the user that the server runs as, or give that user the file and its folder."
)


def reason(error: OSError) -> str:
    """What the system says of a file, and what to do where it belongs to somebody else."""
    return f"{error.strerror}. {AS_OWNER}" if error.strerror == DENIED else f"{error.strerror}."


class Conflict(Exception):
    """A write was undone because another one came first.

    `index` is the position of the statement in its write that touched another
    number of rows than it had to, or broke a constraint of the schema.
    """

    def __init__(self, index: int) -> None:
        super().__init__(f"statement {index} of the write")
        self.index = index


class Undeliverable(Exception):
    """A message can never be sent: its address is refused, for instance.

    What it says reaches logs and the database, so it holds no address and no secret.
    """


class Unavailable(Exception):
    """A part that this request needs cannot answer now: nothing was done, trying again is safe.

    What it says reaches the log, and no client: it holds no address and no secret.
    """

    counts: ClassVar[bool] = False
    """Whether a proof that is not looked at for it counts as a try nevertheless."""

    def __init__(self, what: str, *, retry_after: int = 1) -> None:
        super().__init__(what)
        self.retry_after = retry_after
        """Seconds after which another try makes sense."""
