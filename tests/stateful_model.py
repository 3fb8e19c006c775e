"""What must happen, in plain Python: people, what they enrolled, their sessions and flows.

Nothing here is asked of the server, and nothing of its rules is called: this is how the
architecture reads, written a second time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from picoauth.testing import Someone

ACCESS, WINDOW, FRESH, FLOW, TRIES = 600, 10, 300, 300, 5
"""Seconds, and wrong answers, of the default settings."""
DAY = 86400
IDLE = {"token": 14 * DAY, "cookie": 7 * DAY}
ABSOLUTE = {"token": 90 * DAY, "cookie": 30 * DAY}


@dataclass(frozen=True)
class Trait:
    """What a factor says of itself."""

    starts: bool
    second: bool
    fallback: bool
    completes: bool
    asks: bool
    refused: tuple[int, str]
    sure: bool
    """Whether a right proof is accepted whenever it is allowed to be: codes of a clock are not."""

    @property
    def demanding(self) -> bool:
        return self.second and not self.fallback

    @property
    def single_use(self) -> bool:
        return self.second and not self.asks


@dataclass(eq=False)
class Held:
    """An enrolment."""

    id: str
    factor: str
    confirmed: bool


@dataclass(eq=False)
class Person:
    """A user, and what the server must know of it."""

    someone: Someone
    password: str | None = None
    epoch: int = 0
    disabled: bool = False
    deleted: bool = False
    held: dict[str, Held] = field(default_factory=dict)
    spent: list[Any] = field(default_factory=list)
    """Proofs that were accepted, and are good once."""

    def __repr__(self) -> str:
        return self.someone.username

    @property
    def id(self) -> str:
        return self.someone.user.id

    @property
    def out(self) -> bool:
        return self.disabled or self.deleted

    def confirmed(self) -> list[str]:
        return [held.factor for held in self.held.values() if held.confirmed]


@dataclass(frozen=True)
class Part:
    """What is sent for one factor: whose it is, and whether it was made to be right."""

    person: Person
    factor: str
    payload: Mapping[str, Any]
    right: bool
    challenge: Any = None
    enrolment: str | None = None
    """The enrolment that it was made with."""


@dataclass(frozen=True)
class Done:
    factor: str
    complete: bool
    at: int


@dataclass(frozen=True)
class State:
    """What a flow has come to."""

    expires_at: int
    tries: int = TRIES
    person: Person | None = None
    session: Session | None = None
    """The session that is stepped up."""
    done: tuple[Done, ...] = ()
    epoch: int | None = None
    challenges: Mapping[str, Any] = field(default_factory=dict)
    delivery: str = "token"
    resumed: bool = False

    def without(self, factor: str) -> State:
        rest = {name: c for name, c in self.challenges.items() if name != factor}
        return replace(self, challenges=rest)


@dataclass(eq=False)
class Flow:
    """A ticket that the server handed out."""

    secret: str
    state: State
    spent: bool = False


@dataclass(eq=False)
class Session:
    """A session that the server made."""

    id: str
    person: Person
    delivery: str
    auth_at: int
    second_at: int | None
    rotated_at: int
    idle_at: int
    expires_at: int
    generation: int = 0
    ended: bool = False
    access: list[tuple[str, int]] = field(default_factory=list)
    """Access tokens, each with its end."""
    refresh: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Generation and end of each refresh token."""
    cookies: list[str] = field(default_factory=list)
    """The newest is the one that is good."""

    def __repr__(self) -> str:
        return f"session of {self.person}"

    def alive(self, now: int) -> bool:
        return not self.ended and self.idle_at > now and self.expires_at > now


@dataclass(frozen=True)
class Outcome:
    """How a step must end."""

    status: int
    codes: frozenset[str | None]
    flow: State | None = None
    """That for which a ticket must be handed out."""
    next: Sequence[str] | None = None
    complete: State | None = None
    spends: Sequence[Part] = ()


def refused(status: int, *codes: str, **more: Any) -> Outcome:
    return Outcome(status, frozenset(codes), **more)


