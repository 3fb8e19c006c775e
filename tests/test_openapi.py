"""`/openapi.json`: valid, exactly what is on, and true of what the server answers."""

from __future__ import annotations

import os
import sys
from asyncio.subprocess import PIPE, STDOUT, create_subprocess_exec
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from openapi_spec_validator import validate

from picoauth import (
    ANYTHING,
    FORM,
    Administrator,
    EdgeReply,
    EdgeRequest,
    EdgeRoute,
    Guard,
    Login,
    NoSettings,
    Plugin,
    Problem,
    Reply,
    Request,
    Route,
    described,
    hookimpl,
    seen,
)
from picoauth.app import Application
from picoauth.auth import Auth
from picoauth.config import parse
from picoauth.discovery import installed
from picoauth.listeners import Bind
from picoauth.routes import Listener
from picoauth.testing import Server, offer, serving
from picoauth.testing.server import PASSWORD
from tests import wire
from tests.asgi import ask
from tests.description import Description
from tests.factors import EVERY, FIRST, PATIENT, PLUGINS

RULES = Path(__file__).parent / "schemathesis.toml"
PRINTED = Path(sys.executable).parent / "schemathesis"

CLOSED = Problem(403, "closed", "The shop is closed.")
LOST = Problem(400, "not_found", "This is not in the shop.")
AGAIN = Problem(400, "bad_request", "Say that again.")
ODD = Problem(400, "no/thing", "This has an odd code.")


@dataclass(frozen=True)
class Order:
    what: str = described("What is ordered.", least=1)
    pieces: int = described("How many.", default=1, least=1, most=9)


@dataclass(frozen=True)
class Ordered:
    """An order that was taken. It is not delivered yet."""

    number: int = described("Its number.", example=7)


class ShopPlugin(Plugin[NoSettings]):
    """Routes of every kind that the kernel has none of."""

    @hookimpl
    def guards(self) -> Mapping[str, Guard]:
        return {"member": self.member, "admin": self.administrator}

    async def member(self, _: Request) -> Any:
        return "somebody"

    async def administrator(self, _: Request) -> Any:
        return Administrator("socket")

    @hookimpl
    def routes(self) -> Sequence[Route]:
        return [
            self.route(
                "POST", "/shop/orders", body=Order, accepts=(FORM,), answer=Ordered, status=201
            ),
            self.route("PUT", "/shop/orders/{order}", policy="member", body=Order, answer=dict),
            self.route("GET", "/shop/orders/{number}", answer=Ordered, problems=(CLOSED,)),
            self.route("PURGE", "/shop/orders"),
            self.route("GET", "/shop-orders", answer=str, media="text/csv", status=299),
            self.route("POST", "/shop/note", body=str, accepts=("text/plain",), example="hello"),
            self.route("POST", "/shop/any", body=str, accepts=(ANYTHING,)),
            self.route("GET", "/shop/later", also=(503,)),
            self.route("GET", "/shop/lost", answer=dict, problems=(LOST, AGAIN, ODD)),
            self.route("DELETE", "/admin/shop", listener="admin", status=204),
            self.route("PATCH", "/admin/shop", "admin", listener="admin", status=204),
        ]

    def route(self, method: str, path: str, policy: str = "public", **more: Any) -> Route:
        return Route(method=method, path=path, handler=self.serve, policy=policy, **more)

    async def serve(self, _: Request) -> Reply:
        """Serve, e.g. over the counter. Never on Sundays."""
        return Reply()

    @hookimpl
    def edge(self) -> Sequence[EdgeRoute]:
        return [
            EdgeRoute(method="GET", path="/shop/open", handler=Counter(), query={"at": "When."})
        ]


class Counter:
    """A handler that is no function."""

    async def __call__(self, _: EdgeRequest) -> EdgeReply:
        return EdgeReply(b"")


class PickyPlugin(Plugin[NoSettings]):
    """Has a say in logins."""

    @hookimpl
    async def check_login(self, login: Login) -> Problem | None:
        return CLOSED if login.user.name == "bob" else None


