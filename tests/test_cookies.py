"""Sessions in cookies: what a browser is handed, from where it may use it, and until when."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import httpx
import pytest

from picoauth import Caller, SessionEnded, Statement, Unavailable
from picoauth.testing import Clock, Server
from tests.accounts import SETTINGS, accounts, asking, heard, user_id, watched
from tests.factors import PIN, WRONG_PIN, code_of
from tests.test_keys import written

ORIGIN = "http://127.0.0.1:8100"
HERE = {"Origin": ORIGIN}
NAME = "__Host-picoauth"
DAY = 86400


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with accounts(tmp_path) as server:
        yield server


@dataclass
class Browser:
    """Keeps the cookie as a browser does, and says from which page it asks."""

    server: Server
    cookie: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    page: Mapping[str, str] = field(default_factory=lambda: HERE)

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        kept = {"Cookie": f"{NAME}={self.cookie}"} if self.cookie else {}
        content = {} if body is None else {"json": body}
        all_headers = {**self.page, **kept, **headers}
        self.server.client.cookies.clear()
        answer = await self.server.client.request(method, path, headers=all_headers, **content)
        self.server.client.cookies.clear()
        for line in answer.headers.get_list("set-cookie"):
            [(name, morsel)] = SimpleCookie(line).items()
            assert NAME == name
            self.cookie = morsel.value or None
            self.attributes = {key: value for key, value in morsel.items() if value}
        return answer

    async def login(self, **more: Any) -> dict[str, Any]:
        answer = await self.ask("POST", "/auth/login", {**PIN, "session": "cookie", **more})
        assert 200 == answer.status_code, answer.text
        claims: dict[str, Any] = answer.json()
        return claims

    async def who(self) -> tuple[int, str | None]:
        return code_of(await self.ask("GET", "/auth/session"))


@pytest.fixture
async def browser(server: Server) -> Browser:
    browser = Browser(server)
    await browser.login()
    return browser


OK = (200, None)
ENDED = (401, "session_ended")


async def test_login(server: Server) -> None:
    """A login answers who is logged in, and sets the cookie with all that protects it (S-1)."""
    browser = Browser(server)
    claims = await browser.login()
    attributes = {"path": "/", "secure": True, "httponly": True, "samesite": "Lax"}
    assert attributes == browser.attributes
    expected = {"iss", "sub", "aud", "sid", "amr", "auth_time", "preferred_username", "name", "exp"}
    assert expected == set(claims)
    session_id, secret = str(browser.cookie).split(".")
    assert (claims["sid"], 43) == (session_id, len(secret))
    assert claims == (await browser.ask("GET", "/auth/session")).json()
    assert await user_id(server) == (await browser.ask("GET", "/auth/me")).json()["id"]


async def test_no_tokens_beside_a_cookie(browser: Browser) -> None:
    """A page that uses cookies never sees a token, and no script can read the cookie."""
    answer = await browser.ask("POST", "/auth/login", {**PIN, "session": "cookie"})
    assert "token" not in answer.text


@pytest.mark.embedded
async def test_only_a_digest_is_stored(browser: Browser, tmp_path: Path) -> None:
    """The database holds nothing that would log anybody in (S-2)."""
    secret = str(browser.cookie).partition(".")[2]
    stored = written(tmp_path)
    [(digest,)] = await browser.server.auth.database.read("select cookie from sessions")
    assert (True, False) == (digest in stored, secret.encode() in stored)


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"session": "jar"}, 'session must be "token" or "cookie"'),
        ({"session": 7}, "session must be a text"),
        ({"session": "cookie", "remember": "yes"}, "remember must be true or false"),
        ({"remember": True}, 'remember goes with "session": "cookie"'),
        ({"session": "token", "remember": True}, 'remember goes with "session": "cookie"'),
    ],
)
async def test_odd_wishes(server: Server, body: dict[str, Any], detail: str) -> None:
    """What is not understood is refused, before anything is checked."""
    answer = await Browser(server).ask("POST", "/auth/login", {**PIN, **body})
    assert ((400, "invalid_body"), detail) == (code_of(answer), answer.json()["detail"])


async def test_wish_is_kept_in_the_flow(server: Server) -> None:
    """Who asked for a cookie at the first step gets it after the second."""
    browser, other = Browser(server), Browser(server)
    await browser.login()
    answer = await browser.ask("POST", "/code/enrol", {"code": "111111"})
    assert OK == code_of(answer)
    first = await other.ask("POST", "/auth/login", {**PIN, "session": "cookie", "remember": True})
    assert ((401, "more_needed"), None) == (code_of(first), other.cookie)
    body = {"flow": first.json()["flow"], "factor": "code", "code": "111111"}
    assert OK == code_of(await other.ask("POST", "/auth/login", body))
    assert (OK, str(90 * DAY)) == (await other.who(), other.attributes["max-age"])


@pytest.mark.parametrize("body", [WRONG_PIN, {"username": "bob", "pin": "1"}])
async def test_failed_login_sets_nothing(server: Server, body: dict[str, Any]) -> None:
    """Without a session there is no cookie; one that is there stays."""
    browser = Browser(server)
    await browser.login()
    before = browser.cookie
    answer = await browser.ask("POST", "/auth/login", {**body, "session": "cookie"})
    assert ((401, "proof_refused"), before) == (code_of(answer), browser.cookie)


async def test_idle_end(browser: Browser) -> None:
    """A session that nobody uses ends after seven days."""
    browser.server.clock.advance(7 * DAY - 1)
    other = Browser(browser.server, browser.cookie)
    browser.server.clock.advance(1)
    assert ENDED == await other.who()


async def test_use_prolongs_past_half_its_life(browser: Browser) -> None:
    """In the first half nothing is written; past it, use alone moves the idle end."""
    sql = "select idle_at from sessions"
    [(before,)] = await browser.server.auth.database.read(sql)
    browser.server.clock.advance(7 * DAY / 2)
    answer = await browser.ask("GET", "/auth/session")
    assert (None, [(before,)]) == (
        answer.headers.get("set-cookie"),
        await browser.server.auth.database.read(sql),
    )
    browser.server.clock.advance(1)
    answer = await browser.ask("GET", "/auth/session")
    now = browser.server.auth.now()
    assert [(now + 7 * DAY,)] == await browser.server.auth.database.read(sql)
    assert now + 7 * DAY == answer.json()["exp"]
    assert NAME in answer.headers["set-cookie"]


async def test_root_secret_is_rotated(tmp_path: Path) -> None:
    """A cookie of the old root secret is good, and is prolonged under the new one."""
    for name in ("old", "new"):
        path = tmp_path / name
        path.write_text(base64.b64encode((name * 11).encode()).decode() + "0123456789")
        path.chmod(0o600)
    clock, browsers = Clock(), []
    for secrets in ('{ file = "old" }', '[{ file = "new" }, { file = "old" }]'):
        settings = f"{SETTINGS}secret = {secrets}"
        async with accounts(tmp_path, settings, clock=clock) as server:
            for browser in browsers:
                browser.server = server
                for days in (3, 3, 3):
                    clock.advance(days * DAY)
                    assert OK == await browser.who()
            browsers.append(Browser(server))
            await browsers[-1].login()
    assert browsers[0].cookie != browsers[1].cookie


async def test_absolute_end(browser: Browser) -> None:
    """However much it is used, a session ends after thirty days."""
    for _ in range(29):
        browser.server.clock.advance(DAY)
        assert OK == await browser.who()
    browser.server.clock.advance(DAY - 1)
    assert OK == await browser.who()
    browser.server.clock.advance(1)
    assert ENDED == await browser.who()


async def test_remember_me(server: Server) -> None:
    """A remembered session outlives the browser, for ninety days, used or not."""
    browser = Browser(server)
    await browser.login(remember=True)
    assert str(90 * DAY) == browser.attributes["max-age"]
    server.clock.advance(90 * DAY - 1)
    answer = await browser.ask("GET", "/auth/session")
    assert (OK, None) == (code_of(answer), answer.headers.get("set-cookie"))
    server.clock.advance(1)
    assert ENDED == await browser.who()


async def test_remembered_session_that_ends(server: Server) -> None:
    """It is listed for as long as its access tokens last, and no longer: its row says it ended."""
    browser = Browser(server)
    claims = await browser.login(remember=True)
    await browser.ask("POST", "/auth/logout")
    await server.auth.revocations.poll()
    assert {claims["sid"]: server.auth.now() + 960} == server.auth.revocations.ended


async def test_refresh(browser: Browser) -> None:
    """A page may move the idle end itself, at any time."""
    browser.server.clock.advance(100)
    answer = await browser.ask("POST", "/auth/session/refresh")
    expected = browser.server.auth.now() + 7 * DAY
    assert (expected, True) == (answer.json()["exp"], "set-cookie" in answer.headers)


async def test_refresh_of_tokens(server: Server) -> None:
    """Who has tokens is told who is logged in; they have another way to be renewed."""
    token = (await server.post("/auth/login", PIN)).json()["access_token"]
    answer = await server.post("/auth/session/refresh", token=token)
    claims = (await server.post("/jwt/validate", token=token)).json()
    assert (claims, None) == (answer.json(), answer.headers.get("set-cookie"))


async def test_two_tabs_prolong_at_once(browser: Browser) -> None:
    """Fifty requests at once past half its life: all are served, and one moves the end."""
    browser.server.clock.advance(6 * DAY)
    tabs = [Browser(browser.server, browser.cookie) for _ in range(50)]
    assert {OK} == set(await asyncio.gather(*(tab.who() for tab in tabs)))
    assert {browser.cookie} == {tab.cookie for tab in tabs}


ENDS = [
    ("POST", "/auth/logout"),
    ("POST", "/auth/logout_from_all"),
    ("DELETE", "/auth/me"),
    ("DELETE", "/auth/sessions/SID"),
]


@pytest.mark.parametrize(("method", "path"), ENDS)
async def test_end(browser: Browser, method: str, path: str) -> None:
    """What ends the own session clears the cookie, and the one that was copied is dead."""
    copied = str(browser.cookie)
    answer = await browser.ask(method, path.replace("SID", copied.partition(".")[0]))
    assert ((204, None), None) == (code_of(answer), browser.cookie)
    assert "Max-Age=0" in answer.headers["set-cookie"]
    assert ENDED == await Browser(browser.server, copied).who()


async def test_end_of_another_session(browser: Browser) -> None:
    """Ending another device's session leaves the own cookie alone."""
    other = Browser(browser.server)
    sid = (await other.login())["sid"]
    answer = await browser.ask("DELETE", f"/auth/sessions/{sid}")
    assert ((204, None), False) == (code_of(answer), "set-cookie" in answer.headers)
    assert (ENDED, OK) == (await other.who(), await browser.who())


