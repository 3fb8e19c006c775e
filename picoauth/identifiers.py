"""Identifiers: what finds a user, and the canonical form in which each kind is compared."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from urllib.parse import urlsplit

from picoauth.errors import AuthError
from picoauth.problems import INVALID_EMAIL, INVALID_URL, INVALID_USERNAME

LONGEST_USERNAME = 64
"""Code points."""
LONGEST_EMAIL = 254
"""Octets (RFC 3696, erratum 1690)."""


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
    """The one form in which identifiers are compared. Raises AuthError."""
    form = {"username": canonical_username, "email": canonical_email, "url": canonical_url}
    return form.get(kind, str.casefold)(text)


def canonical_username(text: str) -> str:
    """RFC 8265, UsernameCaseMapped: `Ann`, `ann` and full-width `ann` are one name.

    Without `@`, so that it is no e-mail address, and without what breaks a path.
    """
    from precis_i18n import get_profile  # noqa: PLC0415 - its tables are loaded when first needed

    try:
        value: str = get_profile("UsernameCaseMapped").enforce(text)
    except UnicodeEncodeError as error:
        raise AuthError(INVALID_USERNAME) from error
    if len(value) > LONGEST_USERNAME or set(value) & set("@/\\?#%") or set(value) == {"."}:
        raise AuthError(INVALID_USERNAME)
    return value


def canonical_email(text: str) -> str:
    """RFC 5321, lower case, the domain as it is looked up."""
    local, at, domain = unicodedata.normalize("NFC", text).casefold().rpartition("@")
    try:
        host = domain.encode("idna").decode()
    except UnicodeError as error:
        raise AuthError(INVALID_EMAIL) from error
    odd = any(not c.isprintable() or c in ' "(),:;<>@[\\]' for c in local + host)
    value = f"{local}{at}{host}"
    if not local or "." not in host.strip(".") or odd or len(value.encode()) > LONGEST_EMAIL:
        raise AuthError(INVALID_EMAIL)
    return value


def canonical_url(text: str) -> str:
    """Lower-case host, and a path of at least `/` (IndieAuth, section 3.4)."""
    try:
        parts = urlsplit(text)
        host = (parts.hostname or "").encode("idna").decode()
    except ValueError as error:
        raise AuthError(INVALID_URL) from error
    if parts.scheme not in ("http", "https") or not host or parts.fragment or parts.username:
        raise AuthError(INVALID_URL)
    port = f":{parts.port}" if parts.port else ""
    return (
        f"{parts.scheme}://{host}{port}{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
    )
