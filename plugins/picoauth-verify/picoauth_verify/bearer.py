"""Finds the access token of a request."""

from __future__ import annotations

from collections.abc import Sequence

from picoauth_verify.access import Access
from picoauth_verify.errors import Refused
from picoauth_verify.verifier import Verifier


def admitted(verifier: Verifier, headers: Sequence[str], *, required: bool) -> Access | None:
    """Who sent these `Authorization` headers; None for nobody, where that may be.

    A token that is no good is refused in any case: whoever sends one wants to be known by it.
    Raises Refused, Unreachable or Stale.
    """
    try:
        token = bearer(headers)
    except Refused as refused:
        if required or refused.code != "token_missing":
            raise
        return None
    return verifier.check(token)


def bearer(headers: Sequence[str]) -> str:
    """The one token (RFC 6750, section 2.1), never one in the address, which logs keep.

    Raises Refused.
    """
    if len(headers) > 1:
        raise Refused("ambiguous_token")
    scheme, _, token = "".join(headers).partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Refused("token_missing")
    return token.strip()
