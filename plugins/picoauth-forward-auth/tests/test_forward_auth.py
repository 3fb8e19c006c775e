"""What proxies are answered, and what attackers would like them to be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from picoauth import Caller, ConfigError, SessionDerived, Statement
from picoauth.testing import Server
from picoauth_forward_auth import identity
from picoauth_forward_auth.settings import HEADERS
from tests.accounts import accounts, asking, heard, login, user_id
from tests.asgi import ask
from tests.factors import PIN, code_of
from tests.test_keys import written

ON = """
plugins = ["watched", "pin", "code", "forward-auth"]
public_url = "https://auth.example.com"
trusted_proxies = ["127.0.0.1"]
"""
TABLE = """
[forward-auth]
hosts = ["wiki.example.com", "*.example.org", "nas.example.net:8443"]
login_url = "https://auth.example.com/login/"
"""
PAGE = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate"}
LOGIN = "__Host-picoauth"
SITE = "__Host-picoauth-site"
NONCE = "__Host-picoauth-hop"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with accounts(tmp_path, ON + TABLE) as running:
        yield running


class Browser:
    """Keeps cookies by host, and asks as a proxy does on behalf of it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.cookies: dict[str, dict[str, str]] = {}

    async def ask(self, url: str, *, path: str = "/forward-auth", **headers: str) -> httpx.Response:
        """Open an address of a protected host."""
        parts = urlsplit(url)
        target = url.partition(parts.netloc)[2]
        forwarded = {
            "X-Forwarded-Proto": parts.scheme,
            "X-Forwarded-Host": parts.netloc,
            "X-Forwarded-Uri": target,
            "X-Forwarded-Method": "GET",
        }
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.send(parts.netloc, path, {**forwarded, **given})

    async def page(self, url: str, **headers: str) -> httpx.Response:
        return await self.ask(url, Accept="text/html", Sec_Fetch_Mode="navigate", **headers)

    async def hop(self, location: str) -> httpx.Response:
        """Open an address of picoauth itself."""
        parts = urlsplit(location)
        return await self.send(parts.netloc, f"{parts.path}?{parts.query}", PAGE)

    async def login(self, **more: Any) -> dict[str, Any]:
        body = {**PIN, "session": "cookie", **more}
        headers = {"Origin": "https://auth.example.com"}
        answer = await self.server.client.post("/auth/login", json=body, headers=headers)
        self.keep("auth.example.com", answer)
        claims: dict[str, Any] = answer.json()
        return claims

    async def enter(self, url: str) -> httpx.Response:
        """Go to a page by way of the hop, logged in."""
        first = await self.page(url)
        second = await self.hop(first.headers["location"])
        return await self.page(second.headers["location"])

    async def send(self, host: str, path: str, headers: Mapping[str, str]) -> httpx.Response:
        kept = "; ".join(f"{name}={value}" for name, value in self.cookies.get(host, {}).items())
        cookie = {"Cookie": kept} if kept and "Cookie" not in headers else {}
        answer = await self.server.client.get(path, headers={**headers, **cookie})
        self.keep(host, answer)
        return answer

    def keep(self, host: str, answer: httpx.Response) -> None:
        self.server.client.cookies.clear()
        for line in answer.headers.get_list("set-cookie"):
            [(name, morsel)] = SimpleCookie(line).items()
            self.cookies.setdefault(host, {})[name] = morsel.value


@pytest.fixture
async def browser(server: Server) -> Browser:
    """Of Ann, who is logged in at picoauth, and nowhere else yet."""
    browser = Browser(server)
    await browser.login()
    return browser


WIKI, MEDIA = "https://wiki.example.com", "https://media.example.org"


async def bearer(server: Server) -> dict[str, str]:
    return {"Authorization": f"Bearer {(await login(server))['access_token']}"}


async def test_first_request(server: Server) -> None:
    """Who is not logged in goes to picoauth, with a return address, and a nonce that stays here."""
    browser = Browser(server)
    answer = await browser.page(f"{MEDIA}/films?a=1&b=%20")
    location = urlsplit(answer.headers["location"])
    assert (302, b"") == (answer.status_code, answer.content)
    assert (
        "https://auth.example.com/forward-auth/hop" == f"https://{location.netloc}{location.path}"
    )
    query = parse_qs(location.query)
    assert [f"{MEDIA}/films?a=1&b=%20"] == query["to"]
    [(name, morsel)] = SimpleCookie(answer.headers["set-cookie"]).items()
    attributes = {"path": "/", "secure": True, "httponly": True, "samesite": "Lax"}
    assert (NONCE, attributes) == (name, {key: value for key, value in morsel.items() if value})
    assert (43, False) == (len(morsel.value), morsel.value in answer.headers["location"])
    assert ("no-store", "no-referrer") == (
        answer.headers["cache-control"],
        answer.headers["referrer-policy"],
    )
    again = await browser.page(f"{MEDIA}/other")
    assert query["bound"] == parse_qs(urlsplit(again.headers["location"]).query)["bound"]


