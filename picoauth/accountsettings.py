"""The settings of what users may do with their own account."""

from __future__ import annotations

from dataclasses import dataclass

from picoauth.shapes import Seconds, described


@dataclass(frozen=True)
class AccountSettings:
    """`[account]`: what users do with their own account."""

    renames: int = described(
        "How often a user may take another user name, in `renames_in`.",
        default=3,
        least=0,
        most=1000,
    )
    renames_in: Seconds = described(
        "The time in which that is counted.", default=Seconds(30 * 86400), least=60
    )
    deletion_grace: Seconds = described(
        "A user who deletes the account can take that back for so long.",
        default=Seconds(0),
        least=0,
        most=365 * 86400,
    )
