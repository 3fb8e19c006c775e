"""The ASGI application, whatever server runs it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from picoauth import endpoints
from picoauth.auth import Auth
from picoauth.catalogue import Catalogue
from picoauth.errors import ConfigError
from picoauth.http import Asgi, Http, Receive, Scope, Send
from picoauth.openapi import Description
from picoauth.routes import Listener
from picoauth.settings import Config
from picoauth.views import Views


class Application:
    """Answers requests: first the edge, then Quart."""

    def __init__(self, auth: Auth) -> None:
        self.auth = auth
        self.ready = False
        if not any(factor.starts for factor in auth.factors.values()):
            raise ConfigError(
                "plugins: none of those listed offers a way to log in: add one, such as password."
            )
        catalogue = Catalogue(auth, endpoints.routes(self))
        self.edge, self.routes = catalogue.edge, catalogue.routes
        self.description = Description(auth, catalogue.owned)
        by_key = {(route.method, route.path): route for route in self.edge}
        views = Views(auth, self.routes, self.edge)
        views.on("public")  # that of administration is made when it is asked
        self.http = Http(auth.config, auth.secrets.random, by_key, views.on, auth.measured)

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
        """Not ready from now on; requests are still answered, but no stream goes on."""
        self.ready = False
        self.auth.feed.close()

    def on(self, listener: Listener) -> Asgi:
        """The application as one listener has it; starting and stopping is another's business."""

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                await self.http.serve(scope, receive, send, listener)
            else:
                await send({"type": "websocket.close", "code": 1000})

        return application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """For any ASGI server."""
        if scope["type"] == "lifespan":
            await self.lifespan(receive, send)
        else:
            await self.on("public")(scope, receive, send)

    async def lifespan(self, receive: Receive, send: Send) -> None:
        """Start and stop as the server says; it hears of the stop when all is written."""
        await receive()
        try:
            async with self.running():
                await send({"type": "lifespan.startup.complete"})
                await receive()
        except ConfigError as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
        else:
            await send({"type": "lifespan.shutdown.complete"})


def create_app(config: Config) -> Application:
    """Everything that the settings ask for, not yet running. Raises ConfigError."""
    return Application(Auth(config))
