"""Changes in what proves a user: the epoch rises, other sessions end, this one gets new tokens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from picoauth.callers import Caller
from picoauth.changes import RISE, TRIES, again, ended, heed
from picoauth.database import Statement
from picoauth.drafts import Enrolment
from picoauth.errors import AuthError, Conflict, Denied, Problem
from picoauth.events import CredentialChanged, Event, FactorConfirmed, FactorRemoved
from picoauth.problems import LAST_FACTOR, NOT_FOUND, SESSION_ENDED, START_OVER
from picoauth.sessions import Session, renewed, undoing
from picoauth.users import User

if TYPE_CHECKING:
    from picoauth.auth import Auth


RISE_ENABLED = f"{RISE} and disabled_at is null and closed_at is null"
# Of a closed account, too: without a new password, or a verified address, its owner may not be
# able to log in and restore it.
RISE_BY_MAIL = f"{RISE} and disabled_at is null"

Answering = Callable[[Session], Awaitable[Mapping[str, Any]]]
"""What a client is to get for a session once it is changed."""


class Credentials:
    """What users do to their factors, each in the name of one of their sessions."""

    def __init__(self, auth: Auth) -> None:
        self.auth = auth

    async def change_session(
        self,
        session_id: str,
        change: Callable[[Session], Session],
        event: Event,
        statements: Sequence[Statement],
        answering: Answering,
    ) -> tuple[Session, dict[str, Any]]:
        """Write a changed session with its reason; again where a refresh came between.

        The answer is made before the write: what fails in it leaves nothing changed.
        Raises Denied if the session ended, and Conflict for `statements`.
        """
        for _ in range(TRIES):
            current = await self.session(session_id)
            changed = self.auth.cookies.renewed(change(current), current)
            answer = await answering(changed)
            try:
                changing = await self.auth.sessions.change(changed, current.generation)
            except Conflict:  # of a store that acts by itself
                continue
            try:
                async with undoing(self.auth.sessions, changed, current):
                    replies = await self.auth.events.commit(event, *statements, *changing)
            except Conflict as conflict:
                if conflict.index < len(statements):
                    raise
            else:
                self.auth.cookies.hand(changed)
                return changed, {**answer, **replies}
        raise Denied(START_OVER)

    async def session(self, session_id: str) -> Session:
        """The session as it is stored. Raises Denied if it has ended."""
        session = await self.auth.sessions.get(session_id)
        if session is None or not session.alive(self.auth.now()):
            raise Denied(SESSION_ENDED)
        return session

    async def change_credential(
        self, session_id: str, factor: str, statements: Sequence[Statement], caller: Caller
    ) -> dict[str, Any]:
        """Replace a credential: the epoch rises, other sessions end, this one gets new tokens."""
        user = await self.owner(session_id)
        event = CredentialChanged(at=self.auth.now(), user_id=user.id, factor=factor, caller=caller)
        return await self.change_proofs(session_id, user, event, statements)

    async def reset_credential(
        self, user: User, factor: str, statements: Sequence[Statement], caller: Caller
    ) -> dict[str, Any]:
        """Replace a credential for a user who is not logged in: every session ends.

        Answers the `record` replies. Raises Denied if the account changed since the user
        was read, and Conflict for `statements`.
        """
        event = CredentialChanged(
            at=self.auth.now(), user_id=user.id, factor=factor, reset=True, caller=caller
        )
        rise = Statement(RISE_BY_MAIL, (user.id, user.epoch), rows=1)
        ending = await self.auth.sessions.end_all(user.id, keep=None, below_epoch=user.epoch + 1)
        try:
            return await ended(self.auth, event, *statements, rise, *ending)
        except Conflict as conflict:
            if conflict.index < len(statements):
                raise
            raise Denied(START_OVER) from conflict

    async def owner(self, session_id: str) -> User:
        """The user of a session, whose epoch guards the change."""
        session = await self.session(session_id)
        return await self.auth.users.require(session.user_id)

    async def change_proofs(
        self,
        session_id: str,
        user: User,
        event: Event,
        statements: Sequence[Statement],
        change: Callable[[Session], Session] = lambda session: session,
        *,
        others: bool = True,
        refused: Problem = START_OVER,
    ) -> dict[str, Any]:
        """Write a change in what proves a user: the epoch rises, and all `others` of its sessions end.

        So does that of which this one is a sibling, which goes on as a login of its own.
        Never tried again under another epoch: what was fresh enough before need not be after.
        Raises AuthError: `refused` where it is `statements` that come to nothing.
        """
        ending = await self.auth.accounts.ending(user, session_id) if others else ()
        rise = Statement(RISE_ENABLED, (user.id, user.epoch), rows=1)
        now = self.auth.now()

        def changed(session: Session) -> Session:
            alone = replace(change(session), parent_id=None)
            return renewed(alone, now, self.idle_end(session, now))

        try:
            _, answer = await self.change_session(
                session_id,
                changed,
                event,
                [*statements, rise, *ending],
                partial(self.auth.grants.session, user),
            )
        except Conflict as conflict:
            ours = conflict.index < len(statements)
            raise Denied(refused if ours else START_OVER) from conflict
        await heed(self.auth)
        return answer

    def idle_end(self, session: Session, now: int) -> int:
        idle_at, _ = self.auth.config.ends(now, session.delivery)
        return idle_at

    async def enrol(
        self, session_id: str, enrolment: Enrolment, statements: Sequence[Statement], caller: Caller
    ) -> dict[str, Any]:
        """Give a user a factor that was proven in the same breath."""
        enrolling = self.auth.users.enrolling(enrolment)
        return await self.confirmed(session_id, enrolment, [enrolling, *statements], caller)

    async def confirm(
        self, session_id: str, enrolment: Enrolment, statements: Sequence[Statement], caller: Caller
    ) -> dict[str, Any]:
        """Put an enrolment in force that was written unconfirmed before."""
        sql = "update enrolments set confirmed_at = ? where id = ? and user_id = ? and confirmed_at is null"
        confirming = Statement(sql, (self.auth.now(), enrolment.id, enrolment.user_id), rows=1)
        return await self.confirmed(session_id, enrolment, [confirming, *statements], caller)

    async def confirmed(
        self, session_id: str, enrolment: Enrolment, statements: Sequence[Statement], caller: Caller
    ) -> dict[str, Any]:
        user = await self.owner(session_id)
        if enrolment.user_id != user.id:  # a fresh proof is one for the own account (W-7)
            raise AuthError(NOT_FOUND)
        factor, now = self.auth.factors[enrolment.factor], self.auth.now()
        demanding = factor.second and not factor.fallback
        before = self.auth.logins.rule.demands(await self.auth.users.enrolments(user.id))
        event = FactorConfirmed(
            at=now,
            user_id=user.id,
            factor=factor.name,
            enrolment_id=enrolment.id,
            first=demanding and not before,
            caller=caller,
        )

        def proven(session: Session) -> Session:
            return replace(session, second_at=now) if demanding else session

        return await self.change_proofs(session_id, user, event, statements, proven)

    async def remove_factor(
        self, session_id: str, enrolment_id: str, caller: Caller
    ) -> dict[str, Any]:
        """Raises AuthError where nobody could log in without it."""
        user = await self.owner(session_id)
        enrolments = await self.auth.users.enrolments(user.id)
        gone = next((e for e in enrolments if e.id == enrolment_id), None)
        if gone is None:
            raise AuthError(NOT_FOUND)
        await self.check_not_last(gone, enrolments)
        event = removal(gone, self.auth.now(), caller)
        return await self.change_proofs(session_id, user, event, [removing(gone)])

    async def withdraw_factor(self, user_id: str, enrolment_id: str, caller: Caller) -> None:
        """Take a factor from a user who lost it, for an administrator: every session ends.

        Also the last one: who has none left needs an invitation, or a reset. Raises AuthError (404).
        """

        async def attempt() -> None:
            user = await self.auth.users.require(user_id)
            found = await self.auth.users.enrolments(user.id)
            gone = next((e for e in found if e.id == enrolment_id), None)
            if gone is None:
                raise AuthError(NOT_FOUND)
            event = removal(gone, self.auth.now(), caller)
            rise = Statement(RISE, (user.id, user.epoch), rows=1)
            ending = await self.auth.accounts.ending(user)
            await ended(self.auth, event, removing(gone), rise, *ending)

        await again(attempt)

    async def check_not_last(self, gone: Enrolment, enrolments: Sequence[Enrolment]) -> None:
        """Raises AuthError where what is left would not be enough for a login any more."""
        left, rule = [e for e in enrolments if e != gone], self.auth.logins.rule
        if await rule.possible(enrolments) and not await rule.possible(left):
            raise AuthError(LAST_FACTOR)

    async def rename_factor(self, user_id: str, enrolment_id: str, label: str) -> None:
        """Raises AuthError where the user has no such factor."""
        sql = "update enrolments set label = ? where id = ? and user_id = ?"
        renaming = Statement(sql, (label, enrolment_id, user_id), rows=1)
        try:
            await self.auth.database.write(renaming)
        except Conflict as conflict:
            raise AuthError(NOT_FOUND) from conflict


def removal(gone: Enrolment, now: int, caller: Caller) -> FactorRemoved:
    return FactorRemoved(
        at=now, user_id=gone.user_id, factor=gone.factor, enrolment_id=gone.id, caller=caller
    )


def removing(gone: Enrolment) -> Statement:
    sql = "delete from enrolments where id = ? and user_id = ?"
    return Statement(sql, (gone.id, gone.user_id), rows=1)
