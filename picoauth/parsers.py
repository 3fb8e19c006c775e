"""JSON and forms, as far as every parser reads them alike."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl

from picoauth.errors import AuthError
from picoauth.problems import INVALID_BODY, INVALID_JSON

DEPTH_LIMIT = 16
MEMBERS_LIMIT = 100
"""Members of one object: each that is unknown costs a search for what was meant."""
EXACT = 2**53
"""Integers beyond are not the same number in every JSON parser (RFC 8259, section 6)."""


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
    value = int(digits)  # which refuses thousands of digits by itself
    if abs(value) > EXACT:
        raise ValueError("too large")
    return value


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
