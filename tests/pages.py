"""The pages of the docs: their examples, and how each is run."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from picoauth import Plugin, config
from picoauth.config import parse
from picoauth.discovery import imported, installed
from picoauth.testing import Server
from picoauth.testing.server import PASSWORD
from picoauth_totp.testing import App
from tests.processes import PATIENCE, free_port, running

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PACKAGES = [*ROOT.glob("plugins/*/README.md"), *ROOT.glob("examples/*/README.md")]
PAGES = sorted([*DOCS.glob("*.md"), *PACKAGES])
"""The README at the top has tests of its own, in `test_first_run.py`."""
FENCE = re.compile(
    r"(?:^<!-- (?P<mark>.*?) -->\n)?^```(?P<language>[^\n]*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
ANY = "…"
"""Stands for whatever an answer has there."""
WRONG = "000000"
"""What an app does not show; any other six digits stand for what it does."""
LATE = 1_000_000_000
"""Numbers from here on are times, of which no page can know the right one."""


@dataclass(frozen=True)
class Block:
    """One fenced block of a page. A comment right before it says how it is run, where that is odd.

    `not run: WHY`, `run by: TEST`, `file: NAME`, `later: SECONDS`, and `starts: TEXT` for a server
    that is up when it has said so.
    """

    page: Path
    line: int
    language: str
    text: str
    mark: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    def marked(self, word: str) -> str | None:
        kind, _, rest = self.mark.partition(": ")
        return rest if kind == word else None


def blocks(page: Path) -> Iterator[Block]:
    """Every example of a page; those that Sphinx cuts out of another file are that file's."""
    text = page.read_text(encoding="utf-8")
    for match in FENCE.finditer(text):
        language, content = match["language"], match["text"]
        if not language.startswith("{"):
            line = text.count("\n", 0, match.start("text"))
            yield Block(page, line, language, content, match["mark"] or "")


def same(said: Any, found: Any) -> bool:
    """Whether JSON is what a page says, with `…` for what it cannot know."""
    match said, found:
        case str(), str():
            parts = [re.escape(part) for part in said.split(ANY)]
            return re.fullmatch("(?s:.*)".join(parts), found) is not None
        case dict(), dict():
            return set(said) == set(found) and all(same(said[n], found[n]) for n in said)
        case list(), list():
            return len(said) == len(found) and all(map(same, said, found))
        case int(), int() if min(said, found) > LATE:
            return True
    return said == ANY or bool(said == found)


TYPED = """
touch .state
. ./.state 2>.noise
PATH=$PWD/.venv/bin:$PATH
curl() {{ command curl --silent --show-error {} "$@"; }}
set -eu
{}
declare -p > .state
declare -f >> .state
"""


@dataclass
class Terminal:
    """A shell in a folder, and servers in others beside it.

    `places` has what stands on the page and is another here: ports, folders of the system.
    """

    folder: Path
    places: Mapping[str, str]
    stack: ExitStack = field(default_factory=ExitStack)
    said: str = ""

    def here(self, text: str) -> str:
        for shown, found in self.places.items():
            text = text.replace(shown, found)
        return text

    def run(self, block: Block, following: Block | None) -> None:
        """Type a block, or look at what was said; the one that follows says if it is a refusal."""
        name, up = block.marked("file"), block.marked("starts")
        if name is not None:
            (self.folder / name).write_text(self.here(block.text), encoding="utf-8")
        elif up is not None:
            self.start(block.text, up)
        elif block.language == "sh":
            refused = following and re.search(r'"status": [45]', following.text)
            self.type(block, "" if refused else "--fail-with-body")
        else:
            self.compare(block)

    def start(self, command: str, up: str) -> None:
        """Run a server until the end of the page; it is up when it has said so."""
        alone = "unset MAKEFLAGS MAKELEVEL MFLAGS"  # else a `make` under `make test` says more
        shell = ["bash", "-c", f"{alone}; exec {self.here(command)}"]
        log = self.stack.enter_context(running(shell, self.folder, lambda said: up in said))
        self.said = log.read_text(encoding="utf-8")

    def curl(self, command: str, **variables: str) -> dict[str, Any]:
        """The JSON that one `curl` answers; a refusal fails the test."""
        done = subprocess.run(
            ["bash", "-c", f"curl -sS --fail-with-body {self.here(command).removeprefix('curl')}"],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            env={**os.environ, **variables},
            check=False,
        )
        assert 0 == done.returncode, f"{command}\n{done.stdout}{done.stderr}"
        answer: dict[str, Any] = json.loads(done.stdout or "{}")
        return answer

    def log_in(self) -> None:
        """Start picoauth, and keep a user's tokens in the variables that pages name."""
        self.start(".venv/bin/picoauth serve", "/auth/login")
        ann = json.dumps({"username": "ann", "password": PASSWORD})
        post = f"curl -H 'Content-Type: application/json' -d '{ann}' http://127.0.0.1:8100/auth"
        self.curl(f"{post}/register")
        tokens = self.curl(f"{post}/login")
        lines = (f"{name.upper()}={tokens[name]}\n" for name in ("access_token", "refresh_token"))
        (self.folder / ".state").write_text("".join(lines), encoding="utf-8")

    def type(self, block: Block, option: str) -> None:
        """Run a block in a shell that knows the variables and functions of those before."""
        script = TYPED.format(option, self.here(block.text))
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            input=PASSWORD,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert 0 == done.returncode, f"{block}\n{done.stdout}{done.stderr}"
        self.said = done.stdout

    def compare(self, block: Block) -> None:
        expected = self.here(block.text)
        if block.language == "json":
            assert same(json.loads(expected), json.loads(self.said)), f"{block}\n{self.said}"
        else:
            assert same(expected.strip(), self.said.strip()), f"{block}\n{self.said}"


