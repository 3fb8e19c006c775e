"""The table route x principal: who is let in where, for every route that is on."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, is_dataclass, replace
from functools import reduce
from operator import or_
from typing import Any, TypeAlias

import httpx
import pytest

from picoauth.callers import Caller
from picoauth.events import AccessRefused
from picoauth.routes import FORM, EdgeRoute, Listener, Route
from picoauth.samples import sample
from picoauth.testing.contracts.base import Contract, agree
from picoauth.testing.joining import LET_IN, Expectations, Headers, Principal, joining
from picoauth.testing.people import Someone
from picoauth.testing.server import Server
from picoauth.testing.transport import HangingUp

Things: TypeAlias = Callable[[Someone], Awaitable[Mapping[str, str]]]
"""Makes what a path names, and answers the path's parameters."""

NOT_THERE = "404 not_found"
SAFE = frozenset({"GET", "HEAD"})


async def nobody(_: Someone) -> Headers:
    """No credential at all."""
    return {}


async def user(someone: Someone) -> Headers:
    """Just logged in."""
    return bearer((await someone.login())["access_token"])


async def other_user(someone: Someone) -> Headers:
    """Just logged in, and somebody else than the owner of what the path names."""
    return await user(await someone.server.join())


async def disabled(someone: Someone) -> Headers:
    """An access token that was good until the account was disabled (S-6)."""
    headers = await user(someone)
    await someone.server.auth.accounts.disable(someone.user.id, Caller())
    return headers


async def half_logged_in(someone: Someone) -> Headers:
    """The flow of a login that waits for another factor, or for the first one (O-4)."""
    server = someone.server
    for name, kind in server.auth.factors.items():
        demanding = kind.second and not kind.fallback and name not in someone.factors
        if demanding and server.ceremonies.find(name):
            await someone.enrol(name)
            answer = await someone.prove(someone.factors[0])
            return bearer(answer.json()["flow"])
    factor = someone.factors[0]
    ceremony = server.ceremonies[factor]
    asked = await ceremony.asks(someone) or await ceremony.answer(someone, {})
    answer = await server.post("/auth/login/begin", {**asked, "factor": factor})
    return bearer(answer.json()["flow"])


async def stale(someone: Someone) -> Headers:
    """A session whose proof is no longer fresh."""
    server = someone.server
    with server.clock.ago(server.auth.config.logins.fresh_for + 1):
        return await user(someone)


async def refresh_token(someone: Someone) -> Headers:
    """A refresh token where an access token belongs (K-5)."""
    return bearer((await someone.login())["refresh_token"])


async def expired_token(someone: Someone) -> Headers:
    """An access token of a living session, a second too old."""
    server = someone.server
    with server.clock.ago(server.auth.config.tokens.access_life + 1):
        return await user(someone)


async def resource_server(someone: Someone) -> Headers:
    """A server that may ask about tokens, by its key (RFC 7662)."""
    name = f"server-of-{someone.username}"
    return bearer(await someone.server.auth.resource_servers.add(name))


PRINCIPALS: Mapping[str, Principal] = {
    "nobody": nobody,
    "user": user,
    "other user": other_user,
    "disabled": disabled,
    "half logged in": half_logged_in,
    "stale": stale,
    "refresh token": refresh_token,
    "expired token": expired_token,
    "resource server": resource_server,
}
"""Who asks. A project adds its own, such as an administrator."""

SESSION: Expectations = {
    "nobody": "401 token_missing",
    "user": LET_IN,
    "other user": LET_IN,
    "disabled": "401 session_ended",
    "half logged in": "401 invalid_token",
    "stale": LET_IN,
    "refresh token": "401 invalid_token",
    "expired token": "401 token_expired",
    "resource server": "401 invalid_token",
}
POLICIES: Mapping[str, Expectations] = {
    "public": {"*": LET_IN},
    "flow": {"*": LET_IN},
    "session": SESSION,
    "fresh": {**SESSION, "stale": "403 stepup_needed"},
    "resource_server": {"*": "401 invalid_client", "resource server": LET_IN},
}
"""What the kernel's policies answer. A project adds those of its guards."""


def with_principal(
    policies: Mapping[str, Expectations], name: str, **gets: str
) -> Mapping[str, Expectations]:
    """The policies with one principal more: `session="401 invalid_token"` is what it gets of one."""
    return {
        policy: {**expectations, name: gets[policy]} if policy in gets else expectations
        for policy, expectations in policies.items()
    }


def joined(
    policies: Mapping[str, Expectations], more: Mapping[str, Expectations]
) -> Mapping[str, Expectations]:
    """The policies, with those that are new, and with what more principals get of the others."""
    return {name: {**policies.get(name, {}), **more.get(name, {})} for name in {**policies, **more}}


OPEN = frozenset(
    {
        "GET /health-check",
        "GET /.well-known/jwks.json",
        "GET /.well-known/picoauth/revocations",
        "GET /.well-known/picoauth/revocations/stream",
        "GET /openapi.json",
        "POST /auth/login/begin",
        "POST /auth/login",
        "POST /jwt/refresh",
        "POST /.well-known/picoauth/seen",
        "POST /oauth/revoke",
    }
)
"""Routes of the kernel that everybody may call: each is here because someone thought about it."""