@pytest.mark.parametrize("way", ["disable", "delete", "logout_from_all"])
async def test_ended_by_somebody_else(browser: Browser, way: str) -> None:
    """Who is disabled, deleted or logged out is refused; the cookie is left (S-6)."""
    act = getattr(browser.server.auth.accounts, way)
    await act(await user_id(browser.server), Caller())
    before = browser.cookie
    for method, path in [("GET", "/auth/session"), ("GET", "/auth/me"), *ENDS]:
        assert ENDED == code_of(await browser.ask(method, path.replace("SID", "x")))
    assert before == browser.cookie


async def test_disabled_behind_the_list(browser: Browser) -> None:
    """A disabled user is refused even where neither session nor list say so."""
    browser.server.auth.cookies.claims.clear()
    disabling = Statement("update users set disabled_at = 1")
    await browser.server.auth.database.write(disabling)
    assert ENDED == await browser.who()


async def test_list_comes_first(browser: Browser) -> None:
    """A session that another process ended is refused as soon as the list says so."""
    sid = str(browser.cookie).partition(".")[0]
    browser.server.auth.revocations.ended[sid] = browser.server.auth.now() + 900
    assert ENDED == await browser.who()


async def stepped_up(browser: Browser) -> None:
    answer = await browser.ask("POST", "/auth/stepup", PIN)
    assert OK == code_of(answer), answer.text


