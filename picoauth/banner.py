"""`picoauth serve`: logging, and what a newcomer reads when the server is up."""

from __future__ import annotations

import json
import logging
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from picoauth.app import Application, create_app
from picoauth.listeners import Bind
from picoauth.settings import Config

FIRST_STEPS = ("/auth/register", "/auth/login")


async def serve(config: Config, say: Callable[[str], None]) -> None:
    """Serve by the settings until told to stop. Raises ConfigError."""
    from picoauth.serve import serve as listen  # noqa: PLC0415 - hypercorn is heavy

    log_to_stderr()
    app = create_app(config)

    def ready(addresses: Sequence[str]) -> None:
        for line in banner(app, addresses):
            say(line)

    await listen(app, bound(config), ready)


def bound(config: Config) -> Bind:
    return Bind(
        public=absolute(config, config.bind),
        admin=absolute(config, config.admin_bind),
        socket_mode=int(config.socket_mode, 8),
        socket_group=config.socket_group,
    )


def absolute(config: Config, addresses: Sequence[str]) -> list[str]:
    """Paths of unix sockets count from the settings file."""
    return [
        f"unix:{config.base / address[5:]}" if address.startswith("unix:") else address
        for address in addresses
    ]


def banner(app: Application, addresses: Sequence[str]) -> Iterator[str]:
    yield f"picoauth listens on {' and '.join(addresses)}"
    origins = app.auth.plugins.origins.values()
    yield f"plugins: {', '.join(f'{o.name} ({o.distribution} {o.version})' for o in origins)}"
    yield from first_steps(app, addresses)


def first_steps(app: Application, addresses: Sequence[str]) -> Iterator[str]:
    """A `curl` line for each thing that a newcomer tries, ready to paste."""
    target = target_of(app.auth.config, addresses[0])
    routes = {registered.route.path: registered.route for registered in app.routes}
    for route in (routes[path] for path in FIRST_STEPS if path in routes):
        yield f"\n# {route.method} {route.path}"
        yield curl(route.method, target, route.path, route.example)


def target_of(config: Config, address: str) -> list[str]:
    """What leads `curl` to a listener, under a name that is served; the URL comes last."""
    if address.startswith("unix:"):
        return ["--unix-socket", address[5:], "http://localhost"]
    if urlsplit(address).hostname in config.hosts:
        return [address]
    return ["-H", f"Host: {urlsplit(config.public_url).netloc}", address]


def curl(method: str, target: Sequence[str], path: str, body: Mapping[str, Any]) -> str:
    *options, origin = target
    data = ["-H", "Content-Type: application/json", "-d", json.dumps(body)]
    return shlex.join(["curl", "-X", method, *options, f"{origin}{path}", *data])


def log_to_stderr() -> None:
    """Events are JSON, one line each; the rest is text."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    events = logging.getLogger("picoauth.events")
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    events.handlers = [handler]
    events.propagate = False
