"""The contract of databases, on a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from picoauth import Database
from picoauth.testing.contracts import DatabaseContract
from picoauth_libsql import Libsql
from tests.sqld import Sqld


class TestLibsql(DatabaseContract):
    """A server that the contract has for itself."""

    @pytest.fixture
    async def database(self, own: Sqld) -> AsyncIterator[Database]:
        self.server = own
        database = Libsql(own.url, patience=30)
        yield database
        await database.close()

    async def down(self, database: Database) -> None:
        self.server.kill()