KINDS = {**PLUGINS, "shop": ShopPlugin, "picky": PickyPlugin}
SETS = {
    "password": 'plugins = ["password"]',
    "factors": EVERY,
    "odd": 'plugins = ["picky", "pin", "shop", "password"]',
}
"""Settings by what is on."""
LISTENERS: Sequence[Listener] = ("public", "admin")


def application(folder: Path, settings: str) -> Application:
    found = [*installed(), *(offer(name, kind) for name, kind in KINDS.items())]
    return Application(Auth(parse(settings, folder), found=found))


@pytest.fixture(params=SETS)
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Application:
    """A server that is not running, with several sets of plugins."""
    return application(tmp_path, SETS[request.param])


@pytest.fixture
def shop(tmp_path: Path) -> Description:
    return Description(application(tmp_path, SETS["odd"]))


@pytest.mark.parametrize("listener", LISTENERS)
def test_document_is_valid(app: Application, listener: Listener) -> None:
    """It is OpenAPI 3.1, whatever is on."""
    document = Description(app, listener).document
    validate(document)
    assert "3.1.0" == document["openapi"]


@pytest.mark.parametrize("listener", LISTENERS)
def test_exactly_the_routes_that_are_on(app: Application, listener: Listener) -> None:
    """Each route of the listener is there once, under its owner, and no other."""
    behind = {(r.route.method, r.route.path): r for r in app.routes}
    expected = {
        *((route.method, route.path) for route in app.edge),
        *(key for key, r in behind.items() if r.route.listener in ("public", listener)),
    }
    description = Description(app, listener)
    found = [
        (m.removeprefix("X-"), path, operation) for m, path, operation in description.operations()
    ]
    keys = {
        (m, path.replace("{order}", "{number}" if m == "GET" else "{order}"))
        for m, path, _ in found
    }
    assert expected == keys
    assert len(found) == len(keys) == len({operation["operationId"] for _, _, operation in found})
    for method, path, operation in found:
        if (method, path) in behind:
            assert [behind[method, path].owner] == operation["tags"]
    names = {tag["name"] for tag in description.document["tags"]}
    assert {tag for _, _, operation in found for tag in operation["tags"]} == names
    assert ({("DELETE", "/admin/shop")} <= keys) is (listener == "admin" and "shop" in names)


def media_types(description: Description) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every content of every body and answer, with where it is."""
    for method, path, operation in description.operations():
        contents = [operation.get("requestBody", {}).get("content", {})]
        contents += [
            description.seen(r).get("content", {}) for r in operation["responses"].values()
        ]
        for content in contents:
            for media in content.values():
                yield f"{method} {path}", media


def test_examples_are_valid(app: Application) -> None:
    """Every example fits its schema, and every refusal has one for each of its codes."""
    description = Description(app)
    checked = 0
    for where, media in media_types(description):
        examples = [description.seen(one)["value"] for one in media.get("examples", {}).values()]
        for shown in [*examples, *([media["example"]] if "example" in media else [])]:
            description.check(shown, media["schema"])
            checked += 1
        schema = description.seen(media["schema"])
        if "allOf" in schema:
            codes = schema["allOf"][1]["properties"].get("code", {}).get("enum")
            assert codes in (None, sorted({shown["code"] for shown in examples})), where
    assert checked > 100


def test_wrong_example_is_noticed(tmp_path: Path) -> None:
    """The checks of this file are none that everything passes."""
    from jsonschema import ValidationError

    description = Description(application(tmp_path, SETS["password"]))
    answer = description.response(description.operation("POST", "/jwt/refresh"), 200)
    media = answer["content"]["application/json"]
    with pytest.raises(ValidationError, match="is a required property"):
        description.check({}, media["schema"])
    with pytest.raises(ValidationError, match="is not of type 'integer'"):
        description.check({**media["example"], "expires_in": "600"}, media["schema"])


# What it says of odd routes.


def body_of(description: Description, method: str, path: str) -> Any:
    return description.operation(method, path)["requestBody"]


def test_words(shop: Description) -> None:
    """The handler's first sentence is the summary, and the policy is told in words."""
    orders = shop.operation("POST", "/shop/orders")
    assert "Serve, e.g. over the counter." == orders["summary"]
    assert "Everybody may call this." == orders["description"]
    member = shop.operation("PUT", "/shop/orders/{order}")
    assert "The policy `member` says who may call this." == member["description"]
    edge = shop.operation("GET", "/shop/open")
    assert ("GET /shop/open", "") == (edge["summary"], edge["description"])
    session = shop.operation("GET", "/auth/session")
    assert "Who is logged in, by a bearer or a cookie." == session["summary"]
    assert "Needs a token, as bearer." == session["description"]
    refresh = shop.operation("POST", "/jwt/refresh")
    assert "Needs a token, as bearer or as the body." == refresh["description"]


