"""`picoauth doctor`: what each check says, word for word, and that it changes nothing."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from picoauth import (
    Check,
    ConfigError,
    NoSettings,
    Plugin,
    Secret,
    Statement,
    Unavailable,
    hookimpl,
    parse,
)
from picoauth.auth import Auth
from picoauth.checks import plain
from picoauth.clockchecked import synchronised
from picoauth.discovery import Found
from picoauth.doctor import Finding, examine, failing, ranked, text
from picoauth.secrets import Secrets
from picoauth.testing import offer
from tests.factors import PLUGINS
from tests.proxying import running

NOBODY = 65534
PROXY = 54321
DAY = 86400
SPEEDY = [offer(name, kind) for name, kind in PLUGINS.items()]
QUIET = """
[tokens]
idle = "1h"
absolute = "24h"
window = 0
[cookies]
idle = "1h"
absolute = "24h"
remember = "24h"
"""
"""What the strictest standard asks for."""
LISTED = 'plugins = ["pin", "code"]\n'
TRUSTED = 'trusted_proxies = ["unix"]\n'
Said = tuple[str, str | None]


def danger(sentence: str) -> Said:
    return "danger", sentence


def warning(sentence: str) -> Said:
    return "warning", sentence


def advice(sentence: str) -> Said:
    return "advice", sentence


class Home:
    """The files of a server that needs no hashing, and about which nothing is to be said."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = folder / "picoauth.toml"
        self.database = folder / "picoauth.db"
        self.secret = folder / "picoauth.secret"
        self.found: Sequence[Found] = SPEEDY
        self.write()

    def write(self, more: str = TRUSTED, tables: str = QUIET, plugins: str = LISTED) -> None:
        self.settings.write_text(f"{plugins}{more}{tables}", encoding="utf-8")

    @property
    def config(self) -> Any:
        return parse(self.settings.read_text(encoding="utf-8"), self.folder)

    async def start(self) -> None:
        """Start once, which makes what there is to make."""
        async with Auth(self.config, found=self.found).started():
            pass

    def execute(self, *statements: str) -> None:
        connection = sqlite3.connect(self.database, isolation_level=None)
        for sql in statements:
            connection.execute(sql)
        connection.close()

    async def findings(self) -> Sequence[Finding]:
        return await examine(self.config, self.settings, found=self.found)

    async def problems(self) -> dict[str, Said]:
        """What is wrong, by check; what is said of this machine's clock is another test's."""
        found = [one for one in await self.findings() if one.check != "clock-sync"]
        return {one.check: (one.level, one.problem) for one in found if one.problem is not None}


@pytest.fixture
async def home(tmp_path: Path) -> Home:
    """A server that was started once."""
    made = Home(tmp_path)
    await made.start()
    return made


