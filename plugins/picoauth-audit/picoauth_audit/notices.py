"""Mails that tell users what happens to their accounts: noted with it, made a moment later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from picoauth import (
    Auth,
    Conflict,
    CredentialChanged,
    Event,
    FactorConfirmed,
    FactorRemoved,
    IdentifierRemoved,
    IdentifierRestored,
    IdentifierVerified,
    LoginCompleted,
    LoginFailed,
    Plugin,
    Statement,
    User,
    UserChanged,
    device,
)
from picoauth_audit.shapes import DAY, AuditSettings

MOST = 10
"""Notices of a kind that wait for one user."""
DEVICES = 20
"""Devices of a user that are remembered; who was not seen for longest goes."""
PAUSE = 60
"""Seconds until it is tried again, where a user got too many mails."""
TOLD = 3 * DAY
"""Seconds for which it is tried to send a mail."""

NOTE = """
    insert into audit_notices (id, user_id, template, detail, device, languages, at, next_at)
    select ?, u.id, ?, ?, ?, ?, ?, ? from users u where u.id = ?
       and (select count(*) from audit_notices n where n.user_id = u.id and n.template = ?) < ?
"""
# Once a day, and once at a time: whoever fails on purpose fills no mailbox.
LOCKED = f"""{NOTE}
       and not exists (select 1 from audit_locked l
                        where l.user_id = u.id and l.at > ? and l.at <= ?)
"""
# The first device that is seen of a user tells nothing: it is that of the registration, or older
# than the plugin.
NEW = f"""{NOTE}
       and exists (select 1 from audit_devices d where d.user_id = u.id)
       and not exists (select 1 from audit_devices d where d.user_id = u.id and d.hash in (?, ?))
"""
SEEN = """
    insert into audit_devices (user_id, hash, seen_at) select id, ?, ? from users where id = ?
        on conflict (user_id, hash) do update set seen_at = excluded.seen_at
"""
FORGET = """
    delete from audit_devices where user_id = ? and hash not in (
        select hash from audit_devices where user_id = ? order by seen_at desc, hash limit ?)
"""
DUE = """
    select id, user_id, template, detail, device, languages, at from audit_notices
     where next_at <= ? or next_at > ? order by next_at, id limit 100
"""
TAKE = "delete from audit_notices where id = ?"
AGAIN = "update audit_notices set next_at = ? where id = ?"
TOLD_LOCKED = """
    insert into audit_locked (user_id, at) select id, ? from users where id = ?
        on conflict (user_id) do update set at = excluded.at
