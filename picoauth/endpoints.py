"""The kernel's own routes: the server, logging in and out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from picoauth import checks, oauth, published, replies, seen
from picoauth.account import Account
from picoauth.errors import AuthError, Problem
from picoauth.factors import Factor, Payload, first, likely
from picoauth.flows import Step
from picoauth.policies import presented
from picoauth.possible import TOKEN
from picoauth.problems import (
    ACCOUNT_CLOSED,
    CROSS_SITE,
    FACTOR_OUT_OF_PLACE,
    FLOW_ENDED,
    INVALID_BODY,
    MORE_NEEDED,
    NOT_FOUND,
    REFUSED,
    START_OVER,
    UNKNOWN_FACTOR,
)
from picoauth.routes import ANYTHING, JSON, Reply, Request, Route
from picoauth.sessions import Delivery, Session

if TYPE_CHECKING:
    from picoauth.app import Application
    from picoauth.auth import Auth

BEGIN = (UNKNOWN_FACTOR, FACTOR_OUT_OF_PLACE, FLOW_ENDED, START_OVER, REFUSED)
LOGIN = (MORE_NEEDED, CROSS_SITE, ACCOUNT_CLOSED)
CACHED = {"Cache-Control": "public, max-age=300"}
Unnamed: TypeAlias = Callable[[Mapping[str, Factor], Payload], str]
"""Which factor a step without `factor` is by."""
RESERVED = frozenset({"factor", "flow", "session", "remember", "restore"})
SWITCHES = ("remember", "restore")


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
        def get(path: str, handler: Any, answer: type, **more: Any) -> Route:
            return Route(
                method="GET", path=path, handler=handler, policy="public", answer=answer, **more
            )

        query = {"check": "`ready`, or the name of a check: 503 if that fails."}
        return [
            get(
                "/health-check",
                self.health,
                replies.Health,
                query=query,
                also=(503,),
                problems=(NOT_FOUND,),
            ),
            get("/openapi.json", self.openapi, dict),
        ]

    async def health(self, request: Request) -> Reply:
        """Alive: 200, with what is wrong by check."""
        live = [check for check in self.auth.checks if check.live]
        asked = request.query.get("check")
        if asked not in (None, "ready", *(check.name for check in live)):
            raise AuthError(NOT_FOUND)
        wrong = {name: what for name, what in (await checks.run(live)).items() if what}
        vital = {check.name for check in live if check.vital}
        ready = self.app.ready and not vital & wrong.keys()
        failing = not ready if asked == "ready" else asked in wrong
        body = {
            "status": "ok" if ready and not wrong else "degraded",
            "ready": ready,
            "problems": wrong,
            **({"stress": True} if self.auth.config.stress else {}),
        }
        return Reply(body, 503 if failing else 200)

    async def openapi(self, request: Request) -> Reply:
        """This description of every route that is on."""
        headers = {"Content-Type": JSON, **CACHED}
        return Reply(self.app.description.on(request.listener), headers=headers)


class Entrance:
    """Logging in, proving afresh, refreshing, logging out."""

    def __init__(self, auth: Auth) -> None:
        self.auth = auth

    def routes(self) -> Sequence[Route]:
        starters = [factor for factor in self.auth.factors.values() if factor.starts]
        starter = next((factor for factor in starters if factor.example), starters[0])
        factors = self.auth.factors.values()
        wrong = [problem for each in factors for problem in (each.refused, *each.problems)]

        def flow(path: str, handler: Any, policy: str, answer: Any, *more: Problem) -> Route:
            return Route(
                method="POST",
                path=path,
                handler=handler,
                policy=policy,
                body=dict,
                known=replies.Step,
                answer=answer,
                problems=(*BEGIN, *wrong, *more),
                example=dict(starter.example),
            )

        def post(path: str, handler: Any, policy: str, **more: Any) -> Route:
            return Route(method="POST", path=path, handler=handler, policy=policy, **more)

        token = {"body": str, "accepts": (ANYTHING,), "example": replies.REFRESH}
        done: dict[str, Any] = {"status": 204, "problems": (NOT_FOUND,)}
        ended = (*TOKEN, REFUSED)
        return [
            flow("/auth/login/begin", self.begin, "flow", replies.Begun),
            flow("/auth/login", self.login, "flow", replies.Handed, *LOGIN),
            flow("/auth/stepup/begin", self.begin_stepup, "session", replies.Begun),
            flow(
                "/auth/stepup",
                self.stepup,
                "session",
                replies.AccessToken | replies.Identity,
                MORE_NEEDED,
            ),
            post(
                "/jwt/refresh",
                self.refresh,
                "public",
                **token,
                answer=replies.Tokens,
                problems=ended,
            ),
            post("/auth/session/refresh", self.prolong, "session", answer=replies.Identity),
            post("/auth/logout", self.logout, "session", **done),
            post("/auth/logout_from_all", self.logout_from_all, "session", **done),
        ]

    async def begin(self, request: Request) -> Reply:
        """Begin a login with a factor that asks something first."""
        return Reply(await self.auth.logins.begin(self.one(request)))

    async def login(self, request: Request) -> Reply:
        """Log in, or go one step further."""
        return Reply(await self.auth.logins.login(self.step(request)))

    async def begin_stepup(self, request: Request) -> Reply:
        """Begin to prove oneself afresh with a factor that asks something first."""
        session = await self.auth.credentials.session(request.access.session_id)
        return Reply(await self.auth.logins.begin(self.one(request, session)))

    async def stepup(self, request: Request) -> Reply:
        """Prove oneself afresh, for what needs that."""
        session = await self.auth.credentials.session(request.access.session_id)
        return Reply(await self.auth.logins.stepup(self.step(request), session))

    async def refresh(self, request: Request) -> Reply:
        """Get new tokens for a refresh token, which comes as bearer or as the body."""
        token = presented(request.headers.get("authorization"), request.body)
        return Reply(await self.auth.grants.refresh(token, request.caller))

    async def prolong(self, request: Request) -> Reply:
        """Move the idle end of a session that is kept in a cookie; answers who is logged in."""
        if not request.access.by_cookie:  # tokens have their own way, and nothing is lost
            return Reply(request.access.claims)
        session = await self.auth.credentials.session(request.access.session_id)
        access = await self.auth.cookies.access(await self.auth.cookies.prolong(session))
        return Reply(access.claims)

    async def logout(self, request: Request) -> Reply:
        """End this session."""
        access = request.access
        await self.auth.accounts.logout(access.user_id, access.session_id, request.caller)
        return Reply(status=204)

    async def logout_from_all(self, request: Request) -> Reply:
        """End every session of the user."""
        await self.auth.accounts.logout_from_all(request.access.user_id, request.caller)
        return Reply(status=204)

    def one(self, request: Request, session: Session | None = None) -> Step:
        step = self.step(request, session, first)
        return Step(flow=step.flow, payloads=step.payloads[:1], caller=step.caller, session=session)

    def step(
        self, request: Request, session: Session | None = None, unnamed: Unnamed = likely
    ) -> Step:
        """Read a step: the factor's own members, and further factors under their names."""
        body: Payload = request.body
        for name in RESERVED & body.keys():
            kind, word = (bool, "true or false") if name in SWITCHES else (str, "a text")
            if not isinstance(body[name], kind):
                raise AuthError(INVALID_BODY, f"{name} must be {word}")
        return Step(
            flow=body.get("flow"),
            payloads=self.payloads(body, unnamed),
            caller=request.caller,
            delivery=delivery(body),
            same_site=self.auth.cookies.same_site(request.headers),
            session=session,
            restore=body.get("restore", False),
        )

    def payloads(self, body: Payload, unnamed: Unnamed) -> Sequence[tuple[str, Payload]]:
        """`factor` may be left out: then it is the `unnamed` one, if anything is left for it."""
        factors, said = self.auth.factors, {n: body[n] for n in body.keys() - RESERVED}
        main = body.get("factor") or unnamed(factors, said)
        further = [name for name in factors if name in body and name != main]
        own = {n: value for n, value in body.items() if n not in RESERVED and n not in further}
        nothing = further or ("flow" in body and body.get("restore"))  # all is proven by then
        first = [(main, own)] if own or "factor" in body or not nothing else []
        return [*first, *((name, wrapped(name, body[name])) for name in further)]


def delivery(body: Payload) -> Delivery | None:
    """How the session is to be kept, where the client says so. Raises AuthError."""
    kind, remember = body.get("session"), body.get("remember", False)
    if kind not in (None, "token", "cookie"):
        raise AuthError(INVALID_BODY, 'session must be "token" or "cookie"')
    if remember and kind != "cookie":
        raise AuthError(INVALID_BODY, 'remember goes with "session": "cookie"')
    return "remembered" if remember else cast("Delivery | None", kind)


def wrapped(name: str, value: Any) -> Payload:
    """`"totp": "123456"` is short for `"totp": {"totp": "123456"}`."""
    return value if isinstance(value, dict) else {name: value}
