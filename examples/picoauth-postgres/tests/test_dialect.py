"""Every statement of the kernel and of first-party plugins, as a real server understands it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import asyncpg
from cluster import Cluster

from picoauth import Statement, values_of
from picoauth.migrations import LEDGER
from picoauth_postgres import PLACE, Postgres
from tests.portable import migrations, statements
from tests.test_portable import FILES

COMPOSED = {  # whose functions know more than a module does: the kernel's tests run them here
    "picoauth/accounts.py",
    "picoauth/database.py",
    "picoauth/directory.py",
    "picoauth/renaming.py",
    "picoauth/resealing.py",
    "picoauth/sqlsessions.py",
    "picoauth/throttle.py",
    "picoauth/users.py",
    "picoauth_password/factor.py",
    "picoauth_permissions/imported.py",
    "picoauth_recovery/sets.py",
    "picoauth_totp/authenticators.py",
    "picoauth_totp/imported.py",
}
FACTORS, USED = values_of("enrolments", "factor"), values_of("password", "pepper_id")
KINDS = ("", "::bigint")
"""What the engine would write after a place: it knows the value, and here there is none."""


def looked_at() -> Iterator[tuple[str, str]]:
    """Those of modules that speak to any engine, by where they stand.

    Migrations are done and not looked at: their tables may be gone after later ones.
    """
    done = set(migrations())
    for sql in statements():
        if sql.module in FILES or sql.module.startswith("picoauth/testing/"):
            continue
        try:
            text = sql.value()
        except NameError:
            text = "{"
        if "{" in text or text.rstrip().endswith(("values", "=")):
            assert sql.module in COMPOSED, sql.node.lineno
        elif text not in done:
            yield f"{sql.module}:{sql.node.lineno}", text


def numbered(sql: str, kind: str) -> str:
    numbers = iter(range(1, 1000))
    return PLACE.sub(lambda found: found[1] or f"${next(numbers)}{kind}", sql)


async def fault(connection: Any, sql: str) -> str | None:
    """What the server says of a statement that it does not understand."""
    said = ""
    for kind in KINDS:
        try:
            await connection.prepare(numbered(sql, kind))
        except asyncpg.IndeterminateDatatypeError:  # of what stands alone, as in `? is null`
            return None
        except asyncpg.PostgresError as error:
            said = said or str(error)
        else:
            return None
    return said


async def test_every_statement(cluster: Cluster) -> None:
    """On the tables of the kernel and of all plugins: the server prepares it."""
    cluster.start()
    database = Postgres(cluster.database())
    await database.write(LEDGER, *map(Statement, migrations()))
    pool = await database.connections()
    async with pool.acquire() as connection:
        said = {place: await fault(connection, sql) for place, sql in looked_at()}
        said |= {values: await fault(connection, values) for values in (FACTORS, USED)}
        assert {} == {place: error for place, error in said.items() if error}
        assert len(said) > 280
        assert "syntax error" in (await fault(connection, "select nothing of users") or "")
    await database.close()