def test_names_of_operations(shop: Description) -> None:
    """Made of method and path; what would be the same has a number."""
    names = [operation["operationId"] for _, _, operation in shop.operations()]
    assert {"post_shop_orders", "get_shop_orders_number", "purge_shop_orders"} <= {*names}
    assert {"get_well_known_jwks_json", "get_shop_orders", "post_shop_note"} <= {*names}


def test_parameters(shop: Description) -> None:
    """Those of the path have the names of the first route there; those of the query may be left out."""
    path = "/shop/orders/{order}"
    text = {"type": "string"}
    expected = {"name": "order", "in": "path", "required": True, "schema": text}
    for method in ("GET", "PUT"):
        assert [expected] == shop.operation(method, path)["parameters"]
    asked = {"name": "at", "in": "query", "description": "When.", "schema": text}
    assert [asked] == shop.operation("GET", "/shop/open")["parameters"]


def test_bodies(shop: Description) -> None:
    """By content type; one that is nothing, or a text of any type, may be left out."""
    order = {"schema": {"$ref": "#/components/schemas/tests.Order"}}
    assert {"content": {FORM: order}, "required": True} == body_of(shop, "POST", "/shop/orders")
    note = {"schema": {"type": "string"}, "example": "hello"}
    assert {"content": {"text/plain": note}, "required": True} == body_of(
        shop, "POST", "/shop/note"
    )
    text = {"content": {ANYTHING: {"schema": {"type": "string"}}}, "required": False}
    assert text == body_of(shop, "POST", "/shop/any")
    nothing = {"schema": {"$ref": "#/components/schemas/Nothing"}, "example": {}}
    expected = {"content": {"application/json": nothing}, "required": False}
    assert expected == body_of(shop, "POST", "/auth/logout")
    assert "requestBody" not in shop.operation("GET", "/auth/me")
    assert "requestBody" not in shop.operation("DELETE", "/auth/me")
    known = body_of(shop, "POST", "/auth/login")["content"]["application/json"]["schema"]
    assert {"$ref": "#/components/schemas/Step"} == known
    step = shop.document["components"]["schemas"]["Step"]
    assert (["factor", "flow", "session", "remember", "restore"], True) == (
        [*step["properties"]],
        step["additionalProperties"],
    )


def test_answers(shop: Description) -> None:
    """By status: a type with its example, a text of another type, any object, or nothing."""

    def answer(method: str, path: str, status: int) -> Any:
        return shop.response(shop.operation(method, path), status)

    number = {"schema": {"$ref": "#/components/schemas/tests.Ordered"}, "example": {"number": 7}}
    taken = {"description": "An order that was taken.", "content": {"application/json": number}}
    assert taken == answer("POST", "/shop/orders", 201)
    table = {"description": "Status 299", "content": {"text/csv": {"schema": {"type": "string"}}}}
    assert table == answer("GET", "/shop-orders", 299)
    thing = {"description": "OK", "content": {"application/json": {"schema": {"type": "object"}}}}
    assert thing == answer("PUT", "/shop/orders/{order}", 200)
    assert {"description": "OK"} == answer("POST", "/shop/note", 200)
    assert {"description": "No Content"} == answer("POST", "/auth/logout", 204)


def codes(description: Description, method: str, path: str) -> dict[str, Any]:
    """The codes of each status; None where plugins may have others."""
    found = {}
    responses = description.operation(method, path)["responses"]
    for status, response in responses.items():
        content = description.seen(response).get("content", {}).get("application/problem+json")
        if content is not None:
            schema = description.seen(content["schema"])
            special = schema.get("allOf", [{}, {}])[1].get("properties", {})
            found[status] = special.get("code", {}).get("enum")
    return found


