"""The examples of the docs, run as they are written."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from picoauth import testing
from picoauth.testing import Server, contracts, serving
from picoauth.testing.authenticator import Authenticator

DOCS = Path(__file__).parent.parent / "docs"


def first(page: str, language: str) -> str:
    """The first block of one language on a page."""
    text = (DOCS / page).read_text(encoding="utf-8")
    [block] = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)[:1]
    found: str = block
    return found


async def test_plugin_of_the_hooks_page(tmp_path: Path) -> None:
    """The plugin at the head of the page greets who is logged in, and nobody else."""
    names: dict[str, Any] = {}
    exec(first("hooks.md", "python"), names)  # noqa: S102 - our own page
    settings = 'plugins = ["password", "hello"]'
    async with serving(tmp_path, settings, plugins={"hello": names["HelloPlugin"]}) as server:
        await server.register()
        tokens = await server.login()
        answer = await server.get("/hello", token=tokens["access_token"])
        assert {"hello": "ann"} == answer.json()
        assert 401 == (await server.get("/hello")).status_code


async def test_login_of_the_http_page(server: Server) -> None:
    """The body of the page is a login, and answers the members that the page names."""
    body = json.loads(first("http.md", "json"))
    await server.register(body["username"], body["password"])
    answer = await server.post("/auth/login", body)
    text = (DOCS / "http.md").read_text(encoding="utf-8")
    [named] = re.findall(r"It answers `\{(.*?)\}`", text)
    assert set(json.loads(f"[{named}]")) == set(answer.json())


def test_project_of_the_testing_page(pytester: pytest.Pytester) -> None:
    """The files on the page are a project whose tests pass, without a warning."""
    text = (DOCS / "testing.md").read_text(encoding="utf-8")
    files = re.findall(r"```python\n# (\w+)\.py\n(.*?)```", text, re.DOTALL)
    assert 8 == len(files) == text.count("```python")
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
