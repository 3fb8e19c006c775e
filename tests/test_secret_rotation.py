"""`picoauth secret`: a new root secret, while everything goes on (FK-2)."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import stat
import sys
import warnings
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from picoauth import (
    Auth,
    ConfigError,
    Place,
    Plugin,
    Sealed,
    Statement,
    Unavailable,
    exchange,
    parse,
    secretfile,
)
from picoauth.cli import cli
from picoauth.resealing import hanging
from picoauth.running import Unopened
from picoauth.secretfile import Held
from picoauth.sqlite import connect
from picoauth.testing import Clock, MailPlugin, Server, serving
from picoauth.testing.server import PASSWORD

SETTINGS = 'plugins = ["password", "totp", "post"]'
KINDS: Mapping[str, type[Plugin[Any]]] = {"post": MailPlugin}
FIRST = b"Zmlyc3QgcmFuZG9tIGJ5dGVzIG9mIGEgdGVzdCBrZXkuLi4="
SECOND = b"c2Vjb25kIHJhbmRvbSBieXRlcyBvZiB0aGVzZSB0ZXN0cyEh"
THIRD = b"dGhpcmQgcmFuZG9tIGJ5dGVzIG9mIHRoZXNlIHRlc3RzISEh"


def invoke(folder: Path, *words: str) -> Result:
    return CliRunner().invoke(cli, ["--config", str(folder / "picoauth.toml"), *words])


async def command(folder: Path, *words: str) -> str:
    """What a command says that does what it is asked."""
    result = await asyncio.to_thread(invoke, folder, *words)
    assert 0 == result.exit_code, result.output
    return result.output


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "picoauth.toml").write_text('plugins = ["password", "totp"]')
    (tmp_path / "picoauth.secret").touch(0o600)
    (tmp_path / "picoauth.secret").write_bytes(FIRST + b"\n")
    return tmp_path


def held(folder: Path) -> Held:
    return secretfile.parse((folder / "picoauth.secret").read_bytes().strip(), "it")


@pytest.mark.parametrize(
    "one",
    [
        Held(FIRST),
        Held(FIRST, SECOND),
        Held(FIRST, None, ((5, SECOND),)),
        Held(FIRST, SECOND, ((7, THIRD), (5, SECOND))),
    ],
)
def test_file_reads_as_it_was_written(one: Held) -> None:
    assert one == secretfile.parse(one.text.strip(), "it")
    assert [one.current, *one.values[1:]] == list(one.values)


@pytest.mark.parametrize("text", [b"line one\nline two", b"\x00\nnext", b"nextold old", FIRST])
def test_file_without_marks_is_one_secret(text: bytes) -> None:
    """What it was before there were marks, to the byte."""
    assert Held(text) == secretfile.parse(text, "it")


@pytest.mark.parametrize(
    "text",
    [
        b"next a",
        b"a\nb\nnext c",
        b"a\nnext b\nnext c",
        b"a\nold b",
        b"a\nold 5",
        b"a\nold x b",
        b"a\nold 5 b c",
    ],
)
def test_file_that_is_mixed_up(text: bytes) -> None:
    with pytest.raises(ConfigError) as caught:
        secretfile.parse(text, "file x")
    assert str(caught.value) == (
        "The secrets from file x are mixed up: write the one in use on a line of its own, "
        "at most one line `next SECRET`, and lines `old SECONDS SECRET`."
    )


@pytest.mark.parametrize("text", [FIRST + b"\nnext short", FIRST + b"\nold 5 short"])
def test_each_secret_of_a_file_is_checked(folder: Path, text: bytes) -> None:
    (folder / "picoauth.secret").write_bytes(text)
    with pytest.raises(ConfigError, match="is too short or too regular"):
        Auth(parse(SETTINGS, folder))


def test_two_steps(folder: Path) -> None:
    """Known first, used then; the file stays its owner's alone."""
    path = folder / "picoauth.secret"
    result = invoke(folder, "secret", "rotate")
    assert result.output == (
        f"The next root secret is in {path}; nothing uses it yet.\n"
        "Restart every server that uses this file, or a copy. Then run "
        f"`picoauth --config {folder / 'picoauth.toml'} secret rotate` again.\n"
    )
    known = held(folder)
    assert (FIRST, []) == (known.current, list(known.old))
    result = invoke(folder, "secret", "rotate")
    assert result.output == (
        f"The new root secret is the first in {path}. Restart every server.\n"
        "Within minutes they seal anew what the old one sealed; `picoauth doctor` counts it.\n"
    )
    used = held(folder)
    assert (known.next, None, FIRST) == (used.current, used.next, used.old[0][1])
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)


