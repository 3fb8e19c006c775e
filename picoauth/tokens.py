"""Access and refresh tokens: signing, and checking without a look at the database."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from joserfc.jwk import Key, OctKey
from joserfc.util import json_b64encode

from picoauth.errors import Denied
from picoauth.jose import BEARER, LONGEST, invalid, opened, sign
from picoauth.keys import Keys, SigningKey
from picoauth.problems import TOKEN_EXPIRED
from picoauth.revocations import Revocations
from picoauth.secrets import Secrets
from picoauth.sessions import Session
from picoauth.settings import Config
from picoauth.users import User

REMEMBERED = 4096
"""Verified tokens that are remembered, each at most `LONGEST` bytes of claims."""
RESERVED = frozenset(
    {
        "iss",
        "sub",
        "aud",
        "iat",
        "nbf",
        "exp",
        "jti",
        "sid",
        "amr",
        "acr",
        "auth_time",
        "preferred_username",
        "name",
        "typ",
        "gen",
        "cnf",
        "act",
    }
)


REQUIRED: Mapping[str, type] = {"sub": str, "sid": str, "jti": str, "iat": int, "exp": int}
"""Claims that an access token has, beside the issuer and audience that it is compared by (K-6)."""


@dataclass(frozen=True)
class Access:
    """Who is logged in: a verified access token, or a cookie that stands for one."""

    user_id: str
    session_id: str
    expires_at: int
    key_id: str
    """Of the key that signed; empty where it came as a cookie."""
    body: bytes
    """The claims as JSON, ready to be answered; that is all that is remembered of them."""

    @property
    def by_cookie(self) -> bool:
        return not self.key_id

    @property
    def claims(self) -> Mapping[str, Any]:
        claims: Mapping[str, Any] = json.loads(self.body)
        return claims


@dataclass(frozen=True)
class Refresh:
    """A verified refresh token; `claims` are those of a stateless one."""

    user_id: str
    session_id: str
    generation: int
    expires_at: int
    claims: Mapping[str, Any]


@dataclass(frozen=True)
class RefreshKey:
    """A derived key of refresh tokens, by the id of the root secret."""

    id: str
    key: Key = field(repr=False)

    @property
    def header(self) -> dict[str, str]:
        return {"typ": "rt+jwt", "alg": "HS256", "kid": self.id}

    @cached_property
    def encoded_header(self) -> str:
        return json_b64encode(dict(self.header)).decode()


class Tokens:
    """Signs and checks the tokens of one issuer."""

    def __init__(
        self,
        config: Config,
        secrets: Secrets,
        keys: Keys,
        revocations: Revocations,
        now: Callable[[], int],
    ) -> None:
        self.config = config
        self.settings = config.tokens
        self.keys = keys
        self.revocations = revocations
        self.now = now
        self.secrets = secrets
        self.verified: OrderedDict[bytes, Access] = OrderedDict()

    @cached_property
    def refresh_keys(self) -> Sequence[RefreshKey]:
        """By what they are derived from, neither another mode nor a restored backup revives a token."""
        purpose = f"refresh {self.settings.refresh}"
        if self.revocations.restored_at:
            purpose = f"{purpose} {self.revocations.restored_at}"
        derived = self.secrets.derive(purpose)
        return [RefreshKey(kid, OctKey.import_key(key)) for kid, key in derived.items()]

    def claims(self, user: User, username: str | None, session: Session) -> dict[str, Any]:
        """The claims that every access token of a session has (RFC 9068, section 2.2)."""
        return {
            "iss": self.config.public_url,
            "sub": user.id,
            "aud": self.config.audience,
            "sid": session.id,
            "amr": list(session.amr),
            "auth_time": session.auth_time,
            **({"preferred_username": username} if username else {}),
            **({"name": user.name} if user.name else {}),
        }

    def access(self, claims: Mapping[str, Any]) -> str:
        """Sign an access token. Its `jti` is random, its life that of the settings."""
        now, key = self.now(), self.keys.signing
        times = {"iat": now, "exp": now + self.settings.access_life}
        return sign(key.key, key.header, {**claims, **times, "jti": self.secrets.random(12).hex()})

    def refresh(self, session: Session, claims: Mapping[str, Any]) -> str:
        """Sign a refresh token: a pure function of the session, so that it can be said again.

        A stateless one has a fixed end and carries `claims`, since no row is read for it.
        """
        members = {"iss": self.config.public_url, "sub": session.user_id, "sid": session.id}
        times = {"iat": session.rotated_at, "exp": min(session.idle_at, session.expires_at)}
        stateless = self.settings.refresh == "stateless"
        more = {"claims": dict(claims)} if stateless else {"gen": session.generation}
        key = self.refresh_keys[0]
        return sign(key.key, key.header, {**members, **times, **more})

    def check(self, token: str) -> Access:
        """Verify an access token. Raises Denied.

        A token seen before, byte for byte, is not verified again; whether it expired, was
        revoked or its key was retired is looked at each time.
        """
        if len(token) > LONGEST:
            raise invalid()
        fingerprint = hashlib.sha256(token.encode("utf-8", "replace")).digest()
        access = self.verified.get(fingerprint)
        if access is None:
            access = self.verified[fingerprint] = self.verify(token)
            if len(self.verified) > REMEMBERED:
                self.verified.popitem(last=False)
        self.still(access)
        return access

    def verify(self, token: str) -> Access:
        key = self.key_of(token)
        claims = opened(token, key.key, key.algorithm)
        if any(type(claims.get(name)) is not kind for name, kind in REQUIRED.items()):
            raise invalid()
        if claims.get("iss") != self.config.public_url or claims.get("aud") != self.config.audience:
            raise invalid()
        body = json.dumps(claims).encode()
        return Access(claims["sub"], claims["sid"], claims["exp"], key.id, body)

    def key_of(self, token: str) -> SigningKey:
        """Find the key by the token's whole header, which must be one that we write.

        Never by what the header says: no algorithm, type, `jwk`, `crit` or `zip` of a
        stranger's is ever read (RFC 8725, sections 3.1 to 3.11).
        """
        key = self.keys.by_header.get(token.partition(".")[0])
        if key is None:
            raise invalid()
        return key

    def still(self, access: Access) -> None:
        if access.expires_at <= self.now():
            raise Denied(TOKEN_EXPIRED, headers=BEARER)
        if access.key_id not in self.keys.active:
            raise invalid()
        self.revocations.check(access.session_id)

    def check_refresh(self, token: str) -> Refresh:
        """Verify a refresh token, but not that its session still lives. Raises Denied."""
        if len(token) > LONGEST:
            raise invalid()
        header = token.partition(".")[0]
        key = next((key for key in self.refresh_keys if key.encoded_header == header), None)
        if key is None:
            raise invalid()
        return self.refreshing(opened(token, key.key, "HS256"))

    def refreshing(self, claims: Mapping[str, Any]) -> Refresh:
        if claims["iss"] != self.config.public_url:
            raise invalid()
        if claims["exp"] <= self.now():
            raise Denied(TOKEN_EXPIRED, headers=BEARER)
        generation, stateless = claims.get("gen", 0), claims.get("claims", {})
        return Refresh(claims["sub"], claims["sid"], generation, claims["exp"], stateless)
