"""Mail: made from templates, queued with what it tells of, handed to the mailer."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from picoauth.database import Statement
from picoauth.errors import ConfigError, Unavailable
from picoauth.identifiers import mailbox
from picoauth.mailtemplates import Link, Templates
from picoauth.rates import Rates

if TYPE_CHECKING:
    from picoauth.auth import Auth
    from picoauth.hooks import Plugin
    from picoauth.users import User

KIND = "mail"
"""Of what the outbox sends by the mailer."""


@dataclass(frozen=True, kw_only=True)
class Message:
    """A mail, ready to be sent."""

    id: str
    """The left part of its `Message-ID`: what is sent twice by chance is one mail (RFC 5322, 3.6.4)."""
    to: str
    """One mailbox, whose domain is in ASCII."""
    subject: str
    text: str
    html: str | None = None
    expires_at: int
    """When it is of no use any more, in seconds since 1970."""
    template: str = ""
    """`plugin/name`, for whoever makes a mail of another form from `values`."""
    language: str = "en"
    values: Mapping[str, str] = field(default_factory=dict)


class Mailer(Protocol):
    """Delivers mail; the occupant of the slot `mailer`."""

    async def send(self, message: Message) -> None:
        """Raises Unavailable where another try may succeed, Undeliverable where none will."""


Sender = Callable[[bytes], Awaitable[None]]
"""Sends one payload of the outbox; raises as `Mailer.send` does."""


class Mail:
    """Makes mails, and queues them."""

    def __init__(self, auth: Auth) -> None:
        self.auth = auth
        self.templates: dict[str, Templates] = {}
        self.rates = Rates(auth.database, auth.config.mail, auth.now)

    def link(self, path: str) -> Link:
        """A link to a page of the application: `public_url` and a path, whatever a request says."""
        return Link(f"{self.auth.config.public_url.rstrip('/')}/{path.lstrip('/')}")

    def queuing(
        self,
        plugin: Plugin[Any],
        template: str,
        to: str | None,
        values: Mapping[str, str],
        *,
        expires_at: int,
        user: User | None = None,
        accept: str = "",
    ) -> Statement:
        """The statement that queues a mail, for the write of what it tells of.

        To nobody (`None`) it costs the same, looks the same on the disk, and sends nothing: so no
        answer tells who has an account. The language is the user's, or of `accept`, the header
        `Accept-Language`, or English. Raises AuthError for an address that is none.
        """
        languages = [user.locale if user and user.locale else "", accept]
        made = self.of(plugin).render(template, languages, values)
        message = Message(
            id=self.auth.users.new_id(),
            to=mailbox(to) if to is not None else "",
            subject=made.subject,
            text=made.text,
            html=made.html,
            expires_at=expires_at,
            template=f"{plugin.name}/{template}",
            language=made.language,
            values=made.values,
        )
        return self.auth.outbox.queuing(
            KIND,
            message.id,
            json.dumps(asdict(message)).encode(),
            about=message.template,
            expires_at=expires_at,
            user_id=user.id if user else None,
        )

    def of(self, plugin: Plugin[Any]) -> Templates:
        if plugin.name not in self.templates:
            self.templates[plugin.name] = Templates.of(plugin, self.auth.config.mail.templates)
        return self.templates[plugin.name]

    def beside(self, senders: Mapping[str, Sender]) -> Mapping[str, Sender]:
        """All that the outbox can send. Raises ConfigError for what cannot be sent in the end."""
        if KIND in senders:
            raise ConfigError(f"senders: {KIND} is what the slot mailer sends: fill that instead.")
        for plugin in self.auth.plugins.on.values() if self.auth.config.mail.templates else ():
            self.of(plugin).check()
        return {KIND: self.send, **senders}

    async def send(self, payload: bytes) -> None:
        """What the outbox calls. Raises Unavailable, Undeliverable."""
        message = Message(**json.loads(payload))
        if self.auth.mailer is None:
            raise Unavailable("no listed plugin delivers mail")
        if message.to:
            await self.auth.mailer.send(message)
