"""Takes the listed plugins, checks them before they do anything, orders them, and calls them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import pluggy

from picoauth import answers
from picoauth import config as settings
from picoauth.asking import asked
from picoauth.discovery import (
    REMEDY,
    Found,
    Origin,
    blaming,
    find,
    imported,
    installed,
    told,
)
from picoauth.errors import AuthError, ConfigError, Denied, Problem
from picoauth.hooks import Plugin
from picoauth.overrides import bound, check_class, specs
from picoauth.problems import REFUSED

if TYPE_CHECKING:
    from picoauth.auth import Auth

T = TypeVar("T")

log = logging.getLogger("picoauth.plugins")
PATIENCE = 2.0
"""Seconds that a deciding hook may take."""
SLOTS = tuple(answers.SLOTS)
ALWAYS = frozenset({"database", "sessions", "limiter"})
"""Slots that the kernel fills where no plugin does."""


class Plugins:
    """The plugins that are on. Every contribution remembers whose it is."""

    def __init__(self) -> None:
        self.manager = pluggy.PluginManager("picoauth")
        self.manager.add_hookspecs(Plugin)
        self.specs: dict[str, Callable[..., Any]] = specs(Plugin)
        self.origins: dict[str, Origin] = {}
        self.on: dict[str, Plugin[Any]] = {}

    def load(self, auth: Auth, found: Sequence[Found] | None = None) -> None:
        """Import, check and register what is listed. Raises ConfigError with every problem.

        Nothing of a plugin runs before all of them are found right.
        """
        known, listed = installed() if found is None else found, auth.config.plugins
        kinds, missing = each(listed, lambda name: self.find(name, known))
        _, unoffered = each(kinds, lambda name: self.offer(name, kinds[name]))
        _, unmet = each(kinds, lambda name: self.meet(name, kinds[name], listed))
        # Whose hook a plugin implements is known only where all that it requires is there.
        hooks = None if missing or unoffered or unmet else self.specs
        _, odd = each(kinds, lambda name: check_class(self.origins[name], kinds[name], hooks))
        tables, mistakes = each(kinds, lambda name: self.table(name, kinds[name], auth))
        stop([*missing, *unoffered, *unmet, *odd, *mistakes])
        _, failed = each(kinds, lambda name: self.add(name, kinds[name], auth, tables[name]))
        stop(failed)

    def find(self, name: str, known: Sequence[Found]) -> type[Plugin[Any]]:
        found = find(name, known)
        self.origins[name] = found.origin
        return imported(found)

    def offer(self, name: str, kind: type[Plugin[Any]]) -> None:
        """Take note of the hooks that a plugin offers to others. Raises ConfigError."""
        if kind.hooks is None:
            return
        offered = specs(kind.hooks)
        if not offered:
            raise ConfigError(f"{self.origins[name]} offers no @hookspec in `hooks`: {REMEDY}.")
        stop(
            f"{self.origins[name]} offers the hook {hook}, which exists already: {REMEDY}."
            for hook in offered
            if hook in self.specs
        )
        self.manager.add_hookspecs(kind.hooks)
        self.specs |= offered

    def meet(self, name: str, kind: type[Plugin[Any]], listed: Sequence[str]) -> None:
        """See that what a plugin requires is listed. Raises ConfigError."""
        for attribute in ("requires", "needs"):
            if isinstance(getattr(kind, attribute), str):
                raise ConfigError(
                    f"{self.origins[name]} has a text in `{attribute}`, where a list belongs: {REMEDY}."
                )
        stop(
            f"{self.origins[name]} requires {other}: add it to `plugins`."
            for other in kind.requires
            if other not in listed
        )

    def table(self, name: str, kind: type[Plugin[Any]], auth: Auth) -> Any:
        with blaming(self.origins[name], "has settings that cannot be read"):
            return settings.table(auth.config, name, kind.settings_type())

    def add(self, name: str, kind: type[Plugin[Any]], auth: Auth, table: Any) -> None:
        with blaming(self.origins[name], "cannot be made"):
            plugin = kind(auth, name, table)
            self.manager.register(plugin, name)
        self.on[name] = plugin

    def check_needs(self, filled: Collection[str]) -> None:
        """See that the slots which plugins need are filled; some always are. Raises ConfigError."""
        known = dict.fromkeys(SLOTS, "")
        stop(
            f"{self.origins[name]} needs the slot {slot}"
            f"{known.get(slot, ' (there is no such slot)')}, "
            "which no listed plugin fills: list one that does."
            for name, plugin in self.on.items()
            for slot in plugin.needs
            if slot not in {*filled, *ALWAYS}
        )

    def implementations(self, hook: str) -> Iterator[tuple[str, Callable[..., Any]]]:
        """Who implements a hook, in the operator's order."""
        functions = {i.plugin_name: i for i in getattr(self.manager.hook, hook).get_hookimpls()}
        for name in self.on:
            if name in functions:
                yield name, bound(functions[name])

    def collect(self, hook: str, **arguments: Any) -> Iterator[tuple[str, Any]]:
        """What each plugin declares. Raises ConfigError naming the plugin that fails."""
        for name, function in self.implementations(hook):
            with blaming(self.origins[name], f"fails in {hook}"):
                answer = function(**arguments)
            problem = answers.misfit(hook, answer)
            if problem is not None:
                raise ConfigError(f"{self.origins[name]} {problem}: {REMEDY}.")
            yield name, answer

    def flat(self, hook: str) -> list[Any]:
        """All that plugins declare by a hook of sequences. Raises ConfigError for a name used twice."""
        owners: dict[str, str] = {}
        found: list[Any] = []
        for owner, items in self.collect(hook):
            for item in items:
                self.claim(owners, owner, hook, getattr(item, "name", str(len(found))))
                found.append(item)
        return found

    def unique(self, hook: str, names: Callable[[Any], Mapping[str, Any]]) -> dict[str, Any]:
        """What plugins declare under names. Raises ConfigError for a name used twice."""
        owners: dict[str, str] = {}
        found: dict[str, Any] = {}
        for owner, items in self.collect(hook):
            table = names(items)
            if len(table) < len(items):
                raise ConfigError(f"{self.origins[owner]} has two {hook} of one name: {REMEDY}.")
            for name, item in table.items():
                self.claim(owners, owner, hook, name)
                found[name] = item
        return found

    def claim(self, owners: dict[str, str], owner: str, hook: str, name: str) -> None:
        if name in owners:
            both = f"{self.origins[owners[name]]} and {self.origins[owner]}"
            raise ConfigError(f'{both} both have a {hook[:-1]} "{name}": list one of them.')
        owners[name] = owner

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
        """Ask every plugin. Raises Denied unless each answers None, in time.

        A `Problem` is a denial in the plugin's own words; any other answer is a fault.
        """
        for name, function in self.implementations(hook):
            answer = await self.answer(name, hook, function, **arguments)
            if isinstance(answer, Problem):
                raise Denied(answer)
            if answer is not None:
                raise self.fault(name, f"answers {hook} with `{type(answer).__name__}`")

    async def answer(
        self, name: str, hook: str, function: Callable[..., Any], **arguments: Any
    ) -> Any:
        """What one plugin answers. Raises Denied for an exception, for none in time, an odd one."""
        try:
            answer = await asked(function, arguments, PATIENCE)
        except AuthError:
            raise
        except Exception as error:
            raise self.fault(name, f"failed in {hook} ({told(error)})", error) from error
        problem = answers.misfit(hook, answer)
        if problem is not None:
            raise self.fault(name, problem)
        return answer

    def fault(self, name: str, what: str, error: BaseException | None = None) -> Denied:
        log.error("%s %s, which denies", self.origins[name], what, exc_info=error)
        return Denied(REFUSED)


def each(names: Iterable[str], work: Callable[[str], T]) -> tuple[dict[str, T], list[str]]:
    """Do the same for every name; answers the results by name, and all that is wrong."""
    results: dict[str, T] = {}
    problems: list[str] = []
    for name in names:
        try:
            results[name] = work(name)
        except ConfigError as error:
            problems += error.problems
    return results, problems


def stop(problems: Iterable[str]) -> None:
    """Raises ConfigError with all that is wrong, if anything is."""
    found = list(problems)
    if found:
        raise ConfigError(*found)
