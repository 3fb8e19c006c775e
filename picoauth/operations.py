"""What `/openapi.json` says of one route: an OpenAPI operation."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from itertools import groupby
from typing import Any, get_args

from picoauth.errors import Problem
from picoauth.forms import Refusal, form_of, formed
from picoauth.intake import Nothing
from picoauth.phrases import phrase, sentence, summary
from picoauth.possible import policy_of, possible, security
from picoauth.problems import REFUSED
from picoauth.refused import Refusals
from picoauth.routes import ANYTHING, PARAMETER, AnyRoute
from picoauth.samples import sample
from picoauth.schemas import Schema, Schemas, unique

BODILESS = frozenset({"GET", "HEAD", "DELETE"})
"""Methods whose bodies mean nothing (RFC 9110, section 9.3)."""


class Operations:
    """Describes routes, and collects what they share.

    Where `plugins_object`, a route that may be `refused` may be so in words of theirs.
    """

    def __init__(self, *, plugins_object: bool) -> None:
        self.plugins_object = plugins_object
        self.schemas = Schemas()
        self.refusals = Refusals(self.schemas)
        self.ids: set[str] = set()

    def of(self, owner: str, route: AnyRoute, path: str) -> dict[str, Any]:
        problems = possible(route)
        return {
            "operationId": self.name(route),
            "tags": [owner],
            "summary": summary(route),
            "description": policy_of(route).words,
            "parameters": parameters(path, route.query),
            **self.request(route),
            "responses": self.responses(route, problems),
            "security": security(route),
        }

    def name(self, route: AnyRoute) -> str:
        parts = re.findall("[A-Za-z0-9]+", route.path)
        name = unique("_".join([route.method.lower(), *parts]), self.ids)
        self.ids.add(name)
        return name

    def request(self, route: AnyRoute) -> dict[str, Any]:
        """The body. Of a route without one it may be `{}`, for clients that always send some."""
        if route.body is None and route.method in BODILESS:
            return {}
        kind = route.body or Nothing
        known = route.known if kind is dict else None
        schema = self.schema(known or kind, sent=known is None)
        content = media(schema, known or kind, route.example)
        needed = route.body is not None and ANYTHING not in route.accepts
        return {
            "requestBody": {"content": dict.fromkeys(route.accepts, content), "required": needed}
        }

    def schema(self, kind: Any, *, sent: bool) -> Schema:
        return {"type": "object"} if kind is dict else self.schemas.of(kind, sent=sent)

    def responses(self, route: AnyRoute, problems: Sequence[Problem]) -> dict[str, Any]:
        """By status: what is answered, and how it is refused."""
        found = {status: self.answer(route, status) for status in (route.status, *route.also)}
        openly = self.plugins_object and REFUSED in problems
        for status, some in groupby(problems, lambda problem: problem.status):
            refusals = formed(route, status, list(some), openly=openly)
            found[status] = self.refusals.response(*refusals, answer=found.get(status, {}))
        by_status = {str(status): found[status] for status in sorted(found)}
        others = Refusal(0, [], form_of(route), openly)
        return by_status | ({"default": self.refusals.shared(others)} if openly else {})

    def answer(self, route: AnyRoute, status: int) -> dict[str, Any]:
        if route.answer is None:
            return {"description": phrase(status)}
        said = sentence(route.answer) if is_dataclass(route.answer) else ""
        content = media(self.schema(route.answer, sent=False), route.answer)
        return {"description": said or phrase(status), "content": {route.media: content}}


def media(schema: Schema, kind: Any, given: Any = None) -> dict[str, Any]:
    """A schema with its example: the one that is given, or that of the members."""
    first = next(iter(get_args(kind)), kind)  # of several
    shown = given or (sample(first) if is_dataclass(first) else None)
    return {"schema": schema, **({} if shown is None else {"example": shown})}


def parameters(path: str, query: Mapping[str, str]) -> list[dict[str, Any]]:
    text = {"type": "string"}
    named = [{"name": name, "in": "path", "required": True} for name in PARAMETER.findall(path)]
    asked = [{"name": name, "in": "query", "description": what} for name, what in query.items()]
    return [{**parameter, "schema": text} for parameter in (*named, *asked)]