async def test_hop_and_back(browser: Browser) -> None:
    """A login elsewhere is good here, by a session of its own that ends with it."""
    events = heard(browser.server)
    back = await browser.enter(f"{MEDIA}/films?a=1")
    assert (302, f"{MEDIA}/films?a=1") == (back.status_code, back.headers["location"])
    answer = await browser.page(f"{MEDIA}/films?a=1")
    expected = {"user": "ann", "id": await user_id(browser.server), "name": "ann", "amr": "pin"}
    assert {**expected, "email": ""} == shown(answer)
    assert (200, b"", "no-store") == (
        answer.status_code,
        answer.content,
        answer.headers["cache-control"],
    )
    await browser.server.auth.events.settle()
    [event] = [each for each in events if isinstance(each, SessionDerived)]
    assert browser.cookies["auth.example.com"][LOGIN].partition(".")[0] == event.parent_id
    assert browser.cookies["media.example.org"][SITE].partition(".")[0] == event.session_id


def shown(answer: httpx.Response) -> dict[str, str]:
    """What the application would be told."""
    prefix = "x-auth-"
    found = {name: value for name, value in answer.headers.items() if name.startswith(prefix)}
    return {name.removeprefix(prefix): value for name, value in found.items()}


async def test_login_page(server: Server) -> None:
    """Who is logged in nowhere is shown the login page, whose query leads back in the end."""
    browser = Browser(server)
    first = await browser.page(f"{MEDIA}/x")
    second = await browser.hop(first.headers["location"])
    page = urlsplit(second.headers["location"])
    assert (303, "/login/") == (second.status_code, page.path)
    assert urlsplit(first.headers["location"]).query == page.query
    await browser.login()
    third = await browser.hop(f"https://auth.example.com/forward-auth/hop?{page.query}")
    back = await browser.page(third.headers["location"])
    assert f"{MEDIA}/x" == back.headers["location"]
    assert 200 == (await browser.page(f"{MEDIA}/x")).status_code


async def test_remembered(server: Server) -> None:
    """A login that outlives the browser's closing does so on the other hosts as well."""
    browser = Browser(server)
    await browser.login(remember=True)
    server.clock.advance(86400)
    back = await browser.enter(MEDIA + "/")
    [(_, morsel)] = SimpleCookie(back.headers["set-cookie"]).items()
    assert str(89 * 86400) == morsel["max-age"]


async def test_nothing_is_stored_in_clear(browser: Browser, tmp_path: Path) -> None:
    """Neither ticket nor nonce nor cookie is in any file: a stolen database opens no host (S-2)."""
    finish = await finishing(browser)
    ticket = finish.partition("ticket=")[2]
    await browser.enter(f"{MEDIA}/")
    kept = browser.cookies["media.example.org"]
    secrets = [ticket, kept[NONCE], kept[SITE].partition(".")[2]]
    stored = written(tmp_path)
    assert [False] * 3 == [secret.encode() in stored for secret in secrets]


FOREIGN = [
    "https://evil.example",
    "https://example.org",
    "https://example.org.evil.example",
    "https://evil.example/.example.org",
    "https://evilexample.org",
    "https://.example.org",
    "https://a..example.org",
    "https://evil.example?.example.org",
    "https://evil.example#.example.org",
    "https://evil.example\\.example.org",
    "https://evil.example@media.example.org",
    "https://media.example.org@evil.example",
    "https://media.example.org:8443",
    "https://media.example.org:443",
    "https://media.example.org.",
    "https://nas.example.net",
    "https://nas.example.net:8444",
    "https://wiki.example.com:8443",
    "https://a.wiki.example.com",
    "https://*.example.org",
    "https://[::1]",
    "https://",
    "https:///media.example.org",
    "https:media.example.org",
    "https:\\\\media.example.org",
    "//media.example.org",
    "/",
    "",
    "http://media.example.org",
    "ftp://media.example.org",
    "HTTPS://media.example.org",
    "javascript://media.example.org/%0aalert(1)",
    "data:text/html,media.example.org",
    " https://media.example.org",
    "https://media.example.org\r\nX-Auth-User: root",
    "https://medi\u0430.example.org",
]


