"""The kernel's routes of a user's own account: profile, sessions, factors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from picoauth import replies, shown
from picoauth.directory import Listed
from picoauth.problems import (
    INVALID_USERNAME,
    LAST_FACTOR,
    NOT_FOUND,
    REFUSED,
    START_OVER,
    STEPUP_NEEDED,
    TOO_MANY_RENAMES,
    USERNAME_TAKEN,
)
from picoauth.routes import Reply, Request, Route
from picoauth.shapes import described

if TYPE_CHECKING:
    from picoauth.auth import Auth


@dataclass(frozen=True)
class Changes:
    """What a user may change about the own account; a member left out stays."""

    username: str | None = described("User name.", default=None, example="ann")
    name: str | None = described("Name to show.", default=None, least=1, most=200, example="Ann")
    locale: str | None = described("Language tag (RFC 5646).", default=None, most=35, example="en")


@dataclass(frozen=True)
class Profile:
    """The account as it shall be: what is left out is emptied, but for the names it must have."""

    username: str = described("User name.", example="ann")
    name: str = described("Name to show.", least=1, most=200, example="Ann")
    locale: str | None = described("Language tag (RFC 5646).", default=None, most=35, example="en")


@dataclass(frozen=True)
class Label:
    """A new name for an enrolled factor."""

    label: str = described("Name to show.", least=1, most=100, example="Phone")


@replies.shape
class Closed:
    """What becomes of a closed account."""

    deleted_at: int = described("When it is deleted, unless it is restored.", example=1800604800)


@replies.shape
class Export:
    """All that is known about a user; each plugin that knows something adds it under its name."""

    picoauth: Mapping[str, Any] = described(
        "The account, its factors and its sessions.", example={}
    )


class Account:
    """What users see and do about their own account, sessions and factors."""

    def __init__(self, auth: Auth) -> None:
        self.auth = auth

    def routes(self) -> Sequence[Route]:
        def route(method: str, path: str, handler: Any, policy: str, **more: Any) -> Route:
            return Route(method=method, path=path, handler=handler, policy=policy, **more)

        gone, changed = (NOT_FOUND,), (START_OVER, REFUSED)
        taken = (INVALID_USERNAME, USERNAME_TAKEN, TOO_MANY_RENAMES, STEPUP_NEEDED, NOT_FOUND)
        closing = self.auth.config.account.deletion_grace
        deleted: dict[str, Any] = {"status": 202, "answer": Closed} if closing else {"status": 204}
        me: dict[str, Any] = {"answer": replies.Me, "problems": taken}
        tokens = {"answer": replies.Handed, "problems": (NOT_FOUND, LAST_FACTOR, *changed)}
        return [
            route("GET", "/auth/me", self.me, "session", answer=replies.Me, problems=gone),
            route("PUT", "/auth/me", self.replace, "session", body=Profile, **me),
            route("PATCH", "/auth/me", self.change, "session", body=Changes, **me),
            route("DELETE", "/auth/me", self.delete, "fresh", problems=gone, **deleted),
            route(
                "GET",
                "/auth/me/export",
                self.export,
                "fresh",
                answer=Export,
                problems=(NOT_FOUND, REFUSED),
            ),
            route("GET", "/auth/sessions", self.sessions, "session", answer=replies.Sessions),
            route("DELETE", "/auth/sessions", self.end_others, "fresh", status=204, problems=gone),
            route("DELETE", "/auth/sessions/{id}", self.end, "fresh", status=204),
            route("GET", "/auth/factors", self.factors, "session", answer=replies.Factors),
            route("PATCH", "/auth/factors/{id}", self.rename, "session", body=Label, status=204),
            route("DELETE", "/auth/factors/{id}", self.remove, "fresh", **tokens),
        ]

    async def me(self, request: Request) -> Reply:
        """The account of who asks."""
        return Reply(await self.described(request.access.user_id))

    async def described(self, user_id: str) -> dict[str, Any]:
        user = await self.auth.users.require(user_id)
        return shown.user(Listed(user, await self.auth.users.identifiers(user_id)))

    async def replace(self, request: Request) -> Reply:
        """Replace the account's names and language."""
        return await self.changed(request, vars(request.body))

    async def change(self, request: Request) -> Reply:
        """Change some of the account's names and language."""
        given = {name: value for name, value in vars(request.body).items() if value is not None}
        return await self.changed(request, given)

    async def changed(self, request: Request, changes: Mapping[str, Any]) -> Reply:
        """Who takes another user name has to be there: it is what a login goes by."""
        user_id = request.access.user_id
        if changes.get("username") not in (None, await self.auth.users.username(user_id)):
            await self.auth.require_fresh(request.access)
        more = await self.auth.accounts.change(user_id, changes, request.caller, limited=True)
        return Reply({**await self.described(user_id), **more})

    async def delete(self, request: Request) -> Reply:
        """Delete the account, and all that belongs to it."""
        user_id, caller = request.access.user_id, request.caller
        if self.auth.config.account.deletion_grace:
            deleted_at = await self.auth.accounts.close(user_id, caller)
            return Reply({"deleted_at": deleted_at}, 202)
        await self.auth.accounts.delete(user_id, caller)
        return Reply(status=204)

    async def export(self, request: Request) -> Reply:
        """All that is known about who asks, here and by plugins, without what proves anything."""
        user = await self.auth.users.require(request.access.user_id)
        found = await self.auth.sessions.list(user.id)
        renamed_at = await self.auth.accounts.renaming.known(user.id)
        current = request.access.session_id
        own = {
            "account": {**await self.described(user.id), "renamed_at": renamed_at},
            "factors": [shown.factor(e) for e in await self.auth.users.enrolments(user.id)],
            "sessions": [shown.session([one], current) for one in found],
        }
        plugins = self.auth.plugins
        others = {
            name: await plugins.answer(name, "export", function, user=user)
            for name, function in plugins.implementations("export")
        }
        return Reply({"picoauth": own, **{n: known for n, known in others.items() if known}})

    async def sessions(self, request: Request) -> Reply:
        """The user's sessions, each with what was made of it on other hosts."""
        found = await self.auth.sessions.list(request.access.user_id)
        current = request.access.session_id
        return Reply({"sessions": shown.sessions(found, current)})

    async def end_others(self, request: Request) -> Reply:
        """End all sessions of the user but this one, which for a sibling is its login."""
        session = await self.auth.credentials.session(request.access.session_id)
        keep = session.parent_id or session.id
        await self.auth.accounts.logout_from_all(session.user_id, request.caller, keep=keep)
        return Reply(status=204)

    async def end(self, request: Request) -> Reply:
        """End one of the user's sessions."""
        user_id = request.access.user_id
        await self.auth.accounts.logout(user_id, request.path["id"], request.caller)
        return Reply(status=204)

    async def factors(self, request: Request) -> Reply:
        """The factors that the user has enrolled."""
        found = await self.auth.users.enrolments(request.access.user_id)
        return Reply({"factors": [shown.factor(e) for e in found]})

    async def rename(self, request: Request) -> Reply:
        """Give an enrolled factor another name."""
        user_id, label = request.access.user_id, request.body.label
        await self.auth.credentials.rename_factor(user_id, request.path["id"], label)
        return Reply(status=204)

    async def remove(self, request: Request) -> Reply:
        """Remove a factor: other sessions end, this one gets new tokens."""
        session_id, caller = request.access.session_id, request.caller
        return Reply(
            await self.auth.credentials.remove_factor(session_id, request.path["id"], caller)
        )
