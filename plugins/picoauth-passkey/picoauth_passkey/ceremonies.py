"""What a device is asked to do: the options of both ceremonies, as JSON (WebAuthn L3, section 5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from picoauth_passkey.answers import packed
from picoauth_passkey.credentials import Credential
from picoauth_passkey.settings import RelyingParty

Kind = Literal["passkey", "security_key"]

ALGORITHMS = (-8, -7, -257)
"""EdDSA, ES256, RS256 (IANA's COSE algorithms), the best first."""
CHALLENGE = 32
"""Random bytes (W-1)."""


@dataclass(frozen=True)
class Asked:
    """What an answer has to fit: none of it comes from the client."""

    challenge: str
    site: str
    """The relying party's id, or the `appid` of old keys."""
    origins: Sequence[str]
    verified: bool = False
    """Whether the device must have asked for a PIN or a finger."""


@dataclass(frozen=True)
class Person:
    """A user as a device is to show her."""

    handle: bytes
    name: str
    display_name: str

    def json(self) -> dict[str, str]:
        return {"id": packed(self.handle), "name": self.name, "displayName": self.display_name}


def signals(party: RelyingParty, person: Person, ids: Sequence[bytes]) -> dict[str, Any]:
    """What devices should know of a user, ready for `PublicKeyCredential.signal…` (5.1.10)."""
    whose = {"rpId": party.id, "userId": packed(person.handle)}
    names = {"name": person.name, "displayName": person.display_name}
    return {
        "allAcceptedCredentials": {
            **whose,
            "allAcceptedCredentialIds": [packed(each) for each in ids],
        },
        "currentUserDetails": {**whose, **names},
    }


def descriptor(credential: Credential) -> dict[str, Any]:
    return described(credential.id, credential.transports)


def described(identity: bytes, transports: Sequence[str]) -> dict[str, Any]:
    """PublicKeyCredentialDescriptorJSON."""
    return {"type": "public-key", "id": packed(identity), "transports": list(transports)}


def creation(
    party: RelyingParty,
    person: Person,
    challenge: str,
    life: int,
    *,
    kind: Kind = "passkey",
    verified: bool = False,
    known: Sequence[Credential] = (),
    attestation: str = "none",
) -> dict[str, Any]:
    """PublicKeyCredentialCreationOptionsJSON; `life` in seconds."""
    excluded = {} if party.appid is None else {"appidExclude": party.appid}
    return {
        "rp": {"id": party.id, "name": party.name},
        "user": person.json(),
        "challenge": challenge,
        "pubKeyCredParams": [{"type": "public-key", "alg": number} for number in ALGORITHMS],
        "timeout": life * 1000,
        "excludeCredentials": [descriptor(each) for each in known],
        "authenticatorSelection": selection(kind, verified=verified),
        "hints": ["security-key"] if kind == "security_key" else [],
        "attestation": attestation,
        "extensions": {"credProps": True, **excluded},
    }


def selection(kind: Kind, *, verified: bool) -> dict[str, Any]:
    """A key of U2F keeps nothing, and asks nobody for a PIN."""
    if kind == "security_key":
        plain = {"residentKey": "discouraged", "requireResidentKey": False}
        return {
            **plain,
            "authenticatorAttachment": "cross-platform",
            "userVerification": "discouraged",
        }
    wish = "required" if verified else "preferred"
    return {"residentKey": "required", "requireResidentKey": True, "userVerification": wish}


def request(
    party: RelyingParty,
    challenge: str,
    life: int,
    *,
    allowed: Sequence[dict[str, Any]],
    verification: str,
) -> dict[str, Any]:
    """PublicKeyCredentialRequestOptionsJSON; without `allowed`, whichever passkey the user picks.

    Browsers refuse `appid` where no key is named.
    """
    appid = {"appid": party.appid} if party.appid is not None and allowed else {}
    return {
        "challenge": challenge,
        "timeout": life * 1000,
        "rpId": party.id,
        "allowCredentials": list(allowed),
        "userVerification": verification,
        "hints": [],
        "extensions": appid,
    }
