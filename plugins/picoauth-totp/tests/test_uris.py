"""How secrets get into apps: addresses that every app reads alike, and pictures of them."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree as ET

import pyotp
import pytest
import segno
from hypothesis import example, given
from hypothesis import strategies as st

from picoauth_totp.uris import LONGEST, plain, qr, uri

SECRET = b"12345678901234567890"
BASE32 = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
SVG = "{http://www.w3.org/2000/svg}"


def test_uri() -> None:
    """Label and issuer, and nothing that an app knows already."""
    found = uri(SECRET, issuer="auth.example.com", account="ann")
    assert (f"otpauth://totp/auth.example.com:ann?secret={BASE32}&issuer=auth.example.com") == found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ann", "ann"),
        ("Ann: Example", "Ann Example"),
        ("::1", "1"),
        (" : ", ""),
        ("", ""),
        ("a\tb\nc\0d", "a b c d"),
        ("a\u202eb\u200bc\ud800d", "a b c d"),
        ("Media & Co. / 100%?#", "Media & Co. / 100%?#"),
        ("a" * 100, "a" * 64),
        ("a" * 63 + " b", "a" * 63),
        ("\N{GRINNING FACE}" * 100, "\N{GRINNING FACE}" * 16),
        ("a" + "\N{GRINNING FACE}" * 100, "a" + "\N{GRINNING FACE}" * 15),
    ],
)
def test_plain(text: str, expected: str) -> None:
    """No colon, nothing that is not seen, and no more than a picture holds."""
    assert expected == plain(text)


@given(st.text(st.characters()))
@example(":")
@example("\ud800")
def test_any_name(text: str) -> None:
    """A plain name is one for good."""
    name = plain(text)
    assert name == plain(name)
    assert ":" not in name
    assert name.isprintable()
    assert name == name.strip()
    assert len(name.encode()) <= LONGEST


@given(issuer=st.text(min_size=1), account=st.text(min_size=1))
@example(issuer="a:b", account="c:d")
@example(issuer="a/b?c#d&e=f+g %3A", account="%3a:../x")
@example(issuer="auth.example.com", account="secret=AAAA&issuer=Bank")
def test_any_label(issuer: str, account: str) -> None:
    """Whatever the names are, an app reads these names, and the secret (of 160 bits)."""
    issuer, account = plain(issuer) or "picoauth", plain(account) or "account"
    text = uri(SECRET, issuer=issuer, account=account)
    assert re.fullmatch(r"otpauth://totp/[!-~]+", text)
    read = pyotp.parse_uri(text)
    assert (issuer, account, BASE32) == (read.issuer, read.name, read.secret)
    parts = urlsplit(text)
    assert ("otpauth", "totp", "") == (parts.scheme, parts.netloc, parts.fragment)
    assert 1 == parts.path.count(":") == unquote(parts.path).count(":")
    assert "/" not in parts.path[1:]
    assert {"secret": [BASE32], "issuer": [issuer]} == parse_qs(parts.query)


def drawn(picture: str) -> list[list[bool]]:
    """The modules of a picture, by reading what it draws."""
    root = ET.fromstring(picture)  # noqa: S314 - our own picture
    _, _, width, height = (int(number) for number in root.attrib["viewBox"].split())
    modules = [[False] * width for _ in range(height)]
    x, y = 0.0, 0.0
    [_, path] = root
    for command, arguments in re.findall(r"([Mmh])([^Mmh]*)", path.attrib["d"]):
        numbers = [float(number) for number in re.findall(r"-?[\d.]+", arguments)]
        if command == "h":
            for each in range(int(numbers[0])):
                modules[int(y)][int(x) + each] = True
            x += numbers[0]
        else:
            base = (0.0, 0.0) if command == "M" else (x, y)
            x, y = base[0] + numbers[0], base[1] + numbers[1]
    return modules


@pytest.mark.parametrize("account", ["ann", "\N{GRINNING FACE}" * 16])
def test_picture(account: str) -> None:
    """It shows the code of the address, with four white modules on each side."""
    text = uri(SECRET, issuer=account, account=account)
    found = drawn(qr(text))
    size = len(found)
    inner = [row[4 : size - 4] for row in found[4 : size - 4]]
    assert [[bool(m) for m in row] for row in segno.make_qr(text, error="m").matrix] == inner
    assert sum(map(sum, found)) == sum(map(sum, inner))


def test_picture_stands_alone() -> None:
    """Black on white, in a page of any colours: no style, no script, nothing from elsewhere."""
    picture = qr(uri(SECRET, issuer="auth.example.com", account="ann"))
    root = ET.fromstring(picture)  # noqa: S314 - our own picture
    size = root.attrib["viewBox"].split()[-1]
    [ground, modules] = root
    assert (f"{SVG}svg", {"viewBox": f"0 0 {size} {size}"}) == (root.tag, root.attrib)
    assert f"M0 0h{size}v{size}h-{size}z" == ground.attrib["d"]
    assert ({"fill": "#fff"}, {"stroke": "#000"}) == tuple(
        {name: value for name, value in path.attrib.items() if name != "d"}
        for path in (ground, modules)
    )
    assert [f"{SVG}path"] * 2 == [path.tag for path in root]
    without_namespace = picture.replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"://|href|url\(|<!|<\?|currentColor", without_namespace)
