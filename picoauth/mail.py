"""Mail: made from templates, queued with what it tells of, handed to the mailer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from picoauth import decoys
from picoauth.database import Statement
from picoauth.errors import ConfigError, Unavailable, Undeliverable
from picoauth.identifiers import Identifier, mailbox
from picoauth.mailtemplates import Templates
from picoauth.mailvalues import Link
from picoauth.outbox import SLOW, Sender
from picoauth.rates import Rates
from picoauth.recipients import Recipient, recipient, verified
from picoauth.troubles import worded

if TYPE_CHECKING:
    from picoauth.auth import Auth
    from picoauth.hooks import Plugin
    from picoauth.users import User

SOMEBODY = "somebody.or.other@example.com"
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


class Mail:
    """Makes mails, and queues them."""

    def __init__(self, auth: Auth) -> None:
        self.auth = auth
        self.folder = auth.config.mail.templates
        self.templates: dict[str, Templates] = {}
        self.rates = Rates(auth.database, auth.config.mail, auth.now)
        self.trouble: Unavailable | None = None
        """Why the mailer could not send the last mail that went to somebody."""

    def link(self, path: str) -> Link:
        """A link to a page of the application: `public_url` and a path, whatever a request says."""
        return Link(f"{self.auth.config.public_url.rstrip('/')}/{path.lstrip('/')}")

    async def recipient(self, purpose: str, user: User | None, asked: str) -> Recipient:
        """To whom a mail goes that anybody may ask for, which counts; see `recipients`."""
        return await recipient(self.auth, purpose, user, asked)

    async def address(self, user_id: str) -> Identifier | None:
        """The first verified address of a user."""
        return verified(await self.auth.users.identifiers(user_id))

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

        To nobody (`None`) it costs the same, looks the same, sends nothing, and is erased soon: so
        no answer tells who has an account. The language is the user's, or of `accept`, the header
        `Accept-Language`, or English. Raises AuthError for an address that is none.
        """
        languages = [user.locale if user and user.locale else "", accept]
        address = mailbox(SOMEBODY if to is None else to)  # the same work for nobody
        made_id = self.auth.users.new_id()
        made = self.of(plugin).render(template, languages, values)
        message = Message(
            id=made_id if to is not None else decoys.PREFIX + made_id[len(decoys.PREFIX) :],
            to=address if to is not None else "",
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
            json.dumps(asdict(message), ensure_ascii=False).encode(),
            about=message.template,
            expires_at=expires_at,
            user_id=user.id if user else None,
        )

    def of(self, plugin: Plugin[Any]) -> Templates:
        if plugin.name not in self.templates:
            self.templates[plugin.name] = Templates.of(plugin, self.folder)
        return self.templates[plugin.name]

    def beside(self, senders: Mapping[str, Sender]) -> Mapping[str, Sender]:
        """All that the outbox can send. Raises ConfigError for what cannot be sent in the end."""
        if KIND in senders:
            raise ConfigError(f"senders: {KIND} is what the slot mailer sends: fill that instead.")
        if self.folder is not None:
            self.check(self.folder)
        return {KIND: self.send, **senders}

    def check(self, folder: Path) -> None:
        """Look at the operator's templates before one is needed. Raises ConfigError."""
        if not folder.is_dir():
            raise ConfigError(
                f"[mail].templates: there is no folder {folder}: make it, or remove the setting."
            )
        plugins = {name: self.of(plugin) for name, plugin in self.auth.plugins.on.items()}
        for path in sorted(folder.iterdir()):
            if not path.name.startswith(".") and path.name not in plugins:
                raise ConfigError(
                    f"{path} is for no plugin that is listed: rename or remove it, "
                    "or list the plugin."
                )
        for templates in plugins.values():
            templates.check()

    def load(self) -> None:
        """Read all templates, so that no request waits for the disk. Raises ConfigError."""
        for name, plugin in self.auth.plugins.on.items():
            try:
                self.of(plugin).load()
            except Exception as error:
                raise ConfigError(
                    f"{self.auth.plugins.origins[name]} has templates of mail that cannot be used "
                    f"({error}): tell its authors, or remove it from `plugins`."
                ) from error

    async def send(self, payload: bytes) -> None:
        """What the outbox calls. Raises Unavailable, Undeliverable.

        A mail to nobody shares the fate of the last one to somebody: no figure tells it apart.
        """
        message = Message(**json.loads(payload))
        if self.auth.mailer is None:
            raise Unavailable("no listed plugin delivers mail")
        if not message.to:
            if self.trouble is not None:
                raise Unavailable(str(self.trouble), retry_after=self.trouble.retry_after)
            return
        try:
            await self.auth.mailer.send(message)
        except Undeliverable:
            self.trouble = None
            raise
        except Exception as error:
            asks = error.retry_after if isinstance(error, Unavailable) else 1
            self.trouble = Unavailable(worded(error), retry_after=asks)
            raise
        except asyncio.CancelledError:
            self.trouble = Unavailable(SLOW)
            raise
        self.trouble = None
