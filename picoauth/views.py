"""Routes as Quart has them: each request limited, guarded, read and typed, each answer JSON."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import quart
from quart import Quart
from werkzeug.exceptions import HTTPException

from picoauth import http
from picoauth.catalogue import Registered
from picoauth.errors import AuthError
from picoauth.events import AccessRefused
from picoauth.http import NO_CONTENT, Asgi
from picoauth.intake import typed
from picoauth.policies import admitted
from picoauth.problems import BODY_TOO_LARGE, BODY_TOO_SLOW, METHOD_NOT_ALLOWED, NOT_FOUND
from picoauth.refusals import problem
from picoauth.routes import Administrator, EdgeRoute, Listener, Reply, Request, Route
from picoauth.throttle import Attempt

if TYPE_CHECKING:
    from picoauth.auth import Auth

STATUSES = {404: NOT_FOUND, 405: METHOD_NOT_ALLOWED, 408: BODY_TOO_SLOW, 413: BODY_TOO_LARGE}


class Views:
    """Makes the Quart application of a listener."""

    def __init__(self, auth: Auth, routes: Sequence[Registered], edge: Sequence[EdgeRoute]) -> None:
        self.auth = auth
        self.routes = routes
        self.edge = edge
        self.made: dict[Listener, Quart] = {}

    def on(self, listener: Listener) -> Asgi:
        """The routes that a listener has; those for administration are nowhere else (M-1)."""
        if listener not in self.made:
            self.made[listener] = self.application(listener)
        return cast("Asgi", self.made[listener])

    def application(self, listener: Listener) -> Quart:
        app = Quart("picoauth", static_folder=None, template_folder=None)
        app.config.update(
            DEBUG=False,  # whatever FLASK_DEBUG says: it answers with tracebacks
            MAX_CONTENT_LENGTH=http.BODY_LIMIT,
            BODY_TIMEOUT=http.BODY_TIME,
            PROVIDE_AUTOMATIC_OPTIONS=False,
        )
        app.url_map.merge_slashes = False
        app.register_error_handler(Exception, failed)
        for registered in self.routes:
            if registered.route.listener in ("public", listener):
                rule(app, registered.route, self.view(registered))
        for route in self.edge:  # answered before; here so that other methods are a 405
            rule(app, route, None)
        return app

    def view(self, registered: Registered) -> Callable[..., Awaitable[quart.Response]]:
        route = registered.route

        async def view(**path: str) -> quart.Response:
            scope: Any = quart.request.scope
            scope["picoauth.route"] = route.path
            scope["picoauth.oauth"] = route.errors == "oauth"
            request = incoming(scope, path)
            await self.auth.limiter.attempt(Attempt(route.path, request.caller.address))
            principal = await self.admit(registered, request)
            data = await quart.request.get_data(cache=True, as_text=False, parse_form_data=False)
            body = typed(route, request.headers, data)
            reply = await route.handler(admitting(request, principal, body))
            self.auth.cookies.forget(principal)
            return outgoing(reply)

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


def admitting(request: Request, principal: Any, body: Any) -> Request:
    """The request as its handler gets it: what an administrator does is done in that name."""
    caller = request.caller
    if isinstance(principal, Administrator):
        caller = replace(caller, actor=principal.actor)
    return replace(request, principal=principal, body=body, caller=caller)


def rule(app: Quart, route: Route | EdgeRoute, view: Any) -> None:
    path = route.path.replace("{", "<").replace("}", ">")
    name = f"{route.method} {path}".replace(".", "-")  # Quart's endpoints have no dots
    app.add_url_rule(path, name, view, methods=[route.method])


def incoming(scope: Any, path: dict[str, str]) -> Request:
    return Request(
        caller=scope["picoauth.caller"],
        method=scope["method"],
        listener=scope["picoauth.listener"],
        headers={name.decode(): value.decode("latin-1") for name, value in scope["headers"]},
        path=path,
        query=quart.request.args,
        raw_query=scope["query_string"].decode(),
        peer=scope["client"][0] or None if scope.get("client") else None,
    )


def outgoing(reply: Reply) -> quart.Response:
    if isinstance(reply.body, AsyncIterator):
        return streaming(reply)
    if reply.body is None or isinstance(reply.body, bytes):
        return response(reply.body or b"", reply.status, reply.headers)
    headers = {"Content-Type": "application/json", **reply.headers}
    return response(json.dumps(reply.body).encode(), reply.status, headers)


def streaming(reply: Reply) -> quart.Response:
    """However long it takes, which Quart would cut off without a word after a minute."""
    body = b"" if quart.request.method == "HEAD" else reply.body
    made = quart.Response(body, reply.status, dict(reply.headers))
    made.headers.remove("Content-Length")  # that of HEAD's empty body: nobody knows the true one
    made.timeout = None
    return made


def response(body: bytes, status: int, headers: Mapping[str, str]) -> quart.Response:
    """Without the type that Quart gives to what has none, and the length of what isn't there."""
    made = quart.Response(body, status)
    made.headers.remove("Content-Type")
    if status == NO_CONTENT:
        made.headers.remove("Content-Length")
    made.headers.update(headers)
    return made


async def failed(error: Exception) -> quart.Response:
    scope: Any = quart.request.scope
    request_id, oauth = scope["picoauth.caller"].request_id, scope.get("picoauth.oauth", False)
    status, headers, body = problem(worded(error), request_id, oauth=oauth)
    return response(body, status, {name.decode(): value.decode() for name, value in headers})


def worded(error: Exception) -> Exception:
    """Quart's own refusals in our words."""
    if not isinstance(error, HTTPException) or error.code not in STATUSES:
        return error
    allow = ", ".join(sorted(getattr(error, "valid_methods", None) or ()))
    return AuthError(STATUSES[error.code], headers={"Allow": allow} if allow else {})
