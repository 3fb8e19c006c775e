"""Making many users at once, by the same statements and after the same questions as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from picoauth.callers import Caller
from picoauth.database import Statement
from picoauth.drafts import Draft, Registration, taken
from picoauth.errors import AuthError, Conflict
from picoauth.events import UserRegistered
from picoauth.merging import merged
from picoauth.users import Users

Part: TypeAlias = tuple[UserRegistered, Sequence[Statement]]
"""What happens with one user, and what is written."""


async def register_all(
    users: Users, registrations: Sequence[Registration], caller: Caller
) -> list[AuthError | Conflict | None]:
    """Make many users in as few writes as can be; who is refused undoes nobody else.

    Answers for each why it was not made, as `register` would raise it, or None.
    Raises Unavailable.
    """
    found: list[AuthError | Conflict | None] = [
        await refusal(users, one.draft) for one in registrations
    ]
    waiting = [n for n, why in enumerate(found) if why is None]
    if waiting and await together(users, [registrations[n] for n in waiting], caller):
        return found
    while waiting:
        parts = [users.registering(registrations[n], caller) for n in waiting]
        try:
            await commit(users, parts)
            break
        except Conflict as conflict:
            place, index = whose(parts, conflict.index)
            if place is None:
                for n in waiting:
                    found[n] = await alone(users, registrations[n], caller)
                break
            n = waiting.pop(place)
            found[n] = taken(registrations[n].draft, Conflict(index))
    return found


async def refusal(users: Users, draft: Draft) -> AuthError | None:
    try:
        await users.check_registration(draft)
    except AuthError as error:
        return error
    return None


async def together(users: Users, registrations: Sequence[Registration], caller: Caller) -> bool:
    """Make all in a few statements, or none; nobody learns whose names are taken."""
    parts = [users.registering(one, caller) for one in registrations]
    try:
        await write(users, parts, merged([statements for _, statements in parts]))
    except Conflict:
        return False
    return True


async def alone(users: Users, one: Registration, caller: Caller) -> AuthError | Conflict | None:
    try:
        await commit(users, [users.registering(one, caller)])
    except Conflict as conflict:
        return taken(one.draft, conflict)
    return None


async def commit(users: Users, parts: Sequence[Part]) -> None:
    await write(users, parts, [statement for _, statements in parts for statement in statements])


async def write(users: Users, parts: Sequence[Part], statements: Sequence[Statement]) -> None:
    first, *more = (event for event, _ in parts)
    await users.events.commit(first, *statements, also=more)


def whose(parts: Sequence[Part], index: int) -> tuple[int | None, int]:
    """Whose statement it is, and which of that user's; None for one that a plugin recorded."""
    for place, (_, statements) in enumerate(parts):
        if index < len(statements):
            return place, index
        index -= len(statements)
    return None, index
