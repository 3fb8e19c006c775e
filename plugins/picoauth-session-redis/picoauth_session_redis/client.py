"""Clients of a Redis server, of a cluster, and of what sentinels watch: made from one address."""

from __future__ import annotations

from collections.abc import Awaitable, Iterator, Mapping
from typing import Any, Protocol
from urllib.parse import urlsplit

from picoauth import ConfigError

FORMS = (
    "session-redis: `url` must be redis://HOST:PORT/DB, rediss://…, unix://PATH, "
    "redis+sentinel://HOST:PORT,HOST:PORT/NAME/DB or redis+cluster://HOST:PORT,HOST:PORT."
)
PORTS = {"": 6379, "cluster": 6379, "sentinel": 26379}


class Commands(Protocol):
    """What the keeper asks of any of the clients. A pipeline is sent at once, and no transaction."""

    def execute_command(self, *args: Any) -> Awaitable[Any]: ...
    def pipeline(self, transaction: bool = ...) -> Any: ...  # noqa: FBT001 - redis has it so
    async def aclose(self) -> None: ...


def client(url: str, places: int, patience: float) -> Commands:
    """A client that repeats nothing by itself, since not all may be done twice.

    It has `places` connections at most to each server; an operation is given `patience` seconds.
    Raises ConfigError; the sentence holds nothing of the address, which may be secret.
    """
    from redis.asyncio.retry import Retry  # noqa: PLC0415 - a fifth of a second
    from redis.backoff import NoBackoff  # noqa: PLC0415

    scheme, kind, rest = split(url)
    options: dict[str, Any] = {
        "max_connections": places,
        "socket_connect_timeout": None,  # the keeper's own time covers all that it waits for
        "socket_timeout": None,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
        "driver_info": None,
    }
    half = dict.fromkeys(("socket_connect_timeout", "socket_timeout"), patience / 2)
    try:
        if kind == "cluster":  # of several one may hang, and there has to be time for another
            return cluster(scheme, rest, {**options, **half})
        if kind == "sentinel":
            return watched(scheme, rest, options, half)
        return single(f"{scheme}://{rest}", options)
    except (ValueError, TypeError) as error:
        raise ConfigError(FORMS) from error


def split(url: str) -> tuple[str, str, str]:
    """`rediss`, `cluster` and the rest of `rediss+cluster://…`. Valkey's schemes mean the same."""
    name, slashes, rest = url.partition("://")
    scheme, _, kind = name.replace("valkey", "redis").partition("+")
    whole = scheme in ("redis", "rediss") or (scheme == "unix" and not kind)
    if not (slashes and whole and kind in PORTS):
        raise ConfigError(FORMS)
    return scheme, kind, rest


def single(url: str, options: Mapping[str, Any]) -> Commands:
    from redis.asyncio import Redis  # noqa: PLC0415

    return Redis.from_url(url, **options)


def cluster(scheme: str, rest: str, options: Mapping[str, Any]) -> Commands:
    from redis.asyncio.cluster import ClusterNode, RedisCluster  # noqa: PLC0415

    where, shared = several(scheme, rest)
    nodes = [ClusterNode(host, port) for host, port in hosts(where, PORTS["cluster"])]
    shared.pop("db", None)  # a cluster has but one
    return RedisCluster(startup_nodes=nodes, **shared, **options)


def watched(
    scheme: str, rest: str, options: Mapping[str, Any], half: Mapping[str, Any]
) -> Commands:
    from redis.asyncio.sentinel import Sentinel  # noqa: PLC0415

    where, shared = several(scheme, rest)
    name = urlsplit(f"//{rest}").path.strip("/").partition("/")[0]
    if not name:
        raise ConfigError(FORMS)
    own = {n.removeprefix("sentinel_"): v for n, v in shared.items() if n.startswith("sentinel_")}
    known = {n: v for n, v in shared.items() if not n.startswith("sentinel_")}
    tls = {n: v for n, v in known.items() if n.startswith("ssl")}
    make: Any = Sentinel  # which redis left without types
    sentinel = make(
        list(hosts(where, PORTS["sentinel"])),
        sentinel_kwargs={**options, **half, **tls, **own},
        **known,
    )
    found: Commands = sentinel.master_for(name, **options)
    return found


async def close(made: Commands) -> None:
    """Close all connections, those to sentinels too, which redis leaves open."""
    pool = getattr(made, "connection_pool", None)
    manager = getattr(pool, "sentinel_manager", None)
    for one in [made, *(manager.sentinels if manager else ())]:
        await one.aclose()


def several(scheme: str, rest: str) -> tuple[str, dict[str, Any]]:
    """The hosts of an address that names many, and what holds for each of them."""
    from redis.asyncio.connection import parse_url  # noqa: PLC0415

    authority, _, path = rest.partition("/")
    user, at, where = authority.rpartition("@")
    path, _, query = path.partition("?")
    number = path.rpartition("/")[2]
    known: dict[str, Any] = dict(parse_url(f"{scheme}://{user}{at}host/{number}?{query}"))
    known.pop("host")
    if known.pop("connection_class", None) is not None:
        known["ssl"] = True
    return where, known


def hosts(where: str, port: int) -> Iterator[tuple[str, int]]:
    for one in where.split(","):
        parts = urlsplit(f"//{one}")
        if not parts.hostname:
            raise ConfigError(FORMS)
        yield parts.hostname, parts.port or port
