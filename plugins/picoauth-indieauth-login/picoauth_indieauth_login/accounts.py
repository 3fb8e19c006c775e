"""Whose a domain is, or a name at a trusted endpoint: links, each an enrolment of its user."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from picoauth import (
    Auth,
    AuthError,
    Caller,
    Conflict,
    Enrolment,
    Identifier,
    Row,
    Statement,
    User,
    identifier,
    problems,
)
from picoauth_indieauth_login.client import Identity
from picoauth_indieauth_login.problems import TOO_MANY_LINKS

FACTOR = "indieauth"
MIGRATIONS = (
    """
    create table indieauth_login (
        enrolment_id text primary key references enrolments(id) on delete cascade,
        user_id text not null references users(id) on delete cascade,
        endpoint text not null, name text not null, permissions text not null,
        linked_at integer not null, unique (endpoint, name)
    )
    """,
    "create index indieauth_login_user on indieauth_login (user_id)",
)
LINK = """
    insert into indieauth_login (enrolment_id, user_id, endpoint, name, permissions, linked_at)
    select ?, ?, ?, ?, ?, ? where (select count(*) from indieauth_login where user_id = ?) < ?
"""
OWNER = "select user_id, enrolment_id from indieauth_login where endpoint = ? and name = ?"
OF = """
    select enrolment_id, endpoint, name, permissions, linked_at from indieauth_login
     where user_id = ? order by linked_at, enrolment_id
"""
TOLD = "update indieauth_login set permissions = ? where enrolment_id = ?"
# Of a link that is about to go: its domain finds nobody any more, and another may prove it.
UNNAME = """
    delete from identifiers where user_id = ? and kind = 'url' and value in
        (select name from indieauth_login where enrolment_id = ? and endpoint = '')
"""


@dataclass(frozen=True)
class Linked:
    """One link. `endpoint` is empty for a domain."""

    id: str
    endpoint: str
    name: str
    permissions: tuple[str, ...]
    linked_at: int

    @classmethod
    def of(cls, row: Row) -> Linked:
        return cls(row[0], row[1], row[2], tuple(json.loads(row[3])), row[4])


class Accounts:
    """Finds users by what was proven, and writes links."""

    def __init__(self, auth: Auth, most: int) -> None:
        self.auth = auth
        self.most = most

    async def claimed(self, endpoint: str, name: str) -> tuple[str, str] | None:
        rows = await self.auth.database.read(OWNER, (endpoint, name))
        return (rows[0][0], rows[0][1]) if rows else None

    async def owner(self, identity: Identity) -> tuple[User, str] | None:
        """The user, and the enrolment, which is read again after the user's epoch (K-13)."""
        first = await self.claimed(identity.endpoint, identity.name)
        user = await self.auth.users.get(first[0]) if first else None
        again = await self.claimed(identity.endpoint, identity.name)
        if user is None or again is None or again[0] != user.id:
            return None
        return user, again[1]

    async def of(self, user_id: str) -> Sequence[Linked]:
        return [Linked.of(row) for row in await self.auth.database.read(OF, (user_id,))]

    async def all(self, endpoint: str) -> Sequence[tuple[str, ...]]:
        """What a trusted endpoint told of each, the last time."""
        sql = "select permissions from indieauth_login where endpoint = ?"
        rows = await self.auth.database.read(sql, (endpoint,), slow=True)
        return [tuple(json.loads(row[0])) for row in rows]

    def linking(self, enrolment: Enrolment, identity: Identity) -> Statement:
        args = (enrolment.id, enrolment.user_id, identity.endpoint, identity.name)
        told = json.dumps(identity.permissions)
        bound = (enrolment.user_id, self.most)
        return Statement(LINK, (*args, told, self.auth.now(), *bound), rows=1)

    def telling(self, enrolment_id: str, identity: Identity) -> Statement:
        return Statement(TOLD, (json.dumps(identity.permissions), enrolment_id))

    async def register(self, identity: Identity, caller: Caller) -> User | None:
        """Make an account; None where another request made one of the same proof first.

        Raises AuthError where a plugin refuses it.
        """
        draft = replace(self.auth.users.draft(name=identity.shown), identifiers=named(identity))
        enrolment = self.auth.users.enrolment(draft.user_id, FACTOR)
        try:
            user, _ = await self.auth.users.register(
                draft, [self.linking(enrolment, identity)], enrolments=[enrolment], caller=caller
            )
        except Conflict:
            return None
        except AuthError as refusal:
            if refusal.problem != problems.IDENTIFIER_TAKEN:
                raise
            return None
        return user

    async def link(
        self, session_id: str, user_id: str, identity: Identity, caller: Caller
    ) -> dict[str, Any]:
        """Link what was proven to the user of a fresh session; answers as a login does.

        Raises AuthError for what is somebody's already: who asks has proven it.
        """
        if await self.claimed(identity.endpoint, identity.name) is not None:
            raise AuthError(problems.IDENTIFIER_TAKEN)
        if len(await self.of(user_id)) >= self.most:
            raise AuthError(TOO_MANY_LINKS)
        enrolment = self.auth.users.enrolment(user_id, FACTOR, identity.shown[:64])
        now = self.auth.now()
        has = {(o.kind, o.value) for o in await self.auth.users.identifiers(user_id) if o.verified}
        new = [one for one in named(identity) if (one.kind, one.value) not in has]
        naming = [self.auth.users.naming(user_id, one, now) for one in new]
        answer = await self.auth.credentials.enrol(
            session_id, enrolment, [*naming, self.linking(enrolment, identity)], caller
        )
        return {"id": enrolment.id, **answer}

    def unnaming(self, user_id: str, enrolment_id: str) -> Statement:
        return Statement(UNNAME, (user_id, enrolment_id))

    async def known(self, user_id: str) -> Sequence[Mapping[str, Any]]:
        """For the user: nothing of it proves anything."""
        return [shown(one, one.endpoint or None) for one in await self.of(user_id)]


def named(identity: Identity) -> Sequence[Identifier]:
    """A domain finds its user everywhere; a name at an endpoint is nobody's elsewhere."""
    if identity.endpoint:
        return []
    return [identifier("url", identity.name, verified=True)]


def shown(one: Linked, endpoint: str | None) -> dict[str, Any]:
    return {
        "id": one.id,
        "endpoint": endpoint,
        "me" if not one.endpoint else "username": one.name,
        "permissions": list(one.permissions),
        "linked_at": one.linked_at,
    }
