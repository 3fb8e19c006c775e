"""A server that kills itself at its n-th write: `killed.py N before|after`, in a folder with settings.

It is no script of its own, but what `kill_at.py` starts. A write point is any statement that the
one thread which writes runs, `begin` and `commit` among them, once SIGUSR1 came. The
points so far stand in the file `points`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

from picoauth import auth, banner
from picoauth.config import load
from picoauth.embedded import Embedded

POINTS = Path("points")


class Counted:
    """A connection that counts its statements, and ends the process at one of them."""

    def __init__(self, inner: Any, number: int, moment: str) -> None:
        self.inner, self.number, self.moment = inner, number, moment
        self.armed, self.count = False, 0
        signal.signal(signal.SIGUSR1, self.arm)

    def arm(self, *_: Any) -> None:
        self.armed = True
        POINTS.write_text("0")

    def execute(self, sql: str, *args: Any) -> Any:
        armed = self.armed  # the signal may come while this one runs, which then counts for nothing
        due = armed and self.count == self.number
        if due and self.moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        done = self.inner.execute(sql, *args)
        if due:
            os.kill(os.getpid(), signal.SIGKILL)
        if armed:
            self.count += 1
            POINTS.write_text(str(self.count))
        return done

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class Killed(auth.Auth):
    def embedded(self) -> Any:
        engine = super().embedded()
        assert isinstance(engine, Embedded)
        group: Any = engine.group_commit
        group.connection = Counted(group.connection, int(sys.argv[1]), sys.argv[2])
        return engine


if __name__ == "__main__":
    from picoauth import app

    app.Auth = Killed  # type: ignore[misc]
    asyncio.run(banner.serve(load(Path("picoauth.toml")), print))
