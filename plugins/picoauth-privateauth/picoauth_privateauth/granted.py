"""What users let clients do: they see it, and end it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from picoauth import Auth, AuthError, Caller, Conflict, Reply, Request, Statement, problems
from picoauth_privateauth.events import GrantEnded
from picoauth_privateauth.tokens import split

LIST = """
    select g.id, g.client_id, g.name, g.scope, g.created_at, g.approved_at, g.used_at,
           (select count(*) from privateauth_families f where f.grant_id = g.id and exists
               (select 1 from privateauth_tokens t
                 where t.family_id = f.id and t.spent_at is null and t.expires_at > ?))
      from privateauth_grants g where g.user_id = ? order by coalesce(g.used_at, 0) desc, g.id
"""
# Tokens go with it, and a code that is not redeemed yet finds no grant.
END = "delete from privateauth_grants where id = ? and user_id = ?"
COLUMNS = ("id", "client_id", "name", "scopes", "created_at", "approved_at", "used_at", "tokens")


class Granted:
    """Lists and ends grants, each of one user."""

    def __init__(self, auth: Auth) -> None:
        self.auth = auth

    async def show(self, request: Request) -> Reply:
        """The clients that the user let in."""
        return Reply({"grants": await self.of(request.access.user_id)})

    async def end(self, request: Request) -> Reply:
        """End what a client may do: its tokens are good no more."""
        await self.ended(request.access.user_id, request.path["id"], request.caller)
        return Reply(status=204)

    async def of(self, user_id: str) -> Sequence[Mapping[str, Any]]:
        rows = await self.auth.database.read(LIST, (self.auth.now(), user_id))
        return [
            {**dict(zip(COLUMNS, row, strict=True)), "scopes": list(split(row[3]))} for row in rows
        ]

    async def ended(self, user_id: str, grant_id: str, caller: Caller) -> None:
        """Raises AuthError (404) where the user has no such grant."""
        found = [one for one in await self.of(user_id) if one["id"] == grant_id]
        if not found:
            raise AuthError(problems.NOT_FOUND)
        event = GrantEnded(
            at=self.auth.now(),
            user_id=user_id,
            client_id=found[0]["client_id"],
            caller=caller,
        )
        try:
            await self.auth.events.commit(event, Statement(END, (grant_id, user_id), rows=1))
        except Conflict as conflict:
            raise AuthError(problems.NOT_FOUND) from conflict
