"""What plugins bring to the table route x principal, whoever's table it is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import TypeAlias

from picoauth.testing.people import Someone
from picoauth.testing.server import Server

GROUP = "picoauth.testing.access"
LET_IN = "let in"

Headers: TypeAlias = Mapping[str, str]
Principal: TypeAlias = Callable[[Someone], Awaitable[Headers]]
"""Answers the headers of a request. Gets the user whose things the paths name, to be her or not."""
Expectations: TypeAlias = Mapping[str, str]
"""What each principal gets, by its name; `*` stands for those that are not named."""


@dataclass(frozen=True, kw_only=True)
class Joining:
    """What a plugin that is on brings to the table of every project.

    Name a function that makes it of a `Server` in your package's metadata:

        [project.entry-points."picoauth.testing.access"]
        admin = "picoauth_admin.testing:access"

    The name is that of the plugin.
    """

    principals: Mapping[str, Principal]
    policies: Mapping[str, Expectations]
    """Whom its policies let in; and of other policies, what its principals get of them.

    `"admin GET"` is what differs for one method.
    """


def joining(server: Server) -> Sequence[Joining]:
    """What the plugins of a server bring."""
    names = server.auth.plugins.on
    return [one.load()(server) for one in entry_points(group=GROUP) if one.name in names]
