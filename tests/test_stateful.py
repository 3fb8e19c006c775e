"""Whatever comes in whatever order: no session without sufficient proof, and nothing works twice."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import hypothesis.strategies as st
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.stateful import SETTINGS, Bench, Credential, opened, template
from tests.stateful_model import Flow, Held, Part, Person, Session

T = TypeVar("T")

LONG = os.environ.get("PICOAUTH_EXAMPLES")
"""How many lives of a server are tried, where it shall be more of them; then what fails is shrunk."""
EXAMPLES = int(LONG or 40)
STEPS = 50
PEOPLE = 3
BACK = 3000
"""Seconds that the clock may go back; who cleans up leaves everything for an hour."""

nth = st.integers(0, 5)
several = st.lists(st.integers(0, 4), max_size=3)
seconds = st.sampled_from([1, 9, 10, 11, 60, 299, 301, 599, 600, 3700])
days = st.sampled_from([0, 0, 0, 0, 4, 15])
back = st.sampled_from([1, 5, 30, 400])
rightness = st.sampled_from([True, True, True, False])
deliveries = st.sampled_from(["token", "token", "cookie"])


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
        self.bench: Bench = self.run(opened(self.stack, Path(self.folder.name), self.SETTINGS))
        self.world = self.bench.world

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do it in the server's loop. What fails is not looked at again in the end."""
        try:
            return self.runner.run(work)
        except BaseException:
            self.failed = True
            raise

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
        """Register, log in, and enrol what one likes to have."""
        await self.bench.register()
        await self.logging_in(self.people[-1], 0, 0, True, False, how)
        for number in factors:
            await self.enrolling(self.world.sessions[-1], number)

    @rule(who=nth, first=nth, second=nth, how=deliveries)
    def log_in(self, who: int, first: int, second: int, how: str) -> None:
        """With all that it takes, of whatever the user has."""
        self.run(self.logging_in(some(self.people, who), first, second, True, False, how))

    @rule(who=nth, first=nth, second=nth, right=rightness, at_once=st.booleans(), how=deliveries)
    def try_to_log_in(
        self, who: int, first: int, second: int, right: bool, at_once: bool, how: str
    ) -> None:
        """Perhaps wrong, perhaps in one step."""
        self.run(self.logging_in(some(self.people, who), first, second, right, at_once, how))

    @rule(who=nth, first=nth, second=nth, how=deliveries, event=nth)
    def log_in_meanwhile(self, who: int, first: int, second: int, how: str, event: int) -> None:
        """The account changes when all proofs were looked at, and nothing is written yet."""
        person, events = some(self.people, who), [self.bench.logout_everywhere, self.bench.disable]
        if not person.out and event < len(events):
            meanwhile = partial(events[event], person)
            work = self.logging_in(person, first, second, True, True, how, meanwhile=meanwhile)
            self.run(work)

    async def logging_in(
        self,
        person: Person,
        first: int,
        second: int,
        right: bool,
        at_once: bool,
        how: str,
        **more: Any,
    ) -> None:
        bench, start = self.bench, self.factor(person, first, starts=True)
        if not start:
            return
        flow, challenge = await bench.begin(person, start, None, None)
        parts = [await bench.part(person, start, challenge, right=right or at_once)]
        other = self.factor(person, second)
        together = at_once and other != start and not self.world.traits[other].asks
        if together and self.usable(person, start) and self.usable(person, other):
            parts.append(await bench.part(person, other, right=right))
        flow = await bench.step(parts, flow, delivery=how, **more)
        if flow is None or len(parts) > 1 or other == start:
            return
        await self.proven(person, other, flow, None, right)

    def usable(self, person: Person, factor: str) -> bool:
        """What waits to be confirmed comes alone: which of two is refused is the factor's word."""
        return all(held.confirmed for held in person.held.values() if held.factor == factor)

    async def proven(
        self, person: Person, factor: str, flow: Flow | None, by: Credential | None, right: bool
    ) -> Flow | None:
        """One factor, with its challenge if it has any."""
        asks = self.world.traits[factor].asks
        flow, challenge = await self.bench.begin(person, factor, flow, by)
        if asks and flow is None:
            return None
        part = await self.bench.part(person, factor, challenge, right=right)
        self.kept.append(part)
        return await self.bench.step([part], flow, by)

    @precondition(lambda self: self.world.flows)
    @rule(
        whose=nth,
        number=st.integers(0, 40),
        factor=nth,
        right=rightness,
        times=st.sampled_from([1, 1, 3]),
    )
    def go_on(self, whose: int, number: int, factor: int, right: bool, times: int) -> None:
        """Any flow, spent or not, with a proof of anybody's; three at once, perhaps."""
        self.run(self.going_on(some(self.people, whose), number, factor, right, times))

    async def going_on(
        self, person: Person, number: int, factor: int, right: bool, times: int
    ) -> None:
        flow = some(self.world.flows[::-1], number)
        name = self.factor(person, factor)
        session = flow.state.session
        by = None if session is None else await self.bench.acting(session)
        challenge = flow.state.challenges.get(name)
        if name:
            part = await self.bench.part(person, name, challenge, right=right)
            self.kept.append(part)
            await self.bench.step([part], flow, by, times=times)

    @precondition(lambda self: self.kept)
    @rule(number=st.integers(0, 40), whose=nth, flow=nth)
    def send_again(self, number: int, whose: int, flow: int) -> None:
        """A proof that was sent before, in a new login or in a flow that goes on."""
        part = some(self.kept[::-1], number)
        flows = [f for f in self.world.flows if not f.spent and f.state.session is None]
        chosen = some(flows, flow) if flows and flow < 5 else None
        if chosen is None and not self.world.traits[part.factor].starts:
            return
        self.run(self.bench.step([part], chosen, None))

    # Step-up

    @precondition(has_sessions)
    @rule(number=nth, first=nth, second=nth)
    def step_up(self, number: int, first: int, second: int) -> None:
        self.run(self.stepping_up(self.session(number), first, second, True, 0))

    @precondition(has_sessions)
    @rule(number=nth, first=nth, second=nth, right=rightness, whose=nth)
    def try_to_step_up(self, number: int, first: int, second: int, right: bool, whose: int) -> None:
        """Perhaps wrong, or with what is somebody else's."""
        self.run(self.stepping_up(self.session(number), first, second, right, whose))

    async def stepping_up(
        self, session: Session, first: int, second: int, right: bool, whose: int
    ) -> None:
        by = await self.bench.acting(session)
        person = session.person if whose < 5 else some(self.people, whose)
        name, other = self.factor(person, first), self.factor(person, second)
        if not name:
            return
        flow = await self.proven(person, name, None, by, right)
        if flow is not None:
            await self.proven(person, other, flow, await self.bench.acting(session), right=True)

    @precondition(lambda self: has_sessions(self) and self.world.flows)
    @rule(number=nth, flow=st.integers(0, 40), factor=nth)
    def step_up_by_any_flow(self, number: int, flow: int, factor: int) -> None:
        """A flow of a login, of another session, or of another user."""
        self.run(self.mixing(self.session(number), some(self.world.flows[::-1], flow), factor))

    async def mixing(self, session: Session, flow: Flow, factor: int) -> None:
        name = self.factor(session.person, factor)
        if name:
            challenge = flow.state.challenges.get(name)
            part = await self.bench.part(session.person, name, challenge)
            await self.bench.step([part], flow, await self.bench.acting(session))

    async def freshly(self, session: Session, number: int) -> Credential:
        """What needs a fresh proof gets one, but once in a while."""
        by = await self.bench.acting(session)
        if number < 5 and session.alive(self.world.now) and not self.world.fresh(session):
            person, protected = session.person, self.world.protected(session.person)
            wanted = self.world.helps if protected else lambda n: self.world.traits[n].starts
            names = [name for name in person.confirmed() if wanted(name)]
            if names:
                await self.proven(person, some(names, number), None, by, right=True)
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
        self.highest = max(self.highest, self.bench.server.clock())
        if clean == 0:
            self.run(self.bench.clean())

    @rule(by=back)
    def clock_goes_back(self, by: int) -> None:
        if self.bench.server.clock() - by >= self.highest - BACK:
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
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    suppress_health_check=list(HealthCheck),
)
Lives.TestCase.settings = SMALL
TestLives = Lives.TestCase
