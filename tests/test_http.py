"""The outermost layer: hosts, limits, headers of every answer, and what two readers read apart."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from picoauth import (
    AuthError,
    Conflict,
    Denied,
    EdgeReply,
    EdgeRequest,
    EdgeRoute,
    LoginFailed,
    NoSettings,
    Plugin,
    Reply,
    Request,
    Route,
    Statement,
    Unavailable,
    create_app,
    hookimpl,
    http,
    parse,
    problems,
)
from picoauth.http import Asgi
from picoauth.seldom import Seldom
from picoauth.testing import Server, serving
from tests.asgi import EXAMPLES, SECURITY, Message, ask, bearer, receiver, scope_of, typed

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATHS = [
    ("GET", "/auth/session"),
    ("POST", "/jwt/validate"),
    ("POST", "/auth/login"),
    ("GET", "/auth/me"),
    ("GET", "/health-check"),
    ("GET", "/nowhere"),
]
"""Routes of the edge, routes of Quart, and none."""
ODD = 'plugins = ["password", "odd"]'
HTTPS = 'plugins = ["password"]\npublic_url = "https://auth.example.com"\n'


class OddPlugin(Plugin[NoSettings]):
    """Raises or answers what a test puts into `outcome`: at `/odd`, and at the edge."""

    outcome: ClassVar[Any] = None

    @hookimpl
    def routes(self) -> list[Route]:
        return [Route(method="GET", path="/odd", handler=self.odd, policy="public")]

    @hookimpl
    def edge(self) -> list[EdgeRoute]:
        return [EdgeRoute(method="GET", path="/odd/edge", handler=self.odd_edge)]

    async def odd(self, _: Request) -> Reply:
        return Reply(self.happened())

    async def odd_edge(self, _: EdgeRequest) -> EdgeReply:
        return EdgeReply(self.happened())

    def happened(self) -> Any:
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """One server for all that leaves no trace: Ann is registered; it has the odd plugin."""
    folder = tmp_path_factory.mktemp("http")
    async with serving(folder, ODD, plugins={"odd": OddPlugin}) as running:
        await running.register()
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def token(server: Server) -> str:
    """An access token of Ann's."""
    found: str = (await server.login())["access_token"]
    return found


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:8100",
        "localhost:",
        "127.0.0.1:8100",
        "[::1]",
        "[::1]:8100",
        "auth.example.com",
        "id.example.org:443",
    ],
)
async def test_hosts_that_are_served(tmp_path: Path, host: str) -> None:
    """The public host, loopback, and what `allowed_hosts` lists, with any port and case."""
    settings = f'{HTTPS}allowed_hosts = ["id.example.org"]'
    async with serving(tmp_path, settings) as server:
        for method, path in PATHS:
            got = await ask(server, method, path, hosts=[host])
            assert got.code not in [(400, "invalid_host"), (500, "internal_error")]


@pytest.mark.parametrize(
    "hosts",
    [
        [],
        [""],
        ["evil.example"],
        ["localhost.evil.example"],
        ["localhost@evil.example"],
        ["evil.example:localhost"],
        ["localhost:80:80"],
        ["localhost:port"],
        ["localhost:\u00b2"],
        ["localhost."],
        ["[localhost]"],
        ["[::1"],
        ["::1"],
        ["[::2]"],
        ["localhost, evil.example"],
        ["localhost", "localhost"],
        ["localhost", "evil.example"],
        ["evil.example", "localhost"],
    ],
    ids=str,
)
async def test_hosts_that_are_not_served(server: Server, hosts: list[str]) -> None:
    """A foreign, malformed, missing or doubled host is refused on every path (H-3)."""
    for method, path in PATHS:
        got = await ask(server, method, path, hosts=hosts)
        assert (400, "invalid_host") == got.code


@EXAMPLES
@given(host=st.text(st.characters(max_codepoint=255), max_size=30))
async def test_any_host(server: Server, host: str) -> None:
    """Whatever stands in `Host`, the answer is a problem or the health, and never a failure."""
    got = await ask(server, "GET", "/health-check", hosts=[host])
    assert got.code in [(200, None), (400, "invalid_host")]


