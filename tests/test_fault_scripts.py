"""The short form of each script that breaks a server on purpose. Never how fast it recovers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import program

FOLDER = Path(__file__).parent.parent / "benchmarks" / "faults"
NOWHERE = 3
"""How a script ends for which the machine has no place, such as a disk of its own."""
NO_SCRIPTS = ("harness.py", "killed.py", "shim.py", "database_elsewhere.py")
SCRIPTS = sorted(one.name for one in FOLDER.glob("*.py") if one.name not in NO_SCRIPTS)


def test_disk_that_is_nowhere(tmp_path: Path) -> None:
    """Where no file system can be mounted, the script says so, and is not fine."""
    env = {name: value for name, value in os.environ.items() if name != "PATH"}
    done = subprocess.run(
        [sys.executable, str(FOLDER / "disk_full.py")],
        capture_output=True,
        text=True,
        check=False,
        env={**env, "PATH": str(tmp_path)},
    )
    assert (
        NOWHERE,
        "no mount namespace is to be had here: be root, or allow users their own\n",
    ) == (
        done.returncode,
        done.stdout,
    )


@pytest.mark.parametrize("name", SCRIPTS)
def test_fault(name: str, tmp_path: Path) -> None:
    """Nothing is lost, nothing is half-made, nobody gets in, and it works again by itself."""
    if name == "elsewhere.py":
        program("redis-server")
    told = tmp_path / "told.json"
    command = [sys.executable, str(FOLDER / name), "--untimed", "--json", str(told)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == NOWHERE and not os.environ.get("CI"):
        pytest.skip(done.stdout.strip())
    assert 0 == done.returncode, done.stdout + done.stderr
    found = json.loads(told.read_text())
    assert (name, 20260101, False, True) == tuple(
        found[each] for each in ("script", "seed", "long", "kept")
    )
    assert any(one["most"] == 0 for one in found["figures"])
