"""The outermost layer: client addresses, hosts, CORS, request ids, limits, problem details."""

from __future__ import annotations

import asyncio
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
    BAD_REQUEST,
    BODY_TOO_LARGE,
    BODY_TOO_SLOW,
    CONFLICT,
    HTTP_VERSION,
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
"""Bytes."""
BODY_TIME = 10
"""Seconds in which a body has to arrive (H-7)."""
URL_LIMIT = 8 * 1024
"""Bytes of path and query together."""
HTTP_1 = ("1.0", "1.1")

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
        outlet = Outlet(send, self.dress(headers, caller))
        try:
            self.check(scope, headers)
            scope["picoauth.caller"], scope["picoauth.listener"] = caller, listener
            await self.dispatch(scope, receive, outlet, headers)
        except Exception as error:  # noqa: BLE001 - answered as a problem; an unknown one is logged
            await answer(outlet, *problem(error, caller.request_id))
        label = scope.get("picoauth.route", "other")
        self.figures.add(label, outlet.status, time.perf_counter() - began)

    async def dispatch(
        self, scope: Scope, receive: Receive, send: Send, headers: Mapping[bytes, bytes]
    ) -> None:
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        route = self.edge.get((method, scope["path"]))
        if route is not None:
            scope["picoauth.route"] = route.path
            request = EdgeRequest(
                caller=scope["picoauth.caller"],
                headers=headers,
                read=reader(receive),
                query=scope["query_string"],
            )
            reply = await route.handler(request)
            await answer(send, reply.status, reply.headers, reply.body)
            return
        preflight = self.cors.preflight(method, headers)
        if preflight is not None:
            await answer(send, 204, preflight, b"")
            return
        await self.inner(scope, receive, send)

    def caller(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Caller:
        peer = scope["client"][0] if scope.get("client") else None
        forwarded = headers.get(b"x-forwarded-for", b"").decode("latin-1")
        agent = headers.get(b"user-agent", b"").decode("latin-1")[:256] or None
        return Caller(self.proxies.client(peer, forwarded), agent, self.random(9).hex())

    def dress(self, headers: Mapping[bytes, bytes], caller: Caller) -> Headers:
        request_id = (b"x-request-id", (caller.request_id or "").encode())
        return [*self.security, *self.cors.headers(headers), request_id]

    def check(self, scope: Scope, headers: Mapping[bytes, bytes]) -> None:
        """Refuse what two readers could read differently, and what is too long to look at.

        A foreign or doubled host (H-3), two tokens (K-15), a body of two lengths (H-8), and
        HTTP/2, which a proxy that forwards `Upgrade: h2c` would let past its own rules (H-7).
        """
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > URL_LIMIT:
            raise AuthError(URL_TOO_LONG)
        if scope["http_version"] not in HTTP_1:
            raise AuthError(HTTP_VERSION)
        names = [name for name, _ in scope["headers"]]
        host = headers.get(b"host", b"").decode("latin-1")
        if names.count(b"host") != 1 or hostname(host) not in self.hosts:
            raise AuthError(INVALID_HOST)
        if names.count(b"authorization") > 1:
            raise AuthError(AMBIGUOUS_TOKEN)
        if b"transfer-encoding" in headers and b"content-length" in headers:
            raise AuthError(BAD_REQUEST, headers={"Connection": "close"})


class Outlet:
    """The way out of one request: adds the headers that every answer has, and notes the status."""

    def __init__(self, send: Send, headers: Headers) -> None:
        self.send = send
        self.headers = headers
        self.status = 0

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            present = {name for name, _ in message["headers"]}
            more = [header for header in self.headers if header[0] not in present]
            message = {**message, "headers": [*message["headers"], *more]}
        await self.send(message)


def hostname(host: str) -> str:
    """The name without its port; `[::1]:8100` is `::1`."""
    name = host.lower().rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host.lower()
    return name.strip("[]")


def reader(receive: Receive) -> Callable[[int], Awaitable[bytes]]:
    async def read(limit: int) -> bytes:
        try:
            async with asyncio.timeout(BODY_TIME):
                return await whole(receive, limit)
        except TimeoutError as error:
            raise AuthError(BODY_TOO_SLOW) from error

    return read


async def whole(receive: Receive, limit: int) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > limit:
            raise AuthError(BODY_TOO_LARGE)
    return body
