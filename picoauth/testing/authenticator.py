"""A soft WebAuthn authenticator, with the browser in front of it: options in, JSON out.

    device = Authenticator(origin="https://auth.example.org")
    registration = device.create(creation_options)  # what navigator.credentials.create() gives
    assertion = device.get(request_options)         # what navigator.credentials.get() gives

Options and answers are the JSON of WebAuthn Level 3 (`parseCreationOptionsFromJSON`, `toJSON`).
It checks nothing that a server has to check: for negative tests make another one that shares
its keys, such as `replace(device, origin="https://evil.example")`.
"""

from __future__ import annotations

import json
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from hashlib import sha256
from typing import Any, Literal, TypeAlias
from urllib.parse import urlsplit

import cbor2
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

Options: TypeAlias = Mapping[str, Any]
Algorithm: TypeAlias = Literal["ES256", "EdDSA"]

COSE = {"ES256": -7, "EdDSA": -8}
"""IANA's COSE algorithms."""
UP, UV, BE, BS, AT = 0x01, 0x04, 0x08, 0x10, 0x40
"""Flags of the authenticator data (WebAuthn, section 6.1)."""
NO_AAGUID = bytes(16)


class NotAllowed(Exception):
    """The browser would raise a DOMException: there is no such key, or one there already."""


@dataclass
class Credential:
    """One key pair, for one site."""

    site: str
    """The relying party's id; of a key from the days of U2F its `appid`."""
    user_handle: bytes | None
    """Kept by a discoverable credential, which names its user; None for one that does not."""
    private_key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
    counter: int = 0
    id: bytes = field(default_factory=lambda: secrets.token_bytes(32))

    @property
    def algorithm(self) -> Algorithm:
        return "ES256" if isinstance(self.private_key, ec.EllipticCurvePrivateKey) else "EdDSA"

    @property
    def public_key(self) -> bytes:
        """As a COSE key (RFC 9052, section 7)."""
        if isinstance(self.private_key, ed25519.Ed25519PrivateKey):
            raw = self.private_key.public_key().public_bytes_raw()
            return cbor2.dumps({1: 1, 3: COSE["EdDSA"], -1: 6, -2: raw})
        numbers = self.private_key.public_key().public_numbers()
        x, y = (number.to_bytes(32, "big") for number in (numbers.x, numbers.y))
        return cbor2.dumps({1: 2, 3: COSE["ES256"], -1: 1, -2: x, -3: y})

    def sign(self, data: bytes) -> bytes:
        return signed(self.private_key, data)


