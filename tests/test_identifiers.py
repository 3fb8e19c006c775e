"""Identifiers: the one form in which each kind is compared, and what cannot be one."""

from __future__ import annotations

import string
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picoauth import AuthError, Identifier, identifier
from picoauth.identifiers import canonical

KINDS = ("username", "email", "url", "ldap")

USERNAMES = [
    ("ann", "ann"),
    ("Ann", "ann"),
    ("\uff21\uff2e\uff2e", "ann"),  # full width
    ("\uff41\uff4e\uff4e", "ann"),
    ("İstanbul", "i\u0307stanbul"),
    ("e\u0301lise", "\u00e9lise"),  # a letter and its accent, apart
    ("\u212bngstrom", "\u00e5ngstrom"),  # the sign for the unit
    ("ann.b-c_d+e!", "ann.b-c_d+e!"),
    ("анна", "анна"),
    ("\u0430nn", "\u0430nn"),  # a Cyrillic first letter: looks like ann, and is another name
    ("安娜", "安娜"),
    ("x" * 64, "x" * 64),
    ("e\u0301" * 64, "\u00e9" * 64),
    ("...", None),
    ("..", None),
    (".", None),
    ("", None),
    (" ", None),
    ("ann b", None),
    (" ann", None),
    ("ann\n", None),
    ("ann\x00", None),
    ("ann\u200b", None),  # a space of no width
    ("ann\u202e", None),  # turns the direction of writing
    ("ann\ud800", None),
    ("\u2160", None),  # the Roman numeral one
    ("ﬁ", None),  # a ligature
    ("ann@example.org", None),
    ("ann\uff20example.org", None),  # full width again
    ("a/b", None),
    ("a\\b", None),
    ("a?b", None),
    ("a#b", None),
    ("a%2fb", None),
    ("x" * 65, None),
    ("İ" * 33, None),  # lower case is longer
    ("x" * 65536, None),
]

EMAILS = [
    ("ann@example.org", "ann@example.org"),
    ("Ann@Example.ORG", "ann@example.org"),
    ("ann+tag@example.org", "ann+tag@example.org"),
    ("o'neill@example.org", "o'neill@example.org"),
    ("ann@bücher.example", "ann@xn--bcher-kva.example"),
    ("ann@BÜCHER.example", "ann@xn--bcher-kva.example"),
    ("ann@xn--bcher-kva.example", "ann@xn--bcher-kva.example"),
    ("ann@\uff45xample.org", "ann@example.org"),  # a full-width letter
    ("ann@example\u3002org", "ann@example.org"),  # an ideographic full stop
    ("jos\u00e9@example.org", "jos\u00e9@example.org"),
    ("jose\u0301@example.org", "jos\u00e9@example.org"),
    ("\u017f\u0301@example.org", "\u015b@example.org"),
    ("x" * 242 + "@example.org", "x" * 242 + "@example.org"),  # 254 octets
    ("x" * 243 + "@example.org", None),
    ("é" * 122 + "@example.org", None),  # 256 octets, fewer characters
    ("\N{LATIN CAPITAL LETTER SHARP S}" * 120 + "@example.org", None),  # 252 octets when folded
    ("x" * 65536 + "@example.org", None),
    ("ann@" + "é" * 65536, None),
    ("ann", None),
    ("ann@", None),
    ("@example.org", None),
    ("ann@localhost", None),
    ("ann@example.org.", None),
    ("ann@.org", None),
    ("ann@example..org", None),
    ("ann@[127.0.0.1]", None),
    ("ann@exa mple.org", None),
    ("ann@example.org/x", None),
    ("ann@straße.example", None),  # one domain in 2003, another since 2008
    ("ann@βόλος.example", None),
    ('"ann"@example.org', None),
    ("a b@example.org", None),
    ("a,b@example.org", None),
    ("a\u037eb@example.org", None),  # a Greek question mark becomes a semicolon
    ("ann@bob@example.org", None),
    ("ann\r\nBcc: bob@example.org", None),
    ("ann@example.org\r\nBcc: bob@example.org", None),
    ("ann\x00@example.org", None),
    ("ann\ud800@example.org", None),
    ("ann@\ud800.org", None),
]

