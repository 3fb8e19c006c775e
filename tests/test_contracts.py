"""The kernel's own parts pass the contracts that third parties inherit."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from picoauth import (
    Auth,
    Database,
    Denied,
    Embedded,
    Factor,
    KeptSessions,
    Limiter,
    Payload,
    Plugin,
    Proof,
    SessionStore,
    Situation,
    hookimpl,
)
from picoauth.sqlsessions import SqlSessions
from picoauth.testing.contracts import (
    DatabaseContract,
    FactorContract,
    LimiterContract,
    SessionStoreContract,
)
from picoauth.throttle import AccountLimiter
from tests.factors import ALL, PLUGINS, KeyFactor, KeyPlugin
from tests.keepers import Shelf


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


class TestKeptSessions(SessionStoreContract):
    """Sessions that are no rows of the database."""

    @pytest.fixture
    def store(self, auth: Auth) -> SessionStore:
        return KeptSessions(auth, Shelf())

    async def down(self, store: SessionStore) -> None:
        assert isinstance(store, KeptSessions)
        assert isinstance(store.keeper, Shelf)
        store.keeper.reachable = False


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
