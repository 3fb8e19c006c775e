"""What mails lead to, on the login page: their links and codes, as a person uses them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from visits import ANN, Visit, look, visiting

from picoauth import Message
from picoauth.testing import MailPlugin, delivered
from tests.chromium import Chromium, chromium

PLUGINS = 'plugins = ["password", "totp", "email", "reset", "magic-link", "captured-mail"]\n'
REQUIRED = f"{PLUGINS}[email]\nrequire_verified = true\n"
MAILED = {"captured-mail": MailPlugin}
ADDRESS, OTHER = "ann@example.com", "ann@example.org"
NAME = "User name or email address"
NEW = "another horse battery staple"

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Chromium]:
    async with chromium() as found:
        yield found


@pytest_asyncio.fixture(loop_scope="module")
async def visit(browser: Chromium, tmp_path: Path) -> AsyncIterator[Visit]:
    async with visiting(browser, tmp_path, PLUGINS, plugins=MAILED) as found:
        await found.open()
        yield found


@pytest_asyncio.fixture(loop_scope="module")
async def strict(browser: Chromium, tmp_path: Path) -> AsyncIterator[Visit]:
    """Where nobody is let in without a verified address."""
    async with visiting(browser, tmp_path, REQUIRED, plugins=MAILED) as found:
        await found.open()
        yield found


async def create(visit: Visit, heading: str, address: str = ADDRESS) -> None:
    page = visit.page
    await page.click("Create an account")
    await page.at("Create an account")
    await page.fill("User name", "ann")
    await page.fill("Email address, if you like", address)
    await page.fill("Password", ANN)
    await page.click("Create account")
    await page.at(heading)


async def sign_in(visit: Visit, heading: str, password: str = ANN, name: str = "ann") -> None:
    await visit.page.at("Sign in")
    await visit.page.fill(NAME, name)
    await visit.page.fill("Password", password)
    await visit.page.click("Sign in")
    await visit.page.at(heading)


async def last(visit: Visit) -> Message:
    return (await delivered(visit.server))[-1]


async def open_link(visit: Visit, message: Message) -> None:
    """In a tab that is new, as mail programs do it."""
    await visit.page.open("data:,")
    await visit.page.open(message.values["link"])


async def verified(visit: Visit) -> None:
    """Ann, with a verified address, signed out."""
    await create(visit, "Your account")
    await open_link(visit, await last(visit))
    await visit.page.sees("Your email address is verified.")
    await visit.leave()


async def test_address_by_link(visit: Visit) -> None:
    """The link of a mail verifies the address; then that signs in, in the place of the name."""
    await create(visit, "Your account")
    await visit.page.sees(f"There is a mail for {ADDRESS}, to verify it.")
    await open_link(visit, await last(visit))
    await visit.page.sees("Your email address is verified.")
    await visit.page.sees(f"{ADDRESS} is your address.")
    assert visit.url == await visit.page.js("location.href")
    await visit.leave()
    await sign_in(visit, "Your account", name=ADDRESS)


async def test_address_by_link_without_a_session(visit: Visit) -> None:
    """Who opens the link elsewhere signs in first, and it is verified then."""
    await create(visit, "Your account")
    await visit.leave()
    await open_link(visit, await last(visit))
    await visit.page.sees("Sign in, and your email address is verified.")
    await sign_in(visit, "Your account")
    await visit.page.sees(f"{ADDRESS} is your address.")


async def test_address_by_code(visit: Visit) -> None:
    """The code does the same; a wrong one is said, and another mail can be had."""
    await create(visit, "Your account")
    code = (await last(visit)).values["code"]
    await visit.page.fill("Code from the mail", f"{(int(code) + 1) % 10**8:08}")
    await visit.page.click("Verify")
    said = "This code is not right, or too old. Type the one of the newest mail."
    assert said == await visit.page.problem()
    visit.server.clock.advance(61)
    await visit.page.click("Send another mail")
    await visit.page.sees("a mail is on its way.")
    code = (await last(visit)).values["code"]
    await visit.page.fill("Code from the mail", f"{code[:4]} {code[4:]}")
    await visit.page.click("Verify")
    await visit.page.sees(f"{ADDRESS} is your address.")


async def test_change_that_is_taken_back(visit: Visit) -> None:
    """An address is changed, and the link that the old one got takes that back, after a question."""
    await verified(visit)
    await sign_in(visit, "Your account")
    visit.server.clock.advance(310)
    await visit.page.fill("New address", OTHER)
    await visit.page.click("Set address")
    await visit.page.at("Is it you?")
    await visit.page.fill("Password", ANN)
    await visit.page.click("Continue")
    await visit.page.sees(f"There is a mail for {OTHER}, to verify it.")
    mails = {message.template: message for message in await delivered(visit.server)}
    await open_link(visit, mails["email/verify"])
    await visit.page.sees(f"{OTHER} is your address.")
    await open_link(visit, mails["email/changing"])
    await visit.page.at("Take the change back?")
    await visit.page.click("Take the change back")
    await visit.page.sees("Your old email address is back. You are signed out everywhere.")
    await sign_in(visit, "Your account", name=ADDRESS)
    await visit.page.sees(f"{ADDRESS} is your address.")


async def test_forgotten_password(visit: Visit) -> None:
    """A link by mail, a new password, a login; a link that was used says so, and where to go on."""
    page = visit.page
    await verified(visit)
    await page.click("Forgot your password?")
    await page.at("Forgot your password?")
    await page.fill(NAME, "ann")
    await page.click("Send me the link")
    await page.at("Look into your mail")
    message = await last(visit)
    await open_link(visit, message)
    await page.at("Choose a new password")
    assert visit.url == await page.js("location.href")
    await page.fill("New password", "short")
    await page.click("Set password")
    assert "This password is too short: it needs at least 8 characters." == await page.problem()
    await page.fill("New password", NEW)
    await page.click("Set password")
    await page.sees("Your new password is set: sign in with it.")
    await sign_in(visit, "Your account", NEW)
    await visit.leave()
    await open_link(visit, message)
    await page.at("Forgot your password?")
    said = "This link is good no more: it was used, or there is a newer one."
    assert said == await page.problem()


async def test_forgotten_by_nobody(visit: Visit) -> None:
    """Of a name that is nobody's the page says the same."""
    await visit.open("#forgot", "Forgot your password?")
    await visit.page.fill(NAME, "nobody")
    await visit.page.click("Send me the link")
    await visit.page.at("Look into your mail")
    assert [] == await delivered(visit.server)


