"""Whatever comes in whatever order: no session without sufficient proof, and nothing works twice."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import hypothesis.strategies as st
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from picoauth.testing import Clock
from tests.stateful import Bench, opened
from tests.stateful_model import Flow, Held, Part, Person, Session
from tests.stateful_server import REAL, SETTINGS, Credential, template

T = TypeVar("T")

LONG = os.environ.get("PICOAUTH_EXAMPLES")
"""How many other lives of a server are tried, where it shall be more; then what fails is shrunk."""
EXAMPLES = int(LONG or 15)
"""With toys and with real plugins each."""
STEPS = 50
PEOPLE = 3
BACK = 3000
"""Seconds that the clock may go back; who cleans up leaves everything for an hour."""


@dataclass(frozen=True)
class Way:
    """How somebody goes about proving who she is."""

    first: int = 0
    second: int = 0
    right: bool = True
    at_once: bool = False
    """Both proofs in one request."""
    halfway: bool = False
    """The second is left out."""
    delivery: str = "token"


WELL = Way()

nth = st.integers(0, 5)
many = st.integers(0, 40)
several = st.sampled_from([[], [0], [1], [1], [2], [3], [0, 0], [1, 1], [0, 0, 0]])
"""Which to enrol, each a place among those that are not there yet."""
seconds = st.sampled_from([1, 9, 10, 11, 60, 299, 301, 599, 600, 3700])
days = st.sampled_from([0, 0, 0, 4, 8, 15])
back = st.sampled_from([1, 5, 30, 400])
deliveries = st.sampled_from(["token", "token", "cookie"])
well = st.builds(Way, first=nth, second=nth, at_once=st.booleans(), delivery=deliveries)
ways = st.builds(
    Way,
    first=nth,
    second=nth,
    right=st.sampled_from([True, True, False]),
    at_once=st.booleans(),
    halfway=st.booleans(),
    delivery=deliveries,
)


def some(items: Sequence[T], number: int) -> T:
    return items[number % len(items)]


def has_sessions(machine: Any) -> bool:
    return bool(machine.world.sessions)


class Lives(RuleBasedStateMachine):
    """Users of a server, and who would like to be one of them."""

    SETTINGS: ClassVar[str] = SETTINGS

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.stack = AsyncExitStack()
        self.failed = False
        self.highest = 0.0
        self.kept: list[Part] = []
        shutil.copytree(template(self.SETTINGS), self.folder.name, dirs_exist_ok=True)
        self.clock = Clock()
        opening = opened(self.stack, Path(self.folder.name), self.SETTINGS, self.clock)
        self.bench: Bench = self.run(opening)
        self.world = self.bench.world

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do it in the server's loop. What fails is not looked at again in the end."""
        try:
            return self.runner.run(work)
        except BaseException:
            self.failed = True
            raise
        finally:
            self.highest = max(self.highest, self.clock())

    def teardown(self) -> None:
        """What was not looked at each time is looked at in the end: the oldest, and all bytes."""
        try:
            if not self.failed:
                self.run(self.bench.check_tokens(None))
                self.run(self.bench.check_flows(None))
                self.bench.seen.clear()
                self.bench.check_leaks()
        finally:
            self.runner.run(self.stack.aclose())
            self.runner.close()
            self.folder.cleanup()

    # Choosing

    @property
    def people(self) -> list[Person]:
        return self.world.people

    def session(self, number: int) -> Session:
        """One that is alive, rather than one that has ended."""
        living = self.world.living()
        return some(living, number) if living and number < 5 else some(self.world.sessions, number)

    def factor(self, person: Person, number: int, *, starts: bool = False) -> str:
        """One that the user has, if there is any, or another one."""
        known = [h.factor for h in person.held.values()]
        names = [n for n in self.world.traits if n in known] if number < 5 else []
        names = [n for n in names if not starts or self.world.traits[n].starts]
        return some(names or [n for n in self.world.traits if n in known], number) if known else ""

    def enrolled(self, number: int) -> tuple[Person, Held] | None:
        every = [(person, held) for person in self.people for held in person.held.values()]
        return some(every, number) if every else None

    def own(self, person: Person, number: int) -> tuple[Person, Held] | None:
        """An enrolment of the user, or of somebody else once in a while."""
        own = [(person, held) for held in person.held.values()]
        return some(own, number) if own and number < 5 else self.enrolled(number)

    # Who comes

    @initialize(how=deliveries, factors=several)
    def begin(self, how: str, factors: Sequence[int]) -> None:
        """There is somebody, who is logged in."""
        self.run(self.arriving(how, factors))

    @precondition(lambda self: len(self.people) < PEOPLE)
    @rule(how=deliveries, factors=several)
    def register(self, how: str, factors: Sequence[int]) -> None:
        self.run(self.arriving(how, factors))

    async def arriving(self, how: str, factors: Sequence[int]) -> None:
        """Register, log in, enrol what one likes to have, and log in on another device."""
        await self.bench.register()
        await self.logging_in(self.people[-1], replace(WELL, delivery=how))
        for number in factors:
            await self.enrolling(self.world.sessions[-1], number)
        other = "cookie" if how == "token" else "token"
        await self.logging_in(self.people[-1], replace(WELL, second=1, delivery=other))

    @rule(who=nth, way=well)
    def log_in(self, who: int, way: Way) -> None:
        """With all that it takes, of whatever the user has."""
        self.run(self.logging_in(some(self.people, who), way))

    @rule(who=nth, way=ways)
    def try_to_log_in(self, who: int, way: Way) -> None:
        """Perhaps wrong, perhaps in one step, perhaps not to the end."""
        self.run(self.logging_in(some(self.people, who), way))

    @rule(who=nth, way=well, disabled=st.booleans())
    def log_in_meanwhile(self, who: int, way: Way, *, disabled: bool) -> None:
        """The account changes when all proofs were looked at, and nothing is written yet."""
        person = some(self.people, who)
        meanwhile = self.bench.disable if disabled else self.bench.logout_everywhere
        if not person.out:
            self.run(self.logging_in(person, way, meanwhile=partial(meanwhile, person)))

    async def logging_in(self, person: Person, way: Way, **more: Any) -> None:
        bench, start = self.bench, self.factor(person, way.first, starts=True)
        if not start:
            return
        flow, challenge = await bench.begin(person, start, None, None)
        other, right = self.factor(person, way.second), way.right or way.at_once
        parts = [await bench.part(person, start, challenge, right=right)]
        together = way.at_once and other != start and not self.world.traits[other].asks
        if together and self.usable(person, start) and self.usable(person, other):
            parts.append(await bench.part(person, other, right=way.right))
        flow = await bench.step(parts, flow, delivery=way.delivery, **more)
        if flow is not None and len(parts) == 1 and other != start and not way.halfway:
            await self.proven(person, other, flow, None, way, **more)

    def usable(self, person: Person, factor: str) -> bool:
        """What waits to be confirmed comes alone: which of two is refused is the factor's word."""
        return all(held.confirmed for held in person.held.values() if held.factor == factor)

    async def proven(
        self,
        person: Person,
        factor: str,
        flow: Flow | None,
        by: Credential | None,
        way: Way,
        **more: Any,
    ) -> Flow | None:
        """One factor, with its challenge if it has any."""
        asks = self.world.traits[factor].asks
        flow, challenge = await self.bench.begin(person, factor, flow, by)
        if asks and flow is None:
            return None
        part = await self.bench.part(person, factor, challenge, right=way.right)
        self.kept.append(part)
        return await self.bench.step([part], flow, by, **more)

    @precondition(lambda self: self.world.flows)
    @rule(number=many, whose=nth, way=ways, times=st.sampled_from([1, 1, 3]))
    def go_on(self, number: int, whose: int, way: Way, times: int) -> None:
        """Any flow, spent or not, with a proof of anybody's; three at once, perhaps."""
        flow = self.flow(number)
        person = flow.state.person if whose < 4 else some(self.people, whose)
        self.run(self.going_on(flow, person or some(self.people, whose), way, times))

    async def going_on(self, flow: Flow, person: Person, way: Way, times: int) -> None:
        name, session = self.factor(person, way.first), flow.state.session
        if not name:
            return
        by = None if session is None else await self.bench.acting(session)
        challenge = flow.state.challenges.get(name)
        part = await self.bench.part(person, name, challenge, right=way.right)
        self.kept.append(part)
        await self.bench.step([part], flow, by, times=times)

    @precondition(lambda self: self.world.flows)
    @rule(number=many, way=well)
    def guess(self, number: int, way: Way) -> None:
        """One wrong answer after the other, until the flow ends."""
        self.run(self.guessing(self.flow(number), replace(way, right=False)))

    async def guessing(self, flow: Flow, way: Way) -> None:
        person, session = flow.state.person, flow.state.session
        name = self.factor(person, way.first) if person else ""
        left: Flow | None = flow
        while person and name and left:
            by = None if session is None else await self.bench.acting(session)
            left = await self.bench.step(
                [await self.bench.part(person, name, right=False)], left, by
            )

    @precondition(lambda self: self.kept)
    @rule(number=many, way=well, flow=nth)
    def send_again(self, number: int, way: Way, flow: int) -> None:
        """A proof that was sent before, in a flow that goes on, or in a login of its user."""
        part = some(self.kept[::-1], number)
        self.run(
            self.sending_again(
                part, way, self.flow(flow) if flow < 2 and self.world.flows else None
            )
        )

    async def sending_again(self, part: Part, way: Way, flow: Flow | None) -> None:
        if flow is None and not self.world.traits[part.factor].starts:
            start = self.factor(part.person, way.first, starts=True)
            flow = await self.proven(part.person, start, None, None, way) if start else None
        if flow is not None or self.world.traits[part.factor].starts:
            session = flow.state.session if flow else None
            by = await self.bench.acting(session) if session else None
            await self.bench.step([part], flow, by)

    # Step-up

    @precondition(has_sessions)
    @rule(number=nth, way=well)
    def step_up(self, number: int, way: Way) -> None:
        session = self.session(number)
        self.run(self.stepping_up(session, session.person, way))

    @precondition(has_sessions)
    @rule(number=nth, way=ways, whose=nth)
    def try_to_step_up(self, number: int, way: Way, whose: int) -> None:
        """Perhaps wrong, or with what is somebody else's, or not to the end."""
        session = self.session(number)
        person = session.person if whose < 5 else some(self.people, whose)
        self.run(self.stepping_up(session, person, way))

    async def stepping_up(self, session: Session, person: Person, way: Way) -> None:
        name, other = self.factor(person, way.first), self.factor(person, way.second)
        if name:
            by = await self.bench.acting(session)
            flow = await self.proven(person, name, None, by, way)
            if flow is not None and not way.halfway:
                by = await self.bench.acting(session)
                await self.proven(person, other, flow, by, WELL)

    @precondition(has_sessions)
    @rule(number=nth, way=well, begun=nth, other=nth)
    def step_up_by_another(self, number: int, way: Way, begun: int, other: int) -> None:
        """What one session began, another one goes on with, of the same user or not."""
        first = self.session(begun)
        others = [session for session in self.world.living() if session is not first]
        second = some(others or self.world.sessions, number)
        person = first.person if other < 4 else second.person
        self.run(self.taking_over(first, second, person, way))

    async def taking_over(self, first: Session, second: Session, person: Person, way: Way) -> None:
        name = self.factor(first.person, way.first)
        if name:
            by = await self.bench.acting(first)
            flow = await self.proven(first.person, name, None, by, way)
            if flow is not None:
                await self.mixing(second, flow, person, way)

    @precondition(lambda self: has_sessions(self) and self.world.flows)
    @rule(number=nth, flow=many, way=well, whose=nth)
    def step_up_by_any_flow(self, number: int, flow: int, way: Way, whose: int) -> None:
        """A flow of a login, of another session, or of another user."""
        session, chosen = self.session(number), self.flow(flow)
        person = session.person if whose < 4 else chosen.state.person or session.person
        self.run(self.mixing(session, chosen, person, way))

    async def mixing(self, session: Session, flow: Flow, person: Person, way: Way) -> None:
        name = self.factor(person, way.second)
        if name:
            challenge = flow.state.challenges.get(name)
            part = await self.bench.part(person, name, challenge)
            await self.bench.step([part], flow, await self.bench.acting(session))

    def flow(self, number: int) -> Flow:
        """One that is not spent, rather than one that is."""
        left = [flow for flow in self.world.flows[::-1] if not flow.spent]
        return some(left, number) if left and number < 30 else some(self.world.flows[::-1], number)

    async def freshly(self, session: Session, number: int) -> Credential:
        """What needs a fresh proof gets one, every other time."""
        by = await self.bench.acting(session)
        if number < 3 and session.alive(self.world.now) and not self.world.fresh(session):
            person, protected = session.person, self.world.protected(session.person)
            wanted = self.world.helps if protected else lambda n: self.world.traits[n].starts
            names = [name for name in person.confirmed() if wanted(name)]
            if names:
                await self.proven(person, some(names, number), None, by, WELL)
        return await self.bench.acting(session)

    # The account

    @precondition(has_sessions)
    @rule(number=nth, factor=nth)
    def enrol(self, number: int, factor: int) -> None:
        """Written by its plugin, and confirmed over HTTP in the name of a session."""
        self.run(self.enrolling(self.session(number), factor))

    async def enrolling(self, session: Session, number: int) -> None:
        person = session.person
        held = [h.factor for h in person.held.values()]
        names = [n for n in self.world.traits if n not in held and n != "password"]
        if not names or person.deleted:
            return
        await self.bench.offer(person, some(names, number))
        if number < 5:
            [*_, made] = person.held.values()
            await self.bench.confirm(await self.freshly(session, number), person, made)

    @precondition(lambda self: has_sessions(self) and self.enrolled(0) is not None)
    @rule(number=nth, which=nth)
    def confirm(self, number: int, which: int) -> None:
        self.run(self.with_enrolment("confirm", self.session(number), which))

    @precondition(has_sessions)
    @rule(number=nth, which=nth, what=st.sampled_from(["remove", "remove", "rename"]))
    def remove_or_rename(self, number: int, which: int, what: str) -> None:
        self.run(self.with_enrolment(what, self.session(number), which))

    async def with_enrolment(self, what: str, session: Session, which: int) -> None:
        chosen = self.own(session.person, which)
        if chosen is not None:
            by = await self.freshly(session, which)
            await getattr(self.bench, what)(by, *chosen)

    @precondition(has_sessions)
    @rule(number=nth, fresh=nth)
    def change_password(self, number: int, fresh: int) -> None:
        self.run(self.changing_password(self.session(number), fresh))

    async def changing_password(self, session: Session, fresh: int) -> None:
        await self.bench.change_password(await self.freshly(session, fresh))

    # What ends

    @precondition(has_sessions)
    @rule(number=nth, age=nth)
    def refresh(self, number: int, age: int) -> None:
        """By any refresh token that was ever handed out for a session."""
        session = self.session(number)
        tokens = list(session.refresh)[::-1]
        if tokens:
            self.run(self.bench.refresh(session, some(tokens, 0 if age < 4 else age)))

    @precondition(has_sessions)
    @rule(number=nth, other=nth, what=st.integers(0, 9))
    def end(self, number: int, other: int, what: int) -> None:
        """Each way in which sessions end."""
        self.run(self.ending(self.session(number), other, what))

    async def ending(self, session: Session, other: int, what: int) -> None:
        bench, person = self.bench, session.person
        by = await bench.acting(session)
        tokens = [*session.access, *((t, end) for t, (_, end) in session.refresh.items())]
        if what < 3:
            await bench.logout(by, everywhere=what == 0)
        elif what < 5:
            await bench.end(by, self.session(other))
        elif what == 5:
            await bench.end_others(by)
        elif what < 8 and tokens:
            await bench.revoke(session, *some(tokens[::-1], other))
        elif what == 8 and not person.deleted:
            await bench.disable(person)
        elif what == 9 and other == 0:  # seldom, since not much happens afterwards
            await bench.delete(by)

    @precondition(lambda self: any(person.disabled for person in self.people))
    @rule()
    def enable(self) -> None:
        for person in self.people:
            if person.disabled and not person.deleted:
                self.run(self.bench.enable(person))

    # Time

    @rule(by=seconds, days=days, clean=nth)
    def time_passes(self, by: int, days: int, clean: int) -> None:
        self.run(self.bench.clock(by + days * 86400))
        if clean == 0:
            self.run(self.bench.clean())

    @rule(by=back)
    def clock_goes_back(self, by: int) -> None:
        if self.clock() - by >= self.highest - BACK:
            self.run(self.bench.clock(-by))

    # What always holds

    @invariant()
    def tokens_are_those_of_the_model(self) -> None:
        """What is accepted belongs to a session that lives, whose proofs were enough."""
        self.run(self.bench.check_tokens())

    @invariant()
    def what_is_spent_stays_spent(self) -> None:
        self.run(self.bench.check_flows())

    @invariant()
    def nothing_is_told(self) -> None:
        """No secret is in the file, in the log or in an event."""
        self.bench.check_leaks()


SMALL = settings(
    phases=[Phase.generate] if LONG is None else [Phase.generate, Phase.shrink],
    derandomize=LONG is None,
    database=None,
    deadline=None,
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    suppress_health_check=list(HealthCheck),
)


class RealLives(Lives):
    """The same with the factors of real plugins, each by the ceremony that it brings."""

    SETTINGS = REAL


Lives.TestCase.settings = SMALL
RealLives.TestCase.settings = SMALL
TestLives = Lives.TestCase
TestRealLives = RealLives.TestCase
