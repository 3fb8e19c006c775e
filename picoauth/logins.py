"""The login: factors turn into proofs, proofs into one session, made here and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from picoauth.database import Statement
from picoauth.errors import AuthError, Conflict, Denied, Unavailable
from picoauth.events import Caller, Event, LoginCompleted, LoginFailed, SteppedUp
from picoauth.factors import Attemptee, Factor, Payload, Proof, Situation
from picoauth.flows import Flow, Flows, Step
from picoauth.problems import (
    FACTOR_OUT_OF_PLACE,
    FLOW_ENDED,
    MORE_NEEDED,
    START_OVER,
    UNKNOWN_FACTOR,
)
from picoauth.sessions import Session
from picoauth.sufficiency import Sufficiency, methods, second_at
from picoauth.throttle import Attempt
from picoauth.users import User

if TYPE_CHECKING:
    from picoauth.auth import Auth


ROUTE = "/auth/login"
# A login that raced with a password change, a new factor or a disabling comes to nothing.
GUARD = "update users set last_login_at = {} where id = ? and epoch = ? and disabled_at is null"
USED = "update enrolments set last_used_at = ? where id = ?"


@dataclass(frozen=True, kw_only=True)
class Login:
    """A login whose factors all passed, as `check_login` sees it."""

    user: User
    factors: tuple[str, ...]
    amr: tuple[str, ...]
    caller: Caller


@dataclass(frozen=True)
class Proven:
    """A flow with new proofs, what they write, and the flow as it came."""

    flow: Flow
    user: User
    statements: Sequence[Statement]
    before: Flow


class Logins:
    """Runs flows. The same steps serve logins and the fresh proof of a session."""

    def __init__(self, auth: Auth, factors: Mapping[str, Factor]) -> None:
        self.auth = auth
        self.factors = factors
        self.rule = Sufficiency(factors)
        self.flows = Flows(auth)

    async def begin(self, step: Step) -> dict[str, Any]:
        """Ask a factor for its challenge; answer it with a flow."""
        [(name, payload)] = step.payloads
        flow = await self.flows.resume(step.flow, step.session)
        user = await self.flows.user(flow)
        try:
            factor = self.usable(flow, name)
            claimed = None if user else (await factor.identify(payload)).user
            situation = Situation(user=user, claimed=claimed, state=None, caller=step.caller)
            challenge = await factor.begin(situation, payload)
        except (AuthError, Unavailable) as refusal:
            raise await self.flows.again(flow, name, refusal) from refusal
        flow = replace(flow, states={**flow.states, name: challenge.state})
        return {"flow": await self.flows.keep(flow), "challenge": dict(challenge.public)}

    async def login(self, step: Step) -> dict[str, Any]:
        """Prove, and answer tokens. Raises AuthError: 401 with a `flow`, and `next` if more helps."""
        proven = await self.prove(step)
        flow = proven.flow
        login = Login(user=proven.user, factors=flow.factors, amr=methods(flow), caller=step.caller)
        await self.auth.check_login(login)
        return await self.mint(proven, login)

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

        guard = GUARD.format("last_login_at"), (proven.user.id, flow.epoch)
        statements = [*proven.statements, Statement(*guard, rows=1)]
        try:
            current, replies = await self.auth.credentials.change_session(
                session.id, changed, event, statements
            )
        except Conflict as conflict:
            raise await self.spent(proven, conflict) from conflict
        return {**await self.auth.access_for(proven.user, current), **replies}

    async def prove(self, step: Step) -> Proven:
        """Take every payload of the request. Raises AuthError where proofs are missing or wrong."""
        flow = before = await self.flows.resume(step.flow, step.session)
        statements: list[Statement] = []
        for name, payload in step.payloads:
            user = await self.flows.user(flow)  # raises START_OVER, which hands out no flow
            try:
                proof = await self.proof(flow, user, name, payload, step.caller)
            except (AuthError, Unavailable) as refusal:
                raise await self.flows.again(flow, name, refusal, *statements) from refusal
            flow = flow.proven(self.factors[name], proof, self.auth.now())
            statements += self.effects(name, proof)
        user = await self.flows.user(flow)
        if user is None:
            raise AuthError(FLOW_ENDED)
        proven = Proven(flow, user, statements, replace(before, states=flow.states))
        await self.enough(proven)
        return proven

    async def enough(self, proven: Proven) -> None:
        """Raises AuthError with the flow and the factors that would complete it."""
        flow = proven.flow
        enrolments = await self.auth.users.enrolments(proven.user.id)
        if self.rule.complete(flow, enrolments):
            return
        try:
            secret = await self.flows.keep(flow, *proven.statements)
        except Conflict as conflict:
            raise await self.spent(proven, conflict) from conflict
        raise AuthError(MORE_NEEDED, flow=secret, next=self.rule.next(flow, enrolments))

    async def spent(self, proven: Proven, conflict: Conflict) -> AuthError | Unavailable:
        """A proof was spent since it was looked at, or else the account changed."""
        if conflict.index >= len(proven.statements):
            return Denied(START_OVER)
        name = proven.flow.factors[-1]
        return await self.flows.again(proven.before, name, Denied(self.factors[name].refused))

    async def proof(
        self, flow: Flow, user: User | None, name: str, payload: Payload, caller: Caller
    ) -> Proof:
        """Throttle, verify, and see that the proof is of the flow's user."""
        factor = self.usable(flow, name)
        who = Attemptee(user=user) if user else await factor.identify(payload)
        attempt = Attempt(ROUTE, caller.address, self.attempted(who), name)
        situation = Situation(
            user=user, claimed=who.user, state=flow.states.get(name), caller=caller
        )
        try:
            await self.auth.limiter.attempt(attempt)
            proof = await factor.verify(situation, payload)
            if proof.user.disabled_at is not None or (user and user.id != proof.user.id):
                raise Denied(factor.refused)
        except AuthError as refusal:
            await self.failed(who, name, refusal, caller)
            raise
        return proof

    def attempted(self, who: Attemptee) -> str | None:
        """The account that is tried; a name that is nobody's only as its keyed hash (L-2)."""
        if who.user is not None:
            return who.user.id
        return self.auth.secrets.digests("typed", who.typed)[0].hex() if who.typed else None

    async def failed(self, who: Attemptee, name: str, refusal: AuthError, caller: Caller) -> None:
        event = LoginFailed(
            at=self.auth.now(),
            user_id=who.user.id if who.user else None,
            factor=name,
            code=refusal.problem.code,
            typed=None if who.user else self.attempted(who),
            caller=caller,
        )
        await self.auth.events.commit(event)

    def effects(self, name: str, proof: Proof) -> list[Statement]:
        """What a proof writes: its own statements, last use, and failures forgiven."""
        forgiven = self.auth.limiter.succeeded(Attempt(ROUTE, None, proof.user.id, name))
        used = Statement(USED, (self.auth.now(), proof.enrolment_id))
        return [*proof.statements, *([used] if proof.enrolment_id else []), *forgiven]

    async def mint(self, proven: Proven, login: Login) -> dict[str, Any]:
        """Make the session: the only place where sessions are made."""
        flow, user = proven.flow, proven.user
        session = self.session(flow, login)
        answer = await self.auth.tokens_for(user, session)
        event = LoginCompleted(
            at=session.created_at,
            user_id=user.id,
            session_id=session.id,
            factors=login.factors,
            caller=login.caller,
        )
        guard = GUARD.format("?"), (session.created_at, user.id, flow.epoch)
        made = await self.auth.sessions.put(session)
        try:
            replies = await self.commit(proven, event, Statement(*guard, rows=1), *made)
        except BaseException:  # a store outside the database takes the session back
            await self.auth.sessions.end(session.id)
            raise
        return {**answer, **replies}

    def session(self, flow: Flow, login: Login) -> Session:
        now, settings = self.auth.now(), self.auth.config.tokens
        return Session(
            id=self.auth.users.new_id(),
            user_id=login.user.id,
            epoch=login.user.epoch,
            generation=0,
            created_at=now,
            rotated_at=now,
            idle_at=now + min(settings.idle, settings.absolute),
            expires_at=now + settings.absolute,
            auth_time=now,
            second_at=second_at(flow, self.rule),
            amr=login.amr,
            address=login.caller.address,
            user_agent=(login.caller.user_agent or "")[:256] or None,
        )

    async def commit(self, proven: Proven, event: Event, *rest: Statement) -> dict[str, Any]:
        """Raises Denied: a proof was spent, or the account changed, since it was looked at."""
        try:
            return await self.auth.events.commit(event, *proven.statements, *rest)
        except Conflict as conflict:
            raise await self.spent(proven, conflict) from conflict

    def usable(self, flow: Flow, name: str) -> Factor:
        factor = self.factors.get(name)
        if factor is None:
            raise AuthError(UNKNOWN_FACTOR)
        if not (factor.starts or flow.done or flow.session_id) or name in flow.factors:
            raise AuthError(FACTOR_OUT_OF_PLACE)
        return factor
