"""The outermost layer: who calls and whom, limits, headers of every answer, and the edge."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from functools import lru_cache
from typing import Any

from picoauth.addresses import Proxies
from picoauth.callers import Caller
from picoauth.cors import Cors
from picoauth.errors import AuthError
from picoauth.figures import Figures
from picoauth.outgoing import COOKIES
from picoauth.problems import (
    AMBIGUOUS_TOKEN,
    BAD_REQUEST,
    BODY_TOO_LARGE,
    BODY_TOO_SLOW,
    HTTP_VERSION,
    INVALID_HOST,
    NOT_FOUND,
    URL_TOO_LONG,
)
from picoauth.refusals import problem, unserved
from picoauth.routes import EdgeRequest, EdgeRoute, Listener
from picoauth.secrets import Random
from picoauth.settings import Config

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = Sequence[tuple[bytes, bytes]]

Whole = Callable[[int, Headers, bytes], Awaitable[None]]

BODY_LIMIT = 64 * 1024
"""Bytes."""
BODY_TIME = 10
"""Seconds in which a body has to arrive (H-7)."""
URL_LIMIT = 8 * 1024
"""Bytes of path and query together."""
HTTP_1 = ("1.0", "1.1")
NO_CONTENT = 204
WHOLE = "picoauth.whole"
"""Our server's ASGI extension: a function that writes a whole answer at once."""

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
HOST = re.compile(rb"(\[[0-9a-f:.]+\]|[^:\[\]]+)(?::\d{0,5})?")


class Http:
    """Every request passes here first, and every answer last.

    The edge is answered at once; the rest goes to what is `inner` for the listener, with the
    caller and the listener in the scope as `picoauth.caller` and `picoauth.listener`.
    """

    def __init__(
        self,
        config: Config,
        random: Random,
        edge: Mapping[tuple[str, str], EdgeRoute],
        inner: Callable[[Listener], Asgi],
        figures: Figures,
    ) -> None:
        self.hosts = {host.encode() for host in config.hosts}
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
        cookies: list[str] = []
        COOKIES.set(cookies)
        outlet = Outlet(scope, send, self.dress(headers, caller), cookies)
        try:
            self.check(scope, headers)
            scope["picoauth.caller"], scope["picoauth.listener"] = caller, listener
            await self.dispatch(scope, receive, outlet, headers)
        except Exception as error:
            if outlet.status:  # half an answer is out: the server can only cut it off
                raise
            await outlet.answer(*problem(error, caller.request_id))
        label = scope.get("picoauth.route", "other")
        self.figures.add(label, outlet.status, time.perf_counter() - began)

    async def dispatch(
        self, scope: Scope, receive: Receive, outlet: Outlet, headers: Mapping[bytes, bytes]
    ) -> None:
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        route = self.edge.get((method, path))
        if route is not None:
            scope["picoauth.route"] = route.path
            request = EdgeRequest(
                caller=scope["picoauth.caller"],
                headers=headers,
                read=reader(receive),
                query=scope["query_string"],
                peer=peer_of(scope),
            )
            reply = await route.handler(request)
            await outlet.answer(reply.status, reply.headers, reply.body)
            return
        if path[:2] == "//":  # which Quart takes for one slash
            raise AuthError(NOT_FOUND)
        preflight = self.cors.preflight(method, headers)
        if preflight is not None:
            await outlet.answer(NO_CONTENT, preflight, b"")
            return
        await self.inner(scope["picoauth.listener"])(scope, receive, outlet)

    def caller(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Caller:
        peer = peer_of(scope)
        forwarded = joined(scope["headers"]) if b"x-forwarded-for" in headers else ""
        client = self.proxies.client(peer, forwarded)
        agent, languages = text(headers, b"user-agent"), text(headers, b"accept-language")
        given = self.proxies.request_id(peer, headers.get(b"x-request-id", b""))
        return Caller(client, agent, given or self.random(9).hex(), languages)

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
        if len(headers) < len(scope["headers"]):
            check_single([name for name, _ in scope["headers"]])
        if (host := hostname(headers.get(b"host", b""))) not in self.hosts:
            raise AuthError(INVALID_HOST, unserved(host))
        if scope["path"][:1] != "/" or not scope["query_string"].isascii():
            raise AuthError(BAD_REQUEST)  # a whole URL, whose host may be another, is no path
        if b"transfer-encoding" in headers and b"content-length" in headers:
            raise AuthError(BAD_REQUEST, headers={"Connection": "close"})


class Outlet:
    """The way out of one request: adds the headers that every answer has, and notes the status."""

    def __init__(self, scope: Scope, send: Send, headers: Headers, cookies: Sequence[str]) -> None:
        self.whole: Whole | None = scope.get("extensions", {}).get(WHOLE)
        self.send = send
        self.headers = headers
        self.cookies = cookies
        """What is to be set by the time that the answer begins."""
        self.status = 0

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": self.dressed(message["headers"])}
        await self.send(message)

    async def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """An answer that is there as a whole, in one write where the server can."""
        length = [(b"content-length", b"%d" % len(body))] if status != NO_CONTENT else []
        headers = [*headers, *length]
        if self.whole is not None:
            self.status = status
            await self.whole(status, self.dressed(headers), body)
            return
        await self({"type": "http.response.start", "status": status, "headers": headers})
        await self({"type": "http.response.body", "body": body})

    def dressed(self, headers: Headers) -> Headers:
        there = [name for name, _ in headers if name != b"vary"]  # each adds its own
        ours = [header for header in self.headers if header[0] not in there]
        return [*headers, *ours, *((b"set-cookie", cookie.encode()) for cookie in self.cookies)]


def peer_of(scope: Scope) -> str | None:
    return scope["client"][0] if scope.get("client") else None


def text(headers: Mapping[bytes, bytes], name: bytes) -> str | None:
    return headers.get(name, b"").decode("latin-1")[:256] or None


def check_single(names: Sequence[bytes]) -> None:
    """Raises AuthError where a header comes twice that may be there once."""
    if names.count(b"host") > 1:
        raise AuthError(INVALID_HOST)
    if names.count(b"authorization") > 1:
        raise AuthError(AMBIGUOUS_TOKEN)


@lru_cache(maxsize=256)
def hostname(host: bytes) -> bytes | None:
    """The name without its port; `[::1]:8100` is `::1`."""
    match = HOST.fullmatch(host.lower())
    return match[1].strip(b"[]") if match else None


def joined(headers: Headers) -> str:
    """All of X-Forwarded-For: some proxies add a line where others lengthen it."""
    lines = (value for name, value in headers if name == b"x-forwarded-for")
    return b",".join(lines).decode("latin-1")


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
        if message["type"] == "http.disconnect":  # half a body is none
            raise AuthError(BAD_REQUEST)
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > limit:
            raise AuthError(BODY_TOO_LARGE)
    return body
