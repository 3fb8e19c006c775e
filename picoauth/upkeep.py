"""What the kernel checks about itself, and what it cleans up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from picoauth import (
    keys,
    leaving,
    outboxrows,
    rates,
    renaming,
    resealing,
    revocations,
    sqlsessions,
    throttle,
    tickets,
)
from picoauth.checks import Check
from picoauth.errors import Unavailable
from picoauth.jobs import Job

if TYPE_CHECKING:
    from picoauth.auth import Auth


def checks(auth: Auth) -> Sequence[Check]:
    async def reachable() -> str | None:
        try:
            await auth.database.read("select 1 from users where id = ''")
        except Unavailable as error:
            return f"The database cannot be read: {error}. See to its file and its disk."
        return None

    return [
        Check("database", reachable),
        Check("revocations", auth.revocations.stale),
        Check("outbox", auth.outbox.waiting, vital=False),
        *resealing.checks(auth),
    ]


def jobs(auth: Auth) -> Sequence[Job]:
    resealing.register(auth)
    return [cleaning(auth), leaving.sweeping(auth), *resealing.jobs(auth)]


def cleaning(auth: Auth) -> Job:
    """Every ten minutes: what nobody can need again, whatever the clocks of others say."""

    async def clean() -> None:
        now = auth.now()
        await auth.database.write(
            tickets.cleaning(now),
            throttle.cleaning(now),
            revocations.cleaning(now),
            keys.cleaning(now),
            outboxrows.cleaning(now),
            rates.cleaning(now),
            renaming.cleaning(now, auth.config.account.renames_in),
            *sqlsessions.cleaning(now),
        )

    return Job("clean", 600, clean, purges=True)
