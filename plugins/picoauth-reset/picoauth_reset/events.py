"""What the plugin tells, beside the kernel's events."""

from __future__ import annotations

from dataclasses import dataclass

from picoauth import Event


@dataclass(frozen=True, kw_only=True)
class PasswordResetStarted(Event):
    """An administrator had a link for a new password sent to the user."""
