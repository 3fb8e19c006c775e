"""The factor `password`, and the rows behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

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
    Situation,
    Statement,
    Unavailable,
    User,
    identifier,
    problems,
)
from picoauth_password.hashing import Hasher, Stored, WrongPassword
from picoauth_password.policy import PASSWORD_TOO_LONG, too_long

INVALID_CREDENTIALS = Problem(401, "invalid_credentials", "Invalid username or password")

REHASH = "update password set hash = ?, pepper_id = ? where user_id = ? and hash = ?"


@dataclass(frozen=True)
class Credential:
    """A user's row."""

    enrolment_id: str
    stored: Stored


class Passwords:
    """Reads and writes the table `password`."""

    def __init__(self, auth: Auth, hasher: Hasher) -> None:
        self.auth = auth
        self.hasher = hasher

    async def of(self, user: User | None) -> Credential | None:
        """The credential of a user; nobody has none, which takes the same look."""
        sql = "select enrolment_id, hash, pepper_id from password where user_id = ?"
        rows = await self.auth.database.read(sql, (user.id if user else "",))
        return Credential(rows[0][0], Stored(rows[0][1], rows[0][2])) if rows else None

    async def by_pepper(self) -> Mapping[str, int]:
        """How many hashes hang on which root secret."""
        sql = "select pepper_id, count(*) from password group by pepper_id"
        return dict(await self.auth.database.read(sql, slow=True))

    async def check_peppers(self) -> None:
        """Raises ConfigError where a hash needs a root secret that is gone (P-6)."""
        counts = await self.by_pepper()
        lost = sum(counts[pepper] for pepper in counts.keys() - self.hasher.peppers.keys())
        if lost:
            raise ConfigError(
                f"`secret` no longer lists the root secret of some passwords ({lost}): "
                "put it back at the end of the list, until their users have logged in."
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
        """Hash anew where cost or pepper moved on, unless the password changes meanwhile.

        A login that finds the queue full goes on without: the next one will do it.
        """
        if not self.hasher.outdated(stored):
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
        typed = text(payload, "email" if "email" in payload else "username")
        kind = "email" if "@" in typed else "username"
        return Attemptee(user=await self.auth.users.find(kind, typed), typed=canonical(kind, typed))

    async def verify(self, situation: Situation, payload: Payload) -> Proof:
        """The same work and answer, whether the user exists, has a password, or errs (P-8)."""
        password = self.password(payload)
        user = situation.user or situation.claimed
        credential = await self.passwords.of(user)
        try:
            await self.passwords.hasher.verify(credential.stored if credential else None, password)
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
        password = text(payload, "password")
        if too_long(password, self.most):
            raise AuthError(PASSWORD_TOO_LONG)
        return password


def canonical(kind: str, typed: str) -> str:
    """One name for all ways to write it: nobody's failures count together, as a user's do (P-8)."""
    try:
        return identifier(kind, typed, verified=True).value
    except AuthError:
        return typed


def text(payload: Payload, name: str) -> str:
    value: Any = payload.get(name)
    if not isinstance(value, str):
        raise AuthError(problems.INVALID_BODY, f"{name} must be a text")
    return value
