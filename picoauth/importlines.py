"""One line of an import: read, checked member by member, and turned into what is to be made."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from picoauth.errors import AuthError
from picoauth.identifiers import Identifier, identifier
from picoauth.imports import ImportField
from picoauth.shapes import suggest

LONGEST_LINE = 64 * 1024
"""Bytes."""
LONGEST_NAME, LONGEST_LOCALE = 200, 35
"""Code points, as in `PATCH /auth/me`."""
ID = frozenset("0123456789abcdefghijklmnopqrstuv")
ID_LENGTH = 32
LONGEST_KIND = 64
"""Characters, as in searches."""
MOST_OTHERS = 20
"""Identifiers beside user name and e-mail address."""


class BadLine(ValueError):
    """What is wrong with a line, in a clause without its values: some are secret."""


@dataclass(frozen=True)
class Line:
    """A line that is in order."""

    number: int
    given: Mapping[str, Any] = field(repr=False)
    id: str | None
    identifiers: Sequence[Identifier]
    name: str
    locale: str | None
    created_at: int | None
    disabled: bool
    fields: Mapping[str, Any] = field(repr=False)
    """What plugins made of their members, by name."""

    @property
    def text(self) -> bytes:
        """The same for all lines that say the same."""
        return ENCODER.encode(self.given).encode()

    @property
    def unique(self) -> Iterator[Identifier]:
        """What only one user can have."""
        return (one for one in self.identifiers if one.verified)


class Reader:
    """Reads lines. `now` is in seconds since 1970: nobody was made after it."""

    def __init__(self, fields: Mapping[str, ImportField], now: int) -> None:
        self.fields = fields
        self.now = now

    def line(self, number: int, raw: bytes) -> Line | None:
        """None for one that is blank. Raises BadLine."""
        if len(raw) > LONGEST_LINE:
            raise BadLine(f"it is longer than {LONGEST_LINE} bytes")
        if not raw.strip():
            return None
        given = decoded(raw)
        fields = {name: self.field(name, given[name]) for name in given if name not in MEMBERS}
        values = {n: MEMBERS[n](n, value) for n, value in given.items() if n in MEMBERS}
        found = identifiers(values)
        return Line(
            number,
            given,
            values.get("id"),
            found,
            values.get("name") or shown(found),
            values.get("locale"),
            self.past(values.get("created_at")),
            values.get("disabled", False),
            fields,
        )

    def field(self, name: str, value: Any) -> Any:
        """What a plugin makes of its member."""
        if name not in self.fields:
            near = suggest(name, [*MEMBERS, *self.fields])
            raise BadLine(f"{json.dumps(name[:100])} is unknown{near or ' to all listed plugins'}")
        try:
            return self.fields[name].check(value)
        except ValueError as error:
            raise BadLine(f"{name} {error}") from error

    def past(self, moment: int | None) -> int | None:
        if moment is not None and not 0 <= moment <= self.now:
            raise BadLine("created_at must be seconds since 1970, of a time that is past")
        return moment


def decoded(raw: bytes) -> dict[str, Any]:
    """The members that say something: null is the same as nothing. Raises BadLine."""
    try:
        given = DECODER.decode(raw.decode().strip())
    except BadLine:
        raise
    except UnicodeDecodeError as error:
        raise BadLine("it is not UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise BadLine("it is not JSON") from error
    if not isinstance(given, dict):
        raise BadLine("it is not an object")
    return {name: value for name, value in given.items() if value is not None}


def once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """No member hides another of its name."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise BadLine("it has two members of one name")
    return found


def refuse(_: str) -> None:
    raise BadLine("it has a number that JSON has not")


DECODER = json.JSONDecoder(object_pairs_hook=once, parse_constant=refuse)
ENCODER = json.JSONEncoder(sort_keys=True)


def identifiers(values: Mapping[str, Any]) -> Sequence[Identifier]:
    """The user name first. Raises BadLine where no name would find the user."""
    verified = values.get("email_verified", False)
    if "email_verified" in values and "email" not in values:
        raise BadLine("email_verified needs an email")
    found = [named("username", values["username"], verified=True)] if "username" in values else []
    if "email" in values:
        found.append(named("email", values["email"], verified=verified))
    found += values.get("identifiers", ())
    if len({(one.kind, one.value) for one in found}) < len(found):
        raise BadLine("identifiers has one twice")
    if "id" not in values and not any(one.verified for one in found):
        raise BadLine(
            "it needs a username, or an email that is verified: nobody finds the user else"
        )
    return found


def shown(found: Sequence[Identifier]) -> str:
    """A name to show, where there is none: never the whole of an address."""
    return found[0].display.partition("@")[0] if found else ""


def named(kind: str, value: str, *, verified: bool) -> Identifier:
    try:
        return identifier(kind, value, verified=verified)
    except AuthError as error:
        raise BadLine(f"its {kind} is no valid {kind}") from error


def text(name: str, value: Any) -> str:
    if not isinstance(value, str) or "\0" in value or not value.strip():
        raise BadLine(f"{name} must be a text")
    try:
        value.encode()
    except UnicodeEncodeError as error:  # whose message would hold the value
        raise BadLine(f"{name} must be a text") from error
    return value


def short(most: int) -> Callable[[str, Any], str]:
    def read(name: str, value: Any) -> str:
        if len(text(name, value)) > most:
            raise BadLine(f"{name} has more than {most} characters")
        return str(value)

    return read


def flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise BadLine(f"{name} must be true or false")
    return value


def time(name: str, value: Any) -> int:
    """Seconds since 1970, or a text by RFC 3339."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    try:
        moment = datetime.fromisoformat(text(name, value))
    except ValueError as error:
        raise BadLine(f"{name} must be seconds since 1970, or a time as in RFC 3339") from error
    if moment.tzinfo is None:
        raise BadLine(f"{name} must say its time zone")
    return int(moment.timestamp())


def user_id(name: str, value: Any) -> str:
    if len(given := text(name, value)) != ID_LENGTH or not ID.issuperset(given):
        raise BadLine(f"{name} must be one that picoauth made: leave it out")
    return given


def others(name: str, value: Any) -> Sequence[Identifier]:
    """Identifiers of further kinds, and further e-mail addresses."""
    if not isinstance(value, list) or not all(map(is_other, value)):
        raise BadLine(f"{name} must be a list of objects with kind, value and verified")
    if len(value) > MOST_OTHERS:
        raise BadLine(f"{name} has more than {MOST_OTHERS} members")
    for one in value:
        text(name, one["value"])
    return [named(one["kind"], one["value"], verified=one["verified"]) for one in value]


def is_other(one: Any) -> bool:
    """The user name is no further one: there is one at most."""
    return (
        isinstance(one, dict)
        and one.keys() == {"kind", "value", "verified"}
        and isinstance(one["kind"], str)
        and one["kind"].isascii()
        and one["kind"].isidentifier()
        and len(one["kind"]) <= LONGEST_KIND
        and one["kind"] != "username"
        and isinstance(one["verified"], bool)
    )


MEMBERS: Mapping[str, Callable[[str, Any], Any]] = {
    "id": user_id,
    "username": text,
    "email": text,
    "email_verified": flag,
    "identifiers": others,
    "name": short(LONGEST_NAME),
    "locale": short(LONGEST_LOCALE),
    "created_at": time,
    "disabled": flag,
}
"""The kernel's members of a line, and who reads each."""
