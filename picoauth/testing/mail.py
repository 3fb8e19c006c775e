"""Mail of a test server: kept instead of sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from picoauth.auth import Auth
from picoauth.hooks import NoSettings, Plugin, hookimpl
from picoauth.mail import Mailer, Message

if TYPE_CHECKING:
    from picoauth.testing.server import Server


class MailPlugin(Plugin[NoSettings]):
    """Fills the slot `mailer`: `serving(..., plugins={"captured-mail": MailPlugin})`, and list it."""

    def __init__(self, auth: Auth, name: str, settings: NoSettings) -> None:
        super().__init__(auth, name, settings)
        self.sent: list[Message] = []
        self.refusal: Exception | None = None
        """Raised instead of taking a mail: `Unavailable`, or `Undeliverable`."""

    @hookimpl
    def mailer(self) -> Mailer:
        return self

    async def send(self, message: Message) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.sent.append(message)


async def delivered(server: Server) -> list[Message]:
    """Every mail so far, oldest first, those that are due now among them."""
    await server.auth.outbox.flush()
    return server.auth.plugin(MailPlugin).sent
