"""The first run on a fresh machine: `make serve`, the README's lines, a stop, a second run."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from picoauth.config import parse
from picoauth.discovery import installed
from picoauth.template import template
from tests.firstparty import LISTED

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
LITTER = (".git", ".venv", "*.db*", "*.sock*", "*.secret", "*.egg-info", ".*_cache", ".coverage*")


@pytest.fixture(scope="module")
def clone() -> Iterator[Path]:
    """The repository as someone else gets it; a short path, as unix sockets need."""
    with TemporaryDirectory(prefix="pa", dir="/tmp") as folder:
        copy = Path(folder) / "picoauth"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*LITTER))
        yield copy


@contextmanager
def running(folder: Path, *command: str) -> Iterator[list[str]]:
    """Run a server, hand over the lines that it prints when it is up, and stop it."""
    outer = ("COV", "VIRTUAL", "MAKE", "MFLAGS")  # of the `make test` that runs this, perhaps
    environment = {k: v for k, v in os.environ.items() if not k.startswith(outer)}
    process = subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        lines = []
        for line in process.stdout:
            lines.append(line.rstrip("\n"))
            if line.startswith("curl") and "/auth/login" in line:
                break
        yield lines
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.stdout.close()
        assert process.wait(timeout=20) in (0, -signal.SIGTERM, 2)


def shell(folder: Path, line: str, **environment: str) -> str:
    done = subprocess.run(
        ["bash", "-c", line.replace("curl ", "curl --silent --fail-with-body ", 1)],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def without_port(folder: Path) -> None:
    """Listen on any free port, since another server may have ours."""
    settings = folder / "picoauth.toml"
    settings.write_text(settings.read_text().replace("tcp:127.0.0.1:8100", "tcp:127.0.0.1:0"))


def test_make_serve_and_the_printed_lines(clone: Path) -> None:
    """On a fresh clone `make serve` installs, makes the secret, and prints lines that work."""
    without_port(clone)
    with running(clone, "make", "serve") as lines:
        assert re.fullmatch(
            rf"picoauth listens on unix:{clone}/picoauth\.sock and http://127\.0\.0\.1:\d+",
            lines[1],
        )
        named = [f"{name} (picoauth-{name} 0.1.0)" for name in LISTED]
        assert lines[2] == f"plugins: {', '.join(named)}"
        register, login = (line for line in lines if line.startswith("curl"))
        assert json.loads(shell(clone, register))["username"] == "ann"
        assert "access_token" in json.loads(shell(clone, login))
        assert (clone / "picoauth.secret").stat().st_mode & 0o777 == 0o600


def test_lines_of_the_readme(clone: Path) -> None:
    """Every `curl` of the README works, in order, on a second run."""
    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    commands = [c for block in blocks for c in block.replace("\\\n", "").split("\n") if "curl" in c]
    assert len(commands) == 4
    with running(clone, "make", "serve"):
        shell(clone, commands[0])
        tokens = json.loads(shell(clone, commands[1]))
        claims = json.loads(shell(clone, commands[2], ACCESS_TOKEN=tokens["access_token"]))
        assert claims["preferred_username"] == "admin"
        again = json.loads(shell(clone, commands[3], REFRESH_TOKEN=tokens["refresh_token"]))
        assert again["token_type"] == "Bearer"


def test_settings_of_the_readme(tmp_path: Path) -> None:
    """The ten lines of the README are settings that a server takes."""
    [block] = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    assert len(block.strip().splitlines()) == 10
    assert parse(block, tmp_path).tables == {"password": {"register": False, "min_length": 12}}


def test_the_example_is_what_init_writes() -> None:
    """`picoauth.toml` of the repository is what `picoauth init` writes with the plugins in it."""
    text = (ROOT / "picoauth.toml").read_text(encoding="utf-8")
    listed = tomllib.loads(text)["plugins"]
    assert text == template([found for found in installed() if found.origin.name in listed])


def test_every_first_party_plugin_is_in_the_readme() -> None:
    """The table of plugins has each; requirements.txt installs it, or else what tests install."""
    projects = [tomllib.loads(p.read_text()) for p in ROOT.glob("plugins/*/pyproject.toml")]
    requirements = (ROOT / "requirements.txt").read_text().splitlines()
    [apart] = re.findall("^APART := (.*)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for project in projects:
        package = project["project"]["name"]
        if "entry-points" not in project["project"]:  # for applications, and no plugin
            continue
        [name] = project["project"]["entry-points"]["picoauth.v1"]
        assert f"| `{name}` | `{package}` |" in README
        assert f"-e plugins/{package}" in requirements or f"plugins/{package}" in apart.split()
