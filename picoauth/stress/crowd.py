"""The users of a stress test: made before it begins, with what their clients know."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from picoauth.app import Application
from picoauth.auth import Auth
from picoauth.errors import ConfigError
from picoauth.settings import Config
from picoauth.stress.hosting import check_stores
from picoauth.stress.plan import Plan
from picoauth.stress.wire import Answer, Wire

if TYPE_CHECKING:
    from picoauth.testing import Ceremony, Someone

PASSWORD = "correct horse battery staple"  # noqa: S105 - of users who are made up
METHODS = {"sessions": "list_sessions"}
KEPT = 500
"""Sessions that refresh and are checked."""
AT_ONCE = 4
"""Users who are made at the same time."""


class Spent(Exception):
    """This user has no proof that is still good: another one has to log in."""


@dataclass
class Person:
    """A user, and one client of hers."""

    name: str
    address: str
    someone: Someone | None = None
    """What ceremonies know of her; None at a server that runs already."""
    first: Ceremony | None = None
    second: Ceremony | None = None
    second_name: str = ""

    async def credentials(self) -> Mapping[str, Any]:
        """The body of a login, a whole one in one step. Raises Spent."""
        if self.someone is None or self.first is None:
            return {"username": self.name, "password": PASSWORD}
        body = dict(await self.first.answer(self.someone, {}))
        if self.second is not None:
            body[self.second_name] = dict(await self.second.answer(self.someone, {})).get(
                self.second_name
            )
        return body


class Crowd:
    """All users; deals out who does something next."""

    def __init__(self, people: Sequence[Person], seed: int) -> None:
        self.people = people
        self.chance = random.Random(seed)  # noqa: S311 - who comes next is no secret
        self.order: Iterator[Person] = itertools.cycle(people)
        self.sessions: list[dict[str, str]] = []
        self.newcomers = itertools.count()

    async def login(self, wire: Wire) -> Answer | None:
        """One login, by whoever can; None where nobody has a proof that is still good."""
        for person in itertools.islice(self.order, len(self.people)):
            try:
                body = await person.credentials()
            except Spent:
                continue
            answer = await wire.ask("POST", "/auth/login", body, client=person.address)
            if answer.status == 200:
                self.keep(answer.json())
            return answer
        return None

    def keep(self, tokens: dict[str, str]) -> None:
        """A session for others to use; the list has a bound, an old one goes for it."""
        if len(self.sessions) < KEPT:
            self.sessions.append(tokens)
        else:
            self.sessions[self.chance.randrange(KEPT)] = tokens

    def some(self) -> dict[str, str]:
        return self.chance.choice(self.sessions)

    async def do(self, operation: str, wire: Wire) -> Answer | None:
        return await getattr(self, METHODS.get(operation, operation))(wire)  # type: ignore[no-any-return]

    async def register(self, wire: Wire) -> Answer:
        number = next(self.newcomers)
        body = {"username": f"newcomer-{self.chance.getrandbits(32):08x}-{number}"}
        body["password"] = PASSWORD
        return await wire.ask("POST", "/auth/register", body, client=address(number + 100_000))

    async def refresh(self, wire: Wire) -> Answer:
        tokens = self.some()
        answer = await wire.ask("POST", "/jwt/refresh", token=tokens["refresh_token"])
        if answer.status == 200:
            tokens.update(answer.json())
        return answer

    async def validate(self, wire: Wire) -> Answer:
        return await wire.ask("POST", "/jwt/validate", token=self.some()["access_token"])

    async def list_sessions(self, wire: Wire) -> Answer:
        return await wire.ask("GET", "/auth/sessions", token=self.some()["access_token"])


def address(number: int) -> str:
    """An address for everybody, of a network that is for tests of this kind (RFC 2544)."""
    return f"198.{18 + (number >> 16) % 2}.{(number >> 8) % 256}.{number % 256}"


@runtime_checkable
class Affording(Protocol):
    """A plugin that hashes passwords, and can tell what this machine affords."""

    async def affordable(self, seconds: float) -> Sequence[Mapping[str, float]]:
        """Costs whose hash takes about so long while every core hashes; the present one first."""
        ...


@dataclass(frozen=True)
class Gathered:
    """Who there is, and the costs of a hash that this machine affords."""

    people: Sequence[Person]
    argon2: Sequence[Mapping[str, float]]


async def gathered(config: Config, folder: Path, plan: Plan) -> Gathered:
    """Make users in the database of our own server, before it starts. Raises ConfigError."""
    try:
        from picoauth.testing.server import Clock, attached  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ConfigError(
            "Users are made by the test kit: run `pip install 'picoauth[testing]'` first."
        ) from error

    class Passing(Clock):
        """The time that it is. Whoever wants it to be later has used up what is good now."""

        def __init__(self) -> None:
            super().__init__(0)

        def __call__(self) -> float:
            return time.time()

        def advance(self, seconds: float) -> None:  # noqa: ARG002 - however long it would be
            raise Spent

    auth = Auth(config)
    check_stores(auth, config)
    async with auth.started(), attached(Application(auth), Passing(), folder) as server:
        first = starter(auth)
        ceremony = server.ceremonies.find(first)
        second = None if plan.second is None else server.ceremonies.find(checked(auth, plan.second))
        if ceremony is None or (plan.second and second is None):
            raise ConfigError(
                f"Nobody told how a user proves the factor {first if ceremony is None else plan.second}: "
                "its package has no ceremony for the test kit."
            )
        limit = asyncio.Semaphore(AT_ONCE)
        share = plan.second_share if second else 0.0

        async def one(number: int) -> Person:
            twice = int((number + 1) * share) > int(number * share)
            async with limit:
                someone = await server.join(
                    *[first, *([plan.second] if twice and plan.second else [])],
                    username=f"user-{number}",
                )
            return Person(
                someone.username,
                address(number),
                someone,
                ceremony,
                second if twice else None,
                plan.second or "",
            )

        people = await asyncio.gather(*map(one, range(plan.users)))
        hashing = [one for one in auth.plugins.on.values() if isinstance(one, Affording)]
        costs = [await one.affordable(plan.target) for one in hashing]
        return Gathered(people, costs[0] if costs else ())


def starter(auth: Auth) -> str:
    """The factor by which most log in: the first that needs no challenge, as `Person` sends none."""
    starting = [name for name, factor in auth.factors.items() if factor.starts]
    return "password" if "password" in starting else starting[0]


def checked(auth: Auth, name: str) -> str:
    factor = auth.factors.get(name)
    if factor is None or not factor.second:
        known = [one for one, each in auth.factors.items() if each.second]
        raise ConfigError(
            f"--second {name!r} is no second factor that is on: there is "
            f"{', '.join(known) or 'none'}."
        )
    return name


async def joined(wire: Wire, plan: Plan) -> Sequence[Person]:
    """Register users at a server that runs already. Raises ConfigError."""
    run = f"{int(time.time()):x}"
    people = [Person(f"stress-{run}-{number}", address(number)) for number in range(plan.users)]
    for person in people:
        answer = await wire.ask("POST", "/auth/register", await person.credentials())
        if answer.status != 201:
            raise ConfigError(
                f"The server answers a registration with {answer.status}: users of a stress test "
                "register by name and password."
            )
    return people
