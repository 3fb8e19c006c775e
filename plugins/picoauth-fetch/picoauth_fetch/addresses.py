"""Which addresses may be connected to."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)


def networks(*texts: str) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(text) for text in texts)


# Written out, since what `is_global` answers has changed between releases of Python.
SPECIAL = networks(  # RFC 6890 and its registry, for IPv4
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.31.196.0/24",
    "192.52.193.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "192.175.48.0/24",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
)
UNICAST = IPv6Network("2000::/3")
"""All that was ever given out of IPv6 (RFC 4291, section 2.4); what is not in it is not public."""
UNPUBLIC = networks(  # and what of it has another use
    "2001::/23",  # protocols, Teredo among them
    "2001:db8::/32",
    "2002::/16",  # 6to4: any IPv4 address, a private one too
    "2620:4f:8000::/48",
    "3fff::/20",
)
OWN = networks(
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "::1/128",
    "fc00::/7",
)
"""The networks of a house or a machine. Not link-local: there clouds tell secrets to whoever asks."""
NAT64 = IPv6Network("64:ff9b::/96")
"""An IPv4 address as a network without IPv4 sees it (RFC 6052, section 2.1)."""


def allowed(text: str, *, private: bool) -> bool:
    """Whether this address is public, or, where that is allowed, one of the own networks."""
    address = unwrapped(ip_address(text))
    return public(address) or (private and within(address, OWN))


def unwrapped(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that a connection to an IPv6 address would reach."""
    if isinstance(address, IPv4Address):
        return address
    if address in NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address


def public(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv4Address):
        return not within(address, SPECIAL)
    return address.scope_id is None and address in UNICAST and not within(address, UNPUBLIC)


def within(address: IPv4Address | IPv6Address, those: Iterable[IPv4Network | IPv6Network]) -> bool:
    return any(address in network for network in those)
