"""Signing in elsewhere, on the login page: with one's domain, or at an endpoint of the settings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio
from visits import ANN, Visit, look, visiting

from picoauth_fetch import Answer
from picoauth_indieauth_login import IndieAuthLoginPlugin
from picoauth_indieauth_login.testing import ISSUER, Endpoint
from tests.chromium import SOON, Chromium, chromium

PLUGINS = 'plugins = ["password", "totp", "indieauth-login"]\n'
DOMAINS = f"{PLUGINS}[indieauth-login]\ndomains = true\n"
OPEN = f'{DOMAINS}registration = "open"\n'
HOME = "https://home.example/authorize"
TRUSTED = f"""{PLUGINS}
[indieauth-login]
domains = false

[[indieauth-login.endpoints]]
name = "home"
url = "{HOME}"
register = true
"""
SAID = "Nobody confirmed that it is you, or there is no account for it here."

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Chromium]:
    async with chromium() as found:
        yield found


class House(Endpoint):
    """An endpoint of the settings: whoever comes is Ann."""

    async def post(self, url: str, body: bytes, *, headers: Any = None) -> Answer:
        assert HOME == url
        return Answer(url, 200, {}, b'{"username": "ann", "permissions": []}')


class People:
    """The page, and the endpoint that its people are sent to, where no browser gets."""

    def __init__(self, visit: Visit, endpoint: Endpoint) -> None:
        self.visit = visit
        self.page = visit.page
        self.endpoint = endpoint
        visit.server.auth.plugin(IndieAuthLoginPlugin).client.fetching(endpoint, endpoint)

    async def sent(self, start: str = ISSUER) -> str:
        """Where the browser was sent."""
        async with asyncio.timeout(SOON):
            while not (found := self.page.requests(lambda url: url.startswith(start))):  # noqa: ASYNC110 - it is polled everywhere
                await asyncio.sleep(0.02)
        self.page.happened.clear()
        return found[-1]

    async def back(self, brought: str) -> None:
        """As the endpoint sends the browser back."""
        origin = self.visit.url.removesuffix("/login/")
        await self.page.open(f"{origin}/auth/indieauth/callback?{brought}")

    async def approve(self, username: str = "ann") -> None:
        await self.back(self.endpoint.approve(await self.sent(), username))

    async def sign_in(self) -> None:
        await self.page.click("Sign in with your domain")
        await self.page.at("Sign in with your domain")
        await self.page.fill("Your domain", " people.example/ann ")
        await self.page.click("Continue")


@pytest_asyncio.fixture(loop_scope="module")
async def people(browser: Chromium, tmp_path: Path) -> AsyncIterator[People]:
    """Where every domain gets an account."""
    async with visiting(browser, tmp_path, OPEN, ISSUER) as visit:
        await visit.open()
        yield People(visit, Endpoint())


async def test_sign_in(people: People) -> None:
    """Who comes back from her domain is signed in, where the application wants her, remembered."""
    page = people.page
    await people.visit.open("?return=/app%3Fa=b%23c")
    await page.click("Keep me signed in on this device")
    await people.sign_in()
    await people.approve()
    origin = people.visit.url.removesuffix("/login/")
    await page.until(f"location.href === {origin + '/app?a=b#c'!r}")
    cookies = (await page.send("Network.getCookies"))["cookies"]
    assert [False] == [cookie["session"] for cookie in cookies]
    await people.visit.open(heading="Your account")
    await page.sees("Signed in as https://people.example/ann")
    assert ["Domain"] == [
        row.partition("\n")[0] for row in await people.visit.rows("Ways to sign in")
    ]
    assert None is await page.js("sessionStorage.getItem('elsewhere')")


async def test_protected_host(people: People) -> None:
    """The query of the forward-auth plugin is still there afterwards."""
    query = "?to=https%3A%2F%2Fwiki.example.com%2F&bound=x"
    await people.visit.open(query)
    await people.sign_in()
    await people.approve()
    await people.page.until(f"location.pathname + location.search === '/forward-auth/hop{query}'")


async def test_second_step(people: People) -> None:
    """A domain is a first factor: whoever has a second one is asked for it."""
    visit, page = people.visit, people.page
    ann = await visit.server.join("indieauth", "totp", username="ann")
    ceremony = visit.server.ceremonies["indieauth"]
    people.endpoint = ceremony.endpoint  # type: ignore[attr-defined]
    await people.sign_in()
    await people.approve()
    await page.at("One more step")
    await page.fill("Six digits from your authenticator app", ann.notes["totp"].code())
    await page.click("Continue")
    await page.at("Your account")


async def test_refused(people: People) -> None:
    """What the endpoint says no to is said in words, and one may try again."""
    page = people.page
    await people.sign_in()
    await people.sent()
    await people.back("error=access_denied&state=x")
    await page.at("Sign in")
    assert SAID == await page.problem()
    await people.sign_in()
    await people.approve()
    await page.at("Your account")


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("http://ann.example", "a profile URL begins with https:// here"),
        ("ann@example.com", "a profile URL has no port, user, or fragment"),
        ("..", "this is no profile URL"),
    ],
)
async def test_domains_that_are_none(people: People, typed: str, words: str) -> None:
    """The page says what is wrong with it, and stays where it is."""
    page = people.page
    await page.click("Sign in with your domain")
    await page.at("Sign in with your domain")
    assert "me" == await page.js("document.activeElement.name")
    await page.fill("Your domain", typed)
    await page.click("Continue")
    assert f"This cannot sign you in: {words}." == await page.problem()
    assert people.visit.url + "#domain" == await page.js("location.href")


async def test_not_begun_here(people: People) -> None:
    """An answer that this tab did not ask for is thrown away, and signs nobody in (S-5)."""
    page, visit = people.page, people.visit
    begun = await visit.server.post(
        "/auth/login/begin", {"factor": "indieauth", "me": "https://people.example/mallory"}
    )
    brought = people.endpoint.approve(begun.json()["challenge"]["url"], "mallory")
    await people.back(brought)
    await page.at("Sign in")
    assert visit.url == await page.js("location.href")
    assert "" == await page.js("document.querySelector('#sign-in .problem').textContent")
    await people.sign_in()
    await people.sent()
    await people.back(brought)
    await page.at("Sign in")
    assert SAID == await page.problem()
    await page.open("data:,")
    await visit.open("#indieauth=%E0%A4%A")
    assert 0 == len(await visit.server.auth.database.read("select 1 from sessions"))


async def test_add_a_domain(browser: Chromium, tmp_path: Path) -> None:
    """Where nobody gets an account by a domain, one adds it to the account that one has."""
    async with visiting(browser, tmp_path, DOMAINS, ISSUER) as visit:
        people, page = People(visit, Endpoint()), visit.page
        await visit.ann()
        await visit.open()
        await people.sign_in()
        await people.approve()
        await page.at("Sign in")
        assert SAID == await page.problem()
        await visit.password()
        visit.server.clock.advance(310)
        await page.click("Add a domain")
        await page.at("Add a domain")
        await page.fill("Domain", "people.example/ann")
        await page.click("Continue")
        await page.at("Is it you?")
        await page.fill("Password", ANN)
        await page.click("Continue")
        await people.approve()
        await page.sees("It is added.")
        assert "https://people.example/ann" in (await visit.rows("Ways to sign in"))[1]
        await visit.leave()
        await people.sign_in()
        await people.approve()
        await page.at("Your account")
        await page.sees("Signed in as ann")


async def test_trusted_endpoint(browser: Chromium, tmp_path: Path) -> None:
    """An endpoint of the settings has a button, and nobody is asked for a domain."""
    async with visiting(browser, tmp_path, TRUSTED, HOME) as visit:
        people, page = People(visit, House()), visit.page
        await visit.open()
        assert not await page.js("Boolean(named('button', 'Sign in with your domain'))")
        await page.click("Sign in with home")
        state = (await people.sent(HOME)).partition("state=")[2].partition("&")[0]
        await people.back(f"code=x&state={quote(state)}")
        await page.at("Your account")
        await page.sees("Signed in as ann")
        await page.click("Add home")
        await people.sent(HOME)


async def test_without_the_plugin(browser: Chromium, tmp_path: Path) -> None:
    """Where the plugin is off nothing of it is there."""
    async with visiting(browser, tmp_path) as visit:
        await visit.ann()
        await visit.open("#domain")
        shown = "all('button, a').map((e) => e.textContent).filter((t) => /domain/i.test(t))"
        assert [] == await visit.page.js(shown)
        await visit.password()
        assert [] == await visit.page.js(shown)


async def test_every_view(people: People) -> None:
    """On the narrowest phone, with a screen reader."""
    await people.page.resize(320)
    await look(people.page, "Sign in")
    await people.page.click("Sign in with your domain")
    await look(people.page, "Sign in with your domain")
