"""How clients find the endpoint: its metadata, and the profile pages that link to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from picoauth import Auth, AuthError, Reply, Request, problems
from picoauth_privateauth import page
from picoauth_privateauth.profiles import Profiles

PATH = "/.well-known/oauth-authorization-server"
CACHED = {"Cache-Control": "public, max-age=3600"}


class Discovery:
    """Answers everybody the same."""

    def __init__(self, auth: Auth, profiles: Profiles, scopes: Sequence[str]) -> None:
        self.auth = auth
        self.profiles = profiles
        self.scopes = scopes
        self.base = auth.config.public_url

    @property
    def issuer(self) -> str:
        """With the slash, for ever: clients compare it to the letter (RFC 9207)."""
        return f"{self.base}/"

    async def metadata(self, _: Request) -> Reply:
        """What clients know the endpoint by."""
        return Reply(self.described(), headers=CACHED)

    def described(self) -> Mapping[str, Any]:
        """IndieAuth, section 4.1.1, and RFC 8414, section 2."""
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.base}/indieauth/authorize",
            "token_endpoint": f"{self.base}/indieauth/token",
            "introspection_endpoint": f"{self.base}/indieauth/introspect",
            "introspection_endpoint_auth_methods_supported": ["client_secret_basic"],
            "revocation_endpoint": f"{self.base}/indieauth/revoke",
            "revocation_endpoint_auth_methods_supported": ["none"],
            "userinfo_endpoint": f"{self.base}/indieauth/userinfo",
            "token_endpoint_auth_methods_supported": ["none"],
            "scopes_supported": list(self.scopes),
            "response_types_supported": ["code"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
            "client_id_metadata_document_supported": True,
            "privateauth_versions_supported": ["1"],
        }

    def links(self, me: str) -> Mapping[str, str]:
        """Relations of a profile page; the older ones are all that many clients know."""
        return {
            "indieauth-metadata": f"{self.base}{PATH}",
            "authorization_endpoint": f"{self.base}/indieauth/authorize",
            "token_endpoint": f"{self.base}/indieauth/token",
            "canonical": me,
        }

    def nobody(self, request: Request) -> Reply:
        """Where nobody lives: a person gets to see a page, too."""
        refusal = AuthError(problems.NOT_FOUND, "Nobody has this address.")
        if not page.wanted(request):
            raise refusal
        return page.sorry(refusal)

    async def profile(self, request: Request) -> Reply:
        """The page of a user, by which clients find the endpoint. It tells nothing else."""
        user = await self.auth.users.find("username", request.path["username"])
        person = await self.profiles.person(user.id) if user else None
        if person is None or person.given is None:
            return self.nobody(request)
        links = self.links(person.given)
        header = ", ".join(f'<{target}>; rel="{rel}"' for rel, target in links.items())
        headers = {"Link": header, "Vary": "Accept"}
        if "application/json" in request.headers.get("accept", ""):
            return Reply({"me": person.given, "username": person.username}, headers=headers)
        return page.profile(str(person.username), person.given, links, headers)
