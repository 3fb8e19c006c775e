"""Identifiers: what finds a user, and the canonical form in which each kind is compared."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from picoauth.errors import AuthError
from picoauth.problems import INVALID_BODY, INVALID_EMAIL, INVALID_URL, INVALID_USERNAME

LONGEST_USERNAME = 64
"""Code points."""
LONGEST_EMAIL = 254
"""Octets (RFC 3696, erratum 1690)."""
LONGEST_URL = 2048
LONGEST_OTHER = 2048
"""Code points of a kind that is a plugin's, such as a name in a directory."""
LONGEST_HOST = 253
HOST = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")
PLAIN = re.compile("[!-~]+")
"""What of ASCII a user name can have (RFC 8264, section 9.11), which only its case is mapped of."""
ODD = frozenset(' "(),:;<>@[\\]')
"""What a mailbox would have to quote (RFC 5321, section 4.1.2)."""
DEVIANT = frozenset("ßẞς\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}")
"""What IDNA 2003 folds and IDNA 2008 keeps (UTS 46, section 7): two people's domains in one."""
PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Identifier:
    """What finds a user: `value` is canonical, `display` as it was typed."""

    kind: str
    value: str
    display: str
    verified: bool


def identifier(kind: str, text: str, *, verified: bool) -> Identifier:
    """Raises AuthError for a text that cannot be one of this kind."""
    return Identifier(kind, canonical(kind, text), text, verified)


def kind_of(typed: str) -> str:
    """What a name is that somebody typed: no user name has an `@`."""
    return "email" if "@" in typed else "username"


def spelling(typed: str) -> str:
    """A user name or address in the one form, whichever way it was typed; else as it was typed.

    Failures are counted by it: nobody's together, as a user's are (P-8).
    """
    try:
        return canonical(kind_of(typed), typed)
    except AuthError:
        return typed


def canonical(kind: str, text: str) -> str:
    """The one form in which identifiers are compared. Raises AuthError.

    Lengths are looked at first: folding 64 KiB of text would take a second.
    """
    form = {"username": canonical_username, "email": canonical_email, "url": canonical_url}
    return form.get(kind, canonical_other)(text)


def canonical_username(text: str) -> str:
    """RFC 8265, UsernameCaseMapped: `Ann`, `ann` and full-width `ann` are one name.

    Without `@`, so that it is no e-mail address, and without what breaks a path.
    """
    if len(text) > 4 * LONGEST_USERNAME:  # marks may still combine with their letters
        raise AuthError(INVALID_USERNAME)
    value = text.lower() if PLAIN.fullmatch(text) else case_mapped(text)
    if len(value) > LONGEST_USERNAME or set(value) & set("@/\\?#%") or set(value) == {"."}:
        raise AuthError(INVALID_USERNAME)
    return value


def case_mapped(text: str) -> str:
    from precis_i18n import get_profile  # noqa: PLC0415 - its tables are loaded when first needed

    try:
        value: str = get_profile("UsernameCaseMapped").enforce(text)
    except UnicodeEncodeError as error:
        raise AuthError(INVALID_USERNAME) from error
    return value


def canonical_email(text: str) -> str:
    """RFC 5321, without regard to case, the domain as it is looked up."""
    if len(text) > LONGEST_EMAIL:
        raise AuthError(INVALID_EMAIL)
    typed, _, domain = text.rpartition("@")
    try:
        local, host = folded(typed), canonical_host(domain)
    except ValueError as error:
        raise AuthError(INVALID_EMAIL) from error
    odd = not local.isprintable() or not ODD.isdisjoint(local)
    if not local or odd or "." not in host:
        raise AuthError(INVALID_EMAIL)
    longer = max(octets(typed), octets(local))  # folding may shorten what is sent to as it is
    if longer + len(f"@{host}") > LONGEST_EMAIL:
        raise AuthError(INVALID_EMAIL)
    return f"{local}@{host}"


def octets(text: str) -> int:
    if text.isascii():
        return len(text)
    return len(unicodedata.normalize("NFC", text).encode())


def mailbox(text: str) -> str:
    """An e-mail address as it is sent to: the left part as typed. Raises AuthError.

    But in its normal form, as it was looked at: `<` and a mark may be one harmless character.
    """
    host = canonical_email(text).rpartition("@")[2]
    return f"{unicodedata.normalize('NFC', text.rpartition('@')[0])}@{host}"


def canonical_url(text: str) -> str:
    """Lower-case host, no default port, and a path of at least `/` (IndieAuth, section 3.4)."""
    if len(text) > LONGEST_URL or not text.isprintable() or set(text) & set(" \\"):
        raise AuthError(INVALID_URL)
    try:
        parts = urlsplit(text)
        host, port = canonical_host(parts.hostname or ""), parts.port
    except ValueError as error:
        raise AuthError(INVALID_URL) from error
    if parts.scheme not in PORTS or "@" in parts.netloc or parts.fragment:
        raise AuthError(INVALID_URL)
    shown = "" if port in (None, PORTS[parts.scheme]) else f":{port}"
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.scheme}://{host}{shown}{parts.path or '/'}{query}"


def canonical_other(text: str) -> str:
    if len(text) > LONGEST_OTHER:
        raise AuthError(INVALID_BODY, f"an identifier has at most {LONGEST_OTHER} characters")
    return folded(text)


@lru_cache(maxsize=256)  # of a million users most have their addresses at few hosts
def canonical_host(text: str) -> str:
    """A domain as it is looked up (RFC 3490). Raises ValueError.

    One that the two versions of IDNA look up differently is refused: it could be made to
    stand for somebody else's.
    """
    if len(text) > LONGEST_HOST or set(text) & DEVIANT:
        raise ValueError("too long, or ambiguous")
    host = text.casefold().encode("idna").decode()
    if not HOST.fullmatch(host):
        raise ValueError("no domain")
    return host


def folded(text: str) -> str:
    """Without regard to case, in one normal form (Unicode, section 3.13)."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
