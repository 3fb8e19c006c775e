"""Hashes whose parts stand apart, as many systems export them: put into one of the formats."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

COMMON: Mapping[str, type] = {"salt": str, "hash": str}
MEMBERS: Mapping[str, Mapping[str, type]] = {
    **{f"pbkdf2-{name}": {"iterations": int, **COMMON} for name in ("sha1", "sha256", "sha512")},
    "scrypt": {"n": int, "r": int, "p": int, **COMMON},
    "firebase-scrypt": {"rounds": int, "mem_cost": int, "salt_separator": str, **COMMON},
}
"""What belongs to each algorithm; salts and hashes are in Base64."""
FORMATS = {
    "pbkdf2": "${algorithm}$i={iterations}${salt}${hash}",
    "scrypt": "$scrypt$ln={ln},r={r},p={p}${salt}${hash}",
    "firebase": "$fbscrypt$v=1,n={mem_cost},r={rounds},p=1,ss={salt_separator}${salt}${hash}",
}
WEB_SAFE = str.maketrans("-_", "+/")


def written(parts: Mapping[str, Any]) -> str:
    """Raises ValueError: a clause, without the values."""
    members = MEMBERS.get(str(parts.get("algorithm")))
    if members is None:
        raise ValueError(f"has an algorithm that is none of {', '.join(MEMBERS)}")
    wrong = sorted(parts.keys() ^ {"algorithm", *members})
    if wrong:
        raise ValueError(f"must have algorithm, {', '.join(members)}, and nothing else")
    for name, kind in members.items():
        if type(parts[name]) is not kind or parts[name] in ("", 0):
            kinds = "a whole number" if kind is int else "a text in Base64"
            raise ValueError(f"has a member {name} that must be {kinds}")
    texts = {n: v.translate(WEB_SAFE) if isinstance(v, str) else v for n, v in parts.items()}
    numbers = {"algorithm": parts["algorithm"], "ln": log2(parts.get("n", 2))}
    return FORMATS[parts["algorithm"].partition("-")[0]].format(**{**texts, **numbers})


def log2(n: int) -> int:
    if n < 1 or n & (n - 1):
        raise ValueError("has an n that is no power of two")
    return n.bit_length() - 1
