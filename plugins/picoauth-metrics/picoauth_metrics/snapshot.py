"""All figures at one moment, asked for without holding anything up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from picoauth import Auth, Figure, Unavailable

OUTBOX = """
    select kind, count(*), min(created_at) from outbox where sealed is not null group by kind
"""


@runtime_checkable
class Gauged(Protocol):
    """A plugin that has figures of its own, by names in lower case with underscores."""

    def gauges(self) -> Mapping[str, float]: ...


@dataclass(frozen=True)
class Backlog:
    """What waits in the outbox, of one kind."""

    kind: str
    count: int
    seconds: int
    """For so long the oldest does."""


@dataclass(frozen=True)
class Snapshot:
    figures: Sequence[Figure]
    backlog: Sequence[Backlog]
    database_up: bool
    revoked: int
    revocations_age: int
    gauges: Mapping[str, float]


async def taken(auth: Auth) -> Snapshot:
    """Without a database there is no backlog to tell of, but everything else."""
    backlog = await waiting(auth)
    return Snapshot(
        figures=auth.figures(),
        backlog=backlog or (),
        database_up=backlog is not None,
        revoked=len(auth.revocations.ended),
        revocations_age=max(0, auth.now() - auth.revocations.looked_at),
        gauges=gauges(auth),
    )


async def waiting(auth: Auth) -> Sequence[Backlog] | None:
    try:
        rows = await auth.database.read(OUTBOX, slow=True)
    except Unavailable:
        return None
    return [Backlog(kind, count, max(0, auth.now() - since)) for kind, count, since in rows]


def gauges(auth: Auth) -> Mapping[str, float]:
    """Of plugins that have some, under their names."""
    return {
        f"picoauth_{name.replace('-', '_')}_{gauge}": value
        for name, plugin in auth.plugins.on.items()
        if isinstance(plugin, Gauged)
        for gauge, value in plugin.gauges().items()
    }
