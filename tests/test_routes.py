"""Routes: who a policy lets in, by which listener, how often, and what goes in and out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from picoauth import (
    FORM,
    AccessRefused,
    Administrator,
    Attempt,
    AuthError,
    ConfigError,
    Denied,
    Event,
    Guard,
    Limiter,
    NoSettings,
    Plugin,
    Reply,
    Request,
    Route,
    Row,
    Statement,
    Whose,
    described,
    hookimpl,
    problems,
)
from picoauth.app import Application
from picoauth.routes import Listener
from picoauth.testing import Server, serving
from tests.asgi import ask, bearer, typed

pytestmark = pytest.mark.asyncio(loop_scope="module")

ADMIN = "/admin/things/{id}"


@dataclass(frozen=True)
class Grant:
    """The form of an OAuth endpoint."""

    grant_type: str = described("The kind of grant.")
    scope: str | None = described("What is asked for.", default=None)


class GatePlugin(Plugin[NoSettings]):
    """Routes under every policy, two of them its own, and a note of all refusals."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.refused: list[AccessRefused] = []
        self.reply = Reply()

    @hookimpl
    def guards(self) -> Mapping[str, Guard]:
        return {"nobody": self.nobody, "sesame": self.sesame}

    async def nobody(self, _: Request) -> Any:
        return None

    async def sesame(self, request: Request) -> Any:
        if request.headers.get("x-sesame") == "shut":
            raise Denied(problems.REFUSED)
        if request.headers.get("x-sesame") == "key":
            return Administrator("key:sesame")
        return "Ali" if request.headers.get("x-sesame") == "open" else None

    @hookimpl
    def routes(self) -> Sequence[Route]:
        policies = ("public", "flow", "session", "fresh", "nobody", "sesame")
        return [
            *(self.route("GET", f"/gate/{policy}", policy) for policy in policies),
            self.route("GET", ADMIN, "sesame", listener="admin"),
            self.route("PUT", ADMIN, "sesame", listener="admin"),
            self.route("POST", "/gate/form", "public", body=Grant, accepts=(FORM,)),
            self.route("POST", "/gate/json", "public", body=Grant),
            self.route("POST", "/gate/text", "public", body=str, accepts=("text/plain",)),
            self.route("POST", "/gate/nothing", "public"),
            Route(method="GET", path="/gate/reply", handler=self.replying, policy="public"),
            Route(method="GET", path="/gate/access", handler=self.accessing, policy="public"),
        ]

    def route(self, method: str, path: str, policy: str, **more: Any) -> Route:
        return Route(method=method, path=path, handler=self.told, policy=policy, **more)

    async def told(self, request: Request) -> Reply:
        body = asdict(request.body) if isinstance(request.body, Grant) else request.body
        known = getattr(request.principal, "user_id", str(request.principal))
        principal = request.caller.actor or known
        seen = {"body": body, "path": request.path, "listener": request.listener}
        return Reply({**seen, "principal": principal, "query": dict(request.query)})

    async def accessing(self, request: Request) -> Reply:
        return Reply(request.access.user_id)

    async def replying(self, _: Request) -> Reply:
        return self.reply

    @hookimpl
    async def on(self, event: Event) -> None:
        if isinstance(event, AccessRefused):
            self.refused.append(event)


class SlowPlugin(Plugin[NoSettings]):
    """Fills the slot `limiter`: notes every attempt, and refuses those from one address."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.attempts: list[Attempt] = []

    @hookimpl
    def limiter(self) -> Limiter:
        return self

    async def attempt(self, attempt: Attempt, *look: Statement) -> list[list[Row]]:
        self.attempts.append(attempt)
        if attempt.address == "203.0.113.9":
            raise AuthError(problems.TOO_MANY_ATTEMPTS)
        return await self.auth.default_limiter.attempt(attempt, *look)

    def succeeded(self, attempt: Attempt) -> Sequence[Statement]:
        return self.auth.default_limiter.succeeded(attempt)

    def withdrawn(self, attempt: Attempt) -> Sequence[Statement]:
        return self.auth.default_limiter.withdrawn(attempt)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """A server with gates, and a limiter that is a plugin's; Ann is registered."""
    settings = 'plugins = ["password", "gate", "slow"]'
    plugins: dict[str, type[Plugin[Any]]] = {"gate": GatePlugin, "slow": SlowPlugin}
    async with serving(tmp_path_factory.mktemp("gate"), settings, plugins=plugins) as running:
        await running.register()
        yield running


