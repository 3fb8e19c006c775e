"""The little of HTML that matters: `<link>` elements, and the h-app microformat."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice

from picoauth_fetch.markup import Tag, tokens

VOID = frozenset(
    "area base br col embed hr img input link meta source track wbr".split()  # noqa: SIM905
)
"""Elements that have no end."""
APP = {"h-app", "h-x-app"}
DEEPEST = 256
"""Elements within an h-app that are looked into."""
MOST = 20_000
"""Tags and texts of a page that are looked at; links stand in its head."""


@dataclass
class App:
    """What a page says that it is."""

    urls: list[str] = field(default_factory=list)
    logo: str | None = None
    named: list[str] = field(default_factory=list)
    """Texts of its `p-name`."""
    texts: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """As it says, or else all its text (microformats2 parsing, implied properties)."""
        return "".join(self.named or self.texts)


@dataclass
class Page:
    """What was found in a page."""

    links: list[tuple[set[str], str]] = field(default_factory=list)
    app: App | None = None

    def linked(self, rel: str) -> list[str]:
        """Targets of `<link>` elements with this relation, in the order of the page.

        Not of `<a>`, which whoever may comment can write.
        """
        return [target for rels, target in self.links if rel in rels]


class Reader:
    """Reads one page; whatever is wrong in it stays without effect."""

    def __init__(self) -> None:
        self.page = Page()
        self.depth = 0
        """Open elements within the h-app, itself included."""
        self.name_depth = 0
        """The depth at which its `p-name` began; 0 outside of one."""
        self.skipping = 0
        """Open `<template>` elements, whose content is not part of the page."""

    def take_in(self, token: Tag | str) -> None:
        if isinstance(token, str):
            self.text(token)
        elif token.ends:
            self.end(token.name)
        else:
            self.begin(token.name, token.attributes)

    def begin(self, tag: str, given: dict[str, str]) -> None:
        if tag == "template":
            self.skipping += 1
        if self.skipping:
            return
        if tag == "link" and "href" in given:
            rels = set(given.get("rel", "").lower().split())
            self.page.links.append((rels, given["href"].strip()))
        self.look(tag, given)

    def look(self, tag: str, given: dict[str, str]) -> None:
        """Whether an h-app begins, or one of its properties."""
        classes = set(given.get("class", "").split())
        begins = self.page.app is None and bool(APP & classes)
        if begins:
            self.page.app = App()
        if not (begins or self.depth) or self.page.app is None:
            return
        self.take(self.page.app, classes, given, begins=begins)
        if tag in VOID or self.depth >= DEEPEST:
            return
        self.depth += 1
        if "p-name" in classes and not self.name_depth:
            self.name_depth = self.depth

    def take(self, app: App, classes: set[str], given: dict[str, str], *, begins: bool) -> None:
        if ("u-url" in classes or begins) and "href" in given:
            app.urls.append(given["href"].strip())
        if "u-logo" in classes and app.logo is None:
            app.logo = given.get("src") or given.get("href")

    def end(self, tag: str) -> None:
        if tag == "template":
            self.skipping = max(0, self.skipping - 1)
        if self.skipping or tag in VOID or not self.depth:
            return
        if self.depth == self.name_depth:
            self.name_depth = 0
        self.depth -= 1

    def text(self, data: str) -> None:
        app = self.page.app
        if app is None or not self.depth or self.skipping:
            return
        app.texts.append(data)
        if self.name_depth:
            app.named.append(data)


def read(text: str) -> Page:
    """What matters of the first `MOST` tags and texts.

    A stranger's page may take a second all the same: where others wait, read it in a thread.
    """
    reader = Reader()
    for token in islice(tokens(text), MOST):
        reader.take_in(token)
    return reader.page