async def test_login_by_code(visit: Visit) -> None:
    """A code by mail signs in where it was asked for; a typing error may be mended."""
    await verified(visit)
    visit.server.clock.advance(61)
    await visit.page.fill(NAME, "ann")
    await visit.page.click("Email me a link to sign in")
    await visit.page.at("Look into your mail")
    code = (await last(visit)).values["code"]
    await visit.page.fill("Code from the mail", f"{(int(code) + 1) % 10**8:08}")
    await visit.page.click("Sign in")
    said = "This code or link is not right, was used already, or is too old."
    assert said == await visit.page.problem()
    await visit.page.fill("Code from the mail", code)
    await visit.page.click("Sign in")
    await visit.page.at("Your account")


async def test_login_by_link(visit: Visit) -> None:
    """A link by mail signs in when its button is pressed, once; it opens in the same tab, too."""
    await verified(visit)
    visit.server.clock.advance(61)
    await visit.page.fill(NAME, "ann")
    await visit.page.click("Email me a link to sign in")
    await visit.page.at("Look into your mail")
    message = await last(visit)
    await visit.page.open(message.values["link"])
    await visit.page.at("Sign in by mail")
    await visit.page.click("Sign in")
    await visit.page.at("Your account")
    await visit.leave()
    await open_link(visit, message)
    await visit.page.at("Sign in by mail")
    await visit.page.click("Sign in")
    said = "This code or link is not right, was used already, or is too old."
    assert said == await visit.page.problem()


async def test_login_that_needs_an_address(strict: Visit) -> None:
    """Who has to verify an address types the code, also that of another address, and is in."""
    page = strict.page
    await create(strict, "Verify your email address")
    await page.sees(f"There is a mail for {ADDRESS}, with a code.")
    strict.server.clock.advance(61)
    await page.fill("Use another address", OTHER)
    await page.click("Send a mail there")
    await page.sees(f"There is a mail for {OTHER}, with a code.")
    message = await last(strict)
    assert OTHER == message.to
    await page.fill("Code from the mail", message.values["code"])
    await page.click("Verify")
    await page.at("Your account")
    await page.sees(f"{OTHER} is your address.")


async def test_login_that_needs_an_address_by_link(strict: Visit) -> None:
    """The link, opened in a new tab, verifies it with the login that follows."""
    await create(strict, "Verify your email address")
    await open_link(strict, await last(strict))
    await strict.page.sees("Sign in, and your email address is verified.")
    await sign_in(strict, "Your account")
    await strict.page.sees(f"{ADDRESS} is your address.")


async def test_every_view(strict: Visit) -> None:
    """On the narrowest phone, with a screen reader."""
    page = strict.page
    await page.resize(320)
    await look(page, "Sign in")
    await page.click("Forgot your password?")
    await look(page, "Forgot your password?")
    await page.fill(NAME, "ann")
    await page.click("Send me the link")
    await look(page, "Look into your mail")
    await strict.open()
    await create(strict, "Verify your email address")
    await look(page, "Verify your email address")
    for purpose, heading in (
        ("magic-link", "Sign in by mail"),
        ("cancel-email", "Take the change back?"),
    ):
        await page.open("data:,")
        await strict.open(f"#{purpose}=x", heading)
        await look(page, heading)