async def enrolled(browser: Browser) -> None:
    answer = await browser.ask("POST", "/code/enrol", {"code": "111111"})
    assert OK == code_of(answer), answer.text


@pytest.mark.parametrize("change", [stepped_up, enrolled])
async def test_rotation(browser: Browser, change: Any) -> None:
    """A fresh proof, or another credential, makes another secret; the old one is dead (S-3)."""
    before, sid = browser.cookie, str(browser.cookie).partition(".")[0]
    await change(browser)
    assert before != browser.cookie
    assert sid == str(browser.cookie).partition(".")[0]
    assert (OK, ENDED) == (await browser.who(), await Browser(browser.server, before).who())


async def test_credential_change_ends_others(browser: Browser) -> None:
    """Another credential ends every other session, kept in a cookie or as tokens."""
    other = Browser(browser.server)
    await other.login()
    await enrolled(browser)
    assert (ENDED, OK) == (await other.who(), await browser.who())


async def test_stepup_opens_what_needs_a_fresh_proof(browser: Browser) -> None:
    """After a while a change needs a fresh proof, which a cookie can give as well."""
    browser.server.clock.advance(600)
    answer = await browser.ask("POST", "/code/enrol", {"code": "1"})
    assert (403, "stepup_needed") == code_of(answer)
    await stepped_up(browser)
    await enrolled(browser)