def contents(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Every file as it is, with mode and owner."""
    found = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {
        str(path): (path.stat().st_mode, path.stat().st_uid, path.read_bytes()) for path in found
    }


async def test_nothing_is_wrong(home: Home) -> None:
    """A server that follows the standards is told nothing, and stays as it is."""
    before = contents(home.folder)
    assert {} == await home.problems()
    assert before == contents(home.folder)


# Files.


async def test_settings_that_others_can_change(home: Home) -> None:
    """Who writes the settings switches second factors off."""
    home.settings.chmod(0o646)
    assert {
        "settings-file": danger(
            f"Every user of this machine can change {home.settings}, and so switch plugins on and "
            f"off: run `chmod o-w {home.settings}`.",
        )
    } == await home.problems()


@pytest.mark.parametrize("mode", [0o604, 0o602])
async def test_database_that_others_can_read(home: Home, mode: int) -> None:
    """All files of the database are looked at; the command may be pasted."""
    wal = home.folder / "picoauth.db-wal"
    wal.touch(0o600)
    wal.chmod(mode)
    home.database.chmod(mode)
    assert {
        "database-files": danger(
            f"Every user of this machine can read or change {home.database} and {wal}: "
            f"run `chmod 600 {home.database} {wal}`.",
        )
    } == await home.problems()


@dataclass(frozen=True)
class Door:
    """What a table of a plugin may have within."""

    key: Secret


@dataclass(frozen=True)
class KeyedSettings:
    """Secrets, one in another, and what is none."""

    keys: tuple[Secret, ...] = ()
    doors: Mapping[str, Door] = field(default_factory=dict)
    label: str = "none"


class KeyedPlugin(Plugin[KeyedSettings]):
    """Has secrets in files."""


async def test_secrets_that_others_can_read(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of plugins, wherever they stand in their tables; one that is not there yet is left out."""
    monkeypatch.setenv("DOOR", "open")
    home.found = [*SPEEDY, offer("keyed", KeyedPlugin)]
    table = """
        [keyed]
        keys = [{ file = "one.key" }, { file = "two.key" }, { file = "none.key" }]
        doors.front = { key = { file = "a door.key" } }
        doors.back = { key = { env = "DOOR" } }
    """
    home.write(plugins='plugins = ["pin", "code", "keyed"]\n', tables=f"{QUIET}{table}")
    one, two, door = (home.folder / name for name in ("one.key", "two.key", "a door.key"))
    for path, mode in ((one, 0o604), (two, 0o640), (door, 0o644)):
        path.touch()
        path.chmod(mode)
    assert {
        "secret-files": danger(
            f"Every user of this machine can read or change {one} and {door}: run "
            f"`chmod 600 {one} '{door}'`, and make new ones if that was so for long.",
        )
    } == await home.problems()
    for path in (one, door):
        path.chmod(0o600)
    assert {} == await home.problems()


async def test_folder_that_others_can_write(home: Home) -> None:
    """Who writes a folder puts other files in the place of those in it, even with a sticky bit."""
    home.folder.chmod(0o1777)
    assert {
        "folders": danger(
            f"Every user of this machine can put files into {home.folder}, where the server's own "
            f"are: run `chmod o-w {home.folder}`, or move them to another folder.",
        )
    } == await home.problems()


def move(path: Path, folder: Path) -> None:
    """Leave a link to a file in a folder that is anybody's."""
    shutil.move(path, folder)  # which may be another disk
    path.symlink_to(folder / path.name)
    folder.chmod(0o777)


async def test_folder_behind_a_link(home: Home, open_folder: Path) -> None:
    """A database that a link leads to lies in two folders."""
    move(home.database, open_folder)
    sentence = (
        f"Every user of this machine can put files into {open_folder}, where the server's own are: "
        f"run `chmod o-w {open_folder}`, or move them to another folder."
    )
    assert {"folders": danger(sentence)} == await home.problems()


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files away")
@pytest.mark.parametrize(("uid", "name"), [(NOBODY, "nobody"), (54321, "54321")])
async def test_files_of_several_users(home: Home, uid: int, name: str) -> None:
    """A command that ran as root leaves files that the server cannot open."""
    os.chown(home.secret, uid, -1)
    assert {
        "owners": warning(
            f"The server's files belong to different users (picoauth.secret to {name}, picoauth.db "
            "to root), and whoever it runs as may be unable to open some: "
            "give all of them to that user, by `chown`.",
        )
    } == await home.problems()


@contextmanager
def unprivileged(folder: Path) -> Iterator[None]:
    """Whatever happens here, happens as a user who may read a folder and not write it."""
    if os.geteuid():
        folder.chmod(0o500)
        yield
        folder.chmod(0o700)
        return
    for path in (folder, *folder.iterdir()):
        os.chown(path, NOBODY, -1)
    folder.chmod(0o500)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder with a short name, which other users can get to."""
    with TemporaryDirectory(prefix="pa", dir="/tmp") as name:
        yield Path(name)


async def test_folder_that_cannot_be_written(open_folder: Path) -> None:
    """The first start would make the database there, and the secret."""
    new = Home(open_folder)
    with unprivileged(open_folder):
        problems = await new.problems()
        with pytest.raises(ConfigError, match="cannot be made: Permission denied"):
            Auth(new.config, found=new.found)
    assert (
        danger(
            f"This user cannot write {open_folder}, where the server makes files: make the folder, "
            "or give it to the user that the server runs as.",
        )
        == problems["writable"]
    )


async def test_database_in_a_folder_that_cannot_be_written(open_folder: Path) -> None:
    """SQLite needs to write beside it: the doctor says so in the words of the server."""
    home = Home(open_folder)
    await home.start()
    sentence = (
        f"{home.database} cannot be opened as a database: attempt to write a readonly database. "
        "Let this user write its folder, since SQLite makes files beside it."
    )
    with unprivileged(open_folder):
        for start in (home.start, home.problems):
            with pytest.raises(ConfigError) as refused:
                await start()
            assert sentence == str(refused.value)


async def test_secret_in_a_folder_that_is_missing(tmp_path: Path) -> None:
    """Each folder that the first start writes to is looked at."""
    home = Home(tmp_path)
    home.write(f'{TRUSTED}secret = {{ file = "keys/root" }}\n')
    problems = await home.problems()
    assert {"migrations", "writable"} == problems.keys()
    assert f"This user cannot write {tmp_path}/keys, where" in problems["writable"][1]


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True)


async def test_secret_in_git(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret that the next commit takes is told, and one that git ignores is not."""
    git(home.folder, "init")
    sentence = (
        f"{home.secret} lies in a git work tree that does not ignore it: "
        "add it to .gitignore, and make a new secret if it was ever committed."
    )
    assert {"secret-in-git": ("danger", sentence)} == await home.problems()
    (home.folder / ".gitignore").write_text("*.secret\n", encoding="utf-8")
    assert {} == await home.problems()
    git(home.folder, "add", "--force", "picoauth.secret")
    assert {"secret-in-git": ("danger", sentence)} == await home.problems()
    monkeypatch.setenv("PATH", "")  # without git nobody knows
    assert {} == await home.problems()


async def test_disk_that_is_nearly_full(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Room is told before it is gone; the file system that the test has may be any."""
    free = shutil.disk_usage(home.folder).free
    monkeypatch.setattr("picoauth.fileschecked.ROOM", free * 2)
    [(level, sentence)] = (await home.problems()).values()
    assert "warning" == level
    assert re.fullmatch(
        r"Only \d+ MiB are free where the database is, and nobody can log in on a full disk: "
        r"make room\.",
        sentence,
    )


# What is not there yet, and what is still to come.


async def test_first_start_to_come(tmp_path: Path) -> None:
    """Before the first start everything is looked at that can be, and nothing is made."""
    home = Home(tmp_path)
    assert {
        "migrations": warning(
            "There is no database yet, and the first start makes it: if there should be one, "
            "mend `database`.",
        )
    } == await home.problems()
    assert [str(home.settings)] == list(contents(tmp_path))


async def test_first_start_with_a_secret(tmp_path: Path) -> None:
    """A secret that is there is taken as the server would take it: a bad one stops it."""
    home = Home(tmp_path)
    home.secret.touch(0o600)
    with pytest.raises(ConfigError, match="is missing or empty"):
        await home.problems()
    home.secret.write_text("A" * 43, encoding="utf-8")
    with pytest.raises(ConfigError, match="too short or too regular"):
        await home.problems()


class ShelfPlugin(Plugin[NoSettings]):
    """A plugin that came later."""

    @hookimpl
    def migrations(self) -> Sequence[str]:
        return ["create table shelf (id text primary key)", "create table shelf_books (id text)"]

    @hookimpl
    def checks(self) -> Sequence[Check]:
        return [Check("books", self.books, live=False, level="advice")]

    async def books(self) -> str | None:
        [(count,)] = await self.auth.database.read("select count(*) from shelf_books")
        return f"The shelf has {count} books: read some."


SHELVED = 'plugins = ["pin", "code", "shelf"]\n'


async def test_migrations_to_come(home: Home) -> None:
    """They are tried on a copy, where every check runs as after the start; no file changes."""
    home.found = [*SPEEDY, offer("shelf", ShelfPlugin)]
    home.write(plugins=SHELVED)
    before = contents(home.folder)
    books = advice("The shelf has 0 books: read some.")
    assert {
        "migrations": warning(
            "Some migrations are still to come (shelf: 2): keep a copy of the database, then start "
            "the server anew, which applies them.",
        ),
        "books": books,
    } == await home.problems()
    assert before == contents(home.folder)
    await home.start()
    assert {"books": books} == await home.problems()


async def test_files_that_go_meanwhile(home: Home) -> None:
    """What a crash left beside the database is gone once that was copied, and still told."""
    home.found = [*SPEEDY, offer("shelf", ShelfPlugin)]
    home.write(plugins=SHELVED)
    wal = home.folder / "picoauth.db-wal"
    wal.touch(0o600)
    wal.chmod(0o604)
    problems = await home.problems()
    assert {"database-files", "migrations", "books"} == problems.keys()
    assert f"read or change {wal}: run" in str(problems["database-files"])


async def test_no_temporary_files(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a folder for a copy, the operator is asked for one."""
    monkeypatch.setattr("tempfile.tempdir", str(home.folder / "none"))
    with pytest.raises(ConfigError) as refused:
        await home.problems()
    assert (
        "There is no folder for temporary files (No such file or directory): set TMPDIR to one."
    ) == str(refused.value)


async def test_migrations_that_will_fail(home: Home) -> None:
    """What would stop the next start stops the doctor, in the same words."""
    home.found = [*SPEEDY, offer("shelf", ShelfPlugin)]
    home.write(plugins=SHELVED)
    home.execute("create table shelf_books (id text)")
    with pytest.raises(ConfigError, match=r"^The migrations of shelf failed, and nothing was"):
        await home.problems()


async def test_migrations_of_a_newer_version(home: Home) -> None:
    """A database that is newer than what is installed stops the server, and the doctor."""
    home.execute("insert into migrations values ('pin', 2, '', 0)")
    with pytest.raises(ConfigError, match=r"^The database is newer than the installed pin"):
        await home.problems()


async def test_copy_without_room(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the copy finds no room, the operator may name another folder."""
    home.found = [*SPEEDY, offer("shelf", ShelfPlugin)]
    home.write(plugins=SHELVED)
    monkeypatch.setattr("picoauth.observing.connect", cramped)
    with pytest.raises(ConfigError) as refused:
        await home.problems()
    before, _, after = str(refused.value).partition("/")
    assert "The database cannot be copied to " == before
    assert after.endswith(
        ": database or disk is full. Make room there, or set TMPDIR to another folder."
    )


def cramped(path: str) -> sqlite3.Connection:
    """Opens files that may not grow."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("pragma max_page_count = 1")
    return connection


@pytest.mark.parametrize("content", [b"", b"This is no database. " * 99])
async def test_database_that_is_none(home: Home, content: bytes) -> None:
    """An empty file is one before its first migration; anything else stops the server."""
    home.database.write_bytes(content)
    if content:
        with pytest.raises(ConfigError, match="cannot be opened as a database: file is not a"):
            await home.problems()
    else:
        [(_, sentence)] = (await home.problems()).values()
        assert sentence.startswith("Some migrations are still to come (picoauth: ")
    assert content == home.database.read_bytes()


# The schema.


@pytest.mark.parametrize(
    ("statement", "difference"),
    [
        ("drop index identifiers_verified", "index identifiers_verified is missing"),
        ("alter table pin add column more text", "table pin is another"),
        (
            "create trigger spy after insert on users begin delete from sessions; end",
            "trigger spy is foreign",
        ),
        ("create table notes (id text)", "table notes is foreign"),
    ],
)
async def test_schema_that_was_changed(home: Home, statement: str, difference: str) -> None:
    """Whatever was changed by hand is named."""
    home.execute(statement)
    assert {
        "schema": danger(
            f"The schema is not the one that the migrations make ({difference}), and the rules "
            "that keep users apart are part of it: put a backup back, or undo the change.",
        )
    } == await home.problems()


async def test_tables_of_plugins_that_are_off(home: Home) -> None:
    """What a plugin left is told as such, and is no foreign table."""
    home.found = [*SPEEDY, offer("shelf", ShelfPlugin)]
    home.write(plugins=SHELVED)
    await home.start()
    home.write()
    assert {
        "tables": advice(
            "The database still has tables of plugins that are not listed (shelf), with what they "
            "know about users: list them again, or drop those tables and their rows in "
            "`migrations`.",
        )
    } == await home.problems()


class Elsewhere:
    """A database that knows no table, as one of another kind may."""

    def __init__(self, inner: Any, hidden: str) -> None:
        self.inner = inner
        self.hidden = hidden

    async def read(self, sql: str, args: Any = (), *, slow: bool = False) -> Any:
        if self.hidden in sql:
            raise LookupError(sql)
        return await self.inner.read(sql, args, slow=slow)

    async def write(self, *statements: Any) -> Any:
        return await self.inner.write(*statements)

    async def close(self) -> None:
        await self.inner.close()


class ElsewherePlugin(Plugin[NoSettings]):
    """Opens a database in its own way."""

    hidden = "sqlite_master"

    @hookimpl
    def database(self, url: str) -> Any:
        from picoauth import Embedded

        return Elsewhere(Embedded(self.auth.config.base / url.rpartition("/")[2]), self.hidden)


ELSEWHERE = 'plugins = ["else", "pin", "code"]\n'
URL = f'{TRUSTED}database = "else://host/else.db"\nsecret = {{ env = "PICOAUTH_TEST_SECRET" }}\n'


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A server with a database that a plugin opens."""
    monkeypatch.setenv("PICOAUTH_TEST_SECRET", "aGVyZSBhcmUgZW5vdWdoIGJ5dGVzIGZvciBhIHJvb3Qga2V5")
    home = Home(tmp_path)
    home.found = [*SPEEDY, offer("else", ElsewherePlugin)]
    home.write(URL, plugins=ELSEWHERE)
    return home


async def test_database_of_a_plugin(elsewhere: Home) -> None:
    """What its engine does not have is not looked at, and no file is looked for."""
    await elsewhere.start()
    assert {} == await elsewhere.problems()


async def test_tables_elsewhere(elsewhere: Home) -> None:
    """They are asked for their columns, where the engine has no `sqlite_master`."""
    await elsewhere.start()
    elsewhere.database = elsewhere.folder / "else.db"
    elsewhere.execute("alter table pin rename column pin to other", "drop table code")
    wrong = ", ".join(f"table {name} is missing, or lacks a column" for name in ("code", "pin"))
    assert {
        "schema": danger(
            f"The schema is not the one that the migrations make ({wrong}), and the rules "
            "that keep users apart are part of it: put a backup back, or undo the change.",
        )
    } == await elsewhere.problems()


@pytest.mark.parametrize("hidden", ["sqlite_master", "where 1 = 0"])
async def test_schema_that_cannot_be_looked_at(
    elsewhere: Home, monkeypatch: pytest.MonkeyPatch, hidden: str
) -> None:
    """A database that is away meanwhile is not fine."""
    await elsewhere.start()
    read = Elsewhere.read

    async def away(database: Elsewhere, sql: str, *args: Any, **more: Any) -> Any:
        if hidden in sql:
            raise Unavailable("it is away")
        return await read(database, sql, *args, **more)

    monkeypatch.setattr(Elsewhere, "read", away)
    assert {"schema": danger("The check itself failed: see the log.")} == await elsewhere.problems()


async def test_migrations_to_come_elsewhere(
    elsewhere: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of such a database there is no copy: what reads tables waits, and nothing is changed."""
    monkeypatch.setattr(ElsewherePlugin, "hidden", "from migrations group")
    [(level, sentence)] = (await elsewhere.problems()).values()
    assert "warning" == level
    assert re.fullmatch(
        r"Some migrations are still to come \(picoauth: \d+, pin: 1, code: 1\): keep a copy of the "
        r"database, then start the server anew, which applies them\. "
        r"Until then, only what needs no table is looked at\.",
        sentence,
    )
    names = {one.check for one in await elsewhere.findings()}
    assert {"migrations", "trusted-proxies"} <= names
    assert not {"schema", "database", "signing-key"} & names


# Addresses.


@pytest.mark.parametrize("network", ["0.0.0.0/0", "::/0", "64.0.0.0/2", "8000::/1"])
async def test_proxies_that_are_everybody(home: Home, network: str) -> None:
    """A network as large as that has strangers in it."""
    home.write(f'trusted_proxies = ["unix", "10.0.0.0/8", "fc00::/7", "{network}"]\n')
    assert {
        "trusted-proxies": danger(
            f"`trusted_proxies` believes strangers ({network}), who can then claim any address: "
            "list the addresses of your own proxies alone.",
        )
    } == await home.problems()


OPEN = (
    "can be reached from other machines, without TLS: listen on 127.0.0.1 or on a unix socket, "
    "or list your proxy's address in `trusted_proxies`."
)


@pytest.mark.parametrize("address", ["tcp:0.0.0.0:0", "tcp:[::]:0"])
async def test_port_that_is_open(home: Home, address: str) -> None:
    """Anybody could come past the proxy; where a proxy of another machine is trusted, it comes so."""
    home.write(f'{TRUSTED}bind = ["unix:p", "{address}", "tcp:127.0.0.1:0"]\n')
    assert {"open-port": warning(f"{address} {OPEN}")} == await home.problems()
    home.write(f'trusted_proxies = ["unix", "172.18.0.0/16"]\nbind = ["{address}"]\n')
    assert {} == await home.problems()


async def test_administration_that_is_open(home: Home) -> None:
    """Administration is looked at, too; a name is as open as its address may be."""
    home.write(f'{TRUSTED}admin_bind = ["tcp:nowhere.invalid:0", "tcp:localhost:0"]\n')
    assert {
        "open-port": warning(f"tcp:nowhere.invalid:0 {OPEN}"),
        "listeners": danger(
            "bind: tcp:nowhere.invalid:0 has no address: write it as a number.",
        ),
    } == await home.problems()


@pytest.mark.parametrize("mode", ["0666", "0777", "0662"])
@pytest.mark.parametrize("trusted", [True, False])
async def test_socket_of_everybody(home: Home, mode: str, trusted: bool) -> None:  # noqa: FBT001
    """Past the proxy, a user of this machine is nobody, or, if it is trusted, whoever they like."""
    home.write(f'{TRUSTED if trusted else ""}socket_mode = "{mode}"\n')
    more = ", and claim any address" if trusted else ""
    assert (
        warning(
            f"Every user of this machine can connect to the socket past your proxy{more}: "
            'set socket_mode = "0660" (SocketMode= in a unit of systemd), and `socket_group` to the '
            "group of the proxy.",
        )
        == (await home.problems())["socket-mode"]
    )
    home.write(f'socket_mode = "{mode}"\nbind = ["tcp:127.0.0.1:0"]\n')
    assert {} == await home.problems()


async def test_socket_that_systemd_opened(home: Home, open_folder: Path) -> None:
    """It is the socket's own mode that counts, whatever the settings say."""
    path = open_folder / "p"
    home.write(f'{TRUSTED}bind = ["unix:{path}"]\nsocket_group = "of-nobody"\n')
    with stranger(socket.AF_UNIX, str(path)):
        path.chmod(0o666)
        assert {"listeners", "socket-mode"} == (await home.problems()).keys()
        path.chmod(0o664)
        assert {"listeners"} == (await home.problems()).keys()
    home.write('bind = ["tcp:127.0.0.1:0"]\nsocket_group = "of-nobody"\n')
    assert {} == await home.problems()  # where there is no socket, there is no group


async def test_socket_that_nobody_trusts(home: Home) -> None:
    """Without trust a unix socket has no addresses."""
    home.write("")
    assert {
        "client-addresses": advice(
            "Who comes through the unix socket has no address, so that sessions show none: if "
            'only your proxy can connect to it, put "unix" into `trusted_proxies`.',
        )
    } == await home.problems()


async def listening(home: Home, *addresses: str, more: str = "") -> str:
    """What the doctor says of these addresses, in the words in which the server would refuse."""
    home.write(f"{TRUSTED}bind = {json.dumps(addresses)}\n{more}")
    level, sentence = (await home.problems())["listeners"]
    assert "danger" == level
    assert sentence is not None
    with pytest.raises(ConfigError) as refused, running_here(home.config):
        pass
    assert sentence == str(refused.value)
    return sentence


def running_here(config: Any) -> Any:
    from picoauth.banner import bound
    from picoauth.listeners import open_sockets

    return open_sockets(bound(config), {})


async def test_sockets_that_cannot_be(home: Home) -> None:
    """Each way in which the server could not listen on a path."""
    folder, file = home.folder, home.folder / "file"
    file.touch()
    assert f"bind: unix:{folder}/no/p has no folder: make it." == await listening(home, "unix:no/p")
    assert (
        f"bind: unix:{file}/p has a file where its folder should be: choose another path."
    ) == await listening(home, "unix:file/p")
    assert (
        f"bind: {file} exists and is no socket: move it away, or choose another path."
    ) == await listening(home, "unix:file")
    long = "p" * 108
    assert (
        f"bind: unix:{folder}/{long} is longer than 107 bytes, which no socket may be: "
        "choose a shorter path."
    ) == await listening(home, f"unix:{long}")
    assert (
        "socket_group: there is no group of-nobody: make it, or name another."
    ) == await listening(home, "unix:p", more='socket_group = "of-nobody"\n')


async def test_socket_in_a_folder_that_cannot_be_written(home: Home, open_folder: Path) -> None:
    """Whether the folder may be written is asked, not tried."""
    with unprivileged(open_folder):
        pass
    home.write(f'{TRUSTED}bind = ["unix:{open_folder}/p"]\n')
    if os.geteuid() == 0:  # who may write everywhere is told nothing
        assert {} == await home.problems()
        for path in (home.folder, *home.folder.iterdir()):
            os.chown(path, NOBODY, -1)
        home.folder.parent.chmod(0o755)
    with unprivileged(open_folder):
        from picoauth.addresseschecked import check

        with pytest.raises(ConfigError) as refused:
            check(f"unix:{open_folder}/p")
    assert (
        f"bind: unix:{open_folder}/p is not permitted to this user: choose another, or give the "
        "permission."
    ) == str(refused.value)


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files away")
async def test_socket_for_the_proxy_alone(open_folder: Path) -> None:
    """As docs/run-it.md has it: systemd's, which the server's own user may not connect to."""
    home, path = Home(open_folder), open_folder / "run" / "p"
    home.write(f'{TRUSTED}bind = ["unix:{path}"]\n')
    await home.start()
    for file in (home.folder, *home.folder.iterdir()):
        os.chown(file, NOBODY, -1)
    path.parent.mkdir(mode=0o755)
    with stranger(socket.AF_UNIX, str(path)):
        os.chown(path, 0, PROXY)
        path.chmod(0o660)
        assert {} == await problems_of_nobody(home)
        path.chmod(0o666)
        assert {"listeners", "socket-mode"} == (await problems_of_nobody(home)).keys()
        os.chown(path, PROXY, PROXY)  # of somebody, who may have served it once
        path.chmod(0o660)
        assert {
            "listeners": danger(
                f"bind: unix:{path} is not permitted to this user: choose another, or give the "
                "permission."
            )
        } == await problems_of_nobody(home)


async def problems_of_nobody(home: Home) -> Mapping[str, Said]:
    """As a user of whom nothing is but the files of the server."""
    os.seteuid(NOBODY)
    try:
        return await home.problems()
    finally:
        os.seteuid(0)


async def test_ports_that_cannot_be(home: Home) -> None:
    """Each way in which the server could not listen on a port."""
    assert (
        "bind: tcp:192.0.2.1:8100 is no address of this machine: choose one that is."
    ) == await listening(home, "tcp:192.0.2.1:8100")
    assert (
        "bind: 'tcp:127.0.0.1:99999' is no address: write unix:/path/to.sock or tcp:127.0.0.1:8100."
    ) == await listening(home, "tcp:127.0.0.1:99999")


@contextmanager
def stranger(family: int, address: Any) -> Iterator[socket.socket]:
    """Somebody who listens, and hangs up on whoever asks."""
    import threading

    with (
        socket.create_server(address, family=family)
        if family != socket.AF_UNIX
        else (socket.socket(family)) as sock
    ):
        if family == socket.AF_UNIX:
            sock.bind(address)
            sock.listen()

        def hang_up() -> None:
            while True:
                try:
                    accepted, _ = sock.accept()
                except OSError:
                    return
                accepted.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        try:
            yield sock
        finally:
            sock.shutdown(socket.SHUT_RDWR)
            thread.join()


async def test_addresses_that_are_taken(home: Home, open_folder: Path) -> None:
    """Somebody else listens there."""
    path = open_folder / "p"
    with stranger(socket.AF_UNIX, str(path)):
        assert (
            f"bind: unix:{path} is served by another process: stop that one first."
        ) == await listening(home, f"unix:{path}")
    assert {} == await home.problems()  # what is left of it is no hindrance
    with stranger(socket.AF_INET, ("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        assert (
            f"bind: tcp:127.0.0.1:{port} is in use: stop what listens there, or choose another port."
        ) == await listening(home, f"tcp:127.0.0.1:{port}")


async def test_server_that_runs(home: Home, open_folder: Path) -> None:
    """Beside the server that it is about, the doctor finds nothing, and changes nothing."""
    path = open_folder / "p"
    home.write(f'{TRUSTED}bind = ["unix:{path}", "tcp:127.0.0.1:0"]\n')
    with running(home.config, home.found) as (_, url):
        port = url.rpartition(":")[2]
        home.write(f'{TRUSTED}bind = ["unix:{path}", "tcp:127.0.0.1:{port}"]\n')
        files = home.database, home.secret, home.settings
        before = [path.read_bytes() for path in files], sorted(home.folder.iterdir())
        assert {} == await home.problems()
        assert before == ([path.read_bytes() for path in files], sorted(home.folder.iterdir()))


# The clock.


async def test_clock_that_went_back(home: Home) -> None:
    """A clock that is behind what the database holds makes valid what has expired."""
    at = int(time.time()) + DAY
    home.execute(
        f"insert into users (id, name, created_at, epoch, last_login_at) values ('a', '', 0, 0, {at - DAY})"
    )
    assert {} == await home.problems()
    home.execute(f"update users set last_login_at = {at}")
    when = time.strftime("%Y-%m-%d %H:%MZ", time.gmtime(at))
    [(level, sentence)] = (await home.problems()).values()
    assert "danger" == level
    assert re.fullmatch(
        r"The clock says \d{4}-\d\d-\d\d \d\d:\d\dZ, but the database already has something of "
        + when
        + r": what has expired may count again, so set the clock before the server runs on\.",
        sentence,
    )


class System:
    """A C library whose kernel answers so."""

    def __init__(self, state: int) -> None:
        self.state = state

    def adjtimex(self, _: Any) -> int:
        return self.state


UNSET = (
    "No time server sets the clock of this machine, as the system says: "
    "run one, such as systemd-timesyncd or chrony, since tokens and codes end by the clock."
)


@pytest.mark.parametrize(
    ("system", "sentence"),
    [(System(0), None), (System(5), UNSET), (System(-1), None), (object(), None)],
)
def test_clock_that_nobody_sets(system: Any, sentence: str | None) -> None:
    """The kernel knows; another system than Linux has no such question, and a cage forbids it."""
    assert sentence == synchronised(system)


async def test_clock_of_this_machine(home: Home) -> None:
    """The real kernel is asked, and the answer is one of the two."""
    [found] = [one for one in await home.findings() if one.check == "clock-sync"]
    assert ("advice", True) == (found.level, found.problem in (None, UNSET))


# Keys, secrets and factors.


async def test_signing_key_that_is_old(home: Home) -> None:
    """A month before a year is over."""
    home.execute(f"update signing_keys set created_at = {int(time.time()) - 335 * DAY + 60}")
    assert {} == await home.problems()
    home.execute(f"update signing_keys set created_at = {int(time.time()) - 335 * DAY}")
    assert {
        "signing-key": warning(
            "The key that signs tokens is 335 days old, and whoever got hold of it in that time "
            "can sign, too: run `picoauth keys rotate` each year.",
        )
    } == await home.problems()
    home.write(
        tables=QUIET.replace("window", 'algorithm = "EdDSA"\nwindow')
    )  # a key of which is still to come
    assert {} == await home.problems()


HANGS_NOT = (
    "`secret` lists an older root secret that no signing key and no message is sealed with: where "
    "no other line tells to keep it,"
)


async def test_older_secrets(home: Home, tmp_path: Path) -> None:
    """An older secret stays while something hangs on it, and is named when it may go."""
    new = tmp_path / "new.secret"
    new.write_text("YSBuZXcgcm9vdCBzZWNyZXQgdGhhdCBpcyBsb25nIGVub3VnaA", encoding="utf-8")
    new.chmod(0o600)
    listed = f'{TRUSTED}secret = [{{ file = "new.secret" }}, {{ file = "picoauth.secret" }}]\n'
    home.write(listed)
    assert {
        "secrets": advice(
            "`secret` lists an older root secret that signing keys are sealed with (1): "
            "keep it listed, and let the server run, which seals them anew within ten minutes.",
        ),
        "older-secrets": advice(
            "On older root secrets hang signing keys (1): keep them in `secret` until nothing does."
        ),
    } == await home.problems()
    home.execute("delete from signing_keys")
    await home.start()
    old = (tmp_path / "picoauth.secret").read_bytes().strip()
    root = Secrets([old], os.urandom).roots[0].id
    home.execute(
        "insert into outbox values ('1', 'post', '', x'{0}00', {1}, {1}, {1}, 0, 0, null, null)".format(
            root, int(time.time())
        )
    )
    assert {
        "secrets": advice(
            "`secret` lists an older root secret that messages are sealed with (1): "
            "keep it listed, and let the server run, which seals them anew within ten minutes.",
        ),
        "older-secrets": advice(
            "On older root secrets hang messages (1): keep them in `secret` until nothing does."
        ),
    } == await home.problems()
    home.execute("update outbox set sealed = null")
    assert {
        "secrets": advice(
            f"{HANGS_NOT} take it out of that list once the new one is in use for 1d, after which "
            "no session needs it.",
        ),
        "older-secrets": advice(
            "Nothing hangs on an older root secret: `picoauth secret forget` drops it when it may."
        ),
    } == await home.problems()
    home.execute("insert into retired_names values (x'00', 0), (x'01', 0)")
    _, sentence = (await home.problems())["secrets"]
    assert sentence is not None
    assert sentence.endswith(
        " no session needs it. But names that were retired (2) may then be given to others, "
        "if only it knows them."
    )


async def test_older_secret_in_the_file(home: Home) -> None:
    """A command drops it, which waits as long as the longest session: one that is remembered."""
    old = home.secret.read_text(encoding="utf-8").strip()
    new = "YSBuZXcgcm9vdCBzZWNyZXQgdGhhdCBpcyBsb25nIGVub3VnaA"
    home.secret.write_text(f"{new}\nold {int(time.time())} {old}\n", encoding="utf-8")
    home.execute("delete from signing_keys")
    home.write(tables=QUIET.replace('remember = "24h"', 'remember = "90d"'))
    await home.start()
    assert (
        advice(
            f"{HANGS_NOT} run `picoauth secret forget` once the new one is in use for 90d, after "
            "which no session needs it.",
        )
        == (await home.problems())["secrets"]
    )
    with pytest.raises(ConfigError, match=r"^Sessions from before .* may hang on the old secrets"):
        await forgettable(home)


async def forgettable(home: Home) -> None:
    """What `picoauth secret forget` looks at. Raises ConfigError."""
    from picoauth.secret_cli import check
    from picoauth.secretfile import parse as held

    auth = Auth(home.config, found=home.found)
    async with auth.started():
        await check(auth, held(home.secret.read_bytes(), "here"), yes=False)


async def test_factors_that_are_switched_off(home: Home) -> None:
    """Who has enrolled them is counted, if they are confirmed and no plugin offers them."""
    home.execute(
        "insert into users (id, name, created_at, epoch) values ('a', '', 0, 0), ('b', '', 0, 0)",
        "insert into enrolments (id, user_id, factor, confirmed_at) values "
        "('1', 'a', 'totp', 1), ('2', 'a', 'totp', 1), ('3', 'b', 'totp', null), "
        "('4', 'a', 'sms', 1), ('5', 'b', 'sms', 1), ('6', 'b', 'code', 1)",
    )
    home.write(f'{TRUSTED}ignore_factors = ["totp", "sms", "code", "none"]\n')
    assert {
        "ignored-factors": warning(
            "`ignore_factors` switches off what users have enrolled (totp: 1 user, sms: 2 users), "
            "who now log in without it: list its plugin again, or tell them.",
        )
    } == await home.problems()
    home.write()
    with pytest.raises(ConfigError, match=r"^Users have enrolled the factor sms, but no listed"):
        await home.problems()


async def test_no_second_factor(home: Home) -> None:
    """A server of passwords alone is told what is missing."""
    home.write(plugins='plugins = ["pin"]\n')
    assert {
        "second-factor": advice(
            "No listed plugin offers a second factor, and a password that was phished is enough: "
            "list one that does, such as totp or passkey.",
        ),
        "tables": ("advice", (await home.problems())["tables"][1]),
    } == await home.problems()


# The standards.


async def test_standards_about_the_defaults(home: Home) -> None:
    """Each subject has its standard, its value, and its setting."""
    home.write(tables="[throttle]\nfailures = 101")
    assert {
        "idle": advice(
            "`idle` in [tokens] is 14d: NIST SP 800-63B-4 (2.2.3) asks, where there is a second "
            'factor, for the end after an hour without use, idle = "1h".',
        ),
        "absolute": advice(
            "`absolute` in [tokens] lets a session last 90d: NIST SP 800-63B-4 (2.1.3, 2.2.3) asks "
            'for absolute = "30d" with one factor, and "24h" with two.',
        ),
        "cookie-ends": advice(
            "`idle`, `absolute` and `remember` in [cookies] are 7d, 30d and 90d: NIST SP 800-63B-4 "
            '(2.2.3) asks, where there is a second factor, for "1h", "24h" and "24h".',
        ),
        "window": advice(
            "`window` in [tokens] is 10s: RFC 9700 (4.14.2) knows no time in which a spent refresh "
            "token is still good, so window = 0; but then two tabs that refresh at once log their "
            "user out.",
        ),
        "failures": advice(
            "`failures` in [throttle] is 101: NIST SP 800-63B-4 (3.2.2) allows 100 wrong tries in "
            "a row, so failures = 100 at most.",
        ),
    } == await home.problems()


async def test_shared_cookies(home: Home) -> None:
    """A cookie for many hosts is a choice, and is said to be one."""
    home.write(tables=QUIET + 'domain = "example.com"\n')
    assert {
        "cookie-domain": advice(
            "`domain` in [cookies] hands every visitor's session to each host below example.com: "
            "leave it out, unless you trust all that runs there.",
        )
    } == await home.problems()


async def test_standards_about_stateless_tokens(home: Home) -> None:
    """Where nothing rotates and nothing is idle, these have nothing to be told."""
    cookies = QUIET[QUIET.index("[cookies]") :]
    tokens = '[tokens]\nrefresh = "stateless"\nstateless_life = "25h"\n'
    home.write(tables=tokens + cookies)
    assert {
        "refresh": advice(
            '`refresh = "stateless"` does not notice a stolen refresh token: RFC 9700 (2.2.2) asks '
            'that those of apps and browsers rotate, as they do with refresh = "rotating".',
        ),
        "absolute": advice(
            "`stateless_life` in [tokens] lets a session last 25h: NIST SP 800-63B-4 (2.1.3, "
            '2.2.3) asks for stateless_life = "30d" with one factor, and "24h" with two.',
        ),
    } == await home.problems()


# What stops the server, and what is said in the end.


async def test_settings_that_do_not_start(home: Home) -> None:
    """The doctor refuses what the server refuses, in the same words."""
    home.write(plugins="plugins = []\n")
    with pytest.raises(ConfigError, match=r"^plugins: none of those listed offers a way to log in"):
        await home.problems()
    home.write(f'{TRUSTED}database = "else://host"\n')
    with pytest.raises(ConfigError, match=r"^database: no plugin that is listed speaks else"):
        await home.problems()
    home.write()
    home.secret.write_text("YW5vdGhlciByb290IHNlY3JldCB0aGFuIHRoZSBvbmUgYmVmb3Jl", encoding="utf-8")
    with pytest.raises(
        ConfigError, match=r"^The secret is not the one that this database was made"
    ):
        await home.problems()


LOOKED_AT = "this is only looked at"


class OddPlugin(Plugin[NoSettings]):
    """Checks of its own."""

    @hookimpl
    def checks(self) -> Sequence[Check]:
        return [
            plain("clock", "danger", lambda: "It has no hands: buy some."),
            Check("reads", self.reads, live=False),
            Check("writes", self.writes, live=False),
            Check("window-pane", self.well),
        ]

    async def reads(self) -> str | None:
        await self.auth.database.read("select * from books")
        return None

    async def writes(self) -> str | None:
        await self.auth.database.write(Statement("delete from users"))
        return None

    async def well(self) -> str | None:
        return None


async def test_checks_of_plugins(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    """They are ranked with the kernel's, whose names they may have; one that fails is a finding."""
    home.found = [*SPEEDY, offer("odd", OddPlugin)]
    home.write('socket_mode = "0666"\n', plugins='plugins = ["odd", "pin", "code"]\n')
    found = [one for one in await home.findings() if one.check != "clock-sync"]
    assert [
        ("danger", "clock"),
        ("warning", "reads"),
        ("warning", "writes"),
        ("warning", "socket-mode"),
        ("advice", "client-addresses"),
    ] == [(one.level, one.check) for one in found if one.problem]
    assert {"check reads failed": "no such table: books", "check writes failed": LOOKED_AT} == {
        record.getMessage(): str(record.exc_info and record.exc_info[1])
        for record in caplog.records
    }
    assert failing(found)


FINDINGS = [
    Finding("a", "advice", "Raise it."),
    Finding("fine", "danger", None),
    Finding("b", "warning", "Mend it."),
    Finding("c", "danger", "Close it."),
    Finding("d", "warning", "Sweep it."),
    Finding("well", "advice", None),
]


def test_text() -> None:
    """The worst comes first, and is called so; the last line says what is fine."""
    assert [
        "danger   c, the weakest link",
        "  Close it.",
        "warning  b",
        "  Mend it.",
        "warning  d",
        "  Sweep it.",
        "advice   a",
        "  Raise it.",
        "Fine: fine, well.",
    ] == list(text(ranked(iter(FINDINGS))))
    assert ["Nothing is wrong.", "Fine: fine."] == list(text(FINDINGS[1:2]))
    assert ["advice   a, the weakest link", "  Raise it."] == list(text(FINDINGS[:1]))


@pytest.mark.parametrize(
    ("findings", "expected"),
    [(FINDINGS, True), (FINDINGS[2:3], True), (FINDINGS[:2], False), ([], False)],
)
def test_failing(findings: Sequence[Finding], expected: bool) -> None:  # noqa: FBT001
    """Advice alone is nothing to mend."""
    assert expected == failing(findings)