@pytest.mark.parametrize("address", FOREIGN)
async def test_open_redirects(browser: Browser, address: str) -> None:
    """Only listed hosts are returned to, by https, in one spelling (R-4)."""
    for text in (address, f"{address}/"):
        headers = {"Cookie": f"{LOGIN}={browser.cookies['auth.example.com'][LOGIN]}"}
        query = {"to": text, "bound": "x" * 43}
        answer = await browser.server.client.get("/forward-auth/hop", params=query, headers=headers)
        assert (403, "unknown_site") == code_of(answer)
        assert "location" not in answer.headers


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "example.org",
        "evilexample.org",
        ".example.org",
        "a..example.org",
        "evil.example/.example.org",
        "evil.example?.example.org",
        "evil.example@media.example.org",
        "media.example.org@evil.example",
        "media.example.org, evil.example",
        "media.example.org:8443",
        "media.example.org.",
        "nas.example.net",
        "*.example.org",
        "[::1]",
    ],
)
async def test_foreign_hosts(browser: Browser, host: str) -> None:
    """A host that is not listed is not answered for, though a proxy serves it."""
    token = await bearer(browser.server)
    for more in ({}, token):
        answer = await browser.page(f"{MEDIA}/", X_Forwarded_Host=host, **more)
        assert (403, "unknown_site") == code_of(answer)


async def test_listed_hosts(browser: Browser) -> None:
    """A host by its name, any depth below one, a port where it is listed; case does not matter."""
    for host in ("wiki.example.com", "a.b.example.org", "nas.example.net:8443"):
        answer = await browser.page(f"https://{host}/", X_Forwarded_Host=host.title())
        assert [f"https://{host}/"] == parse_qs(urlsplit(answer.headers["location"]).query)["to"]


async def test_what_an_operator_reads(browser: Browser) -> None:
    """A host that was forgotten, or http, is named in the answer."""
    for url, detail in [
        ("https://evil.example/", "The setting `hosts` does not have 'evil.example'."),
        ("http://wiki.example.com/", "Only what is asked for by https is protected here."),
    ]:
        assert detail == (await browser.page(url)).json()["detail"]
    answer = await browser.hop("https://auth.example.com/forward-auth/hop?to=x")
    assert "A return address begins with https:// and a host." == answer.json()["detail"]


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "x",
        "\\evil.example",
        "/\\evil.example",
        "/a b",
        "/\xe9",
        "/a#b",
        "/<b>",
        "/" + "a" * 2048,
    ],
)
async def test_odd_paths(browser: Browser, uri: str) -> None:
    """A path that no browser sends is not put into a redirect."""
    headers = [
        *PAGE.items(),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "media.example.org"),
        ("X-Forwarded-Method", "GET"),
        ("X-Forwarded-Uri", uri),
    ]
    answer = await ask(browser.server, "GET", "/forward-auth", headers=headers)
    query = parse_qs(urlsplit(answer.headers["location"]).query)
    assert [f"{MEDIA}/"] == query["to"]


async def test_path_that_looks_like_a_host(browser: Browser) -> None:
    """Two slashes after a host are a path."""
    answer = await browser.page(f"{MEDIA}//evil.example/")
    query = parse_qs(urlsplit(answer.headers["location"]).query)
    assert [f"{MEDIA}//evil.example/"] == query["to"]


async def finishing(browser: Browser, url: str = f"{MEDIA}/x") -> str:
    """The address with a ticket, not yet opened."""
    first = await browser.page(url)
    return (await browser.hop(first.headers["location"])).headers["location"]


async def sessions(server: Server) -> int:
    [(count,)] = await server.auth.database.read("select count(*) from sessions")
    return int(count)


async def test_ticket_is_good_once(browser: Browser) -> None:
    """Of fifty uses at once one makes a session, and none after it (T-3)."""
    finish = await finishing(browser)
    answers = await asyncio.gather(*(browser.page(finish) for _ in range(50)))
    ends = [answer.headers["location"] for answer in answers]
    assert [1, 49] == [ends.count(f"{MEDIA}/x"), ends.count(f"{MEDIA}/")]
    assert 1 == sum(SITE in answer.headers.get("set-cookie", "") for answer in answers)
    assert f"{MEDIA}/" == (await browser.page(finish)).headers["location"]
    assert 2 == await sessions(browser.server)


