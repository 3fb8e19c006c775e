"""One proof: throttled, verified by its factor, and seen to be of the right user."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from picoauth.callers import Caller
from picoauth.database import Statement
from picoauth.errors import AuthError, Denied, Unavailable
from picoauth.events import LoginFailed
from picoauth.factors import Attemptee, Factor, Payload, Proof, Situation
from picoauth.flows import Accepted, Flow
from picoauth.looks import Look, looked, looking
from picoauth.problems import FACTOR_OUT_OF_PLACE, UNKNOWN_FACTOR
from picoauth.throttle import Attempt
from picoauth.users import User

if TYPE_CHECKING:
    from picoauth.auth import Auth


ROUTE = "/auth/login"
# An enrolment that is not in force, or not the user's, proves nothing, whatever its plugin says.
USED = """
    update enrolments set last_used_at = ?
     where id = ? and user_id = ? and confirmed_at is not null
"""


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
        try:
            attempt, look = await self.tried(name, who, caller, factor.look(who.whose))
            who = replace(who, user=who.user or look.user, name=None)
            state, seen = flow.states.get(name), look.rows
            situation = Situation(
                user=user, claimed=who.user, state=state, caller=caller, seen=seen
            )
            proof = await self.verified(factor, situation, payload, attempt)
            if proof.user.disabled_at is not None or (user and user.id != proof.user.id):
                raise Denied(factor.refused)
        except AuthError as refusal:
            await self.failed(who, name, refusal, caller)
            raise
        # What was seen of another user, or of an older epoch, says nothing of this one.
        accepted = self.accepted(flow, name, proof, look if proof.user == look.user else None)
        return flow.proven(factor, proof, self.auth.now()), accepted

    async def tried(
        self, name: str, who: Attemptee, caller: Caller, more: Statement | None = None
    ) -> tuple[Attempt, Look]:
        """Count the attempt before any costly work, and look in the same write at whom it is at.

        Raises AuthError (429) where the account was tried too often.
        """
        attempt = Attempt(ROUTE, caller.address, self.attempted(who), name, who.name)
        asked = [*looking(who.whose), *([more] if more else [])]
        return attempt, looked(await self.auth.limiter.attempt(attempt, *asked))

    async def verified(
        self, factor: Factor, situation: Situation, payload: Payload, attempt: Attempt
    ) -> Proof:
        """What nobody looked at is no failure: else a flood of strangers would delay the owner."""
        try:
            return await factor.verify(situation, payload)
        except Unavailable as error:
            if not error.counts:
                with suppress(Unavailable):
                    await self.auth.database.write(*self.auth.limiter.withdrawn(attempt))
            raise

    def attempted(self, who: Attemptee) -> str | None:
        """The account that is tried; a name, which may be nobody's, as its keyed hash (L-2)."""
        if who.user is not None:
            return who.user.id
        named = who.typed or who.name is not None
        return self.auth.secrets.digests("typed", who.typed)[0].hex() if named else None

    async def failed(self, who: Attemptee, name: str, refusal: AuthError, caller: Caller) -> None:
        if who.name is not None:  # a try too many, which looked at nobody
            who = replace(who, user=await self.auth.users.who(who.name))
        event = LoginFailed(
            at=self.auth.now(),
            user_id=who.user.id if who.user else None,
            factor=name,
            code=refusal.problem.code,
            typed=None if who.user else self.attempted(who),
            caller=caller,
        )
        await self.auth.events.commit(event)

    def accepted(self, flow: Flow, name: str, proof: Proof, look: Look | None) -> Accepted:
        """What a proof writes: its own statements, last use, failures forgiven, and its events."""
        forgiven = self.auth.limiter.succeeded(Attempt(ROUTE, None, proof.user.id, name))
        args = (self.auth.now(), proof.enrolment_id, proof.user.id)
        used = [Statement(USED, args, rows=1)] if proof.enrolment_id else []
        effects = [*used, *proof.statements, *forgiven]  # which may take the enrolment away
        events = [self.auth.events.prepared(event) for event in proof.events]
        recorded = [
            statement
            for prepared in events
            for statement in (*(one.statement for one in prepared.conditions), *prepared.statements)
        ]
        return Accepted(flow, name, [*effects, *recorded], events, proof.user, look)
