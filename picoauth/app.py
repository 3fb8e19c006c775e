"""The ASGI application, whatever server runs it."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

import quart
from quart import Quart
from werkzeug.exceptions import HTTPException

from picoauth import edge, endpoints, http
from picoauth.auth import Auth
from picoauth.errors import AuthError, ConfigError
from picoauth.events import AccessRefused
from picoauth.http import Asgi, Http, Receive, Scope, Send
from picoauth.intake import typed
from picoauth.policies import Policies, admitted
from picoauth.problems import (
    BAD_REQUEST,
    BODY_TOO_LARGE,
    BODY_TOO_SLOW,
    METHOD_NOT_ALLOWED,
    NOT_FOUND,
)
from picoauth.routes import EdgeRoute, Guard, Listener, Reply, Request, Route
from picoauth.settings import Config
from picoauth.throttle import Attempt

T = TypeVar("T")

STATUSES = {404: NOT_FOUND, 405: METHOD_NOT_ALLOWED, 408: BODY_TOO_SLOW, 413: BODY_TOO_LARGE}


@dataclass(frozen=True)
class Registered:
    """A route with its guard, and whose it is."""

    route: Route
    guard: Guard
    owner: str


class Application:
    """Answers requests: first the edge, then Quart."""

    def __init__(self, auth: Auth) -> None:
        self.auth = auth
        self.ready = False
        if not any(factor.starts for factor in auth.factors.values()):
            raise ConfigError(
                "plugins: none of those listed offers a way to log in: add one, such as password."
            )
        self.edge, self.routes = self.registered()
        self.quart = self.build()
        by_key = {(route.method, route.path): route for route in self.edge}
        self.http = Http(
            auth.config, auth.secrets.random, by_key, cast("Asgi", self.quart), auth.measured
        )

    def registered(self) -> tuple[Sequence[EdgeRoute], Sequence[Registered]]:
        """Every route, checked. Raises ConfigError for a clash, or a policy nobody guards."""
        guards = Policies(self.auth).guards() | self.auth.plugins.unique("guards", dict)
        edges = [*owned("picoauth", edge.routes(self.auth)), *self.contributed("edge")]
        routes = [*owned("picoauth", endpoints.routes(self)), *self.contributed("routes")]
        check_clashes([*edges, *routes])
        for owner, route in routes:
            if route.policy not in guards:
                raise ConfigError(
                    f"{route.method} {route.path} of {owner} has the policy {route.policy!r}, "
                    "which nothing guards: name one that exists, or list the plugin that has it."
                )
        found = [Registered(route, guards[route.policy], owner) for owner, route in routes]
        return [route for _, route in edges], found

    def contributed(self, hook: str) -> list[tuple[str, Any]]:
        """What plugins declare by a hook of sequences, with whose it is."""
        return [
            pair for name, items in self.auth.plugins.collect(hook) for pair in owned(name, items)
        ]

    def build(self) -> Quart:
        app = Quart("picoauth", static_folder=None, template_folder=None)
        app.config.update(
            MAX_CONTENT_LENGTH=http.BODY_LIMIT,
            BODY_TIMEOUT=http.BODY_TIME,
            PROVIDE_AUTOMATIC_OPTIONS=False,
        )
        app.url_map.merge_slashes = False
        app.register_error_handler(Exception, failed)
        for registered in self.routes:
            rule(app, registered.route, self.view(registered))
        for route in self.edge:  # answered before; here so that other methods are a 405
            rule(app, route, None)
        return app

    def view(self, registered: Registered) -> Callable[..., Awaitable[quart.Response]]:
        route = registered.route

        async def view(**path: str) -> quart.Response:
            got = quart.request
            got.scope["picoauth.route"] = route.path  # type: ignore[typeddict-unknown-key]
            request = incoming(path)
            if route.listener not in ("public", request.listener):
                raise AuthError(NOT_FOUND)
            await self.auth.limiter.attempt(Attempt(route.path, request.caller.address))
            principal = await self.admit(registered, request)
            data = await got.get_data(cache=True, as_text=False, parse_form_data=False)
            body = typed(route, got.content_type, got.headers.get("content-encoding"), data)
            return outgoing(await route.handler(replace(request, principal=principal, body=body)))

        return view

    async def admit(self, registered: Registered, request: Request) -> Any:
        """Whom the policy lets in. A refusal is an event (L-1)."""
        try:
            return await admitted(registered.guard, request)
        except AuthError as refusal:
            refused = AccessRefused(
                at=self.auth.now(),
                user_id=None,
                route=registered.route.path,
                code=refusal.problem.code,
                caller=request.caller,
            )
            self.auth.events.deliver(refused)
            raise

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Start-up and stop of everything behind the routes. Raises ConfigError."""
        async with self.auth.started(), self.auth.background():
            await self.quart.startup()
            self.ready = True
            try:
                yield
            finally:
                self.stopping()
                await self.quart.shutdown()

    def stopping(self) -> None:
        """Not ready from now on; requests are still answered."""
        self.ready = False

    def on(self, listener: Listener) -> Asgi:
        """The application as one listener has it; starting and stopping is another's business."""

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                await self.http.serve(scope, receive, send, listener)
            elif scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1000})
            else:
                await self.lifespan(receive, send)

        return application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """For any ASGI server: starts and stops by the lifespan protocol."""
        if scope["type"] != "lifespan":
            await self.on("public")(scope, receive, send)
            return
        async with self.running():
            await self.lifespan(receive, send)

    async def lifespan(self, receive: Receive, send: Send) -> None:
        for event in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{event}.complete"})


