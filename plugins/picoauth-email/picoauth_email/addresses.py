"""What users do to their addresses: handlers of the routes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from picoauth import (
    Auth,
    AuthError,
    Caller,
    Denied,
    Identifier,
    Plugin,
    Reply,
    Request,
    User,
    identifier,
    problems,
)
from picoauth_email.mails import Mails
from picoauth_email.pending import CANCEL, LOGIN, VERIFY, Pending, Proven
from picoauth_email.shapes import EMAIL_VERIFIED, EmailSettings, Proof, WaitingProof


class Addresses:
    """An account has one verified address at most, and one that is to take its place."""

    def __init__(self, auth: Auth, plugin: Plugin[EmailSettings]) -> None:
        self.auth = auth
        self.pending = Pending(auth, plugin.settings)
        self.mails = Mails(auth, plugin, self.pending)

    async def set(self, request: Request) -> Reply:
        """Set an address, or another one: a mail with a link and a code goes there."""
        user = await self.auth.users.require(request.access.user_id)
        return await self.put(user, request.body.address, request.caller)

    async def put(self, user: User, text: str, caller: Caller) -> Reply:
        new = identifier("email", text, verified=False)
        old, _ = await self.of(user)
        if old is not None and old.value == new.value:
            raise AuthError(EMAIL_VERIFIED)
        statements = await self.mails.asking(user, new, old, caller)
        await self.auth.identities.add(user, new, statements, caller)
        return asked(new)

    async def of(self, user: User) -> tuple[Identifier | None, Identifier | None]:
        """The verified address of a user, and the one that waits."""
        found = await self.auth.users.identifiers(user.id)
        return first(found, verified=True), first(found, verified=False)

    async def resend(self, request: Request) -> Reply:
        """Send the mail again, unless there were too many: nobody can tell."""
        user = await self.auth.users.require(request.access.user_id)
        return await self.again(user, request.caller)

    async def again(self, user: User, caller: Caller) -> Reply:
        old, new = await self.of(user)
        if new is None:
            raise AuthError(problems.NOT_FOUND)
        statements = await self.mails.asking(user, new, old, caller)
        if statements:
            await self.auth.database.write(*statements)
        return asked(new)

    async def look(self, request: Request) -> Reply:
        """Whether a link still verifies an address; it does so afterwards, too."""
        await self.pending.look(VERIFY, request.path["token"])
        return Reply(status=204)

    async def verify(self, request: Request) -> Reply:
        """Verify the address: if it replaces another one, that is told, and other sessions end."""
        session_id, caller = request.access.session_id, request.caller
        user = await self.auth.credentials.owner(session_id)  # its epoch guards what is read next
        proven = await self.proven(user, request.body)
        old, new = await self.proving(user, proven)
        telling = [] if old is None else self.mails.telling("changed", user, old, caller)
        answer = await self.auth.identities.verify(
            user,
            new,
            [*proven.taking, *telling],
            caller,
            session_id=session_id,
            replacing=old,
            refused=proven.refused,
        )
        return Reply({**answer, "address": new.display})

    async def proven(self, user: User, body: Proof | WaitingProof) -> Proven:
        """Raises AuthError for what proves nothing of this user's."""
        if body.token is not None:
            return await self.pending.by_token(user.id, body.token)
        return await self.pending.by_code(user.id, str(body.code))

    async def proving(self, user: User, proven: Proven) -> tuple[Identifier | None, Identifier]:
        """What it replaces, and the address; a proof of another than that is none any more (T-4)."""
        old, new = await self.of(user)
        if new is None or new.value != proven.value:
            raise Denied(proven.refused)
        return old, new

    async def cancel(self, request: Request) -> Reply:
        """Take a change back: the old address stands again, the new one is gone, all sessions end."""
        token = request.body.token
        ticket = await self.pending.look(CANCEL, token)
        old = identifier("email", ticket.data["display"], verified=True)
        taking = self.pending.canceling(token, ticket)
        await self.auth.accounts.restore(str(ticket.user_id), old, taking, request.caller)
        return Reply(status=204)

    async def remove(self, request: Request) -> Reply:
        """Remove every address of the account; the verified one is told, and can take it back."""
        session_id, caller = request.access.session_id, request.caller
        user = await self.auth.credentials.owner(session_id)
        old, new = await self.of(user)
        gone = [one for one in (old, new) if one is not None]
        if not gone:
            raise AuthError(problems.NOT_FOUND)
        telling = [] if old is None else self.mails.telling("changed", user, old, caller)
        statements = [*self.pending.voiding(user.id), *telling]
        answer = await self.auth.identities.remove(
            user, gone, statements, caller, session_id=session_id
        )
        return Reply(answer)

    async def ask(self, request: Request) -> Reply:
        """Send the mail again to whoever waits for it before the login, also to another address."""
        user = await self.pending.waiter(request.body.ticket)
        address = request.body.address
        if address is None:
            return await self.again(user, request.caller)
        return await self.put(user, address, request.caller)

    async def verify_login(self, request: Request) -> Reply:
        """Verify the address of whoever proved all else: the next login goes through."""
        ticket = request.body.ticket
        user = await self.pending.waiter(ticket)
        proven = await self.proven(user, request.body)
        _, new = await self.proving(user, proven)
        taking = self.auth.tickets.taking(LOGIN, ticket)
        await self.auth.identities.verify(
            user, new, [taking, *proven.taking], request.caller, refused=proven.refused
        )
        return Reply(status=204)


def first(found: Sequence[Identifier], *, verified: bool) -> Identifier | None:
    """The address among what finds a user, or would."""
    known = (one for one in found if one.kind == "email" and one.verified is verified)
    return next(known, None)


def asked(address: Identifier) -> Reply:
    body: dict[str, Any] = {"address": address.display}
    return Reply(body, 202)
