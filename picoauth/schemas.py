"""JSON Schemas (2020-12) of bodies and answers, from their types."""

from __future__ import annotations

import dataclasses
import itertools
import re
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from picoauth.parsers import EXACT, MEMBERS_LIMIT
from picoauth.phrases import docs
from picoauth.shapes import LONGEST, SPAN, Seconds, hints

Schema = dict[str, Any]
Bounds = Mapping[str, Any]
"""The metadata of a `described` member."""

PLACE = "#/components/schemas/"
UNIONS = (types.UnionType, typing.Union)
PLAIN = {bool: "boolean", int: "integer", str: "string"}
LEAST = {"integer": "minimum", "string": "minLength", "array": "minItems"}
MOST = {"integer": "maximum", "string": "maxLength", "array": "maxItems"}
NAME = re.compile(r"[^\w.-]", re.ASCII)


class Schemas:
    """Collects the schemas of dataclasses under their names, to be referred to.

    What is `sent` has no members but those of its type; an answer may have more.
    """

    def __init__(self) -> None:
        self.named: dict[str, Schema] = {}
        self.names: dict[tuple[type, bool], str] = {}

    def of(self, kind: Any, *, sent: bool, bounds: Bounds = types.MappingProxyType({})) -> Schema:
        """Raises TypeError for what is no type of a body or an answer."""
        if kind is Seconds:
            return seconds(bounds, sent=sent)
        if kind in PLAIN:
            limits = {"least": -EXACT, "most": EXACT} if sent and kind is int else {}
            return bounded({"type": PLAIN[kind]}, {**limits, **given(bounds)})
        if isinstance(kind, type) and dataclasses.is_dataclass(kind):
            return {"$ref": PLACE + self.name(kind, sent=sent)}
        return {} if kind is Any else self.generic(kind, bounds, sent=sent)

    def generic(self, kind: Any, bounds: Bounds, *, sent: bool) -> Schema:
        origin, args = typing.get_origin(kind), typing.get_args(kind)
        if origin in UNIONS and len(args) == 2 and types.NoneType in args:  # noqa: PLR2004 - X | None
            return nullable(self.of(inner(args), sent=sent, bounds=bounds))
        if origin in UNIONS and not sent and all(map(dataclasses.is_dataclass, args)):
            return {"anyOf": [self.of(arg, sent=sent) for arg in args]}
        if origin is Literal and all(isinstance(word, str) for word in args):
            return {"type": "string", "enum": list(args)}
        if origin is tuple and args[1:] == (...,):
            return bounded({"type": "array", "items": self.of(args[0], sent=sent)}, bounds)
        if origin in (dict, Mapping) and args[0] is str:
            limit = {"maxProperties": MEMBERS_LIMIT} if sent else {}
            return {"type": "object", "additionalProperties": self.of(args[1], sent=sent), **limit}
        raise TypeError(f"{kind!r} is no type that a body or an answer can have")

    def name(self, kind: type, *, sent: bool) -> str:
        """The kernel's names stand alone; others have their package before them."""
        if (kind, sent) not in self.names:
            package = kind.__module__.partition(".")[0]
            whole = kind.__name__ if package == "picoauth" else f"{package}.{kind.__name__}"
            name = unique(NAME.sub("_", whole), self.named)
            self.names[kind, sent] = name
            self.named[name] = {}  # may refer to itself
            self.named[name] |= self.object(kind, sent=sent)
        return self.names[kind, sent]

    def object(self, kind: type, *, sent: bool) -> Schema:
        members = fields(kind)
        return {
            "type": "object",
            "description": docs(kind),
            "properties": {f.name: self.member(kind, f, sent=sent) for f in members},
            "required": [f.name for f in members if is_required(f)],
            "additionalProperties": not sent,
        }

    def member(self, kind: type, field: dataclasses.Field[Any], *, sent: bool) -> Schema:
        bounds = field.metadata
        schema = self.of(hints(kind)[field.name], sent=sent, bounds=bounds)
        default = field.default if sent and not is_required(field) else None
        return {
            **({"description": bounds["text"]} if "text" in bounds else {}),
            **schema,
            **({"default": default} if isinstance(default, bool | int | str) else {}),
        }


def fields(kind: Any) -> Sequence[dataclasses.Field[Any]]:
    return [field for field in dataclasses.fields(kind) if field.init]


def is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is field.default_factory is dataclasses.MISSING


def unique(name: str, taken: typing.Container[str]) -> str:
    """The name, with a number where it is taken."""
    numbered = (f"{name}_{number}" for number in itertools.count(2))
    return next(n for n in itertools.chain([name], numbered) if n not in taken)


def given(bounds: Bounds) -> Bounds:
    return {name: bound for name, bound in bounds.items() if bound is not None}


def bounded(schema: Schema, bounds: Bounds) -> Schema:
    """The schema with what bounds a number, a text in code points, or a list in items."""
    found, kind = given(bounds), schema["type"]
    ends = (("least", LEAST), ("most", MOST))
    return schema | {word[kind]: found[end] for end, word in ends if end in found and kind in word}


def seconds(bounds: Bounds, *, sent: bool) -> Schema:
    """A span of time: answers say it in seconds, bodies may say it in words."""
    number = bounded({"type": "integer"}, {**({"most": LONGEST} if sent else {}), **given(bounds)})
    words = {"type": "string", "pattern": f"^{SPAN}$"}
    return {"anyOf": [number, words]} if sent else number


def nullable(schema: Schema) -> Schema:
    if "type" not in schema:
        return {"anyOf": [schema, {"type": "null"}]} if schema else schema
    enum = {"enum": [*schema["enum"], None]} if "enum" in schema else {}
    return {**schema, "type": [schema["type"], "null"], **enum}


def inner(args: Sequence[Any]) -> Any:
    """What may be null."""
    return next(arg for arg in args if arg is not types.NoneType)