@pytest.fixture
def gate(server: Server) -> GatePlugin:
    return server.auth.plugin(GatePlugin)


@pytest.fixture
def slow(server: Server) -> SlowPlugin:
    found = server.auth.plugin(SlowPlugin)
    found.attempts.clear()
    return found


async def login(server: Server) -> tuple[str, str]:
    """A fresh session of Ann's: her token, as a header."""
    return bearer((await server.login())["access_token"])


async def test_every_policy_without_a_credential(server: Server) -> None:
    """`public` and `flow` let everybody in, and no other policy does."""
    codes = {
        policy: (await ask(server, "GET", f"/gate/{policy}")).code
        for policy in ("public", "flow", "session", "fresh", "nobody", "sesame")
    }
    assert {
        "public": (200, None),
        "flow": (200, None),
        "session": (401, "token_missing"),
        "fresh": (401, "token_missing"),
        "nobody": (403, "forbidden"),
        "sesame": (403, "forbidden"),
    } == codes


async def test_session_policy(server: Server) -> None:
    """`session` wants an access token, and hands over whose it is."""
    token = await login(server)
    got = await ask(server, "GET", "/gate/session", headers=[token])
    me = await ask(server, "GET", "/auth/me", headers=[token])
    assert (me.json["id"], (200, None)) == (got.json["principal"], got.code)
    wrong = await ask(server, "GET", "/gate/session", headers=[bearer("a.b.c")])
    assert (401, "invalid_token") == wrong.code


async def test_fresh_policy(server: Server) -> None:
    """`fresh` wants a proof that is five minutes old at most."""
    token = await login(server)
    server.clock.advance(300)
    assert (200, None) == (await ask(server, "GET", "/gate/fresh", headers=[token])).code
    server.clock.advance(1)
    got = await ask(server, "GET", "/gate/fresh", headers=[token])
    assert (403, "stepup_needed") == got.code
    assert (200, None) == (await ask(server, "GET", "/gate/session", headers=[token])).code


async def test_guard_that_answers_nothing(server: Server) -> None:
    """A guard that answers None denies, whatever the caller has (X-1)."""
    got = await ask(server, "GET", "/gate/nobody", headers=[await login(server)])
    assert (403, "forbidden") == got.code


async def test_guard_of_a_plugin(server: Server) -> None:
    """What a plugin's guard answers is the principal; of a doubled header it sees the last."""
    said = {
        word: await ask(server, "GET", "/gate/sesame", headers=[("X-Sesame", word)])
        for word in ("open", "shut", "")
    }
    assert (200, None) == said["open"].code
    assert "Ali" == said["open"].json["principal"]
    assert ((403, "refused"), (403, "forbidden")) == (said["shut"].code, said[""].code)
    key = await ask(server, "GET", "/gate/sesame", headers=[("X-Sesame", "key")])
    assert "key:sesame" == key.json["principal"], "an administrator acts under that name"
    twice = [("X-Sesame", "shut"), ("x-sesame", "open")]
    assert (200, None) == (await ask(server, "GET", "/gate/sesame", headers=twice)).code


async def test_refusals_are_events(server: Server, gate: GatePlugin) -> None:
    """A refused policy is told by route and code, with the caller, and leaves no token (L-1)."""
    gate.refused.clear()
    headers = [bearer("a.b.c"), ("User-Agent", "tests")]
    got = await ask(server, "GET", "/gate/session", headers=headers)
    await ask(server, "GET", "/gate/nobody", client=("203.0.113.1", 1))
    await ask(server, "GET", "/gate/public")
    await server.auth.events.settle()
    first, second = gate.refused
    assert ("/gate/session", "invalid_token") == (first.route, first.code)
    assert ("/gate/nobody", "forbidden") == (second.route, second.code)
    assert ("127.0.0.1", "tests") == (first.caller.address, first.caller.user_agent)
    assert (got.json["request_id"], "203.0.113.1") == (
        first.caller.request_id,
        second.caller.address,
    )
    assert "a.b.c" not in repr(first)


