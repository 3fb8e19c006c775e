"""A server for each file that a test of the kernel would have; see tests/elsewhere.py."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from picoauth import Database
from picoauth_libsql import Libsql
from tests.sqld import Sqld


class Engines:
    def __init__(self) -> None:
        self.folder = TemporaryDirectory()
        self.servers: dict[Path, Sqld] = {}
        self.made = 0

    def engine(self, path: Path) -> Database:
        if path not in self.servers:
            self.made += 1
            server = self.servers[path] = Sqld(Path(self.folder.name) / str(self.made))
            server.start()
        return Libsql(self.servers[path].url, patience=30)

    def release(self, path: Path) -> None:
        self.servers.pop(path).kill()

    def end(self) -> None:
        self.folder.cleanup()
