"""Real proxies, with the configurations that are shipped, before a page that they protect."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from picoauth import Application, Auth, Caller, Unavailable, parse
from picoauth.discovery import installed
from picoauth.flows import Step
from picoauth.listeners import Bind
from picoauth.testing import Captured, Clock, Server
from picoauth_forward_auth import ForwardAuthSettings
from tests.certificates import self_signed
from tests.factors import PIN, PLUGINS, join
from tests.plugs import offers
from tests.processes import free_port, program, running
from tests.wire import SOON, serving, short_folder

EXAMPLES = Path(__file__).parent.parent / "examples"
AUTH, WIKI, MEDIA = (
    "https://auth.example.com",
    "https://wiki.example.com",
    "https://media.example.org",
)
HOSTS = [urlsplit(url).netloc for url in (AUTH, WIKI, MEDIA)]
PAGE = {"Accept": "text/html,application/xhtml+xml", "Sec-Fetch-Mode": "navigate"}
DOCS = Path(__file__).parents[3] / "docs/forward-auth.md"
[TOML] = re.findall(r"```toml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
SETTINGS = TOML.replace('"password"', '"pin", "code"').replace('"unix"', '"unix", "127.0.0.1"')
"""Those of the docs, with factors that cost nothing, and for a proxy that asks over TCP."""


@dataclass
class Page:
    """The protected page: answers what it was asked, and echoes what comes by a WebSocket."""

    asked: list[str] = field(default_factory=list)

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
    app: Page

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


def untrusting() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def accepts(port: int) -> bool:
    """Whether the proxy is there, with a certificate for each host."""
    try:
        for host in HOSTS:
            with socket.create_connection(("127.0.0.1", port), SOON) as plain:
                untrusting().wrap_socket(plain, server_hostname=host).close()
    except OSError:
        return False
    return True


def replaced(name: str, words: Mapping[str, str]) -> str:
    """An example, with other addresses."""
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    for old, new in words.items():
        text = text.replace(old, new)
    return text


@dataclass(frozen=True)
class Behind:
    """Where picoauth and the application are, behind the proxy."""

    unix: str
    tcp: str
    app: int


Start = Callable[[Path, int, Behind], Any]

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
async def nginx(folder: Path, port: int, behind: Behind) -> AsyncIterator[None]:
    self_signed(folder, *HOSTS)
    words = {
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "/run/picoauth/picoauth.sock": behind.unix,
        "/etc/ssl/example": str(folder),
        "/usr/share/picoauth": str(EXAMPLES),
        "127.0.0.1:3000": f"127.0.0.1:{behind.app}",
    }
    (folder / "snippets").mkdir()
    (folder / "nginx.conf").write_text(NGINX.format())
    (folder / "picoauth.conf").write_text(replaced("nginx.conf", words))
    for name in ("picoauth", "picoauth-headers"):
        (folder / f"snippets/{name}.conf").write_text(replaced(f"nginx-{name}.conf", words))
    command = [
        program("nginx"),
        "-p",
        str(folder),
        "-c",
        str(folder / "nginx.conf"),
        "-e",
        "stderr",
    ]
    with running(command, folder, lambda _: accepts(port), {"HOME": str(folder)}):
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
async def caddy(folder: Path, port: int, behind: Behind) -> AsyncIterator[None]:
    words = {
        "/run/picoauth/picoauth.sock": behind.unix,
        "/usr/share/picoauth": str(EXAMPLES),
        "127.0.0.1:3000": f"127.0.0.1:{behind.app}",
    }
    text = CADDY.format(folder=folder, port=port) + replaced("Caddyfile", words)
    (folder / "Caddyfile").write_text(text)
    command = [program("caddy"), "run", "--config", str(folder / "Caddyfile")]
    with running(command, folder, lambda _: accepts(port), {"HOME": str(folder)}):
        yield


TRAEFIK = """
tls:
  stores:
    default:
      defaultCertificate:
        certFile: {folder}/cert.pem
        keyFile: {folder}/key.pem
