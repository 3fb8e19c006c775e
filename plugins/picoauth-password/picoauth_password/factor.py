"""The factor `password`, and the rows behind it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import ClassVar

from picoauth import (
    Attemptee,
    Auth,
    AuthError,
    ConfigError,
    Denied,
    Enrolment,
    Factor,
    Payload,
    Problem,
    Proof,
    Row,
    Secret,
    Situation,
    Statement,
    Unavailable,
    User,
    Whose,
    spelling,
    text_of,
    values_of,
)
from picoauth_password.foreignhashes import BCRYPT, FIREBASE, FOREIGN, ForeignHashes
from picoauth_password.hashing import Hasher, Stored, WrongPassword
from picoauth_password.policy import PASSWORD_TOO_LONG, too_long

INVALID_CREDENTIALS = Problem(401, "invalid_credentials", "Invalid username or password")

USED = values_of("password", "pepper_id")
CREDENTIAL = "select enrolment_id, hash, pepper_id from password where user_id = "
REHASH = "update password set hash = ?, pepper_id = ? where user_id = ? and hash = ?"


@dataclass(frozen=True)
class Credential:
    """A user's row."""

    enrolment_id: str
    stored: Stored


def credential_in(rows: Sequence[Row]) -> Credential | None:
    return Credential(rows[0][0], Stored(rows[0][1], rows[0][2])) if rows else None


class Passwords:
    """Reads and writes the table `password`."""

    def __init__(self, auth: Auth, hasher: Hasher, signer_key: Secret | None = None) -> None:
        self.auth = auth
        self.hasher = hasher
        self.foreign = ForeignHashes(hasher, signer_key)

    async def of(self, user: User | None) -> Credential | None:
        """The credential of a user; nobody has none, which takes the same look."""
        rows = await self.auth.database.read(f"{CREDENTIAL}?", (user.id if user else "",))
        return credential_in(rows)

    async def changed_at(self, user_id: str) -> int | None:
        """When the user last set one; None where there is none."""
        sql = "select changed_at from password where user_id = ?"
        rows = await self.auth.database.read(sql, (user_id,))
        return rows[0][0] if rows else None

    async def of_all(self, names: Sequence[str]) -> Sequence[tuple[str, Stored]]:
        """The hashes of these users, with whose they are."""
        sql = f"""
            select user_id, hash, pepper_id from password
             where user_id in ({", ".join("?" * len(names))})
        """
        rows = await self.auth.database.read(sql, names)
        return [(user_id, Stored(text, pepper)) for user_id, text, pepper in rows]

    async def verify(self, stored: Stored | None, password: str) -> None:
        """As `Hasher.verify`, for hashes of other systems too: the work for ours is done as well.

        So a wrong password for a user who has not logged in since an import takes longer than
        nobody's by what the other system's hash takes, and never less (P-8).
        """
        if stored is None or stored.pepper_id not in FOREIGN:
            await self.hasher.verify(stored, password)
            return
        with suppress(WrongPassword):
            await self.hasher.verify(None, password)
        await self.foreign.verify(stored.hash, password)

    async def by_pepper(self) -> Mapping[str, int]:
        """How many hashes hang on which root secret."""
        sql = "select pepper_id, count(*) from password group by pepper_id"
        return dict(await self.auth.database.read(sql, slow=True))

    async def by_root(self) -> Mapping[str, int]:
        """The same of our own hashes: those of other systems hang on none."""
        found = await self.by_pepper()
        return {pepper: count for pepper, count in found.items() if pepper not in FOREIGN}

    async def check_peppers(self) -> None:
        """Raises ConfigError where a hash needs a root secret that is gone (P-6)."""
        used = {pepper for (pepper,) in await self.auth.database.read(USED, slow=True)}
        if lost := used - self.hasher.peppers.keys() - FOREIGN:
            counts = await self.by_pepper()
            raise ConfigError(
                "`secret` no longer lists the root secret of some passwords "
                f"({sum(counts[pepper] for pepper in lost)}): "
                "put it back at the end of the list, until their users have logged in."
            )
        self.check_foreign(used)

    def check_foreign(self, used: Collection[str]) -> None:
        """Raises ConfigError where what an imported hash needs is gone."""
        if BCRYPT in used and not self.foreign.has_bcrypt:
            raise ConfigError(
                "Some passwords have hashes by bcrypt, which is not installed: "
                "run `pip install 'picoauth-password[bcrypt]'`."
            )
        if FIREBASE in used and self.foreign.signer_key is None:
            raise ConfigError(
                "Some passwords have hashes of Firebase: put firebase_signer_key back into "
                "[password], until their users have logged in."
            )

    def creating(self, enrolment: Enrolment, stored: Stored) -> Statement:
        sql = """
            insert into password (user_id, enrolment_id, hash, pepper_id, changed_at)
            values (?, ?, ?, ?, ?)
        """
        args = (enrolment.user_id, enrolment.id, stored.hash, stored.pepper_id, self.auth.now())
        return Statement(sql, args, rows=1)

    def replacing(self, user_id: str, stored: Stored) -> Statement:
        sql = "update password set hash = ?, pepper_id = ?, changed_at = ? where user_id = ?"
        return Statement(sql, (stored.hash, stored.pepper_id, self.auth.now(), user_id), rows=1)

    async def setting(self, user: User, stored: Stored) -> Sequence[Statement]:
        """Give a user a password, the first one or another."""
        if await self.of(user) is not None:
            return [self.replacing(user.id, stored)]
        enrolment = self.auth.users.enrolment(user.id, PasswordFactor.name)
        return [self.auth.users.enrolling(enrolment), self.creating(enrolment, stored)]

    async def renewing(self, user_id: str, stored: Stored, password: str) -> Sequence[Statement]:
        """Hash anew where cost or pepper moved on, or the hash is another system's.

        Unless the password changes meanwhile.

        A login that finds the queue full goes on without: the next one will do it.
        """
        if stored.pepper_id not in FOREIGN and not self.hasher.outdated(stored):
            return ()
        try:
            new = await self.hasher.hash(password)
        except Unavailable:
            return ()
        return [Statement(REHASH, (new.hash, new.pepper_id, user_id, stored.hash))]


