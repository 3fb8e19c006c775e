"""Start of a server that lists ten plugins beside the password plugin.

A fresh virtual environment without pip and setuptools gets copies of the kernel and the
password plugin, and ten packages that `picoauth new-plugin` wrote: each with a route, a table
and settings. From it a server is started on a file that has all the tables, with one plugin
and with eleven, five times each by turns: the least time from the start of the process to its
first answer. `--quick` starts each twice.
"""

from __future__ import annotations

import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

from measure import PICOAUTH, ROOT, Figure, copied, folder, main, serving

TEN = [f"plugin{number}" for number in range(10)]


def work(quick: bool) -> Sequence[Figure]:  # noqa: FBT001 - what the command line says
    with folder() as path:
        install(path)
        data = path / "data"
        data.mkdir()
        command = [str(path / "venv/bin/picoauth"), "serve"]
        lists = {"one": ["password"], "eleven": ["password", *TEN]}
        start(data, command, lists["eleven"])  # which makes the tables
        times = [
            {name: start(data, command, plugins) for name, plugins in lists.items()}
            for _ in range(2 if quick else 5)
        ]
    one, eleven = (min(each[name] for each in times) for name in lists)
    return [
        Figure("start to first answer, one plugin", one, "s"),
        Figure("start to first answer, ten more", eleven, "s", most=1.2),
        Figure("each plugin more", (eleven - one) * 100, "ms"),
    ]


def install(path: Path) -> None:
    """Make the environment, and the ten packages in it."""
    for name in TEN:
        making = [str(PICOAUTH), "new-plugin", name, "--into", str(path)]
        subprocess.run(making, check=True, stdout=subprocess.DEVNULL)
    venv.create(path / "venv", with_pip=False)
    pip = [sys.executable, "-m", "pip", "--python", str(path / "venv"), "install", "--quiet"]
    sources = [*copied(path), *(path / f"picoauth-{name}" for name in TEN)]
    constraints = ["--constraint", str(ROOT / "constraints.txt")]
    subprocess.run([*pip, *constraints, *map(str, sources)], check=True)


def start(data: Path, command: Sequence[str], plugins: Sequence[str]) -> float:
    with serving(data, command, wait=False, plugins=plugins) as server:
        return server.ready()


if __name__ == "__main__":
    main(__doc__, work)
