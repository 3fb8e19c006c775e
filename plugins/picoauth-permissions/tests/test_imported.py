"""Permissions that come with users from other systems, and go to others."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from picoauth import Caller
from picoauth.exporting import exported
from picoauth.importing import Importer, Report
from picoauth.testing import Server
from picoauth_permissions import PermissionsPlugin

PAGE = Path(__file__).parents[1] / "README.md"
NAMES = (
    "permissions must have permissions of 1 to 128 characters of a-z, 0-9, and . _ : -, "
    "in 1536 bytes"
)


async def imported(server: Server, *lines: Mapping[str, Any]) -> Report:
    file = io.BytesIO(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    importer = Importer(server.auth, Caller())
    report, _ = importer.check(file, lambda _: None)
    if report.refusals:
        return report
    file.seek(0)
    return await importer.run(file, lambda _: None)


async def test_lines_of_the_page(server: Server) -> None:
    """The README's line; an administrator is exported as a user like any other."""
    text = PAGE.read_text("utf-8").partition("test_lines_of_the_page -->\n```json\n")[2]
    assert 1 == (await imported(server, json.loads(text.partition("```")[0]))).made
    user = await server.auth.users.find("username", "ann")
    assert user is not None
    plugin = server.auth.plugin(PermissionsPlugin)
    assert {"media:watch", "wiki:edit"} == await plugin.held(user.id)
    await plugin.grant(user.id, "picoauth:admin", Caller())
    bob, _ = await server.auth.users.register(server.auth.users.draft(username="bob"))
    await plugin.grant(bob.id, "picoauth:admin", Caller())
    [page] = [page async for page in exported(server.auth)]
    found = {line["username"]: line.get("permissions") for line in page}
    assert {"ann": ["media:watch", "wiki:edit"], "bob": None} == found


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("wiki:edit", "permissions must be a list of texts"),
        ([7], "permissions must be a list of texts"),
        ({"wiki:edit": True}, "permissions must be a list of texts"),
        (["Wiki:edit"], NAMES),
        (["wiki edit"], NAMES),
        (["wiki:edit\n"], NAMES),
        (["\N{CYRILLIC SMALL LETTER ER}icoauth:admin"], NAMES),
        ([""], NAMES),
        (["a" * 129], NAMES),
        ([f"wiki:{number:0100}" for number in range(20)], NAMES),
        (
            ["picoauth:admin"],
            "permissions has picoauth:admin, which is granted by `picoauth admin add` alone",
        ),
    ],
)
async def test_bad(server: Server, value: Any, problem: str) -> None:
    """No file makes an administrator, or a permission that cannot be one."""
    report = await imported(server, {"username": "ann", "permissions": value})
    assert [problem] == [one.problem for one in report.refused]


async def test_twice(server: Server) -> None:
    """What a list has twice is held once."""
    assert 1 == (await imported(server, {"username": "ann", "permissions": ["a", "b", "a"]})).made
