"""The examples: whole applications of four frameworks, in front of a real server; and the docs that cut from them."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import django.conf
import httpx
import pytest
from django.utils.functional import empty

from picoauth_verify import AsgiMiddleware, Verifier
from picoauth_verify.verifier import VERIFIERS
from tests.interop import under_uvicorn
from tests.processes import free_port
from tests.verifying import Real
from tests.wire import SOON, client, short_folder

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples" / "verify"
NAMES = ("fastapi", "flask", "quart", "django")
ISSUER = "http://127.0.0.1:8100"
"""What the examples say, since `make serve` listens there."""


@pytest.fixture(scope="module")
def real() -> Iterator[Real]:
    with short_folder() as folder:
        running = Real(folder, free_port())
        running.start()
        try:
            yield running
        finally:
            running.stop()


def source(name: str) -> str:
    return (EXAMPLES / f"{name}_app.py").read_text(encoding="utf-8")


def loaded(name: str, issuer: str) -> ModuleType:
    """An example as it is written, but for the address of the server."""
    text = source(name)
    assert ISSUER in text
    module = ModuleType(f"{name}_app")
    sys.modules[module.__name__] = module
    exec(text.replace(ISSUER, issuer), vars(module))  # noqa: S102 - our own file
    return module


def transport(name: str, module: ModuleType) -> Any:
    if name in ("fastapi", "quart"):
        return httpx.ASGITransport(app=module.app)
    app: Any = module.application if name == "django" else module.app
    return Threaded(httpx.WSGITransport(app=app))


class Threaded(httpx.AsyncBaseTransport):
    """Runs a WSGI application in threads, as its servers do."""

    def __init__(self, inner: httpx.WSGITransport) -> None:
        self.inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        def ask() -> httpx.Response:
            answer = self.inner.handle_request(
                httpx.Request(request.method, request.url, headers=request.headers, content=b"")
            )
            answer.read()
            return httpx.Response(
                answer.status_code, headers=answer.headers, content=answer.content
            )

        return await asyncio.to_thread(ask)


@pytest.mark.parametrize("name", NAMES)
async def test_example(real: Real, name: str) -> None:
    """Each application greets who has a token, and nobody else."""
    token = await asyncio.to_thread(real.token)
    django.conf.settings._wrapped = empty  # other tests of this process have settings of theirs
    module = loaded(name, real.issuer)
    async with httpx.AsyncClient(
        transport=transport(name, module), base_url="http://localhost"
    ) as http:
        answer = await http.get("/", headers={"Authorization": f"Bearer {token}"})
        assert (200, {"hello": "ann"}) == (answer.status_code, answer.json())
        for headers, code in (
            ({}, "token_missing"),
            ({"Authorization": "Bearer x"}, "invalid_token"),
        ):
            answer = await http.get("/", headers=headers)
            assert (401, code) == (answer.status_code, answer.json()["code"])
            assert answer.headers["www-authenticate"].startswith("Bearer")
    for verifier in list(VERIFIERS):
        await asyncio.to_thread(verifier.close)


async def accepting(_: Any, receive: Any, send: Any) -> None:
    """Opens each web socket, and closes it."""
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.close"})


async def test_web_socket_under_a_server(real: Real) -> None:
    """A web socket on a real connection opens by a token alone, and else is answered 401."""
    token = await asyncio.to_thread(real.token)
    verifier = Verifier(real.issuer, url=real.unix)
    head = (
        "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    )
    async with under_uvicorn(AsgiMiddleware(accepting, verifier), "off") as address:
        for more, expected in ((f"Authorization: Bearer {token}\r\n", b"101"), ("", b"401")):
            async with client(address) as one:
                await one.tell(f"{head}{more}\r\n".encode())
                async with asyncio.timeout(SOON):
                    line = await one.reader.readline()
                assert expected == line.split()[1]
    await asyncio.to_thread(verifier.close)


PAGES = [ROOT / "docs" / "verify.md", ROOT / "plugins" / "picoauth-verify" / "README.md"]


def shown(page: Path) -> list[str]:
    """The pieces of Python of a page."""
    found = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert found
    return found


def test_pages_show_the_examples() -> None:
    """The two lines of each framework on the pages are, to the letter, lines of its example."""
    examples = {name: source(name).splitlines() for name in NAMES}
    blocks = [[line for line in b.splitlines() if line] for page in PAGES for b in shown(page)]
    wraps = [block for block in blocks if "Middleware" in block[0]]
    assert 5 == len(wraps)
    for block in wraps:
        assert 2 == len(block)
        assert any(set(block) <= set(lines) for lines in examples.values()), block


def test_check_of_the_pages(real: Real) -> None:
    """The lines of the README check a token."""
    [block] = [block for block in shown(PAGES[1]) if "verifier.check(token)" in block]
    block = block.replace("https://auth.example.com", real.issuer)
    block = block.replace("unix:/run/picoauth/picoauth.sock", real.unix)
    names: dict[str, Any] = {"Verifier": Verifier, "token": real.token()}
    exec(block, names)  # noqa: S102 - our own page
    assert "ann" == names["access"].username
    names["verifier"].close()
