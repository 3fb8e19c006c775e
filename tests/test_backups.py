"""Backups: whole and consistent while the server writes; put back, they revive nothing."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import stat
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, closing, suppress
from functools import partial
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from picoauth import (
    Auth,
    BackupRestored,
    Caller,
    Config,
    ConfigError,
    Database,
    Embedded,
    Event,
    NoSettings,
    Plugin,
    hookimpl,
    parse,
)
from picoauth.backups import backup, check, restore
from picoauth.cli import cli
from picoauth.discovery import installed
from picoauth.testing import Clock, MailPlugin, Server, serving
from picoauth.testing.server import PASSWORD, offer
from tests.accounts import login, user_id
from tests.factors import join
from tests.keepers import Shelf
from tests.test_kept_sessions import SETTINGS, plugins

ALL = 'plugins = ["password", "totp", "recovery", "passkey", "magic-link", "post"]'
KINDS: Mapping[str, type[Plugin[Any]]] = {"post": MailPlugin}


@asynccontextmanager
async def running(
    folder: Path, settings: str = ALL, clock: Clock | None = None
) -> AsyncIterator[Server]:
    async with serving(folder, settings, plugins=KINDS, clock=clock) as server:
        yield server


async def restored(folder: Path, clock: Clock, settings: str = ALL) -> Path | None:
    """Put the backup of the folder back."""
    return await restore(parse(settings, folder), folder / "backup.db", making(clock))


def making(
    clock: Clock, kinds: Mapping[str, type[Plugin[Any]]] = KINDS
) -> Callable[[Config], Auth]:
    found = [*installed(), *(offer(name, kind) for name, kind in kinds.items())]
    return partial(Auth, found=found, clock=clock, monotonic=clock)


async def test_every_factor_goes_on(tmp_path: Path) -> None:
    """After a restore everybody logs in by what they have, but for recovery codes."""
    clock = Clock()
    async with running(tmp_path, clock=clock) as server:
        people = {name: await server.join("password", name) for name in ("totp", "passkey")}
        linked = await server.join("magic-link")
        await backup(server.auth, tmp_path / "backup.db")
    await restored(tmp_path, clock)
    clock.advance(120)
    async with running(tmp_path, clock=clock) as server:
        for someone in (*people.values(), linked):
            object.__setattr__(someone, "server", server)
            assert (await someone.login())["access_token"]


async def test_nothing_handed_out_is_good(tmp_path: Path) -> None:
    """Tokens, flows, links: from before the backup or from after it, all are void (D-6)."""
    clock = Clock()
    async with running(tmp_path, clock=clock) as server:
        someone = await server.join("password", "totp", "recovery")
        before = await someone.login("password", "totp")
        _, taking = server.auth.tickets.issue("x", {}, expires_at=server.auth.now() + 600)
        await server.auth.database.write(taking)
        await backup(server.auth, tmp_path / "backup.db")
        clock.advance(60)
        after = await someone.login("password", "totp")
    await restored(tmp_path, clock)
    async with running(tmp_path, clock=clock) as server:
        for tokens in (before, after):
            validated = await server.post("/jwt/validate", token=tokens["access_token"])
            refreshed = await server.post("/jwt/refresh", token=tokens["refresh_token"])
            assert [401, 401] == [validated.status_code, refreshed.status_code]
        rows = await server.auth.database.read(
            "select (select count(*) from tickets), (select count(*) from sessions), "
            "(select count(*) from recovery)"
        )
        assert [(0, 0, 0)] == rows


async def test_stateless_tokens_are_void(tmp_path: Path) -> None:
    """They are checked without the database: what they are signed by is another key then."""
    settings = 'plugins = ["password"]\n[tokens]\nrefresh = "stateless"'
    clock = Clock()
    async with running(tmp_path, settings, clock) as server:
        await server.register()
        await backup(server.auth, tmp_path / "backup.db")
        tokens = await server.login()
    await restored(tmp_path, clock, settings)
    async with running(tmp_path, settings, clock) as server:
        answer = await server.post("/jwt/refresh", token=tokens["refresh_token"])
        assert 401 == answer.status_code
        fresh = await server.login()
        answer = await server.post("/jwt/refresh", token=fresh["refresh_token"])
        assert 200 == answer.status_code


async def test_kept_sessions_are_over(tmp_path: Path) -> None:
    """A store elsewhere was not restored: what it keeps from before counts no more."""
    shelf, clock = Shelf(), Clock()
    settings, kinds = SETTINGS, plugins(shelf)
    async with serving(tmp_path, settings, plugins=kinds, clock=clock) as server:
        await join(server)
        await backup(server.auth, tmp_path / "backup.db")
        tokens = await login(server)
        [before] = await server.auth.sessions.list(await user_id(server))
    make = making(clock, kinds)
    await restore(parse(settings, tmp_path), tmp_path / "backup.db", make)
    clock.advance(1)
    async with serving(tmp_path, settings, plugins=kinds, clock=clock) as server:
        assert await shelf.list(before.user_id)
        answer = await server.post("/jwt/refresh", token=tokens["refresh_token"])
        assert (401, None) == (answer.status_code, await server.auth.sessions.get(before.id))
        await login(server)
        assert 1 == len(await server.auth.sessions.list(await user_id(server)))


async def test_codes_of_the_minute_are_spent(tmp_path: Path) -> None:
    """Which of them were used since the backup was made is not known (O-3)."""
    clock = Clock()
    async with running(tmp_path, clock=clock) as server:
        someone = await server.join("password", "totp")
        await backup(server.auth, tmp_path / "backup.db")
    await restored(tmp_path, clock)
    async with running(tmp_path, clock=clock) as server:
        object.__setattr__(someone, "server", server)
        first = await someone.prove("password")
        answer = await someone.prove("totp", first.json()["flow"])
        assert 401 == answer.status_code


async def test_mail_codes_and_waiting_mail_are_void(tmp_path: Path) -> None:
    """What waited to be sent may have been sent since, with a link that is void now."""
    clock, settings = Clock(), 'plugins = ["password", "email", "post"]'
    async with running(tmp_path, settings, clock) as server:
        body = {"username": "ann", "password": PASSWORD, "email": "ann@example.com"}
        assert 201 == (await server.post("/auth/register", body)).status_code
        await backup(server.auth, tmp_path / "backup.db")
    await restored(tmp_path, clock, settings)
    async with running(tmp_path, settings, clock) as server:
        rows = await server.auth.database.read(
            "select (select count(*) from email_codes), (select count(*) from outbox)"
        )
        assert [(0, 0)] == rows


async def test_what_is_told(tmp_path: Path) -> None:
    """A restore is an event, of whoever runs the command."""
    told: list[BackupRestored] = []

    class Listening(Plugin[NoSettings]):
        @hookimpl
        def record(self, event: Event) -> None:
            if isinstance(event, BackupRestored):
                told.append(event)

    clock, settings = Clock(), 'plugins = ["password", "listening"]'
    kinds = {"listening": Listening}
    async with serving(tmp_path, settings, plugins=kinds, clock=clock) as server:
        await backup(server.auth, tmp_path / "backup.db")
    await restore(parse(settings, tmp_path), tmp_path / "backup.db", making(clock, kinds))
    assert [(clock(), Caller.local().actor)] == [(one.at, one.caller.actor) for one in told]


async def test_backup_while_it_writes(tmp_path: Path) -> None:
    """The copy is one moment: of each write all or nothing is in it, and it is the owner's alone."""
    async with running(tmp_path) as server:
        users = server.auth.users
        drafts = [users.draft(username=f"user{number}") for number in range(200)]
        joining = [asyncio.create_task(users.register(draft)) for draft in drafts]
        for number in range(5):
            await backup(server.auth, tmp_path / f"{number}.db")
        await asyncio.gather(*joining)
    for number in range(5):
        file = tmp_path / f"{number}.db"
        assert 0o600 == stat.S_IMODE(file.stat().st_mode)
        with closing(sqlite3.connect(file)) as copy:
            [found] = copy.execute(
                "select count(*) from users u where not exists"
                " (select 1 from identifiers i where i.user_id = u.id)"
            )
            assert ([("ok",)], (0,)) == (list(copy.execute("pragma integrity_check")), found)
    assert [] == [name for name in files(tmp_path) if name.startswith(".")]


