"""What hangs on which root secret, and sealing it anew so that an old one may go (D-4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from picoauth.checks import Check
from picoauth.database import Statement
from picoauth.errors import ConfigError
from picoauth.jobs import Job
from picoauth.secrets import Keyed, Place

if TYPE_CHECKING:
    from picoauth.auth import Auth

EVERY = 600
BATCH = 100
"""Rows that are sealed anew in one write."""


class Sealed:
    """The column `sealed` of a table, whose rows are sealed under `row`, an expression of SQL."""

    def __init__(self, auth: Auth, table: str, row: str = "id") -> None:
        self.auth = auth
        self.table = table
        self.row = row

    async def count(self) -> Mapping[str, int]:
        """By the id of the root secret, which every sealed value begins with."""
        sql = f"""
            select substr(sealed, 1, 4), count(*) from {self.table}
             where length(sealed) > 4 group by substr(sealed, 1, 4)
        """
        rows = await self.auth.database.read(sql, slow=True)
        return {key.hex(): count for key, count in rows}

    async def reseal(self) -> None:
        """Batch by batch, so that others write in between; a row that changed meanwhile stays."""
        newest, last = bytes.fromhex(self.auth.secrets.roots[0].id), ""
        sql = f"""
            select id, {self.row}, sealed from {self.table}
             where id > ? and length(sealed) > 4 and substr(sealed, 1, 4) <> ? order by id limit ?
        """
        while rows := await self.auth.database.read(sql, (last, newest, BATCH), slow=True):
            await self.auth.database.write(*(w for row in rows for w in self.resealing(*row)))
            last = rows[-1][0]

    def resealing(self, row_id: str, row: str, sealed: bytes) -> Sequence[Statement]:
        """Nothing for what no secret opens: who reads it says so."""
        place = Place(self.table, "sealed", row)
        try:
            new = self.auth.secrets.seal(place, self.auth.secrets.open(place, sealed))
        except ConfigError:
            return ()
        sql = f"update {self.table} set sealed = ? where id = ? and sealed = ?"
        return [Statement(sql, (new, row_id, sealed))]


def register(auth: Auth) -> None:
    """What the kernel seals."""
    for what, table, row in (
        ("signing keys", "signing_keys", "id || ' ' || algorithm"),
        ("messages", "outbox", "id"),
    ):
        column = Sealed(auth, table, row)
        auth.secrets.keyed.append(Keyed(what, column.count, column.reseal))


def jobs(auth: Auth) -> Sequence[Job]:
    """Nothing where there is one root secret."""

    async def run() -> None:
        for keyed in auth.secrets.keyed:
            if keyed.reseal is not None:
                await keyed.reseal()

    return [Job("reseal", EVERY, run)] if len(auth.secrets.roots) > 1 else []


def checks(auth: Auth) -> Sequence[Check]:
    async def older() -> str | None:
        found = await hanging(auth)
        if found:
            said = ", ".join(f"{what} ({count})" for what, count in found.items())
            return f"On older root secrets hang {said}: keep them in `secret` until nothing does."
        return (
            "Nothing hangs on an older root secret: `picoauth secret forget` drops it when it may."
        )

    few = len(auth.secrets.roots) < 2  # noqa: PLR2004
    return [] if few else [Check("older-secrets", older, live=False, level="advice")]


async def hanging(auth: Auth) -> Mapping[str, int]:
    """What hangs on any root secret but the one in use."""
    older = [root.id for root in auth.secrets.roots[1:]]
    found = {}
    for keyed in auth.secrets.keyed:
        counts = await keyed.count()
        found[keyed.what] = sum(counts.get(each, 0) for each in older)
    return {what: count for what, count in found.items() if count}