@dataclass
class Authenticator:
    """A device that makes credentials and signs with them, in a browser at `origin`."""

    origin: str = "http://localhost"
    algorithm: Algorithm = "ES256"
    attestation: Literal["none", "packed", "fido-u2f"] = "none"
    """What it attests where the options ask for it; `packed` is self attestation.

    `fido-u2f` makes it a U2F key, which never verifies its user and keeps no user handle.
    """
    present: bool = True
    """The flag UP: somebody touched it."""
    verified: bool = True
    """The flag UV: that was its owner, by PIN or biometrics."""
    backup_eligible: bool = False
    """The flag BE: a passkey that is synchronized."""
    backed_up: bool = False
    """The flag BS."""
    counting: bool = True
    """Whether the counter of a credential rises with each use; set `counter` for another one."""
    cross_origin: bool = False
    """Whether it is asked from within a frame of `top_origin`, or of any other site."""
    top_origin: str | None = None
    credentials: dict[bytes, Credential] = field(default_factory=dict)

    def create(self, options: Options) -> dict[str, Any]:
        """Make a credential (WebAuthn, section 5.1.3). Raises NotAllowed."""
        if any(unpacked(known["id"]) in self.credentials for known in known_in(options)):
            raise NotAllowed("InvalidStateError: this device has a key for the user already")
        if COSE[self.algorithm] not in [each["alg"] for each in options["pubKeyCredParams"]]:
            raise NotAllowed("NotSupportedError: none of the algorithms is spoken here")
        wish = options.get("authenticatorSelection", {}).get("residentKey", "discouraged")
        wanted = wish != "discouraged" or self.backup_eligible  # a passkey can be no other
        resident = wanted and self.attestation != "fido-u2f"
        credential = self.made(
            options["rp"].get("id", self.host),
            unpacked(options["user"]["id"]) if resident else None,
        )
        client_data = self.client_data("webauthn.create", options["challenge"])
        data = self.authenticator_data(credential, credential.site, attested=True)
        asked = options.get("attestation", "none") != "none"
        statement = self.statement(credential, data, client_data) if asked else ("none", {})
        attestation = {"fmt": statement[0], "attStmt": statement[1], "authData": data}
        public = credential.private_key.public_key()
        extensions = {"credProps": {"rk": resident}} if "credProps" in extras(options) else {}
        return self.answer(
            credential,
            extensions,
            clientDataJSON=packed(client_data),
            attestationObject=packed(cbor2.dumps(attestation)),
            authenticatorData=packed(data),
            publicKey=packed(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)),
            publicKeyAlgorithm=COSE[self.algorithm],
            transports=["internal"] if self.backup_eligible else ["usb"],
        )

    def get(self, options: Options) -> dict[str, Any]:
        """Sign a challenge (WebAuthn, section 5.1.4). Raises NotAllowed where no key is asked for."""
        app_id = extras(options).get("appid")
        credential = self.chosen(options, app_id)
        if self.counting:
            credential.counter += 1
        client_data = self.client_data("webauthn.get", options["challenge"])
        data = self.authenticator_data(credential, credential.site)
        handle = credential.user_handle
        return self.answer(
            credential,
            {} if app_id is None else {"appid": credential.site == app_id},
            clientDataJSON=packed(client_data),
            authenticatorData=packed(data),
            signature=packed(credential.sign(data + sha256(client_data).digest())),
            **({} if handle is None else {"userHandle": packed(handle)}),
        )

    def made(self, site: str, user_handle: bytes | None = None) -> Credential:
        """Make a key that no site has heard of; for an `appid`, one from the days of U2F."""
        credential = Credential(site, user_handle, generated(self.algorithm))
        self.credentials[credential.id] = credential
        return credential

    def chosen(self, options: Options, app_id: str | None) -> Credential:
        """One of those allowed, or of those that name their user themselves."""
        sites = (options.get("rpId", self.host), app_id)
        allowed = [unpacked(each["id"]) for each in options.get("allowCredentials", ())]
        for credential in self.credentials.values():
            named = credential.id in allowed or (not allowed and credential.user_handle is not None)
            if named and credential.site in sites:
                return credential
        raise NotAllowed("NotAllowedError: this device has none of the keys")

    @property
    def host(self) -> str:
        return urlsplit(self.origin).hostname or ""

    def client_data(self, kind: str, challenge: str) -> bytes:
        """What the browser says about where it was asked (WebAuthn, section 5.8.1)."""
        top = {} if self.top_origin is None else {"topOrigin": self.top_origin}
        members = {"type": kind, "challenge": challenge, "origin": self.origin}
        return json.dumps({**members, "crossOrigin": self.cross_origin, **top}).encode()

    def authenticator_data(
        self, credential: Credential, site: str, *, attested: bool = False
    ) -> bytes:
        """WebAuthn, section 6.1; `attested` holds the new credential."""
        flags = [
            UP if self.present else 0,
            UV if self.verified and self.attestation != "fido-u2f" else 0,
            BE if self.backup_eligible else 0,
            BS if self.backed_up else 0,
            AT if attested else 0,
        ]
        length = len(credential.id).to_bytes(2, "big")
        made = NO_AAGUID + length + credential.id + credential.public_key if attested else b""
        counter = credential.counter.to_bytes(4, "big")
        return sha256(site.encode()).digest() + bytes([sum(flags)]) + counter + made

    def statement(
        self, credential: Credential, data: bytes, client_data: bytes
    ) -> tuple[str, dict[str, Any]]:
        """Format and attestation statement (WebAuthn, sections 8.2 and 8.6)."""
        hashed = sha256(client_data).digest()
        if self.attestation == "packed":
            signature = credential.sign(data + hashed)
            return "packed", {"alg": COSE[credential.algorithm], "sig": signature}
        if self.attestation == "fido-u2f":
            public = credential.private_key.public_key()
            point = public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
            verified = b"\0" + data[:32] + hashed + credential.id + point
            key, certificate = self.batch
            return "fido-u2f", {"x5c": [certificate], "sig": signed(key, verified)}
        return "none", {}

    @cached_property
    def batch(self) -> tuple[ec.EllipticCurvePrivateKey, bytes]:
        """The key by which a maker of U2F keys attests them, and its certificate."""
        key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
        name = x509.Name.from_rfc4514_string("CN=Soft U2F key")
        certificate = (
            x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .sign(key, SHA256())
        )
        return key, certificate.public_bytes(Encoding.DER)

    def answer(
        self, credential: Credential, extensions: Mapping[str, Any], **response: Any
    ) -> dict[str, Any]:
        return {
            "id": packed(credential.id),
            "rawId": packed(credential.id),
            "type": "public-key",
            "authenticatorAttachment": "platform" if self.backup_eligible else "cross-platform",
            "clientExtensionResults": dict(extensions),
            "response": response,
        }


def generated(algorithm: Algorithm) -> ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey:
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key(ec.SECP256R1())


def signed(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey, data: bytes) -> bytes:
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(data)
    return key.sign(data, ec.ECDSA(SHA256()))


def known_in(options: Options) -> Iterable[Mapping[str, Any]]:
    found: Iterable[Mapping[str, Any]] = options.get("excludeCredentials", ())
    return found


def extras(options: Options) -> Mapping[str, Any]:
    found: Mapping[str, Any] = options.get("extensions") or {}
    return found


def packed(raw: bytes) -> str:
    """Base64url without padding (RFC 4648, section 5)."""
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def unpacked(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
