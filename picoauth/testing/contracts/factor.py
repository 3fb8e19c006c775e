"""The contract of factors: nothing never proves anything, and no answer tells who exists."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import httpx
import pytest

from picoauth.callers import Caller
from picoauth.database import Args, Database, Row, Statement
from picoauth.events import LoginFailed
from picoauth.factors import Factor, Payload
from picoauth.testing.contracts.base import Contract, together
from picoauth.testing.people import Ceremony, Someone, named
from picoauth.testing.server import Server

MISSING = object()
ODD: tuple[Any, ...] = (
    *(MISSING, None, "", " ", "\0", "x" * 5000),
    *(True, False, 0, -1, 2**63, 1.5),
    *([], [None], {}, {"": None}),
)
"""What stands for each member of a proof in turn."""
FEW = 5
"""Wrong proofs of one user, so that none meets a delay."""
LONG = 8
"""Characters from which on a text cannot be part of an id by chance."""


class FactorContract(Contract):
    """Inherit it where `picoauth_settings` lists your plugin, and name your factor.

        class TestMine(FactorContract):
            factor = "mine"

    The factor needs a `Ceremony`. One that cannot start a login comes after the first that can,
    such as `password`, which has to be listed too.
    """

    factor: ClassVar[str]
    """The name of the factor."""
    single_use: ClassVar[bool] = False
    """Whether a proof is good for one login, as a code is, and a signature of a challenge."""
    elsewhere: ClassVar[bool] = False
    """Whether the credential is no row of the plugin's, as a password in a directory."""
    guessable: ClassVar[bool] = True
    """Whether guesses have to be few; not those of a secret of 128 bits that knows its user."""

    @pytest.fixture
    def server(self, picoauth_server: Server) -> Server:
        """The server that has the factor; override it for another one."""
        return picoauth_server

    @pytest.fixture
    def bench(self, server: Server) -> Bench:
        """The factor, and users who try it."""
        return Bench(server, self.factor, elsewhere=self.elsewhere)

    async def test_right_proof(self, bench: Bench) -> None:
        """It is accepted, and makes a session that says by which methods."""
        someone = await bench.someone()
        await someone.login()
        [session, *_] = await bench.server.auth.sessions.list(someone.user.id)
        assert session.amr

    async def test_wrong_proof(self, bench: Bench) -> None:
        """It gets the factor's one answer; what was sent is in no event, and so in no log (L-2)."""
        someone = await bench.someone()
        step = await bench.step(someone)
        payload = await bench.answer(step, wrong=True)
        answer = await step.send(payload)
        assert (bench.kind.refused.status, bench.kind.refused.code) == status_code(answer)
        event = bench.server.events.of(LoginFailed)[-1]
        assert (bench.factor, bench.kind.refused.code) == (event.factor, event.code)
        told = [value for value in payload.values() if isinstance(value, str)]
        assert [] == [value for value in told if len(value) >= LONG and value in repr(event)]
        assert 0 == await someone.sessions()

    async def test_nothing_proves_nothing(self, bench: Bench) -> None:
        """Whatever stands in the place of each member: the client erred, and is not let in (P-12).

        Of what is deeper inside, some members may not matter; they break nothing.
        """
        right = await bench.answer(await bench.step(await bench.someone()))
        wrong = {}
        for path in ((), *members(right)):
            for number, odd in enumerate(ODD):
                if number % FEW == 0:
                    someone = await bench.someone()
                answer = await bench.odd(someone, path, odd)
                deep = len(path) > 1 and not answer.is_server_error
                if not deep and not refused(answer):
                    wrong[path, repr(odd)[:20]] = answer.text
        assert {} == wrong

    async def test_odd_challenges(self, bench: Bench) -> None:
        """Whatever a client sends to begin, it is no fault of the server."""
        someone = await bench.someone()
        asked = await bench.ceremony.asks(someone)
        for name in asked or ():
            for number, odd in enumerate(ODD):
                if number % FEW == 0:
                    someone = await bench.someone()
                flow = await bench.entrance(someone)
                answer = await bench.begin(flow, replaced(asked or {}, (name,), odd))
                assert not answer.is_server_error, answer.text

    async def test_proof_without_its_challenge(self, bench: Bench) -> None:
        """A factor that asks something accepts no answer to a question that it never asked."""
        someone = await bench.someone()
        if await bench.ceremony.asks(someone) is None:
            pytest.skip("the factor asks nothing")
        step = await bench.step(someone)
        payload = await bench.answer(step)
        unasked = Step(someone, bench.factor, await bench.entrance(someone), {})
        assert refused(await unasked.send(payload))

    async def test_proof_of_another_user(self, bench: Bench) -> None:
        """A session is proven afresh by its own user, and by nobody else's proof."""
        ann, bob = await bench.someone(), await bench.someone()
        token = (await ann.login())["access_token"]
        flow, challenge = await ann.begin(bench.factor, token=token)
        theirs = await bench.ceremony.answer(bob, challenge)
        if theirs == await bench.ceremony.answer(ann, challenge):
            pytest.skip("what is sent is the same for everybody")
        answer = await ann.send(bench.factor, theirs, flow, token=token)
        assert (bench.kind.refused.status, bench.kind.refused.code) == status_code(answer)

    async def test_nobody_is_told_who_exists(self, bench: Bench) -> None:
        """A wrong proof, a right one of a disabled user, and of one who is gone: one answer (P-8).

        Status, headers and body are the same, of the challenge and of the proof.
        """
        if not bench.kind.starts:
            pytest.skip("whoever comes to this factor has proven to exist")
        accounts, answers = bench.server.auth.accounts, {}
        for what in ("is wrong", "is disabled", "is gone"):
            someone = await bench.someone()
            if what == "is disabled":
                await accounts.disable(someone.user.id, Caller())
            if what == "is gone":
                await accounts.delete(someone.user.id, Caller())
            step = await bench.step(someone)
            answer = await step.send(await bench.answer(step, wrong=what == "is wrong"))
            answers[what] = [alike(each, someone) for each in (step.begun, answer)]
        assert answers["is wrong"] == answers["is disabled"]
        assert answers["is wrong"] == answers["is gone"]

    async def test_guesses_are_few(self, bench: Bench) -> None:
        """After so many wrong proofs not even the right one is looked at (A-1, A-3).

        Whoever guesses begins anew each time: the count is that of the account.
        """
        if not self.guessable:
            pytest.skip("there is nothing to guess")
        someone = await bench.someone()
        for _ in range(bench.server.auth.config.throttle.failures):
            assert refused(await bench.attempt(someone, wrong=True))
        assert (429, "too_many_attempts") == status_code(await bench.attempt(someone))

    async def test_proof_comes_twice(self, bench: Bench) -> None:
        """One that is good once is refused the second time, under another flow too."""
        if not self.single_use:
            pytest.skip("a proof may come again")
        someone = await bench.someone()
        step = await bench.step(someone)
        payload = await bench.answer(step)
        assert accepted(await step.send(payload))
        again = await bench.step(someone)
        assert refused(await again.send(payload))

    async def test_proof_comes_fifty_times_at_once(self, bench: Bench) -> None:
        """One that is good once makes one login go on (T-3)."""
        if not self.single_use or await bench.ceremony.asks(await bench.someone()) is not None:
            pytest.skip("a proof may come again, or answers one challenge")
        someone = await bench.someone()
        steps = [await bench.step(someone) for _ in range(50)]
        payload = await bench.answer(steps[0])
        answers = await together(step.send(payload) for step in steps)
        responses = [answer for answer in answers if isinstance(answer, httpx.Response)]
        assert 50 == len(responses)
        assert [] == [answer.text for answer in responses if answer.is_server_error]
        assert 1 == sum(accepted(answer) for answer in responses)

    async def test_credential_that_goes_meanwhile(self, bench: Bench) -> None:
        """A factor that is removed while its proof is looked at makes no session.

        For that the user has to be read no later than the credential: then the epoch, which
        rises with the removal, is an old one, and the kernel's guard holds (K-13).
        """
        someone = await bench.someone()
        held = [e.factor for e in await bench.server.auth.users.enrolments(someone.user.id)]
        if bench.factor not in held:
            pytest.skip("nobody enrols this factor")
        step = await bench.step(someone)
        payload = await bench.answer(step)
        with interrupted(bench.server) as clean:
            assert accepted(await step.send(payload))
        for number in range(clean.decisive):
            someone = await bench.someone()
            step = await bench.step(someone)
            payload = await bench.answer(step)
            with interrupted(bench.server, number, partial(bench.remove, someone)) as run:
                answer = await step.send(payload)
            assert run.comes is None, f"the login did not come to read {number}"
            assert not answer.is_server_error, answer.text
            assert 0 == await someone.sessions(), f"removed before: {run.reads[number]}"

    async def test_second_factor_is_asked_for_afterwards(self, bench: Bench) -> None:
        """Who has a second factor is not logged in by this one alone."""
        if not bench.kind.starts or bench.ceremony.completes or not bench.others():
            pytest.skip("it starts no login, is one by itself, or there is no second factor")
        for other in bench.others():
            someone = await bench.server.join(bench.factor, other)
            answer = await someone.prove(bench.factor)
            assert (401, "more_needed") == status_code(answer)
            assert 0 == await someone.sessions()


