"""The table `totp`: secrets of authenticators, sealed, and the last step that each accepted."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from picoauth import (
    Auth,
    AuthError,
    ConfigError,
    Conflict,
    Enrolment,
    Place,
    Problem,
    Row,
    Statement,
    Unavailable,
    Whose,
    problems,
)
from picoauth_totp.codes import PERIOD, matched

TOO_MANY_AUTHENTICATORS = Problem(
    409, "too_many_authenticators", "No more authenticators are possible: remove one first."
)
FACTOR = "totp"
MOST = 10
"""Confirmed authenticators of one user."""
LIFE = 600
"""Seconds within which an authenticator has to be confirmed."""
BATCH = 100
"""Rows that are sealed anew in one write."""

log = logging.getLogger("picoauth.totp")

COLUMNS = "t.enrolment_id, t.user_id, t.sealed, t.last_step"
UNCONFIRMED = f"""
    select {COLUMNS} from totp t join enrolments e on e.id = t.enrolment_id
     where t.user_id = ? and e.confirmed_at is null
       and t.enrolment_id = ? and t.created_at > ? and t.created_at <= ?
"""
# The bound holds, since there is one unconfirmed at a time, and this is what makes it.
ADD = """
    insert into totp (enrolment_id, user_id, sealed, key_id, last_step, created_at)
    select ?, ?, ?, ?, -1, ?
     where (select count(*) from enrolments
             where user_id = ? and factor = ? and confirmed_at is not null) < ?
"""
VOID = "delete from enrolments where user_id = ? and factor = ? and confirmed_at is null"
ENDED = """
    delete from enrolments
     where factor = ? and confirmed_at is null
       and id in (select enrolment_id from totp where created_at <= ?)
"""
OLDER = f"""
    select {COLUMNS} from totp t where t.key_id <> ? and t.enrolment_id > ?
     order by t.enrolment_id limit ?
"""
RESEAL = "update totp set sealed = ?, key_id = ? where enrolment_id = ? and sealed = ?"


@dataclass(frozen=True)
class Authenticator:
    """A row: one app of one user."""

    enrolment_id: str
    user_id: str
    sealed: bytes = field(repr=False)
    last_step: int

    @property
    def place(self) -> Place:
        """Bound to its user, too: nobody's authenticator can be made another user's (D-4)."""
        return place(self.enrolment_id, self.user_id)


def place(enrolment_id: str, user_id: str) -> Place:
    return Place("totp", "sealed", f"{enrolment_id} {user_id}")


def confirmed(whose: Whose) -> Statement:
    """A query for those of a user that are in force."""
    sql = f"""
        select {COLUMNS} from totp t join enrolments e on e.id = t.enrolment_id
         where t.user_id = {whose.sql} and e.confirmed_at is not null
         order by t.enrolment_id
    """
    return Statement(sql, whose.args)


class Authenticators:
    """Reads and writes the table. `window` counts steps before and after the present one."""

    def __init__(self, auth: Auth, window: int) -> None:
        self.auth = auth
        self.window = window
        self.keys = list(auth.secrets.derive(FACTOR))
        """Ids of the root secrets, newest first."""

    async def of(self, user_id: str) -> list[Authenticator]:
        """Those that are in force."""
        query = confirmed(Whose.of(user_id))
        return [Authenticator(*row) for row in await self.auth.database.read(query.sql, query.args)]

    async def unconfirmed(self, user_id: str, enrolment_id: str) -> Authenticator:
        """One that waits for its first code. Raises AuthError (404)."""
        now = self.auth.now()
        args = (user_id, enrolment_id, now - LIFE, now)
        rows = await self.auth.database.read(UNCONFIRMED, args)
        if not rows:
            raise AuthError(problems.NOT_FOUND)
        return Authenticator(*rows[0])

    async def add(self, enrolment: Enrolment, secret: bytes) -> None:
        """Keep one to be confirmed; it voids the one before. Raises AuthError (409) for too many."""
        writes = [
            Statement(VOID, (enrolment.user_id, FACTOR)),
            self.auth.users.enrolling(enrolment),
            self.adding(enrolment, secret),
        ]
        try:
            await self.auth.database.write(*writes)
        except Conflict as conflict:
            if conflict.index < len(writes) - 1:  # the user is gone
                raise
            raise AuthError(TOO_MANY_AUTHENTICATORS) from conflict

    def adding(self, enrolment: Enrolment, secret: bytes) -> Statement:
        sealed = self.auth.secrets.seal(place(enrolment.id, enrolment.user_id), secret)
        row = (enrolment.id, enrolment.user_id, sealed, self.keys[0], self.auth.now())
        return Statement(ADD, (*row, enrolment.user_id, FACTOR, MOST), rows=1)

    def secret(self, one: Authenticator) -> bytes:
        """Raises Unavailable for one that does not open: no code of it is right or wrong."""
        try:
            return self.auth.secrets.open(one.place, one.sealed)
        except ConfigError as error:
            log.error("authenticator %s cannot be used: %s", one.enrolment_id, error)  # noqa: TRY400 - the sentence says it all
            raise Unavailable("an authenticator's secret cannot be opened") from error

    def step(self, one: Authenticator, typed: str) -> int:
        """The step whose code was typed. Raises WrongCode, Unavailable."""
        now, last = self.auth.now(), one.last_step
        return matched(self.secret(one), typed, now=now, window=self.window, after=last)

    def spending(self, one: Authenticator, step: int) -> Statement:
        """A step is accepted once, and none before it afterwards, whoever else tries (O-3)."""
        sql = "update totp set last_step = ? where enrolment_id = ? and last_step < ?"
        return Statement(sql, (step, one.enrolment_id, step), rows=1)

    def spending_all(self, now: int) -> Statement:
        """Whatever an app may have shown by now, or shows within the window, is spent."""
        step = now // PERIOD + self.window
        return Statement("update totp set last_step = ? where last_step < ?", (step, step))

    async def clean(self) -> None:
        """What nobody can confirm any more goes, whatever the clocks of other servers say."""
        ended = (FACTOR, self.auth.now() - 2 * LIFE)
        await self.auth.database.write(Statement(ENDED, ended))

    async def reseal(self) -> None:
        """Seal anew what an older root secret sealed, so that it may leave the settings (D-4)."""
        newest, last = self.keys[0], ""
        while rows := await self.auth.database.read(OLDER, (newest, last, BATCH), slow=True):
            found = [Authenticator(*row) for row in rows]
            await self.auth.database.write(*(w for one in found for w in self.resealing(one)))
            last = found[-1].enrolment_id

    def resealing(self, one: Authenticator) -> Sequence[Statement]:
        try:
            sealed = self.auth.secrets.seal(one.place, self.secret(one))
        except Unavailable:
            return ()
        return [Statement(RESEAL, (sealed, self.keys[0], one.enrolment_id, one.sealed))]

    async def by_key(self) -> dict[str, int]:
        """How many secrets are sealed under which root secret."""
        sql = "select key_id, count(*) from totp group by key_id"
        return dict(await self.auth.database.read(sql, slow=True))

    async def check_keys(self) -> None:
        """Raises ConfigError where a root secret is gone that authenticators need."""
        counts = await self.by_key()
        lost = sum(counts[key] for key in counts.keys() - set(self.keys))
        if lost:
            raise ConfigError(
                f"`secret` no longer lists the root secret of some authenticators ({lost}): put it "
                "back at the end of the list, until `picoauth doctor` says that none hangs on it."
            )

    async def all(self) -> list[Row]:
        """Every row, for who looks at all of them."""
        return await self.auth.database.read(f"select {COLUMNS} from totp t", slow=True)
