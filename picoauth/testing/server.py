"""A whole server in the test's own process, on a temporary file, with a client attached."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property
from itertools import count
from pathlib import Path
from typing import Any

import httpx

from picoauth.app import Application
from picoauth.auth import Auth
from picoauth.config import parse
from picoauth.discovery import GROUP, Found, Origin, installed
from picoauth.hooks import Plugin
from picoauth.testing.captured import Captured
from picoauth.testing.people import Ceremonies, Ceremony, Someone

PASSWORD = "correct horse battery staple"


class Clock:
    """A clock that stands still until it is told."""

    def __init__(self, start: float = 1_800_000_000) -> None:
        self.time = start

    def __call__(self) -> float:
        return self.time

    def advance(self, seconds: float) -> None:
        self.time += seconds

    @contextmanager
    def ago(self, seconds: float) -> Iterator[None]:
        """Go back in time for what is done within: a token made there is that old afterwards."""
        self.advance(-seconds)
        try:
            yield
        finally:
            self.advance(seconds)


@dataclass(frozen=True)
class Offer:
    """An entry point of a class that is at hand."""

    kind: Any
    value: str = "test:Plugin"
    group: str = GROUP

    def load(self) -> Any:
        return self.kind


def offer(name: str, kind: Any, *, distribution: str | None = None) -> Found:
    """A plugin as if it were installed."""
    return Found(Origin(name, distribution or f"picoauth-{name}", "0.1.0"), Offer(kind))


@dataclass(frozen=True)
class Server:
    """A running server: `client` talks to it over ASGI, as a peer at 127.0.0.1."""

    app: Application
    auth: Auth
    client: httpx.AsyncClient
    clock: Clock
    folder: Path
    events: Captured
    """What happened so far."""
    given: Mapping[str, type[Ceremony]] = field(default_factory=dict)
    """Ceremonies of factors, beside those of installed packages."""
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    @cached_property
    def ceremonies(self) -> Ceremonies:
        """How test users prove the factors that are on."""
        return Ceremonies(self, self.given)

    @property
    def starters(self) -> list[str]:
        """The factors by which a login may begin, in the operator's order."""
        return [name for name, factor in self.auth.factors.items() if factor.starts]

    async def join(self, *factors: str, username: str | None = None) -> Someone:
        """Make a user with these factors; without any, with the first by which one can log in."""
        name = username or f"someone{next(self.numbers)}"
        user, _ = await self.auth.users.register(self.auth.users.draft(username=name))
        someone = Someone(self, user, name)
        await someone.enrol(*(factors or self.starters[:1]))
        return someone

    async def post(
        self, path: str, body: Any = None, *, token: str | None = None, **more: Any
    ) -> httpx.Response:
        return await self.send("POST", path, body, token=token, **more)

    async def get(self, path: str, *, token: str | None = None, **more: Any) -> httpx.Response:
        return await self.send("GET", path, token=token, **more)

    async def send(
        self, method: str, path: str, body: Any = None, *, token: str | None = None, **more: Any
    ) -> httpx.Response:
        """Send a request; a `body` goes as JSON."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        content = {} if body is None else {"json": body}
        return await self.client.request(method, path, headers=headers, **content, **more)

    async def register(self, username: str = "ann", password: str = PASSWORD) -> dict[str, Any]:
        """Make an account by the password plugin's route."""
        answer = await self.post("/auth/register", {"username": username, "password": password})
        assert answer.status_code == 201, answer.text
        registered: dict[str, Any] = answer.json()
        return registered

    async def login(self, username: str = "ann", password: str = PASSWORD) -> dict[str, Any]:
        """Log in by password; answers the tokens. See `join` for other factors."""
        answer = await self.post("/auth/login", {"username": username, "password": password})
        assert answer.status_code == 200, answer.text
        tokens: dict[str, Any] = answer.json()
        return tokens


@cache
def offered() -> Sequence[Found]:
    """What is installed, read once: that takes a quarter of the time of a server."""
    return installed()


@asynccontextmanager
async def serving(
    folder: Path,
    settings: str = 'plugins = ["password"]',
    *,
    plugins: Mapping[str, type[Plugin[Any]]] | None = None,
    ceremonies: Mapping[str, type[Ceremony]] | None = None,
    clock: Clock | None = None,
) -> AsyncIterator[Server]:
    """Run a server with its files in `folder`.

    `plugins` are there beside the installed ones, and `ceremonies` of their factors too.
    """
    time = clock or Clock()
    found: Sequence[Found] = [
        *offered(),
        *(offer(name, kind) for name, kind in (plugins or {}).items()),
    ]
    auth = Auth(parse(settings, folder), clock=time, monotonic=time, found=found)
    app = Application(auth)
    async with attached(app, time, folder, ceremonies or {}) as server, app.running():
        server.events.clear()  # of the first start, which makes a key
        yield server


@asynccontextmanager
async def attached(
    app: Application,
    clock: Clock,
    folder: Path,
    ceremonies: Mapping[str, type[Ceremony]] | None = None,
) -> AsyncIterator[Server]:
    """A server around an application that somebody else starts and stops."""
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        events = Captured(app.auth.events)
        yield Server(app, app.auth, client, clock, folder, events, ceremonies or {})
