"""Administration for picoauth."""

from picoauth_admin.plugin import AdminPlugin

__all__ = ["AdminPlugin"]
