"""The member `totp` of the lines of an import and an export."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from picoauth import Imported, ImportField, Statement
from picoauth_totp.authenticators import FACTOR, MOST, Authenticator, Authenticators, place
from picoauth_totp.codes import PERIOD, base32

LEAST_SECRET, MOST_SECRET = 14, 64
"""Bytes. RFC 4226, section 4, asks for 16 at least, and the library makes no code of less than 14."""
LONGEST_SECRET = 256
"""Characters, with spaces and `=`."""
LONGEST_LABEL = 100
SHAPE = "must be a secret in Base32, or a list of objects with secret and label"

CREATE = """
    insert into totp (enrolment_id, user_id, sealed, key_id, last_step, created_at)
    values (?, ?, ?, ?, ?, ?)
"""
OF_ALL = """
    select t.user_id, t.enrolment_id, t.sealed, t.last_step, e.label
      from totp t join enrolments e on e.id = t.enrolment_id
     where e.confirmed_at is not null and t.user_id in ({})
     order by t.enrolment_id
"""


@dataclass(frozen=True)
class App:
    """What an app has, which shows six digits each 30 seconds, by HMAC-SHA-1."""

    secret: bytes = field(repr=False)
    label: str | None = None


class TotpSecrets(ImportField):
    """Authenticators that are in force at once: the user has been using them elsewhere."""

    secret: ClassVar[bool] = True

    def __init__(self, authenticators: Authenticators) -> None:
        self.authenticators = authenticators
        self.auth = authenticators.auth

    def check(self, value: Any) -> Sequence[App]:
        items = value if isinstance(value, list) else [{"secret": value}]
        if not 1 <= len(items) <= MOST:
            raise ValueError(f"must have from 1 to {MOST} secrets")
        found = [app(item) for item in items]
        if len({one.secret for one in found}) < len(found):
            raise ValueError("has one secret twice")
        return found

    def make(self, user_id: str, value: Sequence[App]) -> Imported:
        enrolments = [self.auth.users.enrolment(user_id, FACTOR, one.label) for one in value]
        pairs = zip(enrolments, value, strict=True)
        return Imported(enrolments, [self.creating(e.id, user_id, one.secret) for e, one in pairs])

    def creating(self, enrolment_id: str, user_id: str, secret: bytes) -> Statement:
        """Nobody knows which codes of this minute were used elsewhere: all are spent (O-3)."""
        sealed = self.auth.secrets.seal(place(enrolment_id, user_id), secret)
        now = self.auth.now()
        step = now // PERIOD + self.authenticators.window
        args = (enrolment_id, user_id, sealed, self.authenticators.keys[0], step, now)
        return Statement(CREATE, args, rows=1)

    async def dump(self, user_ids: Sequence[str]) -> Mapping[str, Any]:
        """Raises Unavailable for one that does not open, rather than leave a user without it."""
        sql = OF_ALL.format(", ".join("?" * len(user_ids)))
        found: dict[str, list[dict[str, str]]] = {}
        for user_id, enrolment_id, *row, label in await self.auth.database.read(sql, user_ids):
            secret = self.authenticators.secret(Authenticator(enrolment_id, user_id, *row))
            known = {"secret": base32(secret), **({"label": label} if label else {})}
            found.setdefault(user_id, []).append(known)
        return found


def app(item: Any) -> App:
    """Raises ValueError: a clause, without the secret."""
    if not isinstance(item, dict) or not {"secret"} <= item.keys() <= {"secret", "label"}:
        raise ValueError(SHAPE)
    label = item.get("label")
    if label is not None and not is_label(label):
        raise ValueError(f"has a label that is no text of 1 to {LONGEST_LABEL} characters")
    return App(decoded(item["secret"]), label)


def is_label(label: Any) -> bool:
    if not isinstance(label, str) or not 1 <= len(label) <= LONGEST_LABEL or "\0" in label:
        return False
    return label.encode(errors="replace").decode() == label  # no lone surrogate


def decoded(text: Any) -> bytes:
    """Base32 as apps show it: in any case, in groups, with `=` or without."""
    if not isinstance(text, str) or len(text) > LONGEST_SECRET or not text.isascii():
        raise ValueError(SHAPE)
    letters = text.replace(" ", "").replace("-", "").rstrip("=").upper()
    try:
        secret = base64.b32decode(letters + "=" * (-len(letters) % 8))
    except binascii.Error as error:
        raise ValueError(SHAPE) from error
    if not LEAST_SECRET <= len(secret) <= MOST_SECRET:
        raise ValueError(f"has a secret that is not of {LEAST_SECRET} to {MOST_SECRET} bytes")
    return secret
