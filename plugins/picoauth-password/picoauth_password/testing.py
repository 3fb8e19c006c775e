"""How users of a test have a password, for the matrices and contracts of picoauth's test kit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from picoauth import Payload
from picoauth.testing import PASSWORD, Ceremony, Server, Someone
from picoauth_password.hashing import Stored
from picoauth_password.plugin import PasswordPlugin


class PasswordCeremony(Ceremony):
    """One password for all, hashed once for each server."""

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self.plugin = server.auth.plugin(PasswordPlugin)
        self.stored: Stored | None = None

    async def enrol(self, someone: Someone) -> None:
        self.stored = self.stored or await self.plugin.hasher.hash(PASSWORD)
        enrolment = await someone.enrolment("password")
        creating = self.plugin.passwords.creating(enrolment, self.stored)
        await self.server.auth.database.write(creating)

    async def answer(self, someone: Someone, _: Mapping[str, Any]) -> Payload:
        return {"username": someone.username, "password": PASSWORD}

    async def wrong(self, someone: Someone, _: Mapping[str, Any]) -> Payload:
        return {"username": someone.username, "password": "not the password"}
