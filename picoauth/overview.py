"""What `picoauth plugins` shows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from picoauth.auth import Auth
from picoauth.discovery import installed

CREATED = re.compile(r'\s*create\s+table\s+(?:if\s+not\s+exists\s+)?"?(\w+)', re.IGNORECASE)


@dataclass(frozen=True)
class Shown:
    """A plugin that is installed, and, if it is listed, all that it contributes."""

    name: str
    distribution: str
    version: str
    listed: bool
    hooks: Sequence[str] = ()
    factors: Sequence[str] = ()
    routes: Sequence[str] = ()
    tables: Sequence[str] = ()


def overview(auth: Auth) -> Iterator[Shown]:
    """Each plugin that is on, in order; then what is installed and not listed."""
    origins = auth.plugins.origins
    for name, origin in origins.items():
        yield Shown(
            name,
            origin.distribution,
            origin.version,
            listed=True,
            hooks=[h for h in auth.plugins.specs if name in dict(auth.plugins.implementations(h))],
            factors=[factor.name for factor in declared(auth, name, "factors")],
            routes=[
                f"{route.method} {route.path}"
                for route in (*declared(auth, name, "edge"), *declared(auth, name, "routes"))
            ],
            tables=tables(declared(auth, name, "migrations")),
        )
    for found in installed():
        if found.origin.name not in origins:
            yield Shown(**vars(found.origin), listed=False)


def declared(auth: Auth, name: str, hook: str) -> Sequence[Any]:
    found: Sequence[Any] = dict(auth.plugins.collect(hook)).get(name, ())
    return found


def tables(statements: Sequence[str]) -> list[str]:
    found = (CREATED.match(sql) for sql in statements)
    return list(dict.fromkeys(match[1] for match in found if match is not None))


def text(shown: Shown) -> Iterator[str]:
    note = "" if shown.listed else "  (installed, not listed)"
    yield f"{shown.name}  {shown.distribution} {shown.version}{note}"
    for label in ("hooks", "factors", "routes", "tables"):
        if items := getattr(shown, label):
            yield f"  {label + ':':9}{', '.join(items)}"
