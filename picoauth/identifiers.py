"""Identifiers: what finds a user, and the canonical form in which each kind is compared."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
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
    from precis_i18n import get_profile  # noqa: PLC0415 - its tables are loaded when first needed

    if len(text) > 4 * LONGEST_USERNAME:  # marks may still combine with their letters
        raise AuthError(INVALID_USERNAME)
    try:
        value: str = get_profile("UsernameCaseMapped").enforce(text)
    except UnicodeEncodeError as error:
        raise AuthError(INVALID_USERNAME) from error
    if len(value) > LONGEST_USERNAME or set(value) & set("@/\\?#%") or set(value) == {"."}:
        raise AuthError(INVALID_USERNAME)
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
    odd = any(not c.isprintable() or c in ' "(),:;<>@[\\]' for c in local)
    if not local or odd or "." not in host:
        raise AuthError(INVALID_EMAIL)
    longer = max(octets(typed), octets(local))  # folding may shorten what is sent to as it is
    if longer + len(f"@{host}") > LONGEST_EMAIL:
        raise AuthError(INVALID_EMAIL)
    return f"{local}@{host}"


def octets(text: str) -> int:
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
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
