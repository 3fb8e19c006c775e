"""Requests and web sockets in front of an application: who is let in, and what others get to read."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterable, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest

from picoauth_verify import Access, AsgiMiddleware, Refused, Verifier, WsgiMiddleware
from tests.accounts import accounts
from tests.verifying import Followed, following, publishing

Answer = tuple[int, Mapping[str, str], dict[str, Any]]


@pytest.fixture
async def followed(tmp_path: Path) -> AsyncIterator[Followed]:
    async with accounts(tmp_path) as server:
        with publishing() as publisher:
            found = following(server, publisher)
            await found.hear()
            yield found


def problem(status: int, code: str, title: str, **more: str) -> tuple[int, dict[str, Any]]:
    members = {"type": "about:blank", "title": title, "status": status, "code": code}
    return status, {**members, "error": title, **more}


MISSING = problem(401, "token_missing", "This needs a token.")
ENDED = problem(401, "session_ended", "This session has ended: log in again.")
EXPIRED = problem(401, "token_expired", "This token has expired: refresh it.")
AMBIGUOUS = problem(400, "ambiguous_token", "This request has two different tokens.")
INVALID = problem(
    401, "invalid_token", "This is not a valid token.", detail="This is no signed token."
)
UNAVAILABLE = problem(503, "unavailable", "This cannot be done right now: try again.")
LET_IN = (200, {"user": "ann"})
NOBODY = (200, {"user": None})


class App:
    """An application under either interface, that says who asks."""

    def __init__(self) -> None:
        self.asked: list[Access | None] = []

    def say(self, access: Access | None) -> bytes:
        self.asked.append(access)
        return json.dumps({"user": access and access.username}).encode()

    def wsgi(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        body = self.say(environ["picoauth"])
        start("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]

    async def asgi(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await send({"type": "lifespan.startup.complete"})
            return
        assert scope["picoauth"] is scope["state"]["picoauth"]
        body = self.say(scope["picoauth"])
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            return
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


async def by_wsgi(app: WsgiMiddleware, headers: Sequence[str]) -> Answer:
    """Ask as a server does; the standard library's validator watches both sides."""
    environ: dict[str, Any] = {}
    setup_testing_defaults(environ)
    if headers:
        environ["HTTP_AUTHORIZATION"] = ",".join(headers)  # so servers join them
    environ["QUERY_STRING"] = "access_token=x"
    found: list[Any] = []

    def start(status: str, heads: list[tuple[str, str]], *_: Any) -> Any:
        found[:] = [int(status.split(maxsplit=1)[0]), {n.lower(): v for n, v in heads}]
        return found.append

    result = validator(app)(environ, start)
    body = b"".join(result)
    result.close()  # type: ignore[attr-defined] - the validator's has it
    return found[0], found[1], json.loads(body)


class Sent(list[MutableMapping[str, Any]]):
    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        self.append(message)


def scope_of(kind: str, headers: Sequence[str], **more: Any) -> dict[str, Any]:
    found = [(b"host", b"localhost"), *((b"authorization", one.encode()) for one in headers)]
    return {"type": kind, "headers": found, "query_string": b"access_token=x", **more}


async def nothing_more() -> MutableMapping[str, Any]:
    return {"type": "websocket.connect"}


async def by_asgi(app: AsgiMiddleware, headers: Sequence[str]) -> Answer:
    sent = Sent()
    await app(scope_of("http", headers), nothing_more, sent)
    start, body = sent
    assert ["http.response.start", "http.response.body"] == [one["type"] for one in sent]
    heads = {name.decode(): value.decode() for name, value in start["headers"]}
    return start["status"], heads, json.loads(body["body"])


def either(kind: str, verifier: Verifier, **more: Any) -> tuple[App, Any]:
    """An application, and how it is asked through a middleware."""
    app = App()
    if kind == "wsgi":
        wsgi = WsgiMiddleware(app.wsgi, verifier, **more)
        return app, lambda *headers: by_wsgi(wsgi, headers)
    asgi = AsgiMiddleware(app.asgi, verifier, **more)
    return app, lambda *headers: by_asgi(asgi, headers)


KINDS = pytest.mark.parametrize("kind", ["wsgi", "asgi"])


@KINDS
async def test_who_is_let_in(followed: Followed, kind: str) -> None:
    """The application is told who asks, however the scheme is written."""
    token = await followed.token()
    app, ask = either(kind, followed.verifier)
    for scheme in ("Bearer", "bEARER"):
        status, _, body = await ask(f"{scheme} {token}")
        assert LET_IN == (status, body)
    assert app.asked == [followed.verifier.check(token)] * 2


