"""Fills the slot `mailer` with a message queue."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from picoauth import (
    Auth,
    AuthError,
    Check,
    Mailer,
    Message,
    Plugin,
    Secret,
    Unavailable,
    Undeliverable,
    described,
    hookimpl,
    identifier,
)
from picoauth_mail_mq.broker import Broker
from picoauth_mail_mq.payload import payload


@dataclass(frozen=True)
class QueueSettings:
    """`[mail-mq]`: which queue of which broker."""

    url: str | Secret = described(
        "The broker: amqp, amqps, redis, rediss, sentinel, sqs or filesystem; "
        "its password in it makes it a secret."
    )
    queue: str = described("Name of the queue.", default="picoauth.mail", least=1, most=80)


class MailQueuePlugin(Plugin[QueueSettings]):
    """Hands every mail to a message queue."""

    def __init__(self, auth: Auth, name: str, settings: QueueSettings) -> None:
        super().__init__(auth, name, settings)
        url = settings.url.read().decode() if isinstance(settings.url, Secret) else settings.url
        self.broker = Broker(url, settings.queue)

    @hookimpl
    def mailer(self) -> Mailer | None:
        return self

    async def send(self, message: Message) -> None:
        """Raises Unavailable; Undeliverable where the address is none: the rest the consumer says."""
        try:
            identifier("email", message.to, verified=False)  # once more, by who hands it out (E-1)
        except AuthError as error:
            raise Undeliverable("the address is none") from error
        await self.broker.publish(payload(message))

    @hookimpl
    def checks(self) -> Sequence[Check]:
        return [Check(f"{self.name} broker", self.reachable, live=False)]

    async def reachable(self) -> str | None:
        try:
            await self.broker.look()
        except Unavailable as error:
            return f"No mail leaves, since {error}: see to [{self.name}] and to the broker."
        return None

    @hookimpl
    def lifespan(self) -> AbstractAsyncContextManager[None] | None:
        return self.connected()

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        try:
            yield
        finally:
            self.broker.close()
