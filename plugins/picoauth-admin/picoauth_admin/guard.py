"""Who may administrate: the socket's peer, a key, or an administrator who is there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, runtime_checkable

from picoauth import (
    Access,
    Administrator,
    Auth,
    Caller,
    ConfigError,
    Denied,
    Request,
    problems,
)
from picoauth_admin.keys import PREFIX, SAFE, AdminKeys

ADMIN = "picoauth:admin"
"""The one permission by which picoauth itself decides."""
FORWARDED = frozenset({"forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via"})
"""Headers of proxies: whoever is behind one did not open the socket."""


@runtime_checkable
class Permissions(Protocol):
    """What knows who may do what: the plugin permissions, or another one in its place."""

    async def held(self, user_id: str) -> frozenset[str]:
        """Own permissions, and those by roles."""

    async def holders(self, permission: str) -> Sequence[str]:
        """Ids of the users who have it."""

    async def grant(self, user_id: str, permission: str, caller: Caller) -> None:
        """Give it to a user."""

    async def revoke(self, user_id: str, permission: str, caller: Caller) -> None:
        """Take it. Raises AuthError: the last administrator keeps it."""


def permissions_of(auth: Auth) -> Permissions | None:
    """The plugin that knows of permissions, if one is listed."""
    try:
        return auth.plugin(Permissions)  # type: ignore[type-abstract]
    except ConfigError:
        return None


class AdminGuard:
    """Lets administrators in, and says who they are."""

    def __init__(self, auth: Auth, keys: AdminKeys, *, public: bool) -> None:
        self.auth = auth
        self.keys = keys
        self.listener: Literal["public", "admin"] = "public" if public else "admin"
        """Of every route of administration, also those of other plugins."""

    async def __call__(self, request: Request) -> Administrator | None:
        """Who does not show anything is let in by the socket alone, whose mode is the credential."""
        authorization = request.headers.get("authorization")
        if authorization is None and local(request):
            return Administrator("socket")
        key = presented(authorization)
        if key is not None:
            return Administrator(f"key:{await self.keys.check(key, request.method)}")
        return await self.by_session(request)

    async def by_session(self, request: Request) -> Administrator | None:
        """An administrator, whose second factor was proven in the last minutes."""
        access = await self.access(request)
        permissions = permissions_of(self.auth)
        if permissions is None or ADMIN not in await permissions.held(access.user_id):
            return None
        enrolments = await self.auth.users.enrolments(access.user_id)
        if not self.auth.logins.rule.demands(enrolments):
            raise Denied(problems.SECOND_FACTOR_NEEDED)
        await self.auth.require_fresh(access)
        return Administrator(f"user:{access.user_id}")

    async def access(self, request: Request) -> Access:
        """By token, or by cookie from a page that may use one (S-5). Raises Denied."""
        headers, cookies = request.headers, self.auth.cookies
        authorization, cookie = headers.get("authorization"), headers.get("cookie")
        if not authorization and request.method not in SAFE and cookies.sent(cookie):
            cookies.check_site(headers)
        return await self.auth.who(authorization=authorization or "", cookie=cookie or "")


def local(request: Request) -> bool:
    """Whether the peer opened the socket itself: not on TCP, and not behind a proxy."""
    on_socket = request.listener == "admin" and request.peer is None
    return on_socket and not FORWARDED & request.headers.keys()


def presented(authorization: str | None) -> str | None:
    """The admin key of a header, if it is one by its look."""
    scheme, _, rest = (authorization or "").partition(" ")
    key = rest.strip()
    return key if scheme.lower() == "bearer" and key.startswith(PREFIX) else None
