"""Limits by address for picoauth, in bounded memory."""

from picoauth_ratelimit.plugin import RateLimitPlugin
from picoauth_ratelimit.settings import RateLimitSettings

__all__ = ["RateLimitPlugin", "RateLimitSettings"]
