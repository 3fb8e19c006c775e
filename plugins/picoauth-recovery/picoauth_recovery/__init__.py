"""Recovery codes for picoauth."""

from picoauth_recovery.factor import RecoveryCodesMade, RecoveryCodeUsed
from picoauth_recovery.plugin import RecoveryPlugin

__all__ = ["RecoveryCodeUsed", "RecoveryCodesMade", "RecoveryPlugin"]