@pytest.mark.parametrize(("method", "path"), PATHS)
async def test_two_authorizations(server: Server, method: str, path: str) -> None:
    """Two `Authorization` headers are refused, be they equal (K-15)."""
    headers = [bearer("a"), bearer("a")]
    assert (400, "ambiguous_token") == (await ask(server, method, path, headers=headers)).code


@pytest.mark.parametrize(("method", "path"), PATHS)
async def test_body_of_two_lengths(server: Server, method: str, path: str) -> None:
    """A body that two readers would cut at different places ends the connection (H-8)."""
    headers = [("Content-Length", "4"), ("Transfer-Encoding", "chunked")]
    got = await ask(server, method, path, headers=headers)
    assert (400, "bad_request") == got.code
    assert "close" == got.headers["connection"]


@pytest.mark.parametrize(("method", "path"), PATHS)
@pytest.mark.parametrize("version", ["2", "3", "0.9"])
async def test_other_versions_of_http(server: Server, method: str, path: str, version: str) -> None:
    """HTTP/2 is a proxy's business (H-7)."""
    got = await ask(server, method, path, http_version=version)
    assert (505, "http_version") == got.code


async def test_http_1_0(server: Server) -> None:
    """HTTP/1.0 is answered, if it says whom it wants."""
    assert 200 == (await ask(server, "GET", "/health-check", http_version="1.0")).status
    without = await ask(server, "GET", "/health-check", http_version="1.0", hosts=[])
    assert (400, "invalid_host") == without.code


async def test_length_of_the_url(server: Server) -> None:
    """Path and query have 8 KiB together; one byte more is too long."""
    for path in ("/health-check", "/auth/session", "/" + "x" * 4000):
        most = f"{path}?{'x' * (8192 - len(path))}"
        assert (414, "url_too_long") != (await ask(server, "GET", most)).code
        assert (414, "url_too_long") == (await ask(server, "GET", most + "x")).code
        shifted = f"{path}x?{'x' * (8192 - len(path))}"
        assert (414, "url_too_long") == (await ask(server, "GET", shifted)).code


@pytest.mark.parametrize("path", ["http://localhost/auth/session", "*", "", "localhost:80"])
async def test_target_that_is_no_path(server: Server, path: str) -> None:
    """A whole URL names a second host, and `*` no route: neither reaches one."""
    assert (400, "bad_request") == (await ask(server, "GET", path)).code


async def test_query_that_is_not_ascii(server: Server) -> None:
    """Raw bytes in a query, which some servers let through, are refused."""
    assert (400, "bad_request") == (await ask(server, "GET", "/health-check?check=\xff")).code


@pytest.mark.parametrize(
    "path",
    [
        "//auth/session",
        "/auth//session",
        "/auth/session/",
        "/auth/./session",
        "/x/../auth/session",
        "/AUTH/session",
        "/Auth/Session",
        "/auth/session;x",
        "/auth%2Fsession/",
        "/auth/session%00",
        "/auth/session%20",
        "/auth\\session",
        "/auth/%u0073ession",
    ],
)
@pytest.mark.parametrize("route", ["session", "me"])
async def test_other_spellings_of_a_path(server: Server, path: str, route: str) -> None:
    """Only one spelling reaches a route, at the edge as behind it (H-4)."""
    spelt = path.replace("session", route).replace("Session", route.title())
    got = await ask(server, "GET", spelt.replace("%u0073ession", f"%u0073{route}"))
    assert (404, "not_found") == got.code


@pytest.mark.parametrize("path", ["/%61uth/session", "/auth/%73ession", "/auth%2Fsession"])
@pytest.mark.parametrize("route", ["session", "me"])
async def test_escapes_in_a_path(server: Server, token: str, path: str, route: str) -> None:
    """An escaped spelling is the same path, under the same guard (H-4)."""
    spelt = path.replace("%73ession", f"%{ord(route[0]):x}{route[1:]}").replace("session", route)
    assert (401, "token_missing") == (await ask(server, "GET", spelt)).code
    assert (200, None) == (await ask(server, "GET", spelt, headers=[bearer(token)])).code


