"""What a plugin may contribute: the hook specification and the base class of plugins in one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, is_dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast, get_args, get_origin

import pluggy

from picoauth.additions import Addition
from picoauth.checks import Check
from picoauth.database import Database
from picoauth.drafts import Draft
from picoauth.errors import Problem
from picoauth.events import Event
from picoauth.factors import Factor
from picoauth.imports import ImportField
from picoauth.jobs import Job
from picoauth.mail import Mailer
from picoauth.mint import Login
from picoauth.outbox import Sender
from picoauth.routes import EdgeRoute, Guard, Route
from picoauth.sessions import Session, SessionStore
from picoauth.throttle import Limiter
from picoauth.users import User

if TYPE_CHECKING:
    import click

    from picoauth.auth import Auth

Function = TypeVar("Function", bound=Callable[..., Any])
C = TypeVar("C")

_implementation = pluggy.HookimplMarker("picoauth")
_specification = pluggy.HookspecMarker("picoauth")


def hookimpl(function: Function) -> Function:
    """Mark a method as this plugin's part of a hook. It has no options: order is the operator's."""
    return _implementation(function)


def hookspec(function: Function) -> Function:
    """Mark a method of a class named by `Plugin.hooks` as a hook for other plugins."""
    return _specification(function)


def is_plugin(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Plugin)


@dataclass(frozen=True)
class NoSettings:
    """The settings of a plugin that has none."""


class Plugin(Generic[C]):
    """A contribution to the server: subclass it, mark overrides with `hookimpl`.

    The type argument is a frozen dataclass, the schema of the plugin's own table in
    `picoauth.toml`; the settings are `self.settings`, and the kernel is `self.auth`.
    """

    requires: ClassVar[Sequence[str]] = ()
    """Names of plugins that this one cannot do without."""
    needs: ClassVar[Sequence[str]] = ()
    """Slots that some plugin must fill, such as `mailer`."""
    hears: ClassVar[type[Event]] = Event
    """The kind of events that its `on` is told of; each costs a task."""
    offline: ClassVar[bool] = False
    """Whether its commands are for a database that is not open."""
    hooks: ClassVar[type | None] = None
    """A class of `hookspec` methods that other plugins may implement."""

    def __init__(self, auth: Auth, name: str, settings: C) -> None:
        self.auth = auth
        self.name = name
        self.settings = settings

    @classmethod
    def settings_type(cls) -> type[C]:
        """The type argument of the nearest base that has one. Raises TypeError for a mere name."""
        bases = (base for kind in cls.__mro__ for base in getattr(kind, "__orig_bases__", ()))
        given = [get_args(base)[0] for base in bases if is_plugin(get_origin(base))]
        kind = next((kind for kind in given if not isinstance(kind, TypeVar)), NoSettings)
        if not is_dataclass(kind):
            raise TypeError(f"{kind!r} is no dataclass")
        return cast("type[C]", kind)

    @hookspec
    def database(self, url: str) -> Database | None:
        """Open the database at `url`, or answer None where the address is not this plugin's."""

    @hookspec
    def sessions(self) -> SessionStore | None:
        """Keep the sessions."""

    @hookspec
    def mailer(self) -> Mailer | None:
        """Deliver mail."""

    @hookspec
    def limiter(self) -> Limiter | None:
        """Decide how often something may be tried."""

    @hookspec
    def migrations(self) -> Sequence[str]:
        """SQL statements that make this plugin's tables; append only, one statement each."""
        return ()

    @hookspec
    def factors(self) -> Sequence[Factor]:
        """Ways to prove who someone is."""
        return ()

    @hookspec
    def routes(self) -> Sequence[Route]:
        """Paths that this plugin answers."""
        return ()

    @hookspec
    def edge(self) -> Sequence[EdgeRoute]:
        """Paths that are asked on every request of an application."""
        return ()

    @hookspec
    def commands(self) -> Sequence[click.Command]:
        """Verbs under `picoauth <plugin>`."""
        return ()

    @hookspec
    def imports(self) -> Mapping[str, ImportField]:
        """Members of the lines of `picoauth users import` and `export`, by name."""
        return {}

    @hookspec
    def guards(self) -> Mapping[str, Guard]:
        """Who a policy lets in; and where its routes are, if the guard has a `listener`."""
        return {}

    @hookspec
    def checks(self) -> Sequence[Check]:
        """What `/health-check` and `picoauth doctor` look at."""
        return ()

    @hookspec
    def jobs(self) -> Sequence[Job]:
        """Work in the background, each done by one process at a time."""
        return ()

    @hookspec
    def senders(self) -> Mapping[str, Sender]:
        """Kinds of messages that the outbox can send."""
        return {}

    @hookspec
    def lifespan(self) -> AbstractAsyncContextManager[None] | None:
        """Entered when the server starts, left when it stops."""

    @hookspec
    async def check_registration(self, draft: Draft) -> Problem | None:
        """Answer a problem to keep a user from being made."""

    @hookspec
    async def check_login(self, login: Login) -> Problem | None:
        """Answer a problem to keep a session from being made, though every factor passed."""

    @hookspec
    async def claims(self, user: User, session: Session) -> Mapping[str, Any]:  # noqa: ARG002
        """More claims for an access token."""
        return {}

    @hookspec
    def record(self, event: Event) -> Addition | None:
        """Statements that join the write that this event is part of. Pure: no I/O."""

    @hookspec
    async def on(self, event: Event) -> None:
        """Told of what happened, after it is committed."""

    @hookspec
    async def export(self, user: User) -> Mapping[str, Any]:  # noqa: ARG002
        """All that this plugin knows about a user."""
        return {}
