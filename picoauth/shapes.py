"""Turns TOML and JSON values into frozen dataclasses, and reports every mistake at once."""

from __future__ import annotations

import dataclasses
import difflib
import re
import types
import typing
from collections.abc import Callable, Collection, Mapping
from functools import cache
from typing import Any, Literal, NewType, TypeVar, cast

from picoauth.errors import AuthError
from picoauth.problems import INVALID_BODY

T = TypeVar("T")

Seconds = NewType("Seconds", int)
"""A span of time: a whole number of seconds, or in TOML also "10m", "24h", "14d"."""

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
SPAN = "([0-9]{1,9})([smhd])"
LONGEST = 10 * 365 * 86400
"""Seconds of the longest span that means anything."""
KINDS: Mapping[Any, str] = {bool: "true or false", int: "a whole number", str: "a text"}


def described(
    text: str,
    *,
    default: Any = dataclasses.MISSING,
    least: int | None = None,
    most: int | None = None,
    check: Callable[[Any], None] | None = None,
    each: Callable[[Any], None] | None = None,
    example: Any = None,
) -> Any:
    """A dataclass field with its documentation, its bounds and an example.

    `least` and `most` bound a number, the length of a text in code points, or of a list;
    `check` raises ValueError with what is wrong ("must be ..."), `each` does so for one item.
    """
    metadata = {
        "text": text,
        "least": least,
        "most": most,
        "check": check,
        "each": each,
        "example": example,
    }
    return dataclasses.field(default=default, metadata=metadata)


def suggest(word: str, words: Collection[str]) -> str:
    """`, did you mean "x"?` where a near word is known, else nothing."""
    near = difflib.get_close_matches(word, words, n=1)
    return f', did you mean "{near[0]}"?' if near else ""


