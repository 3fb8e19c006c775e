"""Every route that is on: whose it is, who guards it, and that no two are the same."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from picoauth import edge
from picoauth.errors import ConfigError
from picoauth.policies import Policies
from picoauth.routes import PARAMETER, AnyRoute, EdgeRoute, Guard, Listener, Request, Route

if TYPE_CHECKING:
    from picoauth.auth import Auth

T = TypeVar("T")


@dataclass(frozen=True)
class Registered:
    """A route with its guard, and whose it is."""

    route: Route
    guard: Guard
    owner: str


@dataclass(frozen=True)
class Guarding:
    """Who a policy lets in, and on which listener, where the guard says so."""

    guard: Guard
    listener: Listener | None = None


class Catalogue:
    """The kernel's routes and those of plugins. Raises ConfigError where they do not fit."""

    def __init__(self, auth: Auth, ours: Sequence[Route]) -> None:
        self.auth = auth
        self.edges, self.routes = self.registered(ours)

    @property
    def edge(self) -> Sequence[EdgeRoute]:
        return [route for _, route in self.edges]

    @property
    def owned(self) -> Sequence[tuple[str, AnyRoute]]:
        """Every route with whose it is, the kernel's first."""
        behind = [(registered.owner, registered.route) for registered in self.routes]
        return [*self.edges, *behind]

    def registered(
        self, ours: Sequence[Route]
    ) -> tuple[Sequence[tuple[str, EdgeRoute]], Sequence[Registered]]:
        """Every route, checked. Raises ConfigError for a clash, or a policy nobody guards."""
        guards = self.guards()
        edges = [*owned("picoauth", edge.routes(self.auth)), *self.contributed("edge")]
        routes = [*owned("picoauth", ours), *self.contributed("routes")]
        check_clashes([(self.who(owner), route) for owner, route in [*edges, *routes]])
        check_whole([(self.who(owner), route) for owner, route in edges])
        for owner, route in routes:
            if route.policy not in guards:
                raise ConfigError(
                    f"{route.method} {route.path} of {self.who(owner)} has the policy {route.policy!r}, "
                    "which nothing guards: name one that exists, or list the plugin that has it."
                )
        found = [self.guarded(owner, route, guards[route.policy]) for owner, route in routes]
        return edges, found

    def guarded(self, owner: str, route: Route, guard: Guarding) -> Registered:
        """All routes of a policy are where its guard says, whichever plugin has them."""
        placed = replace(route, listener=guard.listener) if guard.listener else route
        return Registered(placed, guard.guard, owner)

    def guards(self) -> dict[str, Guarding]:
        """Who each policy lets in. Raises ConfigError for a plugin that would guard one of ours."""
        ours, plugins = Policies(self.auth).guards(), self.auth.plugins
        theirs = plugins.unique("guards", dict)
        for owner, table in plugins.collect("guards"):
            for policy in table.keys() & ours.keys():
                raise ConfigError(
                    f"{plugins.origins[owner]} guards the policy {policy}, which is the "
                    "kernel's: list a version of it that guards one of its own."
                )
            theirs |= {name: self.contained(owner, guard) for name, guard in table.items()}
        return {name: Guarding(guard) for name, guard in ours.items()} | theirs

    def contained(self, owner: str, guard: Guard) -> Guarding:
        """A plugin's guard, which denies where it fails or takes too long."""

        async def ask(request: Request) -> Any:
            return await self.auth.plugins.answer(owner, "its guard", partial(guard, request))

        return Guarding(ask, getattr(guard, "listener", None))

    def who(self, owner: str) -> str:
        """A plugin with its distribution and version, for a sentence."""
        return str(self.auth.plugins.origins.get(owner, owner))

    def contributed(self, hook: str) -> list[tuple[str, Any]]:
        """What plugins declare by a hook of sequences, with whose it is."""
        return [
            pair for name, items in self.auth.plugins.collect(hook) for pair in owned(name, items)
        ]


def owned(owner: str, items: Iterable[T]) -> list[tuple[str, T]]:
    return [(owner, item) for item in items]


def check_clashes(routes: Sequence[tuple[str, Route | EdgeRoute]]) -> None:
    """Two routes of one method and shape: `/a/{id}` and `/a/{name}` are the same to a client."""
    owners: dict[tuple[str, str], str] = {}
    for owner, route in routes:
        key = (route.method, PARAMETER.sub("{}", route.path))
        if key in owners:
            raise ConfigError(
                f"{route.method} {route.path} is a route of {owners[key]} and of {owner}: "
                "list one of them."
            )
        owners[key] = owner


def check_whole(edges: Sequence[tuple[str, EdgeRoute]]) -> None:
    """The edge compares paths to the letter. Raises ConfigError for one with parameters."""
    for owner, route in edges:
        if "{" in route.path:
            raise ConfigError(
                f"{route.method} {route.path} of {owner} has a parameter, which no route of the "
                "edge can: make it a Route."
            )
