"""Tests that keep the house as it is."""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path

import click
import pytest

import picoauth
import picoauth.testing
from picoauth import Application, Auth, Event, Plugin, parse, problems
from picoauth.accountsettings import AccountSettings
from picoauth.cli import LATER, Cli, cli
from picoauth.discovery import installed
from picoauth.errors import Problem
from picoauth.phrases import summary
from picoauth.plugins import specs
from picoauth.routes import AnyRoute
from picoauth.samples import sample
from picoauth.settings import Config, CookieSettings, LoginSettings, ThrottleSettings, TokenSettings
from picoauth.testing import MailPlugin, authenticator, offer
from tests import elsewhere
from tests.boss import BossPlugin

ROOT = Path(__file__).parent.parent
KERNEL = sorted((ROOT / "picoauth").glob("*.py"))
SOURCES = [*KERNEL, *sorted(ROOT.glob("plugins/*/picoauth_*/*.py"))]
DOCS = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md")}
TESTED = [*ROOT.glob("tests/*.py"), *ROOT.glob("plugins/*/tests/*.py")]
TESTS = "".join(path.read_text(encoding="utf-8") for path in TESTED)


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def calls(path: Path) -> Iterator[str]:
    """Every call in a module, as it is written."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)


def events() -> list[type[Event]]:
    found = (getattr(picoauth, name) for name in picoauth.__all__)
    return [e for e in found if isinstance(e, type) and issubclass(e, Event) and e is not Event]


def codes() -> list[str]:
    """Every problem code, of the kernel and of first-party plugins."""
    found = re.findall(r'Problem\(\s*\d+,\s*"(\w+)"', "".join(p.read_text() for p in SOURCES))
    assert found
    return sorted(set(found))


def test_public_names_exist() -> None:
    """`__all__` is sorted, complete, and each name is there."""
    assert sorted(set(picoauth.__all__)) == sorted(picoauth.__all__)
    assert [name for name in picoauth.__all__ if not hasattr(picoauth, name)] == []


@pytest.mark.parametrize("path", KERNEL, ids=lambda path: path.name)
def test_kernel_modules_stay_small(path: Path) -> None:
    """No kernel module is longer than 250 lines."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 250


def test_proportions() -> None:
    """The median module has at most 110 lines, the median function at most 8."""
    lengths = sorted(len(path.read_text(encoding="utf-8").splitlines()) for path in KERNEL)
    functions = sorted(
        body_length(node)
        for path in KERNEL
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    assert lengths[len(lengths) // 2] <= 110
    assert functions[len(functions) // 2] <= 8


def body_length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its docstring."""
    body = node.body[1:] if ast.get_docstring(node) else node.body
    if not body:
        return 0
    return (body[-1].end_lineno or 0) - body[0].lineno + 1


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_modules_say_what_they_own(path: Path) -> None:
    """A module opens with one sentence."""
    assert re.fullmatch(r"[^\n]+\.", (ast.get_docstring(tree(path)) or "").split("\n\n")[0])


def imports(path: Path) -> set[str]:
    """Kernel modules that a module needs when it is imported."""
    found = set()
    for node in tree(path).body:  # not those under TYPE_CHECKING, or within functions
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("picoauth"):
            base = (node.module or "").removeprefix("picoauth").lstrip(".")
            found |= {base} if base else {alias.name for alias in node.names}
    return found


def test_imports_have_no_cycles() -> None:
    """Kernel modules import each other in one direction."""
    graph = {path.stem: imports(path) for path in KERNEL if path.stem != "__init__"}
    done: set[str] = set()
    while len(done) < len(graph):
        free = {name for name, needs in graph.items() if name not in done and needs <= done}
        assert free, f"a cycle among {sorted(graph.keys() - done)}"
        done |= free


def test_kernel_imports_no_plugin() -> None:
    """Nothing in the kernel names a plugin's package."""
    assert [
        path.name
        for path in KERNEL
        if re.search(r"import picoauth_|from picoauth_", path.read_text())
    ] == []


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("plugins/*/picoauth_*/*.py")), ids=lambda p: p.name
)
def test_plugins_import_public_names(path: Path) -> None:
    """First-party plugins import only what third parties may."""
    kit = {
        "picoauth.testing": picoauth.testing.__all__,
        authenticator.__name__: vars(authenticator),
    }
    allowed = {"picoauth": picoauth.__all__, **(kit if path.name == "testing.py" else {})}
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "picoauth":
            assert node.module in allowed
            names = allowed[node.module]
            assert [a.name for a in node.names if a.name not in names] == []


def test_sessions_are_made_at_one_place() -> None:
    """One function puts sessions into the store, and one makes users."""
    puts = [path.name for path in SOURCES for call in calls(path) if call.endswith("sessions.put")]
    made = [path.name for path in SOURCES for call in calls(path) if call == "Session"]
    assert puts == ["mint.py"]
    reading = ["keeper.py", "sqlsessions.py"]  # what a store has
    assert sorted(made) == sorted(["mint.py", *reading])
    inserts = [path.name for path in SOURCES if "insert into users" in path.read_text()]
    assert inserts == ["users.py"]


def test_users_are_made_after_plugins_are_asked() -> None:
    """What makes one user and what makes many write the same, and ask every plugin first."""
    callers = {p.name for p in SOURCES for call in calls(p) if call.endswith(".registering")}
    asking = {p.name for p in SOURCES for call in calls(p) if call.endswith("s.check_registration")}
    assert callers == {"users.py", "registering.py"}
    assert asking == {"registering.py"}
    asked = [call for call in calls(ROOT / "picoauth/users.py") if "check_registration" in call]
    assert asked == ["self.check_registration"]


def test_no_hook_takes_the_first_result() -> None:
    """Every answer of every plugin counts: no firstresult, no wrappers."""
    for name in specs(Plugin):
        assert getattr(Plugin, name).picoauth_spec["firstresult"] is False
    assert "hookwrapper" not in "".join(path.read_text() for path in SOURCES)


CONSTANT = re.compile(r"[A-Z_]+|', '\.join\('\?' \* [^)]*\)\)?")
COMPOSED = {  # what else goes into SQL: column names and conditions written in the same function
    "sets",
    "where",
    "which",
    "key",  # expressions of the throttle's keys, whose arguments come with them
    "begun",
    "whose.sql",  # one of two expressions for the id of a user
    "way.order",
    "way.source",
    "', '.join('?' * len(ids))",
    "names",  # of tables and columns, as migrations have them
    "table",
    "self.table",  # those that are sealed, named by the code of their owner
    "self.row",
    "', '.join('?' * len(names))",
    "', '.join('?' * len(retired))",
    "', '.join('?' * 17)",
}


def test_sql_is_made_of_constants() -> None:
    """No value ever goes into the text of a statement: arguments are bound (D-1)."""
    composed = set()
    for path in SOURCES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.JoinedStr) and is_sql(node):
                parts = [v.value for v in node.values if isinstance(v, ast.FormattedValue)]
                composed |= {ast.unparse(part) for part in parts}
    assert {part for part in composed if not re.fullmatch("[A-Z_]+", part)} - COMPOSED == set()


