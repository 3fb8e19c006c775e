"""A PostgreSQL cluster of the tests: in a temporary folder, on a unix socket alone."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import mkdtemp

FOUND = [*Path("/usr/lib/postgresql").glob("*/bin/initdb")]
BIN = max(FOUND, key=lambda path: int(path.parts[4])).parent if FOUND else None
"""Where Debian has the newest one."""
OPTIONS = "-c listen_addresses='' -c fsync=off -c autovacuum=off -c max_connections=300 -k "
CLEAR = "set client_min_messages = error; drop schema public cascade; create schema public"


class Cluster:
    """A server as a user without rights, since PostgreSQL refuses to be root."""

    def __init__(self) -> None:
        self.folder = Path(mkdtemp(prefix="picoauth-pg-"))
        self.data = self.folder / "data"
        self.made = 0
        self.empty: list[str] = []
        self.user = None if os.getuid() else pwd.getpwnam("postgres").pw_name
        if self.user:
            shutil.chown(self.folder, self.user)
        make = ("-D", str(self.data), "-U", "picoauth", "--auth=trust", "--no-sync")
        self.run("initdb", *make, "--locale=C.UTF-8", "--encoding=UTF8")

    def run(self, program: str, *arguments: str) -> None:
        assert BIN is not None
        command: Sequence[str] = (str(BIN / program), *arguments)
        subprocess.run(
            command,
            check=True,
            user=self.user,
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
        )

    def start(self) -> None:
        """Does nothing where it runs."""
        if (self.data / "postmaster.pid").exists():
            return
        log, options = str(self.folder / "log"), f"{OPTIONS}{self.folder}"
        self.run("pg_ctl", "-D", str(self.data), "-l", log, "-o", options, "-w", "start")

    def stop(self) -> None:
        if (self.data / "postmaster.pid").exists():
            self.run("pg_ctl", "-D", str(self.data), "-m", "immediate", "-w", "stop")

    @property
    def where(self) -> Sequence[str]:
        return ("-h", str(self.folder), "-U", "picoauth")

    def database(self) -> str:
        """The address of an empty one."""
        if self.empty:
            return self.empty.pop()
        self.made += 1
        self.run("createdb", *self.where, f"test{self.made}")
        return f"postgresql://picoauth@/test{self.made}?host={self.folder}"

    def clear(self, url: str) -> None:
        """Make one empty for whoever needs one next: that is faster than to make one."""
        name = url.partition("@/")[2].partition("?")[0]
        self.run("psql", *self.where, "-q", "-c", CLEAR, name)
        self.empty.append(url)

    def end(self) -> None:
        self.stop()
        shutil.rmtree(self.folder)
