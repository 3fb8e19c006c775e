"""The examples of the docs, run as they are written."""

from __future__ import annotations

import base64
import inspect
import json
import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import pytest

from picoauth import NoSettings, Plugin, hookimpl, testing
from picoauth.cli import cli
from picoauth.discovery import imported, installed
from picoauth.overrides import specs
from picoauth.testing import Clock, contracts, serving
from picoauth.testing.authenticator import Authenticator
from picoauth_totp.testing import App
from tests.pages import DOCS, PAGES, ROOT, Block, Exchange, blocks, check_settings, laid_out, same
from tests.portable import SIGNATURE
from tests.test_guards import commands
from tests.wire import short_folder

ALL = [block for page in PAGES for block in blocks(page)]
RUN_ALONE = {"http", "toml"}
"""Languages of examples that need nothing but what is on their page."""
TERMINAL = {"sh", "json", "text", "python"}
TYPED = ["administration.md", "five-minutes.md", "run-it.md", "tokens.md"]
"""Pages that are one session at a terminal, from the first example to the last."""
SERVED = {"tokens.md"}
"""Those of them that begin with a running server, and a user who is logged in."""


def of(name: str) -> list[Block]:
    return [block for block in ALL if block.page == DOCS / name and not ignored(block)]


def ignored(block: Block) -> bool:
    return block.marked("not run") is not None or block.marked("run by") is not None


SETTINGS = {
    "account.md": 'plugins = ["password"]\n[account]\ndeletion_grace = "7d"',
    "protect-an-account.md": 'plugins = ["password", "recovery", "totp"]',
}
"""Of pages that have plugins of their own."""


@pytest.mark.parametrize("page", sorted({b.page.name for b in ALL if b.language == "http"}))
async def test_requests_of_a_page(tmp_path: Path, page: str) -> None:
    """Every request of a page gets the answer that stands below it."""
    settings = SETTINGS.get(page, 'plugins = ["password", "totp"]')
    async with serving(tmp_path, settings) as server:
        exchange = Exchange(server)
        for block in of(page):
            if block.language == "http":
                await exchange.run(block)
        assert exchange.answer is None


@pytest.mark.parametrize("name", TYPED)
def test_session_of_a_page(name: str) -> None:
    """Every line of a page does what the page says, typed in order."""
    with short_folder() as folder:
        terminal = laid_out(folder, "8100", "5000")
        with terminal.stack:
            if name in SERVED:
                terminal.log_in()
            found = [b for b in of(name) if b.language in TERMINAL or b.marked("file")]
            for block, following in zip(found, [*found[1:], None], strict=True):
                terminal.run(block, following)


READMES = [page for page in PAGES if page.parent.parent.name == "plugins"]


@pytest.mark.parametrize("page", READMES, ids=lambda page: page.parent.name)
def test_requests_of_a_plugin(page: Path) -> None:
    """Every `curl` of a plugin's page works, in order, with what the newest answers had."""
    known = {"ACCESS_TOKEN": "access_token", "REFRESH_TOKEN": "refresh_token", "ID": "id"}
    with short_folder() as folder:
        terminal = laid_out(folder, "8100")
        variables: dict[str, str] = {}
        app: App | None = None
        with terminal.stack:
            terminal.start(".venv/bin/picoauth serve", "/auth/login")
            for block in blocks(page):
                if block.language == "sh" and not ignored(block):
                    for command in re.findall(r"curl (?:\\\n|.)+", block.text):
                        shown = {"CODE": app.code()} if app and "$CODE" in command else {}
                        answer = terminal.curl(command, **variables, **shown)
                        variables |= {n: answer[m] for n, m in known.items() if m in answer}
                        if "secret" in answer:
                            app = App(base64.b32decode(answer["secret"]), Clock(time.time()))


@pytest.mark.parametrize(
    "block", [b for b in ALL if b.language == "toml" and not ignored(b)], ids=str
)
def test_settings_of_a_page(block: Block, tmp_path: Path) -> None:
    """Settings of a page are those of a server."""
    check_settings(block, tmp_path)


def signatures() -> dict[str, str]:
    """Every hook, of the kernel and of the password plugin, with its signature."""
    from picoauth_password.policy import PasswordHooks

    found = {**specs(Plugin), **specs(PasswordHooks)}
    return {name: str(inspect.signature(f)).replace("'", "") for name, f in found.items()}


def test_every_example_is_run() -> None:
    """What is not run says so, with the reason or the test that does it in its place."""
    known, tests = signatures(), sources_of_tests()
    for block in ALL:
        by, why = block.marked("run by"), block.marked("not run")
        signature = SIGNATURE.fullmatch(block.text)
        if by is not None:
            file, _, name = by.partition("::")
            assert name in tests.get(file, ""), block
        elif signature is not None:
            assert known[signature[1]] == signature[2], block
        elif why is None:
            typed = block.language in TERMINAL and (
                block.page.name in TYPED or (block.page in READMES and block.language == "sh")
            )
            assert typed or block.language in RUN_ALONE, f"{block} is not run: mark it, and say why"