async def test_ticket_in_another_browser(browser: Browser) -> None:
    """A ticket from a log, or of an attacker's login, is of no use without its nonce, and lives on."""
    finish = await finishing(browser)
    other = Browser(browser.server)
    answer = await other.page(finish)
    assert ((400, "hop_refused"), "set-cookie" in answer.headers) == (code_of(answer), False)
    await other.page(f"{MEDIA}/")  # which has a nonce of its own from now on
    answer = await other.page(finish)
    assert (f"{MEDIA}/", False) == (answer.headers["location"], "set-cookie" in answer.headers)
    assert 1 == await sessions(browser.server)
    assert f"{MEDIA}/x" == (await browser.page(finish)).headers["location"]


async def test_ticket_on_another_host(browser: Browser) -> None:
    """A ticket is good for the host that it was made for."""
    finish = await finishing(browser)
    browser.cookies["films.example.org"] = dict(browser.cookies["media.example.org"])
    answer = await browser.page(finish.replace("media", "films"))
    assert "https://films.example.org/" == answer.headers["location"]
    assert 1 == await sessions(browser.server)


@pytest.mark.parametrize("seconds", [59, 60])
async def test_ticket_expires(browser: Browser, seconds: int) -> None:
    """A ticket is good for a minute."""
    finish = await finishing(browser)
    browser.server.clock.advance(seconds)
    end = f"{MEDIA}/x" if seconds < 60 else f"{MEDIA}/"
    assert end == (await browser.page(finish)).headers["location"]


@pytest.mark.parametrize("way", ["logout_from_all", "disable", "delete"])
async def test_ticket_of_a_login_that_ended(browser: Browser, way: str) -> None:
    """A login that ends on the way has no sessions anywhere."""
    finish = await finishing(browser)
    accounts = browser.server.auth.accounts
    await getattr(accounts, way)(await user_id(browser.server), Caller())
    answer = await browser.page(finish)
    assert (f"{MEDIA}/", False) == (answer.headers["location"], "set-cookie" in answer.headers)


@pytest.mark.parametrize("query", ["", "?ticket=", "?ticket=x", "?other=x", "?ticket=%FF"])
async def test_no_ticket(browser: Browser, query: str) -> None:
    """Whatever is no ticket leads to the top, where the way begins again."""
    await browser.page(f"{MEDIA}/")
    answer = await browser.page(f"{MEDIA}/_picoauth/finish{query}")
    assert (302, f"{MEDIA}/") == (answer.status_code, answer.headers["location"])


@pytest.mark.parametrize("nonce", ["", "x", "é" * 43, "x" * 44, ";" * 43])
async def test_odd_nonces(browser: Browser, nonce: str) -> None:
    """A nonce is what was set, in its form; with another one the way begins again."""
    header = f"{NONCE}={nonce}".encode("latin-1", "replace").decode("latin-1")
    target = [
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "media.example.org"),
        ("X-Forwarded-Method", "GET"),
        ("X-Forwarded-Uri", "/_picoauth/finish?ticket=x"),
        ("Cookie", header),
    ]
    answer = await ask(browser.server, "GET", "/forward-auth", headers=target)
    assert (400, "hop_refused") == answer.code
    two = [*target[:-1], ("Cookie", f"{NONCE}={'x' * 43}; {NONCE}={'y' * 43}")]
    assert (400, "hop_refused") == (
        await ask(browser.server, "GET", "/forward-auth", headers=two)
    ).code


@pytest.mark.parametrize("bound", ["", "x", "x" * 44])
async def test_hop_without_a_nonce(browser: Browser, bound: str) -> None:
    """A bookmarked login leads to the page, which begins again with a nonce."""
    to = f"https://auth.example.com/forward-auth/hop?to={MEDIA}/x&bound={bound}"
    answer = await browser.hop(to)
    assert (303, f"{MEDIA}/x") == (answer.status_code, answer.headers["location"])


PAGES: list[tuple[dict[str, str], bool]] = [
    ({}, True),
    ({"Sec-Fetch-Mode": "navigate"}, True),
    ({"Authorization": "Basic YTpi"}, True),
    ({"Sec-Fetch-Mode": "cors"}, False),
    ({"Sec-Fetch-Mode": "websocket"}, False),
    ({"Sec-WebSocket-Key": "x"}, False),
    ({"X-Requested-With": "XMLHttpRequest"}, False),
    ({"Authorization": "bearer x"}, False),
    ({"Accept": "application/json"}, False),
    ({"Accept": "*/*"}, False),
    ({"Accept": ""}, False),
    *(({"X-Forwarded-Method": m}, False) for m in ("HEAD", "POST", "PUT", "OPTIONS", "get", "")),
]


