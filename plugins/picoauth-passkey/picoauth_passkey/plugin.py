"""Passkeys as a picoauth plugin: its factor, tables and routes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from picoauth import (
    Addition,
    Auth,
    Caller,
    Check,
    ConfigError,
    Event,
    Factor,
    Plugin,
    Route,
    User,
    UserDeleted,
    hookimpl,
)
from picoauth_passkey.answers import packed
from picoauth_passkey.ceremonies import Person, signals
from picoauth_passkey.checkups import Checkups
from picoauth_passkey.credentials import MIGRATIONS, NAME, Passkeys
from picoauth_passkey.factor import PasskeyFactor
from picoauth_passkey.refusals import PasskeyRefused, Refusal
from picoauth_passkey.registrations import Registrations, beginning
from picoauth_passkey.settings import PasskeySettings, RelyingParty
from picoauth_passkey.site import Site

if TYPE_CHECKING:
    import click


class Verifying:
    """The module that verifies, which is there from the first passkey on."""

    def __init__(self) -> None:
        self.library: Any = None

    async def ready(self) -> None:
        """To import it takes a fifth of a second, in which others are served."""
        if self.library is None:
            self.library = await asyncio.to_thread(import_module, "picoauth_passkey.library")


class PasskeyPlugin(Plugin[PasskeySettings]):
    """Registration of passkeys, and login by them."""

    def __init__(self, auth: Auth, name: str, settings: PasskeySettings) -> None:
        super().__init__(auth, name, settings)
        self.party = RelyingParty.of(auth.config, settings)
        self.sites = [site for site in (self.party.id, self.party.appid) if site]
        self.roots = [pem for path in settings.attestation_roots for pem in certificates(path)]
        self.passkeys = Passkeys(auth, settings.most)
        self.verifying = Verifying()
        self.factor = PasskeyFactor(self)

    @hookimpl
    def migrations(self) -> Sequence[str]:
        return MIGRATIONS

    @hookimpl
    def factors(self) -> Sequence[Factor]:
        return [self.factor]

    @hookimpl
    def routes(self) -> Sequence[Route]:
        return [*Registrations(self).routes(), *Site(self).routes()]

    @hookimpl
    def commands(self) -> Sequence[click.Command]:
        from picoauth_passkey.commands import commands  # noqa: PLC0415 - for the CLI alone

        return commands(self)

    @hookimpl
    def checks(self) -> Sequence[Check]:
        return Checkups(self).checks()

    @hookimpl
    def record(self, event: Event) -> Addition | None:
        """What was counted under the id of a user goes with the user."""
        if isinstance(event, UserDeleted):
            return Addition(self.auth.limiter.succeeded(beginning(str(event.user_id))))
        return None

    @hookimpl
    async def export(self, user: User) -> Mapping[str, Any]:
        """No keys: they are of no use to anybody else."""
        enrolled = {each.id: each for each in await self.auth.users.enrolments(user.id)}
        return {
            "passkeys": [
                {
                    "label": enrolled[each.enrolment_id].label,
                    "made_at": each.made_at,
                    "last_used_at": enrolled[each.enrolment_id].last_used_at,
                    "aaguid": each.aaguid,
                    "rp_id": each.rp_id,
                    "transports": list(each.transports),
                    "backed_up": each.backed_up,
                }
                for each in await self.passkeys.of(user.id)
            ]
        }

    def unknown(self, credential_id: bytes) -> dict[str, Any]:
        """A hint for the page, so that the device forgets the passkey (WebAuthn L3, 5.1.10)."""
        return {"unknownCredential": {"rpId": self.party.id, "credentialId": packed(credential_id)}}

    async def signals(self, user: User, *more: bytes) -> dict[str, Any]:
        """What devices should know of a user, with passkeys that are about to be written."""
        known = [e.id for e in await self.passkeys.of(user.id) if e.rp_id == self.party.id]
        person = Person(await self.passkeys.handle(user.id), await self.shown(user), user.name)
        return signals(self.party, person, sorted([*known, *more]))

    async def shown(self, user: User) -> str:
        """By what a user knows which of several accounts it is."""
        return await self.auth.users.username(user.id) or user.name

    async def tell(self, refusal: Refusal, user_id: str | None, caller: Caller) -> None:
        event = PasskeyRefused(
            at=self.auth.now(), user_id=user_id, check=refusal.check, caller=caller
        )
        await self.auth.events.commit(event)


def certificates(path: Path) -> list[bytes]:
    """Those in one file of `attestation_roots`, in PEM. Raises ConfigError."""
    from cryptography import x509  # noqa: PLC0415 - for those who demand attestation
    from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415

    try:
        found = x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise ConfigError(
            f"attestation_roots in [{NAME}]: {path} cannot be read: {error.strerror}."
        ) from error
    except ValueError as error:
        raise ConfigError(
            f"attestation_roots in [{NAME}]: {path} has no certificates in PEM: "
            "put those of the makers that you trust into it."
        ) from error
    return [each.public_bytes(Encoding.PEM) for each in found]
