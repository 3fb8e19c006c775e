"""How users of a test have a passkey, for the matrices and contracts of picoauth's test kit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from picoauth import Payload
from picoauth.testing import Ceremony, Someone
from picoauth.testing.authenticator import Authenticator, Credential, generated, packed
from picoauth_passkey.answers import Answer
from picoauth_passkey.ceremonies import Asked, Kind, Person, creation
from picoauth_passkey.credentials import NAME
from picoauth_passkey.plugin import PasskeyPlugin

CHALLENGE = packed(bytes(32))


class PasskeyCeremony(Ceremony):
    """To each user a device with one passkey, which verifies its user."""

    completes: ClassVar[bool] = True
    kind: ClassVar[Kind] = "passkey"

    @property
    def plugin(self) -> PasskeyPlugin:
        return self.server.auth.plugin(PasskeyPlugin)

    def device(self) -> Authenticator:
        return Authenticator(origin=self.plugin.party.origins[0])

    async def enrol(self, someone: Someone) -> None:
        """Make a key, and write it as it was verified."""
        plugin, device = self.plugin, self.device()
        await plugin.verifying.ready()
        handle = await plugin.passkeys.handle(someone.user.id)
        person = Person(handle, someone.username, someone.user.name)
        answer = device.create(creation(plugin.party, person, CHALLENGE, 60, kind=self.kind))
        asked = Asked(CHALLENGE, plugin.party.id, plugin.party.origins)
        library = plugin.verifying.library
        new = library.registered(Answer.read(answer), asked, library.Trust())
        enrolment = await someone.enrolment(NAME)
        row = plugin.passkeys.creating(enrolment, new, plugin.party.id)
        await self.server.auth.database.write(row)
        someone.notes[NAME] = device

    async def asks(self, _: Someone) -> Payload:
        return {}

    async def answer(self, someone: Someone, challenge: Mapping[str, Any]) -> Payload:
        return {NAME: signed(someone.notes[NAME], challenge)}

    async def wrong(self, someone: Someone, challenge: Mapping[str, Any]) -> Payload:
        """The right credential, signed by another key."""
        device: Authenticator = someone.notes[NAME]
        key = generated(device.algorithm)
        others = {each.id: replace(each, private_key=key) for each in keys(device)}
        return {NAME: signed(replace(device, credentials=others), challenge)}


def keys(device: Authenticator) -> list[Credential]:
    return list(device.credentials.values())


def signed(device: Authenticator, challenge: Mapping[str, Any]) -> dict[str, Any]:
    """Sign whatever is asked, as an attacker does who has the device: whoever was meant."""
    allowed = [{"type": "public-key", "id": packed(each.id)} for each in keys(device)]
    site = keys(device)[0].site
    return device.get(
        {"challenge": CHALLENGE, "rpId": site, **challenge, "allowCredentials": allowed}
    )
