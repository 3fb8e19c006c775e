"""The address of a client: whose word is taken for it, and how it is spelt."""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from picoauth import EdgeReply, EdgeRequest, EdgeRoute, NoSettings, Plugin, hookimpl, parse
from picoauth.addresses import Proxies, canonical
from picoauth.testing import Server, serving
from tests.asgi import EXAMPLES, ask

in_one_loop = pytest.mark.asyncio(loop_scope="module")

PROXIES = '["10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "unix"]'
LISTED = "198.51.100.4"


def proxies(trusted: str) -> Proxies:
    return Proxies.of(parse(f'plugins = ["password"]\ntrusted_proxies = {trusted}', Path()))


class WherePlugin(Plugin[NoSettings]):
    """Answers at `/where` what the kernel takes for the caller's address."""

    @hookimpl
    def edge(self) -> Sequence[EdgeRoute]:
        return [EdgeRoute(method="GET", path="/where", handler=self.where)]

    async def where(self, request: EdgeRequest) -> EdgeReply:
        return EdgeReply(str(request.caller.address).encode())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """A server behind proxies."""
    settings = f'plugins = ["password", "where"]\ntrusted_proxies = {PROXIES}'
    folder = tmp_path_factory.mktemp("addresses")
    async with serving(folder, settings, plugins={"where": WherePlugin}) as running:
        yield running


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        # Nobody between: what the client says of itself counts for nothing.
        (LISTED, "", LISTED),
        (LISTED, "203.0.113.9", LISTED),
        (LISTED, "203.0.113.9, 10.0.0.1", LISTED),
        ("::ffff:198.51.100.4", "203.0.113.9", LISTED),
        ("2001:DB9::0001", "203.0.113.9", "2001:db9::1"),
        ("fe80::1%eth0", "203.0.113.9", "fe80::1"),
        # One proxy of ours: its word, which is the last.
        ("10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "1.1.1.1, 203.0.113.9", "203.0.113.9"),
        ("192.0.2.7", " 203.0.113.9 ,", "203.0.113.9"),
        ("192.0.2.8", "203.0.113.9", "192.0.2.8"),
        ("::ffff:10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("2001:db8::5", "[2001:db9::0009]", "2001:db9::9"),
        ("10.0.0.1", "::ffff:203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "fe80::9%eth0", "fe80::9"),
        # Several of ours: the first stranger from the right.
        ("10.0.0.1", "1.1.1.1, 203.0.113.9, 192.0.2.7, 10.9.9.9", "203.0.113.9"),
        ("10.0.0.1", "1.1.1.1,10.0.0.2,203.0.113.9,10.0.0.3", "203.0.113.9"),
        # Only ours: the outermost of them.
        ("10.0.0.1", "10.0.0.2, 192.0.2.7", "10.0.0.2"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", ",, ,", "10.0.0.1"),
        # A word that is no address is no address, and nothing left of it is looked at.
        ("10.0.0.1", "203.0.113.9, unknown", None),
        ("10.0.0.1", "203.0.113.9, _hidden", None),
        ("10.0.0.1", "1.2.3", None),
        ("10.0.0.1", "1.2.3.4:80", None),
        ("10.0.0.1", "0x7f.1", None),
        ("10.0.0.1", "203.0.113.9 10.0.0.9", None),
        ("10.0.0.1", "\u0661.2.3.4", None),
        # A unix socket, whose peer has no address, or one that is none.
        (None, "203.0.113.9", "203.0.113.9"),
        (None, "1.1.1.1, 203.0.113.9, 10.0.0.1", "203.0.113.9"),
        (None, "10.0.0.1", "10.0.0.1"),
        (None, "", None),
        (None, "unknown", None),
        ("", "203.0.113.9", "203.0.113.9"),
        ("<local>", "203.0.113.9", "203.0.113.9"),
    ],
)
def test_client_behind_proxies(peer: str | None, forwarded: str, expected: str | None) -> None:
    """Walk from the right, past our own proxies only (A-5)."""
    assert expected == proxies(PROXIES).client(peer, forwarded)


@pytest.mark.parametrize("trusted", ["[]", '["10.0.0.0/8"]'])
@pytest.mark.parametrize("peer", [None, "", "<local>", "unix:"])
def test_unix_socket_that_is_not_trusted(trusted: str, peer: str | None) -> None:
    """Whoever comes by the unix socket says nothing about addresses unless `unix` is listed."""
    assert proxies(trusted).client(peer, "203.0.113.9") is None


ADDRESSES = st.ip_addresses().map(str)
CLAIMS = st.one_of(ADDRESSES, st.sampled_from(["10.0.0.1", "127.0.0.1", "unix", ""]), st.text())


@EXAMPLES
@given(peer=ADDRESSES, claims=st.lists(CLAIMS, max_size=5).map(", ".join))
def test_stranger_cannot_choose_its_address(peer: str, claims: str) -> None:
    """Whatever a peer that is no proxy of ours claims, its address is where it calls from."""
    ours = proxies(PROXIES)
    address = ours.client(peer, "")
    assert address is not None
    if not ours.trusted(address):
        assert address == ours.client(peer, claims)


@EXAMPLES
@given(
    claims=st.lists(CLAIMS, max_size=5),
    client=ADDRESSES,
    hops=st.lists(st.sampled_from(["10.1.2.3", "192.0.2.7", "2001:db8::1"]), max_size=3),
)
def test_stranger_behind_proxies_cannot_choose_either(
    claims: list[str], client: str, hops: list[str]
) -> None:
    """What our proxies saw stands to the right of what the client made up."""
    ours = proxies(PROXIES)
    seen = canonical(client)
    assert seen is not None
    if not ours.trusted(seen):
        assert seen == ours.client("10.0.0.1", ", ".join([*claims, client, *hops]))


@EXAMPLES
@given(ip=st.ip_addresses())
def test_one_text_for_each_address(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    """However an address is spelt, it is one text, and that text is its own spelling."""
    text = canonical(str(ip))
    assert text is not None
    assert {text} == {canonical(text), canonical(ip.exploded.upper()), canonical(f"[{text}]")}
    if ip.version == 4:
        assert str(ip) == canonical(f"::ffff:{ip}")


@EXAMPLES
@given(text=st.text())
def test_any_text_as_an_address(text: str) -> None:
    """What is no address is None, whatever it is."""
    found = canonical(text)
    assert found is None or found == str(ipaddress.ip_address(found))


@in_one_loop
async def test_lines_are_one_list(server: Server) -> None:
    """Some proxies add a line to X-Forwarded-For where others lengthen it."""
    lines = [("X-Forwarded-For", value) for value in ("1.1.1.1", "203.0.113.9", "10.0.0.2")]
    for peer, expected in [("10.0.0.1", b"203.0.113.9"), (LISTED, LISTED.encode())]:
        got = await ask(server, "GET", "/where", headers=lines, client=(peer, 1))
        assert expected == got.body


@in_one_loop
@pytest.mark.parametrize("client", [None, ("", 0), ("<local>", None)])
async def test_unix_socket(server: Server, client: tuple[str, int] | None) -> None:
    """However a server says that a request came by a unix socket, the proxy there is believed."""
    headers = [("X-Forwarded-For", "203.0.113.9")]
    got = await ask(server, "GET", "/where", headers=headers, client=client)
    assert b"203.0.113.9" == got.body


@in_one_loop
@pytest.mark.parametrize("name", ["Forwarded", "X-Real-IP", "Client-IP", "Remote-Addr", "Via"])
async def test_other_headers_are_not_looked_at(server: Server, name: str) -> None:
    """Only X-Forwarded-For counts, since a proxy passes on the others as they came."""
    for value in ("for=203.0.113.9", "203.0.113.9"):
        got = await ask(server, "GET", "/where", headers=[(name, value)], client=("10.0.0.1", 1))
        assert b"10.0.0.1" == got.body
