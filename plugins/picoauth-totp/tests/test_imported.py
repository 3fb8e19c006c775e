"""Authenticators that come with users from other systems, and go to others."""

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
from picoauth_totp import TotpPlugin
from picoauth_totp.authenticators import FACTOR
from picoauth_totp.codes import PERIOD, code, matched

SECRET = 2 * b"Hello!\xde\xad\xbe\xef"
TEXT = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
OTHER = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
"""The secret of RFC 6238, appendix B."""
SHAPE = "totp must be a secret in Base32, or a list of objects with secret and label"
PAGE = Path(__file__).parents[1] / "README.md"


async def imported(server: Server, *lines: Mapping[str, Any]) -> Report:
    file = io.BytesIO(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    importer = Importer(server.auth, Caller())
    report, _ = importer.check(file, lambda _: None)
    if report.refusals:
        return report
    file.seek(0)
    return await importer.run(file, lambda _: None)


async def authenticators(server: Server, username: str) -> list[tuple[bytes, int]]:
    user = await server.auth.users.find("username", username)
    assert user is not None
    known = server.auth.plugin(TotpPlugin).authenticators
    return [(known.secret(one), one.last_step) for one in await known.of(user.id)]


async def test_imported(server: Server) -> None:
    """It counts at once; codes that the other system may have taken are spent (O-3)."""
    report = await imported(
        server, {"username": "ann", "totp": "jbsw y3dp-ehpk 3pxp jbsw y3dp-ehpk 3pxp=="}
    )
    assert 1 == report.made, report
    [(secret, last)] = await authenticators(server, "ann")
    assert SECRET == secret
    window, now = server.auth.plugin(TotpPlugin).settings.window, server.auth.now()
    assert now // PERIOD + window == last
    later = now + PERIOD * (2 * window + 1)
    assert matched(secret, code(secret, later // PERIOD), now=later, window=window, after=last) == (
        later // PERIOD
    )
    user = await server.auth.users.find("username", "ann")
    assert user is not None
    assert [FACTOR] == [one.factor for one in await server.auth.users.enrolments(user.id)]


async def test_lines_of_the_page(server: Server) -> None:
    """The README's lines; and what comes of them comes of their export, too."""
    block = PAGE.read_text("utf-8").partition("test_lines_of_the_page -->\n```json\n")[2]
    lines = [json.loads(line) for line in block.partition("```")[0].splitlines()]
    assert 2 == (await imported(server, *lines)).made
    [page] = [page async for page in exported(server.auth)]
    assert not any("totp" in line for line in page)
    [page] = [page async for page in exported(server.auth, secrets=True)]
    totp = {line["username"]: line["totp"] for line in page}
    assert {"ann": [{"secret": TEXT}], "bob": [{"secret": OTHER, "label": "Phone"}]} == totp
    for line in page:
        await server.auth.accounts.delete(line["id"], Caller())
    again = [{**line, "username": f"{line['username']}2"} for line in page]
    for line in again:
        del line["id"]
    assert 2 == (await imported(server, *again)).made
    assert [SECRET] == [secret for secret, _ in await authenticators(server, "ann2")]


async def test_most(server: Server) -> None:
    """As many as a user may have."""
    many = [{"secret": f"{letter}{TEXT[1:]}"} for letter in "ABCDEFGHIK"]
    assert 1 == (await imported(server, {"username": "ann", "totp": many})).made
    assert 10 == len(await authenticators(server, "ann"))


BAD: Mapping[str, tuple[Any, str]] = {
    "empty": ("", "totp has a secret that is not of 14 to 64 bytes"),
    "short": ("JBSWY3DPEHPK3PXP", "totp has a secret that is not of 14 to 64 bytes"),
    "long": ("A" * 200, "totp has a secret that is not of 14 to 64 bytes"),
    "longer": ("A" * 10_000, SHAPE),
    "letters": (f"{TEXT[:-1]}1", SHAPE),
    "other digits": (TEXT[:-1] + "\N{FULLWIDTH DIGIT TWO}", SHAPE),
    "half a letter": (f"{TEXT}A", SHAPE),
    "number": (7, SHAPE),
    "texts": ([TEXT], SHAPE),
    "none": ([], "totp must have from 1 to 10 secrets"),
    "many": ([{"secret": TEXT}] * 11, "totp must have from 1 to 10 secrets"),
    "twice": ([{"secret": TEXT}, {"secret": f"{TEXT}="}], "totp has one secret twice"),
    "object": ({"secret": TEXT}, SHAPE),
    "more": ([{"secret": TEXT, "digits": 8}], SHAPE),
    "label": (
        [{"secret": TEXT, "label": 7}],
        "totp has a label that is no text of 1 to 100 characters",
    ),
    "surrogate": (
        [{"secret": TEXT, "label": "\ud800"}],
        "totp has a label that is no text of 1 to 100 characters",
    ),
}


@pytest.mark.parametrize("name", BAD)
async def test_bad(server: Server, name: str) -> None:
    """It is told by a clause, which has nothing of the secret."""
    value, problem = BAD[name]
    report = await imported(server, {"username": "ann", "totp": value})
    assert [problem] == [one.problem for one in report.refused]
    assert TEXT not in problem