class Bench:
    """A factor under test, and users who try it."""

    def __init__(self, server: Server, factor: str, *, elsewhere: bool = False) -> None:
        self.server = server
        self.factor = factor
        self.elsewhere = elsewhere
        self.kind: Factor = server.auth.factors[factor]
        self.ceremony: Ceremony = server.ceremonies[factor]

    def others(self) -> list[str]:
        """Further second factors that are asked for once they are enrolled."""
        return [
            name
            for name, factor in self.server.auth.factors.items()
            if factor.second and not factor.fallback and name != self.factor
            if self.server.ceremonies.find(name)
        ]

    async def someone(self) -> Someone:
        """A user who can log in with the factor, after another one if it must be so.

        A fallback is only asked for where there is a second factor beside it.
        """
        alone = self.kind.starts and (self.ceremony.completes or not self.kind.second)
        entrance = [name for name in self.server.starters if name != self.factor][:1]
        beside = self.others()[:1] if self.kind.fallback else []
        return await self.server.join(*([] if alone else entrance), self.factor, *beside)

    async def entrance(self, someone: Someone) -> str | None:
        """The flow of a login that has come to the factor; None where that is the first one."""
        if self.kind.starts:
            return None
        answer = await someone.prove(someone.factors[0])
        assert "more_needed" == answer.json().get("code"), answer.text
        flow: str = answer.json()["flow"]
        return flow

    async def begin(self, flow: str | None, asked: Payload) -> httpx.Response:
        return await self.server.post("/auth/login/begin", {**asked, **named(self.factor, flow)})

    async def step(self, someone: Someone) -> Step:
        """A login that is about to prove the factor."""
        flow, asked = await self.entrance(someone), await self.ceremony.asks(someone)
        if asked is None:
            return Step(someone, self.factor, flow, {})
        begun = await self.begin(flow, asked)
        body = begun.json()
        return Step(someone, self.factor, body.get("flow"), body.get("challenge", {}), begun)

    async def answer(self, step: Step, *, wrong: bool = False) -> Payload:
        make = self.ceremony.wrong if wrong else self.ceremony.answer
        return await make(step.someone, step.challenge)

    async def attempt(self, someone: Someone, *, wrong: bool = False) -> httpx.Response:
        """Prove, in a login of its own; what refuses the challenge refuses the proof."""
        step = await self.step(someone)
        if step.begun is not None and step.begun.is_error:
            return step.begun
        return await step.send(await self.answer(step, wrong=wrong))

    async def odd(self, someone: Someone, path: Sequence[str], odd: Any) -> httpx.Response:
        """Send a proof, right but for one member; without a path, nothing of it."""
        step = await self.step(someone)
        right = await self.answer(step)
        payload = replaced(right, path, odd) if path else {}
        return await step.send({} if payload == right else payload)  # the odd one may be right

    async def remove(self, someone: Someone) -> None:
        """Take the credential from the user. The kernel's row, which would refuse too, comes back.

        Not where it is all that there is to take.
        """
        users, where = self.server.auth.users, "where user_id = ? and factor = ?"
        found = [] if self.elsewhere else await users.enrolments(someone.user.id)
        held = [e for e in found if e.factor == self.factor]
        await self.server.auth.database.write(
            Statement(f"delete from enrolments {where}", (someone.user.id, self.factor), rows=1),
            *(users.enrolling(enrolment) for enrolment in held),
            Statement("update users set epoch = epoch + 1 where id = ?", (someone.user.id,)),
        )


