"""The tables of passkeys, and each statement that reads or writes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from picoauth import Auth, AuthError, Enrolment, Statement, User
from picoauth_passkey.refusals import PASSKEY_TAKEN, TOO_MANY_PASSKEYS

if TYPE_CHECKING:
    from picoauth_passkey.answers import AuthenticatorData
    from picoauth_passkey.library import New

NAME = "passkey"
HANDLE = 32
"""Random bytes by which devices know a user (WebAuthn, section 14.6.1)."""

MIGRATIONS = (
    """
    create table passkey (
        enrolment_id text primary key references enrolments(id) on delete cascade,
        user_id text not null references users(id) on delete cascade,
        credential_id blob not null unique, public_key blob not null,
        counter integer not null, user_verified integer not null,
        device_bound integer not null, backup_eligible integer not null,
        backed_up integer not null, transports text not null, aaguid text not null,
        rp_id text not null, made_at integer not null
    )
    """,
    "create index passkey_user on passkey (user_id)",
    """
    create table passkey_users (
        user_id text primary key references users(id) on delete cascade,
        handle blob not null unique
    )
    """,
)

COLUMNS = """
    p.enrolment_id, p.user_id, p.credential_id, p.public_key, p.counter, p.user_verified,
    p.device_bound, p.backup_eligible, p.backed_up, p.transports, p.aaguid, p.rp_id, p.made_at
"""
USER = """
    u.id, u.name, u.locale, u.created_at, u.disabled_at, u.epoch, u.last_login_at,
    u.closed_at, u.delete_at
"""

# Bounded in the statement, for those who register many at once.
CREATE = """
    insert into passkey (
        enrolment_id, user_id, credential_id, public_key, counter, user_verified,
        device_bound, backup_eligible, backed_up, transports, aaguid, rp_id, made_at)
    select ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?
     where (select count(*) from passkey where user_id = ?) < ?
"""

# Of two assertions of a device-bound key with one counter, which only a copy can make, one counts.
USE = """
    update passkey set counter = ?, backup_eligible = ?, backed_up = ?
     where enrolment_id = ?
       and (device_bound = 0 or counter < ? or (counter = 0 and ? = 0))
"""


@dataclass(frozen=True)
class Credential:
    """A user's passkey. The flags are those of its registration, but for the last two."""

    enrolment_id: str
    user_id: str
    id: bytes
    public_key: bytes
    """COSE (RFC 9052, section 7)."""
    counter: int
    user_verified: bool
    """Whether the device asked for a PIN or a finger then: only such a one is a login by itself.

    Who finds a key that has no PIN yet can give it one (WebAuthn, section 7.2, step 25).
    """
    device_bound: bool
    """Whether the key cannot leave its device: then its counter has to rise."""
    backup_eligible: bool
    backed_up: bool
    transports: tuple[str, ...]
    aaguid: str
    rp_id: str
    """The relying party's id, or the `appid`, under which it was registered."""
    made_at: int = 0

    @classmethod
    def of(cls, row: Sequence[object]) -> Credential:
        values: list[object] = list(row)
        values[9] = tuple(str(row[9]).split())
        for flag in range(5, 9):
            values[flag] = bool(row[flag])
        return cls(*values)  # type: ignore[arg-type]  # a row of COLUMNS

    def falls(self, data: AuthenticatorData) -> bool:
        """Whether the counter did not rise though it has to (WebAuthn, section 6.1.1)."""
        counts = self.counter or data.counter
        return bool(self.device_bound and counts and data.counter <= self.counter)


@dataclass(frozen=True)
class Owned:
    """A credential with its user, whose epoch was read in the same look, and the user's handle."""

    credential: Credential
    user: User
    handle: bytes | None


class Passkeys:
    """Reads and writes passkeys."""

    def __init__(self, auth: Auth, most: int) -> None:
        self.auth = auth
        self.most = most

    async def of(self, user_id: str) -> list[Credential]:
        """Those of a user, in an order that tells nothing: that of their random ids."""
        sql = f"select {COLUMNS} from passkey p where p.user_id = ? order by p.credential_id"
        return [Credential.of(row) for row in await self.auth.database.read(sql, (user_id,))]

    async def owned(self, credential_id: bytes) -> Owned | None:
        """Identity comes from here alone, never from what a client says (W-4)."""
        sql = f"""
            select {COLUMNS}, h.handle, {USER}
              from passkey p join users u on u.id = p.user_id
              left join passkey_users h on h.user_id = p.user_id
             where p.credential_id = ?
        """
        rows = await self.auth.database.read(sql, (credential_id,))
        for row in rows:
            return Owned(Credential.of(row[:13]), User(*row[14:]), row[13])
        return None

    async def handle(self, user_id: str) -> bytes:
        """By which devices know the user: random, and made once, by one racer (W-8)."""
        sql = "select handle from passkey_users where user_id = ?"
        rows = await self.auth.database.read(sql, (user_id,))
        if not rows:
            await self.auth.database.write(self.handing(user_id, self.auth.secrets.random(HANDLE)))
            rows = await self.auth.database.read(sql, (user_id,))
        handle: bytes = rows[0][0]
        return handle

    def handing(self, user_id: str, handle: bytes) -> Statement:
        sql = "insert into passkey_users (user_id, handle) values (?, ?) on conflict (user_id) do nothing"
        return Statement(sql, (user_id, handle))

    async def check_room(self, user_id: str) -> None:
        """Raises AuthError before a device makes a key that could not be kept."""
        sql = "select count(*) from passkey where user_id = ?"
        if (await self.auth.database.read(sql, (user_id,)))[0][0] >= self.most:
            raise AuthError(TOO_MANY_PASSKEYS, most=self.most)

    async def check_new(self, credential_id: bytes) -> None:
        """Raises AuthError for one that somebody has (WebAuthn, section 7.1, step 26)."""
        if await self.owned(credential_id) is not None:
            raise AuthError(PASSKEY_TAKEN)

    def creating(self, enrolment: Enrolment, new: New, site: str) -> Statement:
        data, key = new.data, (enrolment.id, enrolment.user_id, new.id, new.public_key)
        eligible, backed_up = int(data.backup_eligible), int(data.backed_up)
        flags = (int(data.verified), 1 - eligible, eligible, backed_up)
        about = (" ".join(new.transports), new.aaguid, site, self.auth.now())
        bound = (enrolment.user_id, self.most)
        return Statement(CREATE, (*key, data.counter, *flags, *about, *bound), rows=1)

    def using(self, credential: Credential, data: AuthenticatorData) -> Statement:
        """Write the counter, and where the key is now: a change of BE is noted, not fatal (W-5)."""
        seen = (data.counter, int(data.backup_eligible), int(data.backed_up))
        args = (*seen, credential.enrolment_id, data.counter, data.counter)
        return Statement(USE, args, rows=1)

    async def elsewhere(self, sites: Sequence[str]) -> int:
        """How many were registered under another relying party's id, and are of no use here."""
        rows = await self.auth.database.read("select rp_id from passkey", slow=True)
        return sum(site not in sites for (site,) in rows)
