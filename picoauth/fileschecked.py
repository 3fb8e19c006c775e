"""The doctor's look at files: who may read and change them, and whether there is room."""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from picoauth.checks import Check, plain
from picoauth.secrets import sources
from picoauth.settings import Config

OTHERS = 0o007
CHANGING = 0o002
ROOM = 200 * 1024 * 1024
"""Bytes below which the disk counts as nearly full."""
MIB = 1024 * 1024
NOT_IGNORED = 1
"""What `git check-ignore` answers for a path that a commit would take."""


class Files:
    """What belongs to one server: settings, secrets and, unless it is elsewhere, the database.

    As it is when this is made: opening the database adds files beside it, and removes them.
    """

    def __init__(self, config: Config, settings: Path) -> None:
        self.settings = settings.absolute()
        self.secrets = existing(one.path for one in sources(config) if one.path is not None)
        path = None if "://" in config.database else config.base / config.database
        self.home = None if path is None else path.parent
        self.database = existing(Path(f"{path}{end}") for end in ("", "-wal", "-shm") if path)
        newest = sources(config)[0].path
        making = newest.parent if newest is not None and not newest.exists() else None
        self.written = [folder for folder in (self.home, making) if folder is not None]

    def checks(self) -> Sequence[Check]:
        return [
            plain("settings-file", "danger", self.changeable),
            plain("database-files", "danger", self.readable),
            plain("folders", "danger", self.folders),
            plain("writable", "danger", self.writable),
            plain("secret-in-git", "danger", self.in_git),
            plain("owners", "warning", self.owners),
            plain("disk", "warning", self.disk),
        ]

    def changeable(self) -> str | None:
        if not self.settings.stat().st_mode & CHANGING:
            return None
        return (
            f"Every user of this machine can change {self.settings}, and so switch plugins on and "
            f"off: run `chmod o-w {shlex.quote(str(self.settings))}`."
        )

    def readable(self) -> str | None:
        """Made with mode 0600; a copy that was put back may have another."""
        found = [path for path, stat in self.database.items() if stat.st_mode & OTHERS]
        if not found:
            return None
        return (
            f"Every user of this machine can read or change {listed(found)}: "
            f"run `chmod 600 {quoted(found)}`."
        )

    def folders(self) -> str | None:
        """Who may change a folder can put other files, or links, in the place of those in it."""
        files = [self.settings, *self.secrets, *self.database]
        folders = [
            each for path in files for each in (path.parent.resolve(), path.resolve().parent)
        ]
        found = [path for path in dict.fromkeys(folders) if path.stat().st_mode & CHANGING]
        if not found:
            return None
        return (
            f"Every user of this machine can put files into {listed(found)}, where the server's "
            f"own are: run `chmod o-w {quoted(found)}`, or move them to another folder."
        )

    def writable(self) -> str | None:
        """SQLite makes files beside the database, and the first start the secret."""
        asked = os.W_OK | os.X_OK
        found = [
            folder
            for folder in dict.fromkeys(self.written)
            if not os.access(folder, asked, effective_ids=True)
        ]
        if not found:
            return None
        return (
            f"This user cannot write {listed(found)}, where the server makes files: make the "
            "folder, or give it to the user that the server runs as."
        )

    def in_git(self) -> str | None:
        found = [path for path in self.secrets if committed(path)]
        if not found:
            return None
        return (
            f"{listed(found)} lies in a git work tree that does not ignore it: "
            "add it to .gitignore, and make a new secret if it was ever committed."
        )

    def owners(self) -> str | None:
        """A command that was run as root leaves files that the server cannot open."""
        files = {**self.secrets, **self.database}
        if len({stat.st_uid for stat in files.values()}) <= 1:
            return None
        said = ", ".join(f"{path.name} to {user(stat.st_uid)}" for path, stat in files.items())
        return (
            f"The server's files belong to different users ({said}), and whoever it runs as may "
            "be unable to open some: give all of them to that user, by `chown`."
        )

    def disk(self) -> str | None:
        if self.home is None or not self.home.exists():
            return None
        free = shutil.disk_usage(self.home).free
        if free >= ROOM:
            return None
        return (
            f"Only {free // MIB} MiB are free where the database is, and nobody can log in on a "
            "full disk: make room."
        )


def committed(path: Path) -> bool:
    """Whether the next commit would take a file. Only git knows, and asks nothing of strangers' trees.

    git refuses a work tree of another user, whose settings could run programs: then nothing is known.
    """
    git = shutil.which("git")
    if git is None or not any((folder / ".git").exists() for folder in path.resolve().parents):
        return False
    asked = [git, "-C", str(path.parent), "check-ignore", "--quiet", "--", str(path)]
    return subprocess.run(asked, check=False, capture_output=True).returncode == NOT_IGNORED  # noqa: S603


def existing(paths: Iterable[Path]) -> Mapping[Path, os.stat_result]:
    return {path: path.stat() for path in paths if path.exists()}


def listed(paths: Sequence[Path]) -> str:
    return " and ".join(map(str, paths))


def quoted(paths: Sequence[Path]) -> str:
    return shlex.join(map(str, paths))


def user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
