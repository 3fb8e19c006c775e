"""The plugin: its settings, and the slot that it fills."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from picoauth import (
    Check,
    ConfigError,
    Database,
    Plugin,
    Seconds,
    Secret,
    described,
    hookimpl,
)
from picoauth_libsql.address import websocket
from picoauth_libsql.engine import Libsql

FULL = 2
"""What SQLite calls `synchronous = full`."""
RELAXED = (
    "The database server answers writes before its disk has them: "
    'set `durability_mode` to "strong" in its admin interface.'
)


@dataclass(frozen=True)
class LibsqlSettings:
    """The table `[libsql]`."""

    token: Secret | None = described(
        "What the server knows this one by; it may be replaced while the server runs.",
        default=None,
    )
    timeout: Seconds = described(
        "What an operation may take; then it is 503.", default=Seconds(5), least=1, most=60
    )
    ca_file: Path | None = described(
        "Who vouches for the server, in place of those that the machine trusts; PEM.",
        default=None,
    )
    streams: int = described(
        "Operations of one process that are under way at once; others wait.",
        default=32,
        least=1,
        most=1000,
    )


class LibsqlPlugin(Plugin[LibsqlSettings]):
    """Keeps everything on a libSQL server."""

    @hookimpl
    def database(self, url: str) -> Database | None:
        settings = self.settings
        if settings.ca_file is not None:
            check_authority(settings.ca_file)
        return Libsql(
            websocket(url),
            token=self.token if settings.token else None,
            patience=settings.timeout,
            ca_file=settings.ca_file,
            streams=settings.streams,
        )

    @hookimpl
    def checks(self) -> Sequence[Check]:
        return [Check("libsql durability", self.durable, live=False)]

    async def durable(self) -> str | None:
        [(synchronous,)] = await self.auth.database.read("pragma synchronous")
        return None if synchronous >= FULL else RELAXED

    def token(self) -> str:
        """Raises ConfigError where it is gone."""
        return self.settings.token.read().decode() if self.settings.token else ""


def check_authority(path: Path) -> None:
    """Raises ConfigError."""
    import ssl  # noqa: PLC0415 - only where it is set

    try:
        ssl.create_default_context(cafile=path)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(
            "libsql: `ca_file` of [libsql] is no file of PEM certificates: name one."
        ) from error
