"""Drives a headless Chromium by its own protocol (CDP), over a pipe.

No driver and no library stand between: a command and an event are each one JSON text.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from tempfile import TemporaryDirectory
from typing import Any

from tests.processes import PATIENCE, program

SOON = 20
"""Seconds after which a test fails that waits for what a page shows."""
LARGEST = 2**26
"""Bytes of an answer: a picture of a page is one."""
OPTIONS = [
    "--headless=new",
    "--no-sandbox",  # it may be root who runs the tests, and the pages are our own
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-proxy-server",
    # It reaches nothing but tests.
    "--host-resolver-rules=MAP example.com 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE localhost",
    "--remote-debugging-pipe",
]
KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, "Space": 32}
PASSKEY = {
    "protocol": "ctap2",
    "ctap2Version": "ctap2_1",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}
"""A device with a screen lock."""
U2F_KEY = {"protocol": "u2f", "transport": "usb", "automaticPresenceSimulation": True}
"""A key that only notices a touch."""
Message = dict[str, Any]

VISIBLE = """
const shown = (e) => e.checkVisibility() && !e.closest('dialog:not([open])');
const scope = document.querySelector('dialog[open]') ?? document;
const all = (selector) => [...scope.querySelectorAll(selector)].filter(shown);
const named = (selector, name) => all(selector).find((e) =>
    (e.getAttribute('aria-label') ?? e.textContent).trim().replace(/\\s+/g, ' ') === name);
