"""Queues events for receivers, in the write that they are part of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches

import click

from picoauth import (
    Addition,
    Auth,
    BackupRestored,
    ConfigError,
    Conflict,
    Event,
    Job,
    Keyed,
    Plugin,
    Sealed,
    Sender,
    Statement,
    UserDeleted,
    hookimpl,
)
from picoauth_webhook.commands import commands
from picoauth_webhook.endpoint import Endpoint, loops, packed
from picoauth_webhook.kept import AGAIN, LOSE, MIGRATIONS, Kept, Notice
from picoauth_webhook.payload import body, told
from picoauth_webhook.settings import WebhookSettings

HOUR = 3600


class WebhookPlugin(Plugin[WebhookSettings]):
    """Tells other programs what happened, at least once, and in no certain order."""

    def __init__(self, auth: Auth, name: str, settings: WebhookSettings) -> None:
        super().__init__(auth, name, settings)
        self.kept = Kept(auth, settings.keep)
        column = Sealed(auth, "webhook")
        auth.secrets.keyed.append(Keyed("webhooks", column.count, column.reseal))
        self.endpoints = {
            name: Endpoint(name, one, settings.timeout, auth.now)
            for name, one in settings.endpoints.items()
        }

    @hookimpl
    def migrations(self) -> Sequence[str]:
        return MIGRATIONS

    @hookimpl
    def senders(self) -> Mapping[str, Sender]:
        self.check_events()  # every plugin that is listed is loaded by now
        return {endpoint.kind: endpoint.send for endpoint in self.endpoints.values()}

    def check_events(self) -> None:
        """Raises ConfigError for an event that no plugin has."""
        known = {kind.__name__ for kind in Event.kinds()}
        for name, endpoint in self.endpoints.items():
            for n, event in enumerate(endpoint.settings.events):
                if event not in known:
                    near = get_close_matches(event, known, n=1)
                    hint = f', did you mean "{near[0]}"?' if near else "."
                    raise ConfigError(f"[webhook].endpoints.{name}.events[{n}] is no event{hint}")

    @hookimpl
    def record(self, event: Event) -> Addition:
        """Nothing is told of a change that did not happen, and nothing is forgotten."""
        lost = [Statement(LOSE)] if isinstance(event, BackupRestored) else []
        kind = type(event).__name__
        names = [name for name, one in self.endpoints.items() if one.wants(type(event))]
        if loops(event) or not names:
            return Addition(lost)
        said = told(event)
        # Who is deleted is told of nothing more, but that it happened.
        user_id = None if isinstance(event, UserDeleted) else event.user_id
        notices = [Notice(self.new_id(), name, kind, user_id, said) for name in names]
        return Addition([*lost, *(each for one in notices for each in self.queuing(one))])

    def new_id(self) -> str:
        return f"msg_{self.auth.users.new_id()}"

    def queuing(self, notice: Notice) -> list[Statement]:
        return [self.queued(notice, notice.id), self.kept.keeping(notice)]

    def queued(self, notice: Notice, queue_id: str) -> Statement:
        return self.auth.outbox.queuing(
            self.endpoints[notice.endpoint].kind,
            queue_id,
            packed(notice.id, notice.body),
            about=notice.type,
            expires_at=self.auth.now() + self.settings.expires,
            user_id=notice.user_id,
        )

    async def replay(self, notice_id: str) -> str | None:
        """Queue a message once more, under its own id. Answers None, or why that is not done."""
        found = await self.kept.get(notice_id)
        if found is None:
            return "there is no such message"
        notice, queued_as = found
        if notice.endpoint not in self.endpoints:
            return "its endpoint is no longer in the settings"
        queue_id = self.new_id()
        again = Statement(AGAIN, (queue_id, notice.id, queued_as), rows=1)
        try:
            await self.auth.database.write(again, self.queued(notice, queue_id))
        except Conflict:
            return "it still waits to be sent"
        return None

    async def test(self, name: str) -> None:
        """Post a message of the type `Test`, past the outbox. Raises Unavailable, Undeliverable."""
        said = body("Test", self.auth.now(), {"public_url": self.auth.config.public_url})
        await self.endpoints[name].send(packed(self.new_id(), said))

    @hookimpl
    def jobs(self) -> Sequence[Job]:
        return [Job("webhook", HOUR, self.kept.clean, purges=True)]

    @hookimpl
    def commands(self) -> Sequence[click.Command]:
        return commands(self)
