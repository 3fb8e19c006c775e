"""Whole processes: how they start, stop, and are refused; and the application on its listeners."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from picoauth import NoSettings, Plugin, Reply, Request, Route, hookimpl
from picoauth.app import Application
from picoauth.auth import Auth
from picoauth.config import parse
from picoauth.discovery import installed
from picoauth.listeners import Bind
from picoauth.testing.server import offer
from tests.wire import CLOSE, GET, POST, SOON, asked, client, files, serving, short_folder, until

ROOT = Path(__file__).parent.parent
SIGNALS = [signal.SIGTERM, signal.SIGINT]
PATIENT: dict[str, float] = {"settle": 0, "grace": 60, "linger": 60, "exit": 60}
"""A stop that takes as long as a request does."""


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_folder() as made:
        yield made


@asynccontextmanager
async def started(
    *command: str, lines: int = 1, pass_fds: Sequence[int] = ()
) -> AsyncIterator[tuple[Process, list[str]]]:
    """A process that is up when it has printed so many lines; killed if it is still there."""
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, stdout=PIPE, stderr=PIPE, pass_fds=pass_fds
    )
    try:
        yield process, [await line(process) for _ in range(lines)]
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def line(process: Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(SOON):
        return (await process.stdout.readline()).decode().rstrip("\n")


async def ended(process: Process) -> tuple[int | None, str]:
    """The exit code, and what was said on stderr."""
    async with asyncio.timeout(SOON):
        _, errors = await process.communicate()
    return process.returncode, errors.decode()


def probe(limits: Mapping[str, float], *addresses: str, how: str = "ends") -> list[str]:
    """The command that serves a probe."""
    return [sys.executable, "-m", "tests.probe", json.dumps(limits), how, *addresses]


async def stop(process: Process, number: signal.Signals = signal.SIGTERM) -> None:
    """Ask a probe to stop, and wait until it knows."""
    process.send_signal(number)
    assert "stopping" == await line(process)


@pytest.mark.parametrize("how", ["ends", "whole"])
@pytest.mark.parametrize("number", SIGNALS)
async def test_stop(folder: Path, number: signal.Signals, how: str) -> None:
    """What is in flight is finished, what is idle is closed, and nobody new is let in."""
    address = f"unix:{folder}/s"
    async with (
        started(*probe(PATIENT, address, "tcp:127.0.0.1:0", how=how)) as (process, [up]),
        client(address) as body,
        client(up.split()[1]) as header,
        client(address) as idle,
        client(address) as silent,
    ):
        await body.tell(POST % b"/" + b"Content-Length: 6\r\n\r\nabc")
        await header.tell(GET[:20])
        await idle.tell(GET)
        assert 200 == (await idle.answer())[0]
        await stop(process, number)
        assert [b"", b""] == [await idle.rest(), await silent.rest()]
        assert [] == files(folder)
        with pytest.raises(ConnectionRefusedError):
            await asked(up.split()[1], CLOSE)
        await body.tell(b"def")
        await header.tell(GET[20:])
        for answer in (await body.rest(), await header.rest()):
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert b"\r\nconnection: close\r\n" in answer
        for each in (body, header):
            each.writer.close()
        assert (0, "") == await ended(process)


async def test_stop_lets_in_what_is_underway(folder: Path) -> None:
    """A request that crosses with the stop is answered, and told that it is the last."""
    limits = {**PATIENT, "settle": 60}
    async with (
        started(*probe(limits, f"unix:{folder}/s")) as (process, [address]),
        client(address) as idle,
    ):
        await idle.tell(GET)
        await idle.answer()
        await stop(process)
        await until(lambda: files(folder) == [])
        await idle.tell(GET)
        answer = await idle.rest()
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"\r\nconnection: close\r\n" in answer


async def test_stop_is_not_held_up_by_the_next_request(folder: Path) -> None:
    """A request that waits behind one which is being answered is not begun any more."""
    limits = {**PATIENT, "linger": 0.05}
    async with (
        started(*probe(limits, f"unix:{folder}/s")) as (process, [address]),
        client(address) as slow,
        client(address) as releasing,
    ):
        await slow.tell(GET.replace(b"/ ", b"/slow ") + GET)
        await slow.reader.readuntil(b"\r\n\r\n")
        await releasing.tell(b"GET ")
        await asked(address, CLOSE)
        await stop(process)
        await until(lambda: files(folder) == [])
        await releasing.tell(GET[4:].replace(b"/ ", b"/release "))
        assert 1 == (await slow.rest()).count(b'"listener"')
        assert (0, "") == await ended(process)


async def test_stop_cuts_off_what_hangs(folder: Path) -> None:
    """After the grace a request gets 503, whatever it waits for, and the exit is orderly."""
    limits = {**PATIENT, "grace": 0.05, "linger": 0.05}
    async with (
        started(*probe(limits, f"unix:{folder}/s")) as (process, [address]),
        client(address) as hanging,
        client(address) as sending,
    ):
        await hanging.tell(GET.replace(b"/ ", b"/hang "))
        await sending.tell(POST % b"/" + b"Content-Length: 6\r\n\r\nabc")
        await asked(address, CLOSE)  # both are in flight
        await stop(process)
        for answer in (await hanging.rest(), await sending.rest()):
            assert answer.startswith(b"HTTP/1.1 503 \r\ncontent-length: 0\r\n")
        assert (0, "requests were cut off: 2\n") == await ended(process)


@pytest.mark.parametrize(("path", "how"), [(b"/deaf", "ends"), (b"/", "hangs")])
async def test_stop_ends_whatever_hangs(folder: Path, path: bytes, how: str) -> None:
    """Neither a request that cannot be cancelled nor a plugin that blocks keeps the process."""
    limits = {**PATIENT, "grace": 0.01, "linger": 0.01, "exit": 0.5}
    async with (
        started(*probe(limits, f"unix:{folder}/s", how=how)) as (process, [address]),
        client(address) as one,
    ):
        await one.tell(GET.replace(b"/ ", path + b" "))
        await asked(address, CLOSE)
        await stop(process)
        assert -signal.SIGALRM == (await ended(process))[0]
        assert [] == files(folder)


@pytest.mark.parametrize("number", SIGNALS)
async def test_second_signal(folder: Path, number: signal.Signals) -> None:
    """Whoever asks twice does not want to wait."""
    async with (
        started(*probe(PATIENT, f"unix:{folder}/s")) as (process, [address]),
        client(address) as hanging,
    ):
        await hanging.tell(GET.replace(b"/ ", b"/hang "))
        await asked(address, CLOSE)
        await stop(process)
        process.send_signal(number)
        assert (-number, "") == await ended(process)


async def test_start_after_a_kill(folder: Path) -> None:
    """A server that was killed left socket and lock; the next one serves there."""
    command = probe({}, f"unix:{folder}/s")
    async with started(*command) as (process, _):
        process.kill()
        await ended(process)
        assert ["s", "s.lock"] == files(folder)
    async with started(*command) as (_, [address]):
        assert (await asked(address, CLOSE)).startswith(b"HTTP/1.1 200 ")


def unix_listener(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(path))
    sock.listen()
    return sock


HANDING = """
exec 8<&{} 9<&{} 3<&8 4<&9
export LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=web:admin
exec "$@"
"""


async def test_socket_activation(folder: Path) -> None:
    """Sockets stay with systemd: who connects between two servers is answered by the second."""
    with unix_listener(folder / "p") as public, unix_listener(folder / "a") as admin:
        for sock in (public, admin):
            sock.set_inheritable(True)
        handing = HANDING.format(public.fileno(), admin.fileno())
        command = ["bash", "-c", handing, "-", *probe(PATIENT, f"unix:{folder}/unused")]
        descriptors = (public.fileno(), admin.fileno())
        async with started(*command, pass_fds=descriptors) as (process, [up]):
            assert f"unix:{folder}/p unix:{folder}/a" == up
            assert ["public", "admin"] == [await listener(each) for each in up.split()]
            await stop(process)
            assert (0, "") == await ended(process)
        async with client(f"unix:{folder}/p") as early:
            await early.tell(GET)
            async with started(*command, pass_fds=descriptors):
                assert 200 == (await early.answer())[0]
        assert ["a", "p"] == files(folder)


async def listener(address: str) -> str:
    """By which listener the probe was asked."""
    shown: dict[str, str] = json.loads((await asked(address, CLOSE)).partition(b"\r\n\r\n")[2])
    return shown["listener"]


def settings(folder: Path, *bind: str) -> list[str]:
    """The command that serves picoauth itself on some addresses."""
    file = folder / f"{len(bind)}.toml"
    file.write_text(
        f'plugins = ["password"]\nbind = {json.dumps(bind)}\nsocket_mode = "0600"\n'
        f"database = {json.dumps(str(folder / 'auth.db'))}\n"
    )
    return [str(Path(sys.executable).with_name("picoauth")), "--config", str(file), "serve"]


async def test_picoauth_itself(folder: Path) -> None:
    """`picoauth serve` listens as told, is not ready from the stop on, and ends well."""
    health = b"GET /health-check?check=ready HTTP/1.1\r\nHost: localhost\r\n\r\n"
    address = f"unix:{folder}/s"
    async with (
        started(*settings(folder, address)) as (process, [up]),
        client(address) as before,
        client(address) as after,
        client(address) as login,
    ):
        assert f"picoauth listens on {address}" == up
        assert 0o600 == (folder / "s").stat().st_mode & 0o777
        await before.tell(health)
        assert 200 == (await before.answer())[0]
        await after.tell(health[:-2])
        body = b'{"username": "ann", "password": "wrong"}'
        head = b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        await login.tell(POST % b"/auth/login" + head + body[:9])
        await before.tell(health)
        await before.answer()
        process.send_signal(signal.SIGTERM)
        await until(lambda: "s" not in files(folder))
        await after.tell(health[-2:])
        await login.tell(body[9:])
        assert 503 == (await after.answer())[0]
        assert 401 == (await login.answer())[0]
        for each in (after, login):
            each.writer.close()
        assert 0 == (await ended(process))[0]


async def test_second_picoauth(folder: Path) -> None:
    """A second server on a path says one sentence and ends; the first one does not notice."""
    address = f"unix:{folder}/s"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    async with started(*settings(folder, address)):
        second = settings(folder, f"tcp:127.0.0.1:{port}", address)
        async with started(*second, lines=0) as (process, _):
            code, errors = await ended(process)
        assert 2 == code
        assert f"bind: {address} is served by another process: stop that one first.\n" in errors
        assert 1 == errors.count("\n")
        assert (await asked(address, CLOSE)).startswith(b"HTTP/1.1 404 ")


class Offices(Plugin[NoSettings]):
    """A route for administration, and one for everybody."""

    asked: int = 0

    @hookimpl
    def routes(self) -> list[Route]:
        return [
            Route(
                method="GET",
                path="/admin/office",
                handler=self.office,
                policy="public",
                listener="admin",
            ),
            Route(method="GET", path="/lobby", handler=self.office, policy="public"),
        ]

    async def office(self, request: Request) -> Reply:
        type(self).asked += 1
        return Reply({"listener": request.listener})


@asynccontextmanager
async def offices(folder: Path) -> AsyncIterator[tuple[str, str]]:
    """A picoauth with an administration's listener: the public address, and that one's."""
    found = [*installed(), offer("offices", Offices)]
    app = Application(Auth(parse('plugins = ["password", "offices"]', folder), found=found))
    bind = Bind([f"unix:{folder}/p"], [f"unix:{folder}/a"])
    async with serving(app, bind) as [public, admin]:
        yield public, admin


def get(target: bytes, *headers: bytes) -> bytes:
    lines = [b"GET " + target + b" HTTP/1.1", b"Host: localhost", b"Connection: close", *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n"


async def test_listeners(folder: Path) -> None:
    """Administration is asked by its own listener alone, and everything else by both."""
    async with offices(folder) as (public, admin):
        assert b" 404 " in (await asked(public, get(b"/admin/office")))[:16]
        for address, target, name in (
            (admin, b"/admin/office", b"admin"),
            (admin, b"/lobby", b"admin"),
            (public, b"/lobby", b"public"),
        ):
            answer = await asked(address, get(target))
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert answer.endswith(b'{"listener": "%s"}' % name)


SPELLINGS = [
    b"/admin/office",
    b"/admin/office?listener=admin",
    b"/admin/office/",
    b"//admin/office",
    b"/admin//office",
    b"/./admin/office",
    b"/admin/./office",
    b"/lobby/../admin/office",
    b"/lobby/%2e%2e/admin/office",
    b"/%61dmin/office",
    b"/admin%2foffice",
    b"/admin%2Foffice",
    b"/%2fadmin/office",
    b"/ADMIN/office",
    b"/admin/office%00",
    b"/admin/office%20",
    b"/admin/office;a=b",
    b"/admin\\office",
    b"\\admin\\office",
    b"admin/office",
    b"http://localhost/admin/office",
    b"http://admin/admin/office",
    b"unix:/admin/office",
    b"*",
]
TRICKS = [
    b"X-Original-URL: /admin/office",
    b"X-Rewrite-URL: /admin/office",
    b"X-Forwarded-Prefix: /admin",
    b"X-HTTP-Method-Override: GET",
    b"Forwarded: for=127.0.0.1;host=localhost",
    b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__",
]


async def test_no_spelling_reaches_administration(folder: Path) -> None:
    """On the public listener no path and no header is a way in (M-1)."""
    requests = [get(target) for target in SPELLINGS]
    requests += [get(target, trick) for target in (b"/", b"/admin/office") for trick in TRICKS]
    async with offices(folder) as (public, _):
        Offices.asked = 0
        statuses = {request_: (await asked(public, request_))[9:12] for request_ in requests}
        assert {} == {r: status for r, status in statuses.items() if status not in {b"404", b"400"}}
        assert 0 == Offices.asked


async def test_no_websocket(folder: Path) -> None:
    """Who asks for WebSocket is answered as if not: by 101 a proxy would become a tunnel."""
    upgrade = [b"Connection: Upgrade, close", b"Upgrade: websocket"]
    whole = [
        *upgrade,
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ]
    async with offices(folder) as (public, _):
        for target in (b"/lobby", b"/jwt/validate", b"/none"):
            plain = (await asked(public, get(target)))[:13]
            for headers in (upgrade, whole):
                head = get(target, *headers).replace(b"Connection: close\r\n", b"")
                assert plain == (await asked(public, head))[:13]


async def test_websocket_leaves_the_connection_as_it_was(folder: Path) -> None:
    """The next request follows, and a stop has nothing to wait for."""
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    async with offices(folder) as (public, _), client(public) as one:
        for _ in range(2):
            await one.tell(GET.replace(b"\r\n\r\n", b"\r\n" + upgrade))
            assert 404 == (await one.answer())[0]
        await one.tell(CLOSE)
        assert (await one.rest()).startswith(b"HTTP/1.1 404 ")
