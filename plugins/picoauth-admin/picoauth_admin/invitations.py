"""The factor `invitation`: a link, good once, that lets a user in who has no credential yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from picoauth import (
    Attemptee,
    Auth,
    AuthError,
    Caller,
    Conflict,
    Denied,
    Factor,
    Identifier,
    IdentifierVerified,
    Link,
    Payload,
    Plugin,
    Problem,
    Proof,
    Situation,
    Statement,
    Ticket,
    User,
    text_of,
)
from picoauth_admin.events import InvitationSent

FACTOR = "invitation"
"""The factor, and the purpose of its tickets."""

NO_ADDRESS = Problem(409, "no_address", "This user has no address that a mail may go to.")
NOT_VERIFIED = Problem(
    409, "no_address", "This user has no verified address: give the user one first."
)
NO_MAILER = Problem(409, "no_mailer", "No listed plugin delivers mail.")
USER_DISABLED = Problem(409, "user_disabled", "This user is disabled: enable it first.")
LOCAL_ONLY = Problem(403, "local_only", "A link is shown over the socket for administration alone.")
REFUSALS = (NO_ADDRESS, NO_MAILER, USER_DISABLED, LOCAL_ONLY)

# As long as the invitation is good; and of two accounts with one address one verifies it.
VERIFY = """
    update identifiers set verified_at = ?
     where user_id = ? and kind = 'email' and value = ? and verified_at is null
       and exists (select 1 from users where id = ? and epoch = ? and disabled_at is null)
       and exists (select 1 from tickets t where t.user_id = identifiers.user_id
                      and t.purpose = ? and t.expires_at > ?)
"""


@dataclass(frozen=True)
class Invitation:
    """One that was made. The link is a secret, and told to whoever may see it."""

    link: Link
    expires_at: int
    address: Identifier | None
    """Where it was mailed to; None for one that is shown."""


class Invitations:
    """Makes them, and finds whose they are."""

    def __init__(self, auth: Auth, plugin: Plugin[Any]) -> None:
        self.auth = auth
        self.plugin = plugin
        self.settings = plugin.settings

    async def mail(self, user: User, caller: Caller) -> Invitation:
        """Send one to the user's address. Raises AuthError (409)."""
        if self.auth.mailer is None:
            raise AuthError(NO_MAILER)
        found = [i for i in await self.auth.users.identifiers(user.id) if i.kind == "email"]
        address = min(found, key=lambda one: not one.verified, default=None)
        if address is None:
            raise AuthError(NO_ADDRESS)
        return await self.make(user, address, caller)

    async def show(self, user: User, caller: Caller) -> Invitation:
        """One for the administrator to hand over: it proves no address. Raises AuthError (409)."""
        return await self.make(user, None, caller)

    async def make(self, user: User, address: Identifier | None, caller: Caller) -> Invitation:
        """Bound to the user, to what proves the user, and to the address; voids earlier ones."""
        if user.disabled_at is not None:
            raise AuthError(USER_DISABLED)
        now = self.auth.now()
        end = now + self.settings.invitation_life
        data = {"epoch": user.epoch, "address": address.value if address else None}
        token, issuing = self.auth.tickets.issue(FACTOR, data, expires_at=end, user_id=user.id)
        link = self.auth.mail.link(f"{self.settings.page}#{FACTOR}={token}")
        made = Invitation(link, end, address)
        event = InvitationSent(at=now, user_id=user.id, mailed=address is not None, caller=caller)
        voiding = self.auth.tickets.voiding(FACTOR, user.id)
        mailing = [self.mailing(user, address, made)] if address else []
        await self.auth.events.commit(event, voiding, issuing, *mailing)
        return made

    def mailing(self, user: User, address: Identifier, made: Invitation) -> Statement:
        """In the user's language: that of who asks is the administrator's."""
        values = {
            "site": self.auth.mail.link("/"),
            "name": user.name,
            "link": made.link,
            "hours": str(max(1, self.settings.invitation_life // 3600)),
        }
        return self.auth.mail.queuing(
            self.plugin, FACTOR, address.display, values, expires_at=made.expires_at, user=user
        )

    async def owner(self, token: str) -> tuple[User, Ticket] | None:
        """Whose it is, unless the account changed since (T-4)."""
        ticket = await self.auth.tickets.look(FACTOR, token)
        if ticket is None or ticket.user_id is None:
            return None
        user = await self.auth.users.get(ticket.user_id)
        return (user, ticket) if user and user.epoch == ticket.data["epoch"] else None

    async def verify(self, user: User, ticket: Ticket, caller: Caller) -> str:
        """What having the link proves, as `amr`: of a mail, that the user reads the address.

        That is so whatever becomes of the login, and other plugins may ask for it: so it is a
        write of its own. The epoch stays, or the invitation would be none any more.
        Raises Denied where the user has the address no longer, or somebody else verified it.
        """
        value = ticket.data["address"]
        if value is None:
            return "otp"
        if not await self.verified(user, value):
            now = self.auth.now()
            event = IdentifierVerified(
                at=now, user_id=user.id, kind="email", replaced=False, caller=caller
            )
            args = (now, user.id, value, user.id, user.epoch, FACTOR, now)
            try:
                await self.auth.events.commit(event, Statement(VERIFY, args, rows=1))
            except Conflict as conflict:
                if not await self.verified(user, value):  # by who came at the same time
                    raise Denied(InvitationFactor.refused) from conflict
        return "email"

    async def verified(self, user: User, value: str) -> bool:
        """Whether that is a verified address of the user's. Raises Denied where it is none."""
        for one in await self.auth.users.identifiers(user.id):
            if (one.kind, one.value) == ("email", value):
                return one.verified
        raise Denied(InvitationFactor.refused)


class InvitationFactor(Factor):
    """Whoever has the link is the user, once; who got it by mail has the address, too."""

    name: ClassVar[str] = FACTOR
    starts: ClassVar[bool] = True

    def __init__(self, auth: Auth, invitations: Invitations) -> None:
        self.auth = auth
        self.invitations = invitations

    async def identify(self, payload: Payload) -> Attemptee:
        found = await self.invitations.owner(text_of(payload, FACTOR))
        return Attemptee(user=found[0] if found else None)

    async def verify(self, situation: Situation, payload: Payload) -> Proof:
        """The ticket is taken in the write of this step: of two racers one wins (T-3)."""
        token = text_of(payload, FACTOR)
        found = await self.invitations.owner(token)
        if found is None or found[0].disabled_at is not None:
            raise Denied(self.refused)
        user, ticket = found
        if situation.user is not None and situation.user.id != user.id:
            raise Denied(self.refused)
        amr = await self.invitations.verify(user, ticket, situation.caller)
        taking = self.auth.tickets.taking(FACTOR, token)
        return Proof(user=user, amr=(amr,), statements=[taking])