@dataclass(frozen=True)
class Step:
    """One login where the factor is to be proven next."""

    someone: Someone
    factor: str
    flow: str | None
    challenge: Mapping[str, Any]
    begun: httpx.Response | None = None
    """The answer to its beginning, where there is any."""

    async def send(self, payload: Payload) -> httpx.Response:
        return await self.someone.send(self.factor, payload, self.flow)


@dataclass
class Run:
    """What a piece of work asks of the database, and what comes in between."""

    number: int | None = None
    """The read before which it comes, counted from 0."""
    comes: Callable[[], Awaitable[None]] | None = None
    asked: list[tuple[str, str]] = field(default_factory=list)
    """`read` or `write`, and the SQL, in the order they came."""

    @property
    def reads(self) -> list[str]:
        return [sql for what, sql in self.asked if what == "read"]

    @property
    def decisive(self) -> int:
        """How many reads there are before the last write."""
        kinds = [what for what, _ in self.asked]
        last = len(kinds) - kinds[::-1].index("write")
        return kinds[:last].count("read")

    async def note(self, what: str, *sql: str) -> None:
        if what == "read" and self.number == len(self.reads) and self.comes is not None:
            comes, self.comes = self.comes, None
            await comes()
        self.asked += [(what, each) for each in sql]


WATCHING: ContextVar[Run | None] = ContextVar("WATCHING", default=None)
"""The work that the current task is part of; the server's own tasks are part of none."""


