"""The examples stay what they are: small, and made of nothing that a third party has not."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

import picoauth

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted(path.parent for path in ROOT.glob("examples/*/pyproject.toml"))
MOST = {"picoauth-ldap": 80, "picoauth-one-time-link": 80, "picoauth-postgres": 120}
"""Lines of code in an example's package.

What is left without imports, blank lines, comments and docstrings.
"""


def modules(example: Path) -> list[Path]:
    return sorted(example.glob("picoauth_*/*.py"))


def code(path: Path) -> set[int]:
    """The lines that count, by number."""
    text = path.read_text(encoding="utf-8")
    written = {
        n for n, line in enumerate(text.splitlines(), 1) if line.strip()[:1] not in ("", "#")
    }
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            written -= set(range(node.lineno, (node.end_lineno or 0) + 1))
        if isinstance(node, ast.Import | ast.ImportFrom):
            written -= set(range(node.lineno, (node.end_lineno or 0) + 1))
    return written


def test_examples_are_found() -> None:
    """The tests here look at something."""
    assert [*MOST] == [path.name for path in EXAMPLES]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_examples_stay_small(example: Path) -> None:
    """An example is read in one go."""
    assert sum(len(code(path)) for path in modules(example)) <= MOST[example.name]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_examples_import_public_names(example: Path) -> None:
    """What a third party writes needs no name of the kernel that is not public."""
    for path in modules(example):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "picoauth":
                assert "picoauth" == node.module
                assert [] == [a.name for a in node.names if a.name not in picoauth.__all__]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_examples_are_packages(example: Path) -> None:
    """Each is installed by its pyproject.toml, typed, and has its README and tests."""
    project = tomllib.loads((example / "pyproject.toml").read_text(encoding="utf-8"))
    [package] = project["tool"]["setuptools"]["packages"]
    assert (example / package / "py.typed").exists()
    assert f"# {example.name}\n" in (example / "README.md").read_text(encoding="utf-8")
    assert list(example.glob("tests/test_*.py"))
    assert {"picoauth>=0.1.0"} < set(project["project"]["dependencies"])
