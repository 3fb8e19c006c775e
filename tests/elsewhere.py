"""A pytest plugin: servers of the tests keep their rows with another engine than the file.

`PICOAUTH_ENGINE=package.module:Engines pytest -p tests.elsewhere …`. The class is made once; its
method `engine(path)` answers an engine for what would be this file, with the same rows until
`release(path)`. Tests that are about the file itself are marked `embedded`, and are left out.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import pytest

from picoauth import Database, auth
from tests import storage

KERNEL = ("test_journeys", "test_races", "test_faults", "test_login_flow")
"""Modules that every engine has to pass all the time: those that ask most of one. All that there
are, `every`, take long.
"""
NONE = "none of its tests asks a database"
FILE = "is about the file"
PROCESSES = "what it starts are processes of their own, which open the file"
ANOTHER = "has an engine of its own, for several machines"
TEST = "is about another test, and about what that finds in the file"
LEFT_OUT: dict[str, str] = {
    "test_authenticator": NONE,
    "test_backups": FILE,
    "test_config": NONE,
    "test_connections": NONE,
    "test_container": PROCESSES,
    "test_copies": FILE,
    "test_database_mutants": FILE,
    "test_devices": NONE,
    "test_docs": PROCESSES,
    "test_doctor": FILE,
    "test_doctor_cli": FILE,
    "test_doctor_proxy": PROCESSES,
    "test_embedded": FILE,
    "test_examples": NONE,
    "test_fault_scripts": PROCESSES,
    "test_first_run": PROCESSES,
    "test_guards": NONE,
    "test_identifiers": NONE,
    "test_import_page": PROCESSES,
    "test_kept_releases": FILE,
    "test_listeners": NONE,
    "test_machines": ANOTHER,
    "test_original_scripts": PROCESSES,
    "test_pages": NONE,
    "test_portable": NONE,
    "test_run_it": PROCESSES,
    "test_scaffold": PROCESSES,
    "test_schemas": NONE,
    "test_shapes": NONE,
    "test_stateful_mutants": TEST,
    "test_stress": PROCESSES,
    "test_template": NONE,
    "test_two_processes": PROCESSES,
    "test_two_servers": PROCESSES,
    "test_upgrades": FILE,
}
"""Modules of the kernel's tests that say nothing about another engine, and why."""


def every() -> Sequence[str]:
    """All modules of the kernel's tests but those that are left out."""
    found = sorted(path.stem for path in Path(__file__).parent.glob("test_*.py"))
    return [module for module in found if module not in LEFT_OUT]


def run(engines: str, path: Path, module: str) -> None:
    """Run a module of the kernel's tests, in a process of its own."""
    root = Path(__file__).parent.parent
    options = ("-q", "-p", "no:cacheprovider", "-p", "tests.elsewhere", "--no-header")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, f"tests/{module}.py"],
        cwd=root,
        env={**os.environ, "PICOAUTH_ENGINE": engines, "PYTHONPATH": f"{path}:{root}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-10_000:]


class Engines(Protocol):
    def engine(self, path: Path) -> Database: ...
    def release(self, path: Path) -> None: ...
    def end(self) -> None: ...


class Elsewhere:
    """Whose rows are where: by the files that they would be in."""

    def __init__(self, engines: Engines) -> None:
        self.engines = engines
        self.paths: set[Path] = set()
        self.asked = 0

    def engine(self, path: Path) -> Database:
        self.asked += 1
        self.paths.add(path)
        return self.engines.engine(path)

    def release(self, paths: set[Path]) -> None:
        for path in paths:
            self.engines.release(path)
        self.paths -= paths


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    about = [item for item in items if item.get_closest_marker("embedded")]
    items[:] = [item for item in items if item not in about]
    config.hook.pytest_deselected(items=about)


@pytest.fixture(scope="session", autouse=True)
def elsewhere() -> Iterator[Elsewhere]:
    """Every `Auth` has it, as if a plugin had filled the slot; servers of a whole module, too."""
    module, _, name = os.environ["PICOAUTH_ENGINE"].partition(":")
    there = Elsewhere(getattr(importlib.import_module(module), name)())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(auth, "Embedded", there.engine)
        patch.setattr(storage, "engine", there.engine)
        yield there
    there.release({*there.paths})
    there.engines.end()
    assert there.asked, "no test of these asked the engine for anything"


@pytest.fixture(autouse=True)
def released(elsewhere: Elsewhere) -> Iterator[None]:
    """What a test had for itself is gone after it."""
    before = {*elsewhere.paths}
    yield
    elsewhere.release(elsewhere.paths - before)
