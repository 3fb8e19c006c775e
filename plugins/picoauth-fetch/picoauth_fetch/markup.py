"""Tags and texts of a page, as browsers tell them apart, in one pass.

Not by `html.parser`: of pages that leave things open it reads the rest again for each, which
lets a stranger's page of some kilobytes hold up the whole server (CVE-2025-6069), and some
pages make it raise. Here nothing is read twice: what is left open hides the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import unescape

RAW = {
    name: re.compile(rf"</{name}(?=[ \t\n\f\r/>])", re.IGNORECASE | re.ASCII)
    for name in ("iframe", "noembed", "noframes", "script", "style", "textarea", "title", "xmp")
}
"""Elements whose content is text, whatever is in it, and where it ends."""
MARKUP = re.compile(r"<(?=[A-Za-z/!?])")
"""Any other `<` is text."""
COMMENT_END = re.compile(r"--!?>")
NAME = re.compile(r"[A-Za-z][^ \t\n\f\r/>]*+")
BETWEEN = re.compile(r"[ \t\n\f\r/]*+")
ATTRIBUTE = re.compile(
    r"([^ \t\n\f\r/>][^ \t\n\f\r/>=]*+)"
    r"(?:[ \t\n\f\r]*+=[ \t\n\f\r]*+([\"']|[^ \t\n\f\r>\"'][^ \t\n\f\r>]*+)?)?+"
)


@dataclass
class Tag:
    """The beginning of an element, or its end."""

    name: str
    ends: bool = False
    attributes: dict[str, str] = field(default_factory=dict)
    """By name in lower case; of two with one name the first counts, as in browsers."""


class Unfinished(Exception):
    """What is left open at the end of the page."""


def tokens(text: str) -> Iterator[Tag | str]:
    """Tags, and texts between them, where character references are read."""
    place = 0
    try:
        while (markup := MARKUP.search(text, place)) is not None:
            if markup.start() > place:
                yield plain(text[place : markup.start()])
            tag, place = tag_at(text, markup.start())
            if tag is None:
                continue
            yield tag
            if not tag.ends and tag.name in RAW:
                place = found(RAW[tag.name].search(text, place)).start()
    except Unfinished:
        return
    if text[place:]:
        yield plain(text[place:])


def tag_at(text: str, opened: int) -> tuple[Tag | None, int]:
    """The tag that begins there, if it is one, and where what begins ends. Raises Unfinished."""
    ends = text.startswith("/", opened + 1)
    name = NAME.match(text, opened + 1 + ends)
    if name is not None:
        return tag_of(text, name, ends=ends)
    if text.startswith("<!--", opened):
        return None, found(COMMENT_END.search(text, opened + 2)).end()
    return None, after(text, ">", opened)


def tag_of(text: str, name: re.Match[str], *, ends: bool) -> tuple[Tag, int]:
    tag, place = Tag(lowered(name[0]), ends), found(BETWEEN.match(text, name.end())).end()
    while not text.startswith(">", place):
        attribute = found(ATTRIBUTE.match(text, place))
        value, end = attribute[2] or "", attribute.end()
        if value in ("'", '"'):
            end = after(text, value, end)
            value = text[attribute.end() : end - 1]
        tag.attributes.setdefault(lowered(attribute[1]), plain(value))
        place = found(BETWEEN.match(text, end)).end()
    return tag, place + 1


def lowered(name: str) -> str:
    """As browsers do, for whom a Kelvin sign is no k."""
    return name.lower() if name.isascii() else name


def found(match: re.Match[str] | None) -> re.Match[str]:
    if match is None:
        raise Unfinished
    return match


def after(text: str, mark: str, place: int) -> int:
    end = text.find(mark, place)
    if end < 0:
        raise Unfinished
    return end + 1


def plain(text: str) -> str:
    """With its character references read; a number of thousands of digits is none."""
    try:
        return unescape(text)
    except ValueError:
        return text
