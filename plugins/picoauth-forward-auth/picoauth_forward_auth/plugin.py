"""What reverse proxies ask on every request: may it pass, and whose is it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from picoauth import (
    Access,
    Auth,
    AuthError,
    ConfigError,
    Denied,
    EdgeReply,
    EdgeRequest,
    EdgeRoute,
    Plugin,
    Problem,
    Route,
    hookimpl,
    problems,
)
from picoauth_forward_auth import hop
from picoauth_forward_auth.addresses import OURS, UNKNOWN_SITE, Asked, Hosts
from picoauth_forward_auth.hop import FINISH, HOP_REFUSED, Hop, found
from picoauth_forward_auth.identity import Identities
from picoauth_forward_auth.settings import ForwardAuthSettings

UNTRUSTED_PROXY = Problem(
    403,
    "untrusted_proxy",
    "This is for proxies, and you are none of `trusted_proxies`.",
    logged=True,
)
ANSWERS = (
    problems.TOKEN_MISSING,
    problems.INVALID_TOKEN,
    problems.TOKEN_EXPIRED,
    problems.SESSION_ENDED,
    problems.CROSS_SITE,
    UNKNOWN_SITE,
    UNTRUSTED_PROXY,
    HOP_REFUSED,
)
LOGOUT = f"{OURS}logout"
SAFE = ("GET", "HEAD", "OPTIONS")


class ForwardAuthPlugin(Plugin[ForwardAuthSettings]):
    """Answers nginx, Caddy and Traefik, by what they say in `X-Forwarded-*`."""

    def __init__(self, auth: Auth, name: str, settings: ForwardAuthSettings) -> None:
        super().__init__(auth, name, settings)
        if not auth.config.trusted_proxies:
            raise ConfigError(
                "forward-auth believes only `trusted_proxies`, and there are none: name the address of "
                'your proxy there, or "unix" for the unix socket.'
            )
        self.hosts = Hosts(settings.hosts, auth.config)
        self.identities = Identities(auth, settings)
        self.hop = Hop(auth, settings, self.hosts)

    @hookimpl
    def edge(self) -> Sequence[EdgeRoute]:
        handlers = {"": self.forward_auth, "/check": self.check, "/login": self.login}
        return [
            EdgeRoute(
                method="GET",
                path=f"/forward-auth{path}",
                handler=handler,
                answer=str,
                media="text/plain",
                problems=ANSWERS,
            )
            for path, handler in handlers.items()
        ]

    @hookimpl
    def routes(self) -> Sequence[Route]:
        """The one path that browsers open on the host of the login cookie."""
        route = Route(
            method="GET",
            path=hop.PATH,
            handler=self.hop.hop,
            policy="public",
            query=hop.QUERY,
            status=303,
            problems=(UNKNOWN_SITE, problems.SESSION_ENDED),
        )
        return [route]

    async def forward_auth(self, request: EdgeRequest) -> EdgeReply:
        """For Caddy and Traefik, which hand on whatever is not 2xx: 200, a redirect, or 401."""
        asked = self.asked(request)
        if asked.ours:
            return await self.own(asked, request)
        try:
            access = await self.admitted(asked)
        except Denied as refusal:
            return self.sent_away(asked, refusal)
        return await self.passed(access)

    async def check(self, request: EdgeRequest) -> EdgeReply:
        """For nginx, whose `auth_request` understands 200, 401 and 403."""
        asked = self.asked(request)
        if asked.ours:
            raise Denied(problems.TOKEN_MISSING)
        return await self.passed(await self.admitted(asked))

    async def login(self, request: EdgeRequest) -> EdgeReply:
        """For nginx after a 401: the redirect, or the 401 as the client gets it."""
        asked = self.asked(request)
        if asked.ours:
            return await self.own(asked, request)
        try:
            await self.admitted(asked)
        except Denied as refusal:
            return self.sent_away(asked, refusal)
        return found(str(asked.address))  # who logged in meanwhile, in another tab

    def asked(self, request: EdgeRequest) -> Asked:
        """What the browser asked for. Raises AuthError where no proxy of ours says so."""
        if not self.auth.proxies.trusts(request.peer):
            raise AuthError(UNTRUSTED_PROXY)
        return self.hosts.asked(request)

    async def admitted(self, asked: Asked) -> Access:
        """Whose the request is. Raises Denied; and AuthError for a page of another site.

        A bearer token that is none of ours may be the application's own, and no harm to a cookie.
        """
        if asked.bearer is None:
            return await self.by_cookie(asked)
        try:
            return await self.auth.who(authorization=asked.bearer)
        except Denied as refusal:
            with suppress(Denied):
                return await self.by_cookie(asked)
            raise refusal from None

    async def by_cookie(self, asked: Asked) -> Access:
        host = asked.address.host
        site = "" if self.hosts.direct(host) else host
        # What is answered here reaches the proxy, and no browser.
        access = await self.auth.who(cookie=asked.text(b"cookie"), site=site, hand=False)
        self.check_page(asked)
        return access

    def check_page(self, asked: Asked) -> None:
        """Raises AuthError for a change by cookie that a page elsewhere asks for.

        `SameSite=Lax` lets through what comes from other hosts of the same domain; and an
        application that has the proxy log people in may have no protection of its own.
        A socket is opened by GET, and does everything from then on.
        """
        origin, same = asked.text(b"origin"), asked.text(b"sec-fetch-site") == "same-origin"
        safe = asked.method in SAFE and not asked.is_socket
        ours = origin in {f"https://{asked.address.host}", *self.settings.origins}
        # Pages that send no referrer have the origin "null", and the browser's own word.
        if not (safe or ours or (origin in ("", "null") and same)):
            raise AuthError(problems.CROSS_SITE)

    async def passed(self, access: Access) -> EdgeReply:
        return EdgeReply(b"", 200, await self.identities.headers(access))

    def sent_away(self, asked: Asked, refusal: Denied) -> EdgeReply:
        """To the login, if a person is looking. Raises the refusal for all others."""
        if self.settings.login_url is None or not asked.is_page:
            raise refusal
        return self.hop.begin(asked)

    async def own(self, asked: Asked, request: EdgeRequest) -> EdgeReply:
        """What is asked of a protected host, but for us."""
        path = asked.address.path.partition("?")[0]
        if (asked.method, path) == ("GET", FINISH):
            return await self.hop.finish(asked, request)
        if (asked.method, path) == ("POST", LOGOUT):
            with suppress(Denied):  # whose session has ended is out already
                await self.logout(asked, request)
        return found(str(asked.address.top()))

    async def logout(self, asked: Asked, request: EdgeRequest) -> None:
        """End the login that this host's session came from, and so all others of it."""
        access = await self.admitted(asked)
        session = await self.auth.credentials.session(access.session_id)
        for session_id in filter(None, (session.id, session.parent_id)):
            with suppress(AuthError):  # it may have ended before
                await self.auth.accounts.logout(access.user_id, session_id, request.caller)
