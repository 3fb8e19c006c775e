"""Addresses of users: set, verified, changed and removed, as a picoauth plugin."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar

from picoauth import (
    Addition,
    Auth,
    BackupRestored,
    Check,
    Denied,
    Draft,
    Event,
    Identifier,
    Login,
    Plugin,
    Route,
    Statement,
    Unavailable,
    User,
    UserRegistered,
    hookimpl,
    problems,
    replies,
)
from picoauth_email.addresses import Addresses, first
from picoauth_email.pending import MIGRATIONS, VOID_CODES
from picoauth_email.shapes import (
    EMAIL_UNVERIFIED,
    EMAIL_VERIFIED,
    WRONG_CODE,
    Asked,
    Cancel,
    EmailSettings,
    IdentityAndAddress,
    NewAddress,
    Proof,
    TokensAndAddress,
    Waiting,
    WaitingProof,
)

HASTE = 1.5
"""Seconds for the database; the kernel gives a hook that decides two, and then refuses."""
WITHOUT = """
    select count(*) from users u where u.disabled_at is null and not exists
        (select 1 from identifiers i
          where i.user_id = u.id and i.kind = 'email' and i.verified_at is not null)
"""


class EmailPlugin(Plugin[EmailSettings]):
    """Routes and tables of addresses, and the mails about them."""

    needs: ClassVar[Sequence[str]] = ("mailer",)

    def __init__(self, auth: Auth, name: str, settings: EmailSettings) -> None:
        super().__init__(auth, name, settings)
        self.addresses = Addresses(auth, self)

    @hookimpl
    def migrations(self) -> Sequence[str]:
        return MIGRATIONS

    @hookimpl
    def routes(self) -> Sequence[Route]:
        def route(path: str, handler: Any, policy: str, **more: Any) -> Route:
            settings = {"method": "POST", "path": f"/auth/email{path}", **more}
            return Route(handler=handler, policy=policy, **settings)

        do, asked = self.addresses, {"status": 202, "answer": Asked}
        new = (problems.INVALID_EMAIL, EMAIL_VERIFIED, problems.NOT_FOUND, problems.START_OVER)
        late = (problems.NOT_FOUND, problems.LINK_EXPIRED)
        proven = (*late, WRONG_CODE, problems.START_OVER)
        handed: dict[str, Any] = {
            "answer": TokensAndAddress | IdentityAndAddress,
            "problems": (*proven, problems.REFUSED),
        }
        ended = (problems.FLOW_ENDED, *proven)
        always = [
            route("", do.set, "fresh", body=NewAddress, problems=new, **asked),
            route("", do.remove, "fresh", method="DELETE", **{**handed, "answer": replies.Handed}),
            route("/resend", do.resend, "session", problems=(problems.NOT_FOUND,), **asked),
            route("/verify", do.verify, "session", body=Proof, **handed),
            route("/verify/{token}", do.look, "public", method="GET", status=204, problems=late),
            route("/cancel", do.cancel, "public", body=Cancel, status=204, problems=late),
        ]
        waiting = [
            route("/unverified", do.ask, "flow", body=Waiting, problems=(*new, *ended), **asked),
            route(
                "/unverified/verify",
                do.verify_login,
                "flow",
                body=WaitingProof,
                status=204,
                problems=ended,
            ),
        ]
        return [*always, *(waiting if self.settings.require_verified else ())]

    @hookimpl
    def checks(self) -> Sequence[Check]:
        return [Check("email-unverified", self.unverified, live=False, level="advice")]

    @hookimpl
    async def check_registration(self, draft: Draft) -> None:
        address = waiting(draft.identifiers)
        if address is not None:
            async with in_time():
                await self.addresses.mails.expect(draft.user_id, address)

    @hookimpl
    def record(self, event: Event) -> Addition | None:
        """An account that is made with an address gets its mail, in the same write."""
        if isinstance(event, BackupRestored):  # which of them were used since is not known
            return Addition([Statement(VOID_CODES)])
        if not isinstance(event, UserRegistered) or event.imported:
            return None
        address = waiting(event.identifiers)
        if address is None:
            return None
        user = User(str(event.user_id), "", event.locale, event.at, None, 0, None)
        return Addition(self.addresses.mails.welcoming(user, address, event.caller))

    @hookimpl
    async def check_login(self, login: Login) -> None:
        """Who proved everything but the address gets a ticket for that, and no session."""
        if not self.settings.require_verified:
            return
        async with in_time():
            found = await self.auth.users.identifiers(login.user.id)
            if first(found, verified=True) is not None:
                return
            address, ticket = waiting(found), await self.addresses.pending.waiting(login.user)
        raise Denied(EMAIL_UNVERIFIED, ticket=ticket, address=address and address.display)

    @hookimpl
    async def export(self, user: User) -> Mapping[str, Any]:
        return await self.addresses.pending.known(user.id)

    async def unverified(self) -> str | None:
        """Who would be surprised at the next login."""
        if not self.settings.require_verified:
            return None
        [[count]] = await self.auth.database.read(WITHOUT, slow=True)
        if not count:
            return None
        return (
            f"Users without a verified address ({count}) have to verify one at their next login, "
            "since require_verified in [email] is on: see that your page offers it."
        )


@asynccontextmanager
async def in_time() -> AsyncIterator[None]:
    """Where a hook decides, a database that does not answer is no refusal: that is to try again."""
    try:
        async with asyncio.timeout(HASTE):
            yield
    except (TimeoutError, Unavailable) as error:
        raise Denied(problems.UNAVAILABLE, headers={"Retry-After": "1"}) from error


def waiting(found: Sequence[Identifier]) -> Identifier | None:
    """The address that is not verified yet."""
    return first(found, verified=False)
