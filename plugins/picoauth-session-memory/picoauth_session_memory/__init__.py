"""Sessions in the memory of the one process that serves them."""

from picoauth_session_memory.keeper import MemoryKeeper
from picoauth_session_memory.plugin import MemoryPlugin

__all__ = ["MemoryKeeper", "MemoryPlugin"]
