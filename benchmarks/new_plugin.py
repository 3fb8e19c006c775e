"""From nothing to a plugin of one's own that passes its test.

A fresh virtual environment gets copies of the kernel and the password plugin, as `pip install`
would bring them. Then what an author does is timed: `picoauth new-plugin`, and the lines that
it prints, which install the package with all that its test needs and run the test. Packages
come from wherever the machine's pip takes them, pinned by `constraints.txt`: the time of a
download is in it where there is one. `--quick` is the same.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from measure import ROOT, Figure, copied, folder, main


def work(quick: bool) -> Sequence[Figure]:  # noqa: ARG001, FBT001 - what the command line says
    with folder() as path:
        began = time.monotonic()
        subprocess.run([sys.executable, "-m", "venv", str(path / "venv")], check=True)
        shell("python -m pip install --quiet " + " ".join(map(str, copied(path))), path)
        ready = time.monotonic()
        printed = shell("picoauth new-plugin measured", path)
        made = time.monotonic()
        lines = [line.strip() for line in printed.splitlines() if line.startswith("  ")]
        passed = shell(" && ".join(lines), path)
        done = time.monotonic()
    if " 1 passed in " not in passed:
        raise RuntimeError(passed)
    return [
        Figure("a clean environment with picoauth", ready - began, "s"),
        Figure("`picoauth new-plugin`", made - ready, "s"),
        Figure("the printed lines", done - made, "s"),
        Figure("new-plugin to a passed test", done - ready, "s", most=60),
    ]


def shell(line: str, path: Path) -> str:
    """Run a line as in an activated environment; answers what it prints."""
    environment = {
        **os.environ,
        "PATH": f"{path / 'venv/bin'}:{os.environ['PATH']}",
        "PIP_CONSTRAINT": str(ROOT / "constraints.txt"),
    }
    command = ["bash", "-e", "-c", line]
    done = subprocess.run(command, cwd=path, env=environment, stdout=subprocess.PIPE, check=True)
    return done.stdout.decode()


if __name__ == "__main__":
    main(__doc__, work)
