"""The login: factors turn into proofs, and enough proofs into a session or a fresh one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from picoauth.database import Statement
from picoauth.errors import AuthError, Conflict, Denied, Unavailable
from picoauth.events import SteppedUp
from picoauth.factors import Attemptee, Factor, Situation
from picoauth.flows import Accepted, Flow, Flows, Step, written
from picoauth.mint import GUARD, Login, Mint
from picoauth.problems import CROSS_SITE, FLOW_ENDED, MORE_NEEDED, START_OVER
from picoauth.proving import Proving
from picoauth.sessions import Session
from picoauth.sufficiency import Sufficiency, methods, second_at
from picoauth.users import User

if TYPE_CHECKING:
    from picoauth.auth import Auth


@dataclass(frozen=True)
class Proven:
    """A flow with enough proofs, those of this request among them, and the flow as it came."""

    flow: Flow
    user: User
    accepted: Sequence[Accepted]
    came: Flow

    def writes(self, login_at: int | None) -> list[Statement]:
        """What begins the write of its effect: the guard, then what the proofs write."""
        guard = Statement(GUARD, (login_at, self.user.id, self.flow.epoch), rows=1)
        return [guard, *written(self.accepted)]


class Logins:
    """Runs flows. The same steps serve logins and the fresh proof of a session."""

    def __init__(self, auth: Auth, factors: Mapping[str, Factor]) -> None:
        self.auth = auth
        self.proving = Proving(auth, factors)
        self.rule = Sufficiency(factors, auth.config.ignore_factors)
        self.flows = Flows(auth)
        self.mint = Mint(auth)

    async def begin(self, step: Step) -> dict[str, Any]:
        """Ask a factor for its challenge; answer it with a flow."""
        [(name, payload)] = step.payloads
        flow = await self.flows.resume(step.flow, step.session)
        user = await self.flows.user(flow)
        try:
            factor = self.proving.usable(flow, name)
            who = Attemptee(user=user) if user else await factor.identify(payload)
            claimed = None if user else who.user
            await self.proving.throttle(f"{name} begin", who, step.caller)
            situation = Situation(user=user, claimed=claimed, state=None, caller=step.caller)
            challenge = await factor.begin(situation, payload)
        except (AuthError, Unavailable) as refusal:
            raise await self.flows.again(flow.without_state(name), refusal) from refusal
        flow = replace(flow, states={**flow.states, name: challenge.state})
        return {"flow": await self.flows.keep(flow), "challenge": dict(challenge.public)}

    async def login(self, step: Step) -> dict[str, Any]:
        """Prove, and answer tokens. Raises AuthError: 401 with a `flow`, and `next` if more helps."""
        proven = await self.prove(step)
        flow = proven.flow
        login = Login(
            user=proven.user,
            factors=flow.factors,
            amr=methods(flow),
            caller=step.caller,
            delivery=flow.delivery,
        )
        try:
            await self.auth.check_login(login)
        except AuthError as refusal:
            who = Attemptee(user=proven.user)
            await self.proving.failed(who, flow.factors[-1], refusal, step.caller)
            raise
        second, writes = second_at(flow, self.rule), proven.writes(self.auth.now())
        try:
            answer = await self.mint.login(login, second, *writes)
        except (Conflict, Unavailable) as reason:
            raise await self.undone(proven, reason) from reason
        self.flows.tell(proven.accepted)
        return answer

    async def stepup(self, step: Step, session: Session) -> dict[str, Any]:
        """Prove afresh, and answer a new access token of the same session."""
        proven = await self.prove(replace(step, session=session))
        flow, now = proven.flow, self.auth.now()
        event = SteppedUp(
            at=now,
            user_id=session.user_id,
            session_id=session.id,
            factors=flow.factors,
            caller=step.caller,
        )

        def changed(current: Session) -> Session:
            second = second_at(flow, self.rule) or current.second_at
            amr = tuple(dict.fromkeys([*current.amr, *methods(flow)]))
            return replace(current, auth_time=now, second_at=second, amr=amr)

        answering = partial(self.auth.grants.access, proven.user)
        try:
            _, answer = await self.auth.credentials.change_session(
                session.id, changed, event, proven.writes(None), answering
            )
        except (Conflict, Unavailable) as reason:
            raise await self.undone(proven, reason) from reason
        self.flows.tell(proven.accepted)
        return answer

    async def prove(self, step: Step) -> Proven:
        """Take every payload of the request. Raises AuthError where proofs are missing or wrong."""
        flow = came = await self.flows.resume(step.flow, step.session)
        flow = replace(flow, delivery=step.delivery or flow.delivery)
        if flow.delivery != "token" and not step.same_site:  # or a stranger logs a victim in
            raise AuthError(CROSS_SITE)
        accepted: list[Accepted] = []
        for name, payload in step.payloads:
            user = await self.flows.user(flow)  # raises START_OVER, which hands out no flow
            try:
                flow, proof = await self.proving.proof(flow, user, name, payload, step.caller)
            except (AuthError, Unavailable) as refusal:
                left = self.lasting(flow.without_state(name), flow)
                raise await self.flows.again(left, refusal, accepted) from refusal
            accepted.append(proof)
        user = await self.flows.user(flow)
        if user is None:
            raise AuthError(FLOW_ENDED)
        await self.enough(flow, user, accepted)
        return Proven(flow, user, accepted, came)

    async def enough(self, flow: Flow, user: User, accepted: Sequence[Accepted]) -> None:
        """Raises AuthError with the flow and the factors that would complete it."""
        enrolments = await self.auth.users.enrolments(user.id)
        if not self.rule.complete(flow, enrolments):
            secret = await self.flows.keep(flow, accepted)
            raise AuthError(MORE_NEEDED, flow=secret, next=self.rule.next(flow, enrolments))

    async def undone(
        self, proven: Proven, reason: Conflict | Unavailable
    ) -> AuthError | Unavailable:
        """What a client hears whose proofs were enough, but whose write came to nothing."""
        flow = proven.flow
        if isinstance(reason, Unavailable):  # nothing was written: the flow goes on as it came
            came = replace(proven.came, states=flow.states)
            return await self.flows.again(self.lasting(came, proven.came), reason)
        if reason.index == 0:  # the guard
            return Denied(START_OVER)
        return await self.flows.spent(flow, proven.accepted, reason.index - 1)

    def lasting(self, flow: Flow, before: Flow) -> Flow:
        """The flow with the challenges that outlive a look; their factors count the tries."""
        factors = self.proving.factors
        kept = {
            name: state
            for name, state in before.states.items()
            if name in factors and factors[name].lasting
        }
        return replace(flow, states={**flow.states, **kept})
