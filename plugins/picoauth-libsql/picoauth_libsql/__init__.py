"""The database on a libSQL server, self-hosted or hosted."""

from picoauth_libsql.engine import Libsql
from picoauth_libsql.plugin import LibsqlPlugin

__all__ = ["Libsql", "LibsqlPlugin"]
