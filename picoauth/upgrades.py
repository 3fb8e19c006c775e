"""Bringing a database up to date: a copy of it first, then what is missing, all or nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from picoauth import migrations, schema
from picoauth.backups import backup, moment
from picoauth.copies import sweep
from picoauth.embedded import Embedded
from picoauth.errors import ConfigError

if TYPE_CHECKING:
    from picoauth.auth import Auth


async def upgrade(auth: Auth) -> dict[str, Sequence[str]]:
    """Make and change the tables of the kernel and of plugins; answers what was applied, by owner.

    Copies that a process was killed over go first. Raises ConfigError.
    """
    if isinstance(auth.database, Embedded):
        sweep(auth.database.path.parent)
    await auth.database.write(migrations.LEDGER)
    owners = owned(auth)
    done = {
        name: await migrations.pending(auth.database, name, all_) for name, all_ in owners.items()
    }
    if any(0 < done[name] < len(all_) for name, all_ in owners.items()):
        await aside(auth)
    return {
        name: await migrations.migrate(auth.database, name, all_, auth.now())
        for name, all_ in owners.items()
    }


def owned(auth: Auth) -> Mapping[str, Sequence[str]]:
    """All migrations that there are, by owner. Raises ConfigError."""
    plugins = dict(auth.plugins.collect("migrations"))
    for name, statements in plugins.items():
        migrations.check(name, statements)
    return {"picoauth": schema.KERNEL, **plugins}


async def aside(auth: Auth) -> None:
    """Keep what an older version can read; of an engine elsewhere its operator keeps it (D-5)."""
    if not isinstance(auth.database, Embedded):
        return
    path = auth.database.path
    copy = path.with_name(f"{path.name}.before-upgrade.{moment(auth.now())}")
    try:
        await backup(auth, copy)
    except ConfigError:
        if not copy.exists():  # another process was faster
            raise
