"""The `webauthn` library, which has the last word: imported with the first passkey, not before."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from webauthn import verify_authentication_response, verify_registration_response
from webauthn.helpers import (
    decode_credential_public_key,
    decoded_public_key_to_cryptography,
    parse_cbor,
    validate_certificate_chain,
)
from webauthn.helpers.cose import COSEAlgorithmIdentifier

from picoauth_passkey.answers import Answer, Attested, AuthenticatorData, mapping, unpacked
from picoauth_passkey.cbor import require_map
from picoauth_passkey.ceremonies import ALGORITHMS, Asked
from picoauth_passkey.credentials import Credential
from picoauth_passkey.refusals import Refusal, failing, require

FEWEST_BITS, MOST_BITS = 2048, 8192
"""Of an RSA key; a longer one would cost as much time as its maker likes."""
SPOKEN = [COSEAlgorithmIdentifier(number) for number in ALGORITHMS]
AAGUID_OF_CERTIFICATE = x509.ObjectIdentifier("1.3.6.1.4.1.45724.1.1.4")
"""Section 8.2.1."""

# The key of nobody: an unknown credential costs what a known one does.
NOBODY = Credential(
    enrolment_id="",
    user_id="",
    id=b"",
    public_key=bytes.fromhex(
        "a5010203262001"
        "2158206b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
        "2258204fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
    ),
    counter=0,
    user_verified=False,
    device_bound=True,
    backup_eligible=False,
    backed_up=False,
    transports=(),
    aaguid="",
    rp_id="",
)


@dataclass(frozen=True)
class Trust:
    """Which makers and models are taken; without `roots` all are, since nothing is asked."""

    roots: Sequence[bytes] = ()
    """PEM."""
    aaguids: Collection[str] = ()

    def check(self, attested: Attested, statement: Any) -> None:
        """Sections 7.1, steps 23 to 25, and 8.2.1. Raises Refusal."""
        if not self.roots:
            return
        chain: list[bytes] = mapping(statement, "attestation").get("x5c") or []
        require(chain, "attestation_missing")
        with failing("attestation_root"):
            validate_certificate_chain(x5c=chain, pem_root_certs_bytes=list(self.roots))
        with failing("aaguid"):
            require(named_model(chain[0]) in (None, attested.aaguid), "aaguid")
        require(not self.aaguids or str(UUID(bytes=attested.aaguid)) in self.aaguids, "aaguid")


def named_model(certificate: bytes) -> bytes | None:
    """The AAGUID that a certificate is for, where it says so."""
    extensions = x509.load_der_x509_certificate(certificate).extensions
    found = [each.value for each in extensions if each.oid == AAGUID_OF_CERTIFICATE]
    if not found:
        return None
    value: bytes = found[0].public_bytes()
    require(value[:2] == b"\x04\x10", "aaguid")  # an OCTET STRING of 16 bytes
    return value[2:]


@dataclass(frozen=True)
class New:
    """A credential that was verified, not stored yet."""

    id: bytes
    public_key: bytes
    data: AuthenticatorData
    aaguid: str
    transports: tuple[str, ...]


def registered(answer: Answer, asked: Asked, trust: Trust) -> New:
    """Verify a registration (WebAuthn, section 7.1). Raises Refusal."""
    raw = answer.bytes_of("attestationObject", "attestation_object")
    answer.check_client("webauthn.create", asked.challenge, asked.origins)
    kind, statement, data = opened(raw)
    data.check(asked.site, verified=asked.verified)
    attested = data.attested
    if attested is None:
        raise Refusal("attested_data")
    require(attested.id == answer.id, "credential_id")
    check_key(attested.key)
    require(kind != "none" or statement == {}, "attestation")
    with failing("attestation"):
        found = verify_registration_response(
            credential=answer.plain("attestationObject"),
            expected_challenge=unpacked(asked.challenge, "challenge"),
            expected_rp_id=asked.site,
            expected_origin=list(asked.origins),
            require_user_verification=asked.verified,
            supported_pub_key_algs=SPOKEN,
        )
    trust.check(attested, statement)
    return New(
        found.credential_id, found.credential_public_key, data, found.aaguid, answer.transports
    )


def opened(raw: bytes) -> tuple[str, Any, AuthenticatorData]:
    """Format, statement and authenticator data of an attestation object (section 6.5)."""
    check = "attestation_object"
    require(require_map(raw, 0, check) == len(raw), check)
    with failing(check):
        members = mapping(parse_cbor(raw), check)
    require(members.keys() == {"fmt", "attStmt", "authData"}, check)
    require(isinstance(members["fmt"], str) and isinstance(members["attStmt"], dict), check)
    require(isinstance(members["authData"], bytes), check)
    return members["fmt"], members["attStmt"], AuthenticatorData.read(members["authData"])


def check_key(cose: bytes) -> None:
    """The key is of an algorithm that was offered, and a good one. Raises Refusal.

    The library looks at the algorithm alone; the key it would look at with the first login.
    """
    with failing("public_key"):
        decoded = decode_credential_public_key(cose)
        number = int(decoded.alg)
    require(number in ALGORITHMS, "algorithm")
    with failing("public_key"):
        key = decoded_public_key_to_cryptography(decoded)
        on_curve = isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == "secp256r1"
        strong = isinstance(key, rsa.RSAPublicKey) and FEWEST_BITS <= key.key_size <= MOST_BITS
        edwards = isinstance(key, ed25519.Ed25519PublicKey)
    require({-7: on_curve, -8: edwards, -257: strong}[number], "public_key")


def check_signature(answer: Answer, asked: Asked, credential: Credential) -> None:
    """Verify an assertion (WebAuthn, section 7.2). Raises Refusal.

    The counter is compared with the stored one by the statement that writes it.
    """
    with failing("signature"):
        verify_authentication_response(
            credential=answer.plain("authenticatorData", "signature"),
            expected_challenge=unpacked(asked.challenge, "challenge"),
            expected_rp_id=asked.site,
            expected_origin=list(asked.origins),
            credential_public_key=credential.public_key,
            credential_current_sign_count=0,
            require_user_verification=asked.verified,
        )
