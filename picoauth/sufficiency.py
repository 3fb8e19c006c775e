"""The rule that says when the proofs of a flow are enough."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from picoauth.drafts import Enrolment
from picoauth.factors import Factor
from picoauth.flows import Done, Flow


class Sufficiency:
    """The one rule about how many factors a user has to prove."""

    def __init__(self, factors: Mapping[str, Factor], ignored: Collection[str] = ()) -> None:
        self.factors = factors
        self.ignored = ignored

    def demands(self, enrolments: Sequence[Enrolment]) -> bool:
        """Has the user a confirmed second factor? Recovery codes alone are none."""
        return any(self.demanding(e.factor) for e in enrolments if e.confirmed_at is not None)

    def demanding(self, name: str) -> bool:
        """One that another process enrolled, and that nobody here knows, is not passed by."""
        factor = self.factors.get(name)
        if factor is None:
            return name not in self.ignored
        return factor.second and not factor.fallback

    def seconds(self, names: Collection[str]) -> bool:
        return any(self.factors[name].second or self.factors[name].fallback for name in names)

    def complete(self, flow: Flow, enrolments: Sequence[Enrolment]) -> bool:
        if any(done.complete for done in flow.done):
            return True
        names = set(flow.factors)
        if self.demands(enrolments):
            # A session that proves itself afresh has had its login: one good factor will do.
            several = len(names) > 1 or flow.session_id is not None
            return several and self.seconds(names)
        # Recovery codes alone are no login, and prove no session afresh.
        return any(self.factors[name].starts for name in names)

    async def possible(self, enrolments: Sequence[Enrolment]) -> bool:
        """Whether these begin a login, and are enough for it."""
        has = [e for e in enrolments if e.confirmed_at is not None and e.factor in self.factors]
        for first in has:
            factor = self.factors[first.factor]
            pairs = ({first.factor, other.factor} for other in has if other.factor != first.factor)
            enough = not self.demands(enrolments) or any(self.seconds(pair) for pair in pairs)
            if factor.starts and (enough or await factor.completes(first)):
                return True
        return False

    def next(self, flow: Flow, enrolments: Sequence[Enrolment]) -> list[str]:
        """Factors of the user that would complete the flow: in the operator's order, fallbacks last."""
        has = {e.factor for e in enrolments if e.confirmed_at is not None} - set(flow.factors)
        candidates = [name for name in self.factors if name in has]
        found = [name for name in candidates if self.complete(added(flow, name), enrolments)]
        return sorted(found, key=lambda name: self.factors[name].fallback)


def added(flow: Flow, name: str) -> Flow:
    done = Done(factor=name, amr=(), complete=False, at=0)
    return replace(flow, done=(*flow.done, done))


def second_at(flow: Flow, rule: Sufficiency) -> int | None:
    """When a second factor was last proven, by itself or within a complete proof."""
    times = [done.at for done in flow.done if done.complete or rule.seconds({done.factor})]
    return max(times, default=None)


def methods(flow: Flow) -> tuple[str, ...]:
    """`amr` (RFC 8176): the methods of all proofs, and `mfa` where there were several factors."""
    several = len(set(flow.factors)) > 1
    names = [method for done in flow.done for method in done.amr]
    return tuple(dict.fromkeys([*names, *(["mfa"] if several else [])]))


def afresh(before: Sequence[str], flow: Flow) -> tuple[str, ...]:
    """`amr` of a session that was proven again: with another factor than it began with, `mfa`."""
    now = methods(flow)
    several = set(now).difference(before) and set(before).difference(now)
    return tuple(dict.fromkeys([*before, *now, *(["mfa"] if several else [])]))