@pytest.mark.parametrize(("headers", "is_page"), PAGES)
async def test_redirect_or_401(server: Server, headers: dict[str, str], *, is_page: bool) -> None:
    """A person is sent to log in; a program is told that it has to."""
    given = {name.replace("-", "_"): value for name, value in headers.items()}
    for path in ("/forward-auth", "/forward-auth/login"):
        answer = await Browser(server).ask(
            f"{MEDIA}/", path=path, **{"Accept": "text/html", **given}
        )
        assert (302 if is_page else 401) == answer.status_code
        assert is_page == ("set-cookie" in answer.headers)
    answer = await Browser(server).ask(f"{MEDIA}/", path="/forward-auth/check", **given)
    assert (401, "Bearer") == (answer.status_code, answer.headers["www-authenticate"][:6])


FORMS: list[tuple[dict[str, str], bool]] = [
    ({"Origin": MEDIA}, True),
    ({"Origin": "https://app.example.com"}, True),
    ({"Sec-Fetch-Site": "same-origin"}, True),
    ({"Origin": "null", "Sec-Fetch-Site": "same-origin"}, True),
    ({}, False),
    ({"Origin": "null"}, False),
    ({"Origin": "http://media.example.org"}, False),
    ({"Origin": "https://media.example.org:8443"}, False),
    ({"Origin": "https://media.example.org.evil.example"}, False),
    ({"Origin": "https://films.example.org", "Sec-Fetch-Site": "same-site"}, False),
    ({"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"}, False),
    ({"Sec-Fetch-Site": "same-site"}, False),
    ({"Sec-Fetch-Site": "cross-site"}, False),
    ({"Sec-Fetch-Site": "none"}, False),
    ({"Origin": "https://wiki.example.com"}, False),
]


@pytest.mark.parametrize(("headers", "allowed"), FORMS)
async def test_changes_by_cookie(tmp_path: Path, headers: dict[str, str], *, allowed: bool) -> None:
    """By cookie, a change or a WebSocket has to come from a page of the same host (S-5)."""
    more = TABLE + 'origins = ["https://app.example.com"]'
    async with accounts(tmp_path, ON + more) as server:
        browser = Browser(server)
        await browser.login()
        await browser.enter(f"{MEDIA}/")
        given = {name.replace("-", "_"): value for name, value in headers.items()}
        expected = (200, None) if allowed else (403, "cross_site")
        for method in ("POST", "PUT", "DELETE", "PATCH", "PROPFIND", "get", ""):
            answer = await browser.ask(f"{MEDIA}/", X_Forwarded_Method=method, **given)
            assert expected == code_of(answer)
        answer = await browser.ask(f"{MEDIA}/", Sec_WebSocket_Key="x", **given)
        assert expected == code_of(answer)
        token = await bearer(server)
        for method in ("GET", "HEAD", "OPTIONS"):
            answer = await browser.ask(f"{MEDIA}/", X_Forwarded_Method=method, **given)
            assert 200 == answer.status_code
        answer = await browser.ask(f"{MEDIA}/", X_Forwarded_Method="POST", **given, **token)
        assert 200 == answer.status_code  # which no other page can have sent


async def test_bearer(browser: Browser) -> None:
    """A token of ours counts before a cookie; one of the application's leaves the cookie to it."""
    await browser.enter(f"{MEDIA}/")
    await browser.page(f"{MEDIA}/")  # from now on the cookie says "ann", for ten minutes
    await browser.server.auth.accounts.change(
        await user_id(browser.server), {"name": "Ann the Second"}, Caller()
    )
    token = await bearer(browser.server)
    answers = [
        await browser.ask(f"{MEDIA}/", **token),
        await browser.ask(f"{MEDIA}/", Authorization="Bearer of.another.application"),
        await browser.ask(f"{MEDIA}/", Authorization="Basic YTpi"),
    ]
    assert ["Ann the Second", "ann", "ann"] == [shown(answer)["name"] for answer in answers]
    nobody = Browser(browser.server)
    answer = await nobody.ask(f"{MEDIA}/", Authorization="Bearer x")
    assert (401, "invalid_token") == code_of(answer)
    browser.server.clock.advance(600)
    answer = await nobody.ask(f"{MEDIA}/", **token)
    assert (401, "token_expired") == code_of(answer)