URLS = [
    ("https://ann.example", "https://ann.example/"),
    ("HTTPS://Ann.Example/Me", "https://ann.example/Me"),
    ("http://localhost/", "http://localhost/"),
    ("https://bücher.example/", "https://xn--bcher-kva.example/"),
    ("https://ann.example:443/", "https://ann.example/"),
    ("http://ann.example:80/", "http://ann.example/"),
    ("http://ann.example:443/", "http://ann.example:443/"),
    ("https://ann.example:8443/x?y=z", "https://ann.example:8443/x?y=z"),
    ("https://ann.example/?", "https://ann.example/"),
    ("https://ann.example/#", "https://ann.example/"),
    ("ann.example", None),
    ("ftp://ann.example/", None),
    ("javascript:alert(1)", None),
    ("https://", None),
    ("https://ann.example/#me", None),
    ("https://ann@ann.example/", None),
    ("https://:secret@ann.example/", None),
    ("https://ann.example:99999/", None),
    ("https://ann.example:x/", None),
    ("https://[::1]/", None),
    ("https://[/", None),
    ("https://ann.example./", None),
    ("https://ann..example/", None),
    ("https://straße.example/", None),
    ("https://ann.exa\nmple/", None),
    (" https://ann.example/", None),
    ("https://ann.example/a b", None),
    ("https://ann.example\\@evil.example/", None),
    ("https://ann%2eexample/", None),
    ("https://ann.example/" + "x" * 2048, None),
    ("https://" + "x." * 127 + "example/", None),
]


def outcome(kind: str, text: str) -> str | tuple[int, str]:
    """The canonical form, or status and code of the refusal."""
    try:
        return canonical(kind, text)
    except AuthError as error:
        return error.problem.status, error.problem.code


@pytest.mark.parametrize(("text", "expected"), USERNAMES)
def test_usernames(text: str, expected: str | None) -> None:
    """Each text has one canonical form as a user name, or is refused as one."""
    assert (expected or (400, "invalid_username")) == outcome("username", text)


@pytest.mark.parametrize(("text", "expected"), EMAILS)
def test_emails(text: str, expected: str | None) -> None:
    """Each text has one canonical form as an e-mail address, or is refused as one."""
    assert (expected or (400, "invalid_email")) == outcome("email", text)


@pytest.mark.parametrize(("text", "expected"), URLS)
def test_urls(text: str, expected: str | None) -> None:
    """Each text has one canonical form as a web address, or is refused as one."""
    assert (expected or (400, "invalid_url")) == outcome("url", text)


class Unread:
    """A text of which nothing but its length may be looked at."""

    def __len__(self) -> int:
        return 65536


@pytest.mark.parametrize("kind", ["username", "email", "url"])
def test_length_is_looked_at_first(kind: str) -> None:
    """A long text is refused unread: to fold 64 KiB would hold everyone up for a second."""
    with pytest.raises(AuthError, match=f"^invalid_{kind}$"):
        canonical(kind, cast("str", Unread()))


def test_other_kinds() -> None:
    """Identifiers of kinds that plugins add are compared without regard to case."""
    assert "cn=\u00e9lise" == canonical("ldap", "CN=E\u0301lise")


def test_other_kinds_have_an_end() -> None:
    """Marks are put in order by comparing each with each: 32,000 would take seconds."""
    assert "e" * 2048 == canonical("ldap", "E" * 2048)
    with pytest.raises(AuthError) as refusal:
        canonical("ldap", "\u0301\u0316" * 16_000)
    told = (refusal.value.problem.code, refusal.value.detail)
    assert ("invalid_body", "an identifier has at most 2048 characters") == told


def test_identifier_keeps_what_was_typed() -> None:
    """What is shown is what was typed; what is compared is not."""
    expected = Identifier("username", "ann", "Ann", verified=True)
    assert expected == identifier("username", "Ann", verified=True)
    with pytest.raises(AuthError, match=r"^invalid_email$"):
        identifier("email", "Ann", verified=False)


# Letters whose case or composition is special, and what may stand between them.
ODD = "ßẞς\u017fİ\u0131ǰŉΐᾳ\u0345\u0301\u0307\u0308\u0327\u212a\u212b\u037e\uff21\uff20\u3002.@:/-_"
TEXT = st.text(st.sampled_from(ODD + string.ascii_letters) | st.characters(), max_size=30)


@settings(deadline=None)
@given(
    st.sampled_from(KINDS),
    TEXT
    | TEXT.map("ann@{}.example".format)
    | TEXT.map("{}@ann.example".format)
    | TEXT.map("https://{}.example/".format)
    | TEXT.map("https://ann.example/{}".format),
)
def test_canonical_is_idempotent(kind: str, text: str) -> None:
    """A canonical form is its own canonical form; nothing but AuthError is ever raised."""
    try:
        value = canonical(kind, text)
    except AuthError:
        return
    assert value == canonical(kind, value)
