"""What a recovery code looks like, and how what people type is read."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable

SIZE = 15
"""Random bytes of a code: 120 bits, enough that its plain SHA-256 tells nothing (O-5)."""
GROUP = 4
"""Characters between two hyphens, which help the eye."""
BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
"""Crockford's base32. It has no i, l and o, so whoever reads one means 1 or 0."""
WRITTEN = str.maketrans(BASE32, ALPHABET)
MEANT = str.maketrans("ilo", "110")
CODE = re.compile(f"[{ALPHABET}]{{{SIZE * 8 // 5}}}")


def made(random: Callable[[int], bytes]) -> str:
    """A new code, such as 7c0k-9mwe-2x4h-tq8p-5vzd-n3rj."""
    text = base64.b32encode(random(SIZE)).decode().translate(WRITTEN)
    return "-".join(text[n : n + GROUP] for n in range(0, len(text), GROUP))


def read(text: str) -> str | None:
    """The code that is meant, in lower case and without hyphens; None where it is none.

    Whatever is no letter or digit is passed over: hyphens, spaces, what a text editor made of them.
    """
    bare = re.sub(r"[\W_]", "", text).lower().translate(MEANT)
    return bare if CODE.fullmatch(bare) else None


def digest(code: str) -> bytes:
    """What is stored of a code, with its hyphens or without."""
    return hashlib.sha256(code.replace("-", "").encode()).digest()
