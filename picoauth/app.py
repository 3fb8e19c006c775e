"""The ASGI application, whatever server runs it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar

from picoauth import edge, endpoints
from picoauth.auth import Auth
from picoauth.errors import ConfigError
from picoauth.http import Asgi, Http, Receive, Scope, Send
from picoauth.policies import Policies
from picoauth.routes import EdgeRoute, Guard, Listener, Request, Route
from picoauth.settings import Config
from picoauth.views import Registered, Views

T = TypeVar("T")


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
        by_key = {(route.method, route.path): route for route in self.edge}
        views = Views(auth, self.routes, self.edge)
        views.on("public")  # that of administration is made when it is asked
        self.http = Http(auth.config, auth.secrets.random, by_key, views.on, auth.measured)

    def registered(self) -> tuple[Sequence[EdgeRoute], Sequence[Registered]]:
        """Every route, checked. Raises ConfigError for a clash, or a policy nobody guards."""
        guards = self.guards()
        edges = [*owned("picoauth", edge.routes(self.auth)), *self.contributed("edge")]
        routes = [*owned("picoauth", endpoints.routes(self)), *self.contributed("routes")]
        check_clashes([(self.who(owner), route) for owner, route in [*edges, *routes]])
        check_whole([(self.who(owner), route) for owner, route in edges])
        for owner, route in routes:
            if route.policy not in guards:
                raise ConfigError(
                    f"{route.method} {route.path} of {self.who(owner)} has the policy {route.policy!r}, "
                    "which nothing guards: name one that exists, or list the plugin that has it."
                )
        found = [Registered(route, guards[route.policy], owner) for owner, route in routes]
        return [route for _, route in edges], found

    def guards(self) -> dict[str, Guard]:
        """Who each policy lets in. Raises ConfigError for a plugin that would guard one of ours."""
        ours, plugins = Policies(self.auth).guards(), self.auth.plugins
        theirs = plugins.unique("guards", dict)
        for owner, table in plugins.collect("guards"):
            for policy in table.keys() & ours.keys():
                raise ConfigError(
                    f"{plugins.origins[owner]} guards the policy {policy}, which is the "
                    "kernel's: list a version of it that guards one of its own."
                )
            theirs |= {name: self.contained(owner, guard) for name, guard in table.items()}
        return ours | theirs

    def contained(self, owner: str, guard: Guard) -> Guard:
        """A plugin's guard, which denies where it fails or takes too long."""

        async def ask(request: Request) -> Any:
            return await self.auth.plugins.answer(owner, "its guard", partial(guard, request))

        return ask

    def who(self, owner: str) -> str:
        """A plugin with its distribution and version, for a sentence."""
        return str(self.auth.plugins.origins.get(owner, owner))

    def contributed(self, hook: str) -> list[tuple[str, Any]]:
        """What plugins declare by a hook of sequences, with whose it is."""
        return [
            pair for name, items in self.auth.plugins.collect(hook) for pair in owned(name, items)
        ]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Start-up and stop of everything behind the routes. Raises ConfigError."""
        async with self.auth.started(), self.auth.background():
            self.ready = True
            try:
                yield
            finally:
                self.stopping()

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


def check_whole(edges: Sequence[tuple[str, EdgeRoute]]) -> None:
    """The edge compares paths to the letter. Raises ConfigError for one with parameters."""
    for owner, route in edges:
        if "{" in route.path:
            raise ConfigError(
                f"{route.method} {route.path} of {owner} has a parameter, which no route of the "
                "edge can: make it a Route."
            )


def create_app(config: Config) -> Application:
    """Everything that the settings ask for, not yet running. Raises ConfigError."""
    return Application(Auth(config))
