"""The plugin: its settings, and the lock that lets no second process in."""

from __future__ import annotations

import fcntl
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from picoauth import (
    Auth,
    Check,
    Config,
    ConfigError,
    KeptSessions,
    Plugin,
    SessionStore,
    described,
    hookimpl,
)
from picoauth_session_memory.keeper import MemoryKeeper


@dataclass(frozen=True)
class MemorySettings:
    """`[session-memory]`: how much there is room for."""

    most: int = described(
        "Sessions at once; a login above ends the one that was not used for longest.",
        default=100_000,
        least=1,
        most=10_000_000,
    )


class MemoryPlugin(Plugin[MemorySettings]):
    """Keeps the sessions in memory."""

    def __init__(self, auth: Auth, name: str, settings: MemorySettings) -> None:
        super().__init__(auth, name, settings)
        self.keeper = MemoryKeeper(settings.most, auth.now)

    @hookimpl
    def sessions(self) -> SessionStore | None:
        return KeptSessions(self.auth, self.keeper)

    @hookimpl
    def lifespan(self) -> AbstractAsyncContextManager[None] | None:
        return self.serving()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Only the process that serves has the sessions: a command or a second one has none."""
        with alone(lock_of(self.auth.config)):
            self.keeper.open = True
            try:
                yield
            finally:
                self.keeper.open = False

    @hookimpl
    def checks(self) -> Sequence[Check]:
        return [Check(self.name, self.full)]

    async def full(self) -> str | None:
        if len(self.keeper.sessions) < self.keeper.most:
            return None
        return (
            f"All {self.keeper.most} places for sessions are taken: each login ends the session "
            "that was not used for longest. Raise `most` in [session-memory]."
        )


def lock_of(config: Config) -> Path:
    """Beside the database, so that it is one for all who serve it on this machine."""
    name = "picoauth" if "://" in config.database else config.database
    return config.base / f"{name}.sessions.lock"


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold the lock, which the system takes back however the process ends. Raises ConfigError."""
    try:
        file = path.open("a")
    except OSError as error:
        raise ConfigError(
            f"session-memory: {path} cannot be opened ({error.strerror}): "
            "let the server write to that folder."
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(
                f"session-memory: another process has the sessions (it holds {path}): "
                "run one process with one worker, or list session-redis instead."
            ) from error
        yield