def test_one_step(folder: Path) -> None:
    invoke(folder, "secret", "rotate", "--now")
    assert [FIRST] == [each for _, each in held(folder).old]
    assert held(folder).next is None


def test_link_is_followed(folder: Path) -> None:
    (folder / "there").mkdir()
    real = (folder / "picoauth.secret").rename(folder / "there" / "real")
    (folder / "picoauth.secret").symlink_to(real)
    assert 0 == invoke(folder, "secret", "rotate").exit_code
    assert (folder / "picoauth.secret").is_symlink()
    assert held(folder).next is not None


@pytest.mark.parametrize("text", [bytes(range(128, 200)), FIRST + b"\n" + SECOND])
def test_secret_that_is_no_line(folder: Path, text: bytes) -> None:
    path = folder / "picoauth.secret"
    path.write_bytes(text)
    result = invoke(folder, "secret", "rotate")
    assert 2 == result.exit_code
    assert result.output == (
        f"picoauth: The secret from file {path} is more than a line of text: write a new one into "
        "another file, and name that before it in `secret`.\n"
    )
    assert text == path.read_bytes()


def test_secret_of_the_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOT", FIRST.decode())
    (folder / "picoauth.toml").write_text('plugins = ["password"]\nsecret = { env = "ROOT" }')
    for verb in ("rotate", "forget"):
        result = invoke(folder, "secret", verb)
        assert 2 == result.exit_code
        assert result.output == (
            "picoauth: The secret comes from env ROOT: list a new one behind it in `secret`, "
            "restart every server, list it first, and restart them again.\n"
        )


def test_folder_that_cannot_be_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "replace", refuse)
    result = invoke(folder, "secret", "rotate")
    assert 2 == result.exit_code
    assert result.output == (
        f"picoauth: {folder / 'picoauth.secret'} cannot be written anew: Permission denied"
        ". Run this as the user that owns its folder.\n"
    )
    assert [] == list(folder.glob(".picoauth.secret*"))
    assert FIRST == held(folder).current


def test_file_stays_its_owners(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "geteuid", lambda: -1)
    monkeypatch.setattr(os, "fchown", lambda _, *owner: given.append(owner))
    owner = (folder / "picoauth.secret").stat()
    assert 0 == invoke(folder, "secret", "rotate").exit_code
    assert [(owner.st_uid, owner.st_gid)] == given


def killed(after: int, folder: Path) -> bool:
    """Whether the command was killed at that step; in a process that is forked off."""
    with warnings.catch_warnings(action="ignore"):
        child = os.fork()
    if child == 0:
        left = after

        def step(event: str, args: tuple[Any, ...]) -> None:
            nonlocal left
            moved = event in ("os.rename", "os.remove", "fcntl.flock")
            if moved or (event == "open" and "picoauth.secret" in str(args[0])):
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(step)
        os._exit(invoke(folder, "secret", "rotate").exit_code)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, -signal.SIGKILL)
    return status != 0


@pytest.mark.parametrize("before", [Held(FIRST), Held(FIRST, SECOND)])
def test_killed_at_every_step(folder: Path, before: Held) -> None:
    """The file is the old or the new one; a second run goes on, and leaves nothing of the first."""
    for after in count():
        (folder / "picoauth.secret").write_bytes(before.text)
        dead = killed(after, folder)
        one = held(folder)
        assert FIRST in one.values
        assert one == before or len(one.values) == 2
        assert 0 == invoke(folder, "secret", "rotate").exit_code
        assert [] == list(folder.glob(".picoauth.secret*"))
        assert FIRST in held(folder).values
        if not dead:
            break
    assert after > 3


