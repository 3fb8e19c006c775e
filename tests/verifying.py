"""What tests of picoauth-verify ask: a server that publishes whatever it is told, a real one, and a way between that can break."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
from joserfc.jwk import Key
from joserfc.jws import JWSRegistry
from joserfc.util import urlsafe_b64encode

from picoauth.testing import Clock, Server
from picoauth.testing.server import PASSWORD
from picoauth_verify import Verifier
from picoauth_verify.client import Client
from picoauth_verify.follower import KEYS, LIST, Follower
from tests.accounts import login

COMMAND = str(Path(sys.executable).with_name("picoauth"))
SOON = 60
"""Seconds after which a test fails that waits for something."""


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.005)


def by_hand(key: Key, header: Mapping[str, Any], claims: Mapping[str, Any] | bytes) -> str:
    """A token of any content, with a signature that is right by its header's algorithm."""
    payload = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    text = urlsafe_b64encode(json.dumps(header).encode()) + b"." + urlsafe_b64encode(payload)
    signature = JWSRegistry.algorithms[header["alg"]].sign(text, key)
    return (text + b"." + urlsafe_b64encode(signature)).decode()


@dataclass
class Publisher:
    """A web server that answers what it is told, and counts what it is asked."""

    answers: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    heads: list[Mapping[str, str]] = field(default_factory=list)
    hangs_up: bool = False
    """Whether a connection is closed after each answer, without a word."""
    before: Callable[[], object] = lambda: None
    """Done before each answer."""
    url: str = ""
    clients: list[Client] = field(default_factory=list)

    def says(self, path: str, body: str | bytes | Mapping[str, Any], status: int = 200) -> None:
        text = body if isinstance(body, (str, bytes)) else json.dumps(body)
        self.answers[path] = status, text if isinstance(text, bytes) else text.encode()


@contextmanager
def publishing(certificate: tuple[Path, Path] | None = None) -> Iterator[Publisher]:
    """Over TLS where there is a certificate, which is for `localhost`."""
    publisher = Publisher()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            publisher.asked[self.path] += 1
            publisher.heads.append(dict(self.headers))
            publisher.before()
            status, body = publisher.answers.get(self.path, (404, b"{}"))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            self.close_connection = publisher.hangs_up

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        publisher.url = f"http://127.0.0.1:{server.server_port}"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
            publisher.url = f"https://localhost:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield publisher
        finally:
            for client in publisher.clients:
                client.close()
            server.shutdown()
            thread.join()


@dataclass
class Followed:
    """A verifier that asks when a test says so, of a publisher that has what a real server gives.

    Both clocks stand still until they are told.
    """

    server: Server
    publisher: Publisher
    verifier: Verifier
    uptime: Clock

    @property
    def follower(self) -> Follower:
        assert self.verifier.follower is not None
        return self.verifier.follower

    @property
    def trouble(self) -> str | None:
        return self.verifier.trouble

    def ask(self) -> None:
        self.follower.attempt()

    def publish(self) -> None:
        """What the server publishes now."""
        self.publisher.says(KEYS, self.server.auth.keys.published())
        self.publisher.says(LIST, self.server.auth.feed.document())

    async def hear(self, seconds: float = 0) -> None:
        """Let time pass, for all clocks, then ask for what the server publishes."""
        self.server.clock.advance(seconds)
        self.uptime.advance(seconds)
        await self.server.auth.revocations.poll()
        self.publish()
        self.ask()

    async def token(self) -> str:
        token: str = (await login(self.server))["access_token"]
        return token

    def says(self, header: Mapping[str, Any] | None = None, **claims: Any) -> None:
        """A list that the server's key signs; what is left out is as it should be."""
        self.publisher.says(LIST, self.listed(header, **claims))

    def listed(self, header: Mapping[str, Any] | None = None, **claims: Any) -> str:
        auth = self.server.auth
        key, now = auth.keys.signing, auth.now()
        usual = {
            "iss": auth.config.public_url,
            "iat": now,
            "exp": now + 60,
            "seq": auth.revocations.seq,
            "kids": list(auth.keys.active),
            "sids": {},
        }
        head = {**key.header, "typ": "revocations+jwt", **(header or {})}
        members = {name: value for name, value in {**usual, **claims}.items() if value is not None}
        return by_hand(key.key, head, members)


def following(server: Server, publisher: Publisher, **more: Any) -> Followed:
    uptime = Clock(1000)
    issuer = server.auth.config.public_url
    verifier = Verifier(issuer, url=publisher.url, clock=server.clock, monotonic=uptime, **more)
    client = Client(publisher.url, verifier.host, SOON)
    publisher.clients.append(client)
    verifier.follower = Follower(issuer, client, 1, server.clock, uptime)
    verifier.follower.tried.set()
    return Followed(server, publisher, verifier, uptime)


@dataclass
class Real:
    """A `picoauth serve` of its own, on a unix socket and on TCP."""

    folder: Path
    port: int
    algorithm: str = "ES256"
    prefix: Sequence[str] = ()
    host: str = "127.0.0.1"
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def unix(self) -> str:
        return f"unix:{self.folder}/s"

    def start(self) -> None:
        (self.folder / "picoauth.toml").write_text(
            f'plugins = ["password"]\npublic_url = "{self.issuer}"\n'
            f'bind = ["unix:{self.folder}/s", "tcp:{self.host}:{self.port}"]\n'
            f'[tokens]\nalgorithm = "{self.algorithm}"\nkey_overlap = "10s"\n'
        )
        command = [*self.prefix, COMMAND, "serve"]
        self.starts += 1
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log)
        until(self.ready)

    def ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "log").read_text()
        return (self.folder / "log").read_text().count("picoauth listens on") == self.starts

    def client(self) -> httpx.Client:
        transport = httpx.HTTPTransport(uds=str(self.folder / "s"))
        return httpx.Client(transport=transport, base_url="http://localhost", timeout=SOON)

    def post(self, path: str, body: Any = None, token: str | None = None) -> Any:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        with self.client() as client:
            answer = client.post(path, json=body, headers=headers)
        assert answer.status_code < 300, answer.text
        return answer.json() if answer.content else None

    def token(self, username: str = "ann") -> str:
        """Log in; whoever is not registered gets registered."""
        person = {"username": username, "password": PASSWORD}
        with self.client() as client:
            client.post("/auth/register", json=person)
        token: str = self.post("/auth/login", person)["access_token"]
        return token

    def run(self, *arguments: str) -> str:
        """A command of an operator."""
        done = subprocess.run(
            [COMMAND, *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=True,
            input="y\n",
        )
        return done.stdout

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            assert 0 == self.process.wait(SOON)
            self.process = None


class Way:
    """Leads from a port of its own to a server; it may swallow everything, and say nothing."""

    def __init__(self, port: int) -> None:
        self.target = ("127.0.0.1", port)
        self.swallows = False
        self.sockets: list[socket.socket] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                self.sockets.append(near)
                if not self.swallows:
                    far = socket.create_connection(self.target)
                    self.sockets.append(far)
                    for ends in ((near, far), (far, near)):
                        threading.Thread(target=self.carry, args=ends, daemon=True).start()

    def carry(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if not self.swallows:
                    target.sendall(data)
            if not self.swallows:
                target.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        for one in [self.listener, *self.sockets]:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
