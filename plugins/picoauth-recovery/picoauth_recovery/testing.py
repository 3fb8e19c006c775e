"""How users of a test have recovery codes, for the matrices and contracts of picoauth's test kit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from picoauth import Payload
from picoauth.testing import Ceremony, Someone
from picoauth_recovery.plugin import RecoveryPlugin
from picoauth_recovery.sets import FACTOR


class RecoveryCeremony(Ceremony):
    """A set of ten; those that are not used yet are in `someone.notes["recovery"]`."""

    async def enrol(self, someone: Someone) -> None:
        sets = self.server.auth.plugin(RecoveryPlugin).sets
        codes, statements = sets.making(someone.user.id)
        await self.server.auth.database.write(*statements)
        someone.notes[FACTOR] = list(codes)

    async def answer(self, someone: Someone, _: Mapping[str, Any]) -> Payload:
        """The next one, each once; after nine a new set, whatever became of the old one."""
        if len(someone.notes[FACTOR]) == 1:
            await self.enrol(someone)
        return {FACTOR: someone.notes[FACTOR].pop()}

    async def wrong(self, someone: Someone, _: Mapping[str, Any]) -> Payload:
        """One of hers, but for a character."""
        code = someone.notes[FACTOR][-1]
        return {FACTOR: code[:-1] + ("1" if code[-1] == "0" else "0")}