@pytest.mark.parametrize(
    ("peer", "trusted"),
    [
        (("127.0.0.1", 1), True),
        (("::ffff:127.0.0.1", 1), True),
        (("127.0.0.2", 1), False),
        (("192.0.2.1", 1), False),
        (None, False),
        (("", 0), False),
    ],
)
@pytest.mark.parametrize("path", ["/forward-auth", "/forward-auth/check", "/forward-auth/login"])
async def test_untrusted_proxies(
    server: Server, path: str, peer: tuple[str, int] | None, *, trusted: bool
) -> None:
    """What others say of a request is not believed, though they have a good token."""
    forwarded = [
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "media.example.org"),
        ("X-Forwarded-Method", "GET"),
        ("X-Forwarded-Uri", "/"),
        ("X-Forwarded-For", "127.0.0.1"),
    ]
    headers = [*forwarded, *(await bearer(server)).items()]
    answer = await ask(server, "GET", path, headers=headers, client=peer)
    assert ((403, "untrusted_proxy") != answer.code) == trusted


async def test_unix_socket(tmp_path: Path) -> None:
    """Over the unix socket, whoever may open it is believed, if the settings say so."""
    async with accounts(tmp_path, ON.replace('"127.0.0.1"', '"unix"') + TABLE) as server:
        headers = [
            ("X-Forwarded-Proto", "wss"),
            ("X-Forwarded-Host", "media.example.org"),
            ("X-Forwarded-Method", "GET"),
            ("X-Forwarded-Uri", "/"),
            *(await bearer(server)).items(),
        ]
        answers = [
            await ask(server, "GET", "/forward-auth", headers=headers, client=client)
            for client in (None, ("127.0.0.1", 1))
        ]
        assert [200, 403] == [answer.status for answer in answers]


async def verified(server: Server, *addresses: str) -> None:
    sql = "insert into identifiers select id, 'email', ?, ?, ? from users"
    at = server.auth.now()
    rows = [Statement(sql, (each.lower(), each, at)) for each in addresses]
    rows += [Statement(sql, ("claimed@example.com", "claimed@example.com", None))]
    await server.auth.database.write(*rows)


async def test_email(server: Server) -> None:
    """Only a verified address is told, in the form that addresses are compared by."""
    await verified(server, "Bea@Example.com", "Zoe@example.com")
    answer = await Browser(server).ask(f"{MEDIA}/", **(await bearer(server)))
    assert "bea@example.com" == shown(answer)["email"]


NAMES = [
    ("Jörg Müller", "Jörg Müller", "J%C3%B6rg M%C3%BCller"),
    ("100 % ann", "100 % ann", "100 %25 ann"),
    ("a\r\nX-Auth-User: root", "a  X-Auth-User: root", "a  X-Auth-User: root"),
    ("a\x00\x1b[2J\x7f\x85b", "a  [2J  b", "a  [2J  b"),
    ("\u202enna\u2028", "nna", "nna"),
    ('日本, "x"; (y)', '日本, "x"; (y)', '%E6%97%A5%E6%9C%AC, "x"; (y)'),
    ("\u00a0 ", "", ""),
]


@pytest.mark.parametrize(("name", "utf8", "percent"), NAMES)
async def test_names(tmp_path: Path, name: str, utf8: str, percent: str) -> None:
    """A name begins no other header, and comes out as it went in (CWE-113)."""
    for encoding, expected in [("utf-8", utf8), ("percent", percent)]:
        (tmp_path / encoding).mkdir()
        more = TABLE + f'encoding = "{encoding}"'
        async with accounts(tmp_path / encoding, ON + more) as server:
            change = Statement("update users set name = ?", (name,))
            await server.auth.database.write(change)
            answer = await Browser(server).ask(f"{MEDIA}/", **(await bearer(server)))
            [line] = [value for key, value in answer.headers.raw if key == b"x-auth-name"]
            assert expected.encode() == line
            assert "ann" == shown(answer)["user"]


async def test_user_name_is_one_for_each_user(server: Server) -> None:
    """Who respells the own name stays the same user to an application that looks at the case."""
    who = await user_id(server)
    await server.auth.accounts.change(who, {"username": "ANN"}, Caller())
    answer = await Browser(server).ask(f"{MEDIA}/", **(await bearer(server)))
    assert ("ann", who) == (shown(answer)["user"], shown(answer)["id"])


async def test_chosen_headers(tmp_path: Path) -> None:
    """The settings say what an application is told."""
    async with accounts(tmp_path, ON + TABLE + 'headers = ["id"]') as server:
        answer = await Browser(server).ask(f"{MEDIA}/", **(await bearer(server)))
        assert {"id": await user_id(server)} == shown(answer)


