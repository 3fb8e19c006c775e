"""Signed tokens in compact form (RFC 7515), each key with the one algorithm that it is for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import Key
from joserfc.jws import JWSRegistry, deserialize_compact, serialize_compact

from picoauth.errors import ConfigError, Denied
from picoauth.problems import INVALID_TOKEN

BEARER = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
LONGEST = 4096
"""Bytes of a token; longer ones are refused unread (K-4)."""


def signed(key: Key, header: Mapping[str, str], claims: Mapping[str, Any]) -> str:
    """Claims of any size under exactly this header, signed."""
    payload = json.dumps(claims, separators=(",", ":")).encode()
    return serialize_compact(dict(header), payload, key, registry=pinned(header["alg"]))


def sign(key: Key, header: Mapping[str, str], claims: Mapping[str, Any]) -> str:
    """A token, signed. Raises ConfigError for one over 4 KiB."""
    token = signed(key, header, claims)
    if len(token) > LONGEST:
        raise ConfigError(
            "Plugins add so many claims that tokens grow over 4 KiB: have them add fewer."
        )
    return token


def opened(token: str, key: Key, algorithm: str) -> dict[str, Any]:
    """The claims of a token that this key signed. Raises Denied."""
    try:
        opened = deserialize_compact(token, key, registry=pinned(algorithm))
        claims = json.loads(opened.payload or b"")
    except (JoseError, ValueError) as error:
        raise invalid() from error
    if not isinstance(claims, dict):
        raise invalid()
    return claims


@lru_cache
def pinned(algorithm: str) -> Any:
    """A registry of exactly one algorithm, with room for our claims.

    `EdDSA` keeps its old name: RFC 9864 renames it, but verifiers in the field know no other.
    """

    class Pinned(JWSRegistry):
        max_payload_length = LONGEST

        def get_alg(self, name: str) -> Any:  # noqa: ARG002
            return self.algorithms[algorithm]

    return Pinned(algorithms=[algorithm])


def invalid() -> Denied:
    return Denied(INVALID_TOKEN, headers=BEARER)
