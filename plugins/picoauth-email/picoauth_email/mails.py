"""Which mail goes where: to the address that is to be verified, and to the one it replaces."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence

from picoauth import Auth, Caller, Identifier, Plugin, Statement, User
from picoauth_email.pending import Pending
from picoauth_email.shapes import HOUR, EmailSettings

EXPECTED = 1000
"""Registrations that wait for their write, at most."""


class Mails:
    """Makes them, as statements of the write that they tell of."""

    def __init__(self, auth: Auth, plugin: Plugin[EmailSettings], pending: Pending) -> None:
        self.auth = auth
        self.plugin = plugin
        self.settings = plugin.settings
        self.pending = pending
        self.expected: OrderedDict[str, tuple[str, str | None]] = OrderedDict()
        """By user id: what `check_registration` decided, since `record` can ask nobody."""

    async def may(self, user_id: str) -> bool:
        """Whether one more mail may be sent for this account."""
        return await self.auth.mail.rates.take(self.key(f"account {user_id}"))

    async def chosen(self, user_id: str, address: Identifier) -> tuple[str, str | None]:
        """The template, and to whom: whoever asks can see neither.

        Somebody else's verified address gets a word about that; one that got too much, nothing.
        """
        owner = await self.auth.users.find("email", address.value)
        taken = owner is not None and owner.id != user_id
        may = await self.auth.mail.rates.take(self.key(f"mailbox {address.value}"))
        return "taken" if taken else "verify", address.display if may else None

    def key(self, text: str) -> str:
        return f"email {self.auth.secrets.digests('email rate', text)[0].hex()}"

    async def asking(
        self, user: User, new: Identifier, old: Identifier | None, caller: Caller
    ) -> Sequence[Statement]:
        """To the new address a link and a code, to the old one a way back; or nothing (A-6)."""
        if not await self.may(user.id):
            return []
        template, to = await self.chosen(user.id, new)
        back = [] if old is None else self.telling("changing", user, old, caller)
        return [*self.proving(template, to, user, new, caller), *back]

    def proving(
        self, template: str, to: str | None, user: User, address: Identifier, caller: Caller
    ) -> Sequence[Statement]:
        """The same statements whichever template, and to whomever."""
        token, code, issuing = self.pending.issuing(user.id, address)
        values = {
            "code": code,
            "link": self.auth.mail.link(f"{self.settings.page}#verify-email={token}"),
            "minutes": str(self.settings.code_life // 60),
            "hours": str(self.settings.link_life // HOUR),
        }
        life = self.settings.link_life
        return [*issuing, self.mail(template, to, user, values, life=life, caller=caller)]

    def telling(
        self, template: str, user: User, old: Identifier, caller: Caller
    ) -> Sequence[Statement]:
        token, issuing = self.pending.cancelable(user, old)
        values = {
            "link": self.auth.mail.link(f"{self.settings.page}#cancel-email={token}"),
            "hours": str(self.settings.cancel_life // HOUR),
        }
        life = self.settings.cancel_life
        to = old.display
        return [*issuing, self.mail(template, to, user, values, life=life, caller=caller)]

    def mail(
        self,
        template: str,
        to: str | None,
        user: User,
        values: Mapping[str, str],
        *,
        life: int,
        caller: Caller,
    ) -> Statement:
        return self.auth.mail.queuing(
            self.plugin,
            template,
            to,
            {"site": self.auth.mail.link("/"), **values},
            expires_at=self.auth.now() + life,
            user=user,
            accept=caller.languages or "",
        )

    async def expect(self, user_id: str, address: Identifier) -> None:
        """Decide about the mail of a registration, before its write."""
        self.expected[user_id] = await self.chosen(user_id, address)
        while len(self.expected) > EXPECTED:  # those that came to nothing
            self.expected.popitem(last=False)

    def welcoming(self, user: User, address: Identifier, caller: Caller) -> Sequence[Statement]:
        """The mail of a registration, for its write; to nobody if it was forgotten meanwhile."""
        template, to = self.expected.pop(user.id, ("verify", None))
        return self.proving(template, to, user, address, caller)
