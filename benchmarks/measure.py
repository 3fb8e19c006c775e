"""What the scripts here share: a server of their own, its costs, and the table at the end."""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from client import Client

ROOT = Path(__file__).parent.parent
PICOAUTH = Path(sys.executable).with_name("picoauth")
PASSWORD = "correct horse battery staple"
SETTINGS = """\
plugins = {plugins}
public_url = "{address}"
bind = ["unix:{folder}/s", "tcp:{host}"]
"""
CPU_CLOCK = 2
"""Linux: the process's time on all cores, user and system, in ns (clock_getcpuclockid(3))."""


@dataclass(frozen=True)
class Figure:
    """Something measured, and the bound that it must keep; one without a bound informs."""

    name: str
    measured: float
    unit: str = ""
    most: float | None = None
    least: float | None = None

    @property
    def kept(self) -> bool:
        above = self.most is None or self.measured <= self.most
        return above and (self.least is None or self.measured >= self.least)

    @property
    def bound(self) -> str:
        if self.most is not None:
            return f"≤ {self.most:g}"
        return "" if self.least is None else f"≥ {self.least:g}"

    @property
    def verdict(self) -> str:
        return "" if not self.bound else "kept" if self.kept else "MISSED"


class Server:
    """A server process on loopback and a unix socket, its files in a folder that exists."""

    def __init__(self, command: Sequence[str], folder: Path, address: str) -> None:
        self.address, self.unix = address, f"unix:{folder}/s"
        self.began = time.monotonic()
        with (folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
        self.log = folder / "log"

    def ready(self, seconds: float = 30) -> float:
        """Wait for the first answer; the seconds that it took from the start of the process."""
        while (waited := time.monotonic() - self.began) < seconds:
            if self.process.poll() is not None:
                break
            with contextlib.suppress(OSError):
                client = Client(self.address)
                client.ask("GET", "/health-check")
                client.close()
                return time.monotonic() - self.began
            time.sleep(0.002)
        raise RuntimeError(f"no answer after {waited:.1f} s:\n{self.log.read_text()[-2000:]}")

    def client(self) -> Client:
        return Client(self.address)

    def cpu(self) -> float:
        """Seconds of CPU so far, user and system, of all threads."""
        return time.clock_gettime((~self.process.pid << 3) | CPU_CLOCK)

    def resident(self) -> float:
        """Megabytes (10^6 bytes)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) * 1024 / 1e6

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Send the signal, unless the process has ended, and wait for its end."""
        self.process.send_signal(number)
        self.process.wait(30)


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="picoauth-benchmark-") as path:
        yield Path(path)


@contextlib.contextmanager
def serving(
    path: Path,
    command: Sequence[str] = (str(PICOAUTH), "serve"),
    *,
    wait: bool = True,
    plugins: Sequence[str] = ("password",),
) -> Iterator[Server]:
    """Run `picoauth serve`, or another command, in a folder; stop it at the end."""
    address = settled(path, plugins)
    server = Server([part.format(address=address) for part in command], path, address)
    try:
        if wait:
            server.ready()
        yield server
    finally:
        server.stop()


def settled(path: Path, plugins: Sequence[str] = ("password",)) -> str:
    """Write settings into a folder; answers the address that a server of them will have."""
    address = f"http://127.0.0.1:{free_port()}"
    host, listed = address.removeprefix("http://"), json.dumps(list(plugins))
    text = SETTINGS.format(address=address, folder=path, host=host, plugins=listed)
    (path / "picoauth.toml").write_text(text)
    return address


def copied(path: Path) -> list[Path]:
    """Copies of the kernel and the password plugin, without what a build leaves beside them."""
    litter = shutil.ignore_patterns("build", "*.egg-info", "__pycache__", "tests", ".*")
    sources = [path / "kernel", path / "password"]
    for source, where in zip(sources, (ROOT, ROOT / "plugins/picoauth-password"), strict=True):
        source.mkdir()
        for name in ("pyproject.toml", "README.md", "LICENSE", "pytest_picoauth.py"):
            if (where / name).exists():
                shutil.copy(where / name, source)
        for package in where.glob("picoauth*/__init__.py"):
            shutil.copytree(package.parent, source / package.parent.name, ignore=litter)
    return sources


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def person(name: str) -> dict[str, str]:
    return {"username": name, "password": PASSWORD}


def register(server: Server, names: Sequence[str]) -> None:
    """Make users, two at a time."""

    def some(index: int) -> None:
        client = server.client()
        for name in names[index::2]:
            client.ask("POST", "/auth/register", person(name), want=201)
        client.close()

    together(2, some)


def together(count: int, work: Callable[[int], None]) -> None:
    """Do `work(0)` … `work(count - 1)` in threads; an error in one is raised here."""
    errors: list[BaseException] = []

    def guarded(index: int) -> None:
        try:
            work(index)
        except Exception as error:  # noqa: BLE001 - raised below
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def main(doc: str | None, work: Callable[[bool], Sequence[Figure]]) -> None:
    """Run a script: `work` gets whether to be quick. Exit code 1 where a bound is missed."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a short form, less exact")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    options = parser.parse_args()
    figures = work(options.quick)
    print_table(figures)
    if options.json:
        rows: list[dict[str, Any]] = [{**asdict(f), "kept": f.kept} for f in figures]
        options.json.write_text(json.dumps(rows, indent=2) + "\n")
    sys.exit(any(not figure.kept for figure in figures))


def print_table(figures: Sequence[Figure]) -> None:
    width = max(len(figure.name) for figure in figures)
    print(f"{'figure':{width}}  {'measured':>14}  {'bound':>9}  verdict")
    for f in figures:
        measured = (
            f"{f.measured:.4g} {f.unit}" if f.measured < 1e4 else f"{f.measured:.0f} {f.unit}"
        )
        print(f"{f.name:{width}}  {measured:>14}  {f.bound:>9}  {f.verdict}")
