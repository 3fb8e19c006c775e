"""Real proxies, with the configurations that are shipped, before a page that they protect."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from picoauth import Application, Auth, Caller, Statement, parse
from picoauth.listeners import Bind
from picoauth.testing import Clock, Server
from tests.factors import PIN, PLUGINS, join
from tests.plugs import offers
from tests.wire import SOON, serving, short_folder

EXAMPLES = Path(__file__).parent.parent / "examples"
AUTH, WIKI, MEDIA = "https://auth.example.com", "https://wiki.example.com", "https://media.example.org"
HOSTS = [urlsplit(url).netloc for url in (AUTH, WIKI, MEDIA)]
PAGE = {"Accept": "text/html,application/xhtml+xml", "Sec-Fetch-Mode": "navigate"}
SETTINGS = """
plugins = ["pin", "code", "forward-auth"]
public_url = "https://auth.example.com"
trusted_proxies = ["unix", "127.0.0.1"]

[forward-auth]
hosts = ["wiki.example.com", "*.example.org"]
login_url = "https://auth.example.com/login/"
"""


def certificate(folder: Path) -> None:
    """A certificate that nobody else trusts, for the hosts of the examples."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "example")])
    now = datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.DNSName(host) for host in HOSTS])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(made.public_bytes(pem))
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(pem, *plain))


@dataclass
class Application_:
    """The protected page: answers what it was asked, and echoes what comes by a WebSocket."""

    asked: list[str]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self.answer(reader, writer)
        finally:
            writer.close()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("utf-8")
        first, *lines = head.rstrip().split("\r\n")
        headers = [[name, value.strip()] for name, value in (line.split(":", 1) for line in lines)]
        self.asked.append(first)
        names = {name.lower(): value for name, value in headers}
        if names.get("upgrade") == "websocket":
            writer.write(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
            )
            writer.write(await reader.readexactly(5))
            return
        body = await reader.readexactly(int(names.get("content-length", 0)))
        shown = json.dumps({"first": first, "headers": headers, "body": body.decode()}).encode()
        start = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/json\r\n"
        writer.write(start + b"Content-Length: %d\r\n\r\n" % len(shown) + shown)
        await writer.drain()


class Through(httpx.AsyncHTTPTransport):
    """Finds every host at one port of this machine."""

    def __init__(self, port: int) -> None:
        super().__init__(verify=False)
        self.port = port

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        here = httpx.Request(
            request.method,
            request.url.copy_with(host="127.0.0.1", port=self.port),
            headers=request.headers.raw,
            stream=request.stream,
            extensions={**request.extensions, "sni_hostname": request.url.host},
        )
        return await super().handle_async_request(here)


@dataclass
class World:
    """A proxy before picoauth and before an application."""

    port: int
    server: Server
    app: Application_

    def browser(self, **headers: str) -> httpx.AsyncClient:
        """One that follows redirects and keeps cookies, as they do."""
        return httpx.AsyncClient(
            transport=Through(self.port), headers={**PAGE, **headers}, follow_redirects=True
        )


async def login(browser: httpx.AsyncClient, url: str, **more: Any) -> httpx.Response:
    """Open a page, log in where that leads to, and come back."""
    page = await browser.get(url)
    assert f"{AUTH}/login/" == str(page.url).partition("?")[0], page.text
    body = {**PIN, "session": "cookie", **more}
    answer = await browser.post(f"{AUTH}/auth/login", json=body, headers={"Origin": AUTH})
    assert 200 == answer.status_code, answer.text
    return await browser.get(f"{AUTH}/forward-auth/hop?{page.url.query.decode()}")


def told(answer: httpx.Response) -> dict[str, str]:
    """What the application was told of the user."""
    assert 200 == answer.status_code, answer.text
    headers = answer.json()["headers"]
    return {name.lower(): value for name, value in headers if "auth" in name.lower() and value}


