"""What a receiver gets of an event: documented and versioned, since other programs read it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from picoauth import Event, said

VERSION = 1
"""Rises when a member changes its meaning or goes; new ones may come without."""


def body(kind: str, at: int, data: Mapping[str, Any]) -> bytes:
    """In the form that Standard Webhooks proposes, with a version."""
    when = datetime.fromtimestamp(at, UTC).isoformat()
    whole = {"version": VERSION, "type": kind, "timestamp": when, "data": data}
    return json.dumps(whole, separators=(",", ":")).encode()


def told(event: Event) -> bytes:
    """What the log has of it: what is for plugins alone leaves the server nowhere (L-2)."""
    members = {**said(event), **said(event.caller)}
    data = {name: value for name, value in members.items() if value is not None}
    return body(type(event).__name__, event.at, data)
