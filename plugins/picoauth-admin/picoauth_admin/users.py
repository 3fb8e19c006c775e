"""Users under administration: found, made, changed, disabled and deleted."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from picoauth import (
    Auth,
    AuthError,
    Caller,
    Conflict,
    Directory,
    Identifier,
    Listed,
    Reply,
    Request,
    Route,
    Unavailable,
    identifier,
    problems,
    shown,
)
from picoauth_admin.queries import COUNTING, LISTING, asked
from picoauth_admin.routes import ONE, Routes
from picoauth_admin.shapes import (
    Address,
    Changes,
    Count,
    Found,
    Listing,
    NewUser,
    Outcomes,
    Profile,
    Users,
)

PATH = "/admin/users"
MOST_COUNTED = 1_000_000
"""What a count may be at most, and then there may be more."""


class UserRoutes:
    """The routes of `/admin/users`."""

    def __init__(self, auth: Auth) -> None:
        self.auth = auth
        self.directory = Directory(auth.database)

    def declared(self, routes: Routes) -> Sequence[Route]:
        query, named = (
            (problems.INVALID_QUERY,),
            (problems.INVALID_USERNAME, problems.USERNAME_TAKEN),
        )
        address = (problems.INVALID_EMAIL, problems.IDENTIFIER_TAKEN)
        me: dict[str, Any] = {"answer": Found, "problems": named}
        one = routes.one
        return [
            routes.get(
                PATH, self.list, Listing, query=LISTING, problems=(*query, problems.INVALID_CURSOR)
            ),
            routes.get(f"{PATH}/count", self.count, Count, query=COUNTING, problems=query),
            routes.of(
                "POST",
                PATH,
                self.make,
                body=NewUser,
                status=201,
                answer=Found,
                problems=(*named, *address, problems.REFUSED),
            ),
            routes.of("DELETE", PATH, self.delete_several, body=Users, answer=Outcomes),
            routes.get(ONE, self.show, Found),
            one("PUT", "", self.replace, body=Profile, **me),
            one("PATCH", "", self.change, body=Changes, **me),
            one("DELETE", "", self.delete, status=204),
            one("PUT", "/email", self.readdress, body=Address, answer=Found, problems=address),
            one("DELETE", "/email", self.unaddress, status=204),
            one("POST", "/disable", self.disable, status=204),
            one("POST", "/enable", self.enable, status=204),
            one("POST", "/restore", self.restore, status=204, problems=(problems.NOT_CLOSED,)),
        ]

    async def list(self, request: Request) -> Reply:
        """Search and list users, a page at a time."""
        page = asked(request.query)
        found = await self.directory.page(page.query, after=page.after, limit=page.limit)
        return Reply({"users": [summary(one) for one in found.users], "next": found.next})

    async def count(self, request: Request) -> Reply:
        """Count users; that takes the longer the more there are."""
        count = await self.directory.count(asked(request.query, paged=False).query)
        return Reply({"count": count, "more": count >= MOST_COUNTED})

    async def make(self, request: Request) -> Reply:
        """Make a user, who can log in once there is a factor: by an invitation, for instance."""
        body: NewUser = request.body
        draft = self.auth.users.draft(username=body.username, name=body.name, locale=body.locale)
        if body.email is not None:
            address = identifier("email", body.email, verified=body.email_verified)
            draft = replace(draft, identifiers=[*draft.identifiers, address])
        user, more = await self.auth.users.register(draft, caller=request.caller)
        return Reply({**await self.found(user.id), **more}, 201)

    async def show(self, request: Request) -> Reply:
        """A user, with what it logs in with."""
        return Reply(await self.found(request.path["id"]))

    async def found(self, user_id: str) -> dict[str, Any]:
        user = await self.auth.users.require(user_id)
        listed = Listed(user, await self.auth.users.identifiers(user.id))
        enrolments = await self.auth.users.enrolments(user.id)
        return {**summary(listed), "factors": [shown.factor(one) for one in enrolments]}

    async def replace(self, request: Request) -> Reply:
        """Replace a user's names and language."""
        return await self.changed(request, vars(request.body))

    async def change(self, request: Request) -> Reply:
        """Change some of a user's names and language."""
        given = {name: value for name, value in vars(request.body).items() if value is not None}
        return await self.changed(request, given)

    async def changed(self, request: Request, changes: Mapping[str, Any]) -> Reply:
        user_id = request.path["id"]
        more = await self.auth.accounts.change(user_id, changes, request.caller)
        return Reply({**await self.found(user_id), **more})

    async def readdress(self, request: Request) -> Reply:
        """Give a user this e-mail address and no other; where a verified one goes, sessions end."""
        new = identifier("email", request.body.email, verified=request.body.verified)
        await self.assign(request, new)
        return Reply(await self.found(request.path["id"]))

    async def unaddress(self, request: Request) -> Reply:
        """Take a user's e-mail addresses away; where a verified one goes, sessions end."""
        await self.assign(request, None)
        return Reply(status=204)

    async def assign(self, request: Request, new: Identifier | None) -> None:
        await self.auth.identities.assign(request.path["id"], "email", new, request.caller)

    async def disable(self, request: Request) -> Reply:
        """Keep a user out: every session ends at once."""
        await self.auth.accounts.disable(request.path["id"], request.caller)
        return Reply(status=204)

    async def enable(self, request: Request) -> Reply:
        """Let a disabled user in again."""
        await self.auth.accounts.enable(request.path["id"], request.caller)
        return Reply(status=204)

    async def restore(self, request: Request) -> Reply:
        """Take back that a user closed the account, which would be deleted later."""
        await self.auth.accounts.reopen(request.path["id"], request.caller)
        return Reply(status=204)

    async def delete(self, request: Request) -> Reply:
        """Delete a user, and all that belongs to it."""
        await self.auth.accounts.delete(request.path["id"], request.caller)
        return Reply(status=204)

    async def delete_several(self, request: Request) -> Reply:
        """Delete users, each by itself: one that cannot be keeps no other one."""
        ids = dict.fromkeys(request.body.ids)
        outcomes = await asyncio.gather(*(self.gone(one, request.caller) for one in ids))
        return Reply({"results": outcomes})

    async def gone(self, user_id: str, caller: Caller) -> dict[str, Any]:
        code = None
        try:
            await self.auth.accounts.delete(user_id, caller)
        except AuthError as error:
            code = error.problem.code
        except Conflict:
            code = problems.CONFLICT.code
        except Unavailable:
            code = problems.UNAVAILABLE.code
        return {"id": user_id, "deleted": code is None, "code": code}


def summary(one: Listed) -> dict[str, Any]:
    """What users see of themselves, and what keeps them out."""
    user = one.user
    return {
        **shown.user(one),
        "disabled_at": user.disabled_at,
        "closed_at": user.closed_at,
        "delete_at": user.delete_at,
    }
