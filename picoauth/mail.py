"""The types of mail and of other messages that leave the server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Message:
    """A mail, ready to be sent."""

    to: str
    subject: str
    text: str
    html: str | None = None


class Mailer(Protocol):
    """Delivers mail; the occupant of the slot `mailer`."""

    async def send(self, message: Message) -> None: ...


Sender = Callable[[bytes], Awaitable[None]]
"""Sends one payload of the outbox. Raises Unavailable where another try may succeed."""
