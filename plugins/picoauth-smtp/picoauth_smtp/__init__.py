"""Mail by an SMTP server, over TLS."""

from picoauth_smtp.plugin import SmtpPlugin

__all__ = ["SmtpPlugin"]
