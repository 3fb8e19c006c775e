"""How commands fail: in one sentence for each problem, on standard error, with an exit code."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from picoauth.errors import AuthError, Conflict, Unavailable

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


class Failure(click.ClickException):
    """What was refused, or cannot be done now."""

    exit_code = 1

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems

    def show(self, file: Any = None) -> None:
        for problem in self.problems:
            click.echo(f"picoauth: {problem}", file=file, err=True)


class Misuse(Failure):
    """What the operator has to mend."""

    exit_code = 2


def worded(error: AuthError | Conflict | Unavailable) -> str:
    if isinstance(error, AuthError):
        return joined(error.problem.title, error.detail)
    if isinstance(error, Conflict):
        return "Another change came first: nothing was done, try again."
    return f"Nothing was done, since {error}: try again when that is mended."


def joined(title: str, detail: str | None) -> str:
    """One text of both; a detail that is but a clause goes on with the sentence."""
    if detail and not detail[0].isupper():
        return f"{title.removesuffix('.')}: {detail.removesuffix('.')}."
    return " ".join(filter(None, (title, detail)))


def is_full(error: Exception) -> bool:
    """Whether a device that what is said goes to has no room, or is broken."""
    return isinstance(error, OSError) and error.errno in FULL


def unwritten(error: OSError) -> int:
    """Say that it could not be said; answers the exit code.

    What is left in the buffer is thrown away: the interpreter would try it once more in the
    end, and fail in its own words.
    """
    click.echo(f"picoauth: The output cannot be written: {error.strerror}.", err=True)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
    return Failure.exit_code
