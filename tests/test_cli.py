"""The command line: what a person reads, what a program reads, and how it ends."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import httpx
import pytest
from click.testing import CliRunner, Result

from picoauth import USER, Auth, Caller, Statement, Unavailable, load, parse
from picoauth.banner import banner
from picoauth.cli import cli, main
from picoauth.failures import joined
from picoauth.keymaterial import generate
from picoauth.testing import Server, serving
from tests import storage
from tests.distributions import Distributions, distributing
from tests.firstparty import INSTALLED, LISTED
from tests.plugs import TELL

SCRIPT = str(Path(sys.executable).with_name("picoauth"))
DEADLINE = 60
"""Seconds after which a test gives up on a process."""
NO_FILE = (
    "picoauth: There is no picoauth.toml: write one with `picoauth init`, "
    "or name another with --config.\n"
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the command is run: an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PICOAUTH_CONFIG", raising=False)
    return tmp_path


@pytest.fixture
def settings(folder: Path) -> Path:
    """A settings file that lists `password`."""
    path = folder / "picoauth.toml"
    path.write_text('plugins = ["password"]', encoding="utf-8")
    return path


@pytest.fixture
def distributions(folder: Path) -> Iterator[Distributions]:
    """Where the test installs plugins."""
    there = folder / "installed"
    there.mkdir()
    with distributing(there) as found:
        yield found


def picoauth(*arguments: str, given: str | None = None) -> Result:
    result = CliRunner().invoke(cli, arguments, input=given, prog_name="picoauth")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def done(*arguments: str, given: str | None = None) -> str:
    """What a command that does its work says."""
    result = picoauth(*arguments, given=given)
    assert (0, "") == (result.exit_code, result.stderr)
    return result.stdout


def refused(*arguments: str, code: int = 2) -> str:
    """What a command that does nothing says on standard error."""
    result = picoauth(*arguments)
    assert (code, "") == (result.exit_code, result.stdout)
    return result.stderr


def lines(*arguments: str) -> list[Any]:
    return [json.loads(line) for line in done(*arguments).splitlines()]


# Help, and what is misspelt.


def commands(text: str) -> list[str]:
    return re.findall(r"^  (\w+) ", text.partition("Commands:\n")[2], re.MULTILINE)


OWN = [
    *("init", "serve", "plugins", "migrate"),
    *("users", "sessions", "keys", "secret", "mail", "doctor"),
    *("backup", "restore", "upgrade", "completion", "stress"),
]


def test_help_without_settings(folder: Path) -> None:
    """Help needs no settings, and names the commands in the order of a first run."""
    assert OWN == commands(done("--help"))
    assert [] == list(folder.iterdir())


def test_help_with_settings(settings: Path) -> None:
    """Commands of listed plugins are named, too; nothing is made for it."""
    assert [*OWN, "password"] == commands(done("--help"))
    assert [settings] == list(settings.parent.iterdir())


@pytest.mark.usefixtures("settings")
def test_help_of_another_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Help is about the file that the option or the variable names."""
    (folder / "none.toml").write_text("plugins = []", encoding="utf-8")
    assert OWN == commands(done("--config", "none.toml", "--help"))
    monkeypatch.setenv("PICOAUTH_CONFIG", "none.toml")
    assert OWN == commands(done("--help"))
    assert [*OWN, "password"] == commands(done("--config", "picoauth.toml", "--help"))


def test_help_with_broken_plugins(settings: Path, distributions: Distributions) -> None:
    """Plugins that cannot be found have no commands, which harms nobody else's."""
    distributions.add("broken", "broken", "import nowhere_to_be_found")
    distributions.add("bare", "bare")
    settings.write_text('plugins = ["broken", "missing", "bare", "password"]', encoding="utf-8")
    assert [*OWN, "password"] == commands(done("--help"))
    settings.write_text("plugins = [", encoding="utf-8")
    assert OWN == commands(done("--help"))


def test_version() -> None:
    """The version is that of the distribution."""
    assert "picoauth, version 0.1.0\n" == done("--version")


@pytest.mark.parametrize("arguments", [(), ("users",)])
def test_no_command(arguments: Sequence[str]) -> None:
    """Without a command: the help."""
    assert commands(refused(*arguments))


def test_options_say_what_they_do() -> None:
    """The help has a text for each."""
    stress = cli.get_command(click.Context(cli), "stress")
    assert stress is not None
    options = [one for one in stress.params if isinstance(one, click.Option)]
    assert [] == [one.name for one in options if not one.help]


@pytest.mark.parametrize(
    "arguments", [("users", "list"), ("plugins",), ("migrate",), ("serve",), ("password", "set")]
)
def test_no_settings(folder: Path, arguments: Sequence[str]) -> None:
    """Without a settings file: one sentence, and nothing is made."""
    assert NO_FILE == refused(*arguments)
    assert [] == list(folder.iterdir())


@pytest.mark.usefixtures("settings")
def test_no_command_of_a_plugin() -> None:
    """The help of a plugin's commands."""
    assert ["set"] == commands(refused("password")) == commands(done("password", "--help"))


USAGE = "Usage: picoauth [OPTIONS] COMMAND [ARGS]...\nTry 'picoauth --help' for help.\n\nError: "


def test_unknown_command_without_settings() -> None:
    """A near command is suggested; anything else may be a plugin's."""
    assert f'{USAGE}There is no command "user", did you mean "users"?\n' == refused("user")
    assert NO_FILE == refused("totp")


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("user", 'There is no command "user", did you mean "users"?'),
        ("passwd", 'There is no command "passwd", did you mean "password"?'),
        ("sms", 'There is no command "sms".'),
        ("--sms", "No such option '--sms'."),
    ],
)
def test_unknown_command(name: str, said: str) -> None:
    """A near command is suggested, a plugin's too."""
    assert f"{USAGE}{said}\n" == refused(name)


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize(
    ("group", "name", "said"),
    [
        ("users", "creat", "No such command 'creat'. Did you mean 'create'?"),
        ("password", "sett", "No such command 'sett'. Did you mean 'set'?"),
        ("users", "--creat", "No such option '--creat'."),
    ],
)
def test_unknown_command_of_a_group(group: str, name: str, said: str) -> None:
    """The same below a group, the kernel's or a plugin's."""
    assert refused(group, name).endswith(f"\n\nError: {said}\n")


def test_command_of_a_plugin_that_is_not_on(settings: Path, distributions: Distributions) -> None:
    """A plugin that is installed and not listed is told from one that is not there."""
    settings.write_text("plugins = []", encoding="utf-8")
    distributions.add("other", "other")
    assert (
        "picoauth: plugin password (picoauth-password 0.1.0) is not on: "
        "add it to `plugins` in picoauth.toml.\n"
    ) == refused("password", "set", "ann")