@EXAMPLES
@given(path=st.text(st.characters(max_codepoint=0x2FFF, exclude_categories=["Cs"]), max_size=40))
async def test_any_path(server: Server, path: str) -> None:
    """Whatever the path says, the answer is not a failure."""
    got = await ask(server, "GET", "/", path="/" + path)
    assert (404, "not_found") == got.code


@pytest.mark.parametrize("method", ["TRACE", "PATCH", "OPTIONS", "CONNECT", "HEAD", "BREW"])
@pytest.mark.parametrize("path", ["/jwt/validate", "/auth/login"])
async def test_methods_that_a_route_has_not(server: Server, method: str, path: str) -> None:
    """Every other method, known or not, is refused with those that there are."""
    got = await ask(server, method, path)
    assert ((405, "method_not_allowed"), "POST") == (got.code, got.headers["allow"])


@pytest.mark.parametrize("path", ["/auth/session", "/auth/factors", "/health-check"])
async def test_methods_of_a_route_that_is_read(server: Server, path: str) -> None:
    """What can be read by GET can be asked for by HEAD."""
    got = await ask(server, "POST", path)
    assert ((405, "method_not_allowed"), "GET, HEAD") == (got.code, got.headers["allow"])


@pytest.mark.parametrize("path", ["/auth/session", "/auth/me", "/health-check"])
async def test_head(server: Server, token: str, path: str) -> None:
    """HEAD answers what GET does, and a server leaves the body out."""
    headers = [bearer(token)]
    got, head = [await ask(server, m, path, headers=headers) for m in ("GET", "HEAD")]
    assert (200, None) == got.code == head.code
    assert got.headers["content-length"] == head.headers["content-length"]


async def test_path_under_a_root(server: Server) -> None:
    """A server that mounts the application under a path is understood, at the edge too."""
    for path in ("/auth/session", "/auth/me"):
        for prefix in ("/id", "/auth"):
            got = await ask(server, "GET", prefix + path, root_path=prefix)
            assert (401, "token_missing") == got.code
    assert (404, "not_found") == (await ask(server, "GET", "/auth/me", root_path="/id")).code


async def test_security_headers_of_every_answer(tmp_path: Path) -> None:
    """Good answers, refusals and preflights have them, and HSTS where the server is public (H-1)."""
    settings = f'{HTTPS}cors_origins = ["https://app.example"]'
    asking = [("Origin", "https://app.example"), ("Access-Control-Request-Method", "POST")]
    requests: list[tuple[str, str, list[tuple[str, str]], int]] = [
        ("GET", "/health-check", [], 200),
        ("GET", "/nowhere", [], 404),
        ("DELETE", "/auth/login", [], 405),
        ("GET", "/auth/session", [], 401),
        ("POST", "/jwt/validate", [bearer("x")], 401),
        ("GET", "/auth/session", [bearer("x"), bearer("y")], 400),
        ("POST", "/auth/login", [typed("text/plain")], 415),
        ("OPTIONS", "/auth/login", asking, 204),
    ]
    async with serving(tmp_path, settings) as server:
        for method, path, headers, status in requests:
            got = await ask(server, method, path, headers=headers)
            assert status == got.code[0]
            assert "max-age=31536000" == got.headers["strict-transport-security"]


async def test_no_hsts_over_http(server: Server) -> None:
    """A server on loopback does not ask for HTTPS, nor does it say what it runs on."""
    headers = (await ask(server, "GET", "/health-check")).headers
    assert {*SECURITY, "content-type", "content-length", "x-request-id"} == set(headers)