async def reseal(server: Server) -> None:
    """What the jobs do within minutes."""
    for job in server.auth.jobs.jobs:
        if job.name in ("reseal", "totp-reseal"):
            await job.run()


async def queue(server: Server) -> None:
    """A message that waits."""
    await server.auth.database.write(
        server.auth.outbox.rows.queuing(
            "nothing", f"m{os.urandom(4).hex()}", b"x", about="", expires_at=2**33, user_id=None
        )
    )


async def test_everything_is_sealed_anew(folder: Path) -> None:
    """Then the old secret may go, as soon as nobody's password hangs on it, and no session."""
    clock = Clock()
    async with serving(folder, SETTINGS, plugins=KINDS, clock=clock) as server:
        someone = await server.join("password", "totp")
        await queue(server)
        assert [] == [job for job in server.auth.jobs.jobs if job.name == "reseal"]
    await command(folder, "secret", "rotate", "--now")
    clock.advance(120)
    async with serving(folder, SETTINGS, plugins=KINDS, clock=clock) as server:
        object.__setattr__(someone, "server", server)
        assert {"signing keys", "messages", "passwords", "authenticators"} == set(
            await hanging(server.auth)
        )
        [check] = [check for check in server.auth.checks if check.name == "older-secrets"]
        assert (await check.run() or "").startswith("On older root secrets hang ")
        await reseal(server)
        assert {"passwords": 1} == dict(await hanging(server.auth))
        await someone.login("password", "totp")
        assert {} == await hanging(server.auth)
        assert await check.run() == (
            "Nothing hangs on an older root secret: `picoauth secret forget` drops it when it may."
        )
    result = await asyncio.to_thread(invoke, folder, "secret", "forget")
    assert 2 == result.exit_code
    assert result.output.startswith("picoauth: Sessions from before ")
    assert " may hang on the old secrets until " in result.output
    assert result.output.endswith(": wait, or end them now with --yes.\n")
    await command(folder, "secret", "forget", "--yes")
    assert () == tuple(held(folder).old)
    clock.advance(120)
    async with serving(folder, SETTINGS, plugins=KINDS, clock=clock) as server:
        object.__setattr__(someone, "server", server)
        await someone.login("password", "totp")


async def test_no_session_ends(folder: Path) -> None:
    """Cookies, access and refresh tokens from before are good while the old secret is known."""
    own = {"username": "ann", "password": PASSWORD}
    async with serving(folder) as server:
        await server.register()
        tokens = await server.login()
        body, page = {**own, "session": "cookie"}, {"Sec-Fetch-Site": "same-origin"}
        answer = await server.client.post("/auth/login", json=body, headers=page)
        cookie = {"Cookie": answer.headers["set-cookie"].partition(";")[0]}
    await command(folder, "secret", "rotate", "--now")
    async with serving(folder) as server:
        asked = [
            server.client.get("/auth/session", headers=cookie),
            server.get("/auth/session", token=tokens["access_token"]),
            server.post("/jwt/refresh", token=tokens["refresh_token"]),
        ]
        assert [200, 200, 200] == [(await each).status_code for each in asked]


async def test_forgets_nothing_that_is_needed(folder: Path) -> None:
    """Not even with --yes: the password would be lost."""
    async with serving(folder, 'plugins = ["password", "totp"]') as server:
        await server.register()
    result = await asyncio.to_thread(invoke, folder, "secret", "forget")
    assert result.output == (
        f"picoauth: There is no old secret in {folder / 'picoauth.secret'}"
        ": nothing is to be forgotten.\n"
    )
    await command(folder, "secret", "rotate", "--now")
    result = await asyncio.to_thread(invoke, folder, "secret", "forget", "--yes")
    assert 2 == result.exit_code
    assert {"passwords (1)", "signing keys (1)"} == set(
        result.output.removeprefix("picoauth: On the old secrets hang ")
        .removesuffix(
            ": let the server run, which seals anew what it can, and let users log in, or set who "
            "comes no more another password.\n"
        )
        .split(", ")
    )
    assert [FIRST] == [each for _, each in held(folder).old]


