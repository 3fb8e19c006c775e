"""Which of the languages that there are somebody gets."""

from __future__ import annotations

from collections.abc import Sequence

ENGLISH = "en"
DEEPEST = 4
"""Subtags of a language that are looked at."""


def best(wanted: Sequence[str], offered: Sequence[str]) -> str:
    """The first that is offered, or whose language is (lookup, RFC 4647, section 3.4)."""
    from werkzeug.http import parse_accept_header  # noqa: PLC0415 - for who sends mail

    there = {language.casefold(): language for language in offered}
    for header in wanted:
        for tag, quality in parse_accept_header(header):
            parts = tag.replace("_", "-").casefold().split("-")[:DEEPEST]
            for length in range(len(parts), 0, -1):
                found = there.get("-".join(parts[:length]))
                if found and quality > 0:
                    return found
    return ENGLISH
