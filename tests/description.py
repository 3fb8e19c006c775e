"""Reads `/openapi.json`, and holds what a server answers against it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema import Draft202012Validator

from picoauth.app import Application
from picoauth.routes import Listener

Operation = Mapping[str, Any]


class Description:
    """The document of a listener."""

    def __init__(self, app: Application, listener: Listener = "public") -> None:
        self.document: dict[str, Any] = json.loads(app.description.on(listener))

    def operations(self) -> Iterator[tuple[str, str, Operation]]:
        """Method, path and operation of each."""
        for path, item in self.document["paths"].items():
            for method, operation in item.items():
                yield method.upper(), path, operation

    def operation(self, method: str, path: str) -> Operation:
        found: Operation = self.document["paths"][path][method.lower()]
        return found

    def response(self, operation: Operation, status: int) -> Mapping[str, Any]:
        responses = operation["responses"]
        found: Mapping[str, Any] = self.seen(responses.get(str(status)) or responses["default"])
        return found

    def seen(self, thing: Any) -> Any:
        """What a reference stands for."""
        if "$ref" not in thing:
            return thing
        found = self.document
        for name in thing["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        return found

    def check(self, value: Any, schema: Mapping[str, Any]) -> None:
        """Raises ValidationError."""
        whole = {**schema, "components": self.document["components"]}
        Draft202012Validator(whole).validate(value)

    def check_answer(
        self, method: str, path: str, status: int, headers: Mapping[str, str], body: bytes
    ) -> None:
        """See that status, headers, type and body of an answer are those of its operation."""
        response = self.response(self.operation(method, path), status)
        assert [n for n in response.get("headers", {}) if n not in headers] == []
        if "content" not in response:
            assert b"" == body
            return
        media = response["content"][headers["content-type"]]
        text = body.decode()
        self.check(json.loads(text) if "json" in headers["content-type"] else text, media["schema"])
