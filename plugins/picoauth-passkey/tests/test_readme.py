"""The requests of the plugin's page, asked as they are written, with a device at hand."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from picoauth.testing import serving
from picoauth_passkey.refusals import UNTOLD
from picoauth_passkey.settings import PasskeySettings
from tests.pages import DOCS, ROOT, Exchange, blocks
from tests.passkeys import device

PAGE = ROOT / "plugins" / "picoauth-passkey" / "README.md"
TEXT = PAGE.read_text(encoding="utf-8")
SITE = "https://auth.example.com"
PAGES = {PAGE: ["password", "passkey"], DOCS / "passkeys.md": ["password", "passkey", "recovery"]}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
async def test_requests_of_the_page(tmp_path: Path, page: Path) -> None:
    """Every request gets the answer that stands below it."""
    settings = f'plugins = {PAGES[page]}\npublic_url = "{SITE}"'
    async with serving(tmp_path, settings) as server:
        exchange, ann = Exchange(server), device(origin=SITE)
        await server.register()
        exchange.values = await server.login()
        found = [block for block in blocks(page) if block.language == "http"]
        assert found
        for block in found:
            asked = exchange.values
            if '"passkey": "…"' in block.text:
                if exchange.answer is not None:  # to which the page shows no answer
                    asked |= exchange.answer.json()
                    exchange.answer, ann = None, device(origin=SITE)
                make = ann.get if '"flow"' in block.text else ann.create
                options = asked["challenge"] if '"flow"' in block.text else asked["options"]
                asked["passkey"] = make(options)
            await exchange.run(block)
        assert exchange.answer is None


def checks() -> set[str]:
    """Every check that is in the source, by its name."""
    folder = PAGE.parent / "picoauth_passkey"
    sources = [path for path in folder.glob("*.py") if path.name != "commands.py"]
    text = "".join(path.read_text(encoding="utf-8") for path in sources)
    raising = (
        r"(?:require|failing|Refusal|unpacked|mapping|bytes_of|require_map)\([^\n]*?\"(\w+)\"\)"
    )
    found = {name for name in re.findall(raising, text) if name.islower()}
    return found - {"type", "response", "x5c"} | {"attestation_object"}  # members, as others are


def test_checks_of_the_page() -> None:
    """The page names each; those that clients are not told stand with the event."""
    rows = re.findall(r"^\| (`[a-z_`, ]+`) \| .* \|$", TEXT, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    ours = checks()
    assert {"signature", "rp_id", "backup", "aaguid", "counter", "challenge", "form"} <= ours
    assert ours - UNTOLD - named == set()
    assert [each for each in UNTOLD if f"`{each}`" not in TEXT] == []


def test_settings_of_the_page() -> None:
    """The page names each."""
    assert [f.name for f in fields(PasskeySettings) if f"| `{f.name}` |" not in TEXT] == []
