"""What a person reads on a terminal after a stress test."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from picoauth.stress.outcome import Outcome, Step
from picoauth.tables import table

NAMES = {
    "logins_per_second": ("logins at most, in this mix", "/s"),
    "login_p99_ms": ("  99 of 100 within", "ms"),
    "operations_per_second": ("operations at most, in this mix", "/s"),
    "checks_per_second": ("tokens checked, alone", "/s"),
    "checks_p99_ms": ("  99 of 100 within", "ms"),
    "flooded_checks_per_second": ("tokens checked in a flood of logins", "/s"),
    "flooded_checks_p99_ms": ("  99 of 100 within", "ms"),
    "flood_logins_per_second": ("  logins meanwhile", "/s"),
    "memory_per_login_mb": ("memory for each login under way", "MB"),
}


def lines(outcome: Outcome) -> Iterator[str]:
    unit = "offered/s" if outcome.plan["loop"] == "open" else "clients"
    columns = (
        unit,
        "done/s",
        "login p50",
        "p99 ms",
        "refused",
        "hashes",
        "commits",
        "loop",
        "verdict",
    )
    yield from table(columns, [dict(zip(columns, row(one), strict=True)) for one in outcome.steps])
    yield ""
    yield headline(outcome)
    yield f"  {outcome.sentence}"
    if note := busy(outcome):
        yield f"  {note}"
    yield ""
    for name, (text, of) in NAMES.items():
        if name in outcome.summary:
            yield f"{text:38}{number(outcome.summary[name]):>10} {of}"
    yield from affordable(outcome)
    for bound in outcome.bounds:
        yield f"{bound['name']}: {bounded(bound)}"


def row(one: Step) -> tuple[str, ...]:
    login = one.operations.get("login")
    waiting = (one.use.waiting.get(name) for name in ("hash queue", "commits", "event loop"))
    return (
        number(one.offered),
        number(one.achieved),
        number(login.p50) if login else "-",
        number(login.p99) if login else "-",
        f"{one.refused + one.failed:.1%}",
        *("-" if count is None else f"{count:.1f}" for count in waiting),
        one.why or "fine",
    )


def headline(outcome: Outcome) -> str:
    if outcome.link is None:
        reason = "not reached" if all(one.fine for one in outcome.steps) else "not found"
        return f"The weakest link: {reason}."
    if not any(one.fine for one in outcome.steps):
        return f"The weakest link: {outcome.link}, at every load that was tried."
    return f"The weakest link: {outcome.link}, above {reached(outcome)}."


def reached(outcome: Outcome) -> str:
    """The rate of the last step that was fine."""
    logins = number(outcome.summary["logins_per_second"])
    if list(outcome.plan["mix"]) == ["login"]:
        return f"{logins} logins a second"
    operations = number(outcome.summary["operations_per_second"])
    return f"{operations} operations a second, {logins} of them logins"


def busy(outcome: Outcome) -> str:
    """That the machine had other work when the test began; else empty."""
    load, cores = outcome.machine["load_average"], outcome.machine["cores"]
    if load <= cores / 2:
        return ""
    return f"Other work ran on this machine (load average {load:.1f}): it can do more than this."


def affordable(outcome: Outcome) -> Iterator[str]:
    if not outcome.argon2:
        return
    yield ""
    for index, cost in enumerate(outcome.argon2):
        text = "Argon2 as it is" if index == 0 else f"for {outcome.plan['target'] * 1e3:.0f} ms"
        yield f"{text:16} {spelt(cost)}"


def spelt(cost: Mapping[str, float]) -> str:
    return (
        f"memory_kib = {cost['memory_kib']:.0f}, iterations = {cost['iterations']:.0f}: "
        f"{cost['milliseconds']:.0f} ms, at most {number(cost['logins_per_second'])} logins/s, "
        f"{cost['memory_mb']:.0f} MB"
    )


def bounded(bound: Mapping[str, Any]) -> str:
    word, value = ("least", bound["least"]) if "least" in bound else ("most", bound["most"])
    measured = "not measured" if bound["measured"] is None else number(bound["measured"])
    return f"{measured}, at {word} {value:g}: {'kept' if bound['kept'] else 'MISSED'}"


def number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"
