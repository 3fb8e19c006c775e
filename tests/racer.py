"""A process of its own that does to a server's files what it is told, line by line."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from picoauth import (
    Attempt,
    Auth,
    AuthError,
    Caller,
    Conflict,
    Event,
    Job,
    Session,
    Statement,
    parse,
)
from picoauth.testing import Clock, MailPlugin, delivered, serving


class Racer:
    """One `Auth` at a time, on a folder; every method is a command."""

    def __init__(self) -> None:
        self.stack = AsyncExitStack()

    async def start(
        self, folder: str, now: float, settings: str = "plugins = []"
    ) -> dict[str, Any]:
        """Answers the ids of the keys, and how many migrations there are."""
        await self.stack.aclose()
        self.clock = Clock(now)
        config = parse(settings, Path(folder))
        self.auth = Auth(config, clock=self.clock, monotonic=self.clock)
        await self.stack.enter_async_context(self.auth.started())
        for _, context in self.auth.plugins.collect("lifespan"):
            await self.stack.enter_async_context(context)
        self.events: Counter[str] = Counter()
        self.auth.events.listeners = {"racer": self.note}
        self.runs = 0
        self.auth.jobs.jobs = [Job("work", 60, self.work)]
        [(count,)] = await self.auth.database.read("select count(*) from migrations")
        return {"keys": sorted(self.auth.keys.active), "migrations": count}

    async def serve(self, folder: str, now: float, settings: str) -> None:
        """A whole server, which keeps its mails."""
        await self.stack.aclose()
        self.clock = Clock(now)
        server = serving(
            Path(folder), settings, plugins={"captured-mail": MailPlugin}, clock=self.clock
        )
        self.server = await self.stack.enter_async_context(server)
        self.auth = self.server.auth

    async def ask(
        self, method: str, path: str, body: Any, times: int = 1, token: str | None = None
    ) -> dict[str, int]:
        """What the answers to so many requests at once are, by status and code."""

        async def one() -> str:
            answer = await self.server.send(method, path, body, token=token)
            code = answer.json().get("code", "") if answer.content else ""
            return f"{answer.status_code} {code}".strip()

        return await self.counted(one() for _ in range(times))

    async def answer(self, path: str, body: Any) -> Any:
        return (await self.server.post(path, body)).json()

    async def mails(self) -> list[list[Any]]:
        """Template, recipient and values of what this process sent."""
        sent = await delivered(self.server)
        return [[message.template, message.to, dict(message.values)] for message in sent]

    async def note(self, event: Event) -> None:
        self.events[type(event).__name__] += 1

    async def work(self) -> None:
        self.runs += 1

    async def stop(self) -> None:
        await self.stack.aclose()

    async def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)

    async def told(self) -> dict[str, int]:
        """How many events of each kind this process told."""
        await self.auth.events.settle()
        return dict(self.events)

    async def register(self, names: list[str]) -> dict[str, int]:
        async def one(name: str) -> str:
            await self.auth.users.register(self.auth.users.draft(username=name))
            return "registered"

        return await self.counted(one(name) for name in names)

    async def login(self, username: str) -> dict[str, Any]:
        """A session as a login makes it, and its tokens."""
        users, now = self.auth.users, self.auth.now()
        user = await users.find("username", username)
        assert user is not None
        session = Session(
            id=users.new_id(),
            user_id=user.id,
            epoch=user.epoch,
            generation=0,
            created_at=now,
            rotated_at=now,
            idle_at=now + 3600,
            expires_at=now + 7200,
            auth_time=now,
            second_at=None,
            amr=("pwd",),
        )
        await self.auth.database.write(*await self.auth.sessions.put(session))
        return {**await self.auth.grants.session(user, session), "user_id": user.id}

    async def generation(self, username: str) -> list[int]:
        """Of each session of a user."""
        user = await self.auth.users.find("username", username)
        assert user is not None
        return [session.generation for session in await self.auth.sessions.list(user.id)]

    async def refresh(self, token: str, times: int = 1) -> dict[str, int]:
        """The refresh tokens and refusals that came back, each with its number."""

        async def one() -> str:
            answer = await self.auth.grants.refresh(token, Caller())
            return str(answer["refresh_token"])

        return await self.counted(one() for _ in range(times))

    async def validate(self, token: str) -> dict[str, int]:
        async def one() -> str:
            self.auth.tokens.check(token)
            return "valid"

        return await self.counted([one()])

    async def poll(self) -> None:
        await self.auth.revocations.poll()

    async def logout(self, user_id: str) -> None:
        await self.auth.accounts.logout_from_all(user_id, Caller())

    async def appoint(self, username: str) -> str:
        """Make an administrator of a user; answers the id."""
        user = await self.auth.users.find("username", username)
        assert user is not None
        permissions: Any = self.auth.plugins.on["permissions"]
        await permissions.grant(user.id, "picoauth:admin", Caller())
        return user.id

    async def lose(self, user_ids: list[str], times: int) -> dict[str, int]:
        """Delete, disable and revoke, by turns, whom one is told to."""
        permissions: Any = self.auth.plugins.on["permissions"]
        accounts, caller = self.auth.accounts, Caller()
        ways = (
            lambda one: accounts.delete(one, caller),
            lambda one: accounts.disable(one, caller),
            lambda one: permissions.revoke(one, "picoauth:admin", caller),
        )
        return await self.counted(
            ways[n % len(ways)](user_ids[n % len(user_ids)]) for n in range(times)
        )

    async def close(self, username: str) -> str:
        """Close an account, to be deleted after the time of the settings; answers the id."""
        user = await self.auth.users.find("username", username)
        assert user is not None
        await self.auth.accounts.close(user.id, Caller())
        return user.id

    async def sweep(self) -> dict[str, int]:
        """Delete what is due, as the job does; how many accounts this process deleted."""
        self.events.clear()
        await self.auth.accounts.leaving.sweep()
        return {"deleted": (await self.told()).get("UserDeleted", 0)}

    async def reopen(self, user_ids: list[str]) -> dict[str, int]:
        async def one(user_id: str) -> str:
            await self.auth.accounts.reopen(user_id, Caller())
            return "restored"

        return await self.counted(map(one, user_ids))

    async def rename(self, user_id: str, prefix: str, times: int) -> dict[str, int]:
        async def one(number: int) -> str:
            changes = {"username": f"{prefix}{number}"}
            await self.auth.accounts.change(user_id, changes, Caller(), limited=True)
            return "renamed"

        return await self.counted(map(one, range(times)))

    async def issue(self) -> str:
        secret, statement = self.auth.tickets.issue("flow", {}, expires_at=self.auth.now() + 300)
        await self.auth.database.write(statement)
        return secret

    async def take(self, secret: str, times: int) -> dict[str, int]:
        async def one() -> str:
            return "taken" if await self.auth.tickets.take("flow", secret) else "gone"

        return await self.counted(one() for _ in range(times))

    async def attempt(self, times: int) -> dict[str, int]:
        async def one() -> str:
            await self.auth.limiter.attempt(Attempt("", user="ann", factor="password"))
            return "tried"

        return await self.counted(one() for _ in range(times))

    async def write(self, first: int, times: int) -> dict[str, int]:
        """Rows of a table without a purpose of its own, each in a write of its own."""
        sql = "insert into retired_names (hash, retired_at) values (?, 0)"

        async def one(number: int) -> str:
            await self.auth.database.write(Statement(sql, (number.to_bytes(4, "big"),), rows=1))
            return "written"

        return await self.counted(one(first + number) for number in range(times))

    async def rows(self, sql: str) -> list[list[Any]]:
        return [list(row) for row in await self.auth.database.read(sql)]

    async def job(self, times: int) -> int:
        """How often the job ran here."""
        self.runs = 0
        await asyncio.gather(*(self.auth.jobs.once() for _ in range(times)))
        return self.runs

    async def counted(self, attempts: Any) -> dict[str, int]:
        """What several attempts at once came to."""
        results = await asyncio.gather(*attempts, return_exceptions=True)
        return dict(Counter(worded(result) for result in results))


def worded(result: Any) -> str:
    match result:
        case AuthError():
            return result.problem.code
        case Conflict():
            return "conflict"
        case Exception():
            return repr(result)
    return str(result)


async def main() -> None:
    """Read a command, say that it is there, wait for the word, do it, answer."""
    racer = Racer()
    while line := await asyncio.to_thread(sys.stdin.readline):
        name, arguments = json.loads(line)
        command: Callable[..., Awaitable[Any]] = getattr(racer, name)
        say("ready")
        await asyncio.to_thread(sys.stdin.readline)
        say(json.dumps(await command(**arguments)))


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main())