def program(name: str) -> str:
    """A program that has to be there where tests are run for good."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None and "CI" not in os.environ:
        pytest.skip(f"{name} is not installed")
    assert found is not None
    return found


@asynccontextmanager
async def running(command: Sequence[str], folder: Path, port: int) -> AsyncIterator[None]:
    """A process, from when it accepts on a port."""
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, stdout=log, stderr=log, env={**os.environ, "HOME": str(folder)}
        )
    try:
        async with asyncio.timeout(SOON):
            while not await accepts(port):
                assert process.poll() is None, (folder / "log").read_text()
                await asyncio.sleep(0.01)
        yield
    finally:
        process.terminate()
        process.wait(SOON)


async def accepts(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


def replaced(name: str, words: Mapping[str, str]) -> str:
    """An example, with other addresses."""
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    for old, new in words.items():
        text = text.replace(old, new)
    return text


NGINX = """
daemon off; master_process off; pid nginx.pid; error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    include picoauth.conf;
}}
"""


@asynccontextmanager
async def nginx(folder: Path, port: int, unix: str, app: int) -> AsyncIterator[None]:
    certificate(folder)
    words = {
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "/run/picoauth/picoauth.sock": unix,
        "/etc/ssl/example": str(folder),
        "/usr/share/picoauth": str(EXAMPLES),
        "127.0.0.1:3000": f"127.0.0.1:{app}",
    }
    (folder / "snippets").mkdir()
    (folder / "nginx.conf").write_text(NGINX.format())
    (folder / "picoauth.conf").write_text(replaced("nginx.conf", words))
    for name in ("picoauth", "picoauth-headers"):
        (folder / f"snippets/{name}.conf").write_text(replaced(f"nginx-{name}.conf", words))
    command = [program("nginx"), "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]
    async with running(command, folder, port):
        yield


CADDY = """
{{
    admin off
    storage file_system {folder}/caddy
    local_certs
    skip_install_trust
    auto_https disable_redirects
    default_bind 127.0.0.1
    https_port {port}
}}
"""


@asynccontextmanager
async def caddy(folder: Path, port: int, unix: str, app: int) -> AsyncIterator[None]:
    words = {
        "/run/picoauth/picoauth.sock": unix,
        "/usr/share/picoauth": str(EXAMPLES),
        "127.0.0.1:3000": f"127.0.0.1:{app}",
    }
    text = CADDY.format(folder=folder, port=port) + replaced("Caddyfile", words)
    (folder / "Caddyfile").write_text(text)
    command = [program("caddy"), "run", "--config", str(folder / "Caddyfile")]
    async with running(command, folder, port):
        yield


PROXIES: dict[str, Callable[[Path, int, str, int], Any]] = {"nginx": nginx, "caddy": caddy}


@asynccontextmanager
async def world(folder: Path, start: Callable[[Path, int, str, int], Any]) -> AsyncIterator[World]:
    clock = Clock()
    auth = Auth(parse(SETTINGS, folder), clock=clock, monotonic=clock, found=found())
    picoauth = Application(auth)
    app = Application_([])
    page = await asyncio.start_server(app.serve, "127.0.0.1", 0)
    with short_folder() as short:
        unix = f"{short}/s"
        async with page, serving(picoauth, Bind(public=[f"unix:{unix}"])):
            client = httpx.AsyncClient(transport=httpx.ASGITransport(app=picoauth))
            server = Server(picoauth, auth, client, clock, folder)
            await join(server)
            port = free_port()
            async with client, start(folder, port, unix, page.sockets[0].getsockname()[1]):
                yield World(port, server, app)


def found() -> Any:
    from picoauth.discovery import installed

    return [*installed(), *offers(PLUGINS)]


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(params=sorted(PROXIES))
async def proxied(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path, PROXIES[request.param]) as made:
        yield made


async def test_login_and_back(proxied: World) -> None:
    """Who opens a page logs in and comes back to it; the application learns who it is."""
    async with proxied.browser() as browser:
        answer = await login(browser, f"{WIKI}/start?x=1&y=%2F")
        assert f"{WIKI}/start?x=1&y=%2F" == str(answer.url)
        user = await proxied.server.auth.users.find("username", "ann")
        assert user is not None
        expected = {"x-auth-user": "ann", "x-auth-id": user.id, "x-auth-name": "ann", "x-auth-amr": "pin"}
        assert expected == told(answer)
