"""The kernel's own routes: the server, logging in and out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from picoauth import checks, oauth, published, seen
from picoauth.account import Account
from picoauth.errors import AuthError
from picoauth.factors import Payload
from picoauth.flows import Step
from picoauth.policies import presented
from picoauth.problems import (
    FACTOR_OUT_OF_PLACE,
    FLOW_ENDED,
    INVALID_BODY,
    INVALID_TOKEN,
    MORE_NEEDED,
    NOT_FOUND,
    START_OVER,
    TOKEN_EXPIRED,
    TOKEN_MISSING,
    TOO_MANY_ATTEMPTS,
    UNKNOWN_FACTOR,
)
from picoauth.routes import ANYTHING, Reply, Request, Route
from picoauth.sessions import Session

if TYPE_CHECKING:
    from picoauth.app import Application
    from picoauth.auth import Auth

TOKEN = (TOKEN_MISSING, INVALID_TOKEN, TOKEN_EXPIRED)
LOGIN = (
    UNKNOWN_FACTOR,
    FACTOR_OUT_OF_PLACE,
    FLOW_ENDED,
    MORE_NEEDED,
    START_OVER,
    TOO_MANY_ATTEMPTS,
)
RESERVED = frozenset({"factor", "flow", "session"})


def routes(app: Application) -> Sequence[Route]:
    auth = app.auth
    return [
        *Server(app).routes(),
        *published.routes(auth),
        *Entrance(auth).routes(),
        *Account(auth).routes(),
        *oauth.routes(auth),
        seen.route(auth),
    ]


class Server:
    """What the server tells about itself."""

    def __init__(self, app: Application) -> None:
        self.app = app
        self.auth = app.auth

    def routes(self) -> Sequence[Route]:
        return [
            Route(method="GET", path="/health-check", handler=self.health, policy="public"),
        ]

    async def health(self, request: Request) -> Reply:
        """Alive: 200, with what is wrong by check. `?check=NAME`, or `ready`: 503 if that fails."""
        live = [check for check in self.auth.checks if check.live]
        asked = request.query.get("check")
        if asked not in (None, "ready", *(check.name for check in live)):
            raise AuthError(NOT_FOUND)
        wrong = {name: what for name, what in (await checks.run(live)).items() if what}
        ready = self.app.ready and not wrong
        failing = not ready if asked == "ready" else asked in wrong
        body = {"status": "ok" if ready else "degraded", "ready": ready, "problems": wrong}
        return Reply(body, 503 if failing else 200)


class Entrance:
    """Logging in, proving afresh, refreshing, logging out."""

    def __init__(self, auth: Auth) -> None:
        self.auth = auth

    def routes(self) -> Sequence[Route]:
        starter = next(factor for factor in self.auth.factors.values() if factor.starts)
        example = dict(starter.example)

        def flow(path: str, handler: Any, policy: str) -> Route:
            return Route(
                method="POST",
                path=path,
                handler=handler,
                policy=policy,
                body=dict,
                problems=LOGIN,
                example=example,
            )

        return [
            flow("/auth/login/begin", self.begin, "flow"),
            flow("/auth/login", self.login, "flow"),
            flow("/auth/stepup/begin", self.begin_stepup, "session"),
            flow("/auth/stepup", self.stepup, "session"),
            Route(
                method="POST",
                path="/jwt/refresh",
                handler=self.refresh,
                policy="public",
                body=str,
                accepts=(ANYTHING,),
                problems=TOKEN,
            ),
            Route(method="POST", path="/auth/logout", handler=self.logout, policy="session"),
            Route(
                method="POST",
                path="/auth/logout_from_all",
                handler=self.logout_from_all,
                policy="session",
            ),
        ]

    async def begin(self, request: Request) -> Reply:
        return Reply(await self.auth.logins.begin(self.one(request)))

    async def login(self, request: Request) -> Reply:
        return Reply(await self.auth.logins.login(self.step(request)))

    async def begin_stepup(self, request: Request) -> Reply:
        session = await self.auth.credentials.session(request.access.session_id)
        return Reply(await self.auth.logins.begin(self.one(request, session)))

    async def stepup(self, request: Request) -> Reply:
        session = await self.auth.credentials.session(request.access.session_id)
        return Reply(await self.auth.logins.stepup(self.step(request), session))

    async def refresh(self, request: Request) -> Reply:
        token = presented(request.headers.get("authorization"), request.body)
        return Reply(await self.auth.grants.refresh(token, request.caller))

    async def logout(self, request: Request) -> Reply:
        access = request.access
        await self.auth.accounts.logout(access.user_id, access.session_id, request.caller)
        return Reply(status=204)

    async def logout_from_all(self, request: Request) -> Reply:
        await self.auth.accounts.logout_from_all(request.access.user_id, request.caller)
        return Reply(status=204)

    def one(self, request: Request, session: Session | None = None) -> Step:
        step = self.step(request, session)
        return Step(flow=step.flow, payloads=step.payloads[:1], caller=step.caller, session=session)

    def step(self, request: Request, session: Session | None = None) -> Step:
        """Read a step: the factor's own members, and further factors under their names."""
        body: Payload = request.body
        for name in RESERVED & body.keys():
            if not isinstance(body[name], str):
                raise AuthError(INVALID_BODY, f"{name} must be a text")
        if body.get("session", "token") != "token":
            raise AuthError(INVALID_BODY, 'session must be "token"')
        payloads = self.payloads(body)
        return Step(
            flow=body.get("flow"), payloads=payloads, caller=request.caller, session=session
        )

    def payloads(self, body: Payload) -> Sequence[tuple[str, Payload]]:
        """`factor` may be left out: then it is the first that may start, if anything is left for it."""
        factors = self.auth.factors
        main = body.get("factor") or next(name for name, f in factors.items() if f.starts)
        further = [name for name in factors if name in body and name != main]
        own = {n: value for n, value in body.items() if n not in RESERVED and n not in further}
        first = [(main, own)] if own or "factor" in body or not further else []
        return [*first, *((name, wrapped(name, body[name])) for name in further)]


def wrapped(name: str, value: Any) -> Payload:
    """`"totp": "123456"` is short for `"totp": {"totp": "123456"}`."""
    return value if isinstance(value, dict) else {name: value}