async def test_change_that_fails_sets_nothing(browser: Browser) -> None:
    """Where a change comes to nothing, the cookie of before stays good."""
    before = browser.cookie
    database = watched(browser.server)
    database.down = True
    answer = await browser.ask("POST", "/code/enrol", {"code": "1"})
    assert ((503, "unavailable"), before) == (code_of(answer), browser.cookie)
    database.down = False
    assert OK == await browser.who()


async def test_store_that_is_down(browser: Browser) -> None:
    """When the store cannot be asked, nobody is let in, and nobody is logged out (S-8)."""
    watched(browser.server).down = True
    before = browser.cookie
    assert (503, "unavailable") == await browser.who()
    watched(browser.server).down = False
    assert (before, OK) == (browser.cookie, await browser.who())


PAGES = [
    ({"Origin": ORIGIN}, True),
    ({"Origin": "https://app.example"}, True),
    ({"Sec-Fetch-Site": "same-origin"}, True),
    ({"Origin": ORIGIN, "Sec-Fetch-Site": "same-site"}, True),
    ({}, False),
    ({"Origin": "null"}, False),
    ({"Origin": ""}, False),
    ({"Origin": "http://127.0.0.1"}, False),
    ({"Origin": "http://127.0.0.1:8100.evil.example"}, False),
    ({"Origin": "https://127.0.0.1:8100"}, False),
    ({"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"}, False),
    ({"Sec-Fetch-Site": "same-site"}, False),
    ({"Sec-Fetch-Site": "cross-site"}, False),
    ({"Sec-Fetch-Site": "none"}, False),
    ({"Referer": f"{ORIGIN}/page"}, False),
    ({"Origin": ORIGIN, "Content-Type": "application/x-www-form-urlencoded"}, False),
    ({"Origin": ORIGIN, "Content-Type": "multipart/form-data; boundary=x"}, False),
    ({"Origin": ORIGIN, "Content-Type": "Text/Plain;charset=utf-8"}, False),
]


@pytest.mark.parametrize(("page", "allowed"), PAGES)
@pytest.mark.parametrize("path", ["/auth/logout", "/auth/logout_from_all", "/auth/session/refresh"])
async def test_pages_of_other_sites(
    tmp_path: Path, page: Mapping[str, str], path: str, *, allowed: bool
) -> None:
    """A change asks for a page of ours, by what browsers say and scripts cannot (S-5)."""
    settings = SETTINGS + 'cors_origins = ["https://app.example"]'
    async with accounts(tmp_path, settings) as server:
        browser = Browser(server)
        await browser.login()
        browser.page = page
        answer = await browser.ask("POST", path)
        if allowed:
            assert answer.status_code in (200, 204), answer.text
        else:
            assert (403, "cross_site") == code_of(answer)
            assert OK == await browser.who()  # which changes nothing: any page may ask


