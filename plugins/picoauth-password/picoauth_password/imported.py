"""The member `password_hash` of the lines of an import and an export."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from picoauth import Denied, Imported, ImportField
from picoauth_password import objects
from picoauth_password.factor import INVALID_CREDENTIALS, PasswordFactor, Passwords
from picoauth_password.foreignhashes import FOREIGN, kind
from picoauth_password.hashing import MalformedHash, Stored, WrongPassword, read

# PHC has a place for the id of a key: $argon2id$v=19$m=19456,t=2,p=1,keyid=1a2b3c4d$c2F…$9wq…
OWN = re.compile(r"(\$argon2id\$v=19\$m=[0-9]+,t=[0-9]+,p=[0-9]+),keyid=([0-9a-f]{8})(\$.+)")


class PasswordHash(ImportField):
    """A hash, as a text or as an object; one of picoauth's own says which pepper keyed it."""

    secret: ClassVar[bool] = True
    provable: ClassVar[bool] = True

    def __init__(self, passwords: Passwords) -> None:
        self.passwords = passwords

    def check(self, value: Any) -> Stored:
        text = objects.written(value) if isinstance(value, Mapping) else value
        if not isinstance(text, str):
            raise ValueError("must be a text, or an object")  # noqa: TRY004 - as the hook has it
        if (match := OWN.fullmatch(text)) is not None:
            return self.own(Stored(match[1] + match[3], match[2]))
        return Stored(text, kind(self.passwords.foreign.read(text)))

    def own(self, stored: Stored) -> Stored:
        try:
            read(stored.hash)
        except MalformedHash as error:
            raise ValueError("is none that picoauth wrote") from error
        if stored.pepper_id not in self.passwords.hasher.peppers:
            raise ValueError("hangs on a root secret that `secret` does not list here")
        return stored

    def make(self, user_id: str, value: Stored) -> Imported:
        enrolment = self.passwords.auth.users.enrolment(user_id, PasswordFactor.name)
        return Imported([enrolment], [self.passwords.creating(enrolment, value)])

    async def prove(self, value: Stored, typed: str) -> None:
        try:
            await self.passwords.verify(value, typed)
        except WrongPassword as error:
            raise Denied(INVALID_CREDENTIALS) from error

    async def dump(self, user_ids: Sequence[str]) -> Mapping[str, str]:
        return {owner: shown(stored) for owner, stored in await self.passwords.of_all(user_ids)}


def shown(stored: Stored) -> str:
    """As `check` takes it: without the root secret that the id names, nobody can guess at it."""
    if stored.pepper_id in FOREIGN:
        return stored.hash
    head, salt, tag = stored.hash.rsplit("$", 2)
    return f"{head},keyid={stored.pepper_id}${salt}${tag}"
