"""The doctor's look at the clock."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from picoauth.checks import Check, plain
from picoauth.tables import moment

if TYPE_CHECKING:
    from picoauth.auth import Auth

LEEWAY = 60
"""Seconds that the clocks of two machines on one database may differ."""
UNSYNCHRONISED = 5
"""TIME_ERROR of adjtimex(2)."""
TIMEX = 512
"""Bytes; more than `struct timex` has anywhere. All zero, it asks and sets nothing."""

NEWEST = """
    select max(at) from (
        select max(created_at) as at from users union all select max(last_login_at) from users
        union all select max(rotated_at) from sessions
        union all select max(applied_at) from migrations
    ) as times
"""


def checks(auth: Auth) -> Sequence[Check]:
    async def behind() -> str | None:
        [(newest,)] = await auth.database.read(NEWEST, slow=True)
        now = auth.now()
        if newest is None or newest <= now + LEEWAY:
            return None
        return (
            f"The clock says {moment(now)}, but the database already has something of "
            f"{moment(newest)}: what has expired may count again, so set the clock before "
            "the server runs on."
        )

    return [
        Check("clock", behind, live=False, level="danger"),
        plain("clock-sync", "advice", lambda: synchronised(ctypes.CDLL(None))),
    ]


def synchronised(system: Any) -> str | None:
    """Ask the kernel; `system` is the C library, which has no such question but on Linux."""
    try:
        state = system.adjtimex(ctypes.create_string_buffer(TIMEX))
    except AttributeError:
        return None
    if state != UNSYNCHRONISED:
        return None
    return (
        "No time server sets the clock of this machine, as the system says: "
        "run one, such as systemd-timesyncd or chrony, since tokens and codes end by the clock."
    )