@pytest.mark.parametrize(
    ("page", "allowed"), [each for each in PAGES if "Content-Type" not in each[0]]
)
async def test_login_from_other_sites(
    tmp_path: Path, page: Mapping[str, str], *, allowed: bool
) -> None:
    """No other site logs a visitor in as somebody else; with tokens it could not, either."""
    settings = SETTINGS + 'cors_origins = ["https://app.example"]'
    async with accounts(tmp_path, settings) as server:
        browser = Browser(server, page=page)
        answer = await browser.ask("POST", "/auth/login", {**PIN, "session": "cookie"})
        expected = (OK, True) if allowed else ((403, "cross_site"), False)
        assert expected == (code_of(answer), browser.cookie is not None)
        assert OK == code_of(await browser.ask("POST", "/auth/login", PIN))


async def test_later_step_from_another_site(browser: Browser) -> None:
    """A flow that will set a cookie cannot be finished from another site, either."""
    await enrolled(browser)
    other = Browser(browser.server)
    first = await other.ask("POST", "/auth/login", {**PIN, "session": "cookie"})
    other.page = {"Origin": "https://evil.example"}
    body = {"flow": first.json()["flow"], "factor": "code", "code": "111111"}
    answer = await other.ask("POST", "/auth/login", body)
    assert ((403, "cross_site"), None) == (code_of(answer), other.cookie)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", (401, "token_missing")),
        ("x", ENDED),
        ("SID", ENDED),
        ("SID.", ENDED),
        (".SECRET", ENDED),
        ("SID.SECRETx", ENDED),
        ("sid.SECRET", ENDED),
        ("SID.é", ENDED),
        ('"SID.SECRET"', ENDED),
    ],
)
async def test_odd_cookies(browser: Browser, value: str, expected: tuple[int, str]) -> None:
    """Only what was handed out, to the letter, is somebody; ids are never adopted (S-3)."""
    sid, secret = str(browser.cookie).split(".")
    text = value.replace("SID", sid).replace("sid", sid.upper()).replace("SECRET", secret)
    headers = {"Cookie": f"{NAME}={text}".encode("latin-1")}
    for path in ("/auth/session", "/auth/me"):
        answer = await browser.server.client.get(path, headers=headers)
        assert expected == code_of(answer)
        assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("a=b; NAME=GOOD; c=d", OK),
        ("NAME=GOOD;a=b", OK),
        ("NAME=GOOD; NAME=GOOD", OK),
        ("NAME=GOOD; NAME=other", (400, "ambiguous_token")),
        ("__host-picoauth=GOOD", (401, "token_missing")),
        ("picoauth=GOOD", (401, "token_missing")),
        ("__Secure-picoauth=GOOD", (401, "token_missing")),
        ("=GOOD", (401, "token_missing")),
        ("=NAME=GOOD", (401, "token_missing")),
        (" \tNAME=GOOD", OK),
        *((f"{blank}NAME=GOOD", (401, "token_missing")) for blank in "\xa0\x85\x1c\x1f"),
        *((f"NAME=GOOD; {blank}NAME=other", OK) for blank in "\xa0\x85\x1c\x1f"),
    ],
)
async def test_cookie_headers(browser: Browser, header: str, expected: tuple[int, str]) -> None:
    """A nameless or differently written copy counts for nothing (S-1); two are one too many."""
    text = header.replace("NAME", NAME).replace("GOOD", str(browser.cookie)).encode("latin-1")
    for path in ("/auth/session", "/auth/me"):
        answer = await browser.server.client.get(path, headers={"Cookie": text})
        assert expected == code_of(answer)


