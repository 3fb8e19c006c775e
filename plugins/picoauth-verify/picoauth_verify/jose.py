"""Signed tokens in compact form (RFC 7515), read strictly, and the keys that sign them."""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

LONGEST_HEADER = 1024
"""Characters; a longer one is refused unread (K-4)."""
COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
HEADER = {"typ", "alg", "kid"}
"""All that the server writes. With any other member (`crit`, `zip`, `b64`, `jwk`, `jku`, `x5u`)
a header is not one of its own (RFC 8725, sections 3.8 to 3.10)."""
CURVES: Mapping[str, tuple[ec.EllipticCurve, ec.ECDSA, int]] = {
    "ES256": (ec.SECP256R1(), ec.ECDSA(hashes.SHA256()), 32),
    "ES512": (ec.SECP521R1(), ec.ECDSA(hashes.SHA512()), 66),
}
"""Curve, hash and bytes of a coordinate, by algorithm (RFC 7518, section 3.4)."""
KINDS = [["EdDSA", "OKP", "Ed25519"], ["ES256", "EC", "P-256"], ["ES512", "EC", "P-521"]]
"""Algorithm, type and curve of the keys that a server may have."""

Public: TypeAlias = ec.EllipticCurvePublicKey | Ed25519PublicKey


class Unreadable(Exception):
    """Not what it should be, in a sentence without a secret."""


@dataclass(frozen=True)
class Key:
    """A public key, and the one algorithm that it is for (RFC 8725, section 3.1)."""

    id: str
    algorithm: str
    point: bytes
    public: Public = field(repr=False, compare=False)

    def verify(self, signature: bytes, signed: bytes) -> None:
        """Raises Unreadable."""
        try:
            if isinstance(self.public, Ed25519PublicKey):
                self.public.verify(signature, signed)
            else:
                _, ecdsa, size = CURVES[self.algorithm]
                self.public.verify(in_der(signature, size), signed, ecdsa)
        except InvalidSignature as error:
            raise Unreadable("The signature is wrong.") from error


def in_der(signature: bytes, size: int) -> bytes:
    """The two numbers of an ECDSA signature, as OpenSSL takes them."""
    if len(signature) != 2 * size:
        raise Unreadable("The signature has a wrong length.")
    return encode_dss_signature(
        int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big")
    )


def keys_of(document: bytes) -> Mapping[str, Key]:
    """The keys of a JWK set (RFC 7517) that can verify. Raises Unreadable.

    Keys of other kinds are left out: with a symmetric one, whoever can check could also sign.
    """
    found = json_of(document).get("keys")
    if not isinstance(found, list) or not all(isinstance(jwk, dict) for jwk in found):
        raise Unreadable("This is no set of keys.")
    keys = [key_of(jwk) for jwk in found if is_ours(jwk)]
    by_id = {key.id: key for key in keys}
    if len(by_id) < len(keys):
        raise Unreadable("Two keys have the same id.")
    return by_id


def is_ours(jwk: Mapping[str, Any]) -> bool:
    """Whether a key is for signatures that only the server can make, by an algorithm of its own."""
    kind = [jwk.get("alg"), jwk.get("kty"), jwk.get("crv")]
    return (
        kind in KINDS
        and jwk.get("use") == "sig"
        and isinstance(jwk.get("kid"), str)
        and "d" not in jwk
    )


def key_of(jwk: Mapping[str, Any]) -> Key:
    try:
        if jwk["alg"] == "EdDSA":
            point = decoded(jwk["x"])
            public: Public = Ed25519PublicKey.from_public_bytes(point)
        else:
            curve, _, _ = CURVES[jwk["alg"]]
            point = b"\x04" + decoded(jwk["x"]) + decoded(jwk["y"])
            public = ec.EllipticCurvePublicKey.from_encoded_point(curve, point)
    except (KeyError, TypeError, ValueError, Unreadable) as error:
        raise Unreadable("A key of the set is damaged.") from error
    return Key(jwk["kid"], jwk["alg"], point, public)


def opened(token: str, kind: str, keys: Mapping[str, Key]) -> tuple[Key, bytes]:
    """What a token of this `typ` carries, and the key that signed it. Raises Unreadable.

    The token only names its key: what that key is for, the key set says.
    """
    parts = COMPACT.fullmatch(token)
    if parts is None or parts.end(1) > LONGEST_HEADER:
        raise Unreadable("This is no signed token.")
    header = json_of(decoded(parts[1]))
    if header.keys() != HEADER or header["typ"] != kind or not isinstance(header["kid"], str):
        raise Unreadable("The header is not that of such a token.")
    key = keys.get(header["kid"])
    if key is None:
        raise Unreadable("The key is not in force.")
    if header["alg"] != key.algorithm:
        raise Unreadable("The algorithm is not that of the key.")
    key.verify(decoded(parts[3]), token[: parts.end(2)].encode())
    return key, decoded(parts[2])


def decoded(segment: str) -> bytes:
    """Base64url in its one spelling: else one token had many (RFC 4648, section 3.5)."""
    try:
        raw = urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    except ValueError as error:
        raise Unreadable("This is not base64url.") from error
    if urlsafe_b64encode(raw).rstrip(b"=") != segment.encode():
        raise Unreadable("This is not base64url.")
    return raw


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise Unreadable("A name comes twice.")
    return found


def refuse(constant: str) -> None:
    """NaN and the infinities are Python's own."""
    raise Unreadable(f"{constant} is not JSON.")


STRICT = json.JSONDecoder(object_pairs_hook=unique, parse_constant=refuse)


def json_of(raw: bytes) -> dict[str, Any]:
    """A JSON object in which no name comes twice: readers differ in which one counts."""
    try:
        found = STRICT.decode(raw.decode())
    except (ValueError, RecursionError) as error:
        raise Unreadable("This is not JSON.") from error
    if not isinstance(found, dict):
        raise Unreadable("This is no JSON object.")
    return found
