"""The state of a login between its steps, kept in a ticket."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from picoauth.callers import Caller
from picoauth.database import Statement
from picoauth.delivery import Prepared
from picoauth.errors import AuthError, Conflict, Denied, Unavailable
from picoauth.factors import Factor, Payload, Proof
from picoauth.looks import Look
from picoauth.problems import FLOW_ENDED, SESSION_ENDED, START_OVER, UNAVAILABLE
from picoauth.sessions import Delivery, Session
from picoauth.users import User

if TYPE_CHECKING:
    from picoauth.auth import Auth


LOGIN, STEPUP = "login", "stepup"


@dataclass(frozen=True, kw_only=True)
class Done:
    """A proof that this flow has got already."""

    factor: str
    amr: tuple[str, ...]
    complete: bool
    at: int


@dataclass(frozen=True, kw_only=True)
class Flow:
    """What the ticket of a flow carries. `epoch` is that of the user before the first proof."""

    expires_at: int
    tries: int
    user_id: str | None = None
    epoch: int | None = None
    session_id: str | None = None
    """The session that is stepped up."""
    done: Sequence[Done] = ()
    states: Mapping[str, Any] = field(default_factory=dict)
    """What factors kept with their challenges, by the factor's name."""
    delivery: Delivery = "token"
    resumed: bool = False
    """Came from a ticket, which is spent."""

    @classmethod
    def load(cls, data: Mapping[str, Any]) -> Flow:
        done = [Done(**{**item, "amr": tuple(item["amr"])}) for item in data["done"]]
        return cls(**{**data, "done": done, "resumed": True})

    def dump(self) -> dict[str, Any]:
        return asdict(self)

    def proven(self, factor: Factor, proof: Proof, now: int) -> Flow:
        """One proof further; the epoch stays that of the first."""
        done = Done(factor=factor.name, amr=proof.amr, complete=proof.complete, at=now)
        return replace(
            self.without_state(factor.name),
            user_id=proof.user.id,
            epoch=proof.user.epoch if self.epoch is None else self.epoch,
            done=(*self.done, done),
        )

    def without_state(self, name: str) -> Flow:
        """A challenge is good for one look, success or not; but see `Factor.lasting`."""
        states = {factor: state for factor, state in self.states.items() if factor != name}
        return replace(self, states=states)

    @property
    def factors(self) -> tuple[str, ...]:
        return tuple(done.factor for done in self.done)


@dataclass(frozen=True)
class Accepted:
    """A proof of this request that is not written yet: the flow before it, and what it writes.

    The statements are those of the events, too.
    """

    before: Flow
    factor: str
    statements: Sequence[Statement]
    events: Sequence[Prepared]
    user: User
    look: Look | None
    """At the user, if it was before the proof and of the same epoch."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One request of a flow: which flow, and what the caller says for which factors."""

    flow: str | None
    payloads: Sequence[tuple[str, Payload]]
    caller: Caller
    delivery: Delivery | None = None
    """How the client wants to keep the session, where this request says so."""
    same_site: bool = True
    """Whether no page of another site can have sent it; it may set a cookie then."""
    session: Session | None = None
    """Set where a session proves itself afresh, unset at a login."""
    restore: bool = False
    """Whether a login takes back that its account was closed."""


class Flows:
    """Keeps flows in tickets: single use, one racer wins, a new one for each step."""

    def __init__(self, auth: Auth) -> None:
        self.auth = auth

    async def resume(self, secret: str | None, session: Session | None) -> Flow:
        """Take the flow's ticket, or begin a flow. Raises AuthError for one that is spent."""
        if secret is None:
            return self.blank(session)
        ticket = await self.auth.tickets.take(STEPUP if session else LOGIN, secret)
        if ticket is None or ticket.data["session_id"] != (session.id if session else None):
            raise AuthError(FLOW_ENDED)
        flow = Flow.load(ticket.data)
        if not set(flow.factors) <= set(self.auth.factors):  # a plugin was switched off meanwhile
            raise AuthError(FLOW_ENDED)
        return flow

    def blank(self, session: Session | None) -> Flow:
        settings = self.auth.config.logins
        end = self.auth.now() + settings.flow_life
        user_id, session_id = (session.user_id, session.id) if session else (None, None)
        return Flow(
            expires_at=end, tries=settings.flow_tries, user_id=user_id, session_id=session_id
        )

    async def user(self, flow: Flow) -> User | None:
        """The user of an earlier proof, or of the session; the epoch must not have moved."""
        if flow.user_id is None:
            return None
        return checked(flow, await self.auth.users.get(flow.user_id))

    async def keep(self, flow: Flow, accepted: Sequence[Accepted] = ()) -> str:
        """Write a flow, with what its new proofs write; answers the ticket. Raises AuthError."""
        purpose = STEPUP if flow.session_id else LOGIN
        secret, issuing = self.auth.tickets.issue(
            purpose, flow.dump(), expires_at=flow.expires_at, user_id=flow.user_id
        )
        try:
            await self.auth.database.write(*written(accepted), issuing)
        except Conflict as conflict:
            raise await self.spent(flow, accepted, conflict.index) from conflict
        self.tell(accepted)
        return secret

    def tell(self, accepted: Sequence[Accepted]) -> None:
        """Tell what happened by proofs, once what they write is committed."""
        for proof in accepted:
            for prepared in proof.events:
                self.auth.events.tell(prepared)

    async def again(
        self, flow: Flow, refusal: AuthError | Unavailable, accepted: Sequence[Accepted] = ()
    ) -> AuthError | Unavailable:
        """The refusal, with a new flow that keeps what was proven and has one try fewer."""
        left = replace(flow, tries=flow.tries - 1)
        if left.tries < 1 or not (flow.resumed or flow.done):
            return refusal
        try:
            secret = await self.keep(left, accepted)
        except AuthError as other:
            return other
        except Unavailable:
            return refusal
        if isinstance(refusal, Unavailable):
            retry = {"Retry-After": str(refusal.retry_after)}
            return AuthError(UNAVAILABLE, headers=retry, flow=secret)
        refusal.extra = {**refusal.extra, "flow": secret}
        return refusal

    async def spent(
        self, flow: Flow, accepted: Sequence[Accepted], index: int
    ) -> AuthError | Unavailable:
        """What the conflict of a write means that began with what `accepted` writes.

        Another request spent one of the proofs since it was looked at: that proof is refused,
        and those before it count. Or the account is gone.
        """
        for number, proof in enumerate(accepted):
            if index < len(proof.statements):
                refusal = Denied(self.auth.factors[proof.factor].refused)
                before = replace(proof.before, states=flow.states)
                return await self.again(before, refusal, accepted[:number])
            index -= len(proof.statements)
        return Denied(START_OVER)


def checked(flow: Flow, user: User | None) -> User:
    """The user of a flow, if it is as it was at the first proof. Raises Denied."""
    if user is None or (user.barred if flow.session_id else user.disabled_at is not None):
        raise Denied(SESSION_ENDED if flow.session_id else FLOW_ENDED)
    if flow.epoch not in (None, user.epoch):
        raise Denied(START_OVER)
    return user


def written(accepted: Sequence[Accepted]) -> list[Statement]:
    return [statement for proof in accepted for statement in proof.statements]
