"""Writes a message as a mail: headers and bodies by an encoder, and by nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from email.errors import MessageError
from email.header import Header
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8, EmailPolicy

from picoauth import Message, Undeliverable
from picoauth_smtp.settings import mailbox


@dataclass(frozen=True)
class Letter:
    """A mail as it is sent."""

    sender: str
    to: str
    content: bytes
    utf8: bool
    """The address itself needs more than ASCII (RFC 6531)."""


class Literal(str):
    """A subject that looks encoded (RFC 2047), and is not.

    `email` would decode it, with the line breaks that it may hide. What has a `name` is a header
    already, by the rules of `EmailPolicy`, and is asked for its lines.
    """

    __slots__ = ()
    name = "Subject"

    def fold(self, *, policy: EmailPolicy) -> str:
        if set(self) & set("\r\n"):
            raise ValueError
        lines = Header(str(self), "utf-8", header_name=self.name).encode(linesep=policy.linesep)
        return f"{self.name}: {lines}{policy.linesep}"


def written(message: Message, sender: Address, now: int) -> Letter:
    """Raises Undeliverable for an address that is none, and for what no mail can hold."""
    try:
        to = mailbox(message.to)
    except ValueError:
        raise Undeliverable("the address is not that of one mailbox") from None
    try:
        content = composed(message, sender, to, now).as_bytes()
    except (ValueError, MessageError):
        raise Undeliverable("the message has what no mail can hold") from None
    return Letter(sender.addr_spec, to.addr_spec, content, utf8=not to.username.isascii())


def composed(message: Message, sender: Address, to: Address, now: int) -> EmailMessage:
    """Bodies are ASCII on the way, so that every server takes them."""
    policy = SMTP if to.username.isascii() else SMTPUTF8
    mail = EmailMessage(policy.clone(cte_type="7bit"))
    mail["From"] = sender
    mail["To"] = to
    mail["Subject"] = Literal(message.subject) if "=?" in message.subject else message.subject
    mail["Date"] = datetime.fromtimestamp(now, UTC)
    mail["Message-ID"] = f"<{message.id}@{sender.domain}>"
    mail["Auto-Submitted"] = "auto-generated"  # no answers of people who are away (RFC 3834)
    mail.set_content(message.text)
    if message.html is not None:
        mail.add_alternative(message.html, subtype="html")
    return mail
