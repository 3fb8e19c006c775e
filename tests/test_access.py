"""Every route of the kernel, asked as every principal."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from picoauth import (
    FORM,
    AuthError,
    EdgeReply,
    EdgeRequest,
    EdgeRoute,
    Guard,
    NoSettings,
    Plugin,
    Reply,
    Request,
    Route,
    hookimpl,
    problems,
)
from picoauth.testing import Server, Someone, serving
from picoauth.testing.contracts import AccessContract
from picoauth.testing.contracts.access import (
    EDGE,
    LET_IN,
    POLICIES,
    PRINCIPALS,
    THINGS,
    Table,
    with_principal,
)
from tests.factors import CEREMONIES, PLUGINS
from tests.mutants import fails, run


@pytest.fixture
def picoauth_settings() -> str:
    return 'plugins = ["pin", "code", "spare", "key", "link"]'


@pytest.fixture
def picoauth_plugins() -> Mapping[str, type[Plugin[Any]]]:
    return PLUGINS


class TestAccess(AccessContract):
    """Nothing but what is named in the kit is open to all."""


# What the table finds


class NotesPlugin(Plugin[NoSettings]):
    """Notes of users, for one's own eyes and an administrator's, all of it right."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.notes: dict[str, str] = {}

    async def administrator(self, request: Request) -> Any:
        if "authorization" not in request.headers:
            return None
        return request.headers["authorization"] == "Bearer administrator" or None

    @hookimpl
    def guards(self) -> Mapping[str, Guard]:
        return {"administrator": self.administrator}

    @hookimpl
    def routes(self) -> Sequence[Route]:
        def route(path: str, policy: str, **more: Any) -> Route:
            return Route(method="GET", path=path, handler=self.answer, policy=policy, **more)

        return [
            route("/notes/{id}", "session"),
            route("/notes", "administrator", listener="admin"),
            Route(
                method="POST",
                path="/notes",
                handler=self.answer,
                policy="fresh",
                body=dict,
                accepts=(FORM,),
                example={"text": "hello"},
            ),
        ]

    async def answer(self, request: Request) -> Reply:
        number = request.path.get("id")
        if number and self.notes.get(number) != request.access.user_id:
            raise AuthError(problems.NOT_FOUND)
        return Reply({})


class Shameless(NotesPlugin):
    """Has a route that nobody guards."""

    @hookimpl
    def routes(self) -> Sequence[Route]:
        return [replace(route, policy="public") for route in super().routes()]


class Welcoming(NotesPlugin):
    """Has a policy of its own that lets everybody in."""

    @hookimpl
    def guards(self) -> Mapping[str, Guard]:
        return {**super().guards(), "everybody": self.everybody}

    async def everybody(self, _: Request) -> Any:
        return "everybody"

    @hookimpl
    def routes(self) -> Sequence[Route]:
        return [
            replace(route, policy="everybody") if route.method == "POST" else route
            for route in super().routes()
        ]


class Negligent(NotesPlugin):
    """Shows every note to everyone who is logged in."""

    async def answer(self, request: Request) -> Reply:
        return Reply({})


class Gullible(NotesPlugin):
    """Takes everybody for the administrator."""

    async def administrator(self, request: Request) -> Any:
        return "administrator"


class Broken(NotesPlugin):
    """Fails when it has let somebody in."""

    async def answer(self, request: Request) -> Reply:
        raise ZeroDivisionError


class Edgy(NotesPlugin):
    """Has a route of the edge that looks at nobody."""

    @hookimpl
    def edge(self) -> Sequence[EdgeRoute]:
        return [EdgeRoute(method="GET", path="/notes/count", handler=self.count)]

    async def count(self, _: EdgeRequest) -> EdgeReply:
        return EdgeReply(b"{}")


async def administrator(_: Someone) -> Mapping[str, str]:
    return {"Authorization": "Bearer administrator"}


async def a_note(owner: Someone) -> Mapping[str, str]:
    plugin = owner.server.auth.plugin(NotesPlugin)
    plugin.notes[owner.username] = owner.user.id
    return {"id": owner.username}


ASKING = ("nobody", "user", "other user", "stale")
TABLE = Table(
    principals={**{name: PRINCIPALS[name] for name in ASKING}, "administrator": administrator},
    policies={
        **with_principal(
            POLICIES, "administrator", session="401 invalid_token", fresh="401 invalid_token"
        ),
        "administrator": {"*": "403 forbidden", "administrator": LET_IN},
    },
    open_routes=(),
    edge=EDGE,
    things={**THINGS, "/notes/{id}": a_note},
    bodies={},
)


@asynccontextmanager
async def with_notes(folder: Path, kind: type[Plugin[Any]]) -> AsyncIterator[Server]:
    plugins = {**PLUGINS, "notes": kind}
    settings = 'plugins = ["pin", "notes"]'
    async with serving(folder, settings, plugins=plugins, ceremonies=CEREMONIES) as server:
        yield server


TESTS = (
    "test_every_route_is_in_the_table",
    "test_who_is_let_in",
    "test_routes_of_the_admin_listener",
)