ANY = {
    "400": ["ambiguous_token", "bad_request", "invalid_body", "invalid_host", "invalid_json"],
    "408": ["body_too_slow"],
    "413": ["body_too_large"],
    "414": ["url_too_long"],
    "415": ["unsupported_media_type"],
    "429": ["too_many_attempts"],
    "500": ["internal_error"],
    "503": ["unavailable"],
    "505": ["http_version"],
}
"""What any route may answer that is not of the edge and takes JSON."""
TOKEN = ["invalid_token", "session_ended", "token_expired", "token_missing"]


def test_refusals(shop: Description) -> None:
    """Those of the route, its policy, its body, its path and its method."""
    session = {**ANY, "401": TOKEN}
    assert session == codes(shop, "GET", "/auth/sessions")
    fresh = {**session, "403": ["cross_site", "stepup_needed"], "404": ["not_found"]}
    fresh["409"] = ["conflict"]
    assert fresh == codes(shop, "DELETE", "/auth/sessions/{id}")
    form = {**ANY, "400": [code for code in ANY["400"] if code != "invalid_json"]}
    assert {**form, "409": ["conflict"]} == codes(shop, "POST", "/shop/orders")
    text = {**ANY, "400": ["ambiguous_token", "bad_request", "invalid_host"]}
    assert {**text, "409": ["conflict"]} == codes(shop, "POST", "/shop/note")
    mine = {**ANY, "403": ["closed"], "404": ["not_found"]}
    assert mine == codes(shop, "GET", "/shop/orders/{order}")


def test_problems_of_one_code(shop: Description) -> None:
    """A plugin's problem may have the code of another: each has an example of its own."""
    expected = [
        "bad_request",
        "invalid_body",
        "invalid_host",
        "invalid_json",
        "no/thing",
        "not_found",
    ]
    assert ["ambiguous_token", *expected] == codes(shop, "GET", "/shop/lost")["400"]
    examples = shop.document["components"]["examples"]
    titles = {name: shown["value"].get("title") for name, shown in examples.items()}
    names = {"not_found", "not_found_2", "bad_request", "bad_request_2", "no_thing"}
    assert names <= titles.keys()
    assert {"There is nothing here.", LOST.title} == {titles["not_found"], titles["not_found_2"]}


def test_refusals_of_the_edge(shop: Description) -> None:
    """Nobody limits it, nor reads a body unless it says so."""
    everywhere = {"400": [*ANY["400"][:2], "invalid_host"], "414": ["url_too_long"]}
    everywhere |= {status: ANY[status] for status in ("500", "503", "505")}
    assert everywhere == codes(shop, "GET", "/shop/open")
    session = {**everywhere, "401": TOKEN, "415": ["unsupported_media_type"]}
    assert session == codes(shop, "GET", "/auth/session")
    reading = {status: ANY[status] for status in ("408", "413")}
    assert {**session, **reading} == codes(shop, "POST", "/jwt/validate")


def test_refusals_in_words_of_plugins(shop: Description, tmp_path: Path) -> None:
    """Where a plugin has a say, any code may come; without one, all are told."""
    open_ = codes(shop, "POST", "/auth/login")
    assert {"400", "401", "403", "default"} <= {
        status for status, some in open_.items() if some is None
    }
    assert {None} == set(codes(shop, "PUT", "/shop/orders/{order}").values())
    told = codes(Description(application(tmp_path, SETS["password"])), "POST", "/auth/login")
    assert None not in told.values()
    assert ["flow_ended", "invalid_credentials", "more_needed", "start_over"] == told["401"]
    assert {"password_too_long", "unknown_factor", "factor_out_of_place"} <= {*told["400"]}


