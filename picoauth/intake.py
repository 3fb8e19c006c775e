"""What comes in: strict JSON, turned into the type that a route declares."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from picoauth.errors import AuthError
from picoauth.problems import INVALID_BODY, INVALID_JSON, UNSUPPORTED_MEDIA_TYPE
from picoauth.routes import ANYTHING, Route
from picoauth.shapes import Shaper

DEPTH_LIMIT = 16
EXACT = 2**53
"""Integers from here on are not the same number in every JSON parser (RFC 8259, section 6)."""


def typed(route: Route, content_type: str | None, encoding: str | None, body: bytes) -> Any:
    """The body as the route declares it. Raises AuthError, which repeats no value."""
    if route.body is None:
        return None
    media = (content_type or "").partition(";")[0].strip().lower()
    if encoding is not None or (media not in route.accepts and ANYTHING not in route.accepts):
        raise AuthError(UNSUPPORTED_MEDIA_TYPE, headers={"Accept": ", ".join(route.accepts)})
    if route.body is str:
        return body.decode("latin-1").strip()
    value = parse_json(body)
    if route.body is dict:
        return value if isinstance(value, dict) else shaped(route.body, value)
    return shaped(route.body, value)


def shaped(kind: type, value: Any) -> Any:
    shaper = Shaper()
    result = shaper.build(kind, value)
    if shaper.problems:
        errors = [{"member": where, "message": what} for where, what in shaper.problems]
        detail = "; ".join(f"{where} {what}".strip() for where, what in shaper.problems)
        raise AuthError(INVALID_BODY, detail, errors=errors)
    return result


def parse_json(body: bytes) -> Any:
    """Read JSON that every parser reads alike. Raises AuthError.

    No duplicate names, NaN, numbers beyond 2⁵³, NUL, lone surrogates or deep nesting:
    two parsers that disagree about a body are an attacker's way around a check (H-6).
    """
    try:
        value = json.loads(
            body.decode(),
            object_pairs_hook=unique,
            parse_constant=refuse,
            parse_int=exact,
            parse_float=finite,
        )
        check_value(value, DEPTH_LIMIT)
    except (ValueError, RecursionError) as error:
        raise AuthError(INVALID_JSON) from error
    return value


def unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a name comes twice")
    return value


def refuse(constant: str) -> Any:
    raise ValueError(constant)


def exact(digits: str) -> int:
    if len(digits) > 17 or abs(int(digits)) > EXACT:  # noqa: PLR2004 - a sign and 16 digits
        raise ValueError("too large")
    return int(digits)


def finite(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise ValueError("too large")
    return value


def check_value(value: Any, depth: int) -> None:
    if depth < 0:
        raise ValueError("too deep")
    if isinstance(value, str):
        value.encode()  # a lone surrogate is no text
        if "\0" in value:
            raise ValueError("NUL")
    children: Iterable[Any] = ()
    if isinstance(value, dict):
        children = (*value.keys(), *value.values())
    elif isinstance(value, list):
        children = value
    for child in children:
        check_value(child, depth - 1)