class Shaper:
    """One conversion: collects what is wrong, and never repeats a value, which may be a secret.

    `converters` knows further types (a secret, a path), by the type that a field declares.
    """

    def __init__(self, converters: Mapping[Any, Callable[[object], Any]] | None = None) -> None:
        self.problems: list[tuple[str, str]] = []
        self.converters = {Seconds: seconds, **(converters or {})}

    def build(self, cls: type[T], value: object, where: str = "") -> T | None:
        """Make a `cls`, or note under `where` why not."""
        if not isinstance(value, dict):
            self.wrong(where, "must be a table" if where else "must be an object")
            return None
        before = len(self.problems)
        fields = {field.name: field for field in dataclasses.fields(cast("Any", cls)) if field.init}
        for name in sorted(value.keys() - fields.keys()):
            self.wrong(join(where, name), f"is unknown{suggest(name, fields.keys())}")
        members = {name: self.member(cls, field, value, where) for name, field in fields.items()}
        return None if len(self.problems) > before else self.finish(cls, members, where)

    def finish(self, cls: type[T], members: Mapping[str, Any], where: str) -> T | None:
        try:
            return cls(**members)
        except ValueError as error:  # a __post_init__ that looks at several members
            self.wrong(where, str(error))
            return None

    def member(
        self, cls: type, field: dataclasses.Field[Any], value: Mapping[str, object], where: str
    ) -> Any:
        here = join(where, field.name)
        if field.name in value:
            kind, before = hints(cls)[field.name], len(self.problems)
            result = self.convert(kind, value[field.name], here)
            if result is None or len(self.problems) > before:
                return None
            return self.bounded(kind, result, field.metadata, here)
        if field.default_factory is not dataclasses.MISSING:
            return field.default_factory()
        if field.default is dataclasses.MISSING:
            return self.wrong(here, "is missing")
        return field.default

    def convert(self, kind: Any, value: object, where: str) -> Any:
        if kind in self.converters:
            return self.call(self.converters[kind], value, where)
        if typing.get_origin(kind) is not None:
            return self.generic(kind, value, where)
        if dataclasses.is_dataclass(kind):
            return self.build(cast("type[Any]", kind), value, where)
        return value if kind is Any else self.plain(kind, value, where)

    def plain(self, kind: Any, value: object, where: str) -> Any:
        if kind not in KINDS:
            raise TypeError(f"{kind!r} is no type that a setting or a body can have")
        if type(value) is not kind:
            return self.wrong(where, f"must be {KINDS[kind]}")
        if isinstance(value, str) and "\0" in value:  # ends a text early in C: in a path, a name
            return self.wrong(where, "must not have a NUL")
        return value

    def generic(self, kind: Any, value: object, where: str) -> Any:
        origin, args = typing.get_origin(kind), typing.get_args(kind)
        if origin in (types.UnionType, typing.Union):
            return self.optional(args, value, where)
        if origin is Literal:
            return value if value in args else self.wrong(where, f"must be one of {words(args)}")
        if origin is tuple:
            return self.items(args[0], value, where)
        if origin in (dict, Mapping):
            return self.mapping(args[1], value, where)
        raise TypeError(f"{kind!r} is no type that a setting or a body can have")

    def call(self, converter: Callable[[object], Any], value: object, where: str) -> Any:
        try:
            return converter(value)
        except ValueError as error:
            return self.wrong(where, str(error))

    def optional(self, args: tuple[Any, ...], value: object, where: str) -> Any:
        """`None`, or the kind that the value is of: a text may stand beside a secret."""
        kinds = [arg for arg in args if arg is not types.NoneType]
        kind = type(value) if type(value) in kinds else kinds[-1]
        return None if value is None else self.convert(kind, value, where)

    def items(self, kind: Any, value: object, where: str) -> Any:
        if not isinstance(value, list):
            return self.wrong(where, "must be a list")
        return tuple(self.convert(kind, item, f"{where}[{n}]") for n, item in enumerate(value))

    def mapping(self, kind: Any, value: object, where: str) -> Any:
        if not isinstance(value, dict):
            return self.wrong(where, "must be a table")
        return {name: self.convert(kind, item, join(where, name)) for name, item in value.items()}

    def bounded(self, kind: Any, value: Any, metadata: Mapping[str, Any], where: str) -> Any:
        least, most = metadata.get("least"), metadata.get("most")
        size = len(value) if isinstance(value, str | tuple) else value
        if least is not None and size < least:
            return self.wrong(where, amount(kind, value, "at least", least))
        if most is not None and size > most:
            return self.wrong(where, amount(kind, value, "at most", most))
        check, each, before = metadata.get("check"), metadata.get("each"), len(self.problems)
        if each:
            for n, item in enumerate(value):
                self.call(each, item, f"{where}[{n}]")
        if check and len(self.problems) == before:
            self.call(check, value, where)
        return value

    def wrong(self, where: str, sentence: str) -> Any:
        """Note what is wrong, and answer None in the place of a value."""
        self.problems.append((where, sentence))


def amount(kind: Any, value: Any, bound: str, number: int) -> str:
    """`must be at most 900 seconds`, `must have at least 1 item`."""
    if kind is not Seconds and isinstance(value, int):
        return f"must be {bound} {number}"
    verb, noun = {str: ("have", "character"), tuple: ("have", "item")}.get(
        cast("Any", type(value)), ("be", "second")
    )
    return f"must {verb} {bound} {number} {noun}{'' if number == 1 else 's'}"


def seconds(value: object) -> Seconds:
    """Read a span of time. Raises ValueError."""
    match = re.fullmatch(SPAN, value) if isinstance(value, str) else None
    if match is None and type(value) is not int:
        raise ValueError('must be a number of seconds, or a text such as "10m", "24h" or "14d"')
    span = int(match[1]) * UNITS[match[2]] if match else cast("int", value)
    if span > LONGEST:
        raise ValueError("must be ten years at most")
    return Seconds(span)


@cache
def hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def words(values: Collection[object]) -> str:
    return ", ".join(f'"{value}"' for value in values)


def join(where: str, name: str) -> str:
    """`[smtp].port` in settings, `address.city` in a body; a foreign name is cut and escaped."""
    short = name[:64] if name.isprintable() else ascii(name[:64])
    return f"{where}.{short}" if where else short


def text_of(payload: Mapping[str, Any], member: str, form: str = "a text") -> str:
    """A member that must be a text. Raises AuthError (400)."""
    value = payload.get(member)
    if not isinstance(value, str):
        raise AuthError(INVALID_BODY, f"{member} must be {form}")
    return value
