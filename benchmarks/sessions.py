"""What it costs the server to say who is logged in, by a cookie, with each of the stores.

CPU of the server process (user and system, all threads, by its CPU clock) divided by the
requests, over 16 keep-alive connections on loopback; least of ten interleaved runs. Beside it
the bare routes of bare.py. `GET /auth/session` is asked with the cookies of 100 sessions in
rotation. Redis is a process of its own (redis-server, which has to be installed) on a unix
socket; what it costs itself is not counted.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from client import message
from measure import Figure, Server, folder, main, person, register, serving, settled
from validate import BARE, RUNS, per_request

SESSIONS = 50
STORES = {
    "SQL": ("", ""),
    "memory": ('"session-memory"', ""),
    "Redis": ('"session-redis"', '[session-redis]\nurl = "unix://{redis}"\n'),
}
BOUNDS = {"SQL": 2.0, "memory": 2.0, "Redis": 3.0}


def work(quick: bool) -> Sequence[Figure]:  # noqa: FBT001 - what the command line says
    with folder() as path, ExitStack() as stack:
        stack.enter_context(redis(path))
        servers = {}
        for kind in ("quart", "asgi"):
            (path / kind).mkdir()
            command = [sys.executable, str(BARE), kind, "{address}"]
            servers[kind] = stack.enter_context(serving(path / kind, command))
        bare = [message("GET", "/health-check")]
        asked = dict.fromkeys(servers, bare)
        for store in STORES:
            server = stack.enter_context(with_store(path, store))
            servers[store], asked[store] = server, cookies(server)
            per_request(server, asked[store])
        costs: dict[str, list[float]] = {name: [] for name in servers}
        for _ in range(3 if quick else RUNS):
            for name, server in servers.items():
                costs[name].append(per_request(server, asked[name]))
    return figures({name: min(found) for name, found in costs.items()})


def figures(least: dict[str, float]) -> Sequence[Figure]:
    found = [
        Figure("bare Quart route", least["quart"], "µs"),
        Figure("bare ASGI route", least["asgi"], "µs"),
    ]
    for store, most in BOUNDS.items():
        found += [
            Figure(f"session by cookie, {store}", least[store], "µs"),
            Figure("  by the ASGI route", least[store] / least["asgi"], most=most),
            Figure("  by the Quart route", least[store] / least["quart"]),
        ]
    return found


@contextmanager
def redis(path: Path) -> Iterator[None]:
    program = shutil.which("redis-server")
    assert program, "redis-server is missing: install Debian's package"
    options = ("--port", "0", "--unixsocket", f"{path}/redis.sock", "--save", "")
    with subprocess.Popen([program, *options], stdout=subprocess.DEVNULL) as process:
        yield
        process.terminate()


@contextmanager
def with_store(path: Path, store: str) -> Iterator[Server]:
    """A server with a store: what `serving` wrote, and the plugin."""
    own = path / store
    own.mkdir()
    address = settled(own)
    plugin, table = STORES[store]
    settings = own / "picoauth.toml"
    text = settings.read_text().replace('["password"]', f'["password", {plugin}]')
    settings.write_text(text + table.format(redis=f"{path}/redis.sock"))
    server = Server([str(Path(sys.executable).with_name("picoauth")), "serve"], own, address)
    try:
        server.ready()
        yield server
    finally:
        server.stop()


def cookies(server: Server) -> list[bytes]:
    """Requests with the cookies of two users' sessions."""
    register(server, ["ann", "bob"])
    client = server.client()
    raw = []
    for number in range(2 * SESSIONS):
        name = ("ann", "bob")[number % 2]
        body = {**person(name), "session": "cookie"}
        client.send(message("POST", "/auth/login", body, None, f"origin: {server.address}"))
        answer = client.receive()
        assert answer.status == 200, answer
        found = re.search(rb"(?im)^set-cookie: ([^;]+)", answer.head)
        assert found
        raw.append(message("GET", "/auth/session", None, None, f"cookie: {found[1].decode()}"))
    client.close()
    return raw


if __name__ == "__main__":
    main(__doc__, work)