def test_refusals_of_oauth(shop: Description) -> None:
    """They are OAuth's, but for those that come before any route is looked for."""
    operation = shop.operation("POST", "/oauth/introspect")
    both = shop.response(operation, 400)["content"]
    assert ["application/problem+json", "application/json"] == list(both)
    assert ["ambiguous_token", "bad_request", "invalid_host"] == (
        codes(shop, "POST", "/oauth/introspect")["400"]
    )
    own = shop.seen(both["application/json"]["schema"])["allOf"]
    assert [
        {"$ref": "#/components/schemas/OAuthError"},
        {"properties": {"code": {"enum": ["invalid_body"]}}},
    ] == own
    refused = shop.response(operation, 401)
    assert ["www-authenticate"] == list(refused["headers"])
    [shown] = refused["content"]["application/json"]["examples"].values()
    assert ("invalid_client", "invalid_client") == (
        shop.seen(shown)["value"]["error"],
        shop.seen(shown)["value"]["code"],
    )


def test_headers_of_refusals(shop: Description) -> None:
    """A refusal says how to log in, and when to try again."""
    operation = shop.operation("GET", "/auth/me")
    headers = {
        status: [*shop.response(operation, status).get("headers", {})]
        for status in (400, 401, 429, 503)
    }
    assert {
        400: [],
        401: ["www-authenticate"],
        429: ["retry-after"],
        503: ["retry-after"],
    } == headers


def test_status_of_an_answer_and_of_refusals(shop: Description) -> None:
    """503 of the health check is its answer, or a refusal."""
    response = shop.response(shop.operation("GET", "/health-check"), 503)
    assert ["application/json", "application/problem+json"] == list(response["content"])
    assert "headers" not in response
    response = shop.response(shop.operation("GET", "/shop/later"), 503)
    assert ["application/problem+json"] == list(response["content"])


def test_security(shop: Description) -> None:
    """A bearer where one is needed; or nothing, where the token may be the body."""

    def security(method: str, path: str) -> Any:
        return shop.operation(method, path)["security"]

    assert [{"bearer": []}, {"cookie": []}] == security("GET", "/auth/me")
    assert [{"bearer": []}] == security("GET", "/auth/session")
    assert [{"bearer": []}, {}] == security("POST", "/jwt/validate")
    assert [{"bearer": []}, {}] == security("POST", "/jwt/refresh")
    assert [] == security("POST", "/auth/login")
    assert [] == security("POST", "/shop/orders")
    assert [{"bearer": []}, {"basic": []}] == security("POST", "/oauth/introspect")
    assert [] == security("POST", "/oauth/revoke")
    assert {"bearer", "cookie", "basic"} == shop.document["components"]["securitySchemes"].keys()


def test_servers(app: Application) -> None:
    """The public URL is where the public routes are; administration is wherever it was asked."""
    servers = [Description(app, listener).document["servers"] for listener in LISTENERS]
    assert [[{"url": "http://127.0.0.1:8100"}], [{"url": "/"}]] == servers


def test_no_version_of_the_server(app: Application) -> None:
    """What runs is not told, but what is offered."""
    for name in ("picoauth", "picoauth-password"):
        assert f'"{name} ' not in app.description.on("public").decode()
    assert "1" == Description(app).document["info"]["version"]


async def test_made_once(server: Server) -> None:
    """Made once, kept, and cacheable; HEAD answers the same without the body."""
    assert {} == server.app.description.made
    first, second = await server.get("/openapi.json"), await server.get("/openapi.json")
    assert first.content == second.content == server.app.description.on("public")
    assert ("application/json", "public, max-age=300") == (
        first.headers["content-type"],
        first.headers["cache-control"],
    )
    assert ["public"] == list(server.app.description.made)
    head = await server.send("HEAD", "/openapi.json")
    assert (200, b"") == (head.status_code, head.content)


async def test_each_listener_has_its_own(tmp_path: Path) -> None:
    """Routes for administration are told by the listener that has them, and nowhere else (M-1)."""
    async with serving(tmp_path, SETS["odd"], plugins=KINDS) as server:
        public = await ask(server, "GET", "/openapi.json")
        admin = await ask(server, "GET", "/openapi.json", listener="admin")
    shop = admin.json["paths"]["/admin/shop"]
    assert ["delete", "patch"] == list(shop)
    assert [{"bearer": []}, {"cookie": []}, {}] == shop["patch"]["security"]
    assert {"401", "403"} <= shop["patch"]["responses"].keys()
    assert "Needs an admin key" in shop["patch"]["description"]
    assert b"/admin/" not in public.body


