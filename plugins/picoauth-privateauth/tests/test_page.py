"""The built-in page: its forms, as a browser without scripts sends them, and how it looks."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import pytest
from endpoint import APP, CHALLENGE, CLIENTS, DOOR, DOOR_BACK, ISSUER, Home, home, legacy, query

from picoauth import Caller
from picoauth.testing import PASSWORD, Someone
from picoauth_privateauth.clients import Client
from picoauth_privateauth.page import policy

ON = """
plugins = ["watched", "password", "pin", "recovery", "totp", "code", "rights", "privateauth"]
public_url = "https://auth.example"
"""
TABLE = """
[password]
memory_kib = 19456

[privateauth]
consent_url = "built-in"
"""
INPUT = re.compile(r"<input ([^>]*)>")
ATTRIBUTE = re.compile(r'(\w[\w-]*)="([^"]*)"')


@dataclass
class Browser:
    """A tab: cookies, and the forms of the page that is open."""

    at_home: Home
    cookies: dict[str, str] = field(default_factory=dict)
    page: httpx.Response | None = None

    async def open(self, location: str) -> httpx.Response:
        path = location.removeprefix("https://auth.example")
        assert path.startswith("/indieauth/consent?request="), location
        headers = {"Cookie": self.cookie}
        return self.shown(await self.at_home.server.client.get(path, headers=headers))

    @property
    def cookie(self) -> str:
        return "; ".join(f"{name}={value}" for name, value in self.cookies.items())

    def shown(self, answer: httpx.Response) -> httpx.Response:
        if "set-cookie" in answer.headers:
            name, _, value = answer.headers["set-cookie"].partition(";")[0].partition("=")
            self.cookies[name] = value
        self.page = answer
        return answer

    @property
    def fields(self) -> dict[str, str]:
        """What the form sends if nobody touches it."""
        found = {}
        assert self.page is not None
        for text in INPUT.findall(self.page.text):
            attributes = dict(ATTRIBUTE.findall(text))
            chosen = attributes.get("type") not in ("radio", "checkbox") or " checked" in text
            if chosen:
                found[attributes["name"]] = unescape(attributes.get("value", ""))
        return found

    async def send(self, *, headers: dict[str, str] | None = None, **typed: str) -> httpx.Response:
        """Fill the form in and press a button; what is None is not sent."""
        sent = {**self.fields, **typed}
        origin = {"Origin": "https://auth.example"} if headers is None else headers
        answer = await self.at_home.server.client.post(
            "/indieauth/consent", data=sent, headers={"Cookie": self.cookie, **origin}
        )
        self.shown(answer)
        if answer.status_code == 303 and answer.headers["location"].startswith("/indieauth/"):
            return await self.open(answer.headers["location"])
        return answer


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Home]:
    async with home(tmp_path, TABLE + CLIENTS, ON) as running:
        await running.server.register("eve")
        yield running


async def come(at_home: Home, **changes: Any) -> Browser:
    """A browser that comes from a client."""
    answer = await at_home.authorize(**changes)
    browser = Browser(at_home)
    await browser.open(answer.headers["location"])
    return browser


async def logged_in(at_home: Home, **changes: Any) -> Browser:
    browser = await come(at_home, **changes)
    await browser.send(username="eve", password=PASSWORD, do="login")
    assert browser.page is not None
    assert "Log in to" in browser.page.text, browser.page.text
    return browser


async def typed(at_home: Home, someone: Someone) -> dict[str, str]:
    """What a user of the kit types."""
    payload = await at_home.server.ceremonies["password"].answer(someone, {})
    return {**{name: str(value) for name, value in payload.items()}, "do": "login"}


async def test_login_and_consent(page: Home) -> None:
    """Who comes from a client logs in, is asked, and goes back with a code."""
    browser = await come(page)
    assert browser.page is not None
    assert "to go on to <strong>App</strong>" in browser.page.text
    asked = await browser.send(username="eve", password=PASSWORD, do="login")
    assert 200 == asked.status_code
    for words in (
        "Log in to App?",
        "You are <strong>eve</strong>",
        APP,
        "https://auth.example/u/eve",
    ):
        assert words in asked.text
    answer = await browser.send(do="approve")
    back = query(answer.headers["location"])
    assert ("st at/e+1", ISSUER) == (back["state"], back["iss"])
    told = await page.redeem(back["code"])
    assert {"me": "https://auth.example/u/eve"} == told.json()


async def test_second_login(page: Home) -> None:
    """Who is logged in is only asked, and may say no."""
    browser = await logged_in(page)
    await browser.open((await page.authorize()).headers["location"])
    answer = await browser.send(do="deny")
    assert "access_denied" == query(answer.headers["location"])["error"]


async def test_scopes(page: Home) -> None:
    """Each scope is a box, which may be emptied."""
    browser = await logged_in(page, scope="profile email")
    assert browser.page is not None
    assert "your e-mail address" in browser.page.text
    sent = {name: value for name, value in browser.fields.items() if name != "scope-email"}
    answer = await page.server.client.post(
        "/indieauth/consent",
        data={**sent, "do": "approve"},
        headers={"Cookie": browser.cookie, "Origin": "https://auth.example"},
    )
    tokens = (await page.redeem(query(answer.headers["location"])["code"], "token")).json()
    assert "profile" == tokens["scope"]


async def test_wrong_password(page: Home) -> None:
    """A wrong password is said to be wrong, and the name is still there."""
    browser = await come(page)
    answer = await browser.send(username="e<v>e", password="wrong", do="login")
    assert 401 == answer.status_code
    assert 'role="alert"' in answer.text
    assert 'value="e&lt;v&gt;e"' in answer.text
    answer = await browser.send(username="eve", password=PASSWORD, do="login")
    assert "Log in to App?" in answer.text


async def test_second_factor(page: Home) -> None:
    """Whoever has a second factor types its code; a wrong one may be typed again."""
    someone = await page.server.join("password", "totp")
    ceremony = page.server.ceremonies["totp"]
    browser = await come(page)
    login = await typed(page, someone)
    answer = await browser.send(**login)
    assert 200 == answer.status_code
    assert "Code of your app" in answer.text
    answer = await browser.send(totp="000000", do="login")
    assert 401 == answer.status_code
    assert "Code of your app" in answer.text
    right = await ceremony.answer(someone, {})
    answer = await browser.send(totp=str(right["totp"]), do="login")
    assert "Log in to App?" in answer.text


async def test_recovery_code(page: Home) -> None:
    """A recovery code does where the app is lost."""
    someone = await page.server.join("password", "totp", "recovery")
    code = await page.server.ceremonies["recovery"].answer(someone, {})
    browser = await come(page)
    login = await typed(page, someone)
    assert "Recovery code" in (await browser.send(**login)).text
    answer = await browser.send(totp="", recovery=str(code["recovery"]), do="login")
    assert "Log in to App?" in answer.text


async def test_factors_that_cannot_be_typed(page: Home) -> None:
    """Where a factor is needed that no form can send, the page says so."""
    someone = await page.server.join("password")
    await page.server.auth.database.write(
        page.server.auth.users.enrolling(page.server.auth.users.enrolment(someone.user.id, "code"))
    )
    browser = await come(page)
    login = await typed(page, someone)
    answer = await browser.send(**login)
    assert 401 == answer.status_code
    assert "Log in where you do it otherwise" in answer.text


async def test_flows_that_ended(page: Home) -> None:
    """A login that took too long begins again with the password."""
    someone = await page.server.join("password", "totp")
    browser = await come(page)
    login = await typed(page, someone)
    await browser.send(**login)
    page.server.clock.advance(301)
    answer = await browser.send(totp="000000", do="login")
    assert 401 == answer.status_code
    assert 'name="password"' in answer.text


async def test_another_account(page: Home) -> None:
    """Who is somebody else logs out and in again."""
    browser = await logged_in(page)
    assert 'name="password"' in (await browser.send(do="logout")).text
    assert {""} == set(browser.cookies.values())
    await page.server.register("ian")
    answer = await browser.send(username="ian", password=PASSWORD, do="login")
    assert "You are <strong>ian</strong>" in answer.text
    answer = await browser.send(do="approve")
    told = await page.redeem(query(answer.headers["location"])["code"])
    assert "https://auth.example/u/ian" == told.json()["me"]


async def test_cross_site(page: Home) -> None:
    """No page of another site logs anybody in, or decides (S-5, I-4)."""
    browser = await come(page)
    login = {"username": "eve", "password": PASSWORD, "do": "login"}
    for headers in (
        {},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "null", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"},
    ):
        location = (await page.authorize()).headers["location"]
        await browser.open(location)
        answer = await browser.send(headers=headers, **login)
        assert 403 == answer.status_code
        assert {} == browser.cookies
    browser = await logged_in(page)
    for token in ("", "x", "0" * 64, "é"):
        answer = await browser.send(do="approve", token=token)
        assert 403 == answer.status_code
        await browser.open((await page.authorize()).headers["location"])
    same = {"Origin": "null", "Sec-Fetch-Site": "same-origin"}
    assert 303 == (await browser.send(headers=same, do="approve")).status_code


async def test_token_of_another_request(page: Home) -> None:
    """What one page may decide, it may decide of no other request."""
    browser = await logged_in(page)
    other = query((await page.authorize()).headers["location"])["request"]
    assert 403 == (await browser.send(request=other, do="approve")).status_code


async def test_late_requests(page: Home) -> None:
    """Who comes too late, or twice, is told before any password is typed."""
    browser = await come(page)
    page.server.clock.advance(600)
    answer = await browser.send(username="eve", password="wrong", do="login")
    assert 404 == answer.status_code
    assert "begin again there" in answer.text
    assert "This took too long, or was begun by somebody else." in answer.text
    browser = await logged_in(page)
    location = f"/indieauth/consent?request={browser.fields['request']}"
    assert 303 == (await browser.send(do="approve")).status_code
    assert 409 == (await browser.open(location)).status_code
    browser.cookies.clear()
    assert 409 == (await browser.open(location)).status_code
    answer = await page.server.client.get("/indieauth/consent")
    assert 404 == answer.status_code


async def test_not_permitted(page: Home) -> None:
    """Who may not use a client can only leave."""
    browser = await logged_in(page, client_id=DOOR, redirect_uri=DOOR_BACK)
    assert browser.page is not None
    assert "Your account may not use this application." in browser.page.text
    assert 'value="approve"' not in browser.page.text
    assert 403 == (await browser.send(do="approve")).status_code


async def test_privateauth_page(page: Home) -> None:
    """A PrivateAuth client learns more, and the page says so."""
    browser = await logged_in(page, **legacy())
    assert browser.page is not None
    assert "your user name, your name and what you may do there" in browser.page.text


async def test_no_choice(page: Home) -> None:
    """A name that is told in any case is in no box that could be emptied."""
    rights = page.server.auth.plugins.on["rights"]
    await rights.grant(await page.user_id("eve"), "door:open", Caller())  # type: ignore[attr-defined]
    for changes, label in (
        ({}, "your name and your picture"),
        ({"client_id": DOOR, "redirect_uri": DOOR_BACK}, "your picture"),
    ):
        browser = await logged_in(page, scope="profile", **changes)
        assert browser.page is not None
        assert f"<span>{label}</span>" in browser.page.text


async def test_one_cookie(page: Home) -> None:
    """Whoever is logged in at a page of the operator's is logged in here."""
    answer = await page.server.client.post(
        "/auth/login",
        json={"username": "eve", "password": PASSWORD, "session": "cookie"},
        headers={"Origin": "https://auth.example"},
    )
    browser = Browser(page)
    browser.shown(answer)
    asked = await browser.open((await page.authorize()).headers["location"])
    assert "You are <strong>eve</strong>" in asked.text
    assert "code" in query((await browser.send(do="approve")).headers["location"])


