"""The container file: what it copies and runs, done outside of a container."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.processes import free_port, running

ROOT = Path(__file__).parent.parent
FILE = ROOT / "docs" / "run" / "Containerfile"
LINE = re.compile(r"([A-Z]+) (.+)")
PATIENCE = 240
"""Seconds that an installation may take."""


@dataclass(frozen=True)
class Step:
    """One instruction of a container file."""

    word: str
    rest: str


def stages() -> list[list[Step]]:
    """The instructions by stage; every line is one, or a comment."""
    found: list[list[Step]] = []
    for line in FILE.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            match = LINE.fullmatch(line)
            assert match is not None, line
            step = Step(*match.groups())
            if step.word == "FROM":
                found.append([])
            found[-1].append(step)
    return found


def rest(steps: Sequence[Step], word: str) -> list[str]:
    return [step.rest for step in steps if step.word == word]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for `/`, where the first stage has copied and run everything."""
    root = tmp_path_factory.mktemp("image")
    [building, _] = stages()
    for step in building:
        if step.word == "COPY":
            *sources, target = step.rest.split()
            copied(sources, root / target.lstrip("/"), into=target.endswith("/"))
        elif step.word == "RUN":
            outer = {k: v for k, v in os.environ.items() if not k.startswith("COV")}
            command = shlex.split(step.rest.replace(" /", f" {root}/"))
            command[0] = command[0].replace("/opt", f"{root}/opt", 1)
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=PATIENCE, check=False, env=outer
            )
            assert 0 == done.returncode, done.stdout + done.stderr
    return root


def copied(sources: Sequence[str], target: Path, *, into: bool) -> None:
    for name in sources:
        source, end = ROOT / name, target / Path(name).name if into else target
        if source.is_dir():
            litter = shutil.ignore_patterns("__pycache__", "*.egg-info", "build")
            shutil.copytree(source, end, ignore=litter)
        else:
            end.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, end)


def test_what_the_image_runs(image: Path, tmp_path: Path) -> None:
    """What is installed starts, is healthy, and has every first-party plugin."""
    [_, final] = stages()
    [entry], [command], [check] = (rest(final, w) for w in ("ENTRYPOINT", "CMD", "HEALTHCHECK"))
    [path] = json.loads(entry)
    python, *script = json.loads(check.removeprefix("CMD "))
    port = free_port()
    settings = tmp_path / "picoauth.toml"
    settings.write_text(
        f'plugins = ["password"]\nbind = ["tcp:127.0.0.1:{port}"]\n', encoding="utf-8"
    )
    probe = [f"{image}{python}", *(part.replace(":8100", f":{port}") for part in script)]
    server = [f"{image}{path}", *json.loads(command)]
    environment = {"PICOAUTH_CONFIG": str(settings)}
    with running(server, tmp_path, lambda said: "/auth/login" in said, environment):
        assert 0 == subprocess.run(probe, check=False).returncode
    down = subprocess.run(probe, check=False, stderr=subprocess.DEVNULL)
    assert 1 == down.returncode


def test_nothing_secret_in_the_image() -> None:
    """Only what the packages are made of is copied: no database, no secret, no history."""
    [building, final] = stages()
    copies = [part for line in rest(building, "COPY") for part in line.split()[:-1]]
    about = {"LICENSE", "README.md", "constraints.txt", "pyproject.toml"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    modules = {f"{name}.py" for name in project["tool"]["setuptools"].get("py-modules", ())}
    assert sorted({*about, *modules, "picoauth", "plugins"}) == sorted(copies)
    assert ["--from=build /opt/picoauth /opt/picoauth"] == rest(final, "COPY")
    assert ["10001"] == rest(final, "USER")
    assert ["PICOAUTH_CONFIG=/data/picoauth.toml"] == rest(final, "ENV")
