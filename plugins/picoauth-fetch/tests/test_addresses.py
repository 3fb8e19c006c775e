"""Which addresses may be connected to, and in which spellings."""

from __future__ import annotations

import pytest

from picoauth_fetch import FetchRefused
from picoauth_fetch.addresses import allowed
from picoauth_fetch.urls import Target, followed, read

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "93.184.216.34",
    "100.63.255.255",
    "100.128.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "2606:4700:4700::1111",
    "2a00:1450:4001:81b::200e",
    "2001:200::1",
    "64:ff9b::808:808",
    "::ffff:8.8.8.8",
]
OWN = [
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "::1",
    "fc00::1",
    "fd12:3456:789a::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::c0a8:101",
]
NEVER = [
    "0.0.0.0",  # noqa: S104 - nothing is bound
    "0.1.2.3",
    "169.254.169.254",
    "192.0.0.1",
    "192.0.0.9",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::2",
    "::127.0.0.1",
    "::ffff:0.0.0.0",
    "::ffff:169.254.169.254",
    "::ffff:0:127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::7f00:1",
    "100::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2002:808:808::1",
    "3fff::1",
    "4000::1",
    "5f00::1",
    "fe80::1",
    "fe80::1%eth0",
    "2606:4700:4700::1111%eth0",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses(address: str) -> None:
    """What anyone may reach is allowed."""
    assert allowed(address, private=False)


@pytest.mark.parametrize("address", OWN)
def test_own_networks(address: str) -> None:
    """A house's networks and the machine itself only where that is allowed, in any disguise."""
    assert not allowed(address, private=False)
    assert allowed(address, private=True)


@pytest.mark.parametrize("address", NEVER)
def test_addresses_of_nobody(address: str) -> None:
    """What is no address of a server is never allowed; a cloud's secrets are at one of them."""
    assert not allowed(address, private=False)
    assert not allowed(address, private=True)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://example.com", "https://example.com/"),
        ("HTTPS://EXAMPLE.com:443/A?b=%20c#d", "https://example.com/A?b=%20c"),
        ("https://example.com:8443/", "https://example.com:8443/"),
        ("https://example.com:/", "https://example.com/"),
        ("https://example.com:80/", "https://example.com:80/"),
        ("https://bücher.example/ä?ö", "https://xn--bcher-kva.example/%C3%A4?%C3%B6"),
        ("https://1.1.1.1/", "https://1.1.1.1/"),
        ("https://\uff11.1.1.1/", "https://1.1.1.1/"),
        ("https://[2606:4700:4700:0::1111]:1024/", "https://[2606:4700:4700::1111]:1024/"),
        ("https://_x.a-b.example?q", "https://_x.a-b.example/?q"),
        ("https://1.example/", "https://1.example/"),
    ],
)
def test_readable_urls(url: str, expected: str) -> None:
    """A URL is read once, and written as it is asked for."""
    assert str(read(url, insecure=False)) == expected


