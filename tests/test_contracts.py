"""The kernel's own parts pass the contracts that third parties inherit."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from picoauth import (
    Auth,
    Conflict,
    Database,
    Denied,
    Embedded,
    Factor,
    Limiter,
    Payload,
    Plugin,
    Proof,
    Session,
    SessionStore,
    Situation,
    Statement,
    Unavailable,
    hookimpl,
)
from picoauth.sessions import renewed
from picoauth.sqlsessions import SqlSessions
from picoauth.testing import Ceremony
from picoauth.testing.contracts import (
    DatabaseContract,
    FactorContract,
    LimiterContract,
    SessionStoreContract,
)
from picoauth.throttle import AccountLimiter
from tests.factors import ALL, CEREMONIES, PLUGINS, KeyFactor, KeyPlugin


class HeldKey(KeyFactor):
    """A key that has to be enrolled."""

    async def verify(self, situation: Situation, payload: Payload) -> Proof:
        proof = await super().verify(situation, payload)
        if self.name not in [e.factor for e in await self.auth.users.enrolments(proof.user.id)]:
            raise Denied(self.refused)
        return proof


class HeldKeyPlugin(KeyPlugin):
    """Offers such keys."""

    @hookimpl
    def factors(self) -> Sequence[Factor]:
        return [HeldKey(self.auth)]


@pytest.fixture
def picoauth_settings() -> str:
    return ALL


@pytest.fixture
def picoauth_plugins() -> Mapping[str, type[Plugin[Any]]]:
    return {**PLUGINS, "key": HeldKeyPlugin}


@pytest.fixture
def picoauth_ceremonies() -> Mapping[str, type[Ceremony]]:
    return CEREMONIES


class TestEmbedded(DatabaseContract):
    """The engine on one SQLite file."""

    @pytest.fixture
    async def database(self, tmp_path: Path) -> AsyncIterator[Database]:
        database = Embedded(tmp_path / "contract.db")
        yield database
        await database.close()

    async def down(self, database: Database) -> None:
        await database.close()


class TestSqlSessions(SessionStoreContract):
    """Sessions as rows of the database."""

    @pytest.fixture
    def store(self, auth: Auth) -> SessionStore:
        return SqlSessions(auth.database, auth.config.tokens, auth.now)

    async def down(self, store: SessionStore) -> None:
        assert isinstance(store, SqlSessions)
        await store.database.close()


class Elsewhere:
    """A store outside the database: it acts by itself, and answers no statements."""

    def __init__(self, auth: Auth) -> None:
        self.auth = auth
        self.known: dict[str, Session] = {}
        self.reachable = True

    def reach(self) -> dict[str, Session]:
        if not self.reachable:
            raise Unavailable("the store is down")
        return self.known

    async def put(self, session: Session) -> Sequence[Statement]:
        parent = self.reach().get(session.parent_id or "")
        if session.id in self.known or (session.parent_id and not (parent and self.lives(parent))):
            raise Conflict(0)
        self.known[session.id] = session
        return ()

    async def change(self, session: Session, generation: int) -> Sequence[Statement]:
        found = self.reach().get(session.id)
        if found is None or found.ended_at is not None or found.generation != generation:
            raise Conflict(0)
        self.known[session.id] = session
        return ()

    async def end(self, session_id: str) -> Sequence[Statement]:
        return await self.ending(lambda one: session_id in (one.id, one.parent_id))

    async def end_all(
        self, user_id: str, *, keep: str | None, below_epoch: int
    ) -> Sequence[Statement]:
        return await self.ending(
            lambda one: one.user_id == user_id and one.id != keep and one.epoch < below_epoch
        )

    async def ending(self, which: Callable[[Session], bool]) -> Sequence[Statement]:
        """End sessions here, and list them where every process looks."""
        now = self.auth.now()
        ended = [one for one in self.reach().values() if one.ended_at is None and which(one)]
        self.known |= {one.id: replace(one, ended_at=now) for one in ended}
        sql = "insert into revocations (session_id, revoked_at, expires_at) values (?, ?, ?)"
        await self.auth.database.write(
            *(Statement(sql, (one.id, now, one.expires_at)) for one in ended)
        )
        return ()

    async def get(self, session_id: str) -> Session | None:
        return self.reach().get(session_id)

    async def rotate(self, session_id: str, generation: int, now: int) -> Session | None:
        found, settings = self.reach().get(session_id), self.auth.config.tokens
        if found is None or not found.alive(now) or found.generation != generation:
            return None
        if found.rotated_at > now - settings.window:
            return None
        rotated = renewed(found, now, now + settings.idle)
        self.known[session_id] = rotated
        return rotated

    async def list(self, user_id: str) -> Sequence[Session]:
        found = [s for s in self.reach().values() if s.user_id == user_id and self.lives(s)]
        return sorted(found, key=lambda session: session.id, reverse=True)

    def lives(self, session: Session) -> bool:
        return session.alive(self.auth.now())


class TestElsewhere(SessionStoreContract):
    """Sessions that are no rows of the database."""

    @pytest.fixture
    def store(self, auth: Auth) -> SessionStore:
        return Elsewhere(auth)

    async def down(self, store: SessionStore) -> None:
        assert isinstance(store, Elsewhere)
        store.reachable = False


class TestAccountLimiter(LimiterContract):
    """Delays per account and factor, in one statement."""

    @pytest.fixture
    def limiter(self, auth: Auth) -> Limiter:
        return auth.default_limiter

    def restarted(self, auth: Auth, limiter: Limiter) -> Limiter:
        return AccountLimiter(auth.database, auth.config.throttle, auth.now)


class TestPin(FactorContract):
    """A first factor that is typed."""

    factor = "pin"


class TestCode(FactorContract):
    """A second factor of codes that are good once."""

    factor = "code"
    single_use = True


class TestSpare(FactorContract):
    """A fallback of codes that are good once."""

    factor = "spare"
    single_use = True


class TestKey(FactorContract):
    """A factor that starts logins, is a second one, and knows its user."""

    factor = "key"
    guessable = False


class TestLink(FactorContract):
    """A factor that everybody has, with a challenge."""

    factor = "link"
