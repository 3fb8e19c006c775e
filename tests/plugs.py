"""Plugins made on the spot, and servers that have them."""

from __future__ import annotations

import json
import types
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from picoauth import Application, Auth, Database, NoSettings, Plugin, hookimpl, parse
from picoauth.discovery import Found
from picoauth.testing import offer

Kind = type[Plugin[Any]]
TELL = "tell its authors, or remove it from `plugins`"


def made(base: Any = Plugin[NoSettings], **members: Any) -> Kind:
    """A plugin class with these members."""
    kind: Kind = types.new_class("Made", (base,), exec_body=lambda names: names.update(members))
    return kind


def answering(hook: str, answer: Callable[[], Any]) -> Kind:
    """A plugin whose declaring hook answers so."""
    return made(**{hook: hookimpl(lambda _: answer())})


def deciding(hook: str, answer: Callable[[], Awaitable[Any]]) -> Kind:
    """A plugin whose async hook awaits what `answer` makes."""

    async def decide(_: Any) -> Any:
        return await answer()

    return made(**{hook: hookimpl(decide)})


def settings_of(names: Sequence[str], more: str = "") -> str:
    return f"plugins = {json.dumps(list(names))}\n{more}"


def offers(kinds: Mapping[str, Any]) -> list[Found]:
    return [offer(name, kind) for name, kind in kinds.items()]


def application(
    folder: Path,
    database: Database,
    kinds: Mapping[str, Any],
    more: str = "",
    *,
    found: Sequence[Found] = (),
) -> Application:
    """A server that is not yet running, on a database that whoever calls will close."""
    store = made(database=hookimpl(lambda _: database))
    everything = {**kinds, "store": store}
    text = settings_of([*everything, *(each.origin.name for each in found)], more)
    return Application(Auth(parse(text, folder), found=[*offers(everything), *found]))
