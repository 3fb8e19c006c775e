"""What a client asks for: one authorization request, checked whole (IndieAuth, section 5.2)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode

from picoauth import Problem
from picoauth_fetch import web as urls
from picoauth_privateauth.clients import Client, Clients
from picoauth_privateauth.problems import CLIENT_REFUSED, REDIRECT_REFUSED, refused
from picoauth_privateauth.settings import SCOPE

MOST_PARAMETERS = 50
LONGEST_STATE = 2048
LONGEST_SCOPE = 1024
CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
"""A SHA-256 in base64url (RFC 7636, section 4.2)."""


class SentBack(Exception):
    """A refusal that the client hears by a redirect (RFC 6749, section 4.1.2.1)."""

    def __init__(self, location: str) -> None:
        super().__init__("sent back")
        self.location = location


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request that is right, and waits for a user."""

    client: Mapping[str, Any]
    """What the user is shown of it, as it was found then."""
    client_id: str
    redirect_uri: str
    state: str
    challenge: str | None
    scopes: tuple[str, ...]
    me_hint: str | None
    flow: str

    @classmethod
    def load(cls, data: Mapping[str, Any]) -> Asked:
        return cls(**{**data, "scopes": tuple(data["scopes"])})

    def dump(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Returning:
    """The way back to a client, which is known to be its own."""

    redirect_uri: str
    state: str | None
    issuer: str

    def location(self, **members: str) -> str:
        """With `state` as it came, and `iss` (RFC 9207); a query that is there stays as it is."""
        given = {**members, **({} if self.state is None else {"state": self.state})}
        query = urlencode({**given, "iss": self.issuer})
        return f"{self.redirect_uri}{'&' if '?' in self.redirect_uri else '?'}{query}"

    def refuse(self, error: str, description: str) -> SentBack:
        return SentBack(self.location(error=error, error_description=description))


class Reader:
    """Reads authorization requests."""

    def __init__(self, clients: Clients, scopes: tuple[str, ...], issuer: str) -> None:
        self.clients = clients
        self.scopes = scopes
        self.issuer = issuer

    async def read(self, query: str) -> Asked:
        """Raises AuthError where nobody may be redirected, and SentBack for all else that is wrong."""
        sent = parameters(query)
        client = await self.clients.find(sent.one("client_id", CLIENT_REFUSED))
        redirect_uri = sent.one("redirect_uri", REDIRECT_REFUSED)
        client.check_redirect(redirect_uri)
        states = sent.all("state")
        back = Returning(redirect_uri, states[0] if len(states) == 1 else None, self.issuer)
        if sent.repeated or sent.crowded:
            raise back.refuse("invalid_request", "A parameter comes twice, or there are too many.")
        state = sent.values.get("state", "")
        if not 0 < len(state) <= LONGEST_STATE:
            raise back.refuse("invalid_request", "state is missing, or too long.")
        self.check_type(client, sent.values.get("response_type"), back)
        challenge = self.challenge(client, sent.values, back)
        scopes = self.asked_for(sent.values.get("scope", ""), back)
        return Asked(
            client=shown(client),
            client_id=client.client_id,
            redirect_uri=redirect_uri,
            state=state,
            challenge=challenge,
            scopes=scopes if challenge else (),  # without PKCE it is about who, and nothing else
            me_hint=hint(sent.values.get("me", "")),
            flow="privateauth" if client.legacy else "indieauth",
        )

    def check_type(self, client: Client, kind: str | None, back: Returning) -> None:
        """`id`, or nothing, is how clients asked before 2020; it is for those that are registered."""
        if kind == "code" or (client.legacy and kind in (None, "id")):
            return
        if kind is None:
            raise back.refuse("invalid_request", "response_type is missing.")
        raise back.refuse("unsupported_response_type", "response_type must be code.")

    def challenge(self, client: Client, values: Mapping[str, str], back: Returning) -> str | None:
        """The challenge of PKCE, by S256 alone; no method means `plain` (RFC 7636, section 4.3)."""
        challenge, method = values.get("code_challenge"), values.get("code_challenge_method")
        if challenge is None and method is None and not client.needs_pkce:
            return None
        if challenge is None:
            raise back.refuse("invalid_request", "code_challenge is missing.")
        if method != "S256":
            raise back.refuse("invalid_request", "code_challenge_method must be S256.")
        if CHALLENGE.fullmatch(challenge) is None:
            raise back.refuse("invalid_request", "code_challenge is no SHA-256 in base64url.")
        return challenge

    def asked_for(self, text: str, back: Returning) -> tuple[str, ...]:
        """Scopes, each once, without those that are unknown here; `email` goes with `profile`."""
        if len(text) > LONGEST_SCOPE:
            raise back.refuse("invalid_scope", "scope is too long.")
        found = dict.fromkeys(one for one in text.split(" ") if one)
        if not all(SCOPE.fullmatch(one) for one in found):
            raise back.refuse("invalid_scope", "scope has characters that no scope has.")
        known = [one for one in found if one in self.scopes]
        return tuple(one for one in known if one != "email" or "profile" in known)


@dataclass(frozen=True)
class Parameters:
    """The query of a request. One without a value counts as left out (RFC 6749, section 3.1)."""

    pairs: list[tuple[str, str]]
    crowded: bool = False

    @property
    def values(self) -> dict[str, str]:
        return dict(self.pairs)

    @property
    def repeated(self) -> bool:
        return len(self.values) < len(self.pairs)

    def all(self, name: str) -> list[str]:
        return [value for given, value in self.pairs if given == name]

    def one(self, name: str, problem: Problem) -> str:
        """Raises AuthError where it is missing, or there twice: nobody knows which one counts."""
        found = self.all(name)
        if len(found) != 1:
            raise refused(problem, f"{name} must be there once")
        return found[0]


def parameters(query: str) -> Parameters:
    """Raises AuthError for what is no text."""
    try:
        pairs = parse_qsl(query, errors="strict")
    except ValueError as error:
        raise refused(CLIENT_REFUSED, "the query is no text") from error
    plain = [(name, value) for name, value in pairs if "\0" not in value]
    return Parameters(plain, crowded=len(pairs) > MOST_PARAMETERS or len(plain) < len(pairs))


def hint(text: str) -> str | None:
    """The `me` that a client supposes: never believed, never looked at, at most a choice."""
    try:
        return str(urls.profile(text if "://" in text else f"https://{text}"))
    except ValueError:
        return None


def shown(client: Client) -> dict[str, Any]:
    return {
        "client_id": client.client_id,
        "name": client.name,
        "client_uri": client.client_uri,
        "source": client.source,
        "verified": client.verified,
        "warnings": list(client.warnings),
    }
