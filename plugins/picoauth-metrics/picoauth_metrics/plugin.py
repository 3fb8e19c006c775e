"""The route `/metrics`, and who may read it."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from picoauth import (
    Auth,
    ConfigError,
    Event,
    Guard,
    Plugin,
    Reply,
    Request,
    Route,
    Secret,
    described,
    hookimpl,
    problems,
)
from picoauth_metrics.snapshot import taken
from picoauth_metrics.tally import Tally

if TYPE_CHECKING:
    from prometheus_client.core import Metric

POLICY = "metrics"
SHORTEST = 16
"""Characters of a token."""
FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")
"""Whoever passes on what somebody else asked says so by one of these."""


@dataclass(frozen=True)
class MetricsSettings:
    """`[metrics]`: who may read the figures."""

    token: Secret | None = described("What Prometheus sends as its bearer token.", default=None)
    local: bool = described(
        "From this machine no token is needed: by the admin socket, or on loopback.", default=True
    )


class MetricsPlugin(Plugin[MetricsSettings]):
    """Shows what the server counts, on the listener for administration alone."""

    def __init__(self, auth: Auth, name: str, settings: MetricsSettings) -> None:
        super().__init__(auth, name, settings)
        self.tally = Tally()
        self.token = checked(settings.token.read()) if settings.token else None
        self.version = version("picoauth")

    @hookimpl
    async def on(self, event: Event) -> None:
        self.tally.add(event)

    @hookimpl
    def guards(self) -> Mapping[str, Guard]:
        return {POLICY: self.admit}

    async def admit(self, request: Request) -> str | None:
        """Whoever has the token, or is on this machine, or may administrate."""
        if self.token is not None and hmac.compare_digest(digest(sent(request)), self.token):
            return "token"
        if self.settings.local and is_local(request):
            return "local"
        tables = (guards for _, guards in self.auth.plugins.collect("guards"))
        admin = next((table["admin"] for table in tables if "admin" in table), None)
        return await admin(request) if admin else None

    @hookimpl
    def routes(self) -> Sequence[Route]:
        return [
            Route(
                method="GET",
                path="/metrics",
                handler=self.show,
                policy=POLICY,
                listener="admin",
                answer=str,
                media="text/plain",
                problems=(problems.TOKEN_MISSING,),
            )
        ]

    async def show(self, request: Request) -> Reply:
        """Figures since the start of the process, as Prometheus reads them."""
        from prometheus_client import CollectorRegistry, ProcessCollector  # noqa: PLC0415 - on first use

        from picoauth_metrics.families import families  # noqa: PLC0415 - as above

        registry = CollectorRegistry()
        registry.register(Shown(families(await taken(self.auth), self.tally, self.version)))
        ProcessCollector(registry=registry)
        encode, kind = encoder(request.headers.get("accept", ""))
        return Reply(encode(registry), headers={"Content-Type": kind})


def encoder(accept: str) -> tuple[Callable[[Any], bytes], str]:
    """By what a client accepts; one with an odd idea of versions gets the plain format."""
    from prometheus_client.exposition import choose_encoder  # noqa: PLC0415 - on first use

    try:
        return choose_encoder(accept)
    except (TypeError, ValueError):
        return choose_encoder("")


class Shown:
    """Figures that were taken before, since a collector cannot wait for any."""

    def __init__(self, found: Iterator[Metric]) -> None:
        self.found = list(found)

    def collect(self) -> Sequence[Metric]:
        return self.found


def checked(token: bytes) -> bytes:
    """Its digest. Raises ConfigError for one that could be guessed."""
    if len(token) < SHORTEST:
        raise ConfigError(
            f"[metrics].token must have at least {SHORTEST} characters: "
            "make one by `openssl rand -hex 32`."
        )
    return digest(token)


def digest(token: bytes) -> bytes:
    return sha256(token).digest()


def sent(request: Request) -> bytes:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip().encode() if scheme.lower() == "bearer" else b""


def is_local(request: Request) -> bool:
    """Whether it was asked on this machine, and not for somebody else by a proxy on it."""
    if any(name in request.headers for name in FORWARDED):
        return False
    return request.peer is None or ip_address(request.peer).is_loopback