def is_sql(node: ast.JoinedStr) -> bool:
    first = node.values[0]
    text = first.value if isinstance(first, ast.Constant) else ""
    return bool(re.match(r"\s*(select|insert|update|delete)\s", str(text)))


@pytest.mark.parametrize("name", sorted(specs(Plugin)))
def test_hooks_are_documented(name: str) -> None:
    """`docs/hooks.md` has each hook with its exact signature."""
    function = getattr(Plugin, name)
    signature = str(inspect.signature(function)).replace("'", "")
    colour = "async def" if inspect.iscoroutinefunction(function) else "def"
    assert f"### `{name}`\n\n```python\n{colour} {name}{signature}\n```\n" in DOCS["hooks.md"]


@pytest.mark.parametrize("name", sorted(specs(Plugin)))
def test_hooks_are_tested(name: str) -> None:
    """A test is named after each hook."""
    assert f"def test_hook_{name}(" in TESTS


@pytest.mark.parametrize("event", events(), ids=lambda event: event.__name__)
def test_events_are_documented(event: type[Event]) -> None:
    """`docs/events.md` names each event, and a test does."""
    assert f"`{event.__name__}`" in DOCS["events.md"]
    assert event.__name__ in TESTS


@pytest.mark.parametrize("code", codes())
def test_codes_are_documented(code: str) -> None:
    """`docs/errors.md` names each code, and a test does."""
    assert f"`{code}`" in DOCS["errors.md"]
    assert f'"{code}"' in TESTS


def test_kernel_codes_have_their_names() -> None:
    """A problem's name in the source is its code in capitals."""
    found = {n: p for n, p in vars(problems).items() if isinstance(p, Problem)}
    assert {name for name, problem in found.items() if name != problem.code.upper()} == set()


