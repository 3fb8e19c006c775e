"""URLs, links and pages as strangers write them."""

from __future__ import annotations

import pytest

from picoauth_fetch import web
from picoauth_fetch.html import DEEPEST, MOST, read
from picoauth_fetch.links import header_links, page_links
from picoauth_fetch.markup import Tag, tokens


def test_web_urls() -> None:
    """In their one form, with the origin; loopback is told apart."""
    found = web.web("HTTPS://App.Example:443/x?y")
    assert ("https://app.example/x?y", "https://app.example") == (str(found), found.origin)
    assert "http://app.example:8080" == web.web("http://app.example:8080").origin
    assert [True, True, False] == [
        web.web(url).is_loopback
        for url in ("http://[::1]:1/", "http://x.localhost/", "http://app.example/")
    ]


@pytest.mark.parametrize(
    "text",
    [
        *("", "ftp://a.example/", "https://a b/", "https:///", "https://a@b.example/"),
        *("https://a.example:0/", "https://a.example:/", "https://a.example:70000/"),
        *("https://127.1/", "https://a.example/#x", "x" * 3000),
    ],
)
def test_no_web_urls(text: str) -> None:
    """What is none is refused."""
    with pytest.raises(ValueError, match=r"must|has"):
        web.web(text)


def test_profiles_and_clients() -> None:
    """A client may have a port, and be on loopback; a profile has neither, nor dots."""
    assert 8080 == web.client_id("http://127.0.0.1:8080/").port
    assert "https://ann.example/" == str(web.profile("https://ANN.example"))
    for text in ("https://ann.example:8080/", "http://127.0.0.1/", "https://ann.example/%2e/"):
        with pytest.raises(ValueError, match="must have"):
            web.profile(text)


def test_redirects() -> None:
    """To the web, or to an app; never to what would run."""
    assert web.redirect("https://app.example/") is not None
    assert web.redirect("com.example.app:/back") is None
    assert web.is_secure(None)
    assert web.is_secure(web.web("http://localhost/"))
    assert not web.is_secure(web.web("http://app.example/"))
    for text in ("javascript:x", "nothing"):
        with pytest.raises(ValueError, match="must be a URL"):
            web.redirect(text)


def test_long_pages() -> None:
    """So many tags are looked at, since nobody may keep this server busy with one page."""
    link = '<link rel="x" href="/y">'
    assert ["/y"] == read("<p>" * (MOST - 1) + link).linked("x")
    assert [] == read("<p>" * MOST + link).linked("x")


def test_resolved() -> None:
    """Relative to their page, without what cannot be made a URL."""
    found = web.resolved("https://app.example/x/", ["y", "http://[", "/z", "com.example.app:/a"])
    assert ["https://app.example/x/y", "https://app.example/z", "com.example.app:/a"] == found


def test_profile_address() -> None:
    """An address is no host name."""
    with pytest.raises(ValueError, match="no address"):
        web.profile("https://127.0.0.1/")


def test_links() -> None:
    """Those of the header first; only real elements of the page, and none of a template."""
    page = read(
        '<a rel="me" href="/a"></a><template><link rel="me" href="/t"><p></template>'
        '<link rel="X Me" href=" /b "><link rel="me"></template>'
    )
    headers = {"link": '</h>; rel="y me", </i>; rel=x, </j>'}
    assert ["/h", "/b"] == page_links(page, headers, "me")
    assert [] == header_links({}, "me")


def test_apps() -> None:
    """The first h-app, with its names and picture; its end is kept in mind, however deep."""
    page = read(
        '<div class="h-app"><br><img class="u-logo" src="/l.png"><img class="u-logo" src="/m">'
        '<a class="u-url p-name" href="/">A<b>pp</b></a> more</div> after'
        '<div class="h-app"><a class="u-url" href="/other"></a></div>'
    )
    assert page.app is not None
    assert (["/"], "/l.png", "App") == (page.app.urls, page.app.logo, page.app.name)
    deep = read('<a class="h-x-app" href="/">' + "<i>" * (DEEPEST + 9) + "deep")
    assert deep.app is not None
    assert (["/"], "deep") == (deep.app.urls, deep.app.name)


@pytest.mark.parametrize(
    ("text", "targets"),
    [
        ("<link rel=x href=a><LINK REL=\"Y X\" HREF = 'b' />", ["a", "b"]),
        ('<link rel="x" rel="y" href="a" href="b">', ["a"]),
        ('<link/rel="x"/href="a"><link rel=x href=b/>', ["a", "b/"]),
        ('<link rel=x href="a&amp;b&#x2f;">', ["a&b/"]),
        ("<!-- <link rel=x href=a> --><link rel=x href=b>", ["b"]),
        ("<!--><link rel=x href=a><!---><link rel=x href=b>", ["a", "b"]),
        ("<!-- --!><link rel=x href=a>", ["a"]),
        ("<!-- -- > <link rel=x href=a>", []),
        ("<!x><?x></ x></><link rel=x href=a>", ["a"]),
        ("<![foo[<link rel=x href=a><link rel=x href=b>", ["b"]),
        ("<![CDATA[>]]><link rel=x href=a>", ["a"]),
        ("<title><link rel=x href=a></title><link rel=x href=b>", ["b"]),
        ("<textarea><link rel=x href=a></TEXTAREA ><link rel=x href=b>", ["b"]),
        ("<script></scripts><link rel=x href=a></script><link rel=x href=b>", ["b"]),
        ("<script><link rel=x href=a>", []),
        ("<script/><link rel=x href=a>", []),
        ("< link rel=x href=a><<link rel=x href=b>", ["b"]),
        ("<lin\u212a rel=x href=a><link\u00a0rel=x href=b>", []),
        ("<link rel=x href=a", []),
        ('<link rel=x href="a><link rel=x href=b>', []),
        ('<p class="<link rel=x href=a>"><link rel=x href=b>', ["b"]),
        ("<link rel=x href=a =b c= d>", ["a"]),
        ("<link =x rel=x href=>", [""]),
        (f"<link rel=x href='&#{'9' * 5000};'>", [f"&#{'9' * 5000};"]),
    ],
)
def test_links_as_browsers_see_them(text: str, targets: list[str]) -> None:
    """Whatever two readers could read in two ways is read as a browser does."""
    assert targets == read(text).linked("x")


def test_texts() -> None:
    """Between tags, with character references; a lone `<` is text."""
    found = list(tokens("a &lt; < b<p>c<br/>&amp;</P>d"))
    assert ["a < < b", Tag("p"), "c", Tag("br"), "&", Tag("p", ends=True), "d"] == found
    assert [] == list(tokens(""))
    assert ["<", Tag("b")] == list(tokens("<<b>"))


@pytest.mark.parametrize(
    "text",
    [
        *("<!--", "</", "<!", "<?", "<![", "<![CDATA[", "<a ", "<a b=", '<a b="', "<a 'b", "<a/"),
        *("</a ", "<script>", "<script></", "<textarea></", "<!DOCTYPE "),
        *("<!-- -- ", "<!-- --!", "<title><!--"),
    ],
)
def test_nothing_is_read_twice(text: str) -> None:
    """What is left open hides the rest, which is not looked at again for each that is open."""
    assert len(list(tokens(text * 10_000))) <= 1


def test_no_markup() -> None:
    """What begins nothing is one text."""
    for text in ("<", "< ", "&", "&#", "<\0", "<1>"):
        assert 1 == len(list(tokens(text * 10_000)))
