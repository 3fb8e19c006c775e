"""Reads the log for people and programs: filters, pages, and everything as JSON lines."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from picoauth import Auth
from picoauth_audit.chain import Entry
from picoauth_audit.sealer import Sealer

FIELDS = (
    "seq",
    "at",
    "event",
    "user_id",
    "who",
    "actor",
    "address",
    "user_agent",
    "request_id",
    "members",
)
# A user by any pseudonym, or a pseudonym itself; so too whoever acted.
CONDITIONS: Mapping[str, str] = {
    "user": "(a.who = ? or a.who in (select pseudonym from audit_users where user_id = ?))",
    "event": "a.event = ?",
    "since": "a.at >= ?",
    "until": "a.at < ?",
    "actor": "(a.actor = ? or a.actor in "
    "(select 'user:' || pseudonym from audit_users where 'user:' || user_id = ?))",
    "address": "a.address = ?",
    "before": "a.seq < ?",
}
TWICE = ("user", "actor")
OWN = 1000
"""Rows that a user is handed at once: strangers decide how many there are."""
KNOWN = "select 1 from audit where who = ? and seq is not null limit 1"
PAGE = """
    select a.seq, a.at, a.event, u.user_id, a.who, a.actor, v.user_id, a.address, a.user_agent,
           a.request_id, a.members, a.ids
      from audit a left join audit_users u on u.pseudonym = a.who
      left join audit_users v on v.pseudonym = substr(a.actor, 6)
"""


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which rows are asked for; times in seconds since 1970, `until` itself left out."""

    user: str | None = None
    """An id of a user, or a pseudonym."""
    event: str | None = None
    since: int | None = None
    until: int | None = None
    actor: str | None = None
    address: str | None = None
    before: int | None = None
    """Rows before this place in the chain."""

    def where(self) -> tuple[str, list[Any]]:
        given = {n: v for n, v in vars(self).items() if v is not None}
        conditions = ["a.seq is not null", *(CONDITIONS[name] for name in given)]
        args = [each for n, v in given.items() for each in ((v, v) if n in TWICE else (v,))]
        return " and ".join(conditions), args


class Reader:
    """Answers rows that are sealed."""

    def __init__(self, auth: Auth, sealer: Sealer) -> None:
        self.auth = auth
        self.sealer = sealer

    async def page(self, wanted: Filter, limit: int) -> tuple[Sequence[dict[str, Any]], int | None]:
        """So many rows, the newest first, and `before` of the next page, if there is one."""
        where, args = wanted.where()
        sql = f"{PAGE} where {where} order by a.seq desc limit ?"
        rows = await self.auth.database.read(sql, (*args, limit + 1), slow=True)
        found = [entry(*row) for row in rows[:limit]]
        return found, found[-1]["seq"] if len(rows) > limit else None

    async def user(self, text: str) -> str | None:
        """The id of whom an id, a name or an address finds, or a pseudonym; else None.

        Names come last: somebody may have taken what stands for another one.
        """
        users = self.auth.users
        if (user := await users.get(text)) is not None:
            return user.id
        if await self.auth.database.read(KNOWN, (text,)):
            return text
        user = await users.named(text)
        return None if user is None else user.id

    async def of_user(self, user_id: str) -> Sequence[dict[str, Any]]:
        """The newest rows of a user, for the user; without names of who acted."""
        found, _ = await self.page(Filter(user=user_id), OWN)
        return [own(one) for one in reversed(found)]

    async def lines(self, since: int | None, until: int | None) -> AsyncIterator[str]:
        """Every row as it is chained, one JSON object each, in the order of the chain."""
        async for row in self.sealer.all():
            if (since is None or row.at >= since) and (until is None or row.at < until):
                yield line(row)


def entry(*row: Any) -> dict[str, Any]:
    """A row as it is shown: users by their ids, where they are still here."""
    seq, at, event, user_id, who, actor, acting, address, agent, request_id, members, ids = row
    shown = f"user:{acting}" if acting and actor.startswith("user:") else actor
    said = {**json.loads(members), **json.loads(ids or "{}")}
    values = (seq, at, event, user_id, who, shown, address, agent, request_id, said)
    return dict(zip(FIELDS, values, strict=True))


def own(shown: dict[str, Any]) -> dict[str, Any]:
    """For the user: of somebody who acted only the kind, and not from where."""
    if shown["actor"] is None:
        return shown
    kind, _, _ = shown["actor"].partition(":")
    return {**shown, "actor": kind, **dict.fromkeys(("address", "user_agent", "request_id"))}


def line(row: Entry) -> str:
    """With all that a check by hand needs: bytes as hexadecimal digits."""
    values = {n: v.hex() if isinstance(v, bytes) else v for n, v in vars(row).items()}
    return json.dumps({"seq": None, **values})


def moment(text: str) -> int:
    """Seconds since 1970, or a date or time as ISO 8601 has it, in UTC. Raises ValueError."""
    if text.isascii() and text.isdigit():
        seconds = int(text)
    else:
        when = datetime.fromisoformat(text)
        seconds = int((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp())
    if not 0 <= seconds < 1 << 40:
        raise ValueError("must be a time after 1970")
    return seconds