const input = (name) => named('label', name)?.querySelector('input');
"""
"""What a person sees who looks for `name`; of a page below a dialog, nothing."""


@dataclass
class Chromium:
    """A browser that runs."""

    reader: asyncio.StreamReader
    writer: int
    numbers: itertools.count[int] = field(default_factory=itertools.count)
    waiting: dict[int, asyncio.Future[Message]] = field(default_factory=dict)
    pages: dict[str, Page] = field(default_factory=dict)
    """By the id of their session."""

    async def send(self, method: str, session: str | None = None, **parameters: Any) -> Message:
        number = next(self.numbers)
        told = asyncio.get_running_loop().create_future()
        self.waiting[number] = told
        message: Message = {"id": number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        os.write(self.writer, json.dumps(message).encode() + b"\0")
        async with asyncio.timeout(PATIENCE):
            answer = await told
        assert "error" not in answer, (method, answer["error"])
        result: Message = answer["result"]
        return result

    async def listen(self) -> None:
        """Hand out answers and events until the browser is gone."""
        while True:
            try:
                message = json.loads((await self.reader.readuntil(b"\0"))[:-1])
            except asyncio.IncompleteReadError:
                for told in self.waiting.values():
                    told.set_exception(AssertionError("the browser has ended"))
                return
            if (number := message.get("id")) is not None:
                told = self.waiting.pop(number)
                if not told.done():  # whoever waited may be gone
                    told.set_result(message)
            elif (page := self.pages.get(message.get("sessionId"))) is not None:
                page.happened.append(message)

    @asynccontextmanager
    async def page(self, *, width: int = 1280, height: int = 800) -> AsyncIterator[Page]:
        """A tab with cookies and passkeys of its own."""
        context = (await self.send("Target.createBrowserContext"))["browserContextId"]
        made = await self.send("Target.createTarget", url="about:blank", browserContextId=context)
        found = await self.send("Target.attachToTarget", targetId=made["targetId"], flatten=True)
        page = Page(self, found["sessionId"])
        self.pages[page.session] = page
        for domain in ("Page", "Runtime", "Log", "Network", "Accessibility"):
            await page.send(f"{domain}.enable")
        await page.send("WebAuthn.enable", enableUI=False)
        await page.resize(width, height)
        try:
            yield page
        finally:
            del self.pages[page.session]
            await self.send("Target.disposeBrowserContext", browserContextId=context)


@asynccontextmanager
async def chromium() -> AsyncIterator[Chromium]:
    """A browser, for as long as the test needs it. Skips where none is installed."""
    path = program("chromium")
    theirs, to = os.pipe()
    back, ours = os.pipe()
    with TemporaryDirectory(prefix="chromium", ignore_cleanup_errors=True) as profile:
        process = await asyncio.create_subprocess_exec(
            *(shutil.which("bash") or "bash", "-c", f'exec "$@" 3<&{theirs} 4>&{ours}', "bash"),
            *(path, *OPTIONS, f"--user-data-dir={profile}", "about:blank"),
            pass_fds=(theirs, ours),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        os.close(theirs)
        os.close(ours)
        reader = asyncio.StreamReader(limit=LARGEST)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(back, "rb")
        )
        browser = Chromium(reader, to)
        listening = asyncio.create_task(browser.listen())
        try:
            yield browser
            await browser.send("Browser.close")
        finally:
            listening.cancel()
            transport.close()
            os.close(to)
            await asyncio.wait_for(process.wait(), PATIENCE)


@dataclass
class Page:
    """A tab, and the person before it."""

    browser: Chromium
    session: str
    happened: list[Message] = field(default_factory=list)
    """Every event so far."""

    async def send(self, method: str, **parameters: Any) -> Message:
        return await self.browser.send(method, self.session, **parameters)

    async def open(self, url: str) -> None:
        failed = (await self.send("Page.navigate", url=url)).get("errorText")
        assert failed is None, f"{url}: {failed}"

    async def resize(self, width: int, height: int = 800) -> None:
        await self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )

    async def js(self, expression: str) -> Any:
        """What an expression gives, awaited, as JSON."""
        answer = await self.send(
            "Runtime.evaluate",
            expression=f"(() => {{ {VISIBLE} return ({expression}); }})()",
            awaitPromise=True,
            returnByValue=True,
            userGesture=False,
        )
        assert "exceptionDetails" not in answer, (expression, answer["exceptionDetails"])
        return answer["result"].get("value")

    async def until(self, expression: str) -> Any:
        """Wait until an expression is true; a page that is being left has no answer yet."""
        end, told = time.monotonic() + SOON, None
        while time.monotonic() < end:
            try:
                if told := await self.js(expression):
                    return told
            except AssertionError as error:
                told = error
            await asyncio.sleep(0.02)
        raise AssertionError(f"{expression} is {told!r}, on a page that says:\n{await self.text()}")

    async def text(self) -> str:
        """All that is shown."""
        said: str = await self.js("document.body?.innerText ?? ''")
        return said

    async def sees(self, words: str) -> None:
        """Wait until the page says so."""
        await self.until(
            f"scope === document ? document.body.innerText.includes({json.dumps(words)}) : scope.innerText.includes({json.dumps(words)})"
        )

    async def at(self, heading: str) -> None:
        """Wait for a view."""
        await self.until(f"all('h1, h2')[0]?.textContent === {json.dumps(heading)}")

    async def click(self, name: str) -> None:
        """Click a button or a link with the mouse."""
        await self.press_at(f"named('button, a, label.check', {json.dumps(name)})")

    async def press_at(self, element: str) -> None:
        """Click what is there, does nothing yet, and has come to rest."""
        await self.until(f"{element}?.closest('[aria-busy=true]') === null")
        x, y = await self.js(
            f"(async () => {{ const e = {element}; e.scrollIntoView({{block: 'center'}});"
            "for (let last = [];;) { const box = e.getBoundingClientRect();"
            "const now = [box.x + box.width / 2, box.y + box.height / 2];"
            "if (String(now) === String(last)) return now;"
            "last = now; await new Promise((f) => setTimeout(f, 20)); } })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            await self.send(
                "Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1
            )

    async def fill(self, label: str, text: str) -> None:
        """Type into a field, in place of what is there."""
        await self.press_at(f"input({json.dumps(label)})")
        await self.js(f"input({json.dumps(label)}).select()")
        await self.type(text)

    async def type(self, text: str) -> None:
        await self.send("Input.insertText", text=text)

    async def key(self, name: str, *, shift: bool = False) -> None:
        code = KEYS[name]
        text = {"Enter": "\r", "Space": " "}.get(name, "")
        for kind in ("keyDown", "keyUp"):
            await self.send(
                "Input.dispatchKeyEvent",
                type=kind,
                key=" " if name == "Space" else name,
                code=name,
                windowsVirtualKeyCode=code,
                modifiers=8 if shift else 0,
                **({"text": text} if text and kind == "keyDown" else {}),
            )

    async def problem(self) -> str:
        """What went wrong, once the page says so."""
        said: str = await self.until("all('.problem').map((e) => e.textContent).join('')")
        return said

    async def authenticator(self, options: Message) -> str:
        """Plug in a virtual authenticator; answers its id."""
        added = await self.send("WebAuthn.addVirtualAuthenticator", options=options)
        found: str = added["authenticatorId"]
        return found

    async def touching(self, authenticator: str, *, enabled: bool = True) -> None:
        """Whether somebody touches it when it is asked; it may be left untouched meanwhile."""
        await self.send(
            "WebAuthn.setAutomaticPresenceSimulation",
            authenticatorId=authenticator,
            enabled=enabled,
        )

    async def credentials(self, authenticator: str) -> list[Message]:
        got = await self.send("WebAuthn.getCredentials", authenticatorId=authenticator)
        found: list[Message] = got["credentials"]
        return found

    async def unnamed(self) -> list[str]:
        """The controls that a screen reader finds without a name."""
        nodes = (await self.send("Accessibility.getFullAXTree"))["nodes"]
        controls = {"button", "link", "textbox", "checkbox", "combobox", "image", "dialog"}
        return [
            node["role"]["value"]
            for node in nodes
            if not node["ignored"]
            and node["role"]["value"] in controls
            and not node.get("name", {}).get("value", "").strip()
        ]

    def complaints(self) -> list[str]:
        """What the browser's log has against the page; that an answer was a refusal is no fault."""
        entries = [
            message["params"]["entry"]["text"]
            for message in self.happened
            if message["method"] == "Log.entryAdded"
            and message["params"]["entry"]["source"] != "network"
        ]
        thrown = [
            json.dumps(message["params"]["exceptionDetails"])
            for message in self.happened
            if message["method"] == "Runtime.exceptionThrown"
        ]
        return [*entries, *thrown]

    def requests(self, wanted: Callable[[str], bool]) -> list[str]:
        """The URLs that were asked for, of those wanted."""
        urls = [
            message["params"]["request"]["url"]
            for message in self.happened
            if message["method"] == "Network.requestWillBeSent"
        ]
        return [url for url in urls if wanted(url)]