# What the server answers.


class Journey:
    """Asks a server, and holds each answer against what its operation says."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.description = Description(server.app)
        self.walked: set[tuple[str, str]] = set()
        self.token = ""

    async def ask(
        self, method: str, path: str, body: Any = None, *, of: str = "", **more: Any
    ) -> Any:
        """Send a request to the operation `of` this path; one that succeeds is walked."""
        mine = {} if "content" in more or not self.token else {"token": self.token}
        answer = await self.server.send(method, path, body, **{**mine, **more})
        of = of or path.partition("?")[0]
        headers = dict(answer.headers)
        self.description.check_answer(method, of, answer.status_code, headers, answer.content)
        found = answer.json() if "json" in headers.get("content-type", "") else {}
        if answer.is_success:
            self.walked.add((method, of))
            self.token = found.get("access_token", self.token)
        return found


@pytest.fixture
async def journey(tmp_path: Path) -> AsyncIterator[Journey]:
    settings = 'plugins = ["password", "code"]' + PATIENT
    async with serving(tmp_path, settings, plugins=PLUGINS) as server:
        yield Journey(server)


async def test_every_answer_is_as_described(journey: Journey) -> None:
    """A user does all that there is to do, and every route answers what it says."""
    ask = journey.ask
    for path in (
        "/health-check",
        "/health-check?check=ready",
        "/.well-known/jwks.json",
        "/.well-known/picoauth/revocations",
        "/openapi.json",
    ):
        await ask("GET", path)
    await ask(
        "POST", "/auth/register", {**FIRST, "email": "ann@example.com", "display_name": "Ann"}
    )
    flow = (await ask("POST", "/auth/login/begin", FIRST))["flow"]
    tokens = await ask("POST", "/auth/login", {**FIRST, "flow": flow})
    tokens = await ask("POST", "/jwt/refresh", content=tokens["refresh_token"])
    await ask("POST", "/jwt/validate", content=tokens["access_token"])
    for path in ("/auth/session", "/auth/me", "/auth/me/export", "/auth/sessions", "/auth/factors"):
        await ask("GET", path)
    await ask("POST", "/auth/session/refresh")
    await ask("DELETE", "/auth/sessions")
    await ask("PATCH", "/auth/me", {"locale": "en"})
    await ask("PUT", "/auth/me", {"username": "anna", "name": "Anna"})
    await ask("POST", "/code/enrol", {"code": "123456"})
    enrolled = {f["factor"]: f["id"] for f in (await ask("GET", "/auth/factors"))["factors"]}
    factor, one = f"/auth/factors/{enrolled['code']}", "/auth/factors/{id}"
    await ask("PATCH", factor, {"label": "Box"}, of=one)
    flow = (await ask("POST", "/auth/stepup/begin", {"factor": "code"}))["flow"]
    await ask("POST", "/auth/stepup", {"factor": "code", "code": "123456", "flow": flow})
    await ask("DELETE", factor, of=one)
    await ask("PUT", "/auth/password", {"password": "another horse battery staple"})
    login = {"username": "anna", "password": "another horse battery staple"}
    session = (await ask("GET", "/auth/sessions"))["sessions"][0]["id"]
    await ask("DELETE", f"/auth/sessions/{session}", of="/auth/sessions/{id}")
    look, writing = seen.ticket(journey.server.auth)
    await journey.server.auth.database.write(writing)
    await ask("POST", seen.PATH, {"ticket": look})
    await ask("POST", "/auth/login", login)
    key, form = await journey.server.auth.resource_servers.add("api"), {"token": journey.token}
    assert (await ask("POST", "/oauth/introspect", token=key, data=form))["active"] is True
    await ask("POST", "/oauth/revoke", data=form)
    assert "session_ended" == (await ask("GET", "/auth/me"))["code"]
    for method, path in [
        ("POST", "/auth/logout"),
        ("POST", "/auth/logout_from_all"),
        ("DELETE", "/auth/me"),
    ]:
        await ask("POST", "/auth/login", login)
        await ask(method, path)
        assert "session_ended" == (await ask("GET", "/auth/me"))["code"]
    there = {(method, path) for method, path, _ in journey.description.operations()}
    assert there - journey.walked == {
        ("GET", "/.well-known/picoauth/revocations/stream")
    }  # never ends


async def test_refusals_are_as_described(journey: Journey) -> None:
    """What a login is refused with has the members that its example shows."""
    assert "token_missing" == (await journey.ask("GET", "/auth/me"))["code"]
    await journey.ask("POST", "/auth/register", FIRST)
    assert "username_taken" == (await journey.ask("POST", "/auth/register", FIRST))["code"]
    wrong = await journey.ask("POST", "/auth/register", {"username": 3})
    assert [
        {"member": "username", "message": "must be a text"},
        {"member": "password", "message": "is missing"},
    ] == wrong["errors"]
    await journey.ask("POST", "/auth/login", FIRST)
    await journey.ask("POST", "/code/enrol", {"code": "123456"})
    more = await journey.ask("POST", "/auth/login", FIRST)
    assert ("more_needed", ["code"]) == (more["code"], more["next"])
    refused = {"factor": "code", "code": "1", "flow": more["flow"]}
    assert "proof_refused" == (await journey.ask("POST", "/auth/login", refused))["code"]
    assert "flow_ended" == (await journey.ask("POST", "/auth/login", refused))["code"]
    assert "not_found" == (await journey.ask("GET", "/health-check?check=none"))["code"]


# schemathesis, which asks as nobody and as a user.

ENDING = [
    "delete_auth_me",
    "delete_auth_sessions_id",
    "post_auth_logout",
    "post_auth_logout_from_all",
]
"""Operations that end the session which they are asked with: each is asked with another user's."""


