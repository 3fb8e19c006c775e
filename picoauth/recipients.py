"""To whom a mail goes that anybody may ask for: whoever it is, after the same work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from picoauth.identifiers import Identifier
from picoauth.users import User

if TYPE_CHECKING:
    from picoauth.auth import Auth

NOBODY = ""
"""Whose rows are looked for where a name is nobody's."""


@dataclass(frozen=True)
class Recipient:
    """A user with a verified address, or nobody; and the keys under which such mails are counted."""

    user: User | None
    address: Identifier | None
    keys: tuple[str, str]

    @property
    def to(self) -> str | None:
        """The address as it was typed."""
        return self.address.display if self.address else None


async def recipient(auth: Auth, purpose: str, user: User | None, asked: str) -> Recipient:
    """The same reads and writes for nobody: beyond the rates, too, a mail goes to nobody (R-1).

    Only a verified address gets one (R-2): that which was `asked` for, or else the first.
    """

    def key(what: str, value: str) -> str:
        digest = auth.secrets.digests(f"{purpose} rate", f"{what} {value}")[0].hex()
        return f"{what} {purpose} {digest}"

    address = verified(await auth.users.identifiers(user.id if user else NOBODY), asked)
    if user is None or user.disabled_at is not None or address is None:
        found = Recipient(None, None, (key("nobody", asked), key("nobody's mailbox", asked)))
    else:
        found = Recipient(user, address, (key("account", user.id), key("mailbox", address.value)))
    if await auth.mail.rates.take(*found.keys):
        return found
    return replace(found, user=None, address=None)


def verified(found: Sequence[Identifier], asked: str = "") -> Identifier | None:
    """Of several verified addresses that by which was asked, or else the first."""
    those = [one for one in found if one.kind == "email" and one.verified]
    return next((one for one in those if one.value == asked), next(iter(those), None))
