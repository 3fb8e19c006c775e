"""A database for each file that a test of the kernel would have; see tests/elsewhere.py."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cluster import Cluster

from picoauth import Database, Row
from picoauth_postgres import Postgres


class Listed(Postgres):
    """Answers what a test asks SQLite alone: the names of all tables."""

    async def read(self, sql: str, args: Sequence[Any] = (), *, slow: bool = False) -> list[Row]:
        if "sqlite_master" in sql:
            sql = "select tablename from pg_tables where schemaname = 'public'"
        return await super().read(sql, args, slow=slow)


class Engines:
    def __init__(self) -> None:
        self.cluster = Cluster()
        self.cluster.start()
        self.urls: dict[Path, str] = {}

    def engine(self, path: Path) -> Database:
        if path not in self.urls:
            self.urls[path] = self.cluster.database()
        return Listed(self.urls[path], patience=30)

    def release(self, path: Path) -> None:
        self.cluster.clear(self.urls.pop(path))

    def end(self) -> None:
        self.cluster.end()
