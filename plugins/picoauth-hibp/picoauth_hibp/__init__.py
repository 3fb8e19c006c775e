"""New passwords that are common, known from breaches, or a name, are refused."""

from picoauth_hibp.plugin import HibpPlugin

__all__ = ["HibpPlugin"]
