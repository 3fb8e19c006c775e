"""The login page in a real browser, before a real server: what a person does, sees and is told."""

from __future__ import annotations

import re
from base64 import b32decode, b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from visits import ANN, PAGE, PLUGINS, SECRET, Site, Visit, look, visiting

from picoauth import Statement
from picoauth.listeners import Bind
from picoauth.testing import Someone
from picoauth.testing import serving as kit
from picoauth_totp.testing import App
from tests.chromium import PASSKEY, U2F_KEY, Chromium, Page, chromium
from tests.processes import free_port
from tests.wire import serving

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Chromium]:
    async with chromium() as found:
        yield found


@pytest_asyncio.fixture(loop_scope="module")
async def visit(browser: Chromium, tmp_path: Path) -> AsyncIterator[Visit]:
    async with visiting(browser, tmp_path) as found:
        await found.open()
        yield found


async def test_account_by_password(visit: Visit) -> None:
    """Who makes an account is signed in, by a cookie that no script sees, and can come back."""
    page = visit.page
    await page.click("Create an account")
    await page.at("Create an account")
    await page.fill("User name", "ann ")
    await page.fill("Password", ANN)
    await page.click("Create account")
    await page.at("Your account")
    await page.sees("Signed in as ann")
    assert "" == await page.js("document.cookie")
    await visit.leave()
    await visit.password()
    await visit.open(heading="Your account")


@pytest.mark.parametrize(
    ("username", "password", "words"),
    [
        ("ann", ANN, "Somebody has this user name. Choose another one."),
        ("a@b", ANN, "This cannot be a user name. Letters, digits, dots and dashes are fine."),
        ("bob", "short", "This password is too short: it needs at least 8 characters."),
    ],
)
async def test_account_that_cannot_be(
    visit: Visit, username: str, password: str, words: str
) -> None:
    """The page says why there is no account, and marks the field that is to blame."""
    await visit.ann()
    await visit.page.click("Create an account")
    await visit.page.fill("User name", username)
    await visit.page.fill("Password", password)
    await visit.page.click("Create account")
    assert words == await visit.page.problem()
    blamed = "username" if "name" in words else "password"
    assert [blamed] == await visit.page.js("all('[aria-invalid=true]').map((e) => e.name)")
    assert blamed == await visit.page.js("document.activeElement.name")


async def test_wrong_password(visit: Visit) -> None:
    """A wrong password is said in words, which go when the next attempt begins."""
    await visit.ann()
    await visit.password("wrong", heading="Sign in")
    said = "This user name and this password do not belong together. Check both, and try again."
    assert said == await visit.page.problem()
    assert "alert" == await visit.page.js("all('.problem')[0].role")
    await visit.password()


async def test_too_many_attempts(browser: Chromium, tmp_path: Path) -> None:
    """Who has to wait is told for how long."""
    async with visiting(browser, tmp_path, "[throttle]\nfailures = 1\n") as visit:
        await visit.ann()
        for _ in range(8):
            await visit.server.post("/auth/login", {"username": "ann", "password": "x"})
            visit.server.clock.advance(100)
        await visit.server.post("/auth/login", {"username": "ann", "password": "x"})
        await visit.open()
        await visit.password("wrong", heading="Sign in")
        said = await visit.page.problem()
        assert re.fullmatch(r"There were too many failed attempts\. Try again in \d+ \w+\.", said)
        assert said.endswith(("minutes.", "seconds."))


async def test_lost_network(visit: Visit) -> None:
    """Without a network the page says so, and works again when it is back."""
    await visit.ann()
    lost = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
    await visit.page.send("Network.emulateNetworkConditions", **lost)
    await visit.password(heading="Sign in")
    said = "The server cannot be reached. Check your connection, then try again."
    assert said == await visit.page.problem()
    found = {**lost, "offline": False, "downloadThroughput": -1, "uploadThroughput": -1}
    await visit.page.send("Network.emulateNetworkConditions", **found)
    await visit.password()


async def test_server_down(visit: Visit) -> None:
    """Where the proxy answers for a server that is down, there are words all the same."""
    visit.site.down = True
    await visit.password(heading="Sign in")
    assert "The server gave no usable answer (502)." == await visit.page.problem()
    await visit.open()
    assert "The server gave no usable answer (502)." == await visit.page.problem()