async def test_own_urls(page: Home) -> None:
    """Who has several URLs picks one."""
    user_id = await page.user_id("eve")

    await page.plugin.profiles.add(user_id, "https://eve.example/", Caller())
    browser = await logged_in(page)
    answer = await browser.send(me="https://eve.example/", do="approve")
    told = await page.redeem(query(answer.headers["location"])["code"])
    assert "https://eve.example/" == told.json()["me"]


async def test_nothing_runs(page: Home) -> None:
    """Nothing of a page comes from elsewhere, none of it runs, and no site can frame it."""
    page.plugin.clients.registered.clear()
    page.plugin.clients.settings.__dict__["fetch_clients"] = False
    name = "https://xn--app.example/<script>"
    answer = await page.authorize(client_id=name, redirect_uri=name)
    assert 400 == answer.status_code
    browser = await logged_in(
        page, client_id="http://localhost:1/", redirect_uri="http://localhost:1/'x'"
    )
    assert browser.page is not None
    assert "&#39;x&#39;" in browser.page.text
    assert "runs on your own device" in browser.page.text
    assert policy() == browser.page.headers["content-security-policy"]
    assert "script" not in policy()
    assert "<script" not in browser.page.text
    assert "same-origin" == browser.page.headers["referrer-policy"]
    assert "no-store" == browser.page.headers["cache-control"]
    assert CHALLENGE not in browser.page.text


