"""Copies of the database: whoever is killed over one leaves none for ever, and nobody loses one in use."""

from __future__ import annotations

import fcntl
import os
import signal
import sqlite3
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from picoauth import Embedded
from picoauth.backups import BESIDE
from picoauth.cli import cli
from picoauth.copies import PREFIX, copying, sweep
from picoauth.testing import serving

SETTINGS = 'plugins = ["password"]'
FILES = ("os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "shutil.copyfile")
STEPS = ("vacuum", "commit", "pragma journal_mode", "pragma quick_check", "begin exclusive")


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob(f"{PREFIX}*"))


def forked(work: Callable[[], object]) -> int:
    """Do it in a process of its own; answers how that ended."""
    child = started(work)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def started(work: Callable[[], object]) -> int:
    with warnings.catch_warnings(action="ignore"):
        child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    return child


def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def living(folder: Path) -> Iterator[None]:
    """A process that is just making a copy; it is killed in the end."""
    told, tells = os.pipe()

    def work() -> None:
        with copying(folder) as copy:
            (copy / "picoauth.db").write_text("secrets")
            (copy / "within").mkdir()
            os.write(tells, b"made")
            signal.pause()

    child = started(work)
    try:
        assert b"made" == os.read(told, 4)
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(told)
        os.close(tells)


def killed(folder: Path) -> None:
    """Leave what a process leaves that is killed over a copy."""
    with living(folder):
        pass
    assert 1 == len(left(folder))


def test_copy_in_use_stays(tmp_path: Path) -> None:
    """Nobody removes what a living process is just making; what is left of it goes."""
    with living(tmp_path):
        sweep(tmp_path)
        with copying(tmp_path) as mine:
            sweep(tmp_path)
            assert mine.name in left(tmp_path)
            assert 0o700 == mine.stat().st_mode & 0o777
        [name] = left(tmp_path)
        assert "secrets" == (tmp_path / name / "picoauth.db").read_text()
    sweep(tmp_path)
    assert [] == left(tmp_path)


def test_what_is_no_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Links are not followed; files, other names and what is another user's stay."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").touch()
    (tmp_path / f"{PREFIX}abcdefgh").symlink_to(tmp_path / "mine")
    (tmp_path / f"{PREFIX}ijklmnop").touch()
    (tmp_path / f"{PREFIX}of-mine").mkdir()
    before = left(tmp_path)
    sweep(tmp_path)
    assert 3 == len(before)
    assert (before, True) == (left(tmp_path), (tmp_path / "mine" / "file").exists())
    (tmp_path / f"{PREFIX}qrstuvwx").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr("os.geteuid", lambda: os.getuid() + 1)
        sweep(tmp_path)
        assert [*before, f"{PREFIX}qrstuvwx"] == left(tmp_path)
    sweep(tmp_path)
    assert before == left(tmp_path)


def test_folder_that_cannot_be_listed(tmp_path: Path) -> None:
    """Nothing fails over what cannot be looked at."""
    sweep(tmp_path / "none")


