"""An audit log for picoauth, and mails that tell users what happens to their accounts."""

from picoauth_audit.events import AuditRestarted, DeletionNoticed, RefusalsCounted
from picoauth_audit.plugin import AuditPlugin

__all__ = ["AuditPlugin", "AuditRestarted", "DeletionNoticed", "RefusalsCounted"]
