"""Sessions in Redis or Valkey, shared by several processes on several machines."""

from picoauth_session_redis.keeper import RedisKeeper
from picoauth_session_redis.plugin import RedisPlugin

__all__ = ["RedisKeeper", "RedisPlugin"]
