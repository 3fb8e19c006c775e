"""One proof: throttled, verified by its factor, and seen to be of the right user."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from picoauth.database import Statement
from picoauth.errors import AuthError, Denied, Unavailable
from picoauth.events import Caller, LoginFailed
from picoauth.factors import Attemptee, Factor, Payload, Proof, Situation
from picoauth.flows import Accepted, Flow
from picoauth.problems import FACTOR_OUT_OF_PLACE, UNKNOWN_FACTOR
from picoauth.throttle import Attempt
from picoauth.users import User

if TYPE_CHECKING:
    from picoauth.auth import Auth


ROUTE = "/auth/login"
USED = "update enrolments set last_used_at = ? where id = ?"


class Proving:
    """Asks factors for proofs. Whatever entrance asks, a factor's failures count together."""

    def __init__(self, auth: Auth, factors: Mapping[str, Factor]) -> None:
        self.auth = auth
        self.factors = factors

    def usable(self, flow: Flow, name: str) -> Factor:
        """The factor, if it is one and may be the flow's next. Raises AuthError."""
        factor = self.factors.get(name)
        if factor is None:
            raise AuthError(UNKNOWN_FACTOR)
        if not (factor.starts or flow.done or flow.session_id) or name in flow.factors:
            raise AuthError(FACTOR_OUT_OF_PLACE)
        return factor

    async def proof(
        self, flow: Flow, user: User | None, name: str, payload: Payload, caller: Caller
    ) -> tuple[Flow, Accepted]:
        """The flow with one proof more, and what that writes. Raises AuthError, Unavailable."""
        factor = self.usable(flow, name)
        who = Attemptee(user=user) if user else await factor.identify(payload)
        state = flow.states.get(name)
        situation = Situation(user=user, claimed=who.user, state=state, caller=caller)
        try:
            attempt = await self.throttle(name, who, caller)
            proof = await self.verified(factor, situation, payload, attempt)
            if proof.user.disabled_at is not None or (user and user.id != proof.user.id):
                raise Denied(factor.refused)
        except AuthError as refusal:
            await self.failed(who, name, refusal, caller)
            raise
        return flow.proven(factor, proof, self.auth.now()), self.accepted(flow, name, proof)

    async def throttle(self, name: str, who: Attemptee, caller: Caller) -> Attempt:
        """Raises AuthError (429) where the account was tried too often, before any costly work."""
        attempt = Attempt(ROUTE, caller.address, self.attempted(who), name)
        await self.auth.limiter.attempt(attempt)
        return attempt

    async def verified(
        self, factor: Factor, situation: Situation, payload: Payload, attempt: Attempt
    ) -> Proof:
        """What nobody looked at is no failure: else a flood of strangers would delay the owner."""
        try:
            return await factor.verify(situation, payload)
        except Unavailable:
            with suppress(Unavailable):
                await self.auth.database.write(*self.auth.limiter.withdrawn(attempt))
            raise

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

    def accepted(self, flow: Flow, name: str, proof: Proof) -> Accepted:
        """What a proof writes: its own statements, last use, failures forgiven, and its events."""
        forgiven = self.auth.limiter.succeeded(Attempt(ROUTE, None, proof.user.id, name))
        used = Statement(USED, (self.auth.now(), proof.enrolment_id))
        effects = [*proof.statements, *([used] if proof.enrolment_id else []), *forgiven]
        events = [self.auth.events.prepared(event) for event in proof.events]
        recorded = [statement for prepared in events for statement in prepared.statements]
        return Accepted(flow, name, [*effects, *recorded], events)