"""


@asynccontextmanager
async def traefik(folder: Path, port: int, behind: Behind) -> AsyncIterator[None]:
    self_signed(folder, *HOSTS)
    with login_page() as page:
        words = {
            "http://127.0.0.1:8100": behind.tcp.replace("tcp:", "http://"),
            "127.0.0.1:8080": f"127.0.0.1:{page}",
            "127.0.0.1:3000": f"127.0.0.1:{behind.app}",
        }
        text = replaced("traefik.yml", words) + TRAEFIK.format(folder=folder)
        (folder / "dynamic.yml").write_text(text)  # it would take another name for its static one
        command = [
            program("traefik"),
            f"--entryPoints.websecure.address=127.0.0.1:{port}",
            f"--providers.file.filename={folder}/dynamic.yml",
            "--global.checkNewVersion=false",
            "--global.sendAnonymousUsage=false",
        ]
        home, kill = {"HOME": str(folder)}, signal.SIGKILL  # it would take two seconds to leave
        with running(command, folder, lambda _: shows(port, "/login/"), home, kill):
            yield


@contextmanager
def login_page() -> Iterator[int]:
    """The port of a server of files, which Traefik is none itself."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(EXAMPLES))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as pages:
        threading.Thread(target=pages.serve_forever, args=(0.01,)).start()
        try:
            yield pages.server_port
        finally:
            pages.shutdown()


def shows(port: int, path: str) -> bool:
    """Whether the proxy has read which application is where."""
    if not accepts(port):
        return False
    with httpx.Client(transport=httpx.HTTPTransport(verify=False)) as client:
        url = f"https://127.0.0.1:{port}{path}"
        return client.get(url, headers={"Host": HOSTS[0]}).is_success


PROXIES: dict[str, Start] = {"nginx": nginx, "caddy": caddy, "traefik": traefik}


@asynccontextmanager
async def world(folder: Path, start: Start) -> AsyncIterator[World]:
    clock = Clock()
    auth = Auth(parse(SETTINGS, folder), clock=clock, monotonic=clock, found=found())
    picoauth = Application(auth)
    app = Page()
    page = await asyncio.start_server(app.serve, "127.0.0.1", 0)
    with short_folder() as short:
        unix = f"{short}/s"
        bind = Bind(public=[f"unix:{unix}", "tcp:127.0.0.1:0"])
        async with page, serving(picoauth, bind) as addresses:
            client = httpx.AsyncClient(transport=httpx.ASGITransport(app=picoauth))
            server = Server(picoauth, auth, client, clock, folder, Captured(auth.events))
            await join(server)
            port, behind = free_port(), Behind(unix, addresses[1], page.sockets[0].getsockname()[1])
            async with client, start(folder, port, behind):
                yield World(port, server, app)


def found() -> Any:
    return [*installed(), *offers(PLUGINS)]


@pytest.fixture(params=sorted(PROXIES))
async def proxied(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path, PROXIES[request.param]) as made:
        yield made


async def user_id(world: World) -> str:
    user = await world.server.auth.users.find("username", "ann")
    assert user is not None
    return user.id


async def test_login_and_back(proxied: World) -> None:
    """Who opens a page logs in and comes back to it; the application learns who it is."""
    async with proxied.browser() as browser:
        answer = await login(browser, f"{WIKI}/start?x=1&y=%2F")
        assert f"{WIKI}/start?x=1&y=%2F" == str(answer.url)
        expected = {"x-auth-user": "ann", "x-auth-name": "ann", "x-auth-amr": "pin"}
        assert {**expected, "x-auth-id": await user_id(proxied)} == told(answer)
        assert "no-store" not in answer.headers.get("cache-control", "")  # the page's own business


async def test_other_root_domain(proxied: World) -> None:
    """One login is good on every host: the hop shows no page, and each host has its own cookie."""
    async with proxied.browser() as browser:
        await login(browser, f"{WIKI}/")
        answer = await browser.get(f"{MEDIA}/films?year=2020")
        assert (f"{MEDIA}/films?year=2020", "ann") == (str(answer.url), told(answer)["x-auth-user"])
        seen = [urlsplit(str(one.url)).netloc for one in answer.history]
        assert [*HOSTS[2:], HOSTS[0], HOSTS[2]] == seen
        cookies = {(each.domain, each.name): each.value for each in browser.cookies.jar}
        sites = {domain: cookies[domain, "__Host-picoauth-site"] for domain in HOSTS[1:]}
        assert 2 == len(set(sites.values()))
        for url, cookie in [(WIKI, sites[HOSTS[2]]), (MEDIA, cookies[HOSTS[0], "__Host-picoauth"])]:
            async with proxied.browser(Accept="*/*") as thief:
                headers = {"Cookie": f"__Host-picoauth-site={cookie}; __Host-picoauth={cookie}"}
                assert 401 == (await thief.get(url, headers=headers)).status_code
        async with proxied.browser() as thief:
            headers = {"Cookie": f"__Host-picoauth={sites[HOSTS[2]]}"}
            assert 401 == (await thief.get(f"{AUTH}/auth/me", headers=headers)).status_code