@pytest.mark.parametrize("before", ["os.open", "fcntl.flock"])
def test_swept_before_it_was_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    """A folder that another process takes in the moment between is made again."""
    real = os.open if before == "os.open" else fcntl.flock

    def late(*args: Any) -> Any:
        monkeypatch.undo()
        (tmp_path / left(tmp_path)[0]).rmdir()
        return real(*args)

    monkeypatch.setattr(before, late)
    with copying(tmp_path) as copy:
        assert [copy.name] == left(tmp_path)
    assert [] == left(tmp_path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a server was set up, that has a user."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "picoauth.toml").write_text(SETTINGS)
    assert 0 == run("users", "create", "ann").exit_code
    assert 0 == run("backup", "backup.db").exit_code
    return tmp_path


@pytest.mark.parametrize(
    ("where", "arguments"),
    [
        (".", ("backup", "other.db")),
        (".", ("restore", "backup.db", "--yes")),
        (".", ("upgrade",)),
        (".", ("migrate",)),
        ("temporary", ("upgrade", "--dry-run")),
        ("temporary", ("doctor",)),
    ],
)
def test_next_command(folder: Path, where: str, arguments: tuple[str, ...]) -> None:
    """It removes what one before it was killed over."""
    killed(folder / where)
    assert 2 != run(*arguments).exit_code
    assert [] == left(folder / where)


async def test_next_start(folder: Path) -> None:
    """A server removes what a command was killed over."""
    killed(folder)
    async with serving(folder, SETTINGS):
        assert [] == left(folder)


class Killer:
    """Ends its process at a step: a statement of `STEPS`, or a file that is opened, moved or removed."""

    def __init__(self, folder: Path, after: int) -> None:
        self.folder = str(folder)
        self.after = after

    def step(self) -> None:
        self.after -= 1
        if self.after < 0:
            die()

    def audited(self, event: str, args: tuple[object, ...]) -> None:
        if event in FILES or (event == "open" and str(args[0]).startswith(self.folder)):
            self.step()

    def connect(self, path: str) -> sqlite3.Connection:
        step = self.step

        class Stepping(sqlite3.Connection):
            def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
                if sql.startswith(STEPS):
                    step()
                return super().execute(sql, *args)

        return sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, factory=Stepping
        )


def names(path: Path) -> list[str]:
    """The users of a database that is whole."""
    with closing(sqlite3.connect(path)) as database:
        assert [("ok",)] == database.execute("pragma integrity_check").fetchall()
        return [name for (name,) in database.execute("select value from identifiers")]


@pytest.mark.parametrize(
    "arguments",
    [("backup", "other.db"), ("restore", "backup.db", "--yes"), ("upgrade", "--dry-run")],
    ids=lambda arguments: arguments[0],
)
def test_killed_at_each_step(folder: Path, arguments: tuple[str, ...]) -> None:
    """The database is whole, what has a name to stay is, and nothing else is left after a sweep."""
    found = 0
    for after in count():
        killer = Killer(folder, after)

        def work(killer: Killer = killer) -> None:
            import picoauth.auth

            picoauth.auth.Embedded = lambda path: Embedded(path, connect=killer.connect)  # type: ignore[attr-defined, misc, assignment]
            sys.addaudithook(killer.audited)
            os._exit(run(*arguments).exit_code)

        ended = forked(work)
        assert ended in (0, -signal.SIGKILL)
        whole = [one for one in folder.glob("*.db*") if not one.name.endswith(BESIDE)]
        assert [["ann"]] * len(whole) == [names(one) for one in whole]
        places = (folder, folder / "temporary")
        found += sum(len(left(place)) for place in places)
        for place in places:
            sweep(place)
            assert [] == [one.name for one in place.iterdir() if one.name.startswith(".")]
        assert [] == list((folder / "temporary").iterdir())
        (folder / "other.db").unlink(missing_ok=True)
        for aside in folder.glob("picoauth.db.*"):
            aside.unlink()
        if not ended:
            break
    assert after > 10
    assert found > 5


def test_killed_at_each_step_of_the_first_start(folder: Path) -> None:
    """The next start finds the secret whole, or makes it; no other copy of it stays."""
    found = 0
    for after in count():
        for path in (*folder.glob("picoauth.db*"), *folder.glob("picoauth.secret")):
            path.unlink()
        killer = Killer(folder, after)

        def work(killer: Killer = killer) -> None:
            sys.addaudithook(killer.audited)
            os._exit(run("migrate").exit_code)

        ended = forked(work)
        assert ended in (0, -signal.SIGKILL)
        found += len(left(folder))
        assert 0 == run("migrate").exit_code
        assert [] == [one.name for one in folder.iterdir() if one.name.startswith(".")]
        assert 1 == (folder / "picoauth.secret").stat().st_nlink
        if not ended:
            break
    assert found > 3
