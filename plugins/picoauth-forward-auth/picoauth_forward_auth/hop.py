"""The way from a protected host to the login and back, with a session that is good there alone."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from contextlib import suppress
from urllib.parse import parse_qs, urlencode

from picoauth import (
    Access,
    Auth,
    AuthError,
    Denied,
    EdgeReply,
    EdgeRequest,
    Problem,
    Reply,
    Request,
    Ticket,
)
from picoauth_forward_auth.addresses import OURS, Address, Asked, Hosts
from picoauth_forward_auth.settings import ForwardAuthSettings

HOP_REFUSED = Problem(
    400, "hop_refused", "This browser did not ask for this login: open the page again."
)
PATH = "/forward-auth/hop"
QUERY = {"to": "Where to go.", "bound": "What only the browser that set out can answer."}
FINISH = f"{OURS}finish"
PURPOSE = "forward-auth"
NONCE = "__Host-picoauth-hop"
DIGEST = 43
"""Characters of a SHA-256 in base64url."""


class Hop:
    """A browser without a login on a host goes to `PATH`, on the host of the login cookie.

    Who is logged in there comes back with a ticket, for which the host gets a session of its
    own. The ticket is good once, for this host, and in the browser that has the nonce: so
    nobody can log somebody else in (the ticket of the attacker's login is of no use in another
    browser), nor use a ticket that got into a log.
    """

    def __init__(self, auth: Auth, settings: ForwardAuthSettings, hosts: Hosts) -> None:
        self.auth = auth
        self.settings = settings
        self.hosts = hosts

    def begin(self, asked: Asked) -> EdgeReply:
        """Send a browser to the login: to its page, or by way of `PATH` where a hop is needed."""
        query = {"to": str(asked.address)}
        if self.hosts.direct(asked.address.host):
            return found(f"{self.settings.login_url}?{urlencode(query)}")
        nonce = sent(asked.headers, NONCE) or encoded(self.auth.secrets.random(32))
        query["bound"] = digest(nonce)
        cookie = f"{NONCE}={nonce}; Path=/; Secure; HttpOnly; SameSite=Lax"
        return found(f"{self.auth.config.public_url}{PATH}?{urlencode(query)}", cookie)

    async def hop(self, request: Request) -> Reply:
        """Send a browser on: to log in if it is not, and else to where it wanted to go."""
        to = self.hosts.address(request.query.get("to", ""))
        bound = request.query.get("bound", "")
        try:
            access = await self.auth.who(cookie=request.headers.get("cookie", ""))
        except Denied:
            if self.settings.login_url is None:
                raise
            query = urlencode({"to": str(to), **({"bound": bound} if bound else {})})
            return Reply(None, 303, {"Location": f"{self.settings.login_url}?{query}"})
        if self.hosts.direct(to.host) or len(bound) != DIGEST:
            return Reply(None, 303, {"Location": str(to)})
        finish = Address(to.host, f"{FINISH}?ticket={await self.ticket(access, to, bound)}")
        return Reply(None, 303, {"Location": str(finish)})

    async def ticket(self, access: Access, to: Address, bound: str) -> str:
        data = {"session": access.session_id, "host": to.host, "path": to.path, "bound": bound}
        expires_at = self.auth.now() + self.settings.ticket_life
        ticket, issuing = self.auth.tickets.issue(
            PURPOSE, data, expires_at=expires_at, user_id=access.user_id
        )
        await self.auth.database.write(issuing)
        return ticket

    async def finish(self, asked: Asked, request: EdgeRequest) -> EdgeReply:
        """Take the ticket, within the write that makes the session; or begin again at the top.

        Without the nonce it would begin for ever, where a browser keeps no cookies.
        """
        nonce = sent(asked.headers, NONCE)
        if nonce is None:
            raise AuthError(HOP_REFUSED)
        secret = parse_qs(asked.address.path.partition("?")[2]).get("ticket", [""])[0]
        ticket = await self.auth.tickets.look(PURPOSE, secret)
        if ticket is not None and fits(ticket, asked.address.host, nonce):
            with suppress(Denied):
                session = await self.auth.credentials.session(ticket.data["session"])
                taking = self.auth.tickets.taking(PURPOSE, secret)
                host = asked.address.host
                await self.auth.derive(session, request.caller, taking, site=host)
                return found(str(Address(host, ticket.data["path"])))
        return found(str(asked.address.top()))


def fits(ticket: Ticket, host: str, nonce: str) -> bool:
    bound: str = ticket.data["bound"]
    here: bool = ticket.data["host"] == host
    return here and hmac.compare_digest(bound.encode(), digest(nonce).encode())


def found(location: str, cookie: str | None = None) -> EdgeReply:
    cookies = [] if cookie is None else [(b"set-cookie", cookie.encode())]
    return EdgeReply(b"", 302, [(b"location", location.encode()), *cookies])


def sent(headers: Mapping[bytes, bytes], name: str) -> str | None:
    """A cookie of base64url; of two, or of anything else, none."""
    header = headers.get(b"cookie", b"").decode("latin-1")
    pairs = [pair.strip(" \t").partition("=") for pair in header.split(";")]
    values = {value for key, _, value in pairs if key == name}
    value = values.pop() if len(values) == 1 else ""
    plain = value.isascii() and value.replace("-", "a").replace("_", "a").isalnum()
    return value if plain and len(value) == DIGEST else None


def digest(nonce: str) -> str:
    return encoded(hashlib.sha256(nonce.encode()).digest())


def encoded(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