async def test_handler_that_wants_a_session_under_another_policy(server: Server) -> None:
    """`request.access` without a checked token is a refusal, not somebody."""
    got = await ask(server, "GET", "/gate/access", headers=[await login(server)])
    assert (401, "token_missing") == got.code


@pytest.mark.parametrize("spelling", ["/admin/things/7", "/admin/%74hings/7", "//admin/things/7"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "POST", "OPTIONS", "TRACE"])
async def test_admin_routes_on_the_public_listener(
    server: Server, spelling: str, method: str
) -> None:
    """A route for administration is not there for the public, whatever the method (M-1)."""
    headers = [("X-Sesame", "open")]
    got = await ask(server, method, spelling, headers=headers)
    assert (404, "not_found") == got.code


async def test_admin_routes_on_the_admin_listener(server: Server) -> None:
    """There it answers to whom its policy lets in, and the guard knows the listener."""
    headers = [("X-Sesame", "open")]
    path = ADMIN.replace("{id}", "7")
    got = await ask(server, "GET", path, headers=headers, listener="admin")
    assert {"principal": "Ali", "listener": "admin", "path": {"id": "7"}} | got.json == got.json
    assert (403, "forbidden") == (await ask(server, "GET", path, listener="admin")).code
    wrong = await ask(server, "DELETE", path, headers=headers, listener="admin")
    assert ((405, "method_not_allowed"), "GET, HEAD, PUT") == (wrong.code, wrong.headers["allow"])


async def test_public_routes_on_the_admin_listener(server: Server) -> None:
    """An administrator logs in and checks the health by the same socket."""
    token = await login(server)
    for path in ("/health-check", "/auth/me", "/auth/session", "/gate/session"):
        got = await ask(server, "GET", path, headers=[token], listener="admin")
        assert (200, None) == got.code


async def test_limiter_is_asked(server: Server, slow: SlowPlugin) -> None:
    """Every route but the edge's asks, before its policy does, with the route and the address."""
    listeners: tuple[Listener, ...] = ("public", "admin")
    server.auth.feed.close()  # else its stream would go on
    for registered in server.app.routes:
        route, path = registered.route, registered.route.path.replace("{id}", "7")
        for listener in listeners:
            if route.listener in ("public", listener):
                await ask(server, route.method, path, client=("203.0.113.7", 1), listener=listener)
                assert [Attempt(route.path, "203.0.113.7")] == slow.attempts
                slow.attempts.clear()
    for edge in server.app.edge:
        await ask(server, edge.method, edge.path)
    await ask(server, "GET", "/nowhere")
    assert [] == slow.attempts


async def test_limiter_refuses(server: Server) -> None:
    """What the limiter refuses reaches neither policy nor handler; the edge goes on."""
    for registered in server.app.routes:
        if registered.route.listener == "public":
            path = registered.route.path.replace("{id}", "7")
            got = await ask(server, registered.route.method, path, client=("203.0.113.9", 1))
            assert ((429, "too_many_attempts"), "1") == (got.code, got.headers["retry-after"])
    token = await login(server)
    got = await ask(server, "GET", "/auth/session", headers=[token], client=("203.0.113.9", 1))
    assert (200, None) == got.code


async def test_limiter_of_a_login(server: Server, slow: SlowPlugin) -> None:
    """A login asks when it is entered, and again for the account and factor that are tried."""
    await server.login()
    hashed = server.auth.secrets.digests("typed", "ann")[0].hex()
    assert [
        Attempt("/auth/login", "127.0.0.1"),
        Attempt("/auth/login", "127.0.0.1", hashed, "password", Whose.named("ann")),
    ] == slow.attempts


