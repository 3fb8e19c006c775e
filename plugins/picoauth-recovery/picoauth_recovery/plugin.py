"""Recovery codes as a picoauth plugin: made with the first second factor, and anew when asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from picoauth import (
    Addition,
    Auth,
    AuthError,
    BackupRestored,
    Check,
    Event,
    Factor,
    FactorConfirmed,
    FactorRemoved,
    NoSettings,
    Plugin,
    Problem,
    Reply,
    Request,
    Route,
    Statement,
    User,
    UserRegistered,
    described,
    hookimpl,
    problems,
    replies,
)
from picoauth_recovery.factor import RecoveryCodesMade, RecoveryFactor
from picoauth_recovery.sets import FACTOR, MIGRATIONS, VOID_ALL, Left, Sets

NO_SECOND_FACTOR = Problem(
    409, "no_second_factor", "Recovery codes are for a second factor: add one first."
)
CODES = described("The new codes; nobody can show them again.", example=["7c0k-9mwe-…"])


@replies.shape
class TokensAndCodes(replies.Tokens):
    """New tokens, and new codes."""

    codes: tuple[str, ...] = CODES


@replies.shape
class IdentityAndCodes(replies.Identity):
    """Who is logged in, and new codes."""

    codes: tuple[str, ...] = CODES


class RecoveryPlugin(Plugin[NoSettings]):
    """The factor `recovery`, its routes and its table."""

    def __init__(self, auth: Auth, name: str, settings: NoSettings) -> None:
        super().__init__(auth, name, settings)
        self.sets = Sets(auth)

    @hookimpl
    def migrations(self) -> Sequence[str]:
        return MIGRATIONS

    @hookimpl
    def factors(self) -> Sequence[Factor]:
        return [RecoveryFactor(self.auth, self.sets)]

    @hookimpl
    def routes(self) -> Sequence[Route]:
        path = "/auth/recovery"
        left = Route(method="GET", path=path, handler=self.left, policy="session", answer=Left)
        make = Route(
            method="POST",
            path=path,
            handler=self.make,
            policy="fresh",
            status=201,
            answer=TokensAndCodes | IdentityAndCodes,
            problems=(NO_SECOND_FACTOR, problems.START_OVER, problems.NOT_FOUND, problems.REFUSED),
        )
        return [left, make]

    @hookimpl
    def checks(self) -> Sequence[Check]:
        return [Check("recovery-codes", self.lacking, live=False, level="advice")]

    @hookimpl
    def record(self, event: Event) -> Addition | None:
        """The first second factor comes with codes, and the last one takes them along."""
        if self.begins(event):
            codes, statements = self.sets.making(str(event.user_id))
            return Addition(statements, {"codes": codes})
        if isinstance(event, FactorRemoved):
            return Addition([self.sets.voiding(str(event.user_id))])
        if isinstance(event, BackupRestored):  # which of them were used since is not known
            return Addition([Statement(VOID_ALL)])
        return None

    def begins(self, event: Event) -> bool:
        """Whether the user has a second factor from now on, and had none before."""
        if isinstance(event, UserRegistered):
            asked = not event.imported  # else nobody would see the codes
            return asked and any(map(self.auth.logins.rule.demanding, event.factors))
        return isinstance(event, FactorConfirmed) and event.first

    @hookimpl
    async def export(self, user: User) -> Mapping[str, Any]:
        return asdict(await self.sets.left(user.id))

    async def left(self, request: Request) -> Reply:
        """How many codes are left, and when they were made."""
        return Reply(asdict(await self.sets.left(request.access.user_id)))

    async def make(self, request: Request) -> Reply:
        """Make new codes: the older ones are void, other sessions end, this one gets new tokens."""
        session_id = request.access.session_id
        user = await self.auth.credentials.owner(session_id)  # its epoch guards what is read next
        enrolments = await self.auth.users.enrolments(user.id)
        if not self.auth.logins.rule.demands(enrolments):
            raise AuthError(NO_SECOND_FACTOR)
        codes, statements = self.sets.making(user.id)
        event = RecoveryCodesMade(
            at=self.auth.now(), user_id=user.id, factor=FACTOR, caller=request.caller
        )
        answer = await self.auth.credentials.change_proofs(session_id, user, event, statements)
        return Reply({**answer, "codes": codes}, 201)

    async def lacking(self) -> str | None:
        """The doctor's look at who would be locked out with a lost phone."""
        count = await self.sets.lacking()
        if not count:
            return None
        return (
            f"Users who have a second factor and no recovery codes ({count}) are locked out once "
            "they lose it: let your application offer them POST /auth/recovery."
        )
