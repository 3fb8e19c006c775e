"""What a plugin's class makes of hooks, checked before the plugin is made: pluggy lets much pass."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from picoauth.discovery import REMEDY, Found, Origin, blaming, imported
from picoauth.errors import ConfigError
from picoauth.hooks import Plugin
from picoauth.shapes import suggest

Specs = Mapping[str, Callable[..., Any]]


def specs(kind: type) -> dict[str, Callable[..., Any]]:
    """The hooks that a class specifies, by name."""
    functions = inspect.getmembers(kind, inspect.isfunction)
    return {name: function for name, function in functions if hasattr(function, "picoauth_spec")}


def check_class(origin: Origin, kind: type[Plugin[Any]], known: Specs | None) -> None:
    """See that each override is a hook, is marked, and has its colour and arguments.

    Raises ConfigError. Without `known`, hooks that are not the kernel's are left unchecked.
    """
    hooks = specs(Plugin) if known is None else known
    for name in dir(kind):
        with blaming(origin, "cannot be looked at"):
            attribute = inspect.getattr_static(kind, name)
        if name not in hooks and marker(attribute) and known is not None:
            remedy = suggest(name, hooks) or ": mend its name, or list the plugin that offers it."
            raise ConfigError(f"{origin} implements the hook {name}, which does not exist{remedy}")
        if name in hooks and attribute is not vars(Plugin).get(name):
            check_override(origin, name, attribute, hooks[name])


def check_override(origin: Origin, name: str, attribute: Any, spec: Callable[..., Any]) -> None:
    options = marker(attribute)
    if options is None:
        raise ConfigError(f"{origin} overrides {name} without @hookimpl: mark it, or rename it.")
    if not inspect.isfunction(attribute) or any(options.values()):
        raise ConfigError(f"{origin} must write {name} as a plain method, marked with @hookimpl.")
    if inspect.iscoroutinefunction(attribute) != inspect.iscoroutinefunction(spec):
        colour = "async def" if inspect.iscoroutinefunction(spec) else "def"
        raise ConfigError(f"{origin} must write {name} with `{colour}`.")
    names = inspect.signature(spec).parameters
    for argument in required(attribute):
        if argument not in names:
            raise ConfigError(
                f"{origin} has an argument {argument} of {name}, which the hook does not give"
                + (suggest(argument, names) or f": {REMEDY}.")
            )


def marker(attribute: Any) -> Mapping[str, Any] | None:
    """What `hookimpl` left on a function, also within a classmethod."""
    function = getattr(attribute, "__func__", attribute)
    options: Mapping[str, Any] | None = getattr(function, "picoauth_impl", None)
    return options


def required(method: Callable[..., Any]) -> list[str]:
    """Arguments that must be given to a method."""
    parameters = list(inspect.signature(method).parameters.values())[1:]
    various = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in parameters if p.default is p.empty and p.kind not in various]


def bound(implementation: Any) -> Callable[..., Any]:
    """A pluggy implementation, called with those arguments that it names."""
    names = (*implementation.argnames, *implementation.kwargnames)

    def call(**arguments: Any) -> Any:
        named = {name: arguments[name] for name in names if name in arguments}
        return implementation.function(**named)

    return call


def replaces(found: Found) -> bool:
    """Whether it takes the place of what works by itself, which is to be chosen."""
    return any(fills(found, slot) for slot in ("database", "sessions", "limiter"))


def fills(found: Found, slot: str) -> bool:
    with suppress(ConfigError):
        return getattr(imported(found), slot, None) is not getattr(Plugin, slot, None)
    return False
