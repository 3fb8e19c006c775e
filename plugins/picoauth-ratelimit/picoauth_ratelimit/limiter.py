"""The limiter: by address when a route is entered, and by account as without it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from picoauth import Attempt, AuthError, Limiter, Row, Statement, problems
from picoauth_ratelimit.settings import GROUPS, RateLimitSettings, rate
from picoauth_ratelimit.sketch import Sketch


class AddressLimiter:
    """Wraps the kernel's: what that says of accounts, it says still (A-4)."""

    def __init__(
        self, inner: Limiter, settings: RateLimitSettings, clock: Callable[[], float]
    ) -> None:
        self.inner = inner
        self.group = lru_cache(maxsize=1024)(grouping(settings.routes or {}))
        rates = {name: rate(getattr(settings, name)) for name in GROUPS}
        self.sketches = {name: Sketch(one, clock) for name, one in rates.items() if one}
        self.exempt = [ip_network(text) for text in settings.exempt]

    async def attempt(self, attempt: Attempt, *look: Statement) -> list[list[Row]]:
        """Raises AuthError (429). Whose address is not known is limited by account alone."""
        if attempt.user is None and attempt.address is not None:
            self.enter(attempt.route, attempt.address)
        return await self.inner.attempt(attempt, *look)

    def enter(self, route: str, address: str) -> None:
        sketch = self.sketches.get(self.group(route))
        if sketch is None or exempted(address, self.exempt):
            return
        wait = math.ceil(sketch.take(source(address)))
        if wait:
            raise AuthError(
                problems.TOO_MANY_ATTEMPTS,
                headers={"Retry-After": str(wait)},
                retry_after=wait,
            )

    def succeeded(self, attempt: Attempt) -> Sequence[Statement]:
        return self.inner.succeeded(attempt)

    def withdrawn(self, attempt: Attempt) -> Sequence[Statement]:
        return self.inner.withdrawn(attempt)


def source(address: str) -> bytes:
    """What counts as one: of IPv6 whoever has an address has 2**64 of them (A-5)."""
    ip = ip_address(address)
    return ip.packed[:8] if isinstance(ip, IPv6Address) else ip.packed


def exempted(address: str, networks: Sequence[IPv4Network | IPv6Network]) -> bool:
    return bool(networks) and any(ip_address(address) in network for network in networks)


def grouping(routes: Mapping[str, str]) -> Callable[[str], str]:
    """Which group a route is in: by the settings, or by the list."""

    def group(route: str) -> str:
        if route in routes:
            return routes[route]
        return next(name for name, paths in GROUPS.items() if any(map(fits(route), paths)))

    return group


def fits(route: str) -> Callable[[str], bool]:
    return lambda path: route.startswith(path) if path.endswith("/") else route == path