async def test_authenticator_app(visit: Visit) -> None:
    """An app is added by picture or secret, with recovery codes; then a login asks for it."""
    page = visit.page
    await visit.ann()
    await visit.password()
    await page.click("Add an authenticator app")
    await page.at("Add an authenticator app")
    await page.until("document.querySelector('#qr').naturalWidth > 0")
    link = await page.js("document.querySelector('#otpauth').href")
    secret = await page.js("document.querySelector('#secret').textContent.replaceAll(' ', '')")
    assert link.startswith("otpauth://totp/")
    assert f"secret={secret}" in link
    await page.click("Copy secret")
    await page.sees("Copied.")
    app = App(b32decode(secret), visit.server.clock)
    label = "Type the six digits that the app shows now"
    await page.fill(label, app.wrong())
    await page.click("Add app")
    said = "This code is not right. Type the one that the app shows now."
    assert said == await page.problem()
    await page.fill(label, app.code())
    await page.click("Add app")
    await kept_codes(page)
    await page.sees("The authenticator app is added.")
    assert ["Password", "Authenticator app"] == titles(await visit.rows("Ways to sign in"))
    await page.sees("10 left")
    await visit.leave()
    await visit.password(heading="One more step")
    label = "Six digits from your authenticator app"
    await page.fill(label, app.wrong())
    await page.click("Continue")
    assert "This code is not right, or was used already." in await page.problem()
    code = app.code()
    await page.fill(label, f"{code[:3]} {code[3:]}")
    await page.click("Continue")
    await page.at("Your account")


async def kept_codes(page: Page) -> list[str]:
    """The recovery codes, as the page shows them once."""
    await page.at("Your recovery codes")
    codes: list[str] = await page.js("all('#codes li').map((e) => e.textContent)")
    saved = await page.js("decodeURIComponent(document.querySelector('#download').href)")
    assert 10 == len(set(codes))
    assert [] == [code for code in codes if code not in saved]
    await page.click("I have kept them")
    await page.at("Your account")
    assert codes[0] not in await page.js("document.documentElement.outerHTML")
    return codes


def titles(rows: list[str]) -> list[str]:
    return [row.partition("\n")[0] for row in rows]


async def test_recovery_codes(visit: Visit) -> None:
    """A recovery code lets in once; a new set voids the old one, after a question."""
    page = visit.page
    ann = await visit.ann("totp")
    await visit.password(heading="One more step")
    await page.fill("Six digits from your authenticator app", ann.notes["totp"].code())
    await page.click("Continue")
    await page.at("Your account")
    await page.click("Make new codes")
    await page.at("Make new recovery codes?")
    await page.click("Make new codes")
    codes = await kept_codes(page)
    await visit.leave()
    for code, said in ((codes[0], ""), (codes[0], "used already"), (codes[1], "")):
        await visit.password(heading="One more step")
        await page.click("Use a recovery code instead")
        await page.fill("One of your recovery codes", code)
        await page.click("Continue")
        if said:
            assert said in await page.problem()
            await page.click("Start over")
        else:
            await page.at("Your account")
            await visit.leave()
    await visit.password(heading="One more step")
    await page.fill("Six digits from your authenticator app", ann.notes["totp"].code())
    await page.click("Continue")
    await page.sees("8 left, made ")


async def test_login_that_took_too_long(visit: Visit) -> None:
    """A second step that comes too late starts over, in words."""
    ann = await visit.ann("totp")
    await visit.password(heading="One more step")
    visit.server.clock.advance(301)
    await visit.page.fill("Six digits from your authenticator app", ann.notes["totp"].code())
    await visit.page.click("Continue")
    await visit.page.at("Sign in")
    said = "That took too long, or was used already. Please sign in again."
    assert said == await visit.page.problem()
    await visit.password(heading="One more step")


async def test_tries_are_used_up(visit: Visit) -> None:
    """After the last wrong code of a login it starts over."""
    ann = await visit.ann("totp")
    await visit.password(heading="One more step")
    for left in range(5, 0, -1):
        await visit.page.fill("Six digits from your authenticator app", ann.notes["totp"].wrong())
        await visit.page.click("Continue")
        await visit.page.problem()
        await visit.page.at("One more step" if left > 1 else "Sign in")
    await visit.password(heading="One more step")


