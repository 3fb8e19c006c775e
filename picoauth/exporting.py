"""Exporting users as lines of JSON, which an import takes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from picoauth.identifiers import Identifier
from picoauth.importing import fields
from picoauth.users import COLUMNS, User

if TYPE_CHECKING:
    from picoauth.auth import Auth

PAGE = 500
USERS = f"select {COLUMNS} from users u where u.id > ? order by u.id limit ?"


async def exported(auth: Auth, *, secrets: bool = False) -> AsyncIterator[list[dict[str, Any]]]:
    """All users, some at a time, each as what an import takes as a line.

    `secrets` adds what lets in whoever reads it, such as hashes of passwords.
    """
    members = {n: f for n, f in fields(auth).items() if secrets or not f.secret}
    last = ""
    while rows := await auth.database.read(USERS, (last, PAGE), slow=True):
        users = [User(*row) for row in rows]
        last = users[-1].id
        names = [user.id for user in users]
        named = await identifiers(auth, names)
        dumps = {name: await member.dump(names) for name, member in members.items()}
        yield [
            {
                **line(user, named[user.id]),
                **{name: known[user.id] for name, known in dumps.items() if user.id in known},
            }
            for user in users
        ]


async def identifiers(auth: Auth, names: Sequence[str]) -> Mapping[str, Sequence[Identifier]]:
    sql = f"""
        select user_id, kind, value, display, verified_at from identifiers
         where user_id in ({", ".join("?" * len(names))}) order by kind, verified_at is null, value
    """
    found = defaultdict(list)
    for user_id, kind, value, display, at in await auth.database.read(sql, names):
        found[user_id].append(Identifier(kind, value, display, at is not None))
    return found


def line(user: User, found: Sequence[Identifier]) -> dict[str, Any]:
    """What the kernel knows: the first e-mail address is the one that is verified, if one is."""
    username = next((one for one in found if one.kind == "username"), None)
    email = next((one for one in found if one.kind == "email"), None)
    others = [one for one in found if one not in (username, email)]
    known = {
        "id": user.id,
        "username": username and username.display,
        "email": email and email.display,
        "email_verified": email and email.verified,
        "identifiers": [
            {"kind": one.kind, "value": one.display, "verified": one.verified} for one in others
        ],
        "name": user.name or None,
        "locale": user.locale,
        "created_at": user.created_at,
        "disabled": user.barred,  # who is about to leave is not let in elsewhere
    }
    return {name: value for name, value in known.items() if value not in (None, [])}
