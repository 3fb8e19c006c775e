"""How `/openapi.json` shows refusals: one response for each set of codes, an example for each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from picoauth.errors import AuthError, Problem
from picoauth.forms import Form, Refusal
from picoauth.problems import INVALID_BODY, MORE_NEEDED, TOO_MANY_ATTEMPTS
from picoauth.refusals import EXPECTED
from picoauth.schemas import NAME, PLACE, Schema, Schemas, unique

HEADER = {"required": True, "schema": {"type": "string"}}
REQUEST_ID = "6d1f0b7c2a9e5d3c41"
SPECIAL: Mapping[Problem, Mapping[str, Any]] = {
    INVALID_BODY: {"errors": [{"member": "username", "message": "is missing"}]},
    MORE_NEEDED: {"flow": "o2VbJ8mWJxM3c0lq4nYt6w", "next": ["totp"]},
    TOO_MANY_ATTEMPTS: {"retry_after": 8},
}
"""What some problems have beside the members that all have."""


class Refusals:
    """Collects responses and examples under their names, to be referred to."""

    def __init__(self, schemas: Schemas) -> None:
        self.schemas = schemas
        self.responses: dict[str, Any] = {}
        self.examples: dict[str, Any] = {}
        self.names: dict[tuple[Form, Problem], str] = {}

    def response(self, *refusals: Refusal, answer: Mapping[str, Any]) -> dict[str, Any]:
        """The response of one status; beside refusals it may be an answer."""
        if len(refusals) == 1 and not answer:
            return self.shared(refusals[0])
        words = [answer.get("description", ""), *(refusal.description for refusal in refusals)]
        content = {**answer.get("content", {})}
        for refusal in refusals:
            content |= self.content(refusal)
        return {"description": " ".join(filter(None, words)), "content": content}

    def shared(self, refusal: Refusal) -> dict[str, Any]:
        """Most routes are refused alike."""
        name = self.name(refusal)
        headers = dict.fromkeys(EXPECTED.get(refusal.status, {}), HEADER)
        some = {"headers": headers} if headers else {}
        response = {"description": refusal.description, **some, "content": self.content(refusal)}
        self.responses[name] = response
        return {"$ref": f"#/components/responses/{name}"}

    def name(self, refusal: Refusal) -> str:
        names = [self.example(refusal.form, problem) for problem in refusal.problems]
        return "-".join([*names, *(["others"] if refusal.openly else [])])

    def content(self, refusal: Refusal) -> dict[str, Any]:
        names = [self.example(refusal.form, problem) for problem in refusal.problems]
        examples = {name: {"$ref": f"#/components/examples/{name}"} for name in names}
        _, media = refusal.form.write(AuthError(INVALID_BODY), None)
        return {media: {"schema": self.schema(refusal), "examples": examples}}

    def schema(self, refusal: Refusal) -> Schema:
        base = self.schemas.of(refusal.form.kind, sent=False)
        if not refusal.problems:
            return base
        name = f"Problem.{self.name(refusal)}"
        self.schemas.named[name] = {"allOf": [base, {"properties": refusal.special}]}
        return {"$ref": f"{PLACE}{name}"}

    def example(self, form: Form, problem: Problem) -> str:
        """Named by its code, with a number where plugins have another problem of this code."""
        if (form, problem) not in self.names:
            name = unique(NAME.sub("_", f"{form.prefix}{problem.code}"), self.examples)
            members, _ = form.write(AuthError(problem, **SPECIAL.get(problem, {})), REQUEST_ID)
            self.examples[name] = {"value": members}
            self.names[form, problem] = name
        return self.names[form, problem]
