"""Cookies that are good for one other host alone: a login there that says nothing here."""

from __future__ import annotations

import base64
import hmac
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from picoauth.cookies import one
from picoauth.errors import Denied
from picoauth.outgoing import set_cookie
from picoauth.problems import SESSION_ENDED
from picoauth.prolonging import lengthened
from picoauth.sessions import Session
from picoauth.tokens import Access

if TYPE_CHECKING:
    from picoauth.auth import Auth

NAME = "__Host-picoauth-site"


class Sites:
    """Hands out and checks `sid.secret` of derived sessions, whose secret holds the host.

    What runs on that host sees the cookie of each visitor. It is good for no other host and
    for no route of ours: a session of a site has no digest by which `Cookies` would know it.
    """

    def __init__(self, auth: Auth) -> None:
        self.auth = auth
        self.keys = list(auth.secrets.derive("site").values())
        """Newest first; who rotates the root secret logs nobody out."""

    def secret(self, session: Session, site: str, key: bytes) -> str:
        text = f"{session.id} {session.generation} {site}".encode()
        mac = hmac.digest(key, text, "sha256")
        return base64.urlsafe_b64encode(mac).rstrip(b"=").decode()

    def unstamped(self, sibling: Session) -> Session:
        """A sibling as it is stored for a site: in a cookie, but not one of `Cookies`."""
        delivery = "cookie" if sibling.delivery == "token" else sibling.delivery
        return replace(sibling, delivery=delivery, cookie=None)

    def hand(self, session: Session, site: str) -> None:
        """Let the answer to this request, which goes to the site, set its cookie."""
        value = f"{session.id}.{self.secret(session, site, self.keys[0])}"
        remembered = session.delivery == "remembered"
        age = f"; Max-Age={session.expires_at - self.auth.now()}" if remembered else ""
        set_cookie(f"{NAME}={value}; Path=/; Secure; HttpOnly; SameSite=Lax{age}")

    def sent(self, header: str | None) -> str | None:
        return one(header, NAME)

    async def check(self, value: str, site: str) -> Access:
        """Who is logged in there, by one look into the store. Raises Denied.

        Who uses a site uses the login that it came from, which is prolonged along with it.
        """
        session_id, _, secret = value.partition(".")
        session = await self.auth.cookies.living(session_id)
        sent = secret.encode("utf-8", "replace")
        good = [self.secret(session, site, key).encode() for key in self.keys]
        known = any(hmac.compare_digest(each, sent) for each in good)
        if session.cookie is not None or session.delivery == "token" or not known:
            raise Denied(SESSION_ENDED)
        session = await self.auth.cookies.used(session, partial(lengthened, self.auth))
        return await self.auth.cookies.access(session)
