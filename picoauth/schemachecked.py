"""The doctor's look at the schema: what is still to come, and what is not as it was made."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass

from picoauth import migrations, upgrades
from picoauth.checks import Check
from picoauth.database import Database, Row
from picoauth.embedded import Embedded
from picoauth.errors import Unavailable
from picoauth.observing import APPLIED, Observed, scratch

OBJECTS = """
    select type, name, tbl_name, sql from sqlite_master
     where name not like 'sqlite^_%' escape '^' order by type desc, name
"""
COLUMNS = """
    select m.name, group_concat(c.name, ', ') from sqlite_master m join pragma_table_info(m.name) c
     where m.type = 'table' and m.name not like 'sqlite^_%' escape '^' group by m.name
"""


@dataclass(frozen=True)
class Made:
    """A table, index, view or trigger: on which table, and by which statement."""

    table: str
    sql: str


class Schema:
    """Compares the database with the one that the migrations make."""

    def __init__(self, auth: Observed) -> None:
        self.auth = auth

    def checks(self) -> Sequence[Check]:
        return [
            Check("schema", self.drift, live=False, level="danger"),
            Check("migrations", self.to_come, live=False),
            Check("tables", self.foreign, live=False, level="advice"),
        ]

    async def to_come(self) -> str | None:
        if self.auth.new:
            return (
                "There is no database yet, and the first start makes it: if there should be one, "
                "mend `database`."
            )
        if not self.auth.to_come:
            return None
        rest = "" if self.auth.ready else " Until then, only what needs no table is looked at."
        counts = ", ".join(f"{owner}: {count}" for owner, count in self.auth.to_come.items())
        return (
            f"Some migrations are still to come ({counts}): keep a copy of the database, then "
            f"start the server anew, which applies them.{rest}"
        )

    async def unlisted(self) -> Sequence[str]:
        """Owners of migrations whose plugin is not listed."""
        applied = await self.auth.database.read(APPLIED)
        return sorted(owner for owner, _ in applied if owner not in upgrades.owned(self.auth))

    async def foreign(self) -> str | None:
        names = await self.unlisted()
        if not names:
            return None
        return (
            f"The database still has tables of plugins that are not listed ({', '.join(names)}), "
            "with what they know about users: list them again, or drop those tables and their "
            "rows in `migrations`."
        )

    async def drift(self) -> str | None:
        wrong = await self.compared()
        if not wrong:
            return None
        return (
            f"The schema is not the one that the migrations make ({', '.join(wrong)}), and the "
            "rules that keep users apart are part of it: put a backup back, or undo the change."
        )

    async def compared(self) -> Sequence[str]:
        """What is another; of an engine that has no `sqlite_master`, of tables and columns alone."""
        try:
            there = await objects(self.auth.database)
        except Unavailable:
            raise
        except Exception:  # noqa: BLE001 - each engine has its own
            columns = await self.made(COLUMNS)
            return [table async for table in lacking(self.auth.database, dict(columns))]
        prefixes = tuple(owner.replace("-", "_") for owner in await self.unlisted())
        return list(differences(there, named(await self.made(OBJECTS)), prefixes))

    async def made(self, sql: str) -> Sequence[Row]:
        """What the migrations make of an empty file."""
        with scratch() as folder:
            database = Embedded(folder / "new.db")
            try:
                await database.write(migrations.LEDGER)
                for owner, statements in upgrades.owned(self.auth).items():
                    await migrations.migrate(database, owner, statements, self.auth.now())
                return await database.read(sql)
            finally:
                await database.close()


async def objects(database: Database) -> Mapping[str, Made]:
    return named(await database.read(OBJECTS))


def named(rows: Sequence[Row]) -> Mapping[str, Made]:
    return {f"{kind} {name}": Made(table, " ".join(sql.split())) for kind, name, table, sql in rows}


async def lacking(database: Database, columns: Mapping[str, str]) -> AsyncIterator[str]:
    """Tables that are not there, or without some of these columns."""
    for table, names in columns.items():
        try:
            await database.read(f"select {names} from {table} where 1 = 0")
        except Unavailable:
            raise
        except Exception:  # noqa: BLE001 - as above
            yield f"table {table} is missing, or lacks a column"


def differences(
    there: Mapping[str, Made], wanted: Mapping[str, Made], prefixes: Sequence[str]
) -> Iterator[str]:
    """Each in two or three words; tables of plugins that are not listed are theirs."""
    for name, made in wanted.items():
        if name not in there:
            yield f"{name} is missing"
        elif there[name] != made:
            yield f"{name} is another"
    for name in sorted(there.keys() - wanted.keys()):
        table = there[name].table
        if not any(table == prefix or table.startswith(f"{prefix}_") for prefix in prefixes):
            yield f"{name} is foreign"