async def test_fresh_proof_in_place(visit: Visit) -> None:
    """What needs a fresh proof asks for it, and then goes on; who does not want to, may leave."""
    page = visit.page
    await visit.ann()
    await visit.password()
    visit.server.clock.advance(310)
    await page.click("Add an authenticator app")
    await page.at("Is it you?")
    assert "password" == await page.js("document.activeElement.name")
    await page.key("Escape")
    await page.at("Your account")
    assert "" == await page.js("all('.problem').map((e) => e.textContent).join('')")
    await page.click("Add an authenticator app")
    await page.at("Is it you?")
    await page.fill("Password", "wrong")
    await page.click("Continue")
    assert "This password is not right." == await page.problem()
    await page.fill("Password", ANN)
    await page.click("Continue")
    await page.at("Add an authenticator app")


async def test_fresh_proof_of_a_second_factor(visit: Visit) -> None:
    """Who has a second factor proves that one, or gives a recovery code."""
    page = visit.page
    ann = await visit.ann("totp", "recovery")
    await visit.password(heading="One more step")
    await page.fill("Six digits from your authenticator app", ann.notes["totp"].code())
    await page.click("Continue")
    await page.at("Your account")
    visit.server.clock.advance(310)
    await page.fill("New password", f"{ANN}, a new one")
    await page.click("Change password")
    await page.at("Is it you?")
    offered = await page.js("all('.others button').map((e) => e.textContent)")
    assert ["Use a recovery code instead"] == offered
    await page.fill("Six digits from your authenticator app", ann.notes["totp"].code())
    await page.click("Continue")
    await page.sees("The password is changed.")
    await visit.leave()
    await visit.password(f"{ANN}, a new one", heading="One more step")


async def test_devices(visit: Visit) -> None:
    """Other devices are listed and signed out, one or all; this one stays."""
    page = visit.page
    ann = await visit.ann()
    for _ in range(3):
        await ann.login()
    await visit.password()
    rows = await visit.rows("Where you are signed in")
    assert 4 == len(rows)
    assert 1 == sum("this device" in row for row in rows)
    await page.js("[...document.querySelectorAll('#sessions button:not([hidden])')][0].click()")
    await page.until("document.querySelectorAll('#sessions li').length === 3")
    assert "devices" == await page.js("document.activeElement.id")
    await page.click("Sign out all other devices")
    await page.until("document.querySelectorAll('#sessions li').length === 1")
    assert 1 == await ann.sessions()
    assert not await page.js("Boolean(named('button', 'Sign out all other devices'))")


async def test_session_ended_elsewhere(visit: Visit) -> None:
    """Whose session was ended elsewhere is asked to sign in again, and told why."""
    ann = await visit.ann()
    await visit.password()
    token = (await ann.login())["access_token"]
    await visit.server.send("DELETE", "/auth/sessions", token=token)
    await visit.page.click("Add an authenticator app")
    await visit.page.at("Sign in")
    assert "You are signed out. Please sign in again." == await visit.page.problem()


async def test_names_and_removal(visit: Visit) -> None:
    """A factor gets another name, shown as text whatever it is, and can be removed."""
    page = visit.page
    ann = await visit.ann("totp")
    await visit.password(heading="One more step")
    await page.fill("Six digits from your authenticator app", ann.notes["totp"].code())
    await page.click("Continue")
    await page.at("Your account")
    name = "<img src=x onerror=alert(1)> phone"
    await page.click("Rename: Authenticator app")
    await page.at("Rename “Authenticator app”")
    await page.fill("Name", name)
    await page.click("Rename")
    await page.sees("Renamed.")
    assert ["Password", name] == titles(await visit.rows("Ways to sign in"))
    await page.click(f"Remove: {name}")
    await page.at(f"Remove “{name}”?")
    await page.click("Cancel")
    await page.at("Your account")
    await page.click(f"Remove: {name}")
    await page.click("Remove")
    await page.sees(f"Removed: {name}.")
    await page.click("Remove: Password")
    await page.click("Remove")
    said = "This is your last way to sign in. Add another one first."
    assert said == await page.problem()


SAFE = ["/app", "/app?a=b#c", "/login/style.css"]
UNSAFE = [
    "//evil.example/",
    "/\\evil.example/",
    "/\t/evil.example/",
    "https://evil.example/",
    "javascript:alert(1)",
    "app",
    "",
]


