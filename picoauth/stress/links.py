"""Which link gives way: in which of them requests pile up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

LINKS = ("hash queue", "commits", "event loop", "store", "mail", "the load itself")
SLACK = 1.0
"""Requests that wait in a link on average, below which none piles up there."""
LATE = 0.01
"""Seconds by which the load may be late on average before it says so of itself."""

Sample = Mapping[str, float]


@dataclass(frozen=True)
class Use:
    """What the links had to do in one spell. Cores are seconds of CPU for each second."""

    waiting: Mapping[str, float]
    """Requests in each link on average."""
    commit: float = 0.0
    """Seconds of a commit on average, the queue before it included."""
    lag: float = 0.0
    """Seconds by which the event loop is late, the 99th of 100 samples."""
    server: float = 0.0
    loop: float = 0.0
    load: float = 0.0
    resident: float = 0.0
    """Bytes at most."""


def used(samples: Sequence[Sample], rate: float, late: float, load: float) -> Use:
    """What samples of one spell tell, at `rate` answers a second; `late` is the load's own mean.

    The mean number in a link is the rate times the time that each spends there (Little's law):
    so links compare, whatever they do. Who waits for the event loop cannot be counted, but the
    lag can be timed. What a commit or a look-up waited for the loop is not its own.
    """
    own = {"the load itself": rate * late if late > LATE else 0.0}
    if len(samples) < 2:
        return Use({**own}, load=load)
    first, last = samples[0], samples[-1]
    wall = last["at"] - first["at"]
    lag = fmean(one["lag"] for one in samples)

    def spent(kind: str) -> float:
        calls = last[f"{kind}_calls"] - first[f"{kind}_calls"]
        seconds = last[f"{kind}_seconds"] - first[f"{kind}_seconds"]
        under_way = fmean(one["reads" if kind == "read" else "writes"] for one in samples)
        return max(0.0, max(seconds / wall, under_way) - calls / wall * lag)

    waiting = {
        "hash queue": fmean(one["hashes"] for one in samples),
        "commits": spent("write"),
        "event loop": lag * rate,
        "store": spent("read"),
        "mail": max(0.0, last["backlog"] - first["backlog"]),
        **own,
    }
    writes = last["write_calls"] - first["write_calls"]
    return Use(
        waiting,
        commit=(last["write_seconds"] - first["write_seconds"]) / writes if writes else 0.0,
        lag=sorted(one["lag"] for one in samples)[int(len(samples) * 0.99)],
        server=(last["cpu"] - first["cpu"]) / wall,
        loop=(last["loop"] - first["loop"]) / wall,
        load=load,
        resident=max(one["resident"] for one in samples),
    )


def weakest(use: Use, calm: Use) -> str | None:
    """The link in which most more wait than when it was calm; None where they wait in none."""
    more = {name: count - calm.waiting.get(name, 0.0) for name, count in use.waiting.items()}
    name = max(more, key=more.__getitem__, default=None)
    return name if name is not None and more[name] >= SLACK else None