EDGE: Mapping[str, str] = {"POST /jwt/validate": "session", "GET /auth/session": "session"}
"""The policy as which each of the kernel's edge routes behaves."""


async def a_session(owner: Someone) -> Mapping[str, str]:
    await owner.login()
    sessions = await owner.server.auth.sessions.list(owner.user.id)
    return {"id": sessions[0].id}


async def a_factor(owner: Someone) -> Mapping[str, str]:
    return {"id": (await owner.enrolment(owner.factors[0])).id}


THINGS: Mapping[str, Things] = {
    "/auth/sessions/{id}": a_session,
    "/auth/factors/{id}": a_factor,
}
"""What the kernel's paths name, each of which is somebody's."""


@dataclass(frozen=True)
class Place:
    """A route, or one of the edge, as the table sees it."""

    method: str
    path: str
    policy: str | None
    route: Route | None = None
    listener: Listener = "public"

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def named(self) -> bool:
        """Whether the path names something that may be somebody's."""
        return "{" in self.path

    def sent(self, body: Any) -> dict[str, Any]:
        """A body as a client sends it, the route's example by default."""
        if self.route is None or self.route.body in (None, str):
            return {}
        made = sample(self.route.body) if is_dataclass(self.route.body) else None
        form = FORM in self.route.accepts
        return {"data" if form else "json": body or self.route.example or made or {}}


@dataclass(frozen=True, kw_only=True)
class Table:
    """Everything that a project says about its routes."""

    principals: Mapping[str, Principal]
    policies: Mapping[str, Expectations]
    open_routes: Collection[str]
    edge: Mapping[str, str]
    things: Mapping[str, Things]
    bodies: Mapping[str, Any]

    def places(self, server: Server) -> list[Place]:
        routes = [registered.route for registered in server.app.routes]
        return [
            *(self.on_the_edge(route) for route in server.app.edge),
            *(Place(r.method, r.path, r.policy, r, r.listener) for r in routes),
        ]

    def on_the_edge(self, route: EdgeRoute) -> Place:
        return Place(route.method, route.path, self.edge.get(f"{route.method} {route.path}"))

    def missing(self, server: Server) -> list[str]:
        """What nobody has said yet, a sentence each."""
        places = self.places(server)
        is_open = {str(place) for place in places if not self.guarded(place)}
        return [
            *(problem for place in places for problem in self.unsaid(place)),
            *(
                f"{name} is no open route: take it out of the fixture `open_routes`"
                for name in sorted({*self.open_routes} - is_open)
            ),
        ]

    def unsaid(self, place: Place) -> Sequence[str]:
        if place.policy is None:
            return [f"{place} is of the edge: say in the fixture `edge` as which policy it behaves"]
        if place.policy not in self.policies:
            return [
                f"{place}: say in the fixture `policies` whom the policy {place.policy} lets in"
            ]
        guarded = self.guarded(place)
        if not guarded and place.route and str(place) not in {*OPEN, *self.open_routes}:
            return [f"{place} is open to all: name it in the fixture `open_routes`, or guard it"]
        if guarded and place.named and place.path not in self.things:
            return [f"{place}: say in the fixture `things` whose that is"]
        return [
            f"{place}: say in the fixture `policies` what {name} gets of the policy {place.policy}"
            for name in self.principals
            if self.policy_of(place, name) is None
        ]

    def policy_of(self, place: Place, name: str) -> str | None:
        policy, method = place.policy or "", "GET" if place.method in SAFE else place.method
        expectations = joined(
            {"": self.policies.get(policy, {})}, {"": self.policies.get(f"{policy} {method}", {})}
        )[""]
        return expectations.get(name, expectations.get("*"))

    def guarded(self, place: Place) -> bool:
        return self.policy_of(place, "nobody") != LET_IN

    def expected(self, place: Place, name: str) -> str | None:
        """What is another user's is not there (M-3)."""
        answer = self.policy_of(place, name)
        foreign = name == "other user" and self.guarded(place) and place.named
        return NOT_THERE if foreign and answer == LET_IN else answer


