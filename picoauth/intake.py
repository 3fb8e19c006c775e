"""What comes in: strict JSON, turned into the type that a route declares."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from picoauth.errors import AuthError
from picoauth.problems import INVALID_BODY, INVALID_JSON, UNSUPPORTED_MEDIA_TYPE
from picoauth.routes import ANYTHING, FORM, Route
from picoauth.shapes import Shaper

DEPTH_LIMIT = 16
MEMBERS_LIMIT = 100
"""Members of one object: each that is unknown costs a search for what was meant."""
EXACT = 2**53
"""Integers beyond are not the same number in every JSON parser (RFC 8259, section 6)."""


@dataclass(frozen=True)
class Nothing:
    """The body of a route that takes none: clients that always send JSON send `{}`."""


def typed(route: Route, headers: Mapping[str, str], body: bytes) -> Any:
    """The body as the route declares it. Raises AuthError, which repeats no value."""
    if route.body is None and not body:
        return None
    media = headers.get("content-type", "").partition(";")[0].strip().lower()
    known = media in route.accepts or ANYTHING in route.accepts
    if not known or "content-encoding" in headers:
        raise AuthError(UNSUPPORTED_MEDIA_TYPE, headers={"Accept": ", ".join(route.accepts)})
    if route.body is str:
        return body.decode("latin-1").strip()
    value = parse_form(body) if media == FORM else parse_json(body)
    if route.body is dict and isinstance(value, dict):
        return value
    found = shaped(route.body or Nothing, value)
    return found if route.body else None


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


def parse_form(body: bytes) -> dict[str, str]:
    """Read a form; a member without a value counts as left out (RFC 6749, section 3.1)."""
    try:
        value = unique(parse_qsl(body.decode(), errors="strict", max_num_fields=MEMBERS_LIMIT))
        check_value(value, DEPTH_LIMIT)
    except ValueError as error:
        raise AuthError(INVALID_BODY) from error
    return value


def unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs) or len(pairs) > MEMBERS_LIMIT:
        raise ValueError("a name comes twice, or there are too many")
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
    """Raises ValueError; `depth` levels of objects and lists may be left."""
    if isinstance(value, str):
        value.encode()  # a lone surrogate is no text
        if "\0" in value:
            raise ValueError("NUL")
    elif isinstance(value, dict | list):
        if not depth:
            raise ValueError("too deep")
        children = (*value.keys(), *value.values()) if isinstance(value, dict) else value
        for child in children:
            check_value(child, depth - 1)
