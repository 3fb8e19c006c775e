"""What may stand in a mail: links of ours, and words of users that can be none."""

from __future__ import annotations

import unicodedata
from urllib.parse import quote

WORDS = frozenset(" _-'\N{RIGHT SINGLE QUOTATION MARK}")
"""What a value keeps beside letters, marks and digits: nothing of it makes a link or markup."""
LONGEST = 100
"""Characters of a value that is no link."""


class Link(str):
    """A value that is a link. No other value can be one.

    What no URL has (RFC 3986, section 2) is percent-encoded: it ends no line and no attribute.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> Link:  # noqa: PYI034 - a subclass is none of ours
        return super().__new__(cls, quote(text, safe="%:/?#[]@!$&'()*+,;="))


def check_page(path: str) -> None:
    """Of a setting for the page that links in mails open.

    Raises ValueError for what takes no fragment, or is no path of `public_url`.
    """
    if not path.startswith("/") or "#" in path:
        raise ValueError('must be a path such as "/login/", without "#"')


def plain(value: str) -> str:
    """What a user typed, as words: no link, no line and no markup can be in it."""
    kept = (c if is_word(c) else " " for c in value[: 4 * LONGEST])
    return " ".join("".join(kept).split())[:LONGEST]


def is_word(character: str) -> bool:
    """Also in its widest form: `⒈` is a digit to Unicode, and ends a name as `1.` does."""
    return all(
        c.isalnum() or c in WORDS or unicodedata.category(c).startswith("M")
        for c in unicodedata.normalize("NFKC", character)
    )