@dataclass
class World:
    """All that there is, and the rules."""

    traits: Mapping[str, Trait]
    clock: Callable[[], float]
    people: list[Person] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)
    flows: list[Flow] = field(default_factory=list)

    @property
    def now(self) -> int:
        return int(self.clock())

    def living(self) -> list[Session]:
        return [session for session in self.sessions if session.alive(self.now)]

    # The rule

    def protected(self, person: Person) -> bool:
        """Whether a second factor has to be proven."""
        return any(self.traits[name].demanding for name in person.confirmed())

    def helps(self, factor: str) -> bool:
        return self.traits[factor].second or self.traits[factor].fallback

    def enough(self, state: State) -> bool:
        assert state.person is not None
        factors = {done.factor for done in state.done}
        if any(done.complete for done in state.done):
            return True
        if not self.protected(state.person):
            return any(self.traits[name].starts for name in factors)
        several = len(factors) > 1 or state.session is not None
        return several and any(self.helps(name) for name in factors)

    def next(self, state: State) -> list[str]:
        """What else the user has that would be enough; what replaces a lost one comes last."""
        assert state.person is not None
        has = set(state.person.confirmed()) - {done.factor for done in state.done}
        names = sorted(self.traits, key=lambda name: self.traits[name].fallback)
        more = {name: replace(state, done=(*state.done, Done(name, False, 0))) for name in has}
        return [name for name in names if name in has and self.enough(more[name])]

    def fresh(self, session: Session) -> bool:
        at = session.second_at if self.protected(session.person) else session.auth_at
        return at is not None and 0 <= self.now - at <= FRESH

    def possible(self, person: Person, without: str | None = None) -> bool:
        """Whether someone with these factors can log in."""
        held = [h.factor for h in person.held.values() if h.confirmed and h.id != without]
        protected = any(self.traits[name].demanding for name in held)
        for first in held:
            pairs = [{first, other} for other in held if other != first]
            two = any(self.helps(name) for pair in pairs for name in pair)
            trait = self.traits[first]
            if trait.starts and (trait.completes or not protected or two):
                return True
        return False

    def proves(self, part: Part, state: State) -> bool:
        """Whether the server may believe it."""
        person, trait = part.person, self.traits[part.factor]
        held = person.held.get(part.enrolment or "")
        if not part.right or person.out or held is None or not held.confirmed:
            return False
        if state.person not in (None, person):
            return False
        if trait.single_use and (part.factor, part.payload) in person.spent:
            return False
        if trait.asks and (part.challenge or 0) != state.challenges.get(part.factor):
            return False
        return part.factor != "password" or part.payload["password"] == person.password

    # Steps

    def resumed(self, flow: Flow | None, session: Session | None) -> State | None:
        """The flow as it is taken, or a new one; None where it has ended, or serves another."""
        if flow is None:
            person = session.person if session else None
            return State(self.now + FLOW, person=person, session=session)
        state = flow.state
        if flow.spent or state.expires_at <= self.now:
            return None
        if (state.session is None) == (session is None):  # else it is no ticket of this purpose
            flow.spent = True
        return replace(state, resumed=True) if state.session is session else None

    def gone(self, state: State) -> Outcome | None:
        """What is said where the user of a flow is not what it was."""
        person = state.person
        if person is None:
            return None
        if person.out:
            return refused(401, "session_ended" if state.session else "flow_ended")
        if state.epoch not in (None, person.epoch):
            return refused(401, "start_over")
        return None

    def usable(self, factor: str, state: State) -> bool:
        anywhere = state.done or state.session
        used = factor in [done.factor for done in state.done]
        return not used and bool(self.traits[factor].starts or anywhere)

    def again(self, state: State, outcome: Outcome, accepted: Sequence[Part]) -> Outcome:
        """A refusal, with a flow that keeps what was proven; without one, nothing is."""
        left = replace(state, tries=state.tries - 1)
        if left.tries < 1 or not (state.resumed or state.done):
            return outcome
        return replace(outcome, flow=left, spends=accepted)

    def outcomes(self, state: State, parts: Sequence[Part], delivery: str) -> Iterator[Outcome]:
        """How a step may end; more than one way only where a factor is free to refuse."""
        state = replace(state, delivery=delivery or state.delivery)
        yield self.outcome(state, parts, None)
        for part in parts:
            trait = self.traits[part.factor]
            if not trait.sure:
                yield self.outcome(state, parts, part, trait.refused)
                yield self.outcome(state, parts, part, (400, "invalid_body"))

    def outcome(
        self,
        state: State,
        parts: Sequence[Part],
        doubted: Part | None,
        doubt: tuple[int, str] = (0, ""),
    ) -> Outcome:
        accepted: list[Part] = []
        for part in parts:
            trait, gone = self.traits[part.factor], self.gone(state)
            if gone is not None:
                return gone
            if not self.usable(part.factor, state):
                wrong = refused(400, "factor_out_of_place")
                return self.again(state.without(part.factor), wrong, accepted)
            if part is doubted or not self.proves(part, state):
                unasked = trait.asks and part.factor not in state.challenges
                said = (400, "invalid_body") if unasked else trait.refused
                wrong = refused(*(doubt if part is doubted else said))
                return self.again(state.without(part.factor), wrong, accepted)
            state = self.proven(state, part)
            accepted.append(part)
        if self.enough(state):
            return Outcome(200, frozenset([None]), complete=state, spends=accepted)
        more = refused(401, "more_needed", flow=state, next=self.next(state))
        return replace(more, spends=accepted)

    def proven(self, state: State, part: Part) -> State:
        done = Done(part.factor, self.traits[part.factor].completes, self.now)
        epoch = part.person.epoch if state.epoch is None else state.epoch
        state = replace(state.without(part.factor), person=part.person, epoch=epoch)
        return replace(state, done=(*state.done, done))

    def second_at(self, state: State) -> int | None:
        times = [d.at for d in state.done if d.complete or self.helps(d.factor)]
        return max(times, default=None)

    def spend(self, parts: Iterable[Part]) -> None:
        for part in parts:
            part.person.spent.append((part.factor, part.payload))

    # What ends

    def end_all(self, person: Person, keep: Session | None = None) -> None:
        for session in self.sessions:
            if session.person is person and session is not keep:
                session.ended = True

    def changed(self, person: Person, keep: Session) -> None:
        """What proves a user is another: only this session is left."""
        person.epoch += 1
        self.end_all(person, keep)

    def out(self, person: Person) -> None:
        """Disabled or deleted: flows go with the user, as far as they know whose they are."""
        person.epoch += 1
        self.end_all(person)
        for flow in self.flows:
            if flow.state.person is person:
                flow.spent = True

    def cleaned(self) -> None:
        """What nobody can need again is deleted."""
        for flow in self.flows:
            flow.spent |= flow.state.expires_at < self.now - 3600
        for session in self.sessions:
            end = min(session.idle_at, session.expires_at)
            session.ended |= end < self.now - DAY
