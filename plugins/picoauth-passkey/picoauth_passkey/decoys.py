"""Passkeys that nobody has, for names that are nobody's: who asks cannot tell them apart (W-8)."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from hashlib import shake_256
from typing import Any

from picoauth import Auth
from picoauth_passkey.ceremonies import described

MARK = 8
"""Bytes at the end by which we know our own: to all others they are as random as the rest."""
KINDS: Sequence[tuple[int, tuple[str, ...]]] = (
    (16, ("hybrid", "internal")),
    (20, ("hybrid", "internal")),
    (32, ("hybrid", "internal")),
    (32, ("internal",)),
    (48, ("nfc", "usb")),
    (64, ("usb",)),
)
"""Length of the id, in bytes, and transports, of what people have."""
ONE_KEY = 192
"""Of 256 names, so many have one key; the others have two."""


class Decoys:
    """Makes them from the name alone: the same at each request, and without a row."""

    def __init__(self, auth: Auth) -> None:
        self.secrets = auth.secrets

    def of(self, name: str) -> list[dict[str, Any]]:
        """Descriptors, in the order of their ids, as those of users are. `name` is canonical."""
        seed = self.secrets.digests("passkey decoy", name)[0]
        numbers = range(1 if seed[0] < ONE_KEY else 2)
        made = sorted(self.made(seed, number) for number in numbers)
        return [described(identity, transports) for identity, transports in made]

    def made(self, seed: bytes, number: int) -> tuple[bytes, tuple[str, ...]]:
        length, transports = KINDS[seed[number + 1] % len(KINDS)]
        body = shake_256(seed + bytes([number])).digest(length - MARK)
        return body + self.marks(body)[0], transports

    def marks(self, body: bytes) -> list[bytes]:
        digests = self.secrets.digests("passkey decoy mark", body.hex())
        return [digest[:MARK] for digest in digests]

    def has(self, identity: bytes) -> bool:
        """Whether it is one of ours. To say that such a key is unknown would tell whose name is."""
        body, mark = identity[:-MARK], identity[-MARK:]
        return any(hmac.compare_digest(mark, known) for known in self.marks(body))