SCHEME = "it is no URL of https"
HOST = "it has no host, or more than a host and a port"
NAME = "its host is no name"
ODD = "its host is an address in an odd spelling"
PORT = "its port is neither 80, 443 nor one from 1024"
CHARACTER = "it has a character that no URL has"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", SCHEME),
        ("example.com", SCHEME),
        ("//example.com", SCHEME),
        ("http://example.com/", SCHEME),
        ("ftp://example.com/", SCHEME),
        ("file:///etc/passwd", SCHEME),
        ("gopher://example.com/", SCHEME),
        ("javascript:alert(1)", SCHEME),
        ("unix:/run/docker.sock", SCHEME),
        ("https:", HOST),
        ("https:example.com", HOST),
        ("https:/example.com", HOST),
        ("https:///example.com", HOST),
        ("https://user@example.com/", HOST),
        ("https://user:password@example.com/", HOST),
        ("https://@example.com/", HOST),
        ("https://example.com:80:80/", HOST),
        ("https://exa%6dple.com/", HOST),
        ("https://[::1%25lo]/", HOST),
        ("https://[::1]example.com/", HOST),
        ("https://[v1.x]/", HOST),
        ("https://example.com:+80/", HOST),
        ("https://example.com:\uff18\uff10/", HOST),
        ("https://example.com:123456/", HOST),
        ("https://[::1", HOST),
        ("https://[::1.2]/", HOST),
        ("https://[:::]/", HOST),
        ("https://example.com:0/", PORT),
        ("https://example.com:22/", PORT),
        ("https://example.com:25/", PORT),
        ("https://example.com:65536/", PORT),
        ("https://example.com./", NAME),
        ("https://127.0.0.1./", NAME),
        ("https://.example.com/", NAME),
        ("https://example..com/", NAME),
        ("https://-a.example/", NAME),
        ("https://exa,mple.com/", NAME),
        ("https://💩.example/", NAME),
        (f"https://{'a' * 64}.example/", NAME),
        (f"https://{'a.' * 127}example/", NAME),
        ("https://127.1/", ODD),
        ("https://2130706433/", ODD),
        ("https://0/", ODD),
        ("https://0x7f000001/", ODD),
        ("https://0x7F.0.0.1/", ODD),
        ("https://127.0.0.0x1/", ODD),
        ("https://0177.0.0.1/", ODD),
        ("https://127.0.0.01/", ODD),
        ("https://256.1.1.1/", ODD),
        ("https://1.2.3.4.5/", ODD),
        ("https://a.0x/", ODD),
        ("https://example.com\\@evil.example/", CHARACTER),
        ("https://example.com/ x", CHARACTER),
        (" https://example.com/", CHARACTER),
        ("https://exam\nple.com/", CHARACTER),
        ("https://example.com/\r\nX: y", CHARACTER),
        ("https://example.com/\x00", CHARACTER),
        ("https://example.com/\ud800", CHARACTER),
        (f"https://example.com/{'a' * 2048}", "it is longer than 2048 characters"),
    ],
)
def test_unreadable_urls(url: str, reason: str) -> None:
    """Whatever two readers could read in two ways is refused."""
    with pytest.raises(FetchRefused) as caught:
        read(url, insecure=False)
    assert caught.value.reason == reason


def test_http_where_it_is_allowed() -> None:
    """Plain http only by setting; nothing else even then."""
    assert read("http://example.com/x", insecure=True) == Target("http", "example.com", 80, "/x")
    assert read("http://example.com:443/", insecure=True).authority == "example.com:443"
    with pytest.raises(FetchRefused, match=r"^it is no URL of http or https$"):
        read("ftp://example.com/", insecure=True)


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("/b", "https://example.com/b"),
        ("b?c#d", "https://example.com/x/b?c"),
        ("//other.example/", "https://other.example/"),
        ("https://other.example:8443", "https://other.example:8443/"),
        ("/\xc3\xa4", "https://example.com/%C3%A4"),
        ("/ \t", "https://example.com/%20%09"),
        ("", "https://example.com/x/a"),
    ],
)
def test_redirects_that_are_followed(location: str, expected: str) -> None:
    """Relative ones count from where they were said."""
    here = read("https://example.com/x/a", insecure=False)
    assert str(followed(here, location, insecure=False)) == expected


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("http://example.com/", SCHEME),
        ("https://user@example.com/", HOST),
        ("https://127.1/", ODD),
        ("file:///etc/passwd", SCHEME),
        ("data:,x", SCHEME),
        ("https://exam ple.com/", HOST),
        ("https://\xe4.example/", HOST),
    ],
)
def test_redirects_that_are_not(location: str, reason: str) -> None:
    """Each redirect is read like the first URL, and none goes from https to http."""
    here = read("https://example.com/x/a", insecure=False)
    for insecure in (False, True):
        with pytest.raises(FetchRefused) as caught:
            followed(here, location, insecure=insecure)
        assert caught.value.reason == f"a redirect, and {reason}"


def test_redirect_to_what_is_no_url() -> None:
    """What cannot even be joined is refused, too."""
    here = read("http://example.com/", insecure=True)
    with pytest.raises(FetchRefused, match=f"^a redirect, and {HOST}$"):
        followed(here, "https://[::1", insecure=True)
    assert followed(here, "http://b.example/", insecure=True).scheme == "http"
    assert followed(here, "https://b.example/", insecure=True).scheme == "https"
