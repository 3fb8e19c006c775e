"""`picoauth new-plugin`: a package to begin with, which installs, passes its test and its checks."""

from __future__ import annotations

import json
import shlex
import shutil
import string
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import click

from picoauth.discovery import installed, is_reserved
from picoauth.errors import ConfigError
from picoauth.formats import check_name

SKELETON = Path(__file__).with_name("skeleton")
LONGEST = 32
"""Characters of a name; with more the lines of the skeleton would need another form."""

FILES = {
    ".ci/run": "run",
    ".github/workflows/test.yml": "workflow.yml",
    ".gitignore": "gitignore",
    "README.md": "README.md",
    "pyproject.toml": "pyproject.toml",
    "%package/__init__.py": "plugin.py",
    "%package/py.typed": "py.typed",
    "tests/test_%module.py": "test.py",
}
"""Where each file of the skeleton goes. There its names end in `.in`, so that no tool runs them."""


class Blank(string.Template):
    """A text with names to fill in; `$` belongs to shells and workflows."""

    delimiter = "%"


@click.command("new-plugin")
@click.argument("name")
@click.option(
    "--into",
    type=click.Path(path_type=Path),
    metavar="DIR",
    default=Path(),
    help="The folder to write it into.  [default: the current one]",
)
def new_plugin(name: str, into: Path) -> None:
    """Write the package of a new plugin.

    It becomes the folder picoauth-NAME, with a route, a table and a test to begin with.
    """
    check(name)
    target = into / f"picoauth-{name}"
    write(target, names(name))
    for found in installed():
        if found.origin.name == name:
            told = f"{found.origin} is installed too: no server can list two of one name."
            click.echo(f"picoauth: {told}", err=True)
    click.echo(f"Wrote {target}: a plugin with one route, one table and one test.")
    click.echo("It has no LICENSE yet: which one is yours to say. Go on:")
    click.echo(f"  cd {shlex.quote(str(target))}")
    click.echo(f"  {python()} -m pip install --editable '.[test]'")
    click.echo(f"  {python()} -m pytest")


def check(name: str) -> None:
    """Raises ConfigError for what cannot be the name of a new plugin."""
    quoted = json.dumps(name, ensure_ascii=False)
    try:
        check_name(name)
    except ValueError as error:
        raise ConfigError(f"{quoted} cannot be a plugin: it {error}.") from error
    if name.startswith("picoauth-"):
        raise ConfigError(
            f"{quoted} says picoauth twice: leave it out, the package gets it anyway."
        )
    if len(name) > LONGEST:
        raise ConfigError(f"{quoted} is too long: choose a name of at most {LONGEST} characters.")
    if is_reserved(name):
        raise ConfigError(
            f"{quoted} is a command, a setting or a table of the kernel: choose another."
        )
    if name == "password":  # by which the test of the new package logs in
        raise ConfigError(f"{quoted} is the plugin picoauth-password: choose another name.")


def names(name: str) -> Mapping[str, str]:
    """What is filled into the skeleton."""
    module, words = name.replace("-", "_"), name.split("-")
    return {
        "name": name,
        "title": " ".join(words).capitalize(),
        "package": f"picoauth_{module}",
        "module": module,
        "kind": "".join(word.capitalize() for word in words),
        "version": version("picoauth").partition("+")[0],  # a local part is no lower bound
    }


def write(target: Path, filled: Mapping[str, str]) -> None:
    """Write the files into a new folder: all of them, or none. Raises ConfigError."""
    try:
        target.mkdir()
    except FileExistsError as error:
        raise ConfigError(
            f"{target} exists already: choose another name, or move it away."
        ) from error
    except OSError as error:
        raise unwritable(target, error) from error
    try:
        for path, source in FILES.items():
            put(target / Blank(path).substitute(filled), source, filled)
    except OSError as error:
        shutil.rmtree(target, ignore_errors=True)
        raise unwritable(target, error) from error


def put(path: Path, source: str, filled: Mapping[str, str]) -> None:
    text = (SKELETON / f"{source}.in").read_text(encoding="utf-8")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(Blank(text).substitute(filled), encoding="utf-8")


def unwritable(target: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"{target} cannot be written: {error.strerror}. Make its folder, or choose another by --into."
    )


def python() -> str:
    """The Python that has picoauth, as short as a shell finds it."""
    short = shutil.which("python")
    return "python" if short == sys.executable else shlex.quote(sys.executable)
