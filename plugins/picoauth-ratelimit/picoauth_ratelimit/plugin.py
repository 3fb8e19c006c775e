"""Fills the slot `limiter`."""

from __future__ import annotations

from collections.abc import Sequence

from picoauth import Check, Limiter, Plugin, hookimpl
from picoauth_ratelimit.limiter import AddressLimiter
from picoauth_ratelimit.settings import RateLimitSettings


class RateLimitPlugin(Plugin[RateLimitSettings]):
    """Limits what one address may do, in the memory of each process."""

    @hookimpl
    def limiter(self) -> Limiter | None:
        auth = self.auth
        return AddressLimiter(auth.default_limiter, self.settings, auth.jobs.monotonic)

    @hookimpl
    def checks(self) -> Sequence[Check]:
        return [Check(f"{self.name} addresses", self.addresses, live=False)]

    async def addresses(self) -> str | None:
        """Whether requests have addresses, by which they can be limited."""
        config = self.auth.config
        if (
            not any(one.startswith("unix:") for one in config.bind)
            or "unix" in config.trusted_proxies
        ):
            return None
        return (
            "A request by the unix socket has no address, so it is limited by account alone: "
            'put "unix" into `trusted_proxies`, if a proxy that sets X-Forwarded-For is what '
            "connects there."
        )