class Walk:
    """Asks every route as every principal."""

    def __init__(self, server: Server, table: Table) -> None:
        self.server = server
        self.table = table
        self.known: dict[str, tuple[Someone, Headers]] = {}

    async def cell(self, place: Place, name: str) -> str:
        """What comes of it: who is let in may have used up whatever made her somebody."""
        owner, headers = await self.principal(name)
        path = await self.path(place, name, owner)
        answer = await self.send(place, path, headers)
        guarded = self.table.guarded(place)
        if guarded and answer.is_success and place.method not in SAFE:
            del self.known[name]
        if place.named and name == "other user" and self.table.expected(place, name) == NOT_THERE:
            return worded(answer)
        if place.named and name == "user" and guarded:
            assert answer.status_code != 404, f"{place}: `things` names nothing of the user's"
        return self.outcome(place, answer)

    async def principal(self, name: str) -> tuple[Someone, Headers]:
        if name not in self.known:
            owner = await self.server.join()
            self.known[name] = owner, await self.table.principals[name](owner)
        return self.known[name]

    async def path(self, place: Place, name: str, owner: Someone) -> str:
        """With what is the owner's in it, for those who come as far as that."""
        things = self.table.things.get(place.path)
        let_in = self.table.guarded(place) and self.table.policy_of(place, name) == LET_IN
        values = await things(owner) if things and let_in else {}
        return re.sub(r"\{(\w+)\}", lambda found: values.get(found[1], "none"), place.path)

    async def send(self, place: Place, path: str, headers: Headers) -> httpx.Response:
        transport = HangingUp(self.server.app.on(place.listener))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            body = place.sent(self.table.bodies.get(str(place)))
            return await client.request(place.method, path, headers=headers, **body)

    def outcome(self, place: Place, answer: httpx.Response) -> str:
        """A refusal of a policy is told as an event; a handler refuses for reasons of its own."""
        request_id = answer.headers["x-request-id"]
        refused = [
            event
            for event in self.server.events.of(AccessRefused)
            if event.caller.request_id == request_id
        ]
        of_the_edge = place.route is None and answer.is_error
        return worded(answer) if refused or of_the_edge or answer.is_server_error else LET_IN


class AccessContract(Contract):
    """Inherit it where `picoauth_settings` lists your plugin and others.

        class TestAccess(AccessContract):
            @pytest.fixture
            def open_routes(self):
                return {"POST /auth/register"}

    Every route is asked as every principal, with the route's example for a body. What a route
    answers follows from its policy; that a route is open to all has to be said once more.
    """

    @pytest.fixture
    def server(self, picoauth_server: Server) -> Server:
        """The server whose routes are asked; override it for another one."""
        return picoauth_server

    @pytest.fixture
    def principals(self, server: Server) -> Mapping[str, Principal]:
        """Who asks, those among them whom a plugin brings; override it with `{**PRINCIPALS, …}`."""
        return reduce(or_, (dict(one.principals) for one in joining(server)), dict(PRINCIPALS))

    @pytest.fixture
    def policies(self, server: Server) -> Mapping[str, Expectations]:
        """Whom each policy lets in; override it with `{**POLICIES, "staff": …}`."""
        return reduce(joined, (one.policies for one in joining(server)), POLICIES)

    @pytest.fixture
    def open_routes(self) -> Collection[str]:
        """Routes beside the kernel's that everybody may call, as `POST /auth/register`."""
        return ()

    @pytest.fixture
    def edge(self) -> Mapping[str, str]:
        """The policy as which each edge route behaves; override it with `{**EDGE, …}`."""
        return EDGE

    @pytest.fixture
    def things(self) -> Mapping[str, Things]:
        """What a guarded path with parameters names; override it with `{**THINGS, …}`."""
        return THINGS

    @pytest.fixture
    def bodies(self) -> Mapping[str, Any]:
        """What to send where a route's example is not enough; by method and path; override it."""
        return {}

    @pytest.fixture
    def table(
        self,
        *,
        principals: Mapping[str, Principal],
        policies: Mapping[str, Expectations],
        open_routes: Collection[str],
        edge: Mapping[str, str],
        things: Mapping[str, Things],
        bodies: Mapping[str, Any],
    ) -> Table:
        """All of it."""
        return Table(
            principals=principals,
            policies=policies,
            open_routes=open_routes,
            edge=edge,
            things=things,
            bodies=bodies,
        )

    async def test_every_route_is_in_the_table(self, server: Server, table: Table) -> None:
        """What each answers to whom is known before it is asked (M-2)."""
        assert [] == table.missing(server)

    async def test_who_is_let_in(self, server: Server, table: Table) -> None:
        """Every route lets in whom its policy says, and nobody else."""
        known = [place for place in table.places(server) if not table.unsaid(place)]
        walk = Walk(server, table)
        cells = [(place, name) for place in known for name in table.principals]
        agree(
            {f"{place} as {name}": table.expected(place, name) for place, name in cells},
            {f"{place} as {name}": await walk.cell(place, name) for place, name in cells},
        )

    async def test_routes_of_the_admin_listener(self, server: Server, table: Table) -> None:
        """On the public listener they are not there at all (M-1)."""
        walk = Walk(server, table)
        hidden = [place for place in table.places(server) if place.listener == "admin"]
        for place in hidden:
            for name in table.principals:
                _, headers = await walk.principal(name)
                answer = await walk.send(replace(place, listener="public"), place.path, headers)
                # The path may have another method there.
                assert answer.status_code in (404, 405), f"{place} as {name}: {worded(answer)}"


def bearer(token: str) -> Headers:
    return {"Authorization": f"Bearer {token}"}


def worded(answer: httpx.Response) -> str:
    """Status and stable code."""
    code = answer.json().get("code", "") if answer.content else ""
    return f"{answer.status_code} {code}".strip()
