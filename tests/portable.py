"""The SQL of the kernel and of first-party plugins: where it stands, and what it says."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path

from tests.pages import PAGES, ROOT, Block, blocks

MODULES = [
    *sorted(ROOT.glob("picoauth/**/*.py")),
    *sorted(ROOT.glob("plugins/*/picoauth_*/**/*.py")),
]
SIGNATURE = re.compile(r"(?:async )?def (\w+)(\(.*\) -> .*)\n")
"""An example that is a hook, and has no body."""
BEGINS = re.compile(
    r"\s*(select|insert|update|delete|replace into|with|values|create|alter|drop|pragma|vacuum"
    r"|attach|begin|rollback|savepoint|release)\s+\S"
)
Text = ast.Constant | ast.JoinedStr
LISTS = dict.fromkeys(("ids", "names", "retired"), ("one", "two"))
"""What stands in for lists of a function, by their names: only their length is in a statement."""


@dataclass(frozen=True)
class Sql:
    """A text of a module that is SQL."""

    path: Path
    node: Text

    @property
    def module(self) -> str:
        """As `picoauth/sessions.py` or `picoauth_totp/factor.py`."""
        parts = self.path.relative_to(ROOT).parts
        return "/".join(parts if parts[0] == "picoauth" else parts[2:])

    @property
    def text(self) -> str:
        """As it is written, with what is computed in braces."""
        return written(self.node)

    def value(self) -> str:
        """With what its module knows filled in. Raises NameError where a function knows more."""
        known = {**LISTS, **vars(import_module(dotted(self.module)))}
        return str(eval(compile(ast.Expression(self.node), self.module, "eval"), known))  # noqa: S307 - the repository's own


def dotted(module: str) -> str:
    return module.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def written(node: Text) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    return "".join(
        f"{{{ast.unparse(part.value)}}}" if isinstance(part, ast.FormattedValue) else written(part)
        for part in node.values
    )


@cache
def statements() -> Sequence[Sql]:
    """Every text that begins as SQL does; docstrings are none."""
    return [sql for path in MODULES for sql in of(path, ast.parse(path.read_text("utf-8")))]


@cache
def shown() -> Sequence[Sql]:
    """The same of the examples in the docs, which others copy."""
    return [sql for page in PAGES for block in blocks(page) for sql in of_block(block)]


def of_block(block: Block) -> Iterator[Sql]:
    if block.language == "python" and not SIGNATURE.fullmatch(block.text):
        yield from of(block.page, ast.increment_lineno(ast.parse(block.text), block.line))


def of(path: Path, tree: ast.Module) -> Iterator[Sql]:
    parts = {id(part) for part in within(tree)}
    for node in ast.walk(tree):
        if isinstance(node, Text) and id(node) not in parts and BEGINS.match(written(node)):
            yield Sql(path, node)


def within(tree: ast.AST) -> Iterator[ast.AST]:
    """The parts of texts that are composed, and docstrings."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield from (part for value in node.values for part in ast.walk(value))
        elif isinstance(node, ast.Expr):
            yield node.value


def migrations() -> Sequence[str]:
    """Those of the kernel, and then of every plugin."""
    found: list[str] = [*import_module("picoauth.schema").KERNEL]
    for path in MODULES:
        if "\nMIGRATIONS" in path.read_text(encoding="utf-8"):
            found += import_module(dotted(Sql(path, ast.Constant("")).module)).MIGRATIONS
    return found
