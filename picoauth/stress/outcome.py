"""What came of a stress test, as it is shown and written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from picoauth.stress.links import Use
from picoauth.stress.load import REFUSALS, Done, Spell, percentile
from picoauth.stress.plan import Plan

VERSION = 1
"""Of the JSON; higher where a member changes its meaning or goes."""

TOLD = {
    "hash queue": (
        "Passwords wait to be hashed: more cores, or a cheaper Argon2 within OWASP's bounds, "
        "give more logins."
    ),
    "commits": "Writes wait for the disk: a faster disk, or another database, gives more.",
    "event loop": (
        "One core does all the work beside hashing: let applications check tokens by themselves, "
        "or run more processes."
    ),
    "store": "Look-ups wait for the store: bring it nearer, or make it faster.",
    "mail": "Mail is queued faster than it is delivered: it comes late, but nobody else waits.",
    "limits": "The settings' own limits refuse before anything else gives way: that is their work.",
    "the load itself": (
        "The test cannot ask faster from this machine: the server can do more than this."
    ),
}
UNSEEN = "From outside it cannot be seen which link it was: leave --url out to look inside."
NOWHERE = "No link stands out: requests wait in none of them much more than when it was calm."


@dataclass(frozen=True)
class Kind:
    """One operation in one step. Rates are per second, times in milliseconds."""

    rate: float
    p50: float
    p95: float
    p99: float
    longest: float
    refused: int
    failed: int


@dataclass(frozen=True)
class Step:
    """One load. `offered` are operations a second, or clients in a closed loop."""

    offered: float
    achieved: float
    operations: Mapping[str, Kind]
    refused: float
    """Share of answers that were 429 or 503."""
    failed: float
    """Share of operations with any other answer, or none."""
    limited: float
    """Share of answers that were 429."""
    skipped: int
    fine: bool
    why: str
    use: Use


@dataclass
class Outcome:
    """Everything. `summary` has the figures that bounds are about."""

    machine: Mapping[str, Any]
    server: Mapping[str, Any]
    plan: Mapping[str, Any]
    steps: list[Step] = field(default_factory=list)
    link: str | None = None
    sentence: str = ""
    summary: dict[str, float] = field(default_factory=dict)
    argon2: Sequence[Mapping[str, float]] = ()
    bounds: list[dict[str, Any]] = field(default_factory=list)

    @property
    def fine(self) -> bool:
        return all(bound["kept"] for bound in self.bounds)

    def json(self) -> dict[str, Any]:
        return {"version": VERSION, "fine": self.fine, **asdict(self)}


def kinds(done: Sequence[Done], seconds: float) -> Mapping[str, Kind]:
    names = sorted({one.operation for one in done})
    return {name: kind([one for one in done if one.operation == name], seconds) for name in names}


def kind(done: Sequence[Done], seconds: float) -> Kind:
    """Times are those of answers that were fine; a refusal is fast, and nothing to be proud of."""
    times = [one.seconds * 1e3 for one in done if one.fine]
    return Kind(
        rate=len(times) / seconds,
        p50=percentile(times, 50),
        p95=percentile(times, 95),
        p99=percentile(times, 99),
        longest=max(times, default=0.0),
        refused=sum(one.status in REFUSALS for one in done),
        failed=sum(not one.fine and one.status not in REFUSALS for one in done),
    )


def step(offered: float, spell: Spell, use: Use, plan: Plan) -> Step:
    done = spell.done
    count = max(1, len(done))
    found = kinds(done, spell.seconds)
    refused = sum(one.refused for one in found.values()) / count
    failed = sum(one.failed for one in found.values()) / count
    why = trouble(found, refused + failed, plan)
    return Step(
        offered=offered,
        achieved=sum(one.fine for one in done) / spell.seconds,
        operations=found,
        refused=refused,
        failed=failed,
        limited=sum(one.status == 429 for one in done) / count,
        skipped=spell.skipped,
        fine=not why,
        why=why,
        use=use,
    )


def trouble(found: Mapping[str, Kind], refused: float, plan: Plan) -> str:
    """Why a step is too much; empty where it is not."""
    if refused > plan.refused:
        return f"{refused:.1%} refused or failed"
    slow = max(found, key=lambda name: found[name].p99, default=None)
    if slow is not None and found[slow].p99 > plan.limit * 1e3:
        return f"p99 of {slow} is {found[slow].p99:.0f} ms"
    return ""


def bounds(summary: Mapping[str, float], plan: Plan) -> list[dict[str, Any]]:
    """A figure that was not measured keeps no bound."""
    found = []
    for name, least in plan.least.items():
        measured = summary.get(name)
        kept = measured is not None and measured >= least
        found.append({"name": name, "measured": measured, "least": least, "kept": kept})
    for name, most in plan.most.items():
        measured = summary.get(name)
        kept = measured is not None and measured <= most
        found.append({"name": name, "measured": measured, "most": most, "kept": kept})
    return found
