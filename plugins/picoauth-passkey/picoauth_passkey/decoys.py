"""Passkeys that nobody has, for names that are nobody's: who asks cannot tell them apart (W-8)."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from hashlib import shake_256
from typing import Any

from picoauth import Auth
from picoauth_passkey.ceremonies import described

HALF = 8
"""Bytes of the sealed name at the begin of an id, and of the mark at its end."""
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
    """Makes them from the name alone: the same at each request, and without a row.

    An id is random to everybody else, and tells us that it is ours, and of which name: a short
    digest of that is sealed in it, under a mark that is the digest of all of it (as in SIV).
    """

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
        plain = seed[-HALF + 1 :] + bytes([number])
        rest = shake_256(seed + plain).digest(length - 2 * HALF)
        mark = self.digests("mark", plain + rest)[0]
        return xor(plain, self.digests("pad", mark)[0]) + rest + mark, transports

    def name_in(self, identity: bytes) -> str | None:
        """What the decoys of one name have in common; None for an id that is none of ours."""
        sealed, rest, mark = identity[:HALF], identity[HALF:-HALF], identity[-HALF:]
        plains = [xor(sealed, pad) for pad in self.digests("pad", mark)]
        for number, plain in enumerate(plains):  # one for each root secret
            if hmac.compare_digest(mark, self.digests("mark", plain + rest)[number]):
                return plain[:-1].hex()
        return None

    def digests(self, purpose: str, value: bytes) -> list[bytes]:
        found = self.secrets.digests(f"passkey decoy {purpose}", value.hex())
        return [digest[:HALF] for digest in found]

    def has(self, identity: bytes) -> bool:
        """Whether it is one of ours. To say that such a key is unknown would tell whose name is."""
        return self.name_in(identity) is not None


def xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))
