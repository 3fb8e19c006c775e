"""The outermost layer: client addresses, hosts, CORS, request ids, limits, problem details."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any

from picoauth.addresses import Proxies
from picoauth.cors import Cors
from picoauth.errors import AuthError, Conflict, Unavailable
from picoauth.events import Caller
from picoauth.figures import Figures
from picoauth.problems import (
    AMBIGUOUS_TOKEN,
    BODY_TOO_LARGE,
    CONFLICT,
    INTERNAL_ERROR,
    INVALID_HOST,
    UNAVAILABLE,
    URL_TOO_LONG,
)
from picoauth.routes import EdgeRequest, EdgeRoute, Listener
from picoauth.secrets import Random
from picoauth.settings import Config

log = logging.getLogger("picoauth.http")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = Sequence[tuple[bytes, bytes]]


BODY_LIMIT = 64 * 1024
URL_LIMIT = 8 * 1024

SECURITY: Headers = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (
        b"content-security-policy",
        b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'",
    ),
)
HSTS = (b"strict-transport-security", b"max-age=31536000")
PROBLEM_TYPE = (b"content-type", b"application/problem+json")


def problem(error: BaseException, request_id: str | None) -> tuple[int, Headers, bytes]:
    """Any error as problem details (RFC 9457); an unknown one tells nothing, and is logged."""
    refusal = worded(error)
    if refusal is None:
        log.error("request %s failed", request_id, exc_info=error)
        refusal = AuthError(INTERNAL_ERROR)
    p = refusal.problem
    members = {
        "type": "about:blank",
        "title": p.title,
        "status": p.status,
        "code": p.code,
        "error": p.title,  # what clients of the first picoauth show
        **({"detail": refusal.detail} if refusal.detail else {}),
        **({"request_id": request_id} if request_id else {}),
        **refusal.extra,
    }
    headers = [(n.lower().encode(), v.encode()) for n, v in refusal.headers.items()]
    return p.status, [PROBLEM_TYPE, *headers], json.dumps(members).encode()


def worded(error: BaseException) -> AuthError | None:
    match error:
        case AuthError():
            return error
        case Conflict():
            return AuthError(CONFLICT)
        case Unavailable():
            return AuthError(UNAVAILABLE, headers={"Retry-After": str(error.retry_after)})
    return None


async def answer(send: Send, status: int, headers: Headers, body: bytes) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})


class Http:
    """Every request passes here first, and every answer last.

    The edge is answered at once; the rest goes to `inner`, with the caller and the listener
    in the scope as `picoauth.caller` and `picoauth.listener`.
    """

    def __init__(
        self,
        config: Config,
        random: Random,
        edge: Mapping[tuple[str, str], EdgeRoute],
        inner: Asgi,
        figures: Figures,
    ) -> None:
        self.hosts = config.hosts
        self.proxies = Proxies.of(config)
        self.cors = Cors(config.cors_origins)
        https = config.public_url.startswith("https:")
        self.security = [*SECURITY, *([HSTS] if https else [])]
        self.random = random
        self.edge = edge
        self.inner = inner
        self.figures = figures

    async def serve(self, scope: Scope, receive: Receive, send: Send, listener: Listener) -> None:
        began = time.perf_counter()
        headers: dict[bytes, bytes] = dict(scope["headers"])
        caller = self.caller(scope, headers)
        dress = self.dress(headers, caller)
        route = self.edge.get((scope["method"], scope["path"]))
        label, status = route.path if route else "other", 0

        async def dressed(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                present = {name for name, _ in message["headers"]}
                more = [header for header in dress if header[0] not in present]
                message = {**message, "headers": [*message["headers"], *more]}
            await send(message)

        try:
            self.check(scope, headers)
            preflight = self.cors.preflight(scope["method"], headers)
            if preflight is not None:
                await answer(dressed, 204, preflight, b"")
            elif route is not None:
                read = reader(receive)
                query = scope["query_string"]
                request = EdgeRequest(caller=caller, headers=headers, read=read, query=query)
                reply = await route.handler(request)
                await answer(dressed, reply.status, reply.headers, reply.body)
            else:
                scope["picoauth.caller"], scope["picoauth.listener"] = caller, listener
                await self.inner(scope, receive, dressed)
                label = scope.get("picoauth.route", label)
        except Exception as error:  # noqa: BLE001 - answered as a problem; an unknown one is logged
            await answer(dressed, *problem(error, caller.request_id))
        self.figures.add(label, status, time.perf_counter() - began)

    def caller(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Caller:
        peer = scope["client"][0] if scope.get("client") else None
        forwarded = headers.get(b"x-forwarded-for", b"").decode("latin-1")
        agent = headers.get(b"user-agent", b"").decode("latin-1")[:256] or None
        return Caller(self.proxies.client(peer, forwarded), agent, self.random(9).hex())

    def dress(self, headers: Mapping[bytes, bytes], caller: Caller) -> Headers:
        request_id = (b"x-request-id", (caller.request_id or "").encode())
        return [*self.security, *self.cors.headers(headers), request_id]

    def check(self, scope: Scope, headers: Mapping[bytes, bytes]) -> None:
        """Refuse a foreign or doubled host, and what is too long to look at (H-3, H-7)."""
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > URL_LIMIT:
            raise AuthError(URL_TOO_LONG)
        names = [name for name, _ in scope["headers"]]
        host = headers.get(b"host", b"").decode("latin-1")
        if names.count(b"host") != 1 or hostname(host) not in self.hosts:
            raise AuthError(INVALID_HOST)
        if names.count(b"authorization") > 1:
            raise AuthError(AMBIGUOUS_TOKEN)


def hostname(host: str) -> str:
    """The name without its port; `[::1]:8100` is `::1`."""
    name = host.lower().rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host.lower()
    return name.strip("[]")


def reader(receive: Receive) -> Callable[[int], Awaitable[bytes]]:
    async def read(limit: int) -> bytes:
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > limit:
                raise AuthError(BODY_TOO_LARGE)
        return body

    return read