async def test_backup_never_overwrites(tmp_path: Path) -> None:
    """A file that is there stays as it is, and nothing is left beside it."""
    (tmp_path / "backup.db").write_text("mine")
    async with running(tmp_path) as server:
        with pytest.raises(ConfigError) as caught:
            await backup(server.auth, tmp_path / "backup.db")
        with pytest.raises(ConfigError) as nowhere:
            await backup(server.auth, tmp_path / "none" / "backup.db")
    path = tmp_path / "backup.db"
    assert f"{path} exists already: name another file." == str(caught.value)
    assert (
        f"{tmp_path / 'none' / 'backup.db'} cannot be written: No such file or directory. "
        "Choose a folder that this user may write, with room."
    ) == str(nowhere.value)
    assert "mine" == path.read_text()


async def test_backup_of_a_damaged_database(tmp_path: Path) -> None:
    """Not the place of the copy is to blame."""
    file = tmp_path / "picoauth.db"
    with closing(sqlite3.connect(file)) as database:
        database.execute("create table t (id integer primary key, name text)")
        database.executemany("insert into t (name) values (?)", [("x" * 500,)] * 100)
        database.commit()
    whole = file.read_bytes()
    file.write_bytes(whole[:8192].ljust(len(whole), b"\xff"))
    auth: Any = SimpleNamespace(database=Embedded(file))
    with pytest.raises(ConfigError) as caught:
        await backup(auth, tmp_path / "backup.db")
    await auth.database.close()
    assert (
        f"{tmp_path / 'backup.db'} cannot be written: the database file is damaged "
        "(SQLITE_CORRUPT), and a backup has to replace it."
    ) == str(caught.value)
    assert not (tmp_path / "backup.db").exists()


