"""What a change of the root secret costs: a million authenticators sealed anew, while users log in (FK-2).

The rows are written into the file as registrations leave them, under the first root secret. A
server runs on it, and two clients log in and refresh in turns, without pause, before the
change and during it: every answer has to be 200. `picoauth secret rotate --now` and a restart
change the secret; the time is that from the restart until no row is left under the old one.
The job for it runs each ten minutes; here its turn is made to be at once.
That a server which is killed in between goes on where it was, `tests/test_secret_rotation.py`
shows.
"""

from __future__ import annotations

import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from measure import PICOAUTH, Figure, Server, folder, main, person, register, settled, together

from picoauth import Auth, Place, load

ROWS, CLIENTS, BEFORE, LOOK = 1_000_000, 2, 30, 2
"""Rows, clients, seconds of load before the change, and between two looks at what is left."""
PLUGINS = ("password", "totp")


def work(quick: bool) -> Sequence[Figure]:  # noqa: FBT001 - what the command line says
    rows, before = (20_000, 5) if quick else (ROWS, BEFORE)
    with folder() as path:
        address = settled(path, PLUGINS)
        with served(path, address) as server:
            register(server, [f"user-{n}" for n in range(CLIENTS)])
        old = fill(path, rows)
        with served(path, address) as server, loaded(server) as quiet:
            time.sleep(before)
        subprocess.run([PICOAUTH, "secret", "rotate", "--now"], cwd=path, check=True)
        with closing(sqlite3.connect(path / "picoauth.db")) as connection, connection:
            connection.execute("delete from jobs")
        begun = time.monotonic()
        with served(path, address) as server, loaded(server) as busy:
            while left(path, old):
                time.sleep(LOOK)
            seconds = time.monotonic() - begun
    slower = high(busy) / high(quiet)
    return [
        Figure("rows", rows),
        Figure("sealed anew in", seconds, "s", most=600),
        Figure("answers meanwhile", len(busy)),
        Figure("p99 of a login or refresh before", high(quiet) * 1e3, "ms"),
        Figure("p99 meanwhile", high(busy) * 1e3, "ms"),
        Figure("  by that before", slower, most=2),
    ]


@contextmanager
def served(path: Path, address: str) -> Iterator[Server]:
    server = Server([str(PICOAUTH), "serve"], path, address)
    try:
        server.ready()
        yield server
    finally:
        server.stop()


@contextmanager
def loaded(server: Server) -> Iterator[list[float]]:
    """Two clients all the while; the seconds of each answer. One that is not 200 is raised."""
    times: list[float] = []
    over = threading.Event()
    clients = threading.Thread(target=lambda: together(CLIENTS, lambda n: use(server, n)))

    def use(server: Server, number: int) -> None:
        client = server.client()
        while not over.is_set():
            begun = time.monotonic()
            session = client.ask("POST", "/auth/login", person(f"user-{number}"))
            between = time.monotonic()
            client.ask("POST", "/jwt/refresh", token=session["refresh_token"])
            times.extend((between - begun, time.monotonic() - between))
        client.close()

    failed: list[threading.ExceptHookArgs] = []
    threading.excepthook = failed.append
    clients.start()
    try:
        yield times
    finally:
        over.set()
        clients.join()
    assert not failed, failed


def fill(path: Path, rows: int) -> str:
    """Users with an authenticator each, sealed as the server seals it; answers the secret's id."""
    auth = Auth(load(path / "picoauth.toml"))
    secrets, key = auth.secrets, auth.secrets.roots[0].id
    with closing(sqlite3.connect(path / "picoauth.db")) as connection, connection:
        numbers = range(rows)
        connection.executemany(
            "insert into users (id, name, created_at, epoch) values (?, '', 1, 0)",
            ((f"u{n:07}",) for n in numbers),
        )
        connection.executemany(
            "insert into enrolments (id, user_id, factor, confirmed_at) values (?, ?, 'totp', 1)",
            ((f"e{n:07}", f"u{n:07}") for n in numbers),
        )
        connection.executemany(
            "insert into totp (enrolment_id, user_id, sealed, key_id, last_step, created_at)"
            " values (?, ?, ?, ?, 0, 1)",
            (
                (f"e{n:07}", f"u{n:07}", secrets.seal(place(n), secrets.random(20)), key)
                for n in numbers
            ),
        )
    return key


def place(number: int) -> Place:
    return Place("totp", "sealed", f"e{number:07} u{number:07}")


def left(path: Path, old: str) -> bool:
    """Whether a row is under the old secret."""
    with closing(sqlite3.connect(f"file:{path}/picoauth.db?mode=ro", uri=True)) as connection:
        sql = "select 1 from totp where key_id = ? limit 1"
        return connection.execute(sql, (old,)).fetchone() is not None


def high(times: Sequence[float]) -> float:
    """The 99th percentile."""
    return sorted(times)[len(times) * 99 // 100]


if __name__ == "__main__":
    main(__doc__, work)