async def test_table_with_an_administrator(tmp_path: Path) -> None:
    """A project's own principal, policy and things join the table."""
    async with with_notes(tmp_path, NotesPlugin) as server:
        for test in TESTS:
            await run(AccessContract(), test, server=server, table=TABLE)


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (Negligent, "GET /notes/{id} as other user: '200', not '404 not_found'"),
        (Gullible, "GET /notes as nobody: 'let in', not '403 forbidden'"),
        (Gullible, "GET /notes as stale: 'let in', not '403 forbidden'"),
        (Broken, "POST /notes as user: '500 internal_error', not 'let in'"),
    ],
)
async def test_who_is_wrongly_let_in(tmp_path: Path, kind: type[NotesPlugin], wrong: str) -> None:
    """The table tells which route, and as whom."""
    async with with_notes(tmp_path, kind) as server:
        with pytest.raises(AssertionError, match=re.escape(wrong)):
            await run(AccessContract(), "test_who_is_let_in", server=server, table=TABLE)


@pytest.mark.parametrize(
    ("kind", "more", "sentences"),
    [
        (
            Shameless,
            {},
            [
                "GET /notes/{id} is open to all: name it in the fixture `open_routes`, or guard it",
                "GET /notes is open to all: name it in the fixture `open_routes`, or guard it",
                "POST /notes is open to all: name it in the fixture `open_routes`, or guard it",
            ],
        ),
        (
            Welcoming,
            {"policies": {**TABLE.policies, "everybody": {"*": LET_IN}}},
            ["POST /notes is open to all: name it in the fixture `open_routes`, or guard it"],
        ),
        (
            NotesPlugin,
            {"open_routes": {"GET /notes", "GET /health-check"}},
            ["GET /notes is no open route: take it out of the fixture `open_routes`"],
        ),
        (
            NotesPlugin,
            {"things": THINGS},
            ["GET /notes/{id}: say in the fixture `things` whose that is"],
        ),
        (
            NotesPlugin,
            {"policies": {**TABLE.policies, "administrator": {"nobody": "403 forbidden"}}},
            [
                f"GET /notes: say in the fixture `policies` what {name} gets of the policy administrator"
                for name in TABLE.principals
                if name != "nobody"
            ],
        ),
        (
            NotesPlugin,
            {"policies": {n: e for n, e in TABLE.policies.items() if n != "administrator"}},
            ["GET /notes: say in the fixture `policies` whom the policy administrator lets in"],
        ),
        (
            Edgy,
            {},
            [
                "GET /notes/count is of the edge: say in the fixture `edge` as which policy it behaves"
            ],
        ),
    ],
)
async def test_what_is_not_in_the_table(
    tmp_path: Path, kind: type[NotesPlugin], more: Mapping[str, Any], sentences: Sequence[str]
) -> None:
    """A route that nobody thought about is named, with what to do: a wrongly public one too."""
    table = replace(TABLE, **more)
    async with with_notes(tmp_path, kind) as server:
        assert sentences == table.missing(server)
        await fails(AccessContract(), TESTS[0], server=server, table=table)


async def test_things_of_nobody(tmp_path: Path) -> None:
    """Where not even their owner finds them, nothing would be tested."""

    async def nothing(_: Someone) -> Mapping[str, str]:
        return {}

    table = replace(TABLE, things={**THINGS, "/notes/{id}": nothing})
    async with with_notes(tmp_path, NotesPlugin) as server:
        sentence = r"^GET /notes/{id}: `things` names nothing of the user's"
        with pytest.raises(AssertionError, match=sentence):
            await run(AccessContract(), "test_who_is_let_in", server=server, table=table)


async def test_edge_route_that_looks_at_nobody(tmp_path: Path) -> None:
    """Said to behave as a policy, it is asked as one."""
    table = replace(TABLE, edge={**EDGE, "GET /notes/count": "session"})
    async with with_notes(tmp_path, Edgy) as server:
        assert [] == table.missing(server)
        with pytest.raises(AssertionError, match="GET /notes/count as nobody: 'let in'"):
            await run(AccessContract(), "test_who_is_let_in", server=server, table=table)
        table = replace(TABLE, edge={**EDGE, "GET /notes/count": "public"})
        await run(AccessContract(), "test_who_is_let_in", server=server, table=table)


async def test_admin_route_on_the_public_listener(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is found, whoever its guard lets in (M-1)."""
    async with with_notes(tmp_path, NotesPlugin) as server:
        on = server.app.on
        monkeypatch.setattr(server.app, "on", lambda _: on("admin"))
        with pytest.raises(AssertionError, match="GET /notes as nobody"):
            await run(AccessContract(), TESTS[2], server=server, table=TABLE)


async def test_what_is_sent(tmp_path: Path) -> None:
    """What the project says, else the route's example, in the form that the route takes."""
    async with with_notes(tmp_path, NotesPlugin) as server:
        places = {str(place): place for place in TABLE.places(server)}
        assert {"data": {"text": "bye"}} == places["POST /notes"].sent({"text": "bye"})
        assert {"data": {"text": "hello"}} == places["POST /notes"].sent(None)
        assert {"json": {"label": "Phone"}} == places["PATCH /auth/factors/{id}"].sent(None)
        assert [{}, {}] == [places[n].sent(None) for n in ("GET /notes", "POST /jwt/refresh")]