async def test_restore_while_the_server_runs(tmp_path: Path) -> None:
    """Whoever has the database open would go on writing into the old one: so it is refused."""
    clock = Clock()
    async with running(tmp_path, clock=clock) as server:
        await server.join("password")
        await backup(server.auth, tmp_path / "backup.db")
        with pytest.raises(ConfigError) as caught:
            await restored(tmp_path, clock)
        assert (
            f"{tmp_path / 'picoauth.db'} is in use: stop the server, and whatever else has it open."
        ) == str(caught.value)
        assert (await (await server.join("password")).login())["access_token"]
    assert ["backup.db", "picoauth.db", "picoauth.secret"] == files(tmp_path)


def files(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


async def test_the_old_one_goes_aside(tmp_path: Path) -> None:
    """Nothing is lost by restoring the wrong file: the database from before is beside it."""
    clock = Clock()
    async with running(tmp_path, clock=clock) as server:
        await backup(server.auth, tmp_path / "backup.db")
        await server.join("password", username="late")
    aside = await restored(tmp_path, clock)
    assert tmp_path / "picoauth.db.20270115T080000Z" == aside
    assert not aside.with_name(f"{aside.name}-journal").exists()
    with closing(sqlite3.connect(aside)) as old:
        assert [("late",)] == list(old.execute("select value from identifiers"))
    async with running(tmp_path, clock=clock) as server:
        assert None is await server.auth.users.named("late")
    again = await restored(tmp_path, clock)
    assert tmp_path / "picoauth.db.20270115T080000Z-2" == again


async def test_restore_by_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It belongs to whom the old one did, and a link still leads to it."""
    clock = Clock()
    async with running(tmp_path, clock=clock) as server:
        await backup(server.auth, tmp_path / "backup.db")
    (tmp_path / "disk").mkdir()
    old = (tmp_path / "picoauth.db").rename(tmp_path / "disk" / "picoauth.db")
    (tmp_path / "picoauth.db").symlink_to(old)
    given: list[tuple[int, int]] = []
    owner = old.stat()
    monkeypatch.setattr("os.geteuid", lambda: owner.st_uid + 1)
    monkeypatch.setattr("os.chown", lambda _, *ids: given.append(ids))
    await restored(tmp_path, clock)
    assert [(owner.st_uid, owner.st_gid)] == given
    assert (tmp_path / "picoauth.db").is_symlink()
    assert owner.st_ino != old.stat().st_ino


async def test_restore_after_one_of_a_clock_that_was_ahead(tmp_path: Path) -> None:
    """Each counts: what was handed out between the two is void after the second."""
    clock = Clock()
    async with running(tmp_path, clock=clock) as server:
        await backup(server.auth, tmp_path / "backup.db")
    clock.advance(1000)
    await restored(tmp_path, clock)
    (tmp_path / "backup.db").unlink()
    clock.advance(-1000)
    async with running(tmp_path, clock=clock) as server:
        first = server.auth.revocations.restored_at
        await backup(server.auth, tmp_path / "backup.db")
    await restored(tmp_path, clock)
    async with running(tmp_path, clock=clock) as server:
        assert first + 1 == server.auth.revocations.restored_at


async def test_restore_to_a_new_machine(tmp_path: Path) -> None:
    """With the backup and the secret, and nothing else; without the secret it is refused."""
    there, clock = tmp_path / "there", Clock()
    there.mkdir()
    async with running(tmp_path, clock=clock) as server:
        someone = await server.join("password")
        await backup(server.auth, there / "backup.db")
    with pytest.raises(ConfigError) as caught:
        await restored(there, clock)
    assert "picoauth.secret is missing, but the database" in caught.value.problems[0]
    assert ["backup.db"] == files(there)
    (tmp_path / "picoauth.secret").rename(there / "picoauth.secret")
    assert None is await restored(there, clock)
    async with running(there, clock=clock) as server:
        object.__setattr__(someone, "server", server)
        assert (await someone.login())["access_token"]


async def test_restore_in_the_place_of_a_broken_one(tmp_path: Path) -> None:
    """What the damaged database had in its log goes aside with it, and into no other."""
    clock = Clock()
    async with running(tmp_path, clock=clock) as server:
        someone = await server.join("password")
        await backup(server.auth, tmp_path / "backup.db")
    (tmp_path / "picoauth.db").write_bytes(b"rubbish" * 999)
    (tmp_path / "picoauth.db-wal").write_bytes(b"more of it")
    aside = await restored(tmp_path, clock)
    assert aside
    assert b"more of it" == aside.with_name(f"{aside.name}-wal").read_bytes()
    async with running(tmp_path, clock=clock) as server:
        object.__setattr__(someone, "server", server)
        assert (await someone.login())["access_token"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"rubbish" * 999, "cannot be opened as a database: file is not a database"),
        (None, "cannot be read: No such file or directory."),
    ],
)
async def test_what_is_no_backup(tmp_path: Path, content: bytes | None, said: str) -> None:
    """It is said, and the database stays as it is."""
    clock = Clock()
    async with running(tmp_path, clock=clock) as server:
        await server.join("password")
    if content is not None:
        (tmp_path / "backup.db").write_bytes(content)
    before = (tmp_path / "picoauth.db").read_bytes()
    with pytest.raises(ConfigError) as caught:
        await restored(tmp_path, clock)
    assert said in caught.value.problems[0]
    assert before == (tmp_path / "picoauth.db").read_bytes()


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (
            4096,
            "The backup is damaged: Page 2: btreeInitPage() returns error code 11. Take another one.",
        ),
        (0, "{}/backup.db cannot be opened as a database: "),
    ],
)
async def test_damaged_backup(tmp_path: Path, place: int, said: str) -> None:
    """Pages that were altered are found before anything is replaced."""
    clock = Clock()
    async with running(tmp_path, clock=clock) as server:
        for _ in range(20):
            await server.join("password")
        await backup(server.auth, tmp_path / "backup.db")
    pages = bytearray((tmp_path / "backup.db").read_bytes())
    pages[place : place + 4096 or None] = bytes(4096)
    (tmp_path / "backup.db").write_bytes(pages)
    with pytest.raises(ConfigError) as caught:
        await restored(tmp_path, clock)
    assert str(caught.value).startswith(said.format(tmp_path))


async def test_a_live_database_is_no_backup(tmp_path: Path) -> None:
    """Without its log it is not whole."""
    clock = Clock()
    async with running(tmp_path, clock=clock):
        config = parse(ALL, tmp_path)
        with pytest.raises(ConfigError) as caught:
            await restore(config, tmp_path / "picoauth.db", making(clock))
    assert (
        f"{tmp_path / 'picoauth.db'} is a database that is in use, and no backup: "
        "make one by `picoauth backup`."
    ) == str(caught.value)


class Elsewhere(Plugin[NoSettings]):
    """Speaks to a server, as it says."""

    @hookimpl
    def database(self, url: str) -> Database | None:
        return Remote(self.auth.config.base / "there.db") if "://" in url else None


class Remote:
    """A database of which nobody here knows the file."""

    def __init__(self, path: Path) -> None:
        there = Embedded(path)
        self.read, self.write, self.close = there.read, there.write, there.close


async def test_database_of_a_server(tmp_path: Path) -> None:
    """Its own tools back it up."""
    (tmp_path / "picoauth.secret").write_bytes(os.urandom(64))
    (tmp_path / "picoauth.secret").chmod(0o600)
    settings = 'plugins = ["password", "elsewhere"]\ndatabase = "toy://here"'
    async with serving(tmp_path, settings, plugins={"elsewhere": Elsewhere}) as server:
        with pytest.raises(ConfigError) as caught:
            await backup(server.auth, tmp_path / "backup.db")
    assert (
        "The database toy://here is no file: make and restore backups of it by its own means."
    ) == str(caught.value)
    with pytest.raises(ConfigError) as caught:
        await restore(parse(settings, tmp_path), tmp_path / "backup.db", Auth)
    assert ("The database toy://here is no file: restore it by its own means.") == str(caught.value)


@pytest.mark.parametrize("number", range(1, 12))
async def test_restore_that_fails_half_way(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever call of the system fails: there is the old database or the new one, and it works."""
    clock = Clock()
    async with running(tmp_path, clock=clock) as server:
        someone = await server.join("password")
        await backup(server.auth, tmp_path / "backup.db")
    calls = count(1)

    def failing(real: Any) -> Any:
        def call(*args: Any, **more: Any) -> Any:
            if next(calls) == number:
                raise OSError(28, "No space left on device")
            return real(*args, **more)

        return call

    with monkeypatch.context() as patch, suppress(ConfigError):
        for name in ("link", "replace", "rename", "fsync", "open"):
            patch.setattr(os, name, failing(getattr(os, name)))
        patch.setattr("shutil.copyfile", failing(shutil.copyfile))
        await restored(tmp_path, clock)
    assert [] == [name for name in files(tmp_path) if name.startswith(".")]
    async with running(tmp_path, clock=clock) as server:
        object.__setattr__(someone, "server", server)
        assert (await someone.login())["access_token"]


def test_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an operator types, and reads."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "picoauth.toml").write_text('plugins = ["password"]')
    runner = CliRunner()
    made = runner.invoke(cli, ["backup", "copy.db"])
    assert (0, "Wrote copy.db. The root secret is not in it: keep that in another place.\n") == (
        made.exit_code,
        made.output,
    )
    kept = runner.invoke(cli, ["restore", "copy.db"], input="n\n")
    assert 1 == kept.exit_code
    for more in ([], ["--yes"]):  # nobody is asked about what is not there
        absent = runner.invoke(cli, ["restore", "none.db", *more])
        said = "picoauth: none.db cannot be read: No such file or directory.\n"
        assert (2, said) == (absent.exit_code, absent.output)
    done = runner.invoke(cli, ["restore", "copy.db", "--yes"])
    first, second = done.output.splitlines()
    assert "Restored copy.db. Everybody has to log in again." == first
    assert second.startswith(f"The database from before is {tmp_path}/picoauth.db.2")
    (tmp_path / "picoauth.db").unlink()
    again = runner.invoke(cli, ["restore", "copy.db", "--yes"])
    assert "Restored copy.db. Everybody has to log in again.\n" == again.output


def test_damage_that_ends_the_look(tmp_path: Path) -> None:
    """SQLite may give up over what it finds; then that is said."""

    def connect(_: str) -> Any:
        raise sqlite3.DatabaseError("database disk image is malformed")

    database: Any = SimpleNamespace(connect=connect)
    with pytest.raises(ConfigError, match="is damaged: database disk image is malformed"):
        check(database, tmp_path / "backup.db")
