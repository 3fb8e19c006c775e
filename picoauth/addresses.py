"""The address of a client, behind proxies that are trusted by name."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from picoauth.settings import Config

REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{8,64}")


@dataclass(frozen=True)
class Proxies:
    """Whose X-Forwarded-For is believed."""

    networks: Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]
    unix: bool

    @classmethod
    def of(cls, config: Config) -> Proxies:
        names = [name for name in config.trusted_proxies if name != "unix"]
        return cls([ipaddress.ip_network(name) for name in names], "unix" in config.trusted_proxies)

    def client(self, peer: str | None, forwarded: str) -> str | None:
        """The address of the client, or None where it isn't known (A-5).

        Walks X-Forwarded-For from the right, past our own proxies only: what stands to the
        left of the first stranger is the stranger's claim.
        """
        address = canonical(peer or "")  # a unix socket has none, or one that is no IP address
        if address is None and not self.unix:
            return None
        hops = [hop.strip() for hop in forwarded.split(",") if hop.strip()]
        while hops and (address is None or self.trusted(address)):
            address = canonical(hops.pop())
            if address is None:
                return None
        return address

    def request_id(self, peer: str | None, given: bytes) -> str | None:
        """What a proxy of ours calls a request, if that can stand in a log; None of anyone else."""
        fine = REQUEST_ID.fullmatch(given) is not None and self.trusts(peer)
        return given.decode() if fine else None

    def trusts(self, peer: str | None) -> bool:
        """Whether who connected is a proxy of ours, so that what it says of a request is so."""
        address = canonical(peer or "")
        return self.unix if address is None else self.trusted(address)

    def trusted(self, address: str) -> bool:
        ip = ipaddress.ip_address(address)
        return any(ip in network for network in self.networks)


@lru_cache(maxsize=4096)
def canonical(address: str) -> str | None:
    """One text per address; an IPv4 address in IPv6's clothes is the IPv4 address."""
    try:
        ip = ipaddress.ip_address(address.strip("[]").partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(ip, "ipv4_mapped", None)
    return str(mapped or ip)
