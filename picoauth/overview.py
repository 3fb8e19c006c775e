"""What `picoauth plugins` shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from picoauth.discovery import GROUP, installed
from picoauth.migrations import TABLE

if TYPE_CHECKING:
    from picoauth.auth import Auth


def overview(auth: Auth) -> Iterator[str]:
    """Each plugin that is on, with all that it contributes; then what is not listed."""
    from picoauth.app import Application  # noqa: PLC0415 - shows that the routes fit together

    routes = Application(auth).routes
    for name, origin in auth.plugins.origins.items():
        hooks = [hook for hook in auth.plugins.specs if has(auth, name, hook)]
        paths = [f"{r.route.method} {r.route.path}" for r in routes if r.owner == name]
        yield f"{name}  {origin.distribution} {origin.version}"
        yield from line("hooks", hooks)
        yield from line("factors", factors(auth, name))
        yield from line("routes", paths)
        yield from line("tables", tables(auth, name))
    others = [f.origin for f in installed(GROUP) if f.origin.name not in auth.plugins.origins]
    yield from (f"{o.name}  {o.distribution} {o.version}  (installed, not listed)" for o in others)


def line(label: str, items: Sequence[str]) -> Iterator[str]:
    if items:
        yield f"  {label + ':':9}{', '.join(items)}"


def has(auth: Auth, name: str, hook: str) -> bool:
    return name in dict(auth.plugins.implementations(hook))


def factors(auth: Auth, name: str) -> list[str]:
    return [factor.name for factor in dict(auth.plugins.collect("factors")).get(name, ())]


def tables(auth: Auth, name: str) -> list[str]:
    statements = dict(auth.plugins.collect("migrations")).get(name, ())
    found = (TABLE.match(sql) for sql in statements)
    return list(dict.fromkeys(match[1] for match in found if match is not None))
