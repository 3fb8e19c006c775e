"""Signatures of Standard Webhooks: HMAC-SHA256 over id, time and body."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping, Sequence

from picoauth import ConfigError

PREFIX = b"whsec_"
LEAST, MOST = 24, 64
"""Bytes of a secret, as the specification has them."""


def key(secret: bytes, where: str) -> bytes:
    """The bytes of a `whsec_…`. Raises ConfigError, which repeats nothing of it."""
    try:
        found = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        found = b""
    if not (secret.startswith(PREFIX) and LEAST <= len(found) <= MOST):
        raise ConfigError(
            f"{where} must be whsec_ and then {LEAST} to {MOST} random bytes in base64: "
            'make one by `echo "whsec_$(openssl rand -base64 32)"`.'
        )
    return found


def headers(keys: Sequence[bytes], message_id: str, at: int, body: bytes) -> Mapping[str, str]:
    """One signature for each key: while a secret is changed, both sides know at least one."""
    signed = f"{message_id}.{at}.".encode() + body
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(at),
        "webhook-signature": " ".join(f"v1,{signature(key, signed)}" for key in keys),
    }


def signature(key: bytes, signed: bytes) -> str:
    return base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