async def bearer(client: httpx.AsyncClient, username: str) -> str:
    """The token of a user who was just made."""
    body = {"username": username, "password": PASSWORD}
    assert 201 == (await client.post("/auth/register", json=body)).status_code
    found = (await client.post("/auth/login", json=body)).json()["access_token"]
    return f"Bearer {found}"


async def rules(app: Application, url: str) -> str:
    """Who asks what: Ann everything, but for what ends sessions, or is for resource servers."""
    async with httpx.AsyncClient(base_url=url) as client:
        others = {name: await bearer(client, name) for name in ENDING}
        others["post_oauth_introspect"] = f"Bearer {await app.auth.resource_servers.add('api')}"
        ann = await bearer(client, "ann")
    found = [
        f'[[operations]]\ninclude-operation-id = "{name}"\nheaders.Authorization = "{header}"\n'
        for name, header in others.items()
    ]
    return "\n".join([*found, f'[headers]\nAuthorization = "{ann}"\n'])


async def schemathesis(
    folder: Path, url: str, more: str, *arguments: str
) -> tuple[int | None, str]:
    """Run the command; answers its exit code, and all that it said."""
    settings = folder / "schemathesis.toml"
    settings.write_text(f"{RULES.read_text(encoding='utf-8')}\n{more}", encoding="utf-8")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("COV")}
    process = await create_subprocess_exec(
        *(str(PRINTED), "--config-file", str(settings), "run", f"{url}/openapi.json"),
        *("--url", url, *arguments),
        cwd=folder,
        env=environment,
        stdout=PIPE,
        stderr=STDOUT,
    )
    said, _ = await process.communicate()
    return process.returncode, said.decode()


@pytest.mark.parametrize(
    ("who", "arguments"),
    [("nobody", ["--phases", "examples,coverage"]), ("user", ["--warnings", "missing_auth"])],
)
async def test_schemathesis(tmp_path: Path, who: str, arguments: Sequence[str]) -> None:
    """Whatever it makes of the description, the server answers as described, and lets a user in."""
    app = application(tmp_path, EVERY)
    async with wire.serving(app, Bind(public=["tcp:127.0.0.1:0"])) as [url]:
        more = await rules(app, url) if who == "user" else ""
        code, said = await schemathesis(tmp_path, url, more, *arguments)
    assert "WARNINGS" not in said
    assert 0 == code, said
    operations = len([*Description(app).operations()])
    # It leaves out where the description is, and its rules a stream that never ends.
    assert f"Tested: {operations - 2}\n" in said
