"""`picoauth new-plugin`: what it writes, what it refuses, and that all of it works as it stands."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from picoauth import migrations
from picoauth.cli import cli
from picoauth.scaffold import FILES, LONGEST, SKELETON
from tests.distributions import distributing

ROOT = Path(__file__).parent.parent
TOOLS = Path(sys.executable).parent
LONG = "n" * LONGEST


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the command is run: an empty folder, without settings."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PICOAUTH_CONFIG", str(tmp_path / "nowhere.toml"))
    return tmp_path


def new_plugin(*arguments: str) -> Result:
    result = CliRunner().invoke(cli, ["new-plugin", *arguments], prog_name="picoauth")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def refused(*arguments: str) -> str:
    """The one sentence of a command that does nothing."""
    result = new_plugin(*arguments)
    assert (2, "") == (result.exit_code, result.stdout)
    return result.stderr.removeprefix("picoauth: ").removesuffix("\n")


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Kernel and password plugin as someone else gets them: packages without what a build leaves."""
    folder = tmp_path_factory.mktemp("sources")
    litter = shutil.ignore_patterns("build", "*.egg-info", "__pycache__", "tests", ".*")
    for source in (ROOT, ROOT / "plugins/picoauth-password"):
        copy = folder / source.name
        copy.mkdir()
        for name in ("pyproject.toml", "README.md", "LICENSE", "pytest_picoauth.py"):
            if (source / name).exists():
                shutil.copy(source / name, copy)
        for package in source.glob("picoauth*/__init__.py"):
            shutil.copytree(package.parent, copy / package.parent.name, ignore=litter)
    return sorted(folder.iterdir())


def run(command: str, folder: Path, **environment: str) -> str:
    """Run a shell's lines, one after the other, without what this test's own Python is told."""
    outer = ("COV", "VIRTUAL", "PYTHON", "PYTEST")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(outer)}
    done = subprocess.run(
        ["bash", "-e", "-c", command],
        cwd=folder,
        env={**kept, "PIP_CONSTRAINT": str(ROOT / "constraints.txt"), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_new_plugin_in_a_clean_environment(sources: list[Path], folder: Path) -> None:
    """Made by an installed picoauth, it installs and passes its test by the printed lines.

    Lint, format and types find nothing either.
    """
    run(f"{sys.executable} -m venv clean", folder)
    clean = folder / "clean/bin"
    install = f"{clean}/python -m pip install --quiet {' '.join(map(str, sources))}"
    run(install, folder)
    said = run("picoauth new-plugin two-words", folder, PATH=f"{clean}:{os.environ['PATH']}")
    written, licence, *lines = said.splitlines()
    assert "Wrote picoauth-two-words: a plugin with one route, one table and one test." == written
    assert "It has no LICENSE yet: which one is yours to say. Go on:" == licence
    assert [
        "  cd picoauth-two-words",
        "  python -m pip install --editable '.[test]'",
        "  python -m pytest",
    ] == lines
    said = run("\n".join(lines), folder, PATH=f"{clean}:{os.environ['PATH']}")
    assert " 1 passed in " in said
    package = folder / "picoauth-two-words"
    run(f"{TOOLS}/ruff format --check && {TOOLS}/ruff check", package)
    run(f"{TOOLS}/mypy --python-executable {clean}/python", package)


def test_files(folder: Path) -> None:
    """All that a package needs is there, each name filled in, and nothing of the skeleton left."""
    assert 0 == new_plugin("two-words").exit_code
    package = folder / "picoauth-two-words"
    assert {
        ".ci/run",
        ".github/workflows/test.yml",
        ".gitignore",
        "README.md",
        "pyproject.toml",
        "picoauth_two_words/__init__.py",
        "picoauth_two_words/py.typed",
        "tests/test_two_words.py",
    } == files(package)
    project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    assert {"two-words": "picoauth_two_words:TwoWordsPlugin"} == project["entry-points"][
        "picoauth.v1"
    ]
    assert ["picoauth>=0.1.0"] == project["dependencies"]
    assert [] == [path for path in files(package) if "%" in (package / path).read_text()]


def test_skeleton_is_used_whole() -> None:
    """Every file of the skeleton goes somewhere."""
    assert {f"{source}.in" for source in FILES.values()} == files(SKELETON)


@pytest.mark.parametrize("name", ["x", "x9", "order", "a-b-c", LONG])
def test_any_name_keeps_the_rules(folder: Path, name: str) -> None:
    """Whatever the name, the package keeps its form, and its table is one that it may have."""
    assert 0 == new_plugin(name).exit_code
    package = folder / f"picoauth-{name}"
    run(f"{TOOLS}/ruff format --check && {TOOLS}/ruff check", package)
    names: dict[str, tuple[str, ...]] = {}
    [module] = package.glob("picoauth_*/__init__.py")
    exec(module.read_text(), names)  # noqa: S102 - what was just written
    migrations.check(name, names["MIGRATIONS"])


def test_readme_is_in_our_order(folder: Path) -> None:
    """What it is, two commands, settings, routes, tables, and where to read on."""
    new_plugin("hello")
    text = (folder / "picoauth-hello/README.md").read_text()
    heads = [line for line in text.splitlines() if line.startswith("#") and "# " in line[:3]]
    assert [
        "# picoauth-hello",
        "## Two commands",
        "## Settings",
        "## HTTP",
        "## Tables",
        "## Licence",
        "## Read on",
    ] == heads


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("Hello", '"Hello" cannot be a plugin: it must be a name such as "password".'),
        ("../up", '"../up" cannot be a plugin: it must be a name such as "password".'),
        ("", '"" cannot be a plugin: it must be a name such as "password".'),
        ("users", '"users" is a command, a setting or a table of the kernel: choose another.'),
        (
            "new-plugin",
            '"new-plugin" is a command, a setting or a table of the kernel: choose another.',
        ),
        ("signing", '"signing" is a command, a setting or a table of the kernel: choose another.'),
        (
            "picoauth-x",
            '"picoauth-x" says picoauth twice: leave it out, the package gets it anyway.',
        ),
        ("password", '"password" is the plugin picoauth-password: choose another name.'),
        (f"{LONG}n", f'"{LONG}n" is too long: choose a name of at most 32 characters.'),
    ],
)
def test_names_that_are_refused(folder: Path, name: str, sentence: str) -> None:
    """What the server would refuse to list is not written to begin with."""
    assert sentence == refused(name)
    assert set() == files(folder)


