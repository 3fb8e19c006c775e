"""Sessions that a browser keeps in a cookie: what it holds, who may use it from where, its life."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlsplit

from picoauth.errors import AuthError, Denied, Unavailable
from picoauth.grants import shown
from picoauth.outgoing import set_cookie
from picoauth.problems import AMBIGUOUS_TOKEN, CROSS_SITE, SESSION_ENDED
from picoauth.prolonging import aged, lengthened
from picoauth.sessions import Session
from picoauth.tokens import Access

if TYPE_CHECKING:
    from picoauth.auth import Auth

Lengthen: TypeAlias = Callable[[Session], Awaitable[Session | None]]

REMEMBERED = 4096
"""Sessions whose claims are remembered."""
REST = 10
"""Seconds after which prolonging is tried again where nothing could be written."""
FORMS = ("application/x-www-form-urlencoded", "multipart/form-data", "text/plain")
"""Types that a page may send to any site, without asking that site first."""


class Cookies:
    """Hands out and checks `sid.secret`, of which only a digest of the secret is stored.

    The secret is derived from the root secret, the session's id and its generation: so it
    changes with each generation, and can be handed out again without being kept anywhere.
    """

    def __init__(self, auth: Auth) -> None:
        self.auth = auth
        self.settings = auth.config.cookies
        self.key = next(iter(auth.secrets.derive("cookie").values()))
        public = urlsplit(auth.config.public_url)
        self.origins = {f"{public.scheme}://{public.netloc}", *auth.config.cors_origins}
        self.failed_at = 0
        """When a session could not be prolonged, since nothing could be written."""
        self.claims: OrderedDict[tuple[str, int], tuple[int, Mapping[str, Any]]] = OrderedDict()

    @property
    def name(self) -> str:
        """`__Host-` keeps other names of the domain from setting it (RFC 6265bis, 4.1.3)."""
        return "__Secure-picoauth" if self.settings.domain else "__Host-picoauth"

    def secret(self, session: Session) -> str:
        text = f"{session.id} {session.generation}".encode()
        mac = hmac.digest(self.key, text, "sha256")
        return base64.urlsafe_b64encode(mac).rstrip(b"=").decode()

    def stamped(self, session: Session) -> Session:
        """With the digest by which the secret of its generation is known again, if it has one."""
        if session.delivery == "token":
            return session
        return replace(session, cookie=digest(self.secret(session)))

    def renewed(self, changed: Session, current: Session) -> Session:
        """A changed session, whose cookie gets a new secret: the old one is good no more (S-3)."""
        if current.delivery == "token":
            return changed
        return self.stamped(replace(changed, generation=current.generation + 1))

    def hand(self, session: Session) -> None:
        """Let the answer to this request set the cookie, if the session has one."""
        if session.cookie is not None:
            remembered = session.delivery == "remembered"
            life = session.expires_at - self.auth.now() if remembered else None
            self.set(f"{session.id}.{self.secret(session)}", life)

    def forget(self, principal: Any) -> None:
        """Let the answer remove the cookie, where the request that it came with ended its session."""
        by_cookie = isinstance(principal, Access) and principal.by_cookie
        if by_cookie and principal.session_id in self.auth.revocations.ended:
            self.set("", 0)

    def set(self, value: str, life: int | None) -> None:
        domain = f"; Domain={self.settings.domain}" if self.settings.domain else ""
        age = "" if life is None else f"; Max-Age={life}"
        attributes = f"Path=/; Secure; HttpOnly; SameSite=Lax{domain}{age}"
        set_cookie(f"{self.name}={value}; {attributes}")

    def sent(self, header: str | None) -> str | None:
        """The cookie in a `Cookie` header. Raises AuthError for two of them (K-15)."""
        return one(header, self.name)

    async def check(self, value: str, *, hand: bool = True) -> Access:
        """Who is logged in, by one look into the store. Raises Denied.

        Past half its life the session is prolonged by this. What does not fit never removes
        the cookie: two requests that cross would log each other out. With `hand=False` the
        cookie stays what it is, for an answer that does not reach the browser.
        """
        lengthen = self.prolong if hand else partial(lengthened, self.auth)
        return await self.access(await self.used(await self.session(value), lengthen))

    async def used(self, session: Session, lengthen: Lengthen) -> Session:
        """The session, prolonged past half its life. Raises Denied.

        Where nothing can be written it is as good as before (FC-3), and is tried again later,
        so that not every request waits for what is in the way.
        """
        now = self.auth.now()
        if not aged(self.auth, session) or abs(now - self.failed_at) < REST:
            return session
        try:
            return await lengthen(session) or session
        except Unavailable:
            self.failed_at = now
            return session

    async def session(self, value: str) -> Session:
        """The session of a cookie. Raises Denied."""
        session_id, _, secret = value.partition(".")
        session = await self.living(session_id)
        if session.cookie is None or not hmac.compare_digest(digest(secret), session.cookie):
            raise Denied(SESSION_ENDED)
        return session

    async def living(self, session_id: str) -> Session:
        """A session that has not ended, by one look into the store. Raises Denied."""
        self.auth.revocations.check(session_id)
        session = await self.auth.sessions.get(session_id)
        if session is None or not session.alive(self.auth.now()):
            raise Denied(SESSION_ENDED)
        return session

    async def prolong(self, session: Session) -> Session:
        """Move the idle end, and hand the cookie out again.

        Stamped anew, since the secret is another one where the root secret was rotated.
        """
        longer = await lengthened(self.auth, self.stamped(session))
        if longer is None:
            return session
        self.hand(longer)
        return longer

    async def access(self, session: Session) -> Access:
        """The claims that a token would have, remembered for as long as a token would live."""
        now, key = self.auth.now(), (session.id, session.generation)
        until, claims = self.claims.get(key, (0, {}))
        if until <= now:
            user = await self.auth.users.get(session.user_id)
            if user is None or user.barred:
                raise Denied(SESSION_ENDED)
            claims = await self.auth.grants.claims(user, session)
            self.claims[key] = now + self.auth.config.tokens.access_life, claims
            if len(self.claims) > REMEMBERED:
                self.claims.popitem(last=False)
        members = shown(session, claims)
        return Access(session.user_id, session.id, members["exp"], "", json.dumps(members).encode())

    def same_site(self, headers: Mapping[str, str]) -> bool:
        """What `check_site` says, for a login, of which only the flow tells whether it matters."""
        try:
            self.check_site(headers)
        except AuthError:
            return False
        return True

    def check_site(self, headers: Mapping[str, str]) -> None:
        """Raises AuthError for a change that a page of another site may ask for (S-5).

        A form of such a page takes the cookie along; but its origin is none of ours, and
        its content type is one of forms, also where the body is empty.
        """
        if headers.get("content-type", "").partition(";")[0].strip().lower() in FORMS:
            raise AuthError(CROSS_SITE)
        origin = headers.get("origin")
        same = headers.get("sec-fetch-site") == "same-origin"
        if origin not in self.origins if origin is not None else not same:
            raise AuthError(CROSS_SITE)


def one(header: str | None, name: str) -> str | None:
    """The value of a cookie in a `Cookie` header. Raises AuthError for two of them (K-15).

    Other blanks than these two belong to a name, as they do for a browser: any other host of
    the domain may set a cookie whose name is `__Host-…` but for a no-break space in front (S-1).
    """
    pairs = [pair.strip(" \t").partition("=") for pair in (header or "").split(";")]
    values = {value for found, _, value in pairs if found == name}
    if len(values) > 1:
        raise AuthError(AMBIGUOUS_TOKEN)
    return next(iter(values), None)


def digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()