async def test_every_header_is_there(server: Server) -> None:
    """Also what there is none of, so that nothing a client sent is taken for it."""
    answer = await Browser(server).ask(f"{MEDIA}/", **(await bearer(server)))
    assert set(HEADERS) == set(shown(answer))


async def test_one_look_into_the_store(browser: Browser) -> None:
    """A request of a login seen before costs one read by cookie, and none by token."""
    await browser.enter(f"{MEDIA}/")
    token = await bearer(browser.server)
    for headers, reads in [({}, 1), (token, 0)]:
        assert 200 == (await browser.ask(f"{MEDIA}/", **headers)).status_code
        with asking() as asked:
            assert 200 == (await browser.ask(f"{MEDIA}/", **headers)).status_code
        assert reads == len(asked)


async def test_headers_are_as_fresh_as_a_token(browser: Browser) -> None:
    """A new address is told within ten minutes, as what a token says."""
    await browser.enter(f"{MEDIA}/")
    assert "" == shown(await browser.ask(f"{MEDIA}/"))["email"]
    await verified(browser.server, "bea@example.com")
    browser.server.clock.advance(599)
    assert "" == shown(await browser.ask(f"{MEDIA}/"))["email"]
    browser.server.clock.advance(1)
    assert "bea@example.com" == shown(await browser.ask(f"{MEDIA}/"))["email"]


