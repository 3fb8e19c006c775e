"""What `/openapi.json` says in words: of routes, types and statuses."""

from __future__ import annotations

import inspect
import re
from http import HTTPStatus

from picoauth.routes import AnyRoute


def summary(route: AnyRoute) -> str:
    """Its own, or what the handler says, or its name: a callable object may say nothing."""
    told = sentence(route.handler) if inspect.isroutine(route.handler) else ""
    return route.summary or told or f"{route.method} {route.path}"


def sentence(thing: object) -> str:
    """The first sentence of a docstring."""
    text = docs(thing)
    found = re.match(r".+?[.!?](?= [A-Z`]|$)", text)
    return found[0] if found else text


def phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"Status {status}"


def docs(thing: object) -> str:
    """A docstring on one line; what `dataclass` makes up is none."""
    text = " ".join((inspect.getdoc(thing) or "").split())
    return "" if text.startswith(f"{getattr(thing, '__name__', '')}(") else text