@pytest.mark.parametrize("path", [*SAFE, "/.//evil.example/"])
async def test_way_back(visit: Visit, path: str) -> None:
    """After a login the browser goes where the application wants it, on this origin."""
    await visit.ann()
    await visit.open(f"?return={quote(path)}")
    await visit.page.fill("User name", "ann")
    await visit.page.fill("Password", ANN)
    await visit.page.click("Sign in")
    origin = visit.url.removesuffix("/login/")
    wanted = path.replace("/.//", "//")
    await visit.page.until(f"location.href === {origin + wanted!r}")
    await visit.open(f"?return={quote(path)}", heading="Your account")
    assert origin + wanted == await visit.page.js("named('a', 'Continue').href")


async def test_way_to_elsewhere(visit: Visit) -> None:
    """A link to the page cannot send whoever logs in to another site."""
    await visit.ann()
    await visit.open(f"?return={quote(UNSAFE[0])}")
    await visit.password()
    for path in UNSAFE:
        await visit.open(f"?return={quote(path)}", heading="Your account")
        await visit.page.until(f"location.search === {'?return=' + quote(path)!r}")
        assert not await visit.page.js("Boolean(named('a', 'Continue'))")


async def test_way_back_through_forward_auth(visit: Visit) -> None:
    """The query of the forward-auth plugin is handed on to it, unread."""
    await visit.ann()
    query = "?to=https%3A%2F%2Fwiki.example.com%2F&bound=x"
    await visit.open(query)
    await visit.page.fill("User name", "ann")
    await visit.page.fill("Password", ANN)
    await visit.page.click("Sign in")
    await visit.page.until(f"location.pathname + location.search === '/forward-auth/hop{query}'")


async def test_server_that_offers_less(browser: Chromium, tmp_path: Path) -> None:
    """The page shows nothing that the server does not offer."""
    settings = 'plugins = ["password"]\n[password]\nregister = false\n'
    async with visiting(browser, tmp_path, settings) as visit:
        await visit.ann()
        await visit.open("#create")
        shown = await visit.page.js("all('button, a').map((e) => e.textContent)")
        assert ["Sign in"] == shown
        await visit.password()
        shown = await visit.page.js("all('section button').map((e) => e.textContent)")
        assert ["Sign out", "Remove", "Change password"] == shown


async def test_every_view(visit: Visit) -> None:
    """On the narrowest phone, with a screen reader: every view and every question."""
    page = visit.page
    await page.resize(320)
    await look(page, "Sign in")
    await page.click("Create an account")
    await look(page, "Create an account")
    await page.click("Sign in")
    ann = await visit.ann()
    await ann.login()
    await visit.password("wrong", heading="Sign in")
    await page.problem()
    await look(page, "Sign in")
    await visit.password()
    await look(page, "Your account")
    await page.click("Add an authenticator app")
    await look(page, "Add an authenticator app")
    secret = await page.js("document.querySelector('#secret').textContent.replaceAll(' ', '')")
    app = App(b32decode(secret), visit.server.clock)
    await page.fill("Type the six digits that the app shows now", app.code())
    await page.click("Add app")
    await look(page, "Your recovery codes")
    assert await page.js("all('#codes li').every((e) => e.offsetHeight < 30)")  # one line each
    await page.click("I have kept them")
    await look(page, "Your account")
    await page.click("Rename: Authenticator app")
    await look(page, "Rename “Authenticator app”")
    await page.fill("Name", 64 * "W")
    await page.click("Rename")
    await page.sees("Renamed.")
    await look(page, "Your account")
    await page.click(f"Remove: {64 * 'W'}")
    await look(page, f"Remove “{64 * 'W'}”?")
    await page.click("Cancel")
    visit.server.clock.advance(310)
    await page.click("Make new codes")
    await look(page, "Make new recovery codes?")
    await page.click("Make new codes")
    await look(page, "Is it you?")
    await page.click("Cancel")
    await visit.leave()
    await visit.password(heading="One more step")
    await look(page, "One more step")


def luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    full = colour if len(colour) == 7 else "#" + "".join(2 * each for each in colour[1:])
    parts = [int(full[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(w * each for w, each in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    brighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (brighter + 0.05) / (darker + 0.05)


TEXTS = ["ink ground", "ink card", "ink wash", "soft ground", "soft card", "tint card"]
TEXTS += ["tint ground", "on-tint tint", "bad bad-wash", "card ink"]
EDGES = ["edge card", "edge ground", "tint wash"]


async def test_contrast() -> None:
    """Text has a contrast of 4.5 in light and dark, edges of fields 3 (WCAG 2.2, 1.4.3, 1.4.11)."""
    style = (PAGE / "style.css").read_text(encoding="utf-8")
    light, dark = (dict(re.findall(r"--([a-z-]+): (#\w+);", part)) for part in halves(style))
    for scheme in (light, light | dark):
        for least, pairs in ((4.5, TEXTS), (3, EDGES)):
            for pair in pairs:
                one, other = pair.split()
                assert contrast(scheme[one], scheme[other]) >= least, (pair, scheme)


def halves(style: str) -> tuple[str, str]:
    first, _, rest = style.partition("@media (prefers-color-scheme: dark)")
    return first, rest


async def test_words(tmp_path: Path) -> None:
    """There are words for no code that the server does not have."""
    more = (
        ', "email", "reset", "mail-console", "indieauth-login"]\npublic_url = "http://localhost"\n'
    )
    domains = "[indieauth-login]\ndomains = true\n"
    async with kit(tmp_path, PLUGINS.replace("]\n", more) + domains) as server:
        known = (await server.get("/openapi.json")).text
    script = (PAGE / "login.js").read_text(encoding="utf-8")
    _, _, rest = script.partition("const words = ")
    codes = re.findall(r"^  (\w+):", rest.partition("}));")[0], re.MULTILINE)
    assert len(codes) > 20
    assert ["offline"] == [code for code in codes if f'"{code}"' not in known]


async def test_keyboard_alone(visit: Visit) -> None:
    """Everything from the heading to the account is reached by the keyboard, in order."""
    page = visit.page
    await visit.ann()
    assert "H1" == await page.js("document.activeElement.tagName")
    await page.key("Tab")
    await page.type("ann")
    await page.key("Tab")
    await page.type(ANN)
    await page.key("Tab")
    await page.key("Space")
    assert await page.js("document.querySelector('[name=remember]').checked")
    await page.key("Enter")
    await page.at("Your account")
    assert "H1" == await page.js("document.activeElement.tagName")
    await page.key("Tab")
    assert "Sign out" == await page.js("document.activeElement.textContent")
    cookies = (await page.send("Network.getCookies"))["cookies"]
    assert [True] == [cookie["expires"] > 0 for cookie in cookies]


async def with_passkey(visit: Visit, *, options: dict[str, Any] = PASSKEY) -> str:
    """Ann, who adds a passkey or a key by the page; answers the id of its authenticator.

    Nobody touches it from then on: else what the browser offers as autofill would be taken.
    """
    page = visit.page
    device = await page.authenticator(options)
    await visit.ann()
    await visit.password()
    u2f = options is U2F_KEY
    await page.click("Add a security key" if u2f else "Add a passkey")
    await kept_codes(page)
    await page.sees("The security key is added." if u2f else "The passkey is added.")
    assert 2 == len(await visit.rows("Ways to sign in"))
    await page.touching(device, enabled=False)
    await visit.leave()
    return device


async def test_passkey(visit: Visit) -> None:
    """A passkey is added, and is then a whole login by a button, which ends the autofill."""
    device = await with_passkey(visit)
    [credential] = await visit.page.credentials(device)
    assert credential["isResidentCredential"]
    await visit.page.touching(device)
    await visit.page.click("Sign in with a passkey")
    await visit.page.at("Your account")
    await visit.page.sees("Signed in as ann")


async def test_passkey_from_autofill(visit: Visit) -> None:
    """The browser offers the passkey with the user names; whoever takes it is signed in."""
    device = await with_passkey(visit)
    await visit.page.touching(device)
    await visit.open(heading="Your account")
    await visit.page.sees("Signed in as ann")


async def test_passkey_as_second_step(visit: Visit) -> None:
    """Whoever types the password all the same is asked for the passkey."""
    device = await with_passkey(visit)
    await visit.password(heading="One more step")
    await visit.page.touching(device)
    await visit.page.click("Use passkey or security key")
    await visit.page.at("Your account")


async def test_u2f_key(visit: Visit) -> None:
    """A key that knows no PIN is a second step after the password."""
    device = await with_passkey(visit, options=U2F_KEY)
    [credential] = await visit.page.credentials(device)
    assert not credential["isResidentCredential"]
    await visit.password(heading="One more step")
    await visit.page.touching(device)
    await visit.page.click("Use passkey or security key")
    await visit.page.at("Your account")


async def test_passkey_for_a_fresh_proof(visit: Visit) -> None:
    """A fresh proof is given by the passkey, in place."""
    device = await with_passkey(visit)
    await visit.page.touching(device)
    await visit.open(heading="Your account")
    visit.server.clock.advance(310)
    await visit.page.click("Remove: Passkey")
    await visit.page.click("Remove")
    await visit.page.at("Is it you?")
    await visit.page.click("Use passkey or security key")
    await visit.page.sees("Removed: Passkey.")
    assert ["Password"] == titles(await visit.rows("Ways to sign in"))


async def test_passkey_that_was_removed(visit: Visit) -> None:
    """A passkey that the account has no more is refused in words, and the browser forgets it."""
    page = visit.page
    device = await with_passkey(visit)
    await visit.server.auth.database.write(
        Statement("delete from enrolments where factor = ?", ("passkey",))
    )
    await page.click("Sign in with a passkey")
    await page.touching(device)  # not before: the browser's autofill would ask first
    assert (await page.problem()).startswith(
        "This passkey is not accepted: it may have been removed"
    )
    assert [] == await page.credentials(device)


async def test_second_passkey_on_one_device(visit: Visit) -> None:
    """A device that has a passkey for the account is not given another one."""
    page = visit.page
    device = await with_passkey(visit)
    await page.touching(device)
    await visit.open(heading="Your account")
    await page.click("Add a passkey")
    assert "This device has a passkey for your account already." == await page.problem()


async def test_no_passkey_at_hand(visit: Visit) -> None:
    """Whoever has no passkey, or turns the question down, is told so and may try again."""
    await visit.page.authenticator({**PASSKEY, "isUserVerified": False})
    await visit.ann()
    await visit.page.click("Sign in with a passkey")
    said = "No passkey was used: it was cancelled, or took too long. You can try again."
    assert said == await visit.page.problem()
    await visit.password()


async def test_account_by_passkey(visit: Visit) -> None:
    """An account can be made with a passkey alone, and is signed in by it."""
    page = visit.page
    await page.authenticator(PASSKEY)
    await page.click("Create an account")
    await page.at("Create an account")
    await page.fill("User name", "ann")
    await page.click("Create with a passkey instead")
    await kept_codes(page)
    await page.sees("Signed in as ann")
    assert ["Passkey"] == titles(await visit.rows("Ways to sign in"))
    assert 1 == len(await visit.rows("Where you are signed in"))
    await page.fill("New password", SECRET)
    await page.click("Show password")
    assert SECRET == await page.js("all('#account [type=text]')[0].value")
    await page.click("Set a password")
    await page.sees("The password is changed.")
    assert {"Passkey", "Password"} == set(titles(await visit.rows("Ways to sign in")))


async def plug_in(page: Page, ann: Someone) -> str:
    """The device with the passkey that the kit gave Ann; answers its id."""
    device = await page.authenticator(PASSKEY)
    [key] = ann.notes["passkey"].credentials.values()
    private = key.private_key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    credential = {
        "credentialId": b64encode(key.id).decode(),
        "isResidentCredential": True,
        "rpId": "localhost",
        "privateKey": b64encode(private).decode(),
        "userHandle": b64encode(key.user_handle).decode(),
        "signCount": key.counter,
    }
    await page.touching(device, enabled=False)
    await page.send("WebAuthn.addCredential", authenticatorId=device, credential=credential)
    return device


@pytest.mark.parametrize("trusted", [False, True], ids=["strange", "trusted"])
async def test_page_at_another_origin(browser: Chromium, tmp_path: Path, *, trusted: bool) -> None:
    """At another address than the server's nobody is signed in, and the page says why.

    Even a page that may call from there (`cors_origins`) gets nobody in by a passkey.
    """
    port = free_port()
    origin = f"http://localhost:{port}"
    settings = f'{PLUGINS}public_url = "http://localhost:{free_port()}"\n'
    if trusted:
        settings += f'cors_origins = ["{origin}"]\n'
    bind = Bind(public=[f"tcp:127.0.0.1:{port}"])
    async with kit(tmp_path, settings) as server, browser.page() as page:
        site = Site(server)
        visit = Visit(page, site, f"{origin}/login/")
        async with serving(site, bind):
            device = await plug_in(page, await visit.ann("passkey"))
            await visit.open()
            said = "This page is not at the address that the server expects. Open it at the address of the site."
            if not trusted:
                await visit.password(heading="Sign in")
                assert said == await page.problem()
                await visit.open()
            await page.touching(device)
            await page.click("Sign in with a passkey")
            assert said == await page.problem()
            assert 1 == len(await page.credentials(device))
