"""That no valid token is refused while signing keys are rotated under load, in several processes.

Two servers on one database. Four clients, two for each, send 200 requests a second for 75
seconds: one in ten refreshes a session and so brings a new access token, the others let
either server check a token that any server signed, chosen by a fixed seed. Meanwhile `picoauth
keys rotate` is run three times with an overlap of ten seconds. An offline verifier, whose key
set is up to five seconds old, checks every new token as well. At last the signing key is
retired as in an emergency, and both servers are asked until they refuse what it signed. That an
old key is accepted until its last token has ended, tests show with a clock of their own.
"""

from __future__ import annotations

import base64
import json
import random
import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from client import Client, message
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from measure import PICOAUTH, Figure, Server, folder, free_port, main, person, register, together

SECONDS, RATE, CLIENTS, EVERY, OVERLAP, SEED = 75, 200, 4, 20, 10, 20260201
CACHE = 5
"""Seconds that the offline verifier keeps a key set."""
SETTINGS = """\
plugins = ["password"]
public_url = "http://127.0.0.1"
bind = ["tcp:127.0.0.1:{port}"]
[tokens]
key_overlap = "{overlap}s"
"""


def work(quick: bool) -> Sequence[Figure]:  # noqa: FBT001 - what the command line says
    with folder() as path, ExitStack() as stack:
        servers = [started(path, name, stack) for name in ("one", "two")]
        register(servers[0], [f"user-{n}" for n in range(CLIENTS)])
        run = Run(path, servers, 25 if quick else SECONDS)
        together(CLIENTS + 1, run.part)
        bitten = run.emergency()
    return [
        Figure("requests", run.requests),
        Figure("  a second", run.requests / run.seconds, "/s", least=0.95 * RATE),
        Figure("keys that signed", len(run.signed), least=2 if quick else 4),
        Figure("valid tokens refused by a server", run.refused, most=0),
        Figure("valid tokens refused offline", run.refused_offline, most=0),
        Figure("an emergency bites after", bitten, "s", most=5),
    ]


def started(path: Path, name: str, stack: ExitStack) -> Server:
    port, settings = free_port(), path / f"{name}.toml"
    settings.write_text(SETTINGS.format(port=port, overlap=OVERLAP))
    command = [str(PICOAUTH), "--config", str(settings), "serve"]
    server = Server(command, path, f"http://127.0.0.1:{port}")
    stack.callback(server.stop)
    server.ready()
    return server


class Run:
    """Clients that keep to the rate, and someone who rotates."""

    def __init__(self, path: Path, servers: Sequence[Server], seconds: float) -> None:
        self.path = path
        self.servers = servers
        self.seconds = seconds
        self.tokens: list[str] = []
        self.signed: set[str] = set()
        self.lock = threading.Lock()
        self.keys = KeySet([])
        self.keys_at = 0.0
        self.requests = self.refused = self.refused_offline = 0

    def part(self, index: int) -> None:
        if index < CLIENTS:
            self.load(index)
            return
        for _ in range(int(self.seconds // EVERY)):
            self.command("rotate")
            time.sleep(EVERY)

    def command(self, *words: str) -> None:
        config = str(self.path / "one.toml")
        subprocess.run(
            [PICOAUTH, "--config", config, "keys", *words], check=True, capture_output=True
        )

    def load(self, index: int) -> None:
        chance = random.Random(SEED + index)  # noqa: S311 - no secret
        clients = [server.client() for server in self.servers]
        own = clients[index % 2]
        session = own.ask("POST", "/auth/login", person(f"user-{index}"))
        begun, count = time.monotonic(), 0
        while (now := time.monotonic()) < begun + self.seconds:
            due = begun + count * CLIENTS / RATE
            time.sleep(max(0, due - now))
            count += 1
            if count % 10 == 1:
                session = self.refresh(own, session)
            else:
                self.check(chance.choice(clients), chance.choice(self.tokens))
        with self.lock:
            self.requests += count

    def refresh(self, client: Client, session: dict[str, Any]) -> dict[str, Any]:
        renewed: dict[str, Any] = client.ask("POST", "/jwt/refresh", token=session["refresh_token"])
        token = renewed["access_token"]
        with self.lock:
            self.signed.add(kid(token))
            self.offline(client, token)
            self.tokens.append(token)
        return renewed

    def offline(self, client: Client, token: str) -> None:
        """As an application does it: fetched keys, kept for a while."""
        if time.monotonic() - self.keys_at > CACHE:
            client.send(message("GET", "/.well-known/jwks.json"))
            self.keys, self.keys_at = (
                KeySet.import_key_set(client.receive().json()),
                time.monotonic(),
            )
        try:
            jws.deserialize_compact(token, self.keys, algorithms=["ES256"])
        except (JoseError, ValueError):
            self.refused_offline += 1

    def check(self, client: Client, token: str) -> None:
        client.send(message("POST", "/jwt/validate", token=token))
        status = client.receive().status
        with self.lock:
            self.refused += status != 200

    def emergency(self) -> float:
        """Seconds until both servers refuse what the retired key signed."""
        token = self.tokens[-1]
        self.command("retire", kid(token), "--yes")
        begun = time.monotonic()
        for server in self.servers:
            client = server.client()
            status = 200
            while status == 200:
                client.send(message("POST", "/jwt/validate", token=token))
                status = client.receive().status
            client.close()
        return time.monotonic() - begun


def kid(token: str) -> str:
    header = token.partition(".")[0]
    found: str = json.loads(base64.urlsafe_b64decode(header + "=="))["kid"]
    return found


if __name__ == "__main__":
    main(__doc__, work)