def test_command_of_a_plugin_that_has_none(settings: Path, distributions: Distributions) -> None:
    """A plugin without commands is no command."""
    distributions.add("bare", "bare")
    settings.write_text('plugins = ["bare"]', encoding="utf-8")
    assert f'{USAGE}There is no command "bare".\n' == refused("bare")


def test_commands_of_a_plugin_that_is_broken(settings: Path, distributions: Distributions) -> None:
    """The plugin that was asked for is named with what is wrong."""
    distributions.add("broken", "broken", "1 / 0")
    settings.write_text('plugins = ["broken"]', encoding="utf-8")
    assert (
        "picoauth: plugin broken (broken 1.0) cannot be imported (ZeroDivisionError: "
        "division by zero): reinstall it, or remove it from `plugins`.\n"
    ) == refused("broken", "do")


COMMANDS = """
import asyncio
import click
from picoauth import Conflict, NoSettings, Plugin, Unavailable, hookimpl

@click.command()
def fail():
    raise RuntimeError("boom")

@click.command()
def down():
    raise Unavailable("the box is down")

@click.command()
def race():
    raise Conflict(3)

@click.command()
@click.pass_context
def three(ctx):
    ctx.exit(3)

@click.command()
def wait():
    async def work():
        click.echo("waiting")
        await asyncio.Event().wait()
    asyncio.run(work())

class Made(Plugin[NoSettings]):
    @hookimpl
    def commands(self):
        return [fail, down, race, three, wait]
"""


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (
            "fail",
            2,
            f"picoauth: plugin tool (tool 1.0) fails (RuntimeError: boom): {TELL}.\n",
        ),
        (
            "down",
            1,
            "picoauth: Nothing was done, since the box is down: try again when that is mended.\n",
        ),
        ("race", 1, "picoauth: Another change came first: nothing was done, try again.\n"),
        ("three", 3, ""),
    ],
)
def test_command_of_a_plugin_that_fails(
    settings: Path, distributions: Distributions, command: str, code: int, said: str
) -> None:
    """Whatever a plugin's command raises, it ends in a sentence and an exit code."""
    distributions.add("tool", "tool", COMMANDS)
    settings.write_text('plugins = ["tool"]', encoding="utf-8")
    assert said == refused("tool", command, code=code)


# Setting up.


def test_init(folder: Path) -> None:
    """It writes a file that a server takes, and says what comes next."""
    assert (
        f"Wrote picoauth.toml, with the plugins {', '.join(LISTED)}.\nStart the server: picoauth serve\n"
    ) == done("init")
    text = (folder / "picoauth.toml").read_text(encoding="utf-8")
    assert LISTED == parse(text, folder).plugins


def test_init_never_overwrites(settings: Path) -> None:
    """A file that is there stays as it is."""
    before = settings.read_bytes()
    assert "picoauth: picoauth.toml exists already: edit it, or move it away.\n" == refused("init")
    assert before == settings.read_bytes()


def test_init_of_another_file(folder: Path) -> None:
    """What comes next names the file, where it is not the usual one."""
    assert (
        f"Wrote my own.toml, with the plugins {', '.join(LISTED)}.\n"
        "Start the server: picoauth --config 'my own.toml' serve\n"
    ) == done("--config", "my own.toml", "init")
    assert (folder / "my own.toml").exists()


@pytest.mark.parametrize(
    ("typed", "found", "said"),
    [
        ("one/picoauth", "", "one/picoauth"),  # by its path, where no shell would find it
        ("one/picoauth", "two", "one/picoauth"),  # nor take this one
        ("one/picoauth", "two:one", "one/picoauth"),
        ("one/picoauth", "one:two", "picoauth"),
        ("one/picoauth", "linked", "picoauth"),
        ("one/pytest", "one", "picoauth"),  # another program that runs the command
    ],
)
def test_hint_begins_as_the_command(
    folder: Path, monkeypatch: pytest.MonkeyPatch, typed: str, found: str, said: str
) -> None:
    """What comes next runs the same program."""
    for name in ("one", "two", "linked"):
        (folder / name).mkdir()
    for name in ("one", "two"):
        (folder / name / "picoauth").touch(0o700)
    (folder / "linked" / "picoauth").symlink_to(folder / "one" / "picoauth")
    monkeypatch.setenv("PATH", found)
    monkeypatch.setattr("sys.argv", [typed])
    assert f"Start the server: {said} serve" == done("init").splitlines()[-1]


def test_init_where_nothing_can_be_written() -> None:
    """A folder that is not there is told."""
    assert (
        "picoauth: none/x.toml cannot be written: No such file or directory. "
        "Make its folder, or mend its mode.\n"
    ) == refused("--config", "none/x.toml", "init")


