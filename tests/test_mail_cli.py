"""`picoauth mail`: what waits, another try now, and a mail to see whether it arrives."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from picoauth import Auth, parse
from picoauth.cli import cli
from picoauth.testing import Clock
from tests.distributions import Distributions, distributing

POST = """
import json, os
from contextlib import asynccontextmanager
from picoauth import NoSettings, Plugin, Unavailable, Undeliverable, hookimpl

class Made(Plugin[NoSettings]):
    up = False

    @hookimpl
    def mailer(self):
        return self

    @hookimpl
    def lifespan(self):
        return self.running()

    @asynccontextmanager
    async def running(self):
        self.up = True
        yield

    async def send(self, message):
        assert self.up
        trouble = os.environ.get("TROUBLE", "")
        if trouble:
            raise {"down": Unavailable, "never": Undeliverable}.get(trouble, LookupError)("it is " + trouble)
        with open("sent", "w") as file:
            json.dump([message.to, message.subject, message.text, message.html], file)
"""
NOW = 1_800_000_000


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the command is run: with a plugin that delivers mail."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PICOAUTH_CONFIG", raising=False)
    installed = tmp_path / "installed"
    installed.mkdir()
    settings = 'plugins = ["password", "post"]\npublic_url = "https://auth.example.org"\n'
    (tmp_path / "picoauth.toml").write_text(settings, encoding="utf-8")
    with distributing(installed) as found:
        Distributions.add(found, "post", "post", POST)
        yield tmp_path


def picoauth(*arguments: str) -> Result:
    result = CliRunner().invoke(cli, arguments, prog_name="picoauth")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def done(*arguments: str) -> str:
    result = picoauth(*arguments)
    assert (0, "") == (result.exit_code, result.stderr)
    return result.stdout


def refused(*arguments: str, code: int) -> str:
    result = picoauth(*arguments)
    assert (code, "") == (result.exit_code, result.stdout)
    return result.stderr


def fill(folder: Path) -> None:
    """Messages in each state, by a kernel at a known time that sends none of them."""

    async def work() -> None:
        clock = Clock(NOW)
        auth = Auth(parse("plugins = []", folder), clock=clock, monotonic=clock, found=[])
        async with auth.started():
            for name in ("new", "put-off", "sent", "refused"):
                message = auth.outbox.queuing(
                    "pigeon", name, b"secret", about="loft/hello", expires_at=NOW + 3600
                )
                await auth.database.write(message)
                clock.advance(60)
            rows = auth.outbox.rows
            claimed = {n: await rows.claim(n, 0) for n in ("put-off", "sent", "refused")}
            assert all(claimed.values())
            found: Any = claimed
            await rows.put_off(found["put-off"], 0, "no pigeon\x1b[2J is here")
            await rows.sent(found["sent"])
            await auth.database.write(rows.giving_up(found["refused"], "it came too late"))

    asyncio.run(work())


TABLE = """\
id       kind    about       state     created_at         tries  next_at            error
new      pigeon  loft/hello  waits     2027-01-15 08:00Z  0      2027-01-15 08:00Z  -
put-off  pigeon  loft/hello  waits     2027-01-15 08:01Z  1      2027-01-15 08:04Z  no pigeon\\x1b[2J is here
sent     pigeon  loft/hello  sent      2027-01-15 08:02Z  1      -                  -
refused  pigeon  loft/hello  given up  2027-01-15 08:03Z  1      -                  it came too late
"""


def test_list(folder: Path) -> None:
    """What waits, what was sent and what was given up, without what it says and to whom."""
    fill(folder)
    assert TABLE == done("mail", "list")
    found = [json.loads(line) for line in done("mail", "list", "--json").splitlines()]
    expected = {
        "id": "put-off",
        "kind": "pigeon",
        "about": "loft/hello",
        "state": "waits",
        "created_at": NOW + 60,
        "tries": 1,
        "next_at": NOW + 240 + 15,
        "error": "no pigeon\x1b[2J is here",
    }
    assert expected == found[1]
    assert ["waits", "waits", "sent", "given up"] == [one["state"] for one in found]


def test_list_of_nothing() -> None:
    """The names of the columns, or nothing for a program."""
    assert "id  kind  about  state  created_at  tries  next_at  error\n" == done("mail", "list")
    assert "" == done("mail", "list", "--json")


def test_retry(folder: Path) -> None:
    """All that waits is due now."""
    assert "0 messages will be tried now.\n" == done("mail", "retry")
    fill(folder)
    assert "2 messages will be tried now.\n" == done("mail", "retry")
    found = [json.loads(line) for line in done("mail", "list", "--json").splitlines()]
    assert 1 == len({one["next_at"] for one in found if one["state"] == "waits"})
    assert 0 == found[0]["tries"]


def test_retry_of_one(folder: Path) -> None:
    """It is told in the singular."""

    async def work() -> None:
        auth = Auth(parse("plugins = []", folder), found=[])
        async with auth.started():
            queuing = auth.outbox.queuing("pigeon", "1", b"", about="", expires_at=2**31)
            await auth.database.write(queuing)

    asyncio.run(work())
    assert "1 message will be tried now.\n" == done("mail", "retry")


def test_test(folder: Path) -> None:
    """A mail goes out past the outbox, while nothing else is sent."""
    fill(folder)
    assert "Sent: see whether it arrives.\n" == done("mail", "test", "Ann@Bücher.example")
    expected = [
        "Ann@xn--bcher-kva.example",
        "A test of picoauth",
        "This server can send mail: https://auth.example.org\n",
        None,
    ]
    assert expected == json.loads((folder / "sent").read_text(encoding="utf-8"))
    assert TABLE == done("mail", "list")


@pytest.mark.parametrize(
    ("trouble", "said"),
    [("down", "it is down"), ("never", "it is never"), ("odd", "LookupError: it is odd")],
)
def test_test_that_fails(monkeypatch: pytest.MonkeyPatch, trouble: str, said: str) -> None:
    """It says why, in one sentence."""
    monkeypatch.setitem(os.environ, "TROUBLE", trouble)
    sentence = (
        f"picoauth: The mail was not sent ({said}): see to the settings of what delivers mail.\n"
    )
    assert sentence == refused("mail", "test", "ann@example.com", code=2)


def test_test_without_a_mailer(folder: Path) -> None:
    """It says what to list."""
    (folder / "picoauth.toml").write_text('plugins = ["password"]', encoding="utf-8")
    sentence = "picoauth: No listed plugin delivers mail: add one to `plugins`, such as smtp.\n"
    assert sentence == refused("mail", "test", "ann@example.com", code=2)


@pytest.mark.parametrize("address", ["ann", "ann@example.com\nBcc: eve@example.com", ""])
def test_test_of_no_address(folder: Path, address: str) -> None:
    """Nothing is sent."""
    assert refused("mail", "test", address, code=1).startswith("picoauth: ")
    assert not (folder / "sent").exists()
