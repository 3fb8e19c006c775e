"""What hooks may answer, so that a plugin that answers otherwise is named, and not believed."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Collection, Coroutine, Generator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import is_dataclass
from types import UnionType
from typing import Any, get_args

import click

from picoauth.checks import LEVELS, Check
from picoauth.database import Database
from picoauth.discovery import told
from picoauth.endpoints import RESERVED
from picoauth.errors import Problem
from picoauth.factors import Factor
from picoauth.importlines import MEMBERS as OF_LINES
from picoauth.imports import ImportField
from picoauth.jobs import Job
from picoauth.mail import Mailer
from picoauth.routes import EdgeRoute, Route
from picoauth.samples import sample
from picoauth.schemas import Schemas
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
TAKEN: Mapping[str, Collection[str]] = {
    "factors": RESERVED,  # members of a login's body, as the names of factors are
    "jobs": {"clean", "reseal"},
    "checks": {"database", "revocations", "outbox", "older-secrets"},
    "imports": set(OF_LINES),
}
TABLES: Mapping[str, tuple[Callable[[object], bool], str]] = {
    "guards": (callable, "functions"),
    "senders": (callable, "functions"),
    "imports": (lambda item: isinstance(item, ImportField), "`ImportField`"),
}
"""Hooks that answer things by name: which, and in words."""
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
        return mistabled(hook, answer)
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


def mistabled(hook: str, answer: object) -> str | None:
    fits, items = TABLES[hook]
    if not isinstance(answer, Mapping) or not all(
        isinstance(name, str) and fits(item) for name, item in answer.items()
    ):
        return wanted(hook, answer, f"{items} by name")
    taken = sorted(answer.keys() & TAKEN.get(hook, set()))
    return f'has a {hook[:-1]} "{taken[0]}", which is a name of the kernel\'s' if taken else None


def misfits(hook: str, answer: object, kind: type) -> str | None:
    """Sequences are lists or tuples: a text is none, and a generator can be read but once."""
    belongs = f"a list of `{kind.__name__}`"
    if not isinstance(answer, list | tuple):
        return wanted(hook, answer, belongs)
    for item in answer:
        problem = (
            wanted(hook, item, belongs)
            if not isinstance(item, kind)
            else misnamed(hook, getattr(item, "name", None)) or malformed(hook, item)
        )
        if problem is not None:
            return problem
    return None


def misnamed(hook: str, name: object) -> str | None:
    if hook not in NAMED:
        return None
    if not isinstance(name, str) or not name:
        return f"has {hook} without a name"
    taken = name in TAKEN.get(hook, ())
    return f'has a {hook[:-1]} "{name}", which is a name of the kernel\'s' if taken else None


def malformed(hook: str, item: object) -> str | None:
    """A member that would break the start, or the first request, in words of others."""
    members = vars(item) if hook in WHOLE else {}
    for name, fits in MEMBERS.items():
        if name in members and not fits(members[name]):
            shown = " ".join(repr(members[name]).split())[:100]
            return f"has {WHOLE[hook]} whose `{name}` cannot be {shown}"
    for name, sent in SENT.items():
        reason = undescribed(members.get(name), sent=sent)
        if reason is not None:
            return f"has {WHOLE[hook]} whose `{name}` cannot be described ({reason})"
    return None


def is_path(value: object) -> bool:
    """`/shelf/{id}`: what a URL has as it is, and parameters of different names."""
    if not isinstance(value, str) or not re.fullmatch(
        r"/([\w.~@:/-]|\{[A-Za-z_]\w*\})*", value, re.ASCII
    ):
        return False
    names = re.findall(r"\{(\w+)\}", value)
    return len(set(names)) == len(names)


def is_typed(value: object) -> bool:
    return value in (None, dict, str) or (isinstance(value, type) and is_dataclass(value))


def is_answer(value: object) -> bool:
    """One type, or a choice of dataclasses."""
    choice = isinstance(value, UnionType) and all(map(is_dataclass, get_args(value)))
    return choice or is_typed(value)


def is_shown(value: object) -> bool:
    """What `/openapi.json` can show."""
    return value is None or is_json({"": value})


def items(kind: type) -> Callable[[Any], bool]:
    return lambda value: (
        isinstance(value, list | tuple) and all(isinstance(one, kind) for one in value)
    )


def is_problem(value: Problem) -> bool:
    return type(value.status) is int and text(value.code) and text(value.title)


def text(value: object) -> bool:
    return isinstance(value, str)


def undescribed(kind: object, *, sent: bool) -> str | None:
    """Why a type can neither be checked nor shown; else None."""
    kinds = [one for one in get_args(kind) or (kind,) if is_dataclass(one)]
    schemas = Schemas()
    try:
        for one in kinds:
            schemas.of(one, sent=sent)
            json.dumps([schemas.named, sample(one)])
    except Exception as error:  # noqa: BLE001 - annotations are evaluated, and fail in any way
        return told(error)
    return None


MEMBERS: Mapping[str, Callable[[Any], bool]] = {
    "method": lambda value: isinstance(value, str) and bool(re.fullmatch("[A-Z]+", value)),
    "path": is_path,
    "handler": callable,
    "policy": text,
    "body": is_typed,
    "known": is_typed,
    "answer": is_answer,
    "query": lambda value: is_json(value) and all(map(text, value.values())),
    "accepts": items(str),
    "also": items(int),
    "problems": lambda value: items(Problem)(value) and all(map(is_problem, value)),
    "status": lambda value: type(value) is int,
    "media": text,
    "summary": text,
    "example": is_shown,
    "run": callable,
    "level": lambda value: value in LEVELS,
    "every": lambda value: type(value) is int and value > 0,
}
SENT = {"body": True, "known": False, "answer": False}
"""Members that are types; `sent` ones come from a client."""
WHOLE = {"routes": "routes", "edge": "edge routes", "checks": "checks", "jobs": "jobs"}
"""Hooks whose items have such members, and what these are called."""


def wanted(hook: str, answer: object, belongs: str) -> str:
    return f"answers {hook} with `{type(answer).__name__}`, where {belongs} belongs"


def occupies(answer: object, kind: type) -> bool:
    """It has the methods; a forgotten `await` or `return` has a `send` too, but is no mailer."""
    return not isinstance(answer, Generator | Coroutine) and all(
        hasattr(answer, name) for name in methods(kind)
    )


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
