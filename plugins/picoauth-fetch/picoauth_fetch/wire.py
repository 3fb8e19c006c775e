"""One exchange over one connection, which goes to an address that was checked."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import httpcore
from httpcore import AnyIOBackend, AsyncConnectionPool, AsyncNetworkBackend, AsyncNetworkStream

from picoauth_fetch.addresses import allowed
from picoauth_fetch.refusals import FetchFailed, FetchRefused
from picoauth_fetch.resolving import Resolver

if TYPE_CHECKING:
    from picoauth_fetch.urls import Target

Names = Mapping[str, str | Sequence[str]]
EACH = 2
"""Addresses of each family that are tried."""


class Guard(AsyncNetworkBackend):
    """Resolves, checks and connects in one: between them no name can change its meaning."""

    def __init__(self, resolver: Resolver, *, private: bool, names: Names) -> None:
        self.resolver = resolver
        self.private = private
        self.names = names
        self.backend = AnyIOBackend()
        self.streams: list[AsyncNetworkStream] = []

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,  # noqa: ARG002 - as above
        socket_options: Iterable[Any] | None = None,  # noqa: ARG002 - as above
    ) -> AsyncNetworkStream:
        """Connect to the first that answers, none of which may take the time of all."""
        places = await self.places(host, port)
        share = timeout and timeout / len(places)
        for address, at in places:
            with suppress(httpcore.ConnectError, httpcore.ConnectTimeout):
                return self.kept(await self.backend.connect_tcp(address, at, share))
        raise httpcore.ConnectError("no address answers")

    def kept(self, stream: AsyncNetworkStream) -> AsyncNetworkStream:
        self.streams.append(stream)
        return stream

    async def aclose(self) -> None:
        """Close whatever is open: httpcore leaves it so when a handshake is cancelled."""
        for stream in self.streams:
            await stream.aclose()

    async def places(self, host: str, port: int) -> list[tuple[str, int]]:
        """Where a host may be reached: all of its addresses have to be allowed, or none is."""
        mapped = self.names.get(host)
        if isinstance(mapped, str) and mapped.count(":") == 1:  # a server of a test
            address, _, at = mapped.partition(":")
            return [(address, int(at))]
        found = await self.addresses(host) if mapped is None else listed(mapped)
        if not all(allowed(address, private=self.private) for address in found):
            raise FetchRefused("its host is not at a public address")
        return [(address, port) for address in tried(found)]

    async def addresses(self, host: str) -> list[str]:
        if ":" in host or host.rpartition(".")[2].isdigit():
            return [host]
        return await self.resolver.look_up(host)


def listed(mapped: str | Sequence[str]) -> list[str]:
    return [mapped] if isinstance(mapped, str) else list(mapped)


def tried(addresses: Sequence[str]) -> list[str]:
    """Some of each family, in the order of the system's preference: often one family is broken."""
    some = {*islice((a for a in addresses if ":" in a), EACH)}
    some |= {*islice((a for a in addresses if ":" not in a), EACH)}
    return [address for address in addresses if address in some]


@dataclass(frozen=True)
class Reply:
    """What came, with nothing done to it."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Exchange:
    """How one request is made: who guards it, who is trusted, how much is read."""

    guard: Guard
    context: ssl.SSLContext
    limit: int
    timeout: float

    async def run(
        self, method: str, target: Target, headers: Mapping[str, str], body: bytes | None
    ) -> Reply:
        """Raises FetchRefused and FetchFailed."""
        url = httpcore.URL(
            scheme=target.scheme, host=target.host, port=target.port, target=target.path
        )
        sent = [(name.encode(), value.encode()) for name, value in headers.items()]
        limits = {"timeout": {"connect": self.timeout}}
        with judged():
            async with (
                aclosing(self.guard),
                AsyncConnectionPool(self.context, network_backend=self.guard) as pool,
                pool.stream(method, url, headers=sent, content=body, extensions=limits) as answer,
            ):
                received = folded(answer.headers)
                return Reply(answer.status, received, await self.all_of(answer, received))

    async def all_of(self, answer: httpcore.Response, headers: Mapping[str, str]) -> bytes:
        """Read the body as it is. What is compressed might be a bomb, and was not asked for."""
        if headers.get("content-encoding", "identity").strip().lower() not in ("identity", ""):
            raise FetchFailed("its answer is compressed, which was not asked for")
        body = bytearray()
        async for chunk in answer.aiter_stream():
            body += chunk
            if len(body) > self.limit:
                raise FetchFailed(f"its answer is longer than {self.limit} bytes")
        return bytes(body)


def folded(headers: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    """Names in lower case; what came several times is one list (RFC 9110, section 5.3)."""
    found: dict[str, str] = {}
    for raw, value in headers:
        name = raw.decode("latin-1").lower()
        text = value.decode("latin-1")
        found[name] = f"{found[name]}, {text}" if name in found else text
    return found


@contextmanager
def judged() -> Iterator[None]:
    """What went wrong on the way, in words that tell nothing of a network within."""
    try:
        yield
    except httpcore.LocalProtocolError as error:
        raise FetchRefused("a header that HTTP cannot send") from error
    except httpcore.RemoteProtocolError as error:
        raise FetchFailed("its answer is no HTTP, or breaks off") from error
    except (httpcore.NetworkError, httpcore.TimeoutException) as error:
        if isinstance(error.__cause__ or error.__context__, ssl.SSLError):
            raise FetchFailed("no connection by TLS, or its certificate is not good") from error
        raise FetchFailed("its host does not answer") from error
    except OSError as error:  # after the handshake: of TLS, whose errors httpcore lets through
        raise FetchFailed("its connection breaks off") from error
