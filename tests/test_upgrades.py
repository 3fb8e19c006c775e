"""Upgrades: a copy is made first, a dry run shows whether people can log in, and changes nothing."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from itertools import groupby
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from picoauth import (
    Auth,
    ConfigError,
    Embedded,
    Factor,
    NoSettings,
    Plugin,
    Row,
    Statement,
    hookimpl,
    parse,
)
from picoauth.cli import cli
from picoauth.testing import Ceremony, Clock, offer, serving
from picoauth.testing.rehearsal import rehearse
from picoauth.upgrades import aside
from tests.factors import CEREMONIES, PLUGINS

OLD = ("create table toy (id text)",)
NEW = (*OLD, "alter table toy add column more text")
SETTINGS = 'plugins = ["pin", "code", "spare", "toy"]'


def toy(*statements: str) -> dict[str, type[Plugin[Any]]]:
    """The plugins of a test, of which one makes these tables."""

    class Toy(Plugin[NoSettings]):
        @hookimpl
        def migrations(self) -> Sequence[str]:
            return statements

    return {**PLUGINS, "toy": Toy}


def copies(folder: Path) -> list[Path]:
    return sorted(folder.glob("picoauth.db.before-upgrade.*"))


async def started(folder: Path, *statements: str, clock: Clock | None = None) -> None:
    async with serving(folder, SETTINGS, plugins=toy(*statements), clock=clock):
        pass


async def test_copy_before_an_upgrade(tmp_path: Path) -> None:
    """What the older version can read is beside the database; its name has the time."""
    await started(tmp_path, *OLD)
    await started(tmp_path, *NEW)
    assert [tmp_path / "picoauth.db.before-upgrade.20270115T080000Z"] == copies(tmp_path)
    with closing(sqlite3.connect(copies(tmp_path)[0])) as copy:
        assert ["id"] == [column[1] for column in copy.execute("pragma table_info(toy)")]
    await started(tmp_path, *NEW)
    assert 1 == len(copies(tmp_path))


async def test_no_copy_of_what_is_new(tmp_path: Path) -> None:
    """Neither a first start nor another plugin changes what is there."""
    async with serving(tmp_path, 'plugins = ["pin"]', plugins=PLUGINS):
        pass
    await started(tmp_path, *OLD)
    assert [] == copies(tmp_path)


async def test_copy_of_a_faster_process(tmp_path: Path) -> None:
    """Of two that start at once, one makes the copy, and both go on."""
    await started(tmp_path, *OLD)
    (tmp_path / "picoauth.db.before-upgrade.20270115T080000Z").write_bytes(b"its copy")
    await started(tmp_path, *NEW)
    assert b"its copy" == copies(tmp_path)[0].read_bytes()


async def test_no_room_for_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a copy nothing is changed."""
    await started(tmp_path, *OLD)

    def full(*_: Any, **__: Any) -> Any:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("picoauth.copies.mkdtemp", full)
        with pytest.raises(ConfigError, match="cannot be written: No space left on device"):
            await started(tmp_path, *NEW)
    await started(tmp_path, *OLD)
    assert [] == copies(tmp_path)


@pytest.mark.parametrize("newer", ["picoauth", "toy"])
async def test_newer_database(tmp_path: Path, newer: str) -> None:
    """It is left as it is, also what another owner would add; and nothing is copied (D-5)."""
    await started(tmp_path, *OLD)
    path = tmp_path / "picoauth.db"
    with closing(sqlite3.connect(path)) as database:
        sql = "select max(number) + 1 from migrations where owner = ?"
        [(number,)] = database.execute(sql, (newer,)).fetchall()
        database.execute("insert into migrations values (?, ?, 'hash', 1)", (newer, number))
        database.commit()
    before = path.read_bytes()
    statements = OLD if newer == "toy" else NEW
    with pytest.raises(ConfigError) as caught:
        await started(tmp_path, *statements)
    assert str(caught.value) == (
        f"The database is newer than the installed {newer}: it has {number} migrations, the package "
        f"{number - 1}. Install the version that made it, or a newer one."
    )
    assert before == path.read_bytes()
    assert [] == copies(tmp_path)