@KINDS
@pytest.mark.parametrize("required", [True, False])
async def test_who_is_not(followed: Followed, kind: str, required: bool) -> None:  # noqa: FBT001 - a parameter
    """Who has no token gets through where that may be; who has one that is no good, nowhere."""
    token, ended = await followed.token(), await followed.token()
    await followed.server.post("/auth/logout", token=ended)
    await followed.hear(1)
    app, ask = either(kind, followed.verifier, required=required)
    missing = (MISSING, "Bearer") if required else (NOBODY, None)
    none: list[list[str]] = [[], [""], [f"Basic {token}"], [token], ["Bearer"], ["Bearer  "]]
    table: list[tuple[list[str], Any, str | None]] = [
        *((headers, *missing) for headers in none),
        (["Bearer x"], INVALID, 'Bearer error="invalid_token"'),
        ([f"Bearer {token} x"], INVALID, 'Bearer error="invalid_token"'),
        ([f"Bearer {ended}"], ENDED, 'Bearer error="invalid_token"'),
    ]
    if kind == "asgi":
        twice = [f"Bearer {token}"] * 2
        table.append((twice, AMBIGUOUS, 'Bearer error="invalid_request"'))
    else:
        twice = [f"Bearer {token}"] * 2  # servers make one of them, which is none
        table.append((twice, INVALID, 'Bearer error="invalid_token"'))
    for headers, (status, body), challenge in table:
        answer = await ask(*headers)
        assert (status, body) == (answer[0], answer[2]), headers
        assert challenge == answer[1].get("www-authenticate")
        if challenge is not None:
            assert "application/problem+json" == answer[1]["content-type"]
            assert "no-store" == answer[1]["cache-control"]
            assert str(len(json.dumps(answer[2]))) == answer[1]["content-length"]
    assert ([] if required else [None] * len(none)) == app.asked


@KINDS
async def test_end_and_silence(followed: Followed, kind: str) -> None:
    """An expired token is 401; where nothing can be known it is 503, also for who is let in freely."""
    token = await followed.token()
    app, ask = either(kind, followed.verifier, required=False)
    followed.uptime.advance(2)
    status, headers, body = await ask(f"Bearer {token}")
    assert UNAVAILABLE == (status, body)
    assert "1" == headers["retry-after"]
    followed.server.clock.advance(600)
    status, _, body = await ask(f"Bearer {token}")
    assert EXPIRED == (status, body)
    followed.follower.known = None
    status, _, body = await ask(f"Bearer {token}")
    assert UNAVAILABLE == (status, body)
    assert [] == app.asked


async def opened(
    followed: Followed, headers: Sequence[str], **scope: Any
) -> tuple[list[MutableMapping[str, Any]], App]:
    app, sent = App(), Sent()
    middleware = AsgiMiddleware(app.asgi, followed.verifier)
    await middleware(scope_of("websocket", headers, **scope), nothing_more, sent)
    return sent, app


async def test_web_sockets(followed: Followed) -> None:
    """A web socket is not opened to whom a request is not answered."""
    token = await followed.token()
    sent, app = await opened(followed, [f"Bearer {token}"])
    assert ["websocket.accept"] == [one["type"] for one in sent]
    assert ["ann"] == [access and access.username for access in app.asked]
    sent, app = await opened(followed, [])
    assert ([{"type": "websocket.close", "code": 1008}], []) == (sent, app.asked)


async def test_web_sockets_that_get_an_answer(followed: Followed) -> None:
    """Where the server can pass it on, a web socket is answered why it is not opened."""
    sent, app = await opened(followed, [], extensions={"websocket.http.response": {}})
    assert ["websocket.http.response.start", "websocket.http.response.body"] == [
        one["type"] for one in sent
    ]
    assert MISSING == (sent[0]["status"], json.loads(sent[1]["body"]))
    assert (b"www-authenticate", b"Bearer") in sent[0]["headers"]
    assert [] == app.asked


async def test_other_scopes(followed: Followed) -> None:
    """The life of an application goes by; what a later kind of server invents is not let in."""
    app, sent = App(), Sent()
    middleware = AsgiMiddleware(app.asgi, followed.verifier)
    await middleware({"type": "lifespan"}, nothing_more, sent)
    assert [{"type": "lifespan.startup.complete"}] == sent
    with pytest.raises(Refused, match="token_missing"):
        await middleware({"type": "telepathy"}, nothing_more, sent)
    assert [] == app.asked


async def test_state_of_the_application(followed: Followed) -> None:
    """Requests share a state that the application made; who asks is never in that."""
    token = await followed.token()
    shared = {"pool": object()}
    scope = scope_of("http", [f"Bearer {token}"], state=shared)
    found: list[Any] = []

    async def app(scope: MutableMapping[str, Any], *_: Any) -> None:
        found.append(scope["state"])

    await AsgiMiddleware(app, followed.verifier)(scope, nothing_more, Sent())
    assert [{"pool", "picoauth"}] == [set(state) for state in found]
    assert {"pool"} == set(shared)


async def test_first_request_does_not_stop_the_loop(tmp_path: Path) -> None:
    """While the first request waits for the server, the event loop goes on."""
    async with accounts(tmp_path) as server:
        with publishing() as publisher:
            followed = following(server, publisher)
            followed.publish()
            token = await followed.token()
            issuer = server.auth.config.public_url
            verifier = Verifier(issuer, url=publisher.url, clock=server.clock)
            went_on = threading.Event()
            publisher.before = went_on.wait  # no answer until the loop has done something else
            asyncio.get_running_loop().call_soon(went_on.set)
            app = AsgiMiddleware(App().asgi, verifier)
            status, _, body = await by_asgi(app, [f"Bearer {token}"])
            await asyncio.to_thread(verifier.close)
            assert LET_IN == (status, body)
