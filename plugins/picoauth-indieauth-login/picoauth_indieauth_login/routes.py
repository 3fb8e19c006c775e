"""Routes: what endpoints see of this application, the way back, and links of one's account."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

from picoauth import AuthError, Denied, Reply, Request, Route, described, problems, replies
from picoauth_indieauth_login.accounts import shown
from picoauth_indieauth_login.client import Asked, read_query
from picoauth_indieauth_login.problems import (
    PROFILE_UNUSABLE,
    TOO_MANY_LINKS,
    UNKNOWN_ENDPOINT,
)

if TYPE_CHECKING:
    from picoauth_indieauth_login.plugin import IndieAuthLoginPlugin

PATH = "/auth/indieauth"
PURPOSE = "indieauth link"
CACHED = {"Cache-Control": "public, max-age=3600"}
ID = "01d3gq8f7k4p2c9v6b1n8m3r5t0d7h2e"
BACK = {
    "code": "What the endpoint made out.",
    "state": "What it was given.",
    "iss": "Who the endpoint is.",
    "error": "Why there is no code.",
}


@dataclass(frozen=True)
class Beginning:
    """The body of `POST /auth/indieauth/begin`: one of the two."""

    me: str | None = described("A domain.", default=None, most=2048, example="ann.example")
    endpoint: str | None = described("Name of a trusted endpoint.", default=None, most=64)

    def __post_init__(self) -> None:
        if (self.me is None) == (self.endpoint is None):
            raise ValueError("must have either me or endpoint")


@dataclass(frozen=True)
class Brought:
    """The body of `POST /auth/indieauth`."""

    ticket: str = described("That of the beginning.", most=128, example="p0JmVn2eT4l0QyZyqzqH8w")
    indieauth: str = described(
        "What the browser came back with.", most=4096, example="code=0dY6cT9eT4l0&state=hP4x"
    )


@replies.shape
class Asking:
    """Where to send the browser."""

    ticket: str = described("For what it brings back.", example="p0JmVn2eT4l0QyZyqzqH8w")
    url: str = described("There.", example="https://auth.example/authorize?response_type=code")


@replies.shape
class LinkMade:
    """The link, beside what a login answers."""

    id: str = described("Of the enrolment.", example=ID)
    me: str | None = described("The domain.", example="https://ann.example/")
    username: str | None = described("The name at a trusted endpoint.", example=None)


@replies.shape
class LinkShown:
    """One link."""

    id: str = described("By which `DELETE /auth/factors/{id}` ends it.", example=ID)
    endpoint: str | None = described("Name of a trusted endpoint.", example=None)
    me: str | None = described("The domain.", example="https://ann.example/")
    username: str | None = described("The name at a trusted endpoint.", example=None)
    permissions: tuple[str, ...] = described("What the endpoint told last.", example=[])
    linked_at: int = described("Seconds since 1970.", example=1_800_000_000)


@replies.shape
class LinksShown:
    """All links of a user, and what else there is to link."""

    links: tuple[LinkShown, ...] = described("The oldest first.")
    endpoints: tuple[str, ...] = described("Names of trusted endpoints.", example=["home"])


@replies.shape
class Ways:
    """What a login page may offer."""

    domains: bool = described("Whether people log in with domains of their own.", example=True)
    endpoints: tuple[str, ...] = described("Names of trusted endpoints.", example=["home"])


@replies.shape
class ClientDocument:
    """What endpoints know this application by (IndieAuth, section 4.2.1)."""

    client_id: str = described("Its own URL.", example="https://auth.example/auth/indieauth/client")
    client_name: str = described("What it is called.", example="auth.example")
    client_uri: str = described("Its home page.", example="https://auth.example/")
    redirect_uris: tuple[str, ...] = described(
        "Where browsers come back to.", example=["https://auth.example/auth/indieauth/callback"]
    )


class Routes:
    """Answers them."""

    def __init__(self, plugin: IndieAuthLoginPlugin) -> None:
        self.plugin = plugin
        self.auth = plugin.auth
        self.client = plugin.client
        self.accounts = plugin.accounts

    def routes(self) -> Sequence[Route]:
        def route(method: str, path: str, handler: Any, policy: str, **more: Any) -> Route:
            return Route(method=method, path=PATH + path, handler=handler, policy=policy, **more)

        unusable = (PROFILE_UNUSABLE, UNKNOWN_ENDPOINT)
        refused = (
            *(problems.PROOF_REFUSED, problems.START_OVER, problems.REFUSED),
            *(problems.IDENTIFIER_TAKEN, TOO_MANY_LINKS, problems.NOT_FOUND),
        )
        begin = {"body": Beginning, "answer": Asking, "problems": unusable}
        link = {"body": Brought, "status": 201, "problems": refused, "answer": LinkMade}
        return [
            route("GET", "/client", self.document, "public", answer=ClientDocument),
            route(
                "GET",
                "/callback",
                self.callback,
                "public",
                query=BACK,
                status=303,
                problems=(problems.INVALID_QUERY,),
            ),
            route("GET", "/ways", self.ways, "public", answer=Ways),
            route("GET", "", self.show, "session", answer=LinksShown),
            route("POST", "/begin", self.begin, "fresh", example={"me": "ann.example"}, **begin),
            route("POST", "", self.link, "fresh", **link),
        ]

    async def document(self, _: Request) -> Reply:
        """What endpoints know this application by (IndieAuth, section 4.2.1)."""
        base = self.auth.config.public_url
        body = {
            "client_id": self.client.client_id,
            "client_name": self.plugin.settings.client_name or urlsplit(base).hostname,
            "client_uri": f"{base}/",
            "redirect_uris": [self.client.redirect_uri],
            "grant_types": ["authorization_code"],
            "response_types": ["code"],
            "token_endpoint_auth_method": "none",
        }
        return Reply(body, headers=CACHED)

    async def callback(self, request: Request) -> Reply:
        """Send the browser on to the page, with what it brings behind `#`.

        That reaches no server, so that no log has a code. Nothing is taken here: the page that
        the login began at has the flow, and any other page has nothing to go with it.
        """
        try:
            brought = read_query(request.raw_query)
        except Denied as refusal:
            raise AuthError(problems.INVALID_QUERY) from refusal
        fragment = quote(urlencode(brought), safe="")
        return Reply(None, 303, {"Location": f"{self.page}#indieauth={fragment}"})

    @property
    def page(self) -> str:
        page = self.plugin.settings.page
        return f"{self.auth.config.public_url}{page}" if page.startswith("/") else page

    async def ways(self, _: Request) -> Reply:
        """What a login page may offer. It tells nothing of anybody."""
        domains = self.plugin.settings.domains
        return Reply({"domains": domains, "endpoints": sorted(self.client.endpoints)})

    async def show(self, request: Request) -> Reply:
        """The links of the own account."""
        names = {one.url: one.name for one in self.client.endpoints.values()}
        links = [
            shown(one, names.get(one.endpoint, one.endpoint) or None)
            for one in await self.accounts.of(request.access.user_id)
        ]
        return Reply({"links": links, "endpoints": sorted(self.client.endpoints)})

    async def begin(self, request: Request) -> Reply:
        """Begin to link a domain, or a name at a trusted endpoint, to the own account."""
        wanted = {name: value for name, value in vars(request.body).items() if value is not None}
        asked, location = await self.plugin.ask(wanted)
        user_id, end = request.access.user_id, self.auth.now() + self.auth.config.logins.flow_life
        ticket, issuing = self.auth.tickets.issue(
            PURPOSE, asked.dump(), expires_at=end, user_id=user_id
        )
        await self.auth.database.write(self.auth.tickets.voiding(PURPOSE, user_id), issuing)
        return Reply({"ticket": ticket, "url": location})

    async def link(self, request: Request) -> Reply:
        """Link what was proven: other sessions end, this one gets new tokens."""
        access = request.access
        ticket = await self.auth.tickets.take(PURPOSE, request.body.ticket)
        if ticket is None or ticket.user_id != access.user_id:
            raise Denied(problems.PROOF_REFUSED)
        identity = await self.client.identity(Asked.load(ticket.data), request.body.indieauth)
        answer: Mapping[str, Any] = await self.accounts.link(
            access.session_id, access.user_id, identity, request.caller
        )
        kind = "username" if identity.endpoint else "me"
        return Reply({**answer, kind: identity.name}, 201)