def test_routes_are_described(tmp_path: Path) -> None:
    """Each route has a summary, says what it answers, and shows a body where it takes one."""
    folders = [path for path in ROOT.glob("plugins/*") if (path / "tests").is_dir()]
    plugins = [one for one in folders if "picoauth.v1" in (one / "pyproject.toml").read_text()]
    names = [path.name.removeprefix("picoauth-") for path in plugins]
    slots = (
        "session-",
        "mail-",
        "smtp",
        "magic-link",
        "hibp",
        "ratelimit",
        "webhook",
        "encrypted",
        "libsql",
    )
    names = [name for name in names if not name.startswith(slots)]
    needed = (
        'trusted_proxies = ["unix"]\n[forward-auth]\nhosts = ["wiki.example.com"]\n'
        "[email]\nrequire_verified = true\n[indieauth-login]\ndomains = true\n"
        '[privateauth]\nconsent_url = "built-in"\n'
    )
    kit = {"captured-mail": MailPlugin} | ({} if "admin" in names else {"boss": BossPlugin})
    settings = f"plugins = {json.dumps([*names, *kit])}\n{needed}"
    found = [*installed(), *(offer(name, kind) for name, kind in kit.items())]
    app = Application(Auth(parse(settings, tmp_path), found=found))
    assert {"picoauth", *names} == {owner for owner, _ in app.description.routes}
    for _, route in app.description.routes:
        name = f"{route.method} {route.path}"
        assert name != summary(route)
        assert route.answer or route.status in (204, 303) or route.path == "/oauth/revoke", name
        assert is_shown(route), name


def is_shown(route: AnyRoute) -> bool:
    kind = route.known or route.body
    return kind is None or bool(route.example or (is_dataclass(kind) and sample(kind)))


@pytest.mark.parametrize(
    "kind",
    [Config, TokenSettings, CookieSettings, LoginSettings, ThrottleSettings, AccountSettings],
)
def test_settings_are_documented(kind: type) -> None:
    """`docs/configuration.md` names each setting."""
    names = [name for name, f in kind.__dataclass_fields__.items() if f.metadata]  # type: ignore[attr-defined]
    assert names
    assert [name for name in names if f"`{name}`" not in DOCS["configuration.md"]] == []


def commands(group: click.Group, above: str = "") -> Iterator[str]:
    """Every command of the kernel as it is typed."""
    for name in (*group.commands, *(LATER if group is cli else ())):
        command = group.get_command(click.Context(group), name)
        if isinstance(command, click.Group):
            yield from commands(command, f"{above}{name} ")
        else:
            yield above + name


def test_commands_are_documented() -> None:
    """The README or the docs name each command."""
    text = "".join(DOCS.values())
    assert isinstance(cli, Cli)
    names = list(commands(cli))
    assert [name for name in names if f"picoauth {name}" not in text] == []


def texts(node: ast.AST) -> list[str]:
    """The constant parts of the texts in a piece of code."""
    constants = (each for each in ast.walk(node) if isinstance(each, ast.Constant))
    return [each.value for each in constants if isinstance(each.value, str)]


def startup_messages() -> Iterator[tuple[str, list[str]]]:
    """What is constant in each ConfigError, by the place that raises it."""
    for path in SOURCES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "ConfigError":
                parts = [text for argument in node.args for text in texts(argument)]
                yield f"{path.name}:{node.lineno}", [part for part in parts if len(part) > 10]


SAID = "\n".join(text for path in TESTED for text in texts(tree(path)))


@pytest.mark.parametrize(("place", "parts"), list(startup_messages()))
def test_startup_messages_are_tested(place: str, parts: list[str]) -> None:
    """What an operator reads is in a test, word for word."""
    assert (place, []) == (place, [part for part in parts if part.strip() not in SAID])


def test_nothing_names_a_registry_or_this_machine() -> None:
    """No address of a package registry, and no path of one machine."""
    words = ["pypi" + ".org", "pythonhosted" + ".org", "/ro" + "ot/", "/wo" + "rk/"]
    texts = [
        *SOURCES,
        *(path for path in ROOT.glob("*.*") if not path.name.startswith((".coverage", ".git"))),
        *ROOT.glob("docs/*"),
        *ROOT.glob(".ci/*"),
        ROOT / "Makefile",
    ]
    hits = [
        (path.name, word)
        for path in texts
        if path.is_file()
        for word in words
        if word in path.read_text(encoding="utf-8", errors="replace")
    ]
    assert hits == []


def test_modules_that_run_elsewhere() -> None:
    """Each module of the kernel's tests runs on other engines too, unless it is left out with a reason."""
    modules = {path.stem for path in ROOT.glob("tests/test_*.py")}
    assert set() == {*elsewhere.LEFT_OUT} - modules
    assert {*elsewhere.every()} == modules - {*elsewhere.LEFT_OUT}
    assert {*elsewhere.KERNEL} <= {*elsewhere.every()}
    assert all(elsewhere.LEFT_OUT.values())


def test_marks_of_what_stays_here() -> None:
    """A test of the file is marked where other tests of its module run elsewhere, and only there."""
    marked = {
        p.stem for p in ROOT.glob("tests/test_*.py") if "pytest.mark.embedded" in p.read_text()
    }
    assert set() == {*marked} & {*elsewhere.LEFT_OUT} - {"test_guards"}
