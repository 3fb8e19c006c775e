"""Bodies: of a content type that the route takes, and turned into the type that it declares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from picoauth.errors import AuthError
from picoauth.parsers import parse_form, parse_json
from picoauth.problems import INVALID_BODY, UNSUPPORTED_MEDIA_TYPE
from picoauth.routes import ANYTHING, FORM, Route
from picoauth.shapes import Shaper


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
        taken = ", ".join(route.accepts)
        detail = "It takes no Content-Encoding." if known else f"It takes {taken}."
        raise AuthError(UNSUPPORTED_MEDIA_TYPE, detail, headers={"Accept": taken})
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