def test_init_without_plugins(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no plugin is installed, it says so: nobody could log in."""
    monkeypatch.setattr("picoauth.template.installed", list)
    assert (
        "Wrote picoauth.toml, but no plugin is installed, and nobody can log in without one.\n"
        'Run `pip install picoauth-password`, and write "password" into `plugins`.\n'
    ) == done("init")
    assert () == parse((folder / "picoauth.toml").read_text(encoding="utf-8"), folder).plugins


def test_init_leaves_out_what_is_broken(distributions: Distributions) -> None:
    """A broken plugin keeps nobody from starting, and is told."""
    distributions.add("broken", "broken", "1 / 0")
    result = picoauth("init")
    assert (0, f"Wrote picoauth.toml, with the plugins {', '.join(LISTED)}.") == (
        result.exit_code,
        result.stdout.splitlines()[0],
    )
    assert (
        "picoauth: left out: plugin broken (broken 1.0) cannot be imported (ZeroDivisionError: "
        "division by zero): reinstall it, or remove it from `plugins`.\n"
    ) == result.stderr


PLUGIN = """
from picoauth import EdgeReply, EdgeRoute, NoSettings, Plugin, Reply, Route, hookimpl

async def handle(_):
    return None

class Made(Plugin[NoSettings]):
    @hookimpl
    def routes(self):
        return [Route(method="GET", path="/shelf/{id}", handler=handle, policy="public")]

    @hookimpl
    def edge(self):
        return [EdgeRoute(method="GET", path="/quick", handler=handle)]

    @hookimpl
    def migrations(self):
        return ["create table shelf (id text primary key)", "create table if not exists shelf_books (id text)"]

    @hookimpl
    async def check_password(self):
        return None
"""


def test_plugins(settings: Path, distributions: Distributions) -> None:
    """What is on, in order, with all that it contributes; then what is installed and not listed."""
    distributions.add("picoauth-shelf", "shelf", PLUGIN)
    distributions.add("picoauth-other", "other", "raise SystemExit('imported')")
    settings.write_text('plugins = ["shelf", "password"]', encoding="utf-8")
    assert (
        "shelf  picoauth-shelf 1.0\n"
        "  hooks:   edge, migrations, routes, check_password\n"
        "  routes:  GET /quick, GET /shelf/{id}\n"
        "  tables:  shelf, shelf_books\n"
        "password  picoauth-password 0.1.0\n"
        "  hooks:   checks, commands, export, factors, imports, lifespan, migrations, routes\n"
        "  factors: password\n"
        "  routes:  POST /auth/register, PUT /auth/password\n"
        "  tables:  password\n"
        + "".join(
            f"{name}  picoauth-{name} {version}  (installed, not listed)\n"
            for name, version in sorted(
                {**dict.fromkeys(INSTALLED, "0.1.0"), "other": "1.0"}.items()
            )
            if name != "password"
        )
    ) == done("plugins")


def test_plugins_for_programs(settings: Path, distributions: Distributions) -> None:
    """The same as JSON, one object a line."""
    distributions.add("picoauth-shelf", "shelf", PLUGIN.replace("check_password", "on"))
    settings.write_text('plugins = ["shelf"]', encoding="utf-8")
    assert [
        {
            "name": "shelf",
            "distribution": "picoauth-shelf",
            "version": "1.0",
            "listed": True,
            "hooks": ["edge", "migrations", "on", "routes"],
            "factors": [],
            "routes": ["GET /quick", "GET /shelf/{id}"],
            "tables": ["shelf", "shelf_books"],
        },
        *(
            {
                "name": name,
                "distribution": f"picoauth-{name}",
                "version": "0.1.0",
                "listed": False,
                "hooks": [],
                "factors": [],
                "routes": [],
                "tables": [],
            }
            for name in INSTALLED
        ),
    ] == lines("plugins", "--json")


def test_migrate(settings: Path, distributions: Distributions) -> None:
    """What was applied, by whom, and that a second time nothing is."""
    source = PLUGIN.replace(', "create table if not exists shelf_books (id text)"', "")
    distributions.add("picoauth-shelf", "shelf", source.replace("check_password", "on"))
    settings.write_text('plugins = ["shelf"]', encoding="utf-8")
    assert re.fullmatch(
        r"picoauth: \d+ migrations applied\nshelf: 1 migration applied\n", done("migrate")
    )
    assert "picoauth: up to date\nshelf: up to date\n" == done("migrate")


# Users.


@pytest.mark.usefixtures("settings")
def test_users() -> None:
    """A user is made, shown, disabled, enabled and deleted."""
    made = done("users", "create", "Ann", "--name", "Ann A.")
    [identity] = re.findall(r"^Made Ann, id (\w+)\.\n", made)
    assert (f"Made Ann, id {identity}.\nGive it a password: picoauth password set Ann\n") == made
    [user] = lines("users", "list", "--json")
    assert ("Ann", "Ann A.", None) == (user["username"], user["name"], user["disabled_at"])
    when = time.strftime("%Y-%m-%d %H:%MZ", time.gmtime(user["created_at"]))
    assert (
        f"id:            {identity}\n"
        "name:          Ann A.\n"
        "locale:        -\n"
        f"created_at:    {when}\n"
        "disabled_at:   -\n"
        "epoch:         0\n"
        "last_login_at: -\n"
        "closed_at:     -\n"
        "delete_at:     -\n"
        "identifiers:   username Ann\n"
        "factors:       -\n"
        "sessions:      0\n"
    ) == done("users", "show", "ann")
    assert "ann is disabled, and logged out.\n" == done("users", "disable", "ann")
    [user] = lines("users", "list", "--json")
    assert user["disabled_at"] is not None
    assert f"{identity} is enabled.\n" == done("users", "enable", identity)
    [user] = lines("users", "list", "--json")
    assert user["disabled_at"] is None
    assert "ann is deleted.\n" == done("users", "delete", "ann", "--yes")
    assert [] == lines("users", "list", "--json")
    assert "picoauth: This user name is taken.\n" == refused("users", "create", "ann", code=1)


@pytest.mark.usefixtures("settings")
def test_users_for_programs() -> None:
    """What is made and shown, as JSON of one line."""
    [made] = lines("users", "create", "ann", "--json")
    assert {"username": "ann", "id": made["id"]} == made
    [shown] = lines("users", "show", made["id"], "--json")
    assert {
        "id": made["id"],
        "name": "ann",
        "locale": None,
        "created_at": shown["created_at"],
        "disabled_at": None,
        "epoch": 0,
        "last_login_at": None,
        "closed_at": None,
        "delete_at": None,
        "identifiers": [{"kind": "username", "value": "ann", "display": "ann", "verified": True}],
        "factors": [],
        "sessions": 0,
    } == shown


@pytest.mark.usefixtures("settings")
def test_table_of_users() -> None:
    """A table, whose columns are as wide as they need to be, without what moves a cursor."""
    done("users", "create", "ann")
    done("users", "create", "bob", "--name", "B\x1b[2J\nb")
    first, *others = done("users", "list").splitlines()
    ids = {user["username"]: user["id"] for user in lines("users", "list", "--json")}
    rest = "username  name         created_at         last_login_at  disabled_at  delete_at"
    assert f"{'id':{len(ids['ann'])}}  {rest}" == first
    ann, bob = sorted(others, key=lambda line: line.split()[1])
    when = "[-0-9]+ [:0-9]+Z  -              -            -"
    assert re.fullmatch(rf"{ids['ann']}  ann       ann          {when}", ann)
    assert re.fullmatch(rf"{ids['bob']}  bob       B\\x1b\[2J\\nb  {when}", bob)


@pytest.mark.usefixtures("settings")
def test_pages_of_users() -> None:
    """A list that is cut says how it goes on."""
    for name in ("ann", "bob", "cid"):
        done("users", "create", name)
    result = picoauth("users", "list", "--limit", "2", "--json")
    first = [json.loads(line)["id"] for line in result.stdout.splitlines()]
    [cursor] = re.findall(
        r"^There are more: picoauth users list --limit 2 --after (\S+)\n$", result.stderr
    )
    rest = [user["id"] for user in lines("users", "list", "--after", cursor, "--json")]
    assert ([2, 1], 3) == ([len(first), len(rest)], len({*first, *rest}))
    assert "picoauth: This is no cursor of this list.\n" == refused(
        "users", "list", "--after", first[-1], code=1
    )


@pytest.mark.usefixtures("settings")
def test_search_of_users() -> None:
    """By the beginning of an identifier, or all of it, in any spelling."""

    def names(*arguments: str) -> list[str]:
        return sorted(u["username"] for u in lines("users", "list", *arguments, "--json"))

    for name in ("Ann", "annette", "bob"):
        done("users", "create", name)
    done("users", "disable", "bob")
    assert ["Ann", "annette"] == names("ANN")
    assert ["Ann"] == names("ANN", "--exact", "--kind", "username")
    assert [] == names("ann", "--kind", "email")
    assert [] == names("a%")
    assert ["bob"] == names("--disabled")
    assert ["Ann", "annette"] == names("--enabled")
    assert [] == names("--factor", "totp")
    assert ["Ann", "annette", "bob"] == names("--made-from", "2020-01-01")
    assert [] == names("--made-before", "2020-01-01")
    typed = ("ann", "--enabled", "--made-from", "2020-01-01", "--limit", "1")
    sentence = r"There are more: picoauth users list ann --enabled --made-from 2020-01-01 --limit 1 --after \S+\n"
    assert re.fullmatch(sentence, picoauth("users", "list", *typed).stderr)
    for wrong in (("", "--json"), ("--kind", "email"), ("--exact",)):
        usage = refused("users", "list", *wrong)
        assert "--kind and --exact go with SEARCH, which is not empty." in usage


@pytest.mark.usefixtures("settings")
def test_factors_of_a_user() -> None:
    """They are shown, and an operator takes one whose device is lost."""
    done("users", "create", "ann")
    picoauth("password", "set", "ann", "--password", "correct horse battery staple")
    [password] = lines("users", "factors", "list", "ann", "--json")
    assert ("password", True) == (password["factor"], password["confirmed"])
    assert "password" in done("users", "factors", "list", "ann")
    sentence = (
        "picoauth: ann has 0 factors 'totp': `picoauth users factors list ann` shows the ids.\n"
    )
    assert sentence == refused("users", "factors", "remove", "ann", "totp")
    assert sentence == refused("users", "factors", "remove", "ann", "totp", "--yes")
    assert (f"ann has no longer password {password['id']}, and is logged out.\n") == done(
        "users", "factors", "remove", "ann", password["id"], "--yes"
    )
    assert [] == lines("users", "factors", "list", "ann", "--json")


def test_restore(settings: Path) -> None:
    """A closed account is shown with the time of its deletion, and restored once."""
    settings.write_text('plugins = ["password"]\n[account]\ndeletion_grace = "7d"', "utf-8")
    done("users", "create", "ann")

    async def close() -> None:
        auth = Auth(load(settings))
        async with auth.started():
            user = await auth.users.find("username", "ann")
            assert user is not None
            await auth.accounts.close(user.id, Caller())

    asyncio.run(close())
    shown = json.loads(done("users", "show", "ann", "--json"))
    assert 7 * 86400 == shown["delete_at"] - shown["closed_at"]
    assert "ann is restored.\n" == done("users", "restore", "ann")
    shown = json.loads(done("users", "show", "ann", "--json"))
    assert (None, None) == (shown["delete_at"], shown["closed_at"])
    sentence = "picoauth: This account is not closed.\n"
    assert sentence == refused("users", "restore", "ann", code=1)


@pytest.mark.usefixtures("settings")
def test_no_such_user() -> None:
    """Whoever is not there is told, whatever is to be done, and nothing is asked first."""
    sentence = "picoauth: There is no user 'bob': `picoauth users list` shows all.\n"
    shown = (["show"], ["disable"], ["enable"], ["restore"], ["delete"], ["delete", "--yes"])
    for verb in (*shown, ["factors", "list"]):
        assert sentence == refused("users", *verb, "bob")
    assert sentence == refused("users", "factors", "remove", "bob", "totp")
    assert sentence == refused("users", "factors", "remove", "--yes", "bob", "totp")


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize("name", ["", "a b@c", "a/b"])
def test_no_user_name(name: str) -> None:
    """What cannot be a user name is refused."""
    said = "it has at most 64 characters, and no blanks or @ / \\ ? # %."
    assert f"picoauth: This cannot be a user name: {said}\n" == refused(
        "users", "create", name, code=1
    )


def test_show_all_that_a_user_has(settings: Path) -> None:
    """Identifiers and factors are shown with their state; a verified address finds a user."""
    done("users", "create", "ann")
    [user] = lines("users", "list", "--json")
    named = "insert into identifiers values (?, 'email', ?, ?, ?)"
    enrolled = (
        "insert into enrolments (id, user_id, factor, confirmed_at) values (?, ?, 'password', ?)"
    )
    written(
        settings.parent,
        *(
            Statement(named, (user["id"], value, value, at))
            for value, at in (("a@example.com", 1), ("b@example.com", None))
        ),
        *(Statement(enrolled, (str(n), user["id"], at)) for n, at in ((1, 1), (2, None))),
    )
    shown = done("users", "show", "a@example.com")
    assert (
        "identifiers:   email a@example.com, email b@example.com (unverified), username ann\n"
        in shown
    )
    assert "factors:       password, password (unconfirmed)\n" in shown
    assert "There is no user" in refused("users", "show", "b@example.com")


def written(folder: Path, *statements: Statement) -> None:
    """Write into the database of a folder."""

    async def write() -> None:
        database = storage.engine(folder / "picoauth.db")
        await database.write(*statements)
        await database.close()

    asyncio.run(write())


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize(("typed", "code", "left"), [("n\n", 1, 1), ("", 1, 1), ("y\n", 0, 0)])
def test_delete_asks(typed: str, code: int, left: int) -> None:
    """Nobody is deleted by mistake: it asks who is meant, and no answer is a no."""
    done("users", "create", "ann")
    result = picoauth("users", "delete", "ann", given=typed)
    assert code == result.exit_code
    assert result.stdout.startswith("Delete ann for good, with everything known? [y/N]: ")
    assert left == len(lines("users", "list", "--json"))


@pytest.mark.usefixtures("settings")
def test_removing_a_factor_asks() -> None:
    """No answer is a no."""
    done("users", "create", "ann")
    picoauth("password", "set", "ann", "--password", "correct horse battery staple")
    for typed, code, left in (("n\n", 1, 1), ("y\n", 0, 0)):
        result = picoauth("users", "factors", "remove", "ann", "password", given=typed)
        assert code == result.exit_code
        assert result.stdout.startswith("Remove password of ann? [y/N]: ")
        assert left == len(lines("users", "factors", "list", "ann", "--json"))


def test_no_hint_where_there_are_no_passwords(settings: Path, distributions: Distributions) -> None:
    """What is said next fits the plugins that are on."""
    distributions.add("bare", "bare")
    settings.write_text('plugins = ["bare"]', encoding="utf-8")
    assert re.fullmatch(r"Made ann, id \w+\.\n", done("users", "create", "ann"))


# What an operator has to mend.


@pytest.mark.usefixtures("settings")
def test_several_mistakes(folder: Path) -> None:
    """One sentence a line, each with the name of the command before it."""
    (folder / "picoauth.toml").write_text("colour = 1", encoding="utf-8")
    assert "picoauth: colour: is unknown.\npicoauth: plugins: is missing.\n" == refused("plugins")


def test_settings_that_are_a_folder(folder: Path) -> None:
    """A folder in the place of the file."""
    (folder / "picoauth.toml").mkdir()
    assert (
        "picoauth: picoauth.toml cannot be read: Is a directory. "
        "Mend that, or name another with --config.\n"
    ) == refused("users", "list")
    assert "picoauth: picoauth.toml exists already: edit it, or move it away.\n" == refused("init")


def test_settings_that_cannot_be_read(folder: Path) -> None:
    """A link that leads to itself."""
    (folder / "picoauth.toml").symlink_to("picoauth.toml")
    assert (
        "picoauth: picoauth.toml cannot be read: Too many levels of symbolic links. "
        "Mend that, or name another with --config.\n"
    ) == refused("users", "list")


def test_settings_that_are_no_toml(settings: Path) -> None:
    """The place of the mistake."""
    settings.write_text("plugins = [\nx", encoding="utf-8")
    assert "picoauth: picoauth.toml is not valid TOML: Invalid value (at line 2, column 1).\n" == (
        refused("users", "list")
    )


@pytest.mark.embedded
def test_database_without_a_folder(settings: Path) -> None:
    """The folder is for the operator to make."""
    settings.write_text('plugins = ["password"]\ndatabase = "none/x.db"', encoding="utf-8")
    assert (
        f"picoauth: The database {settings.parent}/none/x.db cannot be opened: "
        "No such file or directory. Make its folder, or mend its mode.\n"
    ) == refused("users", "list")


@pytest.mark.embedded
def test_database_that_is_none(settings: Path) -> None:
    """A folder or another file in the place of the database."""
    done("users", "list")
    database = settings.parent / "picoauth.db"
    database.unlink()
    database.mkdir()
    assert f"picoauth: The database {database} cannot be opened: Is a directory." in refused(
        "users", "list"
    )
    database.rmdir()
    database.write_text("This is no database. " * 99, encoding="utf-8")
    assert (
        f"picoauth: {database} cannot be opened as a database: file is not a database. "
        "Put a backup in its place, or name another file as `database`.\n"
    ) == refused("users", "list")


@pytest.mark.embedded
def test_secret_that_is_missing(settings: Path) -> None:
    """A database whose secret is gone is not given a new one."""
    done("users", "list")
    secret = settings.parent / "picoauth.secret"
    secret.unlink()
    assert (
        f"picoauth: {secret} is missing, but the database picoauth.db exists and needs it: "
        "put the secret back from your backup.\n"
    ) == refused("users", "list")
    assert not secret.exists()


def test_secret_of_another_database(settings: Path) -> None:
    """Another secret is told, before a password is said to be wrong."""
    done("users", "list")
    secret = settings.parent / "picoauth.secret"
    secret.write_text("c29tZXRoaW5nIGVsc2Ugb2YgdGhlIHJpZ2h0IGxlbmd0aC4", encoding="utf-8")
    assert (
        "picoauth: The secret is not the one that this database was made with: "
        "put the old one back, at the end of the list where you want a new one.\n"
    ) == refused("users", "list")


def test_secret_that_others_can_read(settings: Path) -> None:
    """A secret that is open to others is none."""
    done("users", "list")
    secret = settings.parent / "picoauth.secret"
    secret.chmod(0o644)
    assert (
        f"picoauth: {secret} can be read by other users: run `chmod 600 {secret}`.\n"
    ) == refused("users", "list")


def test_no_way_to_log_in(settings: Path) -> None:
    """A server that nobody can log in to does not start; its users can be looked at."""
    settings.write_text("plugins = []", encoding="utf-8")
    assert (
        "picoauth: plugins: none of those listed offers a way to log in: "
        "add one, such as password.\n"
    ) == refused("serve")
    done("users", "list")


# The real thing: processes, pipes and signals.


def start(*arguments: str | bytes, **options: Any) -> subprocess.Popen[str]:
    """The console script, as a shell starts it."""
    return subprocess.Popen(
        [SCRIPT, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=DEADLINE)
    return process.returncode, out, err


@pytest.mark.usefixtures("settings")
def test_the_console_script() -> None:
    """The installed command does the same."""
    assert (
        0,
        "id  username  name  created_at  last_login_at  disabled_at  delete_at\n",
        "",
    ) == ended(start("users", "list"))
    missing = "picoauth: There is no user 'bob': `picoauth users list` shows all.\n"
    assert (2, "", missing) == ended(start("users", "show", "bob"))


def test_main(settings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The console script is a function that ends the process."""
    with pytest.raises(SystemExit) as ends:
        main(["--config", str(settings), "plugins"])
    assert 0 == ends.value.code
    assert capsys.readouterr().out.startswith("password  picoauth-password 0.1.0\n")


UNWRITTEN = "picoauth: The output cannot be written: No space left on device.\n"


@pytest.mark.embedded
@pytest.mark.parametrize("arguments", [["--help"], ["users", "list"], ["password", "set", "ann"]])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_full_device(settings: Path, arguments: Sequence[str], unbuffered: str) -> None:
    """Where nothing more can be written, that is what went wrong, also in a plugin's command."""
    done("users", "create", "ann")
    with Path("/dev/full").open("wb") as full:
        process = subprocess.run(
            [SCRIPT, "--config", str(settings), *arguments],
            input=b"correct horse battery\n" * 2,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=DEADLINE,
            check=False,
        )
    assert (1, UNWRITTEN) == (process.returncode, process.stderr.decode())


def test_other_faults_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no fault of the output is not taken for one."""

    def fails(*_: object, **__: object) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(cli, "main", fails)
    with pytest.raises(OSError, match="Invalid argument"):
        main([])


@pytest.mark.usefixtures("settings")
def test_arguments_that_are_no_text() -> None:
    """Bytes that are no UTF-8 are refused before they get anywhere."""
    code, _, err = ended(start("users", "create", b"\xff"))
    assert (2, "Error: The arguments are not UTF-8.") == (code, err.splitlines()[-1])


@pytest.mark.usefixtures("settings")
def test_a_reader_that_is_gone() -> None:
    """A pipe that nobody reads ends the command, without a complaint of Python's."""
    process = start("users", "list")
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert ("", 1) == (process.stderr.read(), process.wait(DEADLINE))
    assert process.stdin is not None
    process.stdin.close()
    process.stderr.close()


@pytest.mark.usefixtures("settings")
def test_interrupted_while_it_asks() -> None:
    """Ctrl-C at a question is a no."""
    done("users", "create", "ann")
    process = start("users", "delete", "ann")
    assert process.stdout is not None
    assert "Delete ann" == process.stdout.read(10)
    process.send_signal(signal.SIGINT)
    code, _, err = ended(process)
    assert (1, "Aborted!\n") == (code, err)
    assert 1 == len(lines("users", "list", "--json"))


def test_interrupted_at_work(
    settings: Path, distributions: Distributions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in the middle of work ends it, without a traceback."""
    distributions.add("tool", "tool", COMMANDS)
    monkeypatch.setenv("PYTHONPATH", str(distributions.folder))
    settings.write_text('plugins = ["tool"]', encoding="utf-8")
    process = start("tool", "wait")
    assert process.stdout is not None
    assert "waiting\n" == process.stdout.readline()
    process.send_signal(signal.SIGINT)
    code, _, err = ended(process)
    assert (1, "\nAborted!\n") == (code, err)


# While the server runs.


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder with a short name, as unix sockets need."""
    with TemporaryDirectory(prefix="pa", dir="/tmp") as name:
        yield Path(name)


@pytest.mark.embedded
def test_users_while_the_server_runs(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Users are made and disabled on the file that a server has open, and the server knows."""
    monkeypatch.chdir(short)
    text = 'plugins = ["password"]\nbind = ["unix:p.sock"]\n'
    (short / "picoauth.toml").write_text(text, encoding="utf-8")
    server = start("serve")
    try:
        assert server.stdout is not None
        assert f"picoauth listens on unix:{short}/p.sock\n" == server.stdout.readline()
        done("users", "create", "ann")
        done("password", "set", "ann", given="correct horse battery staple\n")
        transport = httpx.HTTPTransport(uds=str(short / "p.sock"))
        with httpx.Client(transport=transport, base_url="http://localhost") as client:
            body = {"username": "ann", "password": "correct horse battery staple"}
            answer = client.post("/auth/login", json=body)
            assert 200 == answer.status_code
            headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
            assert 200 == client.post("/jwt/validate", headers=headers).status_code
            done("users", "disable", "ann")
            until = time.monotonic() + DEADLINE
            while client.post("/jwt/validate", headers=headers).status_code == 200:
                assert time.monotonic() < until
            answer = client.post("/jwt/validate", headers=headers)
            assert (401, "session_ended") == (answer.status_code, answer.json()["code"])
    finally:
        server.send_signal(signal.SIGTERM)
        code, _, err = ended(server)
    assert 0 == code
    events = [json.loads(line)["event"] for line in err.splitlines() if line.startswith("{")]
    assert "LoginCompleted" in events


BODY = (
    "-H 'Content-Type: application/json' "
    """-d '{"username": "ann", "password": "correct horse battery staple"}'"""
)


@pytest.mark.parametrize(
    ("address", "target"),
    [
        ("unix:/run/my own.sock", "--unix-socket '/run/my own.sock' http://localhost"),
        ("http://127.0.0.1:8100", "http://127.0.0.1:8100"),
        ("http://[::1]:8100", "'http://[::1]:8100"),
        ("http://0.0.0.0:8100", "-H 'Host: 127.0.0.1:8100' http://0.0.0.0:8100"),
    ],
)
def test_banner(server: Server, address: str, target: str) -> None:
    """Lines to paste, for a shell, and addressed to a name that is served."""
    quote = "'" if target.startswith("'") else ""
    assert [
        f"picoauth listens on {address}",
        "plugins: password (picoauth-password 0.1.0)",
        "\n# POST /auth/register",
        f"curl -X POST {target}/auth/register{quote} {BODY}",
        "\n# POST /auth/login",
        f"curl -X POST {target}/auth/login{quote} {BODY}",
    ] == list(banner(server.app, [address]))


# Keys.


def key_ids() -> list[str]:
    return [key["id"] for key in lines("keys", "list", "--json")]


def states() -> list[str]:
    return [key["state"] for key in lines("keys", "list", "--json")]


@pytest.mark.usefixtures("settings")
def test_keys_rotate() -> None:
    """A rotation says from when on the new key signs, and the list shows all."""
    [old] = key_ids()
    said = done("keys", "rotate")
    [_, new] = key_ids()
    assert re.fullmatch(rf"The key {new} signs from [-\d]+ \d\d:\d\dZ on\.\n", said)
    assert ["signs", "waits"] == states()
    said = done("keys", "rotate", "--now")
    assert f"The key {key_ids()[-1]} signs from now on.\n" == said
    assert (["verifies", "signs"], old) == (states(), key_ids()[0])
    header, *rows = done("keys", "list").splitlines()
    assert ["id", "algorithm", "state", "created_at", "signs_at", "retires_at"] == header.split()
    assert [row.split()[0] for row in rows] == key_ids()


@pytest.mark.usefixtures("settings")
def test_keys_import(folder: Path) -> None:
    """A key in a file is the next to sign."""
    path = folder / "own.pem"
    path.write_bytes(generate("ES256", os.urandom))
    path.chmod(0o600)
    done("keys", "import", "own.pem", "--now")
    assert ["verifies", "signs"] == states()
    sentence = "picoauth: nowhere cannot be read: No such file or directory.\n"
    assert sentence == refused("keys", "import", "nowhere")


@pytest.mark.usefixtures("settings")
def test_keys_retire() -> None:
    """A key is retired after a question; then another one signs."""
    [old] = key_ids()
    result = picoauth("keys", "retire", old, given="n\n")
    assert (1, [old]) == (result.exit_code, key_ids())
    said = f"The key {old} is retired: servers refuse its tokens within a second.\n"
    assert said == done("keys", "retire", old, "--yes")
    assert (1, False) == (len(key_ids()), old in key_ids())
    sentence = f"picoauth: There is no key {old}: `picoauth keys list` shows all.\n"
    assert sentence == refused("keys", "retire", old, "--yes")
    assert sentence == refused("keys", "retire", old)  # before it asks anything


@pytest.mark.usefixtures("settings")
def test_keys_retire_odd_id() -> None:
    """A thumbprint may begin with a dash, as an option does."""
    sentence = "picoauth: There is no key -x1: `picoauth keys list` shows all.\n"
    for arguments in (["-x1", "--yes"], ["--yes", "-x1"], ["--yes", "--", "-x1"]):
        assert sentence == refused("keys", "retire", *arguments)


@pytest.mark.usefixtures("settings")
def test_keys_servers() -> None:
    """A resource server's key is shown once; the list has names, and a removed one is gone."""
    key = done("keys", "servers", "add", "media").strip()
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", key)
    [server] = lines("keys", "servers", "list", "--json")
    assert ("media", {"name", "created_at"}) == (server["name"], set(server))
    header, row = done("keys", "servers", "list").splitlines()
    assert (["name", "created_at"], "media") == (header.split(), row.split()[0])
    assert "The key of media is removed.\n" == done("keys", "servers", "remove", "media")
    assert [] == lines("keys", "servers", "list", "--json")


BAD_FILE = """\
{"username": "ann"}
{"username": "b b"}
"""
GOOD_FILE = """\
{"username": "ann", "password_hash": "$2b$04$usesomesillystringforeSZ3saLXGnQtLrpxgqydzBYMhY/4iDpG"}
{"username": "bob", "email": "bob@example.com", "email_verified": true}
"""


@pytest.mark.usefixtures("settings")
def test_users_import() -> None:
    """A file is imported once, and its users are those that an export has."""
    Path("users.jsonl").write_text(GOOD_FILE)
    assert "2 users would be made, 0 there already.\n" == done(
        "users", "import", "--check", "users.jsonl"
    )
    assert "2 users made, 0 there already.\n" == done("users", "import", "users.jsonl")
    assert "0 users made, 2 there already.\n" == done("users", "import", "-", given=GOOD_FILE)
    report = {"lines": 2, "made": 0, "there": 2, "refusals": 0, "refused": [], "written": True}
    assert [report] == lines("users", "import", "users.jsonl", "--json")
    assert ["ann", "bob"] == sorted(one["username"] for one in lines("users", "export"))
    assert "Wrote 2 users to out.jsonl.\n" == done("users", "export", "--secrets", "out.jsonl")
    assert 0o600 == Path("out.jsonl").stat().st_mode & 0o777
    assert 1 == Path("out.jsonl").read_text().count("$2b$04$")
    assert "picoauth: out.jsonl exists already: name another, or move it away.\n" == refused(
        "users", "export", "out.jsonl"
    )
    assert "picoauth: no/out.jsonl cannot be written: No such file or directory.\n" == refused(
        "users", "export", "no/out.jsonl"
    )
    [shown] = [one for one in lines("users", "list", "--json") if one["username"] == "ann"]
    assert "ann" == shown["name"]


@pytest.mark.usefixtures("settings")
def test_users_import_refuses() -> None:
    """One bad line keeps all from being made; a taken name does not."""
    Path("users.jsonl").write_text(BAD_FILE)
    said = (
        "picoauth: line 2: its username is no valid username.\n"
        "picoauth: Nothing was imported: mend the file, and do it again.\n"
    )
    assert said == refused("users", "import", "users.jsonl")
    Path("users.jsonl").write_text('{"username": "ann", "mail": "ann@example.com"}\n')
    said = 'picoauth: line 1: "mail" is unknown, did you mean "email"?\n'
    assert refused("users", "import", "users.jsonl").startswith(said)
    assert [] == lines("users", "list", "--json")
    done("users", "create", "bob")
    Path("users.jsonl").write_text(GOOD_FILE)
    result = picoauth("users", "import", "users.jsonl", "--json")
    assert 1 == result.exit_code
    assert (
        "picoauth: line 2: its username is that of another user.\n"
        "picoauth: These lines make no user; the others are not held up by them.\n"
    ) == result.stderr
    problem = {"line": 2, "problem": "its username is that of another user"}
    report = json.loads(result.stdout)
    assert (1, [problem], True) == (report["made"], report["refused"], report["written"])


@pytest.mark.usefixtures("settings")
def test_users_import_tells_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Very many refusals are counted."""
    monkeypatch.setattr("picoauth.importing.TOLD", 1)
    said = picoauth("users", "import", "-", given="{\n{\n{\n").stderr
    assert "picoauth: line 1: it is not JSON.\npicoauth: and 2 lines more.\n" in said


@pytest.mark.usefixtures("settings")
def test_users_import_of_no_file() -> None:
    """A file that cannot be read is named."""
    said = "picoauth: no.jsonl cannot be read: No such file or directory.\n"
    assert said == refused("users", "import", "no.jsonl")


@pytest.mark.usefixtures("settings")
def test_users_import_of_a_pipe() -> None:
    """What cannot be read twice is copied first."""
    os.mkfifo("pipe")
    writer = subprocess.Popen(["sh", "-c", "cat > pipe"], stdin=subprocess.PIPE, text=True)
    assert writer.stdin is not None
    writer.stdin.write(GOOD_FILE)
    writer.stdin.close()
    assert "2 users made, 0 there already.\n" == done("users", "import", "pipe")
    assert 0 == writer.wait(DEADLINE)


@pytest.mark.usefixtures("settings")
def test_users_import_sample() -> None:
    """A sample's password is tried before anything is written."""
    Path("users.jsonl").write_text(GOOD_FILE)
    command = ("users", "import", "users.jsonl", "--sample")
    result = picoauth(*command, "ann", given="wrong\n")
    said = (
        "picoauth: The password does not fit line 1: nothing was imported. See that the hash and "
        "its parameters are those of the system it comes from.\n"
    )
    assert (1, said) == (result.exit_code, result.stderr)
    assert (
        "picoauth: No line has the user 'carl': name one for --sample who is there.\n"
        == refused(*command, "carl")
    )
    assert (
        "picoauth: Line 2 has nothing that a password could fit: name another for --sample.\n"
        == refused(*command, "bob@example.com")
    )
    assert [] == lines("users", "list", "--json")
    given = "rasmuslerdorf\n"
    assert "2 users made, 0 there already.\n" == done(*command, "ann", given=given)


@pytest.mark.usefixtures("settings")
def test_users_import_sample_of_the_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the file comes in there, the password is asked for at the terminal."""
    monkeypatch.setattr("click.prompt", lambda *_, **__: "rasmuslerdorf")
    said = done("users", "import", "-", "--sample", "ann", given=GOOD_FILE)
    assert "2 users made, 0 there already.\n" == said


@pytest.mark.usefixtures("settings")
def test_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who watches at a terminal sees how far it is."""
    Path("users.jsonl").write_text(GOOD_FILE)
    monkeypatch.setattr("picoauth.transfer_cli.watched", lambda: True)
    monkeypatch.setattr("click._termui_impl.isatty", lambda _: True)
    assert "Making users" in picoauth("users", "import", "users.jsonl").stderr
    assert "Writing" in picoauth("users", "export", "out.jsonl").stderr
    assert "" == picoauth("users", "import", "users.jsonl", "--json").stderr


@pytest.mark.usefixtures("settings")
def test_export_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is not whole is taken away."""
    done("users", "create", "ann")

    async def failing(*_: Any, **__: Any) -> Any:
        raise Unavailable("the database is away")
        yield

    monkeypatch.setattr("picoauth.transfer_cli.exported", failing)
    assert "picoauth: Nothing was done" in refused("users", "export", "out.jsonl", code=1)
    assert not Path("out.jsonl").exists()


@pytest.mark.usefixtures("settings")
def test_users_set() -> None:
    """All that is known of a user can be changed, by who runs the server."""
    done("users", "create", "ann", "--email", "ann@example.com")
    done("users", "create", "bob")
    assert "ann is changed.\n" == done("users", "set", "ann", "--name", "Ann", "--locale", "de")
    assert "ann is changed.\n" == done("users", "set", "ann", "--email", "a@example.com")
    done("users", "set", "ann", "--email", "A@example.com")
    done("users", "set", "bob", "--email", "bob@example.com")
    assert "ann is changed.\n" == done("users", "set", "ann", "--username", "anna")
    [shown] = lines("users", "show", "anna", "--json")
    assert ("Ann", "de") == (shown["name"], shown["locale"])
    assert [("email", "a@example.com", True), ("username", "anna", True)] == [
        (one["kind"], one["value"], one["verified"]) for one in shown["identifiers"]
    ]
    said = "picoauth: Say what to change: --username, --name, --locale or --email.\n"
    assert said == refused("users", "set", "anna")
    refused("users", "set", "anna", "--email", "bob@example.com", code=1)
    [shown] = lines("users", "show", "a@example.com", "--json")
    assert "anna" in json.dumps(shown)


def test_sessions(settings: Path) -> None:
    """A user's sessions are shown and ended, one or all."""

    async def log_in() -> None:
        async with serving(settings.parent, 'plugins = ["password"]') as server:
            await server.register()
            for _ in range(3):
                await server.login()

    asyncio.run(log_in())
    found = lines("sessions", "list", "ann", "--json")
    assert 3 == len(found)
    assert found[0]["id"] in done("sessions", "list", "ann")
    assert "ann is logged out of that session.\n" == done("sessions", "end", "ann", found[0]["id"])
    gone = (
        f"picoauth: ann has no session {found[0]['id']}: `picoauth sessions list ann` shows all.\n"
    )
    assert gone == refused("sessions", "end", "ann", found[0]["id"])
    assert 2 == len(lines("sessions", "list", "ann", "--json"))
    for wrong in ((), (found[1]["id"], "--all")):
        said = "picoauth: Name a session, or all of them by --all.\n"
        assert said == refused("sessions", "end", "ann", *wrong)
    assert "ann is logged out.\n" == done("sessions", "end", "ann", "--all")
    assert [] == lines("sessions", "list", "ann", "--json")


@pytest.mark.parametrize(
    ("detail", "said"),
    [
        ('write it in lower case, "a"', 'It is odd: write it in lower case, "a".'),
        ("Take another one.", "It is odd. Take another one."),
        (None, "It is odd."),
    ],
)
def test_detail_of_a_refusal(detail: str | None, said: str) -> None:
    """A clause goes on with the sentence, and a sentence stands behind it."""
    assert said == joined("It is odd.", detail)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str) -> None:
    """Each shell gets a script, which asks by a variable."""
    script = done("completion", shell)
    assert f"_PICOAUTH_COMPLETE={shell}_complete" in script


def completed(*words: str) -> list[str]:
    """What a shell is told that could follow."""
    environment = {
        "_PICOAUTH_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(("picoauth", *words)),
        "COMP_CWORD": str(len(words)),
    }
    result = CliRunner().invoke(cli, [], env=environment, prog_name="picoauth")
    assert (0, "") == (result.exit_code, result.stderr), result.stderr
    return [line.partition(",")[2] for line in result.stdout.splitlines() if line]


@pytest.mark.embedded
@pytest.mark.usefixtures("settings")
def test_completing() -> None:
    """Commands, plugins' commands and user names are completed; nothing is made for it."""
    assert ["password", "plugins"] == sorted(completed("p"))
    assert ["export"] == completed("users", "ex")
    assert [] == completed("users", "show", "a")
    assert not Path("picoauth.db").exists()
    for name in ("Ann", "anna", "bob"):
        done("users", "create", name)
    assert ["set"] == completed("password", "s")
    assert ["Ann", "anna"] == completed("users", "show", "a")
    assert ["bob"] == completed("sessions", "list", "B")
    for words in (
        ("users", "factors", "list"),
        ("users", "import", "users.jsonl", "--sample"),
        ("password", "set"),
    ):
        assert ["bob"] == completed(*words, "b")


def parameters(command: click.Command, ctx: click.Context) -> Iterator[click.Parameter]:
    """Of a command, and of those below it."""
    yield from command.params
    for name in command.list_commands(ctx) if isinstance(command, click.Group) else ():
        below = command.get_command(ctx, name)
        assert below is not None
        yield from parameters(below, click.Context(below, ctx, name))


def test_users_are_completed_everywhere(settings: Path) -> None:
    """Whatever takes a user completes its name, in commands of plugins, too."""
    settings.write_text(
        'plugins = ["password", "admin", "audit", "permissions", "privateauth"]\n'
        'public_url = "https://auth.example.org"\n'
        '[privateauth]\nconsent_url = "https://auth.example.org/consent"\n',
        encoding="utf-8",
    )
    with click.Context(cli) as ctx:
        users = [one for one in parameters(cli, ctx) if one.name in ("user", "sample")]
        assert {USER} == {one.type for one in users}
        assert len(users) > 20


def test_completing_what_is_broken(settings: Path) -> None:
    """Broken settings and plugins complete nothing, and say nothing."""
    settings.write_text('plugins = ["nonsense"]')
    assert [] == completed("nonsense", "x")
    assert [] == completed("users", "show", "x")
    settings.write_text('plugins = ["password"]\nnonsense = 1')
    assert ["serve", "sessions", "secret", "stress"] == completed("password", "s")


@pytest.mark.usefixtures("settings")
def test_users_of_several_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many are read at a time, all of them are shown."""
    monkeypatch.setattr("picoauth.directory_cli.AT_ONCE", 1)
    for name in ("ann", "bob", "cem"):
        done("users", "create", name)
    assert ["ann", "bob", "cem"] == sorted(u["username"] for u in lines("users", "list", "--json"))