@contextmanager
def interrupted(
    server: Server, number: int | None = None, comes: Callable[[], Awaitable[None]] | None = None
) -> Iterator[Run]:
    """Let something happen before a read of what is done within."""
    database, run = server.auth.database, Run(number, comes)
    reading, writing = database.read, database.write

    async def read(sql: str, args: Args = (), *, slow: bool = False) -> list[Row]:
        watching = WATCHING.get()
        if watching is not None:
            await watching.note("read", sql)
        return await reading(sql, args, slow=slow)

    async def write(*statements: Statement) -> list[list[Row]]:
        watching = WATCHING.get()
        if watching is not None:
            await watching.note("write", *(statement.sql for statement in statements))
        return await writing(*statements)

    token = WATCHING.set(run)
    swap(database, read=read, write=write)
    try:
        yield run
    finally:
        swap(database, read=reading, write=writing)
        WATCHING.reset(token)


def swap(database: Database, **methods: Any) -> None:
    for name, method in methods.items():
        setattr(database, name, method)


def members(payload: Payload) -> Iterator[tuple[str, ...]]:
    """The path of every member, and of those inside of it."""
    for name, value in payload.items():
        yield (name,)
        if isinstance(value, Mapping):
            yield from ((name, *path) for path in members(value))


def replaced(payload: Payload, path: Sequence[str], odd: Any) -> dict[str, Any]:
    """The payload with something else for one member, or without it."""
    name, *inner = path
    if inner:
        return {**payload, name: replaced(payload[name], inner, odd)}
    rest = {member: value for member, value in payload.items() if member != name}
    return rest if odd is MISSING else {**rest, name: odd}


def status_code(answer: httpx.Response) -> tuple[int, str | None]:
    return answer.status_code, answer.json().get("code")


def accepted(answer: httpx.Response) -> bool:
    """Whether the proof counts, be it that another one is needed besides."""
    return answer.status_code == 200 or answer.json().get("code") == "more_needed"


def refused(answer: httpx.Response) -> bool:
    """Whether it was looked at, and found to be no proof; a delay says nothing about it."""
    return answer.is_client_error and not accepted(answer) and answer.status_code != 429


def alike(answer: httpx.Response | None, someone: Someone) -> Any:
    """All that a client can see, but for what is new in every answer."""
    if answer is None:
        return None
    headers = {name: value for name, value in answer.headers.items() if name != "x-request-id"}
    body = {name: value for name, value in answer.json().items() if name != "request_id"}
    return answer.status_code, headers, shape(body, someone.username)


def shape(value: Any, name: str) -> Any:
    """A value without what is random in it: of a long text its length stays."""
    if isinstance(value, Mapping):
        return {member: shape(item, name) for member, item in value.items()}
    if isinstance(value, list):
        return [shape(item, name) for item in value]
    if not isinstance(value, str):
        return value
    return value.replace(name, "NAME") if len(value) < 2 * LONG or " " in value else len(value)
