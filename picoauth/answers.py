"""What hooks may answer, so that a plugin that answers otherwise is named, and not believed."""

from __future__ import annotations

import inspect
import json
from collections.abc import Coroutine, Generator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager

import click

from picoauth.checks import Check
from picoauth.database import Database
from picoauth.endpoints import RESERVED
from picoauth.factors import Factor
from picoauth.jobs import Job
from picoauth.mail import Mailer
from picoauth.routes import EdgeRoute, Route
from picoauth.sessions import SessionStore
from picoauth.throttle import Limiter

LISTS: Mapping[str, type] = {
    "migrations": str,
    "factors": Factor,
    "routes": Route,
    "edge": EdgeRoute,
    "commands": click.Command,
    "checks": Check,
    "jobs": Job,
}
NAMED = ("factors", "commands", "checks", "jobs")
"""Hooks whose items have a `name`."""
TABLES = ("guards", "senders")
"""Hooks that answer functions by name."""
SLOTS: Mapping[str, type] = {
    "database": Database,
    "sessions": SessionStore,
    "mailer": Mailer,
    "limiter": Limiter,
}
FACTS = ("claims", "export")
"""Hooks that answer JSON by name."""


def misfit(hook: str, answer: object) -> str | None:
    """What is wrong with an answer, for a sentence that names the plugin; else None."""
    if inspect.iscoroutine(answer):
        answer.close()  # nobody will await it, and Python would complain in its own words
    if hook in LISTS:
        return misfits(hook, answer, LISTS[hook])
    if hook in TABLES:
        return None if is_table(answer) else wanted(hook, answer, "functions by name")
    if hook in SLOTS:
        kind = SLOTS[hook]
        return (
            None
            if answer is None or occupies(answer, kind)
            else wanted(hook, answer, f"`None` or a `{kind.__name__}`")
        )
    if hook == "lifespan" and not isinstance(answer, AbstractAsyncContextManager | None):
        return wanted(hook, answer, "`None` or an async context manager")
    if hook in FACTS and not is_json(answer):
        return wanted(hook, answer, "JSON by name")
    return None


def misfits(hook: str, answer: object, kind: type) -> str | None:
    """Sequences are lists or tuples: a text is none, and a generator can be read but once."""
    belongs = f"a list of `{kind.__name__}`"
    if not isinstance(answer, list | tuple):
        return wanted(hook, answer, belongs)
    for item in answer:
        problem = None if isinstance(item, kind) else wanted(hook, item, belongs)
        problem = problem or misnamed(hook, getattr(item, "name", None))
        if problem is not None:
            return problem
    return None


def misnamed(hook: str, name: object) -> str | None:
    """A factor's name is a member of a login's body, beside those of the kernel."""
    if hook not in NAMED:
        return None
    if not isinstance(name, str) or not name:
        return f"has {hook} without a name"
    taken = hook == "factors" and name in RESERVED
    return f'has a factor "{name}", which is a name of the kernel\'s' if taken else None


def wanted(hook: str, answer: object, belongs: str) -> str:
    return f"answers {hook} with `{type(answer).__name__}`, where {belongs} belongs"


def occupies(answer: object, kind: type) -> bool:
    """It has the methods; a forgotten `await` or `return` has a `send` too, but is no mailer."""
    return not isinstance(answer, Generator | Coroutine) and all(
        hasattr(answer, name) for name in methods(kind)
    )


def is_table(answer: object) -> bool:
    if not isinstance(answer, Mapping):
        return False
    return all(isinstance(name, str) and callable(item) for name, item in answer.items())


def is_json(answer: object) -> bool:
    if not isinstance(answer, Mapping) or not all(isinstance(name, str) for name in answer):
        return False
    try:
        json.dumps(dict(answer), allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def methods(protocol: type) -> Iterator[str]:
    functions = inspect.getmembers(protocol, inspect.isfunction)
    return (name for name, _ in functions if not name.startswith("_"))
