"""Pages of other origins: off by default, and listed one by one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import ClassVar

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from picoauth import NoSettings, Plugin, Reply, Request, Route, hookimpl
from picoauth.testing import Server, serving
from tests.asgi import EXAMPLES, Answer, ask

pytestmark = pytest.mark.asyncio(loop_scope="module")

APP = "https://app.example"
LOCAL = "http://localhost:5173"
SETTINGS = f'plugins = ["password", "varied"]\ncors_origins = ["{APP}", "{LOCAL}"]'
CREDENTIALS = "access-control-allow-credentials"
ORIGIN = "access-control-allow-origin"
STRANGERS = [
    "null",
    "*",
    "",
    "https://evil.example",
    "http://app.example",
    "https://app.example:443",
    "https://app.example.evil.example",
    "https://evil.app.example",
    "https://APP.example",
    "https://app.example/",
    "https://app.example, https://evil.example",
]
PATHS = [
    ("POST", "/jwt/validate"),
    ("POST", "/auth/login"),
    ("GET", "/auth/me"),
    ("GET", "/health-check"),
    ("GET", "/nowhere"),
]


class VariedPlugin(Plugin[NoSettings]):
    """Answers differently by language."""

    vary: ClassVar[str] = "Accept-Language"

    @hookimpl
    def routes(self) -> list[Route]:
        return [Route(method="GET", path="/varied", handler=self.varied, policy="public")]

    async def varied(self, _: Request) -> Reply:
        return Reply({}, headers={"Vary": self.vary})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """A server that two origins may call."""
    folder = tmp_path_factory.mktemp("cors")
    async with serving(folder, SETTINGS, plugins={"varied": VariedPlugin}) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def closed(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """A server as it is by default."""
    async with serving(tmp_path_factory.mktemp("closed")) as running:
        yield running


async def preflight(server: Server, path: str, origin: str) -> Answer:
    headers = [("Origin", origin), ("Access-Control-Request-Method", "POST")]
    return await ask(server, "OPTIONS", path, headers=headers)


def allowed(answer: Answer) -> set[str]:
    return {name for name in answer.headers if name.startswith("access-control")}


@pytest.mark.parametrize(("method", "path"), PATHS)
async def test_off_by_default(closed: Server, method: str, path: str) -> None:
    """Without origins in the settings nobody is allowed anything, and nothing varies."""
    for origin in (APP, "null", "http://localhost"):
        got = await ask(closed, method, path, headers=[("Origin", origin)])
        asked = await preflight(closed, path, origin)
        assert (set(), set()) == (allowed(got), allowed(asked))
        assert ("vary" in got.headers, asked.status >= 400) == (False, True)


@pytest.mark.parametrize("origin", [APP, LOCAL])
@pytest.mark.parametrize(("method", "path"), PATHS)
async def test_listed_origins(server: Server, method: str, path: str, origin: str) -> None:
    """A listed origin may read every answer, refusals too, and send credentials."""
    got = await ask(server, method, path, headers=[("Origin", origin)])
    assert (origin, "true") == (got.headers[ORIGIN], got.headers[CREDENTIALS])
    assert "origin" == got.headers["vary"]


@pytest.mark.parametrize("origin", [APP, LOCAL])
@pytest.mark.parametrize(("method", "path"), PATHS)
async def test_preflight(server: Server, method: str, path: str, origin: str) -> None:
    """A browser that asks first is told what it may send; no route is reached."""
    got = await preflight(server, path, origin)
    assert ((204, None), b"") == (got.code, got.body)
    assert (origin, "true") == (got.headers[ORIGIN], got.headers[CREDENTIALS])
    methods = got.headers["access-control-allow-methods"].split(", ")
    assert method in methods
    assert "authorization, content-type" == got.headers["access-control-allow-headers"]
    assert ("600", "origin") == (got.headers["access-control-max-age"], got.headers["vary"])
    assert "content-length" not in got.headers


@pytest.mark.parametrize("origin", STRANGERS)
@pytest.mark.parametrize(("method", "path"), PATHS)
async def test_other_origins(server: Server, method: str, path: str, origin: str) -> None:
    """Any other spelling, `null` above all, is allowed nothing; caches still learn what varies."""
    got = await ask(server, method, path, headers=[("Origin", origin)])
    asked = await preflight(server, path, origin)
    assert (set(), set()) == (allowed(got), allowed(asked))
    assert ("origin", "origin") == (got.headers["vary"], asked.headers["vary"])
    assert asked.status in (404, 405)


@EXAMPLES
@given(origin=st.text(st.characters(max_codepoint=255)))
async def test_no_origin_is_reflected(server: Server, origin: str) -> None:
    """What the answer allows is one of the listed origins, whatever the request says."""
    got = await ask(server, "GET", "/health-check", headers=[("Origin", origin)])
    assert (origin if origin in (APP, LOCAL) else None) == got.headers.get(ORIGIN)


async def test_without_an_origin(server: Server) -> None:
    """A request that no page made gets an answer that caches keep apart."""
    got = await ask(server, "GET", "/health-check")
    assert (set(), "origin") == (allowed(got), got.headers["vary"])


async def test_options_that_ask_nothing(server: Server) -> None:
    """OPTIONS without a question is a method that no route has."""
    got = await ask(server, "OPTIONS", "/auth/login", headers=[("Origin", APP)])
    assert ((405, "method_not_allowed"), APP) == (got.code, got.headers[ORIGIN])


async def test_route_that_varies_by_itself(server: Server) -> None:
    """A route's own `Vary` stands beside that of the origin."""
    got = await ask(server, "GET", "/varied", headers=[("Origin", APP)])
    assert ["Accept-Language", "origin"] == [v for name, v in got.lines if name == "vary"]