# Forks a process that upgrades and kills itself before its n-th statement, for every n, and
# another one that goes on after it.
UPGRADING = """
import asyncio, json, os, signal, sqlite3, sys
from contextlib import closing
from itertools import count
from pathlib import Path
import picoauth.auth
from picoauth import Auth, Embedded, parse
from picoauth.testing import offer
from tests.test_upgrades import NEW, SETTINGS, copies, toy

class Killed(sqlite3.Connection):
    def execute(self, *args):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().execute(*args)

def connect(path):
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False, factory=Killed)

async def upgrade():
    found = [offer(name, kind) for name, kind in toy(*NEW).items()]
    auth = Auth(parse(SETTINGS, folder), found=found)
    await auth.migrate()
    await auth.database.close()

def forked(most):
    global left
    left = most
    child = os.fork()
    if not child:
        asyncio.run(upgrade())
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def state(path):
    with closing(sqlite3.connect(path)) as database:
        assert [("ok",)] == database.execute("pragma integrity_check").fetchall()
        return [list(row) for row in database.execute("select * from toy")]

picoauth.auth.Embedded = lambda path: Embedded(path, connect=connect)
folder, states, left = Path(sys.argv[1]), [], 0
database = folder / "picoauth.db"
old = database.read_bytes()
for last in count():
    for path in folder.glob("picoauth.db*"):
        path.unlink()
    database.write_bytes(old)
    ended = forked(last)
    states.append([state(path) for path in (database, *copies(folder))])
    left += len([*folder.glob(".picoauth-copy-*")])
    assert 0 == forked(10_000)
    assert not [*folder.glob(".picoauth-copy-*")]
    assert [["one", None]] == state(database) and [["one"]] == state(copies(folder)[0])
    if not ended:
        break
    assert -signal.SIGKILL == ended
assert left > 5
print(json.dumps(states))
"""


async def test_killed_at_each_statement_of_an_upgrade(tmp_path: Path) -> None:
    """The database is the old or the new one, with all rows; the copy of the old one is never half, and never hidden for ever."""
    await started(tmp_path, *OLD)
    with closing(sqlite3.connect(tmp_path / "picoauth.db")) as database:
        database.execute("insert into toy values ('one')")
        database.commit()
    command = [sys.executable, "-c", UPGRADING, str(tmp_path)]
    result = await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True)
    states = json.loads(result.stdout)
    old, new = [["one"]], [["one", None]]
    assert [[old], [old, old], [new, old]] == [state for state, _ in groupby(states)]
    assert len(states) > 2 * len(NEW)


async def test_every_factor_is_tried(tmp_path: Path) -> None:
    """First factors alone, second ones after a first, a fallback in the place of a second."""
    assert {"pin": "works", "code": "works", "spare": "works"} == await rehearsed(tmp_path)


async def test_factors_that_cannot_be_tried(tmp_path: Path) -> None:
    """Of those it is said why; no login fails for it."""
    without = {name: kind for name, kind in CEREMONIES.items() if name not in ("code", "pin")}
    assert {
        "pin": "not tried: its package does not say how",
        "code": "not tried: its package does not say how",
        "spare": "not tried: nobody could log in by it alone",
    } == await rehearsed(tmp_path, without)


async def rehearsed(
    folder: Path, ceremonies: Mapping[str, type[Ceremony]] = CEREMONIES
) -> Mapping[str, str]:
    clock = Clock()
    found = [offer(name, kind) for name, kind in toy().items()]
    auth = Auth(parse(SETTINGS, folder), clock=clock, monotonic=clock, found=found)
    return await rehearse(auth, clock, folder, ceremonies)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a server was set up."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "picoauth.toml").write_text('plugins = ["password", "totp", "recovery"]')
    assert 0 == run("migrate").exit_code
    return tmp_path


