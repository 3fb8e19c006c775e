"""The command `picoauth passkey import`, for keys from the days of U2F."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import click

from picoauth import Caller, ConfigError, User, run_started
from picoauth_passkey.answers import AuthenticatorData, unpacked
from picoauth_passkey.credentials import NAME
from picoauth_passkey.refusals import Refusal, failing, require

if TYPE_CHECKING:
    from picoauth_passkey.plugin import PasskeyPlugin

POINT = 65
"""Bytes of a public key as U2F writes it: 4, x and y (FIDO U2F Raw Message Formats, section 4.3)."""
MOST_USES = 1 << 32
NO_MODEL = "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True)
class Old:
    """A registration as servers of U2F keep it."""

    username: str
    key_handle: bytes
    public_key: bytes
    """As COSE (RFC 9052, section 7)."""
    counter: int
    label: str | None

    @classmethod
    def read(cls, line: str) -> Old:
        """Raises Refusal, its check being what is wrong."""
        with failing("JSON"):
            members: dict[str, Any] = dict(json.loads(line))
        name, label, counter = (
            members.get("username"),
            members.get("label"),
            members.get("counter", 0),
        )
        handle = unpacked(members.get("key_handle"), "key_handle")
        require(isinstance(name, str), "username")
        require(type(counter) is int and 0 <= counter < MOST_USES, "counter")
        require(label is None or isinstance(label, str), "label")
        return cls(str(name), handle, cose(members.get("public_key")), counter, label)


def cose(point: object) -> bytes:
    """A point of P-256, which is all that U2F has."""
    raw = unpacked(point, "public_key")
    require(len(raw) == POINT and raw[:1] == b"\x04", "public_key")
    head, between = bytes.fromhex("a5010203262001215820"), bytes.fromhex("225820")
    return head + raw[1:33] + between + raw[33:]


class Importing:
    """Takes old keys over, each in one write."""

    def __init__(self, plugin: PasskeyPlugin) -> None:
        self.plugin = plugin
        self.auth = plugin.auth

    async def take(self, lines: Iterable[str]) -> int:
        """How many were new. Raises ConfigError for the first that is wrong; those before stay."""
        if self.plugin.party.appid is None:
            raise ConfigError(
                "Keys of U2F belong to an appid: set the one of their old site in [passkey] first."
            )
        await self.plugin.verifying.ready()
        written = [n for n, line in enumerate(lines, 1) if line.strip() and await self.one(n, line)]
        return len(written)

    async def one(self, number: int, line: str) -> bool:
        try:
            old = Old.read(line)
            self.plugin.verifying.library.check_key(old.public_key)
        except Refusal as refusal:
            raise ConfigError(
                f"Line {number} is no key of U2F, look at its {refusal.check}: it needs username, and "
                "key_handle and public_key in base64url; counter and label may follow."
            ) from refusal
        user = await self.auth.users.find("username", old.username)
        if user is None:
            raise ConfigError(
                f"Line {number} is of a user who is not here: make the account first."
            )
        if await self.plugin.passkeys.owned(old.key_handle):
            return False
        await self.write(user, old, self.plugin.party.appid or "")
        return True

    async def write(self, user: User, old: Old, appid: str) -> None:
        """Sessions of the user end, as they do with every change of what proves who one is."""
        data = AuthenticatorData(b"", 0, old.counter, None)
        library = self.plugin.verifying.library
        new = library.New(old.key_handle, old.public_key, data, NO_MODEL, ("usb",))
        enrolment = self.auth.users.enrolment(user.id, NAME, old.label)
        enrolling = self.auth.users.enrolling(enrolment)
        creating = self.plugin.passkeys.creating(enrolment, new, appid)
        await self.auth.credentials.reset_credential(
            user, NAME, [enrolling, creating], Caller.local()
        )


def commands(plugin: PasskeyPlugin) -> Sequence[click.Command]:
    @click.command("import")
    @click.argument("file", type=click.File(encoding="utf-8"))
    def take(file: IO[str]) -> None:
        """Take over keys that were registered by the U2F API, one JSON object a line.

        FILE may be "-". Each has username, key_handle and public_key in base64url, and may have
        counter and label. Keys that are here already are left as they are.
        """
        new = run_started(plugin.auth, lambda: Importing(plugin).take(file))
        click.echo(f"{new} keys were taken over.")

    return [take]