def test_nothing_is_overwritten(folder: Path) -> None:
    """What is there stays as it is, be it an empty folder, a file, or a link to nowhere."""
    (folder / "picoauth-a").mkdir()
    (folder / "picoauth-b").write_text("mine")
    (folder / "picoauth-c").symlink_to("nowhere")
    for name in "abc":
        sentence = f"picoauth-{name} exists already: choose another name, or move it away."
        assert sentence == refused(name)
    assert {"picoauth-b"} == files(folder)
    assert "mine" == (folder / "picoauth-b").read_text()


def test_into_another_folder(folder: Path) -> None:
    """`--into` says where, and the printed line goes there, whatever its name."""
    (folder / "my plugins").mkdir()
    result = new_plugin("hello", "--into", "my plugins")
    assert "  cd 'my plugins/picoauth-hello'" in result.stdout.splitlines()
    assert (folder / "my plugins/picoauth-hello/pyproject.toml").exists()


def test_into_no_folder(folder: Path) -> None:
    """A folder that is not there is not made."""
    there = folder / "none/picoauth-hello"
    sentence = (
        f"{there} cannot be written: No such file or directory. "
        "Make its folder, or choose another by --into."
    )
    assert sentence == refused("hello", "--into", str(folder / "none"))


def test_all_or_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a file cannot be written, none is left."""
    monkeypatch.setattr("picoauth.scaffold.SKELETON", folder / "lost")
    sentence = (
        "picoauth-hello cannot be written: No such file or directory. "
        "Make its folder, or choose another by --into."
    )
    assert sentence == refused("hello")
    assert [] == list(folder.iterdir())


def test_hint_at_an_installed_one(folder: Path) -> None:
    """A plugin of the same name is no hindrance, but worth knowing."""
    (folder / "installed").mkdir()
    with distributing(folder / "installed") as distributions:
        distributions.add("picoauth-hello", "hello")
        result = new_plugin("hello")
    told = "plugin hello (picoauth-hello 1.0) is installed too: no server can list two of one name."
    assert (0, f"picoauth: {told}\n") == (result.exit_code, result.stderr)


def test_the_python_of_the_printed_lines(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where `python` is another one, the lines name the one that has picoauth."""
    monkeypatch.setenv("PATH", str(folder))
    assert f"  {sys.executable} -m pytest" in new_plugin("hello").stdout.splitlines()
