"""The page behind the real proxies, with the files beside it, over TLS."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from picoauth.app import Application
from picoauth.auth import Auth
from picoauth.config import parse
from picoauth.listeners import Bind
from tests.chromium import Chromium, Page, chromium
from tests.processes import accepts, free_port, program, running
from tests.wire import serving, short_folder

PAGE = Path(__file__).parent.parent
FILES = ("index.html", "login.js", "style.css")
TOML, _ = re.findall(r"```toml\n(.*?)```", (PAGE / "README.md").read_text("utf-8"), re.DOTALL)
PASSWORD = "correct horse battery staple"

pytestmark = pytest.mark.asyncio(loop_scope="module")


def changed(name: str, changes: dict[str, str]) -> str:
    """A file of ours with its paths and ports changed to those of a test."""
    text = (PAGE / name).read_text(encoding="utf-8")
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    return text


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate that nobody else trusts, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "example.com")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("example.com")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    chain, private = folder / "fullchain.pem", folder / "privkey.pem"
    chain.write_bytes(made.public_bytes(pem))
    private.write_bytes(key.private_bytes(pem, *plain))
    return chain, private


@contextmanager
def nginx(folder: Path, port: int, app: int) -> Iterator[None]:
    chain, key = certificate(folder)
    site = changed(
        "nginx.conf",
        {
            "listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;",
            "listen [::]:443 ssl;": "",
            "/run/picoauth/picoauth.sock": f"{folder}/picoauth.sock",
            "/etc/ssl/picoauth/fullchain.pem": str(chain),
            "/etc/ssl/picoauth/privkey.pem": str(key),
            "/usr/share/picoauth": str(folder),
            "127.0.0.1:3000": f"127.0.0.1:{app}",
        },
    )
    (folder / "site.conf").write_text(site, encoding="utf-8")
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    types = "types { text/html html; text/javascript js; text/css css; }"
    main = f"daemon off; master_process off; pid {folder}/nginx.pid; events {{}}"
    whole = f"{main} http {{ access_log off; {types} {paths} include {folder}/site.conf; }}"
    (folder / "nginx.conf").write_text(whole, encoding="utf-8")
    command = [program("nginx"), "-p", str(folder), "-c", f"{folder}/nginx.conf", "-e", "stderr"]
    with running(command, folder, lambda _: accepts(port)):
        yield


@contextmanager
def caddy(folder: Path, port: int, app: int) -> Iterator[None]:
    chain, key = certificate(folder)
    site = changed(
        "Caddyfile",
        {
            "\nexample.com {": (
                "\n{\n admin off\n auto_https disable_redirects\n}\n"
                f"https://example.com:{port} {{\n bind 127.0.0.1\n tls {chain} {key}"
            ),
            "/run/picoauth/picoauth.sock": f"{folder}/picoauth.sock",
            "/usr/share/picoauth": str(folder),
            "127.0.0.1:3000": f"127.0.0.1:{app}",
        },
    )
    (folder / "Caddyfile").write_text(site, encoding="utf-8")
    command = [program("caddy"), "run", "--config", f"{folder}/Caddyfile", "--adapter", "caddyfile"]
    homes = {name: str(folder) for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")}
    with running(command, folder, lambda _: accepts(port), homes):
        yield


PROXIES: dict[str, Callable[[Path, int, int], AbstractContextManager[None]]] = {
    "nginx": nginx,
    "caddy": caddy,
}


async def application(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """What the proxy sends everybody to who wants nothing else."""
    first = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n", 1)[0]
    body = b"<title>The application</title><h1>%s</h1>" % first
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n"
    writer.write(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    await writer.drain()
    writer.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Chromium]:
    async with chromium() as found:
        yield found


@asynccontextmanager
async def site(proxy: str) -> AsyncIterator[str]:
    """Everything as the README says; yields the origin."""
    program(proxy)
    port = free_port()
    app = await asyncio.start_server(application, "127.0.0.1", 0)
    with short_folder() as folder:
        (folder / "login").mkdir()
        for name in FILES:
            shutil.copy(PAGE / name, folder / "login")
        origin = f"https://example.com:{port}"
        settings = parse(TOML.replace("https://example.com", origin), folder)
        bind = Bind(public=[f"unix:{folder}/picoauth.sock"])
        async with app, serving(Application(Auth(settings)), bind):
            with PROXIES[proxy](folder, port, app.sockets[0].getsockname()[1]):
                yield origin


async def create_account(page: Page) -> None:
    await page.click("Create an account")
    await page.fill("User name", "ann")
    await page.fill("Password", PASSWORD)
    await page.click("Create account")


@pytest.mark.parametrize("proxy", PROXIES)
async def test_page_behind_a_proxy(browser: Chromium, proxy: str) -> None:
    """The files beside the page serve it: an account, a login, and the way to the application."""
    async with site(proxy) as origin, browser.page() as page:
        await page.send("Security.setIgnoreCertificateErrors", ignore=True)
        await page.open(f"{origin}/login/?return=/app%3Fa=b")
        await page.at("Sign in")
        await create_account(page)
        await page.at("GET /app?a=b HTTP/1.1")
        await page.open(f"{origin}/login/")
        await page.at("Your account")
        await page.click("Sign out")
        await page.at("Sign in")
        assert [] == page.complaints()
        assert [] == page.requests(lambda url: not url.startswith((origin, "data:")))
        answers = [
            (message["params"]["response"]["url"], message["params"]["response"]["headers"])
            for message in page.happened
            if message["method"] == "Network.responseReceived"
        ]
        headers = next(found for url, found in answers if url.endswith("/login/"))
        given = {name.lower(): value for name, value in headers.items()}
        assert "frame-ancestors 'none'" in given["content-security-policy"]
        assert given["content-security-policy"].startswith("default-src 'self';")


async def test_policies_are_one() -> None:
    """The policy in the page is that of the files, but for what only a header can say."""
    pages = [(PAGE / name).read_text(encoding="utf-8") for name in ("nginx.conf", "Caddyfile")]
    policies = {re.search(r'"(default-src .*?)"', page)[1] for page in pages}  # type: ignore[index]
    [policy] = policies
    without = policy.replace("frame-ancestors 'none'; ", "")
    assert f'content="{without}"' in (PAGE / "index.html").read_text(encoding="utf-8")