async def test_ends(proxied: World) -> None:
    """A logout on any host, or a disabling, ends the login on all of them at once."""
    accounts = proxied.server.auth.accounts
    for end in ("login", "site", "disable"):
        async with proxied.browser() as browser:
            await login(browser, f"{WIKI}/")
            assert 200 == (await browser.get(f"{MEDIA}/")).status_code
            if end == "login":
                answer = await browser.post(f"{AUTH}/auth/logout", headers={"Origin": AUTH})
                assert 204 == answer.status_code
            elif end == "site":
                answer = await browser.post(f"{MEDIA}/_picoauth/logout", headers={"Origin": MEDIA})
                assert f"{AUTH}/login/" == str(answer.url).partition("?")[0]
            else:
                await accounts.disable(await user_id(proxied), Caller())
            for url in (WIKI, MEDIA):
                answer = await browser.get(url, headers={"Accept": "application/json"})
                assert (401, "session_ended") == (answer.status_code, answer.json()["code"])
                assert "Bearer" == answer.headers["www-authenticate"]


FORGED = {
    "X-Auth-User": "root",
    "X-Auth-Id": "0",
    "X-Auth-Email": "root@example.com",
    "x-auth-EMAIL": "root@example.com",
    "X_Auth_User": "root",
    "X-Auth_Email": "root@example.com",
    "X_Auth-Name": "root",
}


async def test_forged_headers(proxied: World) -> None:
    """What a client says of itself reaches no application, in no spelling; nor does it help it in."""
    forged = {**FORGED, "X-Forwarded-User": "root"}
    async with proxied.browser(**forged) as browser:
        assert "root" not in told(await login(browser, f"{WIKI}/")).values()
    lies = {
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Proto": "http",
        "X-Forwarded-Uri": "/_picoauth/logout",
        "X-Forwarded-Method": "POST",
        "X-Forwarded-For": "192.0.2.1",
        "X-Original-URL": "/",
    }
    async with proxied.browser(**forged, **lies) as browser:
        browser.follow_redirects = False
        answer = await browser.get(f"{WIKI}/here")
        query = parse_qs(urlsplit(answer.headers["location"]).query)
        assert (302, [f"{WIKI}/here"]) == (answer.status_code, query["to"])
    assert ["GET / HTTP/1.1"] == proxied.app.asked


STEP = Step(flow=None, payloads=[("pin", PIN)], caller=Caller())


@pytest.mark.parametrize(
    "connection", ["close, X-Auth-User", "x-auth-user", "X_Auth_User, x-auth-id"]
)
async def test_headers_named_in_connection(proxied: World, connection: str) -> None:
    """A client cannot have its own name taken out on the way to the application (RFC 9110, 7.6.1)."""
    async with proxied.browser() as browser:
        await login(browser, f"{WIKI}/")
        answer = await browser.get(f"{WIKI}/", headers={"Connection": connection})
        assert answer.status_code == 400 or "ann" == told(answer)["x-auth-user"]


async def test_programs(proxied: World) -> None:
    """A program gets 401 where a person is sent to log in; its token opens every host."""
    tokens = await proxied.server.auth.logins.login(STEP)
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    async with proxied.browser(Accept="*/*") as program:
        for more in ({}, {"Authorization": "Bearer x"}):
            answer = await program.get(f"{MEDIA}/", headers=more)
            code = "invalid_token" if more else "token_missing"
            assert (401, code) == (answer.status_code, answer.json()["code"])
        answer = await program.post(f"{MEDIA}/api?a=b", content=b"data", headers=bearer)
        assert "ann" == told(answer)["x-auth-user"]
        shown = answer.json()
        assert ("POST /api?a=b HTTP/1.1", "data") == (shown["first"], shown["body"])
        answer = await program.post(f"{MEDIA}/", content=b"data", headers={"Accept": "text/html"})
        assert (401, "token_missing") == (answer.status_code, answer.json()["code"])


