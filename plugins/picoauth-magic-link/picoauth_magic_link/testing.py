"""How users of a test log in by mail, for the matrices and contracts of picoauth's test kit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from picoauth import Payload, Plugin, Statement, User, identifier
from picoauth.testing import Ceremony, Server, Someone
from picoauth_magic_link.factor import FACTOR
from picoauth_magic_link.links import DIGITS

VERIFY = """
    insert into identifiers (user_id, kind, value, display, verified_at) values (?, ?, ?, ?, ?)
"""


class MagicLinkCeremony(Ceremony):
    """To each user a verified address, whose mails are read as they are queued.

    So it does not matter by what they are delivered; the slot `mailer` has to be filled, as by
    `picoauth.testing.MailPlugin`. However often a login begins, it is the first of its day.
    """

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self.mails: dict[str, Mapping[str, str]] = {}
        """The values of the newest mail, by user id; those to nobody have none."""
        self.queuing = server.auth.mail.queuing
        server.auth.mail.queuing = self.reading  # type: ignore[method-assign]

    def reading(
        self,
        plugin: Plugin[Any],
        template: str,
        to: str | None,
        values: Mapping[str, str],
        *,
        user: User | None = None,
        **more: Any,
    ) -> Statement:
        if plugin.name == FACTOR:
            self.mails[user.id if user else ""] = values
        return self.queuing(plugin, template, to, values, user=user, **more)

    async def enrol(self, someone: Someone) -> None:
        """Everybody has it who has a verified address."""
        address = identifier("email", f"{someone.username}@example.com", verified=True)
        row = (someone.user.id, "email", address.value, address.display, self.server.auth.now())
        await self.server.auth.database.write(Statement(VERIFY, row))

    async def asks(self, someone: Someone) -> Payload | None:
        mail = self.server.auth.mail
        found = await mail.recipient(FACTOR, someone.user, someone.username)
        forget = "delete from rates where key = ?"
        await self.server.auth.database.write(*(Statement(forget, (key,)) for key in found.keys))
        return {"username": someone.username}

    async def answer(self, someone: Someone, challenge: Mapping[str, Any]) -> Payload:  # noqa: ARG002
        """The code; who was sent none begins a login of her own, and has its link."""
        if someone.user.id in self.mails:
            return {FACTOR: self.mails[someone.user.id]["code"]}
        values = await self.begun(someone)
        return {FACTOR: values["link"].partition("=")[2]}

    async def begun(self, someone: Someone) -> Mapping[str, str]:
        """What a login of hers mails to her, or to nobody if she may have none."""
        asked = await self.asks(someone)
        answer = await self.server.post("/auth/login/begin", {"factor": FACTOR, **(asked or {})})
        answer.raise_for_status()
        return self.mails.get(someone.user.id, self.mails.get("", {}))

    async def wrong(self, someone: Someone, challenge: Mapping[str, Any]) -> Payload:  # noqa: ARG002
        """Another code."""
        values = self.mails.get(someone.user.id) or await self.begun(someone)
        return {FACTOR: f"{(int(values['code']) + 1) % 10**DIGITS:0{DIGITS}}"}
