"""Private keys before they are signing keys: made here, or read from an operator's file."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, import_key

from picoauth.errors import ConfigError
from picoauth.parsers import parse_json
from picoauth.secrets import LEAST, check_mode

CURVES = {"ES256": "P-256", "ES512": "P-521"}
ALGORITHMS = {"secp256r1": "ES256", "secp521r1": "ES512"}
"""The one algorithm of each curve (RFC 7518, section 3.4)."""
KEY_ID = re.compile(r"[A-Za-z0-9._~-]{1,64}")


@dataclass(frozen=True)
class Material:
    """A key with its algorithm: PKCS #8 in PEM, or the bytes of a secret for HS256."""

    id: str
    algorithm: str
    raw: bytes = field(repr=False)


def made(algorithm: str, random: Callable[[int], bytes]) -> Material:
    """A new key."""
    return Material(random(9).hex(), algorithm, generate(algorithm, random))


def generate(algorithm: str, random: Callable[[int], bytes]) -> bytes:
    if algorithm == "HS256":
        return random(LEAST)
    if algorithm == "EdDSA":
        return OKPKey.generate_key("Ed25519").as_pem(private=True)
    return ECKey.generate_key(CURVES[algorithm]).as_pem(private=True)


def parse(algorithm: str, raw: bytes) -> Key:
    kinds: Mapping[str, type[Key]] = {"HS256": OctKey, "EdDSA": OKPKey}
    return kinds.get(algorithm, ECKey).import_key(raw)


def brought(path: Path, random: Callable[[int], bytes]) -> Material:
    """Read a private key, in PEM or as a JWK (RFC 7517), whose `kid` is kept.

    Without one, its id is its thumbprint (RFC 7638). Raises ConfigError for what is no
    private key, is encrypted, too short, or open to other users.
    """
    try:
        text = path.read_bytes()
        check_mode(path)
        private, members = from_jwk(text) if text.lstrip()[:1] == b"{" else (from_pem(text), {})
        algorithm, raw = told(private, members)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise ConfigError(f"{path} {error}.") from error
    return Material(key_id(algorithm, raw, members, random), algorithm, raw)


def from_pem(text: bytes) -> Any:
    """Raises ValueError, whose words go on after the name of the file."""
    try:
        return load_pem_private_key(text, None)
    except TypeError as error:
        raise ValueError(
            "is encrypted: decrypt it first, as `openssl pkey -in FILE -out NEW` does"
        ) from error
    except Exception as error:
        raise unreadable() from error


def from_jwk(text: bytes) -> tuple[Any, Mapping[str, Any]]:
    """The key, and the members about it. Raises ValueError."""
    try:
        members = parse_json(text)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about short secrets, which are refused below
            key = import_key(members)
    except Exception as error:  # of many kinds, whose words may hold the key
        raise unreadable() from error
    private = key.raw_value if isinstance(key, OctKey) else key.private_key
    if private is None:
        raise ValueError("has the public part of a key: bring the private one")
    if (
        isinstance(key, OKPKey)
        and parse("EdDSA", key.as_pem(private=True)).thumbprint() != key.thumbprint()
    ):
        raise unreadable()  # its public part is another key's, by which nobody could verify
    return private, members


def unreadable() -> ValueError:
    return ValueError("has no private key in PEM or as a JWK that can be read")


def told(private: Any, members: Mapping[str, Any]) -> tuple[str, bytes]:
    """The algorithm of a key, and its bytes. Raises ValueError."""
    algorithm = algorithm_of(private)
    if algorithm is None:
        raise ValueError(
            "has a key that none of ES256, ES512, EdDSA and HS256 is for: make one of theirs, "
            "as `openssl genpkey -algorithm ed25519 -out FILE` does"
        )
    if members.get("alg") not in (None, algorithm, *(["Ed25519"] if algorithm == "EdDSA" else [])):
        raise ValueError(f"says that its key is for another algorithm than {algorithm}: mend `alg`")
    check_use(members)
    if algorithm == "HS256":
        return algorithm, long_enough(private)
    return algorithm, private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def check_use(members: Mapping[str, Any]) -> None:
    """Raises ValueError for a key that is meant for something else (RFC 7517, 4.2 and 4.3)."""
    operations = members.get("key_ops", ["sign"])
    listed = isinstance(operations, list) and "sign" in operations
    if members.get("use") == "enc" or not listed:
        raise ValueError(
            "says that its key is not for signing: bring another one, or mend `use` and `key_ops`"
        )


def algorithm_of(private: Any) -> str | None:
    match private:
        case bytes():
            return "HS256"
        case Ed25519PrivateKey():
            return "EdDSA"
        case EllipticCurvePrivateKey():
            return ALGORITHMS.get(private.curve.name)
    return None


def long_enough(secret: bytes) -> bytes:
    """Raises ValueError for what could be guessed (K-1)."""
    if len(secret) < LEAST or len(set(secret)) < LEAST // 3:
        raise ValueError(
            f"has a secret that is too short or too regular: bring {LEAST} random bytes"
        )
    return secret


def key_id(
    algorithm: str, raw: bytes, members: Mapping[str, Any], random: Callable[[int], bytes]
) -> str:
    """Of a secret no thumbprint, which would tell something of it (RFC 7638, section 7)."""
    given = members.get("kid")
    if isinstance(given, str) and KEY_ID.fullmatch(given):
        return given
    return random(9).hex() if algorithm == "HS256" else parse(algorithm, raw).thumbprint()