"""


@dataclass(frozen=True)
class Notice:
    """Something that a user is to be told of."""

    id: str
    user_id: str
    template: str
    detail: str
    device: str
    languages: str
    at: int


class Notices:
    """Which events are told to their users, and how."""

    def __init__(self, auth: Auth, plugin: Plugin[Any], settings: AuditSettings) -> None:
        self.auth = auth
        self.plugin = plugin
        self.settings = settings

    @property
    def on(self) -> bool:
        """Whether there is somebody who delivers mail."""
        return self.auth.mailer is not None and bool(self.settings.notify)

    def noting(self, event: Event) -> list[Statement]:
        """What notes that the user is to be told, in the write of the event."""
        if not self.on or event.user_id is None:
            return []
        if isinstance(event, LoginCompleted):
            return self.device(event) if "device" in self.settings.notify else []
        found = self.of(event)
        if found is None or found[0].partition("-")[0] not in self.settings.notify:
            return []
        template, detail = found
        args = self.args(event, template, detail, 1 if template == "locked" else MOST)
        if template == "locked":
            return [Statement(LOCKED, (*args, event.at - DAY, event.at))]
        return [Statement(NOTE, args)]

    def of(self, event: Event) -> tuple[str, str] | None:
        """The template, and what it is about; None for what nobody has to be told.

        Nor for what another plugin tells: `reset` of a password that it set, `email` of addresses.
        """
        match event:
            case CredentialChanged():
                told = event.reset and event.caller.actor is None and self.has("reset")
                found = None if told else ("credential", event.factor)
            case FactorConfirmed() | FactorRemoved():
                what = "added" if isinstance(event, FactorConfirmed) else "removed"
                found = (f"factor-{what}", event.factor)
            case IdentifierVerified() | IdentifierRemoved() | IdentifierRestored():
                told = event.kind == "email" and self.has("email")
                found = None if told else ("identifier", event.kind)
            case UserChanged() if "username" in event.fields:
                found = ("identifier", "username")
            case LoginFailed(code="too_many_attempts"):
                found = ("locked", event.factor)
            case _:  # a plugin that need not be installed has the event
                used = type(event).__name__ == "RecoveryCodeUsed"
                found = ("recovery", str(getattr(event, "left", ""))) if used else None
        return found

    def has(self, name: str) -> bool:
        return name in self.auth.plugins.on

    def args(self, event: Event, template: str, detail: str, most: int) -> tuple[Any, ...]:
        """The arguments of `NOTE`."""
        named, languages = device(event.caller.user_agent) or "", event.caller.languages or ""
        at, note_id = event.at, self.auth.users.new_id()
        rest = (named, languages[:200], at, at, event.user_id, template, most)
        return (note_id, template, detail[:100], *rest)

    def device(self, event: LoginCompleted) -> list[Statement]:
        """A device is what the list of sessions calls it: a browser on a system, of any version."""
        named = device(event.caller.user_agent) or ""
        text = f"{event.user_id} {named}"
        newest, *older = self.auth.secrets.digests("audit device", text)
        before = older[0] if older else newest
        args = (*self.args(event, "device", named, MOST), newest, before)
        return [
            Statement(NEW, args),
            Statement(SEEN, (newest, event.at, event.user_id)),
            Statement(FORGET, (event.user_id, event.user_id, DEVICES)),
        ]

    async def send(self) -> None:
        """Make mails of what was noted, each once."""
        if self.auth.mailer is None:
            return
        now = self.auth.now()
        for row in await self.auth.database.read(DUE, (now, now + PAUSE)):
            await self.tell(Notice(*row))

    async def tell(self, notice: Notice) -> None:
        now, user_id, template = self.auth.now(), notice.user_id, notice.template
        user = await self.auth.users.get(user_id)
        addresses = await self.addresses(user_id)
        taking: list[Statement] = [Statement(TAKE, (notice.id,), rows=1)]
        if user is not None and addresses and notice.at > now - DAY:
            if not await self.auth.mail.rates.take(self.key(user_id, template)):
                await self.auth.database.write(Statement(AGAIN, (now + PAUSE, notice.id)))
                return
            if template == "locked":
                taking.append(Statement(TOLD_LOCKED, (now, user_id)))
            taking += [self.mail(notice, to, user) for to in addresses]
        try:
            await self.auth.database.write(*taking)
        except Conflict:  # another process told it
            return

    async def addresses(self, user_id: str) -> Sequence[str]:
        """All that are verified: one of them may be a thief's."""
        found = await self.auth.users.identifiers(user_id)
        return [one.display for one in found if one.kind == "email" and one.verified]

    def key(self, user_id: str, template: str) -> str:
        text = f"{user_id} {template}"
        return f"audit {self.auth.secrets.digests('audit rate', text)[0].hex()}"

    def mail(self, notice: Notice, to: str, user: User) -> Statement:
        values = {
            "site": self.auth.mail.link("/"),
            "link": self.auth.mail.link(self.settings.page),
            "detail": notice.detail,
            "device": notice.device,
        }
        return self.auth.mail.queuing(
            self.plugin,
            notice.template,
            to,
            values,
            expires_at=self.auth.now() + TOLD,
            user=user,
            accept=notice.languages,
        )
