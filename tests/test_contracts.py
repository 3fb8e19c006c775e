"""The kernel's own parts pass the contracts that third parties inherit."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from picoauth import Auth, Database, Embedded, Limiter, SessionStore
from picoauth.sqlsessions import SqlSessions
from picoauth.testing.contracts import DatabaseContract, LimiterContract, SessionStoreContract
from picoauth.throttle import AccountLimiter


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


class TestAccountLimiter(LimiterContract):
    """Delays per account and factor, in one statement."""

    @pytest.fixture
    def limiter(self, auth: Auth) -> Limiter:
        return auth.default_limiter

    def restarted(self, auth: Auth, limiter: Limiter) -> Limiter:
        return AccountLimiter(auth.database, auth.config.throttle, auth.now)
