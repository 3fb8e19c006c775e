"""The edge: tokens in the header or as the body, checked before Quart is reached."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from picoauth import (
    ConfigError,
    EdgeReply,
    EdgeRequest,
    EdgeRoute,
    NoSettings,
    Plugin,
    hookimpl,
)
from picoauth.testing import Server, serving
from tests.asgi import EXAMPLES, Answer, Lines, Message, ask, bearer, typed

pytestmark = pytest.mark.asyncio(loop_scope="module")

TYPES = ["application/x-www-form-urlencoded", "text/plain", "application/json", "odd", ""]
TOKEN_ROUTES = ["/jwt/validate", "/jwt/refresh"]
"""Routes that take a token in the header, or as the body."""
BODIES = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n"))
"""Of a header every server sees to it that it is one line."""


class EchoPlugin(Plugin[NoSettings]):
    """Answers at the edge what it was asked."""

    @hookimpl
    def edge(self) -> list[EdgeRoute]:
        return [
            EdgeRoute(method="GET", path="/echo", handler=self.read),
            EdgeRoute(method="POST", path="/echo", handler=self.write),
        ]

    async def read(self, request: EdgeRequest) -> EdgeReply:
        found = [request.query, request.headers[b"x-odd"]]
        return EdgeReply(
            b" ".join(found), 203, [(b"x-more", b"yes"), (b"cache-control", b"private")]
        )

    async def write(self, request: EdgeRequest) -> EdgeReply:
        return EdgeReply(await request.read(10))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """A server where Ann is registered."""
    settings, plugins = 'plugins = ["password", "echo"]', {"echo": EchoPlugin}
    async with serving(tmp_path_factory.mktemp("edge"), settings, plugins=plugins) as running:
        await running.register()
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tokens(server: Server) -> dict[str, str]:
    """Ann's token for each route, which answers it as often as it is asked."""
    found = await server.login()
    return {"/jwt/validate": found["access_token"], "/jwt/refresh": found["refresh_token"]}


async def unused(_: EdgeRequest) -> EdgeReply:
    return EdgeReply(b"")


async def unread() -> Message:
    raise AssertionError("nobody was to look at the body")


async def post(server: Server, path: str, body: str | None = None, headers: Lines = ()) -> Answer:
    if body is None:
        return await ask(server, "POST", path, headers=headers)
    content = body.encode("latin-1")
    length = ("Content-Length", str(len(content)))
    return await ask(server, "POST", path, content, headers=[*headers, length])


async def test_claims_of_the_bearer(server: Server, tokens: dict[str, str]) -> None:
    """Both routes answer the claims of a valid access token; the body is not waited for."""
    for method, path in [("POST", "/jwt/validate"), ("GET", "/auth/session")]:
        headers = [bearer(tokens["/jwt/validate"]), ("Content-Length", "0")]
        got = await ask(server, method, path, headers=headers, receive=unread)
        assert ((200, None), "application/json") == (got.code, got.headers["content-type"])
        assert "ann" == got.json["preferred_username"]


@pytest.mark.parametrize("path", TOKEN_ROUTES)
@pytest.mark.parametrize("content_type", [None, *TYPES])
async def test_token_as_the_body(
    server: Server, tokens: dict[str, str], path: str, content_type: str | None
) -> None:
    """The token is the body, whatever `curl -d` calls it, with or without a line end."""
    headers = [] if content_type is None else [typed(content_type)]
    for body in (tokens[path], f" {tokens[path]}\r\n"):
        assert (200, None) == (await post(server, path, body, headers)).code


async def test_body_in_chunks(server: Server, tokens: dict[str, str]) -> None:
    """A body without a length is read to its end."""
    token = tokens["/jwt/validate"].encode()
    headers = [("Transfer-Encoding", "chunked")]
    got = await ask(server, "POST", "/jwt/validate", token[:9], b"", token[9:], headers=headers)
    assert (200, None) == got.code


@pytest.mark.parametrize("path", TOKEN_ROUTES)
async def test_token_in_both_places(server: Server, tokens: dict[str, str], path: str) -> None:
    """The same token in header and body is one token; two different ones are refused (K-15)."""
    token = tokens[path]
    assert (200, None) == (await post(server, path, token, [bearer(token)])).code
    for header, body in [(token, "other"), ("other", token), (token, token + "x"), ("a", "b")]:
        got = await post(server, path, body, [bearer(header)])
        assert (400, "ambiguous_token") == got.code


@pytest.mark.parametrize("path", TOKEN_ROUTES)
async def test_no_token(server: Server, tokens: dict[str, str], path: str) -> None:
    """Without a token, or with a header that is none, the answer asks for one."""
    for headers in (
        [],
        *([("Authorization", v)] for v in ("", "Bearer", "Bearer  ", "Basic YTpi")),
    ):
        got = await post(server, path, None, headers)
        assert ((401, "token_missing"), "Bearer") == (got.code, got.headers["www-authenticate"])
    assert (401, "token_missing") == (await post(server, path, " \n")).code
    wrong = await post(server, path, tokens[path], [("Authorization", "Basic YTpi")])
    assert (401, "token_missing") == wrong.code


