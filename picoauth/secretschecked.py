"""The doctor's look at the secrets of plugins: whether others may read the files that they are in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from picoauth.checks import Check, plain
from picoauth.fileschecked import OTHERS, existing, listed, quoted
from picoauth.settings import Secret

if TYPE_CHECKING:
    from picoauth.auth import Auth


def checks(auth: Auth) -> Sequence[Check]:
    return [plain("secret-files", "danger", lambda: readable(auth))]


def readable(auth: Auth) -> str | None:
    """The root secret is not among them: a server does not start with one that others can read."""
    paths = [path for plugin in auth.plugins.on.values() for path in files_of(plugin.settings)]
    found = [path for path, stat in existing(paths).items() if stat.st_mode & OTHERS]
    if not found:
        return None
    return (
        f"Every user of this machine can read or change {listed(found)}: "
        f"run `chmod 600 {quoted(found)}`, and make new ones if that was so for long."
    )


def files_of(settings: Any) -> Iterator[Path]:
    """The files of all secrets in there, however deep."""
    if isinstance(settings, Secret):
        if settings.path is not None:
            yield settings.path
        return
    within: Any = ()
    if is_dataclass(settings):
        within = [getattr(settings, field.name) for field in fields(settings)]
    elif isinstance(settings, Mapping):
        within = settings.values()
    elif isinstance(settings, (tuple, list)):
        within = settings
    for one in within:
        yield from files_of(one)
