"""`/openapi.json`: describes exactly the routes that are on (OpenAPI 3.1)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from picoauth.hooks import Plugin
from picoauth.routes import PARAMETER, AnyRoute, Listener, Route

if TYPE_CHECKING:
    from picoauth.auth import Auth
    from picoauth.operations import Operations

Owned = tuple[str, AnyRoute]
"""A route, after the name of whose it is."""

INFO = {
    "title": "picoauth",
    "version": "1",  # of the routes: that of the server is nobody's business (V13.4.6)
    "description": (
        "Authentication, and what users do about their own account. "
        "Refusals are problem details (RFC 9457), of which programs look at `code`. "
        "Times are whole seconds since 1970."
    ),
}
SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
    "cookie": {"type": "apiKey", "in": "cookie", "name": "__Host-picoauth"},
    "basic": {"type": "http", "scheme": "basic"},
}
METHODS = frozenset({"get", "put", "post", "delete", "options", "head", "patch", "trace"})
"""Those that OpenAPI has a place for."""
DECIDING = frozenset({"check_registration", "check_login", "claims", "guards"})
"""Hooks of the kernel by which a plugin may refuse in words of its own."""


class Description:
    """The document of each listener, made when it is first asked for, and kept."""

    def __init__(self, auth: Auth, routes: Sequence[Owned]) -> None:
        self.auth = auth
        self.routes = routes
        self.made: dict[Listener, bytes] = {}

    def on(self, listener: Listener) -> bytes:
        """The routes that a listener has; those for administration are nowhere else (M-1)."""
        from picoauth.operations import Operations  # noqa: PLC0415 - for who asks

        if listener not in self.made:
            mine = [owned for owned in self.routes if is_on(owned[1], listener)]
            operations = Operations(plugins_object=self.plugins_object())
            server = self.auth.config.public_url if listener == "public" else "/"
            self.made[listener] = json.dumps(document(mine, operations, server)).encode()
        return self.made[listener]

    def plugins_object(self) -> bool:
        """Whether any plugin has a say in what others do: by a hook of the kernel, or a plugin's."""
        plugins = self.auth.plugins
        hooks = [name for name in plugins.specs if name in DECIDING or not hasattr(Plugin, name)]
        return any(any(plugins.implementations(name)) for name in hooks)


def is_on(route: AnyRoute, listener: Listener) -> bool:
    return not isinstance(route, Route) or route.listener in ("public", listener)


def document(routes: Sequence[Owned], operations: Operations, server: str) -> dict[str, Any]:
    """All that there is to say of these routes; what `operations` share comes last."""
    return {
        "openapi": "3.1.0",
        "info": INFO,
        "servers": [{"url": server}],
        "tags": [{"name": owner} for owner in dict.fromkeys(owner for owner, _ in routes)],
        "paths": paths(routes, operations),
        "components": {
            "schemas": operations.schemas.named,
            "responses": operations.refusals.responses,
            "examples": operations.refusals.examples,
            "securitySchemes": SCHEMES,
        },
    }


def paths(routes: Sequence[Owned], operations: Operations) -> dict[str, Any]:
    """By path and method. Paths that differ in the names of parameters alone are one."""
    first: dict[str, str] = {}
    found: dict[str, dict[str, Any]] = {}
    for owner, route in routes:
        path = first.setdefault(PARAMETER.sub("{}", route.path), route.path)
        method = route.method.lower()
        key = method if method in METHODS else f"x-{method}"
        found.setdefault(path, {})[key] = operations.of(owner, route, path)
    return found
