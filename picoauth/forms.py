"""The ways in which refusals are written, and which of them a route uses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from picoauth import replies
from picoauth.errors import AuthError, Problem
from picoauth.possible import EARLY
from picoauth.refusals import as_oauth, as_problem
from picoauth.routes import AnyRoute, Route
from picoauth.schemas import Schema

OTHERS = "A plugin's refusal."


@dataclass(frozen=True)
class Form:
    """A way to write refusals: how, of what type, and what their names begin with."""

    write: Callable[[AuthError, str | None], tuple[dict[str, Any], str]]
    kind: type
    prefix: str = ""


PROBLEM = Form(as_problem, replies.Problem)
OAUTH = Form(as_oauth, replies.OAuthError, "oauth.")


@dataclass(frozen=True)
class Refusal:
    """One status in one form. Its codes are all that there are, unless plugins refuse `openly`."""

    status: int
    problems: Sequence[Problem]
    form: Form
    openly: bool

    @property
    def codes(self) -> Sequence[str]:
        return list(dict.fromkeys(problem.code for problem in self.problems))

    @property
    def description(self) -> str:
        titles = [problem.title for problem in self.problems]
        return " ".join([*titles, *([OTHERS] if self.openly else [])])

    @property
    def special(self) -> Schema:
        """What it has of its own, among all of its form."""
        status = {"status": {"enum": [self.status]}} if self.form is PROBLEM else {}
        return {**status, **({} if self.openly else {"code": {"enum": self.codes}})}


def form_of(route: AnyRoute) -> Form:
    return OAUTH if isinstance(route, Route) and route.errors == "oauth" else PROBLEM


def formed(
    route: AnyRoute, status: int, problems: Sequence[Problem], *, openly: bool
) -> Iterator[Refusal]:
    """What is refused before a route is looked for is a problem, however the route refuses."""
    for form in (PROBLEM, OAUTH):
        mine = [p for p in problems if form is (PROBLEM if p in EARLY else form_of(route))]
        if mine:
            yield Refusal(status, mine, form, openly)