async def test_request_of_a_handler(server: Server) -> None:
    """A handler gets path and query as they were meant; of a doubled name the first."""
    path = ADMIN.replace("{id}", "%C3%A9%20%3F")
    got = await ask(
        server, "GET", f"{path}?a=1&a=2&b=%C3%A9", headers=[("X-Sesame", "open")], listener="admin"
    )
    assert ({"id": "é ?"}, {"a": "1", "b": "é"}) == (got.json["path"], got.json["query"])


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("grant_type=code", {"grant_type": "code", "scope": None}),
        ("grant_type=a+b%26%C3%A9&scope=x%20y", {"grant_type": "a b&é", "scope": "x y"}),
        ("scope=&grant_type=code&", {"grant_type": "code", "scope": None}),
    ],
)
async def test_form(server: Server, body: str, expected: dict[str, str]) -> None:
    """A route for forms reads one; what has no value counts as left out (RFC 6749, 3.1)."""
    for content_type in (FORM, "Application/X-WWW-Form-Urlencoded; charset=utf-8"):
        headers = [typed(content_type)]
        got = await ask(server, "POST", "/gate/form", body.encode(), headers=headers)
        assert ((200, None), expected) == (got.code, got.json["body"])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"scope=x",
        b"grant_type=a&grant_type=a",
        b"grant_type=a&grant_type=b",
        b"grant_type=a&other=b",
        b"grant_type=%FF",
        b"grant_type=\xff",
        b"grant_type=%00",
        b"grant_type=%ED%A0%80",
        b"grant_type=a" + b"&scope=" * 101,
        b'{"grant_type": "a"}',
    ],
    ids=lambda body: body[:24],
)
async def test_bad_form(server: Server, body: bytes) -> None:
    """A form that is read apart, or has what the route does not take, is refused."""
    got = await ask(server, "POST", "/gate/form", body, headers=[typed(FORM)])
    assert (400, "invalid_body") == got.code


@pytest.mark.parametrize(
    ("path", "accepted"),
    [("form", FORM), ("json", "application/json"), ("text", "text/plain")],
)
@pytest.mark.parametrize(
    "sent", ["", "application/json", "text/plain", "multipart/form-data; boundary=x", FORM, "*/*"]
)
async def test_content_types(server: Server, path: str, accepted: str, sent: str) -> None:
    """A body of another type than the route declares is refused, with the types it takes (H-6)."""
    body = {FORM: b"grant_type=a", "application/json": b'{"grant_type": "a"}'}.get(accepted, b"a")
    got = await ask(server, "POST", f"/gate/{path}", body, headers=[typed(sent)])
    if sent == accepted:
        assert (200, None) == got.code
    else:
        assert ((415, "unsupported_media_type"), accepted) == (got.code, got.headers["accept"])


@pytest.mark.parametrize("path", ["form", "json", "text", "nothing"])
async def test_encoded_body(server: Server, path: str) -> None:
    """No route unpacks a body (H-6)."""
    accepted = {"form": FORM, "text": "text/plain"}.get(path, "application/json")
    headers = [typed(accepted), ("Content-Encoding", "identity")]
    got = await ask(server, "POST", f"/gate/{path}", b"grant_type=a", headers=headers)
    assert (415, "unsupported_media_type") == got.code


async def test_route_without_a_body(server: Server) -> None:
    """It takes nothing, whatever its type, or an empty object; its handler gets None."""
    empty = [[], [typed("application/json")], [typed(FORM)], [("Content-Encoding", "gzip")]]
    for headers in empty:
        got = await ask(server, "POST", "/gate/nothing", headers=headers)
        assert ((200, None), None) == (got.code, got.json["body"])
    json = [typed("application/json")]
    got = await ask(server, "POST", "/gate/nothing", b" {} ", headers=json)
    assert ((200, None), None) == (got.code, got.json["body"])
    for body, code in [
        (b"[]", "invalid_body"),
        (b'{"a": 1}', "invalid_body"),
        (b"x", "invalid_json"),
    ]:
        got = await ask(server, "POST", "/gate/nothing", body, headers=json)
        assert (400, code) == got.code
    got = await ask(server, "POST", "/gate/nothing", b"{}", headers=[typed(FORM)])
    assert (415, "unsupported_media_type") == got.code


