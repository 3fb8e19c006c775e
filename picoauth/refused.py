"""How `/openapi.json` shows refusals: one response for each set of codes, an example for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from picoauth import replies
from picoauth.errors import AuthError, Problem
from picoauth.problems import INVALID_BODY, MORE_NEEDED, TOO_MANY_ATTEMPTS
from picoauth.refusals import EXPECTED, MEDIA, document
from picoauth.schemas import NAME, PLACE, Schema, Schemas, unique

HEADER = {"required": True, "schema": {"type": "string"}}
OTHERS = "A plugin's refusal."
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
        self.names: dict[Problem, str] = {}

    def response(
        self, status: int, problems: Sequence[Problem], *, openly: bool, beside: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The response of one status, beside an answer of the same, perhaps.

        The codes of `problems` are all that there are, unless plugins may refuse `openly`, in
        words of their own.
        """
        examples = [self.name(problem) for problem in problems]
        name = "-".join([*examples, *(["others"] if openly else [])])
        schema = self.schema(name, status, problems, openly=openly) if problems else self.base
        refs = {each: {"$ref": f"#/components/examples/{each}"} for each in examples}
        content = {MEDIA: {"schema": schema, "examples": refs}}
        if beside:
            return {**beside, "content": {**beside.get("content", {}), **content}}
        titles = [*(problem.title for problem in problems), *([OTHERS] if openly else [])]
        headers = dict.fromkeys(EXPECTED.get(status, {}), HEADER)
        some = {"headers": headers} if headers else {}
        self.responses[name] = {"description": " ".join(titles), **some, "content": content}
        return {"$ref": f"#/components/responses/{name}"}

    def name(self, problem: Problem) -> str:
        """Its code, and a number where plugins have another problem of this code."""
        if problem not in self.names:
            name = unique(NAME.sub("_", problem.code), self.examples)
            refusal = AuthError(problem, **SPECIAL.get(problem, {}))
            self.examples[name] = {"value": document(refusal, REQUEST_ID)}
            self.names[problem] = name
        return self.names[problem]

    @property
    def base(self) -> Schema:
        return self.schemas.of(replies.Problem, sent=False)

    def schema(
        self, name: str, status: int, problems: Sequence[Problem], *, openly: bool
    ) -> Schema:
        """A problem of one status, and of these codes if they are all that there are."""
        codes = list(dict.fromkeys(problem.code for problem in problems))
        special = {"status": {"enum": [status]}, **({} if openly else {"code": {"enum": codes}})}
        self.schemas.named[f"Problem.{name}"] = {"allOf": [self.base, {"properties": special}]}
        return {"$ref": f"{PLACE}Problem.{name}"}
