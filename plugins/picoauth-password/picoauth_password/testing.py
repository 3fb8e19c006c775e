"""How users of a test have a password, for the matrices and contracts of picoauth's test kit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from picoauth import Payload
from picoauth.testing import PASSWORD, Ceremony, Someone
from picoauth_password.plugin import PasswordPlugin


class PasswordCeremony(Ceremony):
    """To each user a password of her own."""

    async def enrol(self, someone: Someone) -> None:
        plugin = self.server.auth.plugin(PasswordPlugin)
        stored = await plugin.hasher.hash(password(someone))
        enrolment = await someone.enrolment("password")
        await self.server.auth.database.write(plugin.passwords.creating(enrolment, stored))

    async def answer(self, someone: Someone, _: Mapping[str, Any]) -> Payload:
        return {"username": someone.username, "password": password(someone)}

    async def wrong(self, someone: Someone, _: Mapping[str, Any]) -> Payload:
        return {"username": someone.username, "password": f"{password(someone)}!"}


def password(someone: Someone) -> str:
    return f"{PASSWORD} of {someone.username}"
