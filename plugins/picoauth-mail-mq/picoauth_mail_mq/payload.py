"""What is put into the queue: documented and versioned, since other programs read it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from picoauth import Message

VERSION = 1
"""Rises when a member changes its meaning or goes; new ones may come without."""


def payload(message: Message) -> dict[str, Any]:
    """The members of the message, after what they are and in which version."""
    return {"version": VERSION, "kind": "mail", **asdict(message)}