def owned(owner: str, items: Iterable[T]) -> list[tuple[str, T]]:
    return [(owner, item) for item in items]


def check_clashes(routes: Sequence[tuple[str, Route | EdgeRoute]]) -> None:
    """Two routes of one method and shape: `/a/{id}` and `/a/{name}` are the same to a client."""
    owners: dict[tuple[str, str], str] = {}
    for owner, route in routes:
        key = (route.method, re.sub(r"\{\w+\}", "{}", route.path))
        if key in owners:
            raise ConfigError(
                f"{route.method} {route.path} is a route of {owners[key]} and of {owner}: "
                "list one of them."
            )
        owners[key] = owner


def rule(app: Quart, route: Route | EdgeRoute, view: Any) -> None:
    path = route.path.replace("{", "<").replace("}", ">")
    name = f"{route.method} {path}".replace(".", "-")  # Quart's endpoints have no dots
    app.add_url_rule(path, name, view, methods=[route.method])


def create_app(config: Config) -> Application:
    """Everything that the settings ask for, not yet running. Raises ConfigError."""
    return Application(Auth(config))


def incoming(path: dict[str, str]) -> Request:
    got = quart.request
    headers = {name.lower(): value for name, value in got.headers.items()}
    return Request(
        caller=got.scope["picoauth.caller"],  # type: ignore[typeddict-item]
        listener=got.scope["picoauth.listener"],  # type: ignore[typeddict-item]
        headers=headers,
        path=path,
        query=got.args,
    )


def outgoing(reply: Reply) -> quart.Response:
    if reply.body is None:
        return quart.Response(b"", reply.status, dict(reply.headers))
    body, headers = json.dumps(reply.body), dict(reply.headers)
    return quart.Response(body, reply.status, headers, content_type="application/json")


async def failed(error: Exception) -> quart.Response:
    caller = quart.request.scope["picoauth.caller"]  # type: ignore[typeddict-item]
    status, headers, body = http.problem(worded(error), caller.request_id)
    return quart.Response(body, status, {n.decode(): v.decode() for n, v in headers})


def worded(error: Exception) -> Exception:
    """Quart's own refusals in our words."""
    if not isinstance(error, HTTPException):
        return error
    allow = ", ".join(sorted(getattr(error, "valid_methods", None) or ()))
    headers = {"Allow": allow} if allow else {}
    return AuthError(STATUSES.get(error.code or 400, BAD_REQUEST), headers=headers)
