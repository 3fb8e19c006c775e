"""The client: asks an endpoint who somebody is, and judges the answer (IndieAuth, section 5)."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode

from picoauth import Auth, AuthError, Denied, Unavailable, problems
from picoauth_fetch import Answer, FetchFailed, FetchRefused, web
from picoauth_indieauth_login.discovery import Discovery, Fetches, Found, InTurn, document
from picoauth_indieauth_login.profiles import canonical
from picoauth_indieauth_login.settings import IndieAuthLoginSettings, TrustedEndpoint

NONCE = 32
"""Random bytes of one request, from which its state and its verifier follow."""
STATE = 24
"""Bytes of a state."""
LONGEST = 4096
"""Characters of what a browser brings back."""
LONGEST_NAME = 256
MOST_PERMISSIONS = 1000
BROUGHT = ("code", "state", "iss", "error")
JSON = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
PRIVATE = {"X-PrivateAuth-Version": "1"}


@dataclass(frozen=True)
class Asked:
    """One request that waits for its answer. It has nothing by which a thief could answer."""

    nonce: str
    endpoint: str
    issuer: str | None
    seen: tuple[str, ...] = ()
    trusted: str | None = None
    """The name of a trusted endpoint; None where a domain is to be proven."""

    def dump(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def load(cls, data: Any) -> Asked:
        """Raises Denied where nothing was asked."""
        if not isinstance(data, dict):
            raise Denied(problems.PROOF_REFUSED)
        return cls(**{**data, "seen": tuple(data["seen"])})


@dataclass(frozen=True)
class Identity:
    """Whom an endpoint vouches for. By `endpoint` and `name` an account is found.

    For a domain `endpoint` is empty: whatever endpoint it names, its owner is the same (PA-C-9).
    """

    endpoint: str
    name: str
    """A profile URL in its one form, or a user name at a trusted endpoint."""
    shown: str
    permissions: tuple[str, ...] = ()
    trusted: TrustedEndpoint | None = None


class Client:
    """Knows the application's own side: its id, where browsers come back to, what it sends."""

    def __init__(self, auth: Auth, settings: IndieAuthLoginSettings) -> None:
        self.auth = auth
        self.settings = settings
        base = auth.config.public_url
        self.client_id = f"{base}/auth/indieauth/client"
        self.redirect_uri = settings.redirect_uri or f"{base}/auth/indieauth/callback"
        self.endpoints = {one.name: one for one in settings.endpoints}
        self.fetcher: InTurn
        self.own_fetcher: Fetches

    def fetching(self, fetcher: Fetches, own: Fetches) -> None:
        """By what strangers are asked, and by what the operator's endpoints are."""
        self.fetcher, self.own_fetcher = InTurn(fetcher, 2 * self.settings.timeout), own
        self.discovery = Discovery(self.fetcher, http=self.settings.http_profiles)

    async def ask(self, typed: str) -> tuple[Asked, str]:
        """Ask a domain's endpoint; answers where to send the browser. Raises AuthError."""
        me, found = await self.discovery.discover(typed)
        asked = Asked(self.nonce(), found.endpoint, found.issuer, found.seen)
        return asked, self.location(asked, {"me": me})

    def ask_trusted(self, endpoint: TrustedEndpoint) -> tuple[Asked, str]:
        """As above; nobody has to say who she is (PrivateAuth)."""
        asked = Asked(self.nonce(), endpoint.url, endpoint.issuer, trusted=endpoint.name)
        return asked, self.location(asked, {"response_type": endpoint.response_type})

    def nonce(self) -> str:
        return self.auth.secrets.random(NONCE).hex()

    def location(self, asked: Asked, more: Mapping[str, str]) -> str:
        """The endpoint with the request behind its own query (section 5.2)."""
        query = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": self.redirect_uri,
            "state": self.states(asked)[0],
            "code_challenge": challenge(self.verifiers(asked)[0]),
            "code_challenge_method": "S256",
            **more,
        }
        joined = "&" if "?" in asked.endpoint else "?"
        return f"{asked.endpoint.partition('#')[0]}{joined}{urlencode(query)}"

    def states(self, asked: Asked) -> list[str]:
        """What comes back with the code; by each root secret, so that one may be renewed.

        Of 32 characters, which is all that some endpoints remember (django-indieweb).
        """
        found = self.auth.secrets.digests("indieauth state", asked.nonce)
        return [packed(one[:STATE]) for one in found]

    def verifiers(self, asked: Asked) -> list[str]:
        """43 characters that nobody else can know (RFC 7636, section 4.1)."""
        found = self.auth.secrets.digests("indieauth verifier", asked.nonce)
        return [packed(one) for one in found]

    async def identity(self, asked: Asked, brought: str) -> Identity:
        """Whom the endpoint vouches for. Raises Denied, or Unavailable where it does not answer."""
        members = read_query(brought)
        verifier = self.expected(asked, members)
        self.check_issuer(asked, members.get("iss"))
        code = members.get("code", "")
        if not code or "error" in members:
            raise Denied(problems.PROOF_REFUSED)
        trusted = self.endpoints.get(asked.trusted) if asked.trusted is not None else None
        if asked.trusted is not None and (trusted is None or trusted.url != asked.endpoint):
            raise Denied(problems.PROOF_REFUSED)  # the settings changed meanwhile
        told = document(await self.redeem(asked, code, verifier))
        if trusted is not None:
            return vouched(trusted, told)
        return await self.proven(asked, told)

    def expected(self, asked: Asked, members: Mapping[str, str]) -> str:
        """The verifier that belongs to the state. Raises Denied for a state of anything else."""
        brought = members.get("state", "").encode()
        for state, verifier in zip(self.states(asked), self.verifiers(asked), strict=True):
            if hmac.compare_digest(state.encode(), brought):
                return verifier
        raise Denied(problems.PROOF_REFUSED)

    def check_issuer(self, asked: Asked, iss: str | None) -> None:
        """Raises Denied for an answer of another server than was asked (RFC 9207, section 2.4).

        Where no issuer is known, one that is named anyhow has to be of the endpoint's origin.
        """
        if asked.issuer is not None:
            fits = iss == asked.issuer
        else:
            fits = iss is None or same_origin(iss, asked.endpoint)
        if not fits:
            raise Denied(problems.PROOF_REFUSED)

    async def redeem(self, asked: Asked, code: str, verifier: str) -> Answer:
        """Redeem the code for who it is, at the authorization endpoint (section 5.3.1)."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "client_id": self.client_id,
            "redirect_uri": self.redirect_uri,
            "code_verifier": verifier,
        }
        own = asked.trusted is not None
        fetcher, headers = (self.own_fetcher, {**JSON, **PRIVATE}) if own else (self.fetcher, JSON)
        try:
            answer = await fetcher.post(asked.endpoint, urlencode(form).encode(), headers=headers)
        except FetchFailed as error:
            raise Unavailable("an authorization endpoint does not answer") from error
        except FetchRefused as error:
            raise Denied(problems.PROOF_REFUSED) from error
        if answer.status != 200:  # noqa: PLR2004 - a redirect, too, is no identity
            raise Denied(problems.PROOF_REFUSED)
        return answer

    async def proven(self, asked: Asked, told: Mapping[str, Any]) -> Identity:
        """The domain that was answered, once it is sure that it names this endpoint itself.

        Not that of its host alone: on one host there may be many people (section 5.4).
        Nothing else that is told counts, e-mail addresses least of all.
        """
        me = told.get("me")
        try:
            url = canonical(me) if isinstance(me, str) else ""
            if url and url not in asked.seen:
                _, found = await self.discovery.discover(url)
                url = url if same(found, asked) else ""
        except AuthError as error:
            raise Denied(problems.PROOF_REFUSED) from error
        if not url:
            raise Denied(problems.PROOF_REFUSED)
        return Identity("", url, url)


def same(found: Found, asked: Asked) -> bool:
    return (found.endpoint, found.issuer) == (asked.endpoint, asked.issuer)


def vouched(endpoint: TrustedEndpoint, told: Mapping[str, Any]) -> Identity:
    """Whom a trusted endpoint names (PrivateAuth). Raises Denied, also for what is missing.

    Permissions are compared without regard to case.
    """
    name, permissions = told.get("username"), told.get("permissions")
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        raise Denied(problems.PROOF_REFUSED)
    if not isinstance(permissions, list) or not all(isinstance(one, str) for one in permissions):
        raise Denied(problems.PROOF_REFUSED)
    held = dict.fromkeys(one.lower() for one in permissions if len(one) <= LONGEST_NAME)
    shown = told.get("name")
    fits = isinstance(shown, str) and 0 < len(shown) <= LONGEST_NAME and shown.isprintable()
    named = str(shown) if fits else name
    return Identity(endpoint.url, name, named, tuple(held)[:MOST_PERMISSIONS], endpoint)


def read_query(text: str) -> Mapping[str, str]:
    """What a browser brought back, as it stood in the URL. Raises Denied for what comes twice."""
    if len(text) > LONGEST:
        raise Denied(problems.PROOF_REFUSED)
    pairs = [pair for pair in parse_qsl(text, keep_blank_values=True) if pair[0] in BROUGHT]
    members = dict(pairs)
    if len(members) < len(pairs):
        raise Denied(problems.PROOF_REFUSED)
    return members


def same_origin(iss: str, endpoint: str) -> bool:
    try:
        there, named = web.web(endpoint), web.web(iss)
    except ValueError:
        return False
    return there.origin == named.origin


def packed(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def challenge(verifier: str) -> str:
    """RFC 7636, section 4.2."""
    return packed(hashlib.sha256(verifier.encode()).digest())
