"""Whether people can log in, tried on a copy of the database by users of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from picoauth.app import Application
from picoauth.auth import Auth
from picoauth.testing.people import Ceremony
from picoauth.testing.server import Clock, Server, attached

FINE = "works"


async def rehearse(
    auth: Auth,
    clock: Clock,
    folder: Path,
    ceremonies: Mapping[str, type[Ceremony]] | None = None,
) -> Mapping[str, str]:
    """What came of a login by each factor, by its name. Nothing is sent, and no job runs."""
    async with auth.started(), attached(Application(auth), clock, folder, ceremonies) as server:
        return {name: await outcome(server, name) for name in auth.factors}


async def outcome(server: Server, factor: str) -> str:
    known = [name for name in server.auth.factors if server.ceremonies.find(name)]
    if factor not in known:
        return "not tried: its package does not say how"
    needed = way(server, factor, known)
    if needed is None:
        return "not tried: nobody could log in by it alone"
    try:
        name = f"upgrade-{server.auth.secrets.random(8).hex()}"
        someone = await server.join(*needed, username=name)
        await someone.login(needed[0], *needed[1:][-1:])
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what the operator wants to know
        return f"fails: {str(error) or type(error).__name__}"
    return FINE


def way(server: Server, factor: str, known: Sequence[str]) -> Sequence[str] | None:
    """What a user needs to log in by a factor: one to begin with, and for a fallback what it stands for."""
    factors = server.auth.factors
    if factors[factor].starts:
        return [factor]
    first = [name for name in known if factors[name].starts][:1]
    others = [name for name in known if factors[name].second and not factors[name].fallback][:1]
    stand = others if factors[factor].fallback else []
    if not first or (factors[factor].fallback and not others):
        return None
    return [*first, *stand, factor]
