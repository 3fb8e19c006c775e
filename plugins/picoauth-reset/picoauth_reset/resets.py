"""Asking for a new password, and setting it: nothing tells who has an account."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

from picoauth import (
    Auth,
    AuthError,
    Caller,
    Conflict,
    Denied,
    Identifier,
    Plugin,
    Problem,
    Recipient,
    Reply,
    Request,
    Statement,
    Ticket,
    User,
    problems,
    spelling,
)
from picoauth_reset.events import PasswordResetStarted
from picoauth_reset.shapes import ResetSettings

RESET = "reset"
"""The purpose of the tickets."""
TOLD = 3 * 86400
"""Seconds for which it is tried to tell a user of the new password."""
NOBODY = ""
"""The id of no user: what is done for a user is done for it, and touches no row."""


@runtime_checkable
class Passwords(Protocol):
    """What sets passwords: the password plugin, or another one in its place."""

    @property
    def password_problems(self) -> Sequence[Problem]:
        """Why a new password may be refused."""

    async def replace_password(
        self, user: User, password: str, statements: Sequence[Statement], caller: Caller
    ) -> None:
        """Check, hash and write it with `statements`, which come first; end every session."""


class Resets:
    """Makes tickets, looks at them, and takes them."""

    def __init__(self, auth: Auth, plugin: Plugin[ResetSettings]) -> None:
        self.auth = auth
        self.plugin = plugin
        self.settings = plugin.settings

    async def ask(self, request: Request) -> Reply:
        """Send a link for a new password to the verified address, if there is one: nobody can tell."""
        typed = request.body.name
        user = await self.auth.users.named(typed)
        found = await self.auth.mail.recipient("reset", user, spelling(typed))
        await self.auth.database.write(*self.sending(found, request.caller))
        return Reply({}, 202)

    async def start(self, user: User, caller: Caller) -> Identifier | None:
        """Send a link for an administrator: to whom, or None where no address is verified.

        In the user's language, not in that of who asks; and whoever may ask may do so often.
        """
        address = await self.auth.mail.address(user.id)
        if user.disabled_at is not None or address is None:
            return None
        event = PasswordResetStarted(at=self.auth.now(), user_id=user.id, caller=caller)
        found = Recipient(user, address, ("", ""))
        sending = self.sending(found, replace(caller, languages=None))
        await self.auth.events.commit(event, *sending)
        return address

    def sending(self, found: Recipient, caller: Caller) -> Sequence[Statement]:
        """A new ticket, which voids older ones, and its mail; for nobody one that opens nothing."""
        user, address = found.user, found.address
        end = self.auth.now() + self.settings.life
        token, issuing = self.auth.tickets.issue(
            RESET,
            {"epoch": user.epoch if user else 0, "address": address.value if address else ""},
            expires_at=end,
            user_id=user.id if user else None,
            decoy=user is None,
        )
        values = {
            "link": self.auth.mail.link(f"{self.settings.page}#reset={token}"),
            "minutes": str(self.settings.life // 60),
        }
        return [
            self.auth.tickets.voiding(RESET, user.id if user else NOBODY),
            issuing,
            self.mail("reset", found.to, user, values, end=end, caller=caller),
        ]

    def mail(
        self,
        template: str,
        to: str | None,
        user: User | None,
        values: Mapping[str, str],
        *,
        end: int,
        caller: Caller,
    ) -> Statement:
        plugin: Plugin[Any] = self.plugin
        return self.auth.mail.queuing(
            plugin,
            template,
            to,
            {"site": self.auth.mail.link("/"), **values},
            expires_at=end,
            user=user,
            accept=caller.languages or "",
        )

    async def look(self, request: Request) -> Reply:
        """Whether a link still sets a password; it does so afterwards, too."""
        await self.owner(request.path["token"])
        return Reply(status=204)

    async def owner(self, token: str) -> User:
        """The user of a ticket. Raises AuthError for one that is none, or not any more.

        It is bound to the user, to what proves the user, and to the address (T-4).
        """
        ticket = await self.auth.tickets.look(RESET, token)
        if ticket is None:
            late = await self.auth.tickets.expired(RESET, token)
            raise AuthError(problems.LINK_EXPIRED if late else problems.NOT_FOUND)
        user = await self.auth.users.find("email", ticket.data["address"])
        if user is None or user.disabled_at is not None or not bound(ticket, user):
            raise AuthError(problems.NOT_FOUND)
        return user

    async def set(self, request: Request) -> Reply:
        """Set a new password by the link: every session ends, and nobody is logged in.

        A password that is refused leaves the link good. Of several at once one wins.
        """
        token = request.path["token"]
        user = await self.owner(token)
        statements = [
            self.auth.tickets.taking(RESET, token),
            self.auth.tickets.voiding(RESET, user.id),
            *await self.telling(user, request.caller),
        ]
        passwords = self.auth.plugin(Passwords)  # type: ignore[type-abstract]
        try:
            await passwords.replace_password(
                user, request.body.password, statements, request.caller
            )
        except Conflict as conflict:
            raise AuthError(problems.NOT_FOUND) from conflict
        except Denied as denied:  # the account changed meanwhile: the ticket is none any more
            if denied.problem != problems.START_OVER:
                raise
            raise AuthError(problems.NOT_FOUND) from denied
        return Reply(status=204)

    async def telling(self, user: User, caller: Caller) -> Sequence[Statement]:
        """Tell every verified address, also one by which nobody asked (R-5)."""
        end = self.auth.now() + TOLD
        values = {"link": self.auth.mail.link(self.settings.page)}
        found = await self.auth.users.identifiers(user.id)
        return [
            self.mail("changed", one.display, user, values, end=end, caller=caller)
            for one in found
            if one.kind == "email" and one.verified
        ]


def bound(ticket: Ticket, user: User) -> bool:
    return (user.id, user.epoch) == (ticket.user_id, ticket.data["epoch"])