async def test_memory_is_bounded(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more logins are remembered than the bound says."""
    monkeypatch.setattr(identity, "REMEMBERED", 2)
    plugin: Any = browser.server.auth.plugins.on["forward-auth"]
    for _ in range(3):
        await Browser(browser.server).ask(f"{MEDIA}/", **(await bearer(browser.server)))
    assert 2 == len(plugin.identities.known)


DOMAIN = '\n[cookies]\ndomain = "example.com"\n'


@pytest.mark.parametrize(
    ("more", "name"), [("", LOGIN), (DOMAIN, "__Secure-picoauth")], ids=["host", "domain"]
)
async def test_hosts_that_have_the_cookie(tmp_path: Path, more: str, name: str) -> None:
    """A host that gets the cookie of the login itself needs no hop, and no cookie of its own."""
    hosts = TABLE.replace('"wiki.', '"auth.example.com", "wiki.')
    async with accounts(tmp_path, ON + more + hosts) as server:
        browser = Browser(server)
        url = f"{WIKI}/x" if more else "https://auth.example.com/x"
        answer = await browser.page(url)
        location = urlsplit(answer.headers["location"])
        assert ("/login/", {"to": [url]}) == (location.path, parse_qs(location.query))
        assert "set-cookie" not in answer.headers
        await browser.login()
        hop = f"https://auth.example.com/forward-auth/hop?{location.query}"
        assert url == (await browser.hop(hop)).headers["location"]
        cookie = f"{name}={browser.cookies['auth.example.com'][name]}"
        assert 200 == (await browser.page(url, Cookie=cookie)).status_code
        answer = await browser.page(f"{MEDIA}/", Cookie=cookie)
        assert 302 == answer.status_code
        origin = url.removesuffix("/x")
        answer = await browser.ask(
            f"{origin}/_picoauth/logout", X_Forwarded_Method="POST", Origin=origin, Cookie=cookie
        )
        assert f"{origin}/" == answer.headers["location"]
        assert (401, "session_ended") == code_of(await browser.ask(url, Cookie=cookie))


async def test_without_a_login_page(tmp_path: Path) -> None:
    """Where there is no page to log in at, everybody else gets 401."""
    table = "\n".join(line for line in TABLE.splitlines() if "login_url" not in line)
    async with accounts(tmp_path, ON + table) as server:
        browser = Browser(server)
        assert (401, "token_missing") == code_of(await browser.page(f"{MEDIA}/"))
        hop = f"https://auth.example.com/forward-auth/hop?to={MEDIA}/&bound={'x' * 43}"
        assert (401, "token_missing") == code_of(await browser.hop(hop))


async def test_logout(browser: Browser) -> None:
    """From a page of the host, it ends the login everywhere; a link does nothing."""
    other = Browser(browser.server)
    await other.login()
    await browser.enter(f"{MEDIA}/")
    await browser.enter(f"{WIKI}/")
    url = f"{MEDIA}/_picoauth/logout"
    answer = await browser.ask(url, X_Forwarded_Method="POST", Origin=WIKI)
    assert (403, "cross_site") == code_of(answer)
    answer = await browser.page(url)
    assert (302, f"{MEDIA}/") == (answer.status_code, answer.headers["location"])
    assert 200 == (await browser.page(f"{WIKI}/")).status_code
    for _ in range(2):
        answer = await browser.ask(url, X_Forwarded_Method="POST", Origin=MEDIA)
        assert (302, f"{MEDIA}/") == (answer.status_code, answer.headers["location"])
    for host in (WIKI, MEDIA):
        assert (401, "session_ended") == code_of(await browser.ask(f"{host}/"))
    [session_id] = await alive(browser.server)
    assert other.cookies["auth.example.com"][LOGIN].partition(".")[0] == session_id


async def alive(server: Server) -> list[str]:
    rows = await server.auth.database.read("select id from sessions where ended_at is null")
    return [session_id for (session_id,) in rows]


async def test_nginx(browser: Browser) -> None:
    """It checks first, and asks where to go only after a 401; ours is never let through."""
    check, ask_login = "/forward-auth/check", "/forward-auth/login"
    await browser.enter(f"{MEDIA}/")
    assert 200 == (await browser.ask(f"{MEDIA}/", path=check)).status_code
    for ours in ("finish", "logout", "x"):
        answer = await browser.ask(f"{MEDIA}/_picoauth/{ours}", path=check)
        assert (401, "token_missing") == code_of(answer)
        answer = await browser.ask(f"{MEDIA}/_picoauth/{ours}", path=ask_login)
        assert (302, f"{MEDIA}/") == (answer.status_code, answer.headers["location"])
    answer = await browser.ask(f"{MEDIA}/x", path=ask_login, Accept="text/html")
    assert f"{MEDIA}/x" == answer.headers["location"]  # logged in meanwhile


async def test_head(browser: Browser) -> None:
    """A proxy that asks by HEAD is told the same."""
    await browser.enter(f"{MEDIA}/")
    cookie = f"{SITE}={browser.cookies['media.example.org'][SITE]}"
    headers = [
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "media.example.org"),
        ("X-Forwarded-Method", "HEAD"),
        ("X-Forwarded-Uri", "/"),
        ("Cookie", cookie),
    ]
    answer = await ask(browser.server, "HEAD", "/forward-auth", headers=headers)
    assert (200, "ann") == (answer.status, answer.headers["x-auth-user"])


NO_PROXY = (
    "forward-auth believes only `trusted_proxies`, and there are none: name the address of "
    'your proxy there, or "unix" for the unix socket.'
)
ODD_HOST = (
    "[forward-auth].hosts[0]: must be a host such as wiki.example.com, or *.example.com for all "
    "below one, in lower case, with its port if that is not 443."
)
ODD_PAGE = (
    "[forward-auth].login_url: must be a page such as https://auth.example.com/login/, without "
    "query and fragment."
)
WRONG = [
    (
        ON.replace('"127.0.0.1"', ""),
        TABLE,
        NO_PROXY,
    ),
    (ON, "", "[forward-auth].hosts: is missing."),
    (ON, "[forward-auth]\nhosts = []", "[forward-auth].hosts: must have at least 1 item."),
    *(
        (
            ON,
            f'[forward-auth]\nhosts = ["{host}"]',
            ODD_HOST,
        )
        for host in (
            "https://a.example",
            "a.example/",
            "A.example",
            "*",
            "*.",
            "a.*",
            ".a",
            "a b",
            "",
        )
    ),
    *(
        (
            ON,
            f'[forward-auth]\nhosts = ["a.example"]\nlogin_url = "{url}"',
            ODD_PAGE,
        )
        for url in (
            "/login",
            "http://a.example/",
            "https://a.example",
            "https://a@b/",
            "https://a/?b",
        )
    ),
    *(
        (
            ON,
            f'[forward-auth]\nhosts = ["a.example"]\norigins = ["{origin}"]',
            "[forward-auth].origins[0]: must be an origin such as https://example.com, in lower case.",
        )
        for origin in ("*", "null", "https://a.example/", "http://a.example")
    ),
    (
        ON,
        '[forward-auth]\nhosts = ["a.example"]\nheaders = ["mail"]',
        '[forward-auth].headers[0]: must be one of "user", "id", "email", "name", "amr".',
    ),
]


@pytest.mark.parametrize(("on", "table", "message"), WRONG)
async def test_settings(tmp_path: Path, on: str, table: str, message: str) -> None:
    """What would protect nothing, or let strangers in, stops the start."""
    with pytest.raises(ConfigError) as error:
        async with accounts(tmp_path, on + table):
            pass
    assert message == str(error.value)