@pytest.mark.parametrize("name", ["access_token", "token", "refresh_token", "authorization"])
async def test_token_in_the_query(server: Server, tokens: dict[str, str], name: str) -> None:
    """A token in the address, which ends in logs, is never looked at (K-15)."""
    for path in TOKEN_ROUTES:
        target = f"{path}?{name}={tokens[path]}"
        assert (401, "token_missing") == (await post(server, target)).code
        assert (200, None) == (await post(server, target + "x", tokens[path])).code
    for path in ("/auth/session", "/auth/me"):
        got = await ask(server, "GET", f"{path}?{name}={tokens['/jwt/validate']}")
        assert (401, "token_missing") == got.code


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer "])
async def test_spelling_of_the_scheme(server: Server, tokens: dict[str, str], scheme: str) -> None:
    """The scheme has no case (RFC 9110, section 11.1)."""
    headers = [("Authorization", f"{scheme} {tokens['/jwt/validate']}")]
    assert (200, None) == (await post(server, "/jwt/validate", None, headers)).code


@pytest.mark.parametrize("path", TOKEN_ROUTES)
@pytest.mark.parametrize(
    "body",
    ["x", "a.b.c", "a.b.c.d.e", '{"token": "x"}', "[]", "null", "token=x", "\xff\x00", "x" * 4097],
    ids=lambda body: body[:20],
)
async def test_body_that_is_no_token(server: Server, path: str, body: str) -> None:
    """Whatever else the body is, it is no valid token."""
    got = await post(server, path, body)
    assert (401, "invalid_token") == got.code
    assert 'Bearer error="invalid_token"' == got.headers["www-authenticate"]


async def test_longest_body(server: Server) -> None:
    """The edge reads twice the length of a token, for the spaces around it, and no more."""
    assert (401, "invalid_token") == (await post(server, "/jwt/validate", "x" * 8192)).code
    assert (413, "body_too_large") == (await post(server, "/jwt/validate", "x" * 8193)).code


@EXAMPLES
@given(body=BODIES, in_header=st.booleans())
async def test_any_token(server: Server, body: str, *, in_header: bool) -> None:
    """Whatever comes as a token is answered by 401."""
    headers = [("Authorization", f"Bearer {body}")] if in_header else []
    for path in TOKEN_ROUTES:
        got = await post(server, path, None if in_header else body, headers)
        assert got.code in [(401, "token_missing"), (401, "invalid_token")]


@pytest.mark.parametrize("path", TOKEN_ROUTES)
async def test_encoded_body(server: Server, tokens: dict[str, str], path: str) -> None:
    """A compressed body is not unpacked (H-6)."""
    headers = [("Content-Encoding", "gzip")]
    got = await post(server, path, tokens[path], headers)
    assert (415, "unsupported_media_type") == got.code


@pytest.mark.parametrize(
    "header", [("Content-Length", "2"), ("Transfer-Encoding", "chunked")], ids=str
)
async def test_body_where_none_belongs(
    server: Server, tokens: dict[str, str], header: tuple[str, str]
) -> None:
    """`GET /auth/session` takes no body, and does not wait for one."""
    headers = [bearer(tokens["/jwt/validate"]), header]
    got = await ask(server, "GET", "/auth/session", b"{}", headers=headers, receive=unread)
    assert (415, "unsupported_media_type") == got.code


async def test_edge_of_a_plugin(server: Server) -> None:
    """A plugin's edge route gets query, headers and body, and says what it answers."""
    got = await ask(server, "GET", "/echo?a=1&b", headers=[("X-Odd", "\xe9")])
    assert (203, b"a=1&b \xe9") == (got.status, got.body)
    assert ("yes", "private") == (got.headers["x-more"], got.headers["cache-control"])
    assert ("nosniff", "7") == (
        got.headers["x-content-type-options"],
        got.headers["content-length"],
    )
    written = await ask(server, "POST", "/echo", b"01234", b"56789")
    assert ((200, None), b"0123456789") == (written.code, written.body)
    assert (413, "body_too_large") == (await ask(server, "POST", "/echo", b"x" * 11)).code
    refused = await ask(server, "DELETE", "/echo")
    assert ((405, "method_not_allowed"), "GET, HEAD, POST") == (
        refused.code,
        refused.headers["allow"],
    )


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        (
            EdgeRoute(method="GET", path="/u/{name}", handler=unused),
            "GET /u/{name} of plugin odd (picoauth-odd 0.1.0) has a parameter, which no route of the edge can: make it a Route.",
        ),
        (
            EdgeRoute(method="GET", path="/auth/me", handler=unused),
            "GET /auth/me is a route of plugin odd (picoauth-odd 0.1.0) and of picoauth: list one of them.",
        ),
        (
            EdgeRoute(method="POST", path="/jwt/validate", handler=unused),
            "POST /jwt/validate is a route of picoauth and of plugin odd (picoauth-odd 0.1.0): list one of them.",
        ),
    ],
    ids=["parameter", "route", "edge"],
)
async def test_edge_that_does_not_fit(tmp_path: Path, route: EdgeRoute, expected: str) -> None:
    """An edge route has a path of its own, without parameters, or the server does not start."""

    class OddPlugin(Plugin[NoSettings]):
        @hookimpl
        def edge(self) -> list[EdgeRoute]:
            return [route]

    with pytest.raises(ConfigError) as error:
        async with serving(tmp_path, 'plugins = ["password", "odd"]', plugins={"odd": OddPlugin}):
            pass
    assert expected == str(error.value)
