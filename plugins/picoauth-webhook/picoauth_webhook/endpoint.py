"""One receiver: what it wants, and how a message gets there."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.metadata import version

from picoauth import ConfigError, Event, MessageDropped, Unavailable, Undeliverable
from picoauth_fetch import Answer, Fetcher, FetchFailed, FetchRefused
from picoauth_webhook.settings import EndpointSettings
from picoauth_webhook.signing import headers, key

KIND = "webhook:"
"""Before the name of the receiver, in the outbox: one that hangs holds no other up."""
LIMIT = 1_048_576
"""Bytes of an answer, of which nothing is looked at."""
GONE = 410
SECONDS = re.compile("[0-9]{1,6}")
"""Of `Retry-After`, which may be a date too; the outbox has a longest pause of its own."""


class Endpoint:
    """Raises ConfigError for an address that is never fetched, or a bad secret."""

    def __init__(
        self, name: str, settings: EndpointSettings, timeout: int, now: Callable[[], int]
    ) -> None:
        self.kind = KIND + name
        self.settings = settings
        self.now = now
        where = f"[webhook].endpoints.{name}"
        self.keys = [key(secret.read(), f"{where}.secret") for secret in settings.secret]
        self.fetcher = Fetcher(
            agent=f"picoauth-webhook/{version('picoauth-webhook')}",
            private=settings.private,
            insecure=settings.insecure,
            timeout=timeout,
            limit=LIMIT,
            ca=settings.ca,
        )
        try:
            self.fetcher.check(settings.url)
        except FetchRefused as refused:
            plain = settings.url.startswith("http://")
            hint = ", set insecure = true if one of http will do" if plain else ""
            raise ConfigError(f"{where}.url: {refused.reason}{hint}.") from refused

    def wants(self, kind: type[Event]) -> bool:
        """What strangers can make happen as often as they like, only who asks for it gets."""
        return kind.__name__ in self.settings.events if self.settings.events else kind.changes

    async def send(self, payload: bytes) -> None:
        """Post what the outbox has. Raises Unavailable, and Undeliverable for one that is gone.

        Nothing else is final: what a receiver refuses by mistake it takes when it is mended.
        """
        message_id, body = unpacked(payload)
        said = headers(self.keys, message_id, self.now(), body)
        try:
            answer = await self.fetcher.post(
                self.settings.url, body, headers={"Content-Type": "application/json", **said}
            )
        except (FetchRefused, FetchFailed) as error:
            raise Unavailable(error.reason) from error
        judge(answer)


def judge(answer: Answer) -> None:
    """Raises Unavailable or Undeliverable unless it is 2xx."""
    if answer.status // 100 == 2:  # noqa: PLR2004 - as it is written everywhere
        return
    if answer.status == GONE:
        raise Undeliverable("the receiver is gone (410)")
    wait = answer.headers.get("retry-after", "")
    seconds = int(wait) if SECONDS.fullmatch(wait) else 0
    raise Unavailable(f"the receiver answered {answer.status}", retry_after=seconds)


def packed(message_id: str, body: bytes) -> bytes:
    """For the outbox: the id stays the same, however often a message is queued again."""
    return message_id.encode() + b"\n" + body


def unpacked(payload: bytes) -> tuple[str, bytes]:
    message_id, _, body = payload.partition(b"\n")
    return message_id.decode(), body


def loops(event: object) -> bool:
    """Whether telling of it could make another one of it: that a webhook was dropped."""
    return isinstance(event, MessageDropped) and event.kind.startswith(KIND)