def test_dry_run(folder: Path) -> None:
    """What would be done, and whether everybody could log in; the database stays as it is."""
    before = (folder / "picoauth.db").read_bytes()
    done = run("upgrade", "--dry-run")
    assert (
        "picoauth: up to date\npassword: up to date\ntotp: up to date\nrecovery: up to date\n"
        "login by password: works\nlogin by totp: works\nlogin by recovery: works\n"
    ) == done.output
    assert 0 == done.exit_code
    assert before == (folder / "picoauth.db").read_bytes()
    assert ["picoauth.db", "picoauth.secret", "picoauth.toml"] == sorted(
        file.name for file in folder.iterdir()
    )


@pytest.mark.usefixtures("folder")
def test_dry_run_of_what_breaks_a_login(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said by which factor, and the command fails."""

    async def broken(*_: Any) -> None:
        raise RuntimeError("no such library")

    monkeypatch.setattr("picoauth_totp.factor.TotpFactor.verify", broken)
    done = run("upgrade", "--dry-run")
    assert "login by password: works" in done.output
    assert "login by totp: fails: " in done.output
    assert done.output.endswith("After the upgrade nobody could log in by totp.\n")
    assert 1 == done.exit_code


@pytest.mark.usefixtures("folder")
def test_dry_run_without_the_kit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers have no test kit: what to install is said."""
    monkeypatch.setitem(sys.modules, "picoauth.testing", None)
    done = run("upgrade", "--dry-run")
    assert 2 == done.exit_code
    assert (
        "picoauth: A dry run logs users in by the test kit: "
        "run `pip install 'picoauth[testing]'` first.\n"
    ) == done.output


@pytest.mark.usefixtures("folder")
def test_upgrade() -> None:
    """The same as `picoauth migrate` does."""
    assert run("migrate").output == run("upgrade").output


class Bound(Embedded):
    """An engine whose connections belong to the loop that opened them, as those of most drivers."""

    loop: asyncio.AbstractEventLoop | None = None

    async def write(self, *statements: Statement) -> list[list[Row]]:
        self.loop = asyncio.get_running_loop()
        return await super().write(*statements)

    async def close(self) -> None:
        assert self.closed or self.loop is asyncio.get_running_loop()
        await super().close()


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("command", ["migrate", "upgrade"])
def test_closed_where_it_was_opened(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    """The database is closed in the loop in which it was asked, however the command ends."""
    monkeypatch.setattr("picoauth.auth.Embedded", Bound)
    assert 0 == run(command).exit_code

    async def broken(*_: Any) -> None:
        raise ConfigError("no such table")

    monkeypatch.setattr("picoauth.migrations.migrate", broken)
    assert (2, "picoauth: no such table\n") == (run(command).exit_code, run(command).output)


class Failing(Factor):
    """A factor that says nothing about why it fails."""

    name = "failing"
    starts = True

    async def verify(self, *_: Any) -> Any:
        raise NotImplementedError


async def test_failure_without_words(tmp_path: Path) -> None:
    """Then its kind is said."""

    class Silent(Ceremony):
        async def enrol(self, _: Any) -> None:
            raise KeyError

        async def answer(self, *_: Any) -> Any:
            raise NotImplementedError

        wrong = answer

    class FailingPlugin(Plugin[NoSettings]):
        @hookimpl
        def factors(self) -> Sequence[Factor]:
            return [Failing()]

    clock, settings = Clock(), 'plugins = ["failing"]'
    found = [offer("failing", FailingPlugin)]
    auth = Auth(parse(settings, tmp_path), clock=clock, monotonic=clock, found=found)
    assert {"failing": "fails: KeyError"} == await rehearse(
        auth, clock, tmp_path, {"failing": Silent}
    )


async def test_database_of_a_server(tmp_path: Path) -> None:
    """Nothing of it is copied here: its operator has other means."""
    clock: Any = Clock()
    auth: Any = SimpleNamespace(database=None, now=clock)
    await aside(auth)
    assert [] == copies(tmp_path)
