"""A process of its own that queues a mail, or sends what is queued, until a test kills it."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from picoauth import Auth, Mailer, Message, NoSettings, Plugin, Statement, hookimpl, parse
from picoauth.testing import Clock, offer

SETTINGS = 'plugins = ["journal"]\npublic_url = "https://auth.example.org"'


class JournalPlugin(Plugin[NoSettings]):
    """Delivers a mail into a file, and may stop before it says so."""

    hangs = False

    @hookimpl
    def mailer(self) -> Mailer:
        return self

    async def send(self, message: Message) -> None:
        line = f"{message.id} {message.to}\n".encode()
        file = os.open("journal", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(file, line)
        os.fsync(file)
        os.close(file)
        if self.hangs:
            say("sent")
            await asyncio.Event().wait()

    async def hello(self) -> None:
        """Queue a mail in the write of its reason."""
        reason = "insert into retired_names (hash, retired_at) values (x'01', 0)"
        values = {"name": "Ann", "link": self.auth.mail.link("/hello")}
        end = self.auth.now() + 3600
        queuing = self.auth.mail.queuing(self, "hello", "ann@example.com", values, expires_at=end)
        await self.auth.database.write(Statement(reason, rows=1), queuing)


async def main(what: str, now: float) -> None:
    clock = Clock(now)
    found = [offer("journal", JournalPlugin)]
    auth = Auth(parse(SETTINGS, Path()), clock=clock, monotonic=clock, found=found)
    async with auth.started():
        plugin = auth.plugin(JournalPlugin)
        if what == "queue":
            await plugin.hello()
            say("queued")
            await asyncio.Event().wait()
        plugin.hangs = what == "hang"
        await auth.outbox.flush()
        [one] = await auth.outbox.list()
        say("waits" if one["waits"] else "done")


def say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2])))