def test_few_examples_are_not_run() -> None:
    """Each says why. Of the pages it is those about servers and packages, which need more."""
    found = [block for block in ALL if block.marked("not run") is not None]
    assert [] == [block for block in found if not block.marked("not run")]
    assert {"run-it.md": 5, "testing.md": 2} == Counter(
        b.page.name for b in found if b.page.parent == DOCS
    )


def sources_of_tests() -> dict[str, str]:
    """The sources of tests, by path."""
    paths = [*ROOT.glob("tests/*.py"), *ROOT.glob("*/*/tests/*.py")]
    return {str(p.relative_to(ROOT)): p.read_text(encoding="utf-8") for p in paths}


async def test_plugin_of_the_hooks_page(tmp_path: Path) -> None:
    """The plugin at the head of the page greets who is logged in, and nobody else."""
    names: dict[str, Any] = {}
    [source] = [b.text for b in blocks(DOCS / "hooks.md") if "class HelloPlugin" in b.text]
    exec(source, names)  # noqa: S102 - our own page
    settings = 'plugins = ["password", "hello"]'
    async with serving(tmp_path, settings, plugins={"hello": names["HelloPlugin"]}) as server:
        await server.register()
        tokens = await server.login()
        answer = await server.get("/hello", token=tokens["access_token"])
        assert {"hello": "ann"} == answer.json()
        assert 401 == (await server.get("/hello")).status_code


CONFIGURATION = (DOCS / "configuration.md").read_text(encoding="utf-8")
OURS = {path.parent.name.removeprefix("picoauth-") for path in ROOT.glob("plugins/*/README.md")}
KINDS = {each.origin.name: imported(each) for each in installed() if each.origin.name in OURS}


def test_every_command_is_in_the_table() -> None:
    """Those of the kernel, and those of each plugin of ours below its name."""
    names = [*commands(cli)]
    for plugin, kind in KINDS.items():
        group = click.Group(plugin, {each.name or "": each for each in declared(kind)})
        names += commands(group, f"{plugin} ")
    assert {"password set", "admin keys create"} <= {*names}
    assert [] == [name for name in names if f"`picoauth {name}`" not in CONFIGURATION]


def declared(kind: type[Plugin[Any]]) -> Sequence[click.Command]:
    """The commands of a plugin that was never started."""
    made = kind.__new__(kind)
    vars(made)["auth"] = None
    return made.commands()


@pytest.mark.parametrize("plugin", KINDS)
def test_settings_of_a_plugin_are_in_its_table(plugin: str) -> None:
    """Each stands below the head with the plugin's name."""
    _, _, rest = CONFIGURATION.partition(f"\n## `[{plugin}]`\n")
    table = rest.partition("\n## ")[0]
    names = [field.name for field in fields(KINDS[plugin].settings_type()) if field.metadata]
    assert [] == [name for name in names if f"`{name}`" not in table]


def test_every_check_is_on_the_page_of_the_doctor() -> None:
    """Those of plugins, too, which are made with their names in the source."""
    page = (DOCS / "doctor.md").read_text(encoding="utf-8")
    names = []
    for path in ROOT.glob("plugins/*/picoauth_*/*.py"):
        plugin = path.parent.name.removeprefix("picoauth_").replace("_", "-")
        found = re.findall(r'\bCheck\(\s*(?:f?"([^"]+)"|self\.name)', path.read_text())
        names += [(name or plugin).replace("{self.name}", plugin) for name in found]
    assert {"audit", "smtp", "smtp-tls", "mail-mq broker"} <= {*names}
    assert [] == [name for name in names if f"\n| `{name}` | " not in page]


