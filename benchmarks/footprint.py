"""Memory, start and installed size of one process.

A fresh virtual environment without pip and setuptools gets copies of the kernel and the
password plugin with their dependencies; what it holds then is the installed size, bytecode
included, apparent bytes. From it a server is started five times: the least time from the
start of the process to its first answer. `make serve` is started thrice in this clone, which is
installed: the least time again. Then, in one process: resident memory (VmRSS) after
one login and one refresh, and again two seconds after 200 other users, whose rows an earlier
process made, logged in at once, each trying again while the queue is full (503).
MB are 10^6 bytes; memory is in MiB, as ps, systemd and Docker count it. `--quick` measures the environment that runs this, and no installed size.
"""

from __future__ import annotations

import subprocess
import sys
import time
import venv
from collections.abc import Sequence
from pathlib import Path

from client import message
from measure import (
    PICOAUTH,
    ROOT,
    Figure,
    Server,
    copied,
    folder,
    main,
    person,
    register,
    serving,
    together,
)

BURST = 200
MIB = 1.048576
"""Of 10^6 bytes."""


def work(quick: bool) -> Sequence[Figure]:  # noqa: FBT001 - what the command line says
    with folder() as path:
        return measured(path) if quick else [*installed(path), *measured(path, path / "venv/bin")]


def installed(path: Path) -> Sequence[Figure]:
    """Make the environment, and weigh it."""
    venv.create(path / "venv", with_pip=False)
    pip = [sys.executable, "-m", "pip", "--python", str(path / "venv"), "install", "--quiet"]
    constraints = ["--constraint", str(ROOT / "constraints.txt")]
    subprocess.run([*pip, *constraints, *map(str, copied(path))], check=True)
    size = sum(file.lstat().st_size for file in (path / "venv/lib").rglob("*") if file.is_file())
    return [Figure("installed beside Python", size / 1e6, "MB", most=60)]


def measured(path: Path, scripts: Path = PICOAUTH.parent) -> Sequence[Figure]:
    data = path / "data"
    data.mkdir()
    command = [str(scripts / "picoauth"), "serve"]
    names = [f"user{number}" for number in range(BURST)]
    with serving(data, command) as server:
        register(server, ["ann", *names])
    starts = [start(data, command) for _ in range(5)]
    make = ["env", f"PICOAUTH_CONFIG={data}/picoauth.toml", "make", "-C", str(ROOT), "serve"]
    again = [start(data, make) for _ in range(3)]
    with serving(data, command) as server:
        client = server.client()
        tokens = client.ask("POST", "/auth/login", person("ann"))
        client.ask("POST", "/jwt/refresh", token=tokens["refresh_token"])
        before = server.resident()
        burst(server, names)
        time.sleep(2)
        after = server.resident()
    return [
        Figure("RSS after one login and one refresh", before / MIB, "MiB", most=60),
        Figure("start to first answer, least of 5", min(starts), "s", most=1),
        Figure("second `make serve`, least of 3", min(again), "s", most=2),
        Figure(
            f"RSS after {BURST} concurrent logins: more", (after - before) / MIB, "MiB", most=25
        ),
    ]


def start(data: Path, command: Sequence[str]) -> float:
    with serving(data, command, wait=False) as server:
        return server.ready()


def burst(server: Server, names: Sequence[str]) -> None:
    clients = [server.client() for _ in names]

    def login(index: int) -> None:
        raw, status = message("POST", "/auth/login", person(names[index])), 503
        while status == 503:
            clients[index].send(raw)
            status = clients[index].receive().status
            time.sleep(0.5 if status == 503 else 0)
        if status != 200:
            raise RuntimeError(f"a login of the burst is answered {status}")

    together(len(names), login)
    for client in clients:
        client.close()


if __name__ == "__main__":
    main(__doc__, work)
