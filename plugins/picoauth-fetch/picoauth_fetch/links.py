"""Links of a page: those of its header first, then those of its `<link>` elements."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from picoauth_fetch.html import Page

LINK = re.compile(r"<([^<>]*)>([^<]*)")
REL = re.compile(r"""\brel\s*=\s*(?:"([^"]*)"|([^\s;,"]+))""", re.IGNORECASE)


def header_links(headers: Mapping[str, str], rel: str) -> list[str]:
    """Targets in the header `Link` that have this relation (RFC 8288)."""
    found = []
    for target, parameters in LINK.findall(headers.get("link", "")):
        match = REL.search(parameters)
        if match and rel in (match[1] or match[2] or "").lower().split():
            found.append(target.strip())
    return found


def page_links(page: Page, headers: Mapping[str, str], rel: str) -> list[str]:
    """Targets of a page's links, those of the header first (IndieAuth, section 4.1)."""
    return [*header_links(headers, rel), *page.linked(rel)]