async def test_line_of_the_events_page(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A login leaves the line in the log that the page shows."""
    caplog.set_level("INFO", "picoauth.events")
    async with serving(tmp_path) as server:
        await server.register()
        await server.login()
    [line] = [r.getMessage() for r in caplog.records if "LoginCompleted" in r.getMessage()]
    [shown] = [b.text for b in blocks(DOCS / "events.md") if b.language == "json"]
    assert same(json.loads(shown), json.loads(line)), line
    assert list(json.loads(shown)) == list(json.loads(line))


async def test_plugin_of_the_plugin_page(tmp_path: Path) -> None:
    """The plugin of the page counts the logins of each user."""
    names: dict[str, Any] = {}
    page = DOCS / "write-a-plugin.md"
    [source] = [b.text for b in blocks(page) if "class VisitsPlugin" in b.text]
    exec(source, names)  # noqa: S102 - our own page
    settings = 'plugins = ["password", "visits"]'
    async with serving(tmp_path, settings, plugins={"visits": names["VisitsPlugin"]}) as server:
        for name, logins in (("ann", 2), ("bob", 1)):
            await server.register(name)
            for _ in range(logins):
                tokens = await server.login(name)
            answer = await server.get("/visits", token=tokens["access_token"])
            assert {"logins": logins} == answer.json()


def steps(heading: str) -> list[str]:
    """The hooks of a numbered list of the hooks page."""
    text = (DOCS / "hooks.md").read_text(encoding="utf-8")
    _, _, rest = text.partition(heading)
    return re.findall(
        r"^\d+\. `(\w+)`", rest.partition("\n\n")[2].partition("\n\n")[0], re.MULTILINE
    )


def recorder(seen: list[str]) -> type[Plugin[Any]]:
    """A plugin that implements every hook of the kernel as if it did not, and takes note."""
    lines = ["class Recorder(Plugin[NoSettings]):"]
    for name, function in specs(Plugin).items():
        names = ", ".join(inspect.signature(function).parameters)
        given = names.removeprefix("self").removeprefix(", ")
        colour, wait = ("async ", "await ") if inspect.iscoroutinefunction(function) else ("", "")
        lines += [
            "    @hookimpl",
            f"    {colour}def {name}({names}):",
            f"        seen.append({name!r})",
            f"        return {wait}super().{name}({given})",
        ]
    scope: dict[str, Any] = {"Plugin": Plugin, "NoSettings": NoSettings, "seen": seen}
    exec("\n".join(lines), {**scope, "hookimpl": hookimpl}, scope)  # noqa: S102 - made right here
    made: type[Plugin[Any]] = scope["Recorder"]
    return made


async def test_order_of_the_hooks(tmp_path: Path) -> None:
    """Hooks are called in the order in which the page lists them."""
    seen: list[str] = []
    settings = 'plugins = ["password", "recorder"]'
    async with serving(tmp_path, settings, plugins={"recorder": recorder(seen)}) as server:
        assert steps("when the server starts") == list(dict.fromkeys(seen))
        for heading, work in (("At a reg", server.register), ("At a login", server.login)):
            seen.clear()
            await work()
            await server.auth.events.settle()
            assert steps(heading) == seen
    declared = {"commands", "export", "imports", *steps("when the server starts")}
    asked = {*steps("At a reg"), *steps("At a login")}
    assert declared | asked == set(specs(Plugin))


def test_project_of_the_testing_page(pytester: pytest.Pytester) -> None:
    """The files on the page are a project whose tests pass, without a warning."""
    text = (DOCS / "testing.md").read_text(encoding="utf-8")
    files = re.findall(r"```python\n# (\w+)\.py\n(.*?)```", text, re.DOTALL)
    assert 9 == len(files) == text.count("```python")
    pytester.makepyfile(**dict(files))
    options = ("asyncio_mode=auto", "asyncio_default_fixture_loop_scope=function")
    arguments = [argument for option in options for argument in ("-o", option)]
    result = pytester.runpytest_subprocess("-W", "error", *arguments)
    outcomes = result.parseoutcomes()
    assert {"passed", "skipped"} == outcomes.keys(), result.stdout.str()


def test_testing_page_names_the_kit() -> None:
    """The page names everything that is public in the kit."""
    text = (DOCS / "testing.md").read_text(encoding="utf-8")
    names = [*testing.__all__, *contracts.__all__, *vars(Authenticator())]
    assert [name for name in names if name not in text] == []


async def test_plugin_of_the_mail_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package on the page invites someone, by a mail of its templates, a minute apart."""
    for block in blocks(DOCS / "mail.md"):
        head, _, text = block.text.partition("\n")
        if head.startswith("# picoauth_invite/"):
            path = tmp_path / head.removeprefix("# ")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    plugins = {
        "invite": import_module("picoauth_invite").InvitePlugin,
        "captured-mail": testing.MailPlugin,
    }
    settings = 'plugins = ["password", "captured-mail", "invite"]'
    async with serving(tmp_path, settings, plugins=plugins) as server:
        await server.register("ann")
        token = (await server.login("ann"))["access_token"]
        for status in (200, 429):
            answer = await server.post("/invite", {"email": "bob@example.com"}, token=token)
            assert status == answer.status_code, answer.text
        [message] = await testing.delivered(server)
    assert ("bob@example.com", "ann invites you") == (message.to, message.subject)
    link = "http://127.0.0.1:8100/join"
    assert f"Hello,\n\nann invites you. Join here: {link}\n" == message.text