async def test_rotation_while_it_forgets(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What became old after the look stays: everything is sealed with it."""
    async with serving(folder, 'plugins = ["password"]'):
        pass
    await command(folder, "secret", "rotate", "--now")
    before = held(folder)

    def looking(*_: Any) -> None:
        after = replace(before, current=b"n" * 32, old=[(7, before.current), *before.old])
        (folder / "picoauth.secret").write_bytes(after.text)

    monkeypatch.setattr("picoauth.secret_cli.run", looking)
    await command(folder, "secret", "forget")
    assert [before.current] == [each for _, each in held(folder).old]


async def test_retired_names_hang_on_it(folder: Path) -> None:
    """Without it they would be free for somebody else: only who says so frees them."""
    async with serving(folder, 'plugins = ["password", "totp"]') as server:
        sql = "insert into retired_names (hash, retired_at) values (?, 5)"
        await server.auth.database.write(Statement(sql, (b"-",)))
    await command(folder, "secret", "rotate", "--now")
    one = held(folder)
    aged = replace(one, old=[(6, FIRST)])
    (folder / "picoauth.secret").write_bytes(aged.text)
    async with serving(folder, 'plugins = ["password", "totp"]') as server:
        await reseal(server)
    result = await asyncio.to_thread(invoke, folder, "secret", "forget")
    assert result.output == (
        "picoauth: Retired names (1) may be known by the old secrets alone, and free without them: "
        "keep them, or free the names with --yes.\n"
    )
    assert "Dropped 1 from " in await command(folder, "secret", "forget", "--yes")


async def test_what_does_not_open_is_left(folder: Path) -> None:
    """Whoever reads it says so; the rows beside it are sealed anew."""
    async with serving(folder, SETTINGS, plugins=KINDS) as server:
        await queue(server)
        await queue(server)
        altered = "update outbox set sealed = substr(sealed, 1, 100) where id = (select min(id) from outbox)"
        await server.auth.database.write(Statement(altered, rows=1))
    await command(folder, "secret", "rotate", "--now")
    async with serving(folder, SETTINGS, plugins=KINDS) as server:
        await reseal(server)
        assert {"messages": 1} == dict(await hanging(server.auth))


async def test_row_that_changes_meanwhile_stays(folder: Path) -> None:
    """A message that was sent between reading and writing does not come back."""
    async with serving(folder, SETTINGS, plugins=KINDS) as server:
        await queue(server)
    await command(folder, "secret", "rotate", "--now")
    async with serving(folder, SETTINGS, plugins=KINDS) as server:
        column = Sealed(server.auth, "outbox")
        [(one, sealed)] = await server.auth.database.read("select id, sealed from outbox")
        late = column.resealing(one, one, sealed)
        await server.auth.database.write(Statement("update outbox set sealed = null"), *late)
        assert [(None,)] == await server.auth.database.read("select sealed from outbox")


async def test_restarted_one_after_the_other(folder: Path) -> None:
    """Between the two steps, and after the second, each opens what the other one sealed."""
    clock, numbers = Clock(), count(1)

    async def each_for_the_other(one: Server, other: Server) -> None:
        for server, beside in ((one, other), (other, one)):
            object.__setattr__(server, "numbers", numbers)
            someone = await server.join("password", "totp")
            tokens = await someone.login("password", "totp")
            clock.advance(60)
            object.__setattr__(someone, "server", beside)
            assert (await someone.login("password", "totp"))["access_token"]
            answer = await beside.post("/jwt/refresh", token=tokens["refresh_token"])
            assert 200 == answer.status_code

    for _ in range(3):  # the first step, the second, and the first of the next rotation
        async with AsyncExitStack() as stack:
            late = await stack.enter_async_context(
                serving(folder, SETTINGS, plugins=KINDS, clock=clock)
            )
            if len(late.auth.secrets.roots) > 1:
                await reseal(late)
            await command(folder, "secret", "rotate")
            early = await stack.enter_async_context(
                serving(folder, SETTINGS, plugins=KINDS, clock=clock)
            )
            await reseal(early)
            await each_for_the_other(early, late)


RESEALING = """
import asyncio, os, signal, sys
from pathlib import Path
from picoauth import Auth, load, resealing
from picoauth.groupcommit import GroupCommit
resealing.BATCH, left = 3, int(sys.argv[2])
async def work():
    auth = Auth(load(Path(sys.argv[1])), clock=lambda: float(sys.argv[3]))
    async with auth.started():
        attempt = GroupCommit.attempt
        def dying(self, waiting, bounds):
            global left
            attempt(self, waiting, bounds)
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        GroupCommit.attempt = dying
        print("resealing", flush=True)
        for job in auth.jobs.jobs:
            if job.name in ("reseal", "totp-reseal"):
                await job.run()
asyncio.run(work())
"""


@pytest.mark.embedded
async def test_killed_while_it_seals_anew(folder: Path) -> None:
    """Twenty rotations, each killed half-way, under load: no login fails, every row is readable."""
    clock, chance = Clock(), random.Random(2)  # noqa: S311 - no secret
    settings = 'plugins = ["password", "totp"]'
    logins, deaths = 0, 0
    async with serving(folder, settings, clock=clock) as server:
        people = [await server.join("password", "totp") for _ in range(2)]
        for _ in range(15):
            await queue(server)
    for number in range(20):
        await command(folder, "secret", "rotate")
        async with serving(folder, settings, clock=clock) as server:  # knows the next one
            for someone in people:
                object.__setattr__(someone, "server", server)
            await command(folder, "secret", "rotate")
            child = await asyncio.create_subprocess_exec(
                sys.executable, "-c", RESEALING, str(folder / "picoauth.toml"),
                str(chance.randint(1, 6)), str(clock()), stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            assert child.stdout is not None
            assert b"resealing\n" == await child.stdout.readline()
            ended = asyncio.create_task(child.wait())
            while not ended.done() or not logins > 2 * number:
                clock.advance(60)
                for someone in people:
                    assert (await someone.login("password", "totp"))["access_token"]
                    logins += 1
            deaths += ended.result() == -signal.SIGKILL
            await readable(server)
    assert deaths >= 15
    async with serving(folder, settings, clock=clock) as server:
        await reseal(server)
        assert {"passwords"} >= set(await hanging(server.auth))
        await readable(server)
        clock.advance(60)
        for someone in people:
            object.__setattr__(someone, "server", server)
            await someone.login("password", "totp")
        assert {} == await hanging(server.auth)


async def readable(server: Server) -> None:
    """Every sealed value opens where it stands."""
    for table, row in (
        ("outbox", "id"),
        ("signing_keys", "id || ' ' || algorithm"),
        ("totp", "enrolment_id || ' ' || user_id"),
    ):
        found = await server.auth.database.read(f"select {row}, sealed from {table}")
        assert found
        for one, sealed in found:
            assert server.auth.secrets.open(Place(table, "sealed", one), sealed)


def test_no_database_is_exchanged(tmp_path: Path) -> None:
    """What is not there has nothing in its place."""
    path = tmp_path / "picoauth.db"
    with pytest.raises(ConfigError) as caught:
        exchange(path, connect, lambda *_: None, now=0, keep=False)
    assert (
        str(caught.value) == f"There is no database {path} yet: start the server, which makes it."
    )
    assert [] == list(tmp_path.iterdir())


async def test_command_of_no_database(tmp_path: Path) -> None:
    """It has an `Auth` whose database answers nothing."""
    auth = Unopened(parse('plugins = ["password"]', tmp_path))
    for asked in (auth.database.read("select 1"), auth.database.write(Statement("select 1"))):
        with pytest.raises(Unavailable, match="the database is not open"):
            await asked
    await auth.database.close()
    assert not (tmp_path / "picoauth.db").exists()