async def test_token_beside_a_cookie(browser: Browser) -> None:
    """A request that brings a token is judged by it alone, whatever cookie the browser adds."""
    tokens = (await browser.server.post("/auth/login", PIN)).json()
    token = f"Bearer {tokens['access_token']}"
    answer = await browser.ask("GET", "/auth/session", Authorization=token)
    sid = str(browser.cookie).partition(".")[0]
    assert (OK, True) == (code_of(answer), answer.json()["sid"] != sid)
    for path in ("/auth/session", "/auth/me"):
        answer = await browser.ask("GET", path, Authorization="Bearer x")
        assert (401, "invalid_token") == code_of(answer)


async def test_cookie_is_no_token(browser: Browser) -> None:
    """Neither the cookie nor its secret is good as a token, and a token is no cookie (K-5)."""
    server, cookie = browser.server, str(browser.cookie)
    tokens = (await server.post("/auth/login", PIN)).json()
    for text in (cookie, cookie.partition(".")[2]):
        for path in ("/jwt/validate", "/jwt/refresh"):
            assert (401, "invalid_token") == code_of(await server.post(path, token=text))
    for text in tokens["access_token"], tokens["refresh_token"]:
        assert ENDED == await Browser(server, text).who()
    sid = tokens["access_token"]
    claims = (await server.post("/jwt/validate", token=sid)).json()
    assert ENDED == await Browser(server, f"{claims['sid']}.").who()  # it has no cookie


async def test_one_look_into_the_store(browser: Browser) -> None:
    """Who is logged in takes one look into the store; the rest is remembered as long as a token."""
    with asking() as first:
        await browser.who()
    with asking() as second:
        await browser.who()
    browser.server.clock.advance(600)
    with asking() as third:
        await browser.who()
    assert ("from sessions" in second[0], 1) == (True, len(second))
    assert len(third) > 1
    assert len(first) <= len(third)


async def test_rename_shows(browser: Browser) -> None:
    """A new name shows when a new token would have it, at the latest."""
    answer = await browser.ask("PATCH", "/auth/me", {"name": "Ann Example"})
    assert OK == code_of(answer)
    browser.server.clock.advance(600)
    assert "Ann Example" == (await browser.ask("GET", "/auth/session")).json()["name"]


async def test_shared_domain(tmp_path: Path) -> None:
    """By a setting, and no other way, hosts below one domain share the cookie."""
    settings = SETTINGS + '[cookies]\ndomain = "example.com"'
    async with accounts(tmp_path, settings) as server:
        headers = {**HERE, "Content-Type": "application/json"}
        body = json.dumps({**PIN, "session": "cookie"})
        answer = await server.client.post("/auth/login", content=body, headers=headers)
        line = answer.headers["set-cookie"]
        name, _, rest = line.partition("=")
        attributes = "Path=/; Secure; HttpOnly; SameSite=Lax; Domain=example.com"
        assert ("__Secure-picoauth", attributes) == (name, rest.partition("; ")[2])
        server.client.cookies.clear()
        cookie = {"Cookie": line.partition(";")[0]}
        assert OK == code_of(await server.client.get("/auth/session", headers=cookie))


async def test_derived_session_has_its_own_cookie(browser: Browser) -> None:
    """A sibling is kept in a cookie too, with a secret of its own."""
    server, sid = browser.server, str(browser.cookie).partition(".")[0]
    session = await server.auth.sessions.get(sid)
    assert session is not None
    answer = await server.auth.derive(session, Caller())
    sibling = await server.auth.sessions.get(answer["sid"])
    assert sibling is not None
    assert ("cookie", sid) == (sibling.delivery, sibling.parent_id)
    assert sibling.cookie not in (None, session.cookie)
    other = Browser(server, f"{sibling.id}.{server.auth.cookies.secret(sibling)}")
    assert OK == await other.who()
    await browser.ask("POST", "/auth/logout")
    assert ENDED == await other.who()


