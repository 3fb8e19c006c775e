"""Takes the listed plugins, checks them before they do anything, orders them, and calls them."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pluggy

from picoauth import config as settings
from picoauth.discovery import GROUP, Found, Origin, groups, imported, installed
from picoauth.errors import AuthError, ConfigError, Denied
from picoauth.hooks import Plugin
from picoauth.problems import REFUSED
from picoauth.schema import KERNEL as KERNEL_TABLES
from picoauth.shapes import suggest

if TYPE_CHECKING:
    from picoauth.auth import Auth

log = logging.getLogger("picoauth.plugins")
PATIENCE = 2.0
"""Seconds that a deciding hook may take."""
RESERVED = settings.KERNEL | {"migrations", "serve", "init", "plugins", "users", "keys"}
SLOTS = ("database", "sessions", "mailer", "limiter")


class Plugins:
    """The plugins that are on. Every contribution remembers whose it is."""

    def __init__(self) -> None:
        self.manager = pluggy.PluginManager("picoauth")
        self.manager.add_hookspecs(Plugin)
        self.specs: dict[str, Callable[..., Any]] = specs(Plugin)
        self.origins: dict[str, Origin] = {}
        self.on: dict[str, Plugin[Any]] = {}

    def load(self, auth: Auth, found: Sequence[Found] | None = None) -> None:
        """Import and register what is listed. Raises ConfigError with every problem."""
        known = installed() if found is None else found
        problems: list[str] = []
        classes: dict[str, type[Plugin[Any]]] = {}
        for name in auth.config.plugins:
            try:
                classes[name] = self.find(name, known)
            except ConfigError as error:
                problems += error.problems
        for kind in classes.values():
            if kind.hooks is not None:
                self.manager.add_hookspecs(kind.hooks)
                self.specs |= specs(kind.hooks)
        for name, kind in classes.items():
            try:
                self.add(name, kind, auth)
            except ConfigError as error:
                problems += error.problems
        problems += self.unmet(auth.config.plugins)
        if problems:
            raise ConfigError(*problems)

    def find(self, name: str, known: Sequence[Found]) -> type[Plugin[Any]]:
        if name in RESERVED or name in table_names():
            raise ConfigError(f"plugins: {name} cannot be a plugin, the name is the kernel's.")
        mine = [found for found in known if found.origin.name == name]
        if not mine:
            raise ConfigError(self.missing(name, [found.origin.name for found in known]))
        if len(mine) > 1:
            both = " and ".join(f"{f.origin.distribution} {f.origin.version}" for f in mine)
            raise ConfigError(f"plugins: {name} is offered by {both}: uninstall one of them.")
        self.origins[name] = mine[0].origin
        return imported(mine[0])

    def missing(self, name: str, known: Sequence[str]) -> str:
        others = [found for group in groups() if group != GROUP for found in installed(group)]
        for found in others:
            if found.origin.name == name:
                return (
                    f"{found.origin} was written for the hooks {found.entry.group}, this server "
                    f"has {GROUP}: install a version of {found.origin.distribution} that fits."
                )
        near = suggest(name, known)
        return f"plugins: {name} is not installed{near or f': run `pip install picoauth-{name}`.'}"

    def add(self, name: str, kind: type[Plugin[Any]], auth: Auth) -> None:
        origin = self.origins[name]
        self.check(origin, kind)
        plugin = kind(auth, name, settings.table(auth.config, name, kind.settings_type()))
        try:
            self.manager.register(plugin, name)
        except pluggy.PluginValidationError as error:
            raise ConfigError(f"{origin} does not fit this server: {error.args[-1]}.") from error
        self.on[name] = plugin

    def check(self, origin: Origin, kind: type[Plugin[Any]]) -> None:
        """What pluggy lets pass: a misspelt hook, a forgotten marker, the wrong colour."""
        for name, function in inspect.getmembers(kind, inspect.isfunction):
            marked = hasattr(function, "picoauth_impl")
            if marked and name not in self.specs:
                near = suggest(name, self.specs) or "."
                raise ConfigError(
                    f"{origin} implements the hook {name}, which does not exist{near}"
                )
            if name in self.specs and function is not getattr(Plugin, name, None):
                check_override(origin, name, function, self.specs[name], marked=marked)

    def unmet(self, listed: Sequence[str]) -> list[str]:
        return [
            f"{self.origins[name]} requires {other}: add it to `plugins`."
            for name, plugin in self.on.items()
            for other in plugin.requires
            if other not in listed
        ]

    def implementations(self, hook: str) -> Iterator[tuple[str, Callable[..., Any]]]:
        """Who implements a hook, in the operator's order."""
        functions = {i.plugin_name: i for i in getattr(self.manager.hook, hook).get_hookimpls()}
        for name in self.on:
            if name in functions:
                yield name, bound(functions[name])

    def collect(self, hook: str, **arguments: Any) -> Iterator[tuple[str, Any]]:
        """What each plugin declares. Raises ConfigError naming the plugin that fails."""
        for name, function in self.implementations(hook):
            try:
                yield name, function(**arguments)
            except ConfigError:
                raise
            except Exception as error:
                raise ConfigError(f"{self.origins[name]} failed in {hook}: {error!r}.") from error

    def flat(self, hook: str) -> list[Any]:
        """All that plugins declare by a hook of sequences."""
        return [item for _, items in self.collect(hook) for item in items]

    def unique(self, hook: str, names: Callable[[Any], Mapping[str, Any]]) -> dict[str, Any]:
        """What plugins declare under names. Raises ConfigError naming both who use one twice."""
        owners: dict[str, str] = {}
        found: dict[str, Any] = {}
        for owner, items in self.collect(hook):
            for name, item in names(items).items():
                if name in owners:
                    both = f"{self.origins[owners[name]]} and {self.origins[owner]}"
                    raise ConfigError(f"{both} both have {hook} {name!r}: list one of them.")
                owners[name], found[name] = owner, item
        return found

    def slot(self, hook: str, **arguments: Any) -> Any:
        """The one occupant of a slot, or None. Raises ConfigError naming two."""
        filled = [
            (n, result) for n, result in self.collect(hook, **arguments) if result is not None
        ]
        if len(filled) > 1:
            both = " and ".join(str(self.origins[name]) for name, _ in filled)
            raise ConfigError(f"The slot {hook} is filled by {both}: list one of them.")
        return filled[0][1] if filled else None

    async def ask(self, hook: str, **arguments: Any) -> None:
        """Ask every plugin. Raises Denied unless each answers None, in time."""
        for name, function in self.implementations(hook):
            answer = await self.answer(name, hook, function, **arguments)
            if answer is not None:
                log.error("%s answered in %s, which denies", self.origins[name], hook)
                raise Denied(REFUSED)

    async def answer(
        self, name: str, hook: str, function: Callable[..., Any], **arguments: Any
    ) -> Any:
        """What one plugin answers, in time. Raises Denied for an exception, or for none."""
        try:
            return await asyncio.wait_for(function(**arguments), PATIENCE)
        except AuthError:
            raise
        except Exception as error:
            log.exception("%s failed in %s, which denies", self.origins[name], hook)
            raise Denied(REFUSED) from error


def check_override(
    origin: Origin, name: str, function: Any, spec: Callable[..., Any], *, marked: bool
) -> None:
    if not marked:
        raise ConfigError(f"{origin} overrides {name} without @hookimpl: mark it, or rename it.")
    if inspect.iscoroutinefunction(function) != inspect.iscoroutinefunction(spec):
        colour = "async def" if inspect.iscoroutinefunction(spec) else "def"
        raise ConfigError(f"{origin} must write {name} with `{colour}`.")


def specs(kind: type) -> dict[str, Callable[..., Any]]:
    functions = inspect.getmembers(kind, inspect.isfunction)
    return {name: function for name, function in functions if hasattr(function, "picoauth_spec")}


def bound(implementation: Any) -> Callable[..., Any]:
    """The implementation, called with those arguments that it names."""

    def call(**arguments: Any) -> Any:
        return implementation.function(*(arguments[name] for name in implementation.argnames))

    return call


def table_names() -> Mapping[str, None]:
    made = [sql.split() for sql in KERNEL_TABLES]
    return dict.fromkeys(words[2] for words in made if words[1] == "table")