async def test_changes_from_other_pages(proxied: World) -> None:
    """By cookie, only the host's own pages change anything; the application is not asked."""
    async with proxied.browser() as browser:
        await login(browser, f"{WIKI}/")
        form = {"Content-Type": "application/x-www-form-urlencoded", "Origin": WIKI}
        answer = await browser.post(f"{WIKI}/save", content=b"a=b", headers=form)
        assert ("ann", "a=b") == (told(answer)["x-auth-user"], answer.json()["body"])
        asked = len(proxied.app.asked)
        for origin in ("https://evil.example.com", MEDIA, "null"):
            answer = await browser.post(f"{WIKI}/save", headers={**form, "Origin": origin})
            assert 403 == answer.status_code
        assert asked == len(proxied.app.asked)


async def test_websocket(proxied: World) -> None:
    """A WebSocket passes for who is logged in, and for pages of the same host."""
    async with proxied.browser() as browser:
        await login(browser, f"{WIKI}/")
        cookies = "; ".join(f"{c.name}={c.value}" for c in browser.cookies.jar if c.domain in WIKI)
    assert b"101" in await socket_to(proxied, cookies, WIKI)
    assert b"403" in await socket_to(proxied, cookies, "https://evil.example.com")
    assert b"401" in await socket_to(proxied, "", WIKI)


async def socket_to(world: World, cookies: str, origin: str) -> bytes:
    """Status of the answer to a handshake; where it is accepted, data has gone to and fro."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", world.port, ssl=untrusting(), server_hostname=HOSTS[1]
    )
    lines = [
        "GET /live HTTP/1.1",
        f"Host: {HOSTS[1]}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        "Sec-WebSocket-Version: 13",
        f"Origin: {origin}",
        f"Cookie: {cookies}",
    ]
    async with asyncio.timeout(SOON):
        writer.write("\r\n".join([*lines, "", ""]).encode())
        status = await reader.readline()
        await reader.readuntil(b"\r\n\r\n")
        if b"101" in status:
            writer.write(b"hello")
            assert b"hello" == await reader.readexactly(5)
    writer.close()
    return status


async def test_machine_routes_are_for_proxies(proxied: World) -> None:
    """What proxies ask cannot be asked from outside, nor can anything else through an application."""
    async with proxied.browser() as browser:
        for path in ("/forward-auth", "/forward-auth/check", "/forward-auth/login"):
            assert 404 == (await browser.get(f"{AUTH}{path}")).status_code
        answer = await browser.get(f"{WIKI}/_picoauth/check")
        assert answer.status_code in (200, 404)
        assert answer.status_code == 404 or f"{AUTH}/login/" in str(answer.url)


async def test_database_down(proxied: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the store does not answer nobody passes, and nobody is sent to log in again."""
    async with proxied.browser() as browser:
        await login(browser, f"{WIKI}/")
        asked = len(proxied.app.asked)
        with monkeypatch.context() as patched:
            patched.setattr(proxied.server.auth.sessions, "get", down)
            answer = await browser.get(f"{WIKI}/")
            assert answer.status_code in (500, 503)
        assert asked == len(proxied.app.asked)
        assert 200 == (await browser.get(f"{WIKI}/")).status_code


async def down(_: str) -> None:
    raise Unavailable("the database is down")


def test_login_page() -> None:
    """The page of the docs is the one that is shipped."""
    [script] = re.findall(r"```js\n(.*?)\n```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert script in (EXAMPLES / "login/index.html").read_text(encoding="utf-8")


def test_settings_are_documented() -> None:
    """The README of the plugin and the docs name each setting."""
    pages = [EXAMPLES.parent / "README.md", DOCS.parent / "configuration.md"]
    names = list(ForwardAuthSettings.__dataclass_fields__)
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert [] == [name for name in names if f"| `{name}` |" not in text]