async def test_website(page: Home) -> None:
    """What a client says of itself is shown beside what it is, as text."""
    client = Client(client_id="https://a.example/", client_uri="https://b.example/<b>")
    page.plugin.clients.known[client.client_id] = (page.server.auth.now() + 60, client)
    browser = await logged_in(page, client_id=client.client_id, redirect_uri=client.client_id)
    assert browser.page is not None
    assert "<dd>https://b.example/&lt;b&gt;</dd>" in browser.page.text
    assert "It says of itself" not in (await logged_in(page)).page.text  # type: ignore[union-attr]


async def test_nobody(page: Home) -> None:
    """A person who looks for somebody that is not there gets a page; a program does not."""
    client = page.server.client
    answer = await client.get("/u/nobody", headers={"Accept": "text/html,*/*"})
    assert (404, policy()) == (answer.status_code, answer.headers["content-security-policy"])
    assert "Nobody has this address." in answer.text
    answer = await client.get("/u/nobody")
    assert (404, "not_found") == (answer.status_code, answer.json()["code"])


async def test_errors_are_pages(page: Home) -> None:
    """A person who is sent with nonsense gets a page that says so."""
    answer = await page.authorize(client_id="x", accept="text/html,*/*")
    assert 400 == answer.status_code
    assert "This application cannot log you in here." in answer.text
    assert policy() == answer.headers["content-security-policy"]
