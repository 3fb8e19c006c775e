"""Hashes of other systems as they are written: read, and turned into a scheme."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Sequence
from typing import TypeAlias

from picoauth_password.schemes import Argon2, Bcrypt, Firebase, Pbkdf2, Scheme, Scrypt

LONGEST = 1024
"""Characters of a hash."""
B64 = "[A-Za-z0-9+/]+={0,2}"
PHC = rf"\$(?P<salt>{B64})\$(?P<tag>{B64})"
DOTTED = "[A-Za-z0-9./]+"
DIGEST = "(?P<digest>sha1|sha256|sha512)"
NUMBER = "[1-9][0-9]{0,9}"
BCRYPT = r"\$2[aby]\$[0-9]{2}\$[./A-Za-z0-9]{22}"
ALPHABET = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
"""bcrypt's own order of Base64."""
UNKNOWN = "is in a format that is unknown here"


class Unreadable(ValueError):
    """A hash that cannot be verified here, in a clause without its value."""


Match: TypeAlias = re.Match[str]

# Each pattern with a sample of its kind, shortened.
FORMS: Sequence[tuple[str, Callable[[Match], Scheme]]] = (
    (  # $2b$12$NRgwl7Ij…; Django: bcrypt$$2b$12$…, and bcrypt_sha256$$2b$12$…
        rf"(?:(?P<django>bcrypt(?:_sha256)?)\$)?(?P<salt>{BCRYPT})(?P<tag>[./A-Za-z0-9]{{31}})",
        lambda m: Bcrypt(salted(m["salt"]), m["tag"].encode(), m["django"] == "bcrypt_sha256"),
    ),
    (  # Django: pbkdf2_sha256$1000000$seasalt$a9k…=
        rf"pbkdf2_(?P<digest>sha1|sha256)\$(?P<i>{NUMBER})\$(?P<salt>[^$]+)\$(?P<tag>{B64})",
        lambda m: Pbkdf2(m["digest"], int(m["i"]), m["salt"].encode(), plain(m["tag"])),
    ),
    (  # passlib: $pbkdf2-sha256$29000$N2Y…$1tm…, and $pbkdf2$… which is SHA-1
        rf"\$pbkdf2(?:-{DIGEST})?\$(?P<i>{NUMBER})\$(?P<salt>{DOTTED})\$(?P<tag>{DOTTED})",
        lambda m: Pbkdf2(m["digest"] or "sha1", int(m["i"]), dotted(m["salt"]), dotted(m["tag"])),
    ),
    (  # PHC: $pbkdf2-sha512$i=210000,l=64$c2F…$9wq…
        rf"\$pbkdf2-{DIGEST}\$i=(?P<i>{NUMBER})(?:,l=[0-9]{{1,3}})?{PHC}",
        lambda m: Pbkdf2(m["digest"], int(m["i"]), plain(m["salt"]), plain(m["tag"])),
    ),
    (  # Werkzeug: pbkdf2:sha256:1000000$salt$hexadecimal
        rf"pbkdf2:{DIGEST}:(?P<i>{NUMBER})\$(?P<salt>[^$]+)\$(?P<tag>[0-9a-f]+)",
        lambda m: Pbkdf2(m["digest"], int(m["i"]), m["salt"].encode(), bytes.fromhex(m["tag"])),
    ),
    (  # Django: scrypt$16384$seasalt$8$5$Tq0…
        rf"scrypt\$(?P<n>{NUMBER})\$(?P<salt>[^$]+)\$(?P<r>{NUMBER})\$(?P<p>{NUMBER})\$(?P<tag>{B64})",
        lambda m: scrypt(m, int(m["n"]), m["salt"].encode(), plain(m["tag"])),
    ),
    (  # Werkzeug: scrypt:32768:8:1$salt$hexadecimal
        rf"scrypt:(?P<n>{NUMBER}):(?P<r>{NUMBER}):(?P<p>{NUMBER})\$(?P<salt>[^$]+)\$(?P<tag>[0-9a-f]+)",
        lambda m: scrypt(m, int(m["n"]), m["salt"].encode(), bytes.fromhex(m["tag"])),
    ),
    (  # passlib, PHC: $scrypt$ln=16,r=8,p=1$aM1…$nFN…
        rf"\$scrypt\$ln=(?P<ln>[0-9]{{1,2}}),r=(?P<r>{NUMBER}),p=(?P<p>{NUMBER}){PHC}",
        lambda m: scrypt(m, 1 << int(m["ln"]), plain(m["salt"]), plain(m["tag"])),
    ),
    (  # PHC: $argon2id$v=19$m=65536,t=3,p=4$c2F…$9wq…; Django puts argon2 before it
        rf"(?:argon2)?\$argon2(?P<kind>id|i|d)(?:\$v=(?P<v>16|19))?\$m=(?P<m>{NUMBER}),t=(?P<t>{NUMBER}),p=(?P<p>{NUMBER}){PHC}",
        lambda m: argon2(m, plain(m["salt"]), plain(m["tag"])),
    ),
)
FIREBASE = re.compile(
    rf"\$fbscrypt\$v=1,n=(?P<n>[0-9]{{1,2}}),r=(?P<r>{NUMBER}),p=1,ss=(?P<ss>{B64}){PHC}"
)
COMPILED = [(re.compile(pattern), make) for pattern, make in FORMS]


def read(text: str, signer_key: bytes | None) -> Scheme:
    """The scheme of a hash. Raises Unreadable, also for one that would cost too much."""
    if len(text) > LONGEST:
        raise Unreadable(f"has more than {LONGEST} characters")
    try:
        found = scheme(text, signer_key)
    except ValueError as error:
        raise Unreadable(UNKNOWN) from error
    problem = found.problem()
    if problem is not None:
        raise Unreadable(problem)
    return found


def scheme(text: str, signer_key: bytes | None) -> Scheme:
    """Raises ValueError."""
    for pattern, make in COMPILED:
        if (match := pattern.fullmatch(text)) is not None:
            return make(match)
    if (m := FIREBASE.fullmatch(text)) is not None:
        salt, tag, separator = plain(m["salt"]), plain(m["tag"]), plain(m["ss"])
        return Firebase(int(m["n"]), int(m["r"]), separator, salt, tag, signer_key)
    raise ValueError("no format fits")


def scrypt(m: Match, n: int, salt: bytes, tag: bytes) -> Scheme:
    return Scrypt(n, int(m["r"]), int(m["p"]), salt, tag)


def argon2(m: Match, salt: bytes, tag: bytes) -> Scheme:
    memory, passes, lanes = (int(m[name]) for name in ("m", "t", "p"))
    return Argon2(m["kind"], int(m["v"] or 16), memory, passes, lanes, salt, tag)


def salted(text: str) -> bytes:
    """Bcrypt's salt, whose last character has four bits too many: origins ignore what is in them."""
    return (text[:-1] + ALPHABET[ALPHABET.index(text[-1]) & 0x30]).encode()


def plain(text: str) -> bytes:
    """Base64, padded or not, of one value in one way: what a decoder would pass over is refused."""
    raw = base64.b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), validate=True)
    if base64.b64encode(raw).rstrip(b"=").decode() != text.rstrip("="):
        raise ValueError("bits beyond the value")
    return raw


def dotted(text: str) -> bytes:
    """Passlib's Base64, which has a dot for the plus."""
    return plain(text.replace(".", "+"))
