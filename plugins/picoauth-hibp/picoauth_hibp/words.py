"""Words that anyone would try first for a user: names of the site, of the user, of the address."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

from picoauth_password import PasswordContext

SHORTEST = 3
"""Letters of a word that counts: shorter ones are in everything."""
MOST = 8
"""Characters that may stand around a word without making it a password, as in a birthday."""
LEET = str.maketrans("014@35$7!|l", "oiaaesstiii")
"""One letter for all that look like it; `1`, `!` and `|` stand for i and for l."""
PRODUCT = "picoauth"


def of_site(host: str) -> Iterator[str]:
    """The labels of a host name, without the last one, which says nothing."""
    labels = host.split(".")
    if not all(label.isdigit() for label in labels) and ":" not in host:
        yield from labels[:-1] or labels


def of_user(context: PasswordContext) -> Iterator[str]:
    yield from filter(None, (context.username, context.name))
    local, _, domain = (context.email or "").rpartition("@")
    yield local
    yield from of_site(domain)


def is_made_of(password: str, texts: Iterable[str]) -> bool:
    """Whether a password is a word or a few of them, or merely decorates them.

    Case, width and common substitutions do not count. What is left beside the words decides: it
    decorates where it has at most half as many letters as the words, and `MOST` characters.
    """
    text = unicodedata.normalize("NFKC", password).lower()
    seen = text.translate(LEET)
    covered = [False] * len(text)
    for word in words(texts):
        for match in re.finditer(re.escape(word), seen):
            covered[slice(*match.span())] = [True] * len(word)
    rest = [character for character, hit in zip(text, covered, strict=True) if not hit]
    letters = sum(character.isalpha() for character in rest)
    return letters * 2 <= sum(covered) > 0 and len(rest) <= MOST


def words(texts: Iterable[str]) -> Sequence[str]:
    """The words of names, as they are looked for."""
    lower = " ".join(unicodedata.normalize("NFKC", text).lower() for text in texts)
    found = {word for word in re.findall(r"[^\W_]+", lower) if not word.isdigit()}
    return [word.translate(LEET) for word in found if len(word) >= SHORTEST]
