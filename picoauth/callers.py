"""Where requests come from, and who acts."""

from __future__ import annotations

import os
import pwd
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any


def untold(default: Any) -> Any:
    """A field for plugins alone: no line of the log has it."""
    return field(default=default, repr=False, metadata={"told": False})


@dataclass(frozen=True)
class Caller:
    """Where a request came from, as far as that is known."""

    address: str | None = None
    user_agent: str | None = None
    request_id: str | None = None
    languages: str | None = untold(None)
    """The header `Accept-Language` (RFC 9110, section 12.5.4)."""
    actor: str | None = None
    """Who acts for the user: `command:OS-USER`, `socket`, `key:NAME` or `user:ID`."""

    @classmethod
    def local(cls) -> Caller:
        """Whoever runs a command on the server's machine, by the name there, or number."""
        uid = os.getuid()
        with suppress(KeyError):
            return cls(actor=f"command:{pwd.getpwuid(uid).pw_name}")
        return cls(actor=f"command:{uid}")
