"""The login: factors turn into proofs, and enough proofs into a session or a fresh one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from picoauth.callers import Caller
from picoauth.database import Statement
from picoauth.drafts import Enrolment
from picoauth.errors import AuthError, Conflict, Denied, Unavailable
from picoauth.events import SteppedUp, UserRestored
from picoauth.factors import Attemptee, Factor, Situation
from picoauth.flows import Accepted, Flow, Flows, Step, checked, written
from picoauth.looks import Look, looked, looking
from picoauth.mint import GUARD, RESTORE, Login, Mint
from picoauth.problems import ACCOUNT_CLOSED, CROSS_SITE, FLOW_ENDED, MORE_NEEDED, START_OVER
from picoauth.proving import Proving
from picoauth.sessions import Session
from picoauth.sufficiency import Sufficiency, afresh, methods, second_at
from picoauth.users import User
from picoauth.whose import Whose

if TYPE_CHECKING:
    from picoauth.auth import Auth


@dataclass(frozen=True)
class Proven:
    """A flow with enough proofs, those of this request among them, and the flow as it came."""

    flow: Flow
    user: User
    username: str | None
    accepted: Sequence[Accepted]
    came: Flow

    def writes(self, login_at: int | None, guard: str = GUARD) -> list[Statement]:
        """What begins the write of its effect: the guard, then what the proofs write."""
        guarding = Statement(guard, (login_at, self.user.id, self.flow.epoch), rows=1)
        return [guarding, *written(self.accepted)]


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
            _, look = await self.proving.tried(f"{name} begin", who, step.caller)
            claimed = None if user else who.user or look.user
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
        closed = proven.user.closed_at is not None
        if closed and not step.restore:
            raise await self.closed(proven, step.caller)
        second, now = second_at(flow, self.rule), self.auth.now()
        restored = UserRestored(at=now, user_id=proven.user.id, caller=step.caller)
        writes, also = (
            proven.writes(now, RESTORE if closed else GUARD),
            [restored] if closed else [],
        )
        try:
            answer = await self.mint.login(login, proven.username, second, *writes, also=also)
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
            amr = afresh(current.amr, flow)
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

    async def closed(self, proven: Proven, caller: Caller) -> AuthError:
        """The refusal of a closed account to its owner, who has proven to be that; others see none.

        Its flow keeps the proofs, so that to restore the account takes no other ones.
        """
        user = proven.user
        flow = await self.flows.keep(proven.flow, proven.accepted)
        refusal = AuthError(ACCOUNT_CLOSED, flow=flow, deleted_at=user.delete_at)
        factor = proven.flow.factors[-1]
        await self.proving.failed(Attemptee(user=user), factor, refusal, caller)
        return refusal

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
        try:
            look = await self.known(flow, accepted)
        except Unavailable as reason:
            raise await self.unwritten(flow, came, reason) from reason
        user = checked(flow, look.user)
        await self.enough(flow, look.enrolments, accepted)
        return Proven(flow, user, look.username, accepted, came)

    async def known(self, flow: Flow, accepted: Sequence[Accepted]) -> Look:
        """Who it is, and what is enrolled; the guard sees to it that both still hold at the end."""
        if accepted and accepted[-1].look is not None:
            return accepted[-1].look
        if flow.user_id is None:
            raise AuthError(FLOW_ENDED)
        return looked(await self.auth.database.write(*looking(Whose.of(flow.user_id))))

    async def enough(
        self, flow: Flow, enrolments: Sequence[Enrolment], accepted: Sequence[Accepted]
    ) -> None:
        """Raises AuthError with the flow and the factors that would complete it."""
        if not self.rule.complete(flow, enrolments):
            secret = await self.flows.keep(flow, accepted)
            raise AuthError(MORE_NEEDED, flow=secret, next=self.rule.next(flow, enrolments))

    async def undone(
        self, proven: Proven, reason: Conflict | Unavailable
    ) -> AuthError | Unavailable:
        """What a client hears whose proofs were enough, but whose write came to nothing."""
        flow = proven.flow
        if isinstance(reason, Unavailable):
            return await self.unwritten(flow, proven.came, reason)
        if reason.index == 0:  # the guard
            return Denied(START_OVER)
        return await self.flows.spent(flow, proven.accepted, reason.index - 1)

    async def unwritten(
        self, flow: Flow, came: Flow, reason: Unavailable
    ) -> AuthError | Unavailable:
        """What a client hears where nothing was written: its flow goes on as it came."""
        return await self.flows.again(self.lasting(replace(came, states=flow.states), came), reason)

    def lasting(self, flow: Flow, before: Flow) -> Flow:
        """The flow with the challenges that outlive a look; their factors count the tries."""
        factors = self.proving.factors
        kept = {
            name: state
            for name, state in before.states.items()
            if name in factors and factors[name].lasting
        }
        return replace(flow, states={**flow.states, **kept})
