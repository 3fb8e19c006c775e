"""Examples of bodies and answers, made of those of their members."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Sequence
from typing import Any, Literal

from picoauth.schemas import UNIONS, Bounds, fields, inner, is_required
from picoauth.shapes import hints

MISSING = dataclasses.MISSING
"""No example, since null may be one."""


def sample(kind: Any, within: Sequence[type] = ()) -> dict[str, Any] | None:
    """An object made of its members' examples; None where a necessary member has none."""
    if kind in within:  # it may hold itself, without end
        return None
    made = {}
    for field in fields(kind):
        value = of_member(hints(kind)[field.name], field.metadata, (*within, kind))
        if is_required(field) and value is MISSING:
            return None
        if is_required(field) or value not in (MISSING, None):
            made[field.name] = value
    return made


def of_member(kind: Any, bounds: Bounds, within: Sequence[type]) -> Any:
    if bounds.get("example") is not None:
        return bounds["example"]
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        made = sample(kind, within)
        return MISSING if made is None else made
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in UNIONS:
        value = of_member(inner(args), {}, within)
        return None if value is MISSING else value
    if origin is tuple:
        item = of_member(args[0], {}, within)
        return MISSING if item is MISSING else [item]
    return args[0] if origin is Literal else MISSING