@dataclass
class Exchange:
    """Requests and answers of a page, in order, asked of a running server.

    `…` in a request is the newest value of that name in an answer; digits are those that the
    authenticator app shows just then, which was enrolled last; of recovery codes each is taken once,
    and of factors the id is that of the app.
    """

    server: Server
    values: dict[str, Any] = field(default_factory=dict)
    app: App | None = None
    answer: httpx.Response | None = None

    async def run(self, block: Block) -> None:
        self.server.clock.advance(float(block.marked("later") or 0))
        head, _, body = block.text.rstrip("\n").partition("\n\n")
        first, *lines = head.splitlines()
        headers = dict(line.split(": ", 1) for line in lines)
        if first.startswith("HTTP/1.1 "):
            self.compare(block, int(first.split()[1]), headers, body)
            self.answer = None
        else:
            assert self.answer is None, f"nothing answers what is before {block}"
            method, path, _ = first.split()
            self.answer = await self.ask(method, path, headers, body)

    async def ask(
        self, method: str, path: str, headers: dict[str, str], body: str
    ) -> httpx.Response:
        name = "refresh_token" if path == "/jwt/refresh" else "access_token"
        if headers.get("Authorization", "").endswith(ANY):
            headers["Authorization"] = f"Bearer {self.values[name]}"
        if body.startswith("{"):
            body = json.dumps(self.filled(json.loads(body)))
        return await self.server.client.request(
            method, self.in_path(path), headers=headers, content=body.encode()
        )

    def in_path(self, path: str) -> str:
        apps = [each["id"] for each in self.values.get("factors", ()) if each["factor"] == "totp"]
        return path.replace(ANY, (apps or [str(self.values.get("id", ""))])[0])

    def filled(self, body: Mapping[str, Any]) -> dict[str, Any]:
        return {name: self.value(name, value) for name, value in body.items()}

    def value(self, name: str, shown: Any) -> Any:
        if self.app and name in ("code", "totp"):
            return self.app.wrong() if shown == WRONG else self.app.code()
        value = self.values[name] if shown == ANY else shown
        return value["codes"].pop() if name == "recovery" and isinstance(value, dict) else value

    def compare(self, block: Block, status: int, headers: Mapping[str, str], body: str) -> None:
        answer = self.answer
        assert answer is not None, f"{block} answers nothing"
        assert status == answer.status_code, f"{block}\n{answer.text}"
        for name, value in headers.items():
            assert same(value, answer.headers.get(name, "")), f"{block}\n{answer.headers}"
        if body:
            found = answer.json()
            assert same(json.loads(body), found), f"{block}\n{answer.text}"
            self.values.update(found)
            if "secret" in found:
                self.app = App(base64.b32decode(found["secret"]), self.server.clock)


def check_settings(block: Block, folder: Path) -> None:
    """Settings of a page are taken by the server: the kernel's, and those of each plugin."""
    text = block.text if "plugins = " in block.text else f'plugins = ["password"]\n{block.text}'
    found = parse(text, folder)
    for each in installed():
        if each.origin.name in found.plugins:
            kind: type[Plugin[Any]] = imported(each)
            config.table(found, each.origin.name, kind.settings_type())


def laid_out(folder: Path, *ports: str) -> Terminal:
    """A terminal in the repository as `make serve` has it when all is installed.

    What is elsewhere on a server is in that folder too, and who types is its user.
    """
    for name in ("Makefile", "pyproject.toml", "requirements.txt", "constraints.txt"):
        (folder / name).symlink_to(ROOT / name)
    (folder / ".venv").mkdir()
    (folder / ".venv" / "bin").symlink_to(Path(sys.prefix) / "bin")
    for stamp in (".venv", ".serve"):
        (folder / ".venv" / stamp).touch()
    places = {
        "/opt/picoauth/bin": f"{folder}/.venv/bin",
        "/var/lib/picoauth": str(folder),
        "/etc/picoauth": str(folder),
        "runuser -u picoauth -- ": "",
    }
    terminal = Terminal(folder, {**places, **{port: str(free_port()) for port in ports}})
    settings = (ROOT / "picoauth.toml").read_text(encoding="utf-8")
    (folder / "picoauth.toml").write_text(terminal.here(settings), encoding="utf-8")
    return terminal