class PasswordFactor(Factor):
    """User name, or verified e-mail address, and password."""

    name: ClassVar[str] = "password"
    starts: ClassVar[bool] = True
    refused: ClassVar[Problem] = INVALID_CREDENTIALS
    problems: ClassVar[Sequence[Problem]] = (PASSWORD_TOO_LONG,)
    example: ClassVar[Payload] = {
        "username": "ann",
        "password": "correct horse battery staple",
    }

    def __init__(self, auth: Auth, passwords: Passwords, most: int) -> None:
        self.auth = auth
        self.passwords = passwords
        self.most = most

    async def identify(self, payload: Payload) -> Attemptee:
        typed = text_of(payload, "email" if "email" in payload else "username")
        return Attemptee(name=Whose.named(typed), typed=spelling(typed))

    def look(self, whose: Whose) -> Statement:
        return Statement(f"{CREDENTIAL}{whose.sql}", whose.args)

    async def verify(self, situation: Situation, payload: Payload) -> Proof:
        """The same work and answer, whether the user exists, has a password, or errs (P-8)."""
        password = self.password(payload)
        user = situation.user or situation.claimed
        credential = credential_in(situation.seen)
        try:
            await self.passwords.verify(credential.stored if credential else None, password)
        except WrongPassword as error:
            raise Denied(self.refused) from error
        # Nothing never matches (P-12); and a user who is disabled costs no second hash.
        if user is None or credential is None or user.disabled_at is not None:
            raise Denied(self.refused)
        return Proof(
            user=user,
            amr=("pwd",),
            enrolment_id=credential.enrolment_id,
            statements=await self.passwords.renewing(user.id, credential.stored, password),
        )

    def password(self, payload: Payload) -> str:
        """Look at the length before any hashing (P-7)."""
        password = text_of(payload, "password")
        if too_long(password, self.most):
            raise AuthError(PASSWORD_TOO_LONG)
        return password