@pytest.mark.parametrize("kind", ["token", "cookie"])
async def test_oldest_session_makes_room(tmp_path: Path, kind: str) -> None:
    """A user has so many sessions at most; what was not used for longest ends, and is told."""
    async with accounts(tmp_path, SETTINGS + "[logins]\nsessions = 3") as server:
        events = heard(server)
        sids = []
        for _ in range(5):
            server.clock.advance(1)
            answer = await Browser(server).ask("POST", "/auth/login", {**PIN, "session": kind})
            assert OK == code_of(answer)
            [newest, *_] = await server.auth.sessions.list(await user_id(server))
            sids.append(newest.id)
        left = [one.id for one in await server.auth.sessions.list(await user_id(server))]
        assert sids[:1:-1] == left
        await server.auth.events.settle()
        ended = [event.session_id for event in events if isinstance(event, SessionEnded)]
        assert sids[:2] == ended
        assert set(sids[:2]) <= server.auth.revocations.ended.keys()


async def test_logins_at_once_leave_one(tmp_path: Path) -> None:
    """Who has to go is seen in the write that puts a session, so that no two end each other."""
    async with accounts(tmp_path, SETTINGS + "[logins]\nsessions = 1") as server:
        browsers = [Browser(server) for _ in range(10)]
        await asyncio.gather(*(browser.login() for browser in browsers))
        assert 1 == len(await server.auth.sessions.list(await user_id(server)))
        assert 1 == [await browser.who() for browser in browsers].count(OK)


async def test_room_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The login stands, and the next one ends all that are too many."""
    async with accounts(tmp_path, SETTINGS + "[logins]\nsessions = 1") as server:
        first, second, third = (Browser(server) for _ in range(3))
        await first.login()
        with monkeypatch.context() as patch:
            patch.setattr(server.auth.sessions, "end", None)
            await second.login()
        assert [OK, OK] == [await each.who() for each in (first, second)]
        await third.login()
        assert [ENDED, ENDED, OK] == [await each.who() for each in (first, second, third)]


async def test_used_sessions_stay(tmp_path: Path) -> None:
    """Of two sessions the one that was used lately stays, though it is older."""
    async with accounts(tmp_path, SETTINGS + "[logins]\nsessions = 2") as server:
        first, second, third = (Browser(server) for _ in range(3))
        await first.login()
        server.clock.advance(1)
        await second.login()
        server.clock.advance(1)
        await first.ask("POST", "/auth/session/refresh")
        await third.login()
        assert [OK, ENDED, OK] == [await each.who() for each in (first, second, third)]


async def test_remembered_claims_are_bounded(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So many sessions are remembered at most; the others are read again."""
    monkeypatch.setattr("picoauth.cookies.REMEMBERED", 2)
    others = [Browser(browser.server) for _ in range(3)]
    for other in others:
        await other.login()
    for one in (browser, *others):
        assert OK == await one.who()
    assert 2 == len(browser.server.auth.cookies.claims)
    assert OK == await browser.who()


async def test_prolonging_that_cannot_be_written(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing can be written, who is logged in stays so (FC-3); it is tried again later."""
    server, tries = browser.server, 0

    async def full(*_: object) -> None:
        nonlocal tries
        tries += 1
        raise Unavailable("the database answers SQLITE_FULL")

    server.clock.advance(6 * DAY)
    with monkeypatch.context() as patched:
        patched.setattr(server.auth.database, "write", full)
        for seconds, tried in ((0, 1), (9, 1), (1, 2)):
            server.clock.advance(seconds)
            answer = await browser.ask("GET", "/auth/session")
            assert (OK, None) == (code_of(answer), answer.headers.get("set-cookie"))
            assert tried == tries
        answer = await browser.ask("POST", "/auth/session/refresh")
        assert (503, "unavailable") == code_of(answer)
    server.clock.advance(10)
    assert "set-cookie" in (await browser.ask("GET", "/auth/session")).headers


async def test_prolonging_that_comes_too_late(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where somebody else changed the session meanwhile, the request is served all the same."""

    async def late(*_: object) -> None:
        return None

    monkeypatch.setattr("picoauth.cookies.lengthened", late)
    browser.server.clock.advance(6 * DAY)
    answer = await browser.ask("GET", "/auth/session")
    assert (OK, None) == (code_of(answer), answer.headers.get("set-cookie"))
