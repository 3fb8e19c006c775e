"""What a verified access token says (RFC 9068)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from picoauth_verify.jose import Key, Unreadable, json_of

REQUIRED: Mapping[str, type] = {"sub": str, "sid": str, "jti": str, "iat": int, "exp": int}
"""Beside the issuer and the audience, which are compared."""
OPTIONAL: Mapping[str, type] = {
    "nbf": int,
    "auth_time": int,
    "amr": list,
    "preferred_username": str,
    "name": str,
}


@dataclass(frozen=True)
class Access:
    """Who asks: a verified access token. Times are seconds since 1970."""

    user_id: str
    session_id: str
    username: str | None
    amr: tuple[str, ...]
    """By what the user proved to be who it is (RFC 8176)."""
    auth_time: int | None
    """When the user last did."""
    expires_at: int
    key: Key = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def claims(self) -> Mapping[str, Any]:
        """All claims, read anew: what a caller does to them touches no other request."""
        claims: Mapping[str, Any] = json.loads(self.body)
        return claims


def access_of(key: Key, body: bytes, *, issuer: str, audience: str, now: float) -> Access:
    """Check what a token claims, its end apart. Raises Unreadable."""
    claims = json_of(body)
    if claims.get("iss") != issuer:
        raise Unreadable("The token is of another issuer.")
    if claims.get("aud") != audience:
        raise Unreadable("The token is for another audience.")
    # A bool is an int to isinstance.
    wrong = [name for name, kind in REQUIRED.items() if type(claims.get(name)) is not kind]
    wrong += [name for name, kind in OPTIONAL.items() if type(claims.get(name, kind())) is not kind]
    if wrong:
        raise Unreadable(f"The claim {wrong[0]} is missing, or of a wrong kind.")
    if claims.get("nbf", now) > now:
        raise Unreadable("The token is not valid yet.")
    return Access(
        user_id=claims["sub"],
        session_id=claims["sid"],
        username=claims.get("preferred_username"),
        amr=tuple(claims.get("amr", ())),
        auth_time=claims.get("auth_time"),
        expires_at=claims["exp"],
        key=key,
        body=body,
    )
