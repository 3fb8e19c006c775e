"""Programs of the system that tests start, and what they are asked over real sockets."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

PATIENCE = 60
"""Seconds after which a test fails that waits for a program."""
HERE = str(Path(sys.executable).parent)
PLACES = os.pathsep.join([os.environ.get("PATH", ""), HERE, "/usr/sbin", "/sbin"])


def program(name: str) -> str:
    """The path of a program; on a machine of developers that lacks it the test is skipped."""
    found = shutil.which(name, path=PLACES)
    if found is None:
        missing = f"{name} is not installed"
        if os.environ.get("CI"):
            pytest.fail(f"{missing}: .ci/run has to see to that")
        pytest.skip(missing)
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def until(condition: Callable[[], object], process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait for what a program does soon; it fails at once if the program has ended."""
    end = time.monotonic() + PATIENCE
    while not condition():
        told = log.read_text(encoding="utf-8", errors="replace")
        assert process.poll() is None, told
        assert time.monotonic() < end, told
        time.sleep(0.01)


@contextmanager
def running(
    command: Sequence[str],
    folder: Path,
    ready: Callable[[str], object],
    environment: Mapping[str, str] | None = None,
    stop: signal.Signals = signal.SIGTERM,
) -> Iterator[Path]:
    """A program that runs until the test is done with it; yields the file of all that it says.

    `ready` is asked, with what was said so far, whether the program is up.
    """
    log = folder / f"{Path(command[0]).name}.{time.monotonic_ns()}.log"
    outer = {k: v for k, v in os.environ.items() if not k.startswith(("LISTEN_", "PICOAUTH_"))}
    with log.open("wb") as file:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**outer, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        until(lambda: ready(log.read_text(encoding="utf-8", errors="replace")), process, log)
        yield log
    finally:
        if process.poll() is None:
            os.killpg(process.pid, stop)
            process.wait(timeout=PATIENCE)


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