async def test_request_ids_differ(server: Server) -> None:
    """Each answer has an id of its own, whatever the client calls its request."""
    headers = [("X-Request-Id", "mine")]
    got = [await ask(server, "GET", "/auth/session", headers=headers) for _ in range(2)]
    ids = {one.headers["x-request-id"] for one in got}
    assert (2, False) == (len(ids), "mine" in ids)


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("0af76519-16cd-43dd", True),
        ("a" * 64, True),
        ("a" * 65, False),
        ("short", False),
        ("", False),
        ("abcdefgh ijkl", False),
        ('abcdefgh"}', False),
        ("abcdefgh\xe4", False),
    ],
)
async def test_request_id_of_a_proxy(tmp_path: Path, given: str, *, taken: bool) -> None:
    """What a trusted proxy calls a request is its name in the answer and the log, if it is plain."""
    settings = 'plugins = ["password"]\ntrusted_proxies = ["127.0.0.1"]'
    async with serving(tmp_path, settings) as server:
        body = {"username": "ann", "password": "wrong wrong"}
        headers = {"X-Request-Id": given.encode("latin-1")}
        got = await server.client.post("/auth/login", json=body, headers=headers)
        assert taken is (got.headers["x-request-id"] == given)
        [failed] = server.events.of(LoginFailed)
        assert failed.caller.request_id == got.headers["x-request-id"]


@pytest.mark.parametrize("path", ["/odd", "/odd/edge"])
@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (AuthError(problems.FORBIDDEN), (403, "forbidden")),
        (Denied(problems.REFUSED), (403, "refused")),
        (AuthError(problems.TOO_MANY_ATTEMPTS), (429, "too_many_attempts")),
        (AuthError(problems.UNAVAILABLE), (503, "unavailable")),
        (Unavailable("the disk is on fire", retry_after=9), (503, "unavailable")),
        (Conflict(3), (409, "conflict")),
    ],
    ids=lambda value: getattr(value, "code", None) or str(value),
)
async def test_refusals(
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    outcome: Exception,
    expected: tuple[int, str],
) -> None:
    """Every kind of refusal is a whole problem, with the headers that its status asks for."""
    monkeypatch.setattr(OddPlugin, "outcome", outcome)
    got = await ask(server, "GET", path)
    assert expected == got.code
    assert "fire" not in str(got)
    again = {429: "1", 503: "9" if isinstance(outcome, Unavailable) else "1"}
    assert again.get(got.status) == got.headers.get("retry-after")


