"""Login by mail for picoauth."""

from picoauth_magic_link.plugin import MagicLinkPlugin

__all__ = ["MagicLinkPlugin"]
