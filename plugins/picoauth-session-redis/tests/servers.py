"""Real Redis servers on ports of their own, started, stopped and killed by tests."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

DEADLINE = 30
"""Seconds after which a test gives up on a server."""


def free_port() -> int:
    """Of those below 55536: a cluster's bus has the port that is 10,000 above."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as sock:
            port: int = sock.getsockname()[1]
        if port < 55536:
            return port


class RedisServer:
    """A server process, which can be started again on the same port."""

    def __init__(self, folder: Path, *options: str, sentinel: bool = False) -> None:
        self.folder = folder
        self.port = free_port()
        self.options = options
        self.sentinel = sentinel
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        program = shutil.which("redis-server")
        assert program, "redis-server is missing: install Debian's package, as .ci/run does"
        self.folder.mkdir(exist_ok=True)
        base = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        quiet = [] if self.sentinel else ["--save", "", "--appendonly", "no"]
        head = [str(self.folder / "sentinel.conf"), "--sentinel"] if self.sentinel else []
        self.process = subprocess.Popen(
            [program, *head, *base, *quiet, *self.options], stdout=subprocess.DEVNULL
        )
        self.wait()

    def wait(self) -> None:
        """Until it answers."""
        end = time.monotonic() + DEADLINE
        while time.monotonic() < end:
            try:
                if self.ask("PING") in (b"+PONG\r\n", b"-NOAUTH Authentication required.\r\n"):
                    return
            except OSError:
                pass
            time.sleep(0.01)
        raise AssertionError("the server does not answer")

    def ask(self, *words: str) -> bytes:
        """The first bytes of what it answers to one command."""
        parts = [f"${len(word)}\r\n{word}\r\n" for word in words]
        with socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE) as sock:
            sock.sendall(f"*{len(parts)}\r\n{''.join(parts)}".encode())
            return sock.recv(65536)

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """At once, as a machine does that loses its power."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@contextmanager
def redis_server(folder: Path, *options: str) -> Iterator[RedisServer]:
    server = RedisServer(folder, *options)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@contextmanager
def redis_cluster(folder: Path) -> Iterator[list[RedisServer]]:
    """Three masters, which share the slots."""
    folder.mkdir()
    with ExitStack() as stack:
        options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "1000")
        nodes = [stack.enter_context(redis_server(folder / str(n), *options)) for n in range(3)]
        for number, (node, first, last) in enumerate(
            zip(nodes, (0, 5461, 10923), (5460, 10922, 16383), strict=True), 1
        ):
            assert node.ask("CLUSTER", "ADDSLOTSRANGE", str(first), str(last)) == b"+OK\r\n"
            assert node.ask("CLUSTER", "SET-CONFIG-EPOCH", str(number)) == b"+OK\r\n"
            met = nodes[0].ask("CLUSTER", "MEET", "127.0.0.1", str(node.port))
            assert met == b"+OK\r\n"
        eventually(lambda: all(ready(node) for node in nodes))
        yield nodes


def ready(node: RedisServer) -> bool:
    told = node.ask("CLUSTER", "INFO")
    return b"cluster_state:ok" in told and b"cluster_known_nodes:3" in told


@contextmanager
def watched_servers(folder: Path) -> Iterator[tuple[RedisServer, RedisServer, RedisServer]]:
    """A master, its replica, and a sentinel that makes the one the other."""
    folder.mkdir()
    with ExitStack() as stack:
        master = stack.enter_context(redis_server(folder / "master"))
        following = ("--replicaof", f"127.0.0.1 {master.port}", "--repl-diskless-sync-delay", "0")
        replica = stack.enter_context(redis_server(folder / "replica", *following))
        sentinel = RedisServer(folder / "sentinel", sentinel=True)
        sentinel.folder.mkdir()
        (sentinel.folder / "sentinel.conf").write_text(
            f"sentinel monitor main 127.0.0.1 {master.port} 1\n"
            "sentinel down-after-milliseconds main 500\n"
            "sentinel failover-timeout main 2000\n"
        )
        sentinel.start()
        stack.callback(sentinel.kill)
        linked = b"master_link_status:up"
        eventually(lambda: linked in replica.ask("INFO", "replication"))
        eventually(lambda: b"slaves=1" in sentinel.ask("INFO", "sentinel"))
        yield master, replica, sentinel


def eventually(condition: object) -> None:
    """Wait until something is so; a server that starts, or changes its role, hangs up on who asks."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        with suppress(ConnectionError):
            if callable(condition) and condition():
                return
        time.sleep(0.01)
    raise AssertionError("it did not come to that")