async def test_why_it_cannot_answer(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says what a client is not told, without addresses, and does not say it each time."""
    for what in ("the lamp of ann@example.com is out", "the wick is out"):
        monkeypatch.setattr(OddPlugin, "outcome", Unavailable(what))
        for path in ("/odd", "/odd/edge"):
            assert (503, "unavailable") == (await ask(server, "GET", path)).code
    said = [r.getMessage().partition(": ")[2] for r in caplog.records if "picoauth.http" == r.name]
    assert ["the lamp of … is out", "the wick is out"] == said


async def test_host_that_was_meant_to_be_served(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The answer and the log say which setting has to have it; the log says so now and then."""
    monkeypatch.setattr(logging.getLogger("picoauth.http"), "filters", [Seldom()])
    for host in ("192.168.1.5:8100", "\n\xe9", "localhost:port"):
        await ask(server, "GET", "/health-check", hosts=[host])
    got = await ask(server, "GET", "/health-check", hosts=["192.168.1.5:8100"])
    detail = "The setting `allowed_hosts` does not have '192.168.1.5'."
    assert detail == got.json["detail"]
    said = [record.getMessage().partition(": ")[2] for record in caplog.records]
    assert [f"This host name is not served here. {detail}"] == said


async def test_seldom() -> None:
    """Each reason passes once a minute, and a flood of reasons takes no memory."""
    seldom = Seldom()

    def passes(reason: str | None, at: float) -> bool:
        more = {"created": at} if reason is None else {"created": at, "seldom": reason}
        return seldom.filter(logging.makeLogRecord(more))

    assert [True] * 3 == [passes(None, 0) for _ in range(3)]
    assert [True, False, True] == [passes("lamp", at) for at in (0, 59.9, 60)]
    assert [True, False] == [passes("wick", at) for at in (0, 1)]
    assert [True] * 200 == [passes(f"lamp {n}", 2) for n in range(200)]
    assert len(seldom.until) <= 100


@pytest.mark.parametrize("path", ["/odd", "/odd/edge"])
async def test_what_a_refusal_adds(
    server: Server, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """`detail`, further members and headers of a refusal are in its answer."""
    headers = {"Retry-After": "5", "WWW-Authenticate": "Odd"}
    outcome = AuthError(problems.TOKEN_MISSING, "bring one", headers=headers, flow="abc")
    monkeypatch.setattr(OddPlugin, "outcome", outcome)
    got = await ask(server, "GET", path)
    assert (401, "token_missing") == got.code
    assert ("5", "Odd") == (got.headers["retry-after"], got.headers["www-authenticate"])
    assert {
        "type": "about:blank",
        "title": "This needs a token.",
        "status": 401,
        "code": "token_missing",
        "error": "This needs a token.",
        "detail": "bring one",
        "request_id": got.headers["x-request-id"],
        "flow": "abc",
    } == got.json


@pytest.mark.parametrize("path", ["/odd", "/odd/edge"])
@pytest.mark.parametrize(
    "outcome",
    [
        LookupError("hunter2 was looked up"),
        AuthError(problems.FORBIDDEN, what=object()),
        object(),
    ],
    ids=["unknown", "refusal that is no JSON", "answer that is none"],
)
async def test_failures(
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    path: str,
    outcome: Any,
) -> None:
    """A bug is told by its request id alone; the log has all of it."""
    monkeypatch.setattr(OddPlugin, "outcome", outcome)
    got = await ask(server, "GET", path)
    assert (500, "internal_error") == got.code
    assert {"type", "title", "status", "code", "error", "request_id"} == set(got.json)
    assert "hunter2" not in str(got)
    [failure] = [r for r in caplog.records if r.name == "picoauth.http"]
    assert f"request {got.json['request_id']} failed" == failure.getMessage()
    kind = type(outcome) if isinstance(outcome, LookupError) else TypeError
    assert failure.exc_info is not None
    assert kind is failure.exc_info[0]
    assert "in happened" in caplog.text or kind is TypeError


async def test_failure_in_debug_mode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Quart's debug mode, too, shows no traceback, where not even the refusal can be sent."""
    monkeypatch.setenv("FLASK_DEBUG", "1")
    outcome = AuthError(problems.FORBIDDEN, headers={"X-Odd": "two\nlines"})
    monkeypatch.setattr(OddPlugin, "outcome", outcome)
    async with serving(tmp_path, ODD, plugins={"odd": OddPlugin}) as server:
        assert (500, "internal_error") == (await ask(server, "GET", "/odd")).code


@pytest.mark.parametrize("path", ["/odd", "/odd/edge"])
async def test_send_that_fails(server: Server, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    """After half an answer no second one begins: the server learns what broke, and cuts it off."""
    monkeypatch.setattr(OddPlugin, "outcome", b"{}")
    sent: list[Message] = []

    async def send(message: Any) -> None:
        sent.append(message)
        if message["type"] == "http.response.body":
            raise BrokenPipeError("the client is gone")

    scope = scope_of("GET", path, (), ["localhost"])
    with pytest.raises(BrokenPipeError, match="the client is gone"):
        await server.app.on("public")(scope, receiver([b""]), send)
    assert ["http.response.start", "http.response.body"] == [m["type"] for m in sent]


@pytest.mark.parametrize(("method", "path"), [("POST", "/jwt/validate"), ("POST", "/auth/login")])
@pytest.mark.parametrize("announced", [True, False])
async def test_body_that_is_too_large(
    server: Server, method: str, path: str, *, announced: bool
) -> None:
    """A body over the limit is refused, whether it says so or just goes on."""
    arrived = 0

    async def endless() -> Message:
        nonlocal arrived
        await asyncio.sleep(0)
        arrived += 4096
        return {"type": "http.request", "body": b" " * 4096, "more_body": True}

    length = ("Content-Length", "1000000000") if announced else ("Transfer-Encoding", "chunked")
    headers = [typed("application/json"), length]
    got = await ask(server, method, path, headers=headers, receive=endless)
    assert (413, "body_too_large") == got.code
    assert arrived < 2 * http.BODY_LIMIT


@pytest.mark.parametrize("size", [http.BODY_LIMIT, http.BODY_LIMIT + 1])
async def test_largest_body(server: Server, size: int) -> None:
    """A body may have 64 KiB, and not a byte more."""
    body = b'{"username": "ann", "password": "wrong one"}'.ljust(size)
    headers = [typed("application/json"), ("Content-Length", str(size))]
    got = await ask(server, "POST", "/auth/login", body[:100], body[100:], headers=headers)
    expected = (401, "invalid_credentials"), (413, "body_too_large")
    assert expected[size - http.BODY_LIMIT] == got.code


@pytest.mark.parametrize(("method", "path"), [("POST", "/jwt/validate"), ("POST", "/auth/login")])
async def test_body_that_is_too_slow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, path: str
) -> None:
    """A body that does not arrive in time is given up (H-7)."""
    monkeypatch.setattr(http, "BODY_TIME", 0.01)
    headers = [typed("application/json"), ("Content-Length", "10")]
    async with serving(tmp_path) as server:
        slow = receiver([b'{"x'], unfinished=True)
        got = await ask(server, method, path, headers=headers, receive=slow)
    assert (408, "body_too_slow") == got.code


async def test_body_that_breaks_off(server: Server, token: str) -> None:
    """What came of a body before its client left is not taken for the whole of it."""
    messages: list[Message] = [
        {"type": "http.request", "body": token.encode(), "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> Message:
        return messages.pop(0)

    headers = [("Content-Length", "1000")]
    got = await ask(server, "POST", "/jwt/validate", headers=headers, receive=receive)
    assert (400, "bad_request") == got.code


async def test_application_under_another_server(tmp_path: Path) -> None:
    """An ASGI server starts and stops the whole application by the lifespan protocol."""
    app = create_app(parse('plugins = ["password"]', tmp_path))
    assert not app.ready
    assert ["lifespan.startup.complete", "lifespan.shutdown.complete"] == await lifespan(app)
    assert not app.ready
    with pytest.raises(Unavailable):
        await app.auth.database.read("select 1")


async def test_stop_is_told_when_all_is_written(tmp_path: Path) -> None:
    """The server that runs the application may end as soon as it hears of the stop."""
    app = create_app(parse('plugins = ["password"]', tmp_path))
    closed: list[bool] = []
    close = app.auth.database.close

    async def noted() -> None:
        await close()
        closed.append(True)

    app.auth.database.close = noted  # type: ignore[method-assign]
    await lifespan(app, lambda told: told == "lifespan.shutdown.complete" and closed.append(False))
    assert [True, False] == closed


async def test_start_that_fails_under_another_server(tmp_path: Path) -> None:
    """The other server hears in a sentence why there is no start."""
    app = create_app(parse('plugins = ["password"]', tmp_path))
    await app.auth.migrate()
    ledger = "update migrations set hash = 'other' where owner = 'picoauth' and number = 1"
    await app.auth.database.write(Statement(ledger))
    assert ["lifespan.startup.failed"] == await lifespan(app)


async def lifespan(app: Asgi, note: Callable[[str], Any] = str) -> list[str]:
    """Start and stop; what the application says to each."""
    told: list[str] = []
    events = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

    async def receive() -> Message:
        return events.pop(0)

    async def send(message: Any) -> None:
        told.append(message["type"])
        note(message["type"])

    await app({"type": "lifespan"}, receive, send)
    return told


async def test_websocket(server: Server) -> None:
    """There are no websockets: one is closed before it opens."""
    sent: list[Message] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await server.app({"type": "websocket"}, receiver([]), send)
    assert [{"type": "websocket.close", "code": 1000}] == sent


async def test_figures(tmp_path: Path) -> None:
    """Answers are counted by route and status; a path that is none counts as `other`."""
    async with serving(tmp_path) as server:
        for path in ("/auth/session", "/auth/me", "/nowhere", "/elsewhere", "/health-check"):
            await ask(server, "GET", path)
        for path in ("/auth/session", "/auth/sessions/1", "/auth/sessions/2"):
            await ask(server, "DELETE", path)
        figures = server.auth.figures()
    assert {
        ("/auth/session", 401): 1,
        ("/auth/me", 401): 1,
        ("/auth/sessions/{id}", 401): 2,
        ("/health-check", 200): 1,
        ("other", 404): 2,
        ("other", 405): 1,
    } == {(f.route, f.status): f.count for f in figures}
    assert all(f.seconds > 0 for f in figures)