JSON, TEXT = "application/json", "text/plain; version=1"
REPLIES: list[tuple[Reply, int, bytes, str | None]] = [
    (Reply({"a": 1}, 201), 201, b'{"a": 1}', JSON),
    (Reply([]), 200, b"[]", JSON),
    (Reply({}, headers={"Content-Type": "application/jwt"}), 200, b"{}", "application/jwt"),
    (Reply(b"a 1\n", headers={"Content-Type": TEXT}), 200, b"a 1\n", TEXT),
    (Reply(), 200, b"", None),
    (Reply(status=204), 204, b"", None),
    (Reply(status=302, headers={"Location": "/x"}), 302, b"", None),
]


async def test_replies(server: Server, gate: GatePlugin) -> None:
    """JSON, other bytes, or nothing: then there is no type, and with 204 no length either."""
    for reply, status, body, content_type in REPLIES:
        gate.reply = reply
        got = await ask(server, "GET", "/gate/reply")
        assert (status, body) == (got.status, got.body)
        assert content_type == got.headers.get("content-type")
        length = None if status == 204 else str(len(body))
        assert length == got.headers.get("content-length")
        assert reply.headers.get("Location") == got.headers.get("location")


async def test_headers_of_a_reply(server: Server, gate: GatePlugin) -> None:
    """A reply's own headers win over those of every answer."""
    gate.reply = Reply({}, headers={"Cache-Control": "public", "Referrer-Policy": "origin"})
    headers = (await ask(server, "GET", "/gate/reply")).headers
    assert ("public", "origin") == (headers["cache-control"], headers["referrer-policy"])
    assert "nosniff" == headers["x-content-type-options"]


def odd(*routes: Route) -> type[Plugin[NoSettings]]:
    class OddPlugin(Plugin[NoSettings]):
        @hookimpl
        def routes(self) -> Sequence[Route]:
            return routes

    return OddPlugin


async def handler(_: Request) -> Reply:
    return Reply()


@pytest.mark.parametrize(
    ("routes", "expected"),
    [
        (
            [Route(method="GET", path="/x", handler=handler, policy="sesame")],
            (
                "GET /x of plugin odd (picoauth-odd 0.1.0) has the policy 'sesame', which nothing guards: "
                "name one that exists, or list the plugin that has it."
            ),
        ),
        (
            [Route(method="DELETE", path="/auth/sessions/{x}", handler=handler, policy="public")],
            "DELETE /auth/sessions/{x} is a route of picoauth and of plugin odd (picoauth-odd 0.1.0): list one of them.",
        ),
        (
            [
                Route(method="GET", path=path, handler=handler, policy="public")
                for path in ("/x", "/x")
            ],
            "GET /x is a route of plugin odd (picoauth-odd 0.1.0) and of plugin odd (picoauth-odd 0.1.0): list one of them.",
        ),
    ],
    ids=["policy", "clash", "twice"],
)
async def test_routes_that_do_not_fit(
    tmp_path: Path, routes: Sequence[Route], expected: str
) -> None:
    """A route without a policy that somebody guards, or that is there already, stops the start."""
    with pytest.raises(ConfigError) as error:
        async with serving(
            tmp_path, 'plugins = ["password", "odd"]', plugins={"odd": odd(*routes)}
        ):
            pass
    assert expected == str(error.value)


async def test_no_way_to_log_in(tmp_path: Path) -> None:
    """A server where nobody could log in does not start."""
    with pytest.raises(ConfigError) as error:
        async with serving(tmp_path, 'plugins = ["odd"]', plugins={"odd": odd()}):
            pass
    expected = "plugins: none of those listed offers a way to log in: add one, such as password."
    assert expected == str(error.value)


async def test_every_route_has_a_policy_that_is_known(server: Server) -> None:
    """What is registered has the guard of its policy, and says whose it is."""
    app: Application = server.app
    owners = {registered.owner for registered in app.routes}
    assert {"picoauth", "password", "gate"} == owners
    assert all(callable(registered.guard) for registered in app.routes)
