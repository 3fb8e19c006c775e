"""Factors, which turn what a client sent into proofs, and the proofs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from picoauth.callers import Caller
from picoauth.database import Row, Statement
from picoauth.drafts import Enrolment
from picoauth.errors import Problem
from picoauth.events import Event
from picoauth.problems import PROOF_REFUSED
from picoauth.users import User
from picoauth.whose import NOBODY, Whose

Payload = Mapping[str, Any]
"""What a client sent for one factor: JSON, its names and types not yet checked."""


@dataclass(frozen=True, kw_only=True)
class Proof:
    """Someone proved to be `user`, whose epoch was read no later than the credential.

    `statements` join the write of this step (a spent code, a counter): where one of them
    misses its `rows`, the proof is refused. So it is where `enrolment_id` is not one that the
    user has confirmed. `events` are what happened by it: committed in that write, and told
    after it. `complete` needs no further factor.
    """

    user: User
    amr: tuple[str, ...]
    complete: bool = False
    enrolment_id: str | None = None
    statements: Sequence[Statement] = ()
    events: Sequence[Event] = ()


@dataclass(frozen=True)
class Challenge:
    """What a factor asks of a client. `state` stays with the server until `verify`."""

    public: Mapping[str, Any] = field(default_factory=dict)
    state: Any = None


@dataclass(frozen=True, kw_only=True)
class Attemptee:
    """Who a client claims to be: a user, or a name that may be nobody's."""

    user: User | None = None
    typed: str = ""
    name: Whose | None = None
    """Who has the name that was typed, which is looked up while the attempt is counted."""

    @property
    def whose(self) -> Whose:
        return self.name or (Whose.of(self.user.id) if self.user else NOBODY)


@dataclass(frozen=True, kw_only=True)
class Situation:
    """What a factor may know of the login it is part of."""

    user: User | None
    """Who it has to be: from earlier proofs, or the session that is stepped up."""
    claimed: User | None
    """Who `identify` found, or whoever has the name that it found."""
    state: Any
    """What `begin` kept, once: it is gone after this look, success or not, unless it is `lasting`."""
    caller: Caller
    seen: Sequence[Row] = ()
    """What `look` asked for."""


class Factor(ABC):
    """One way to prove who someone is."""

    name: ClassVar[str]
    starts: ClassVar[bool] = False
    """May be the first step of a login."""
    second: ClassVar[bool] = False
    """Counts as a second factor; being enrolled makes a second one necessary."""
    fallback: ClassVar[bool] = False
    """Serves as a second factor, but being enrolled makes none necessary (recovery codes)."""
    lasting: ClassVar[bool] = False
    """What `begin` keeps outlives a wrong proof, for what may be mistyped: the factor counts tries."""
    refused: ClassVar[Problem] = PROOF_REFUSED
    """The one answer to every wrong proof, whoever the user is (P-8)."""
    problems: ClassVar[Sequence[Problem]] = ()
    """Further refusals: of payloads that are none, for instance."""
    example: ClassVar[Payload] = {}
    """A payload for `/openapi.json` and the first run."""

    async def begin(self, situation: Situation, payload: Payload) -> Challenge:  # noqa: ARG002
        """Make a challenge; most factors need none. Does not tell whether a user exists."""
        return Challenge()

    async def identify(self, payload: Payload) -> Attemptee:  # noqa: ARG002
        """Find whom to throttle, before any costly work. Raises AuthError for a malformed payload."""
        return Attemptee(user=None)

    def look(self, whose: Whose) -> Statement | None:  # noqa: ARG002
        """A query for what `verify` needs of a user, which is read while the attempt is counted.

        `where user_id = {whose.sql}`: the rows come as `Situation.seen`, and are as old as the
        user's epoch is.
        """
        return None

    async def completes(self, enrolment: Enrolment) -> bool:  # noqa: ARG002
        """Whether this one is a login by itself, as is a passkey that verifies its user."""
        return False

    @abstractmethod
    async def verify(self, situation: Situation, payload: Payload) -> Proof:
        """Answer a proof, or raise Denied(self.refused). Nothing never proves anything."""


def by_name(factors: Sequence[Factor]) -> dict[str, Factor]:
    return {factor.name: factor for factor in factors}


def first(factors: Mapping[str, Factor], said: Payload) -> str:
    """The factor that begins where none is named: the first that may start a login.

    One that the body has a text of comes before: `{"username", "password"}` is a password,
    whatever else is listed.
    """
    starters = [name for name, factor in factors.items() if factor.starts]
    return next((name for name in starters if isinstance(said.get(name), str)), starters[0])


def likely(factors: Mapping[str, Factor], said: Payload) -> str:
    """The factor that is proven where none is named.

    That is the first, too; but of those that the body has no text of, one whose example has a
    member of the body, or that has one where the body says nothing: so what is missing is told
    in words that help.
    """
    found = first(factors, said)
    if isinstance(said.get(found), str):
        return found
    starters = (factor for factor in factors.values() if factor.starts)
    fit = (one.name for one in starters if one.example and (said.keys() & one.example or not said))
    return next(fit, found)
