"""What is read of a client's page, and what is not."""

from __future__ import annotations

import pytest

from picoauth_fetch.html import read
from picoauth_fetch.links import header_links
from picoauth_fetch.web import redirect, web
from picoauth_privateauth.documents import from_json, from_page, shown

NAMES = ["https://client.example/"]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('<p class="h-app"><a href="/" class="u-url">It</a></p>', "It"),
        ('<a class="h-app" href="https://CLIENT.example">It</a>', "It"),
        (
            '<div class="h-x-app"><a class="u-url" href="">A</a> <b class="p-name">It</b> is</div>',
            "It",
        ),
        ('<div class="h-app"><a class="u-url" href="/">It<br>self</a></div> not this', "Itself"),
        (
            '<div class="h-app"><a class="u-url" href="/"><b class="p-name">A</b></a><i class="p-name">B</i></div>',
            "AB",
        ),
        (
            '<div class="h-app"><a class="u-url" href="/">One</a></div><div class="h-app">Two</div>',
            "One",
        ),
        ('<div class="h-app"><a class="u-url" href="/"></a>', None),
        ('<div class="h-app"><a class="u-url" href="https://[/">It</a></div>', "-"),
        ('<div class="h-app">It</div>', "-"),
        ("</div></template>", "-"),
        ('<template><a class="h-app" href="/">It</a></template>', "-"),
        ("<div class='h-app'>" + "<b>" * 300 + "<a class='u-url' href='/'>It</a>", "It"),
    ],
)
def test_h_app(text: str, name: str | None) -> None:
    """Its name, if one of its URLs is the client's; `-` stands for no h-app of this client."""
    found = from_page(text.encode(), {}, NAMES)
    assert ("html" if name == "-" else "h-app") == found.source
    assert (None if name == "-" else name) == found.name


def test_logos() -> None:
    """The first logo of the h-app, if it is of the web."""
    page = '<div class="h-app"><a class="u-url" href="/">It</a>{}</div>'
    for tag, logo in (
        (
            '<img class="u-logo" src="a.png"><img class="u-logo" src="b.png">',
            "https://client.example/a.png",
        ),
        ('<a class="u-logo" href="/a.png">', "https://client.example/a.png"),
        ('<img class="u-logo" src="data:image/png;base64,x">', None),
        ('<img class="u-logo">', None),
    ):
        assert logo == from_page(page.format(tag).encode(), {}, NAMES).logo_uri


def test_links_of_headers() -> None:
    """By their relation, however it is written."""
    header = '<a>; rel=x, <b>; title="rel"; REL = "y X" , <c>;rel="xy",<d>, <e>; rel=x'
    assert ["a", "b", "e"] == header_links({"link": header}, "x")
    assert [] == header_links({}, "x")


def test_links_without_a_target() -> None:
    """A link without one is none, one without a relation has none."""
    assert [] == read('<link rel="x"><link href="/">').linked("x")


@pytest.mark.parametrize("body", [b"", b"x", b"[]", b'"x"', b"\xff", b"null", b"[" * 50_000])
def test_documents_that_are_none(body: bytes) -> None:
    """They are refused, whatever they are."""
    with pytest.raises(ValueError, match=r"is no JSON|does not have"):
        from_json(body, NAMES)


def test_documents_without_anything() -> None:
    """All but the client's URL may be missing."""
    found = from_json(b'{"client_id": "https://client.example/"}', NAMES)
    assert (None, None, ()) == (found.name, found.logo_uri, found.redirect_uris)


def test_names() -> None:
    """One line, of what can be printed."""
    assert "a b" == shown("\u202ea\n\tb\0 ")
    assert shown("\n") is None


def test_apps() -> None:
    """A scheme of an app is no page of the web."""
    assert redirect("com.example.app:/back") is None
    with pytest.raises(ValueError, match="has no such port"):
        web("https://client.example:0/")
