"""`picoauth webhook list`, `test` and `replay`."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from picoauth.cli import cli
from picoauth.testing import Clock, serving

STATUS = {"/gone": 410, "/fine": 204}


class Receiver(BaseHTTPRequestHandler):
    """A receiver in a thread, since a command has a loop of its own."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        got.append(json.loads(body)["type"])
        self.send_response(STATUS[self.path])
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


got: list[str] = []


@contextmanager
def receiver() -> Iterator[int]:
    got.clear()
    with HTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Settings with two receivers, one of which is gone; Ann has registered."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PICOAUTH_CONFIG", raising=False)
    with receiver() as port:
        text = 'plugins = ["password", "webhook"]\n'
        for name in ("fine", "gone"):
            text += f"[webhook.endpoints.{name}]\n"
            text += f'url = "http://127.0.0.1:{port}/{name}"\nsecret = {{ env = "HOOK_0" }}\n'
            text += 'private = true\ninsecure = true\nevents = ["UserRegistered"]\n'
        path = tmp_path / "picoauth.toml"
        path.write_text(text, encoding="utf-8")

        async def work() -> None:
            async with serving(tmp_path, text, clock=Clock(1_800_000_000)) as server:
                await server.register("ann")
                await server.auth.outbox.flush()

        asyncio.run(work())
        yield tmp_path


def picoauth(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ("webhook", *arguments), prog_name="picoauth")


def listed(*arguments: str) -> list[dict[str, object]]:
    result = picoauth("list", "--json", *arguments)
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.output.splitlines()]


@pytest.mark.usefixtures("folder")
def test_list() -> None:
    """A table for people, objects for programs, without what the messages say."""
    everything = sorted(listed(), key=lambda one: str(one["endpoint"]))
    assert [(one["endpoint"], one["state"], one["tries"]) for one in everything] == [
        ("fine", "sent", 1),
        ("gone", "given up", 1),
    ]
    assert everything[1]["error"] == "the receiver is gone (410)"
    assert everything[0]["created_at"] == 1_800_000_000
    assert listed("--endpoint", "gone") == listed("--given-up") == [everything[1]]
    lines = picoauth("list", "--endpoint", "fine").output.splitlines()
    assert lines[0].split() == [
        "id",
        "endpoint",
        "type",
        "state",
        "created_at",
        "tries",
        "error",
    ]
    assert lines[1].split() == [
        str(everything[0]["id"]),
        "fine",
        "UserRegistered",
        "sent",
        "2027-01-15",
        "08:00Z",
        "1",
        "-",
    ]


@pytest.mark.usefixtures("folder")
def test_list_after_a_restore() -> None:
    """Nobody knows what of the older messages was sent; one can be sent again by its id."""
    for words in (["backup", "backup.db"], ["restore", "backup.db", "--yes"]):
        assert 0 == CliRunner().invoke(cli, words, prog_name="picoauth").exit_code
    assert ["unknown"] * 2 == [one["state"] for one in listed()]
    [fine] = listed("--endpoint", "fine")
    assert 0 == picoauth("replay", str(fine["id"])).exit_code
    assert {"unknown", "waits"} == {one["state"] for one in listed()}


@pytest.mark.usefixtures("folder")
def test_unknown_endpoint() -> None:
    """The names that there are help."""
    sentence = 'picoauth: There is no endpoint "shop" in the settings: there is fine, gone.\n'
    for arguments in (
        ["list", "--endpoint", "shop"],
        ["test", "shop"],
        ["replay", "--given-up", "--endpoint", "shop"],
    ):
        result = picoauth(*arguments)
        assert (result.exit_code, result.stderr) == (2, sentence)


@pytest.mark.usefixtures("folder")
def test_test() -> None:
    """It says whether the receiver took it."""
    result = picoauth("test", "fine")
    assert (result.exit_code, result.output) == (0, "fine took it.\n")
    assert got[-1] == "Test"
    result = picoauth("test", "gone")
    sentence = (
        "picoauth: The message did not arrive, since the receiver is gone (410): "
        "see to the endpoint gone.\n"
    )
    assert (result.exit_code, result.stderr) == (2, sentence)


@pytest.mark.usefixtures("folder")
def test_replay() -> None:
    """By id, or all that were given up; the exit code says whether all were queued."""
    [fine] = listed("--endpoint", "fine")
    [gone] = listed("--endpoint", "gone")
    result = picoauth("replay", str(fine["id"]), "nothing")
    assert (result.exit_code, result.stdout) == (1, f"{fine['id']}: queued\n")
    assert result.stderr == "nothing: there is no such message\n"
    result = picoauth("replay", "--given-up", "--endpoint", "gone")
    assert (result.exit_code, result.output) == (0, f"{gone['id']}: queued\n")
    assert [one["state"] for one in listed()] == ["waits", "waits"]
    result = picoauth("replay", "--given-up")
    assert (result.exit_code, result.output) == (0, "No message was given up.\n")


@pytest.mark.usefixtures("folder")
def test_replay_of_nothing() -> None:
    """Neither ids nor all of them, or both, is a question."""
    for arguments in ([], ["msg_1", "--given-up"]):
        result = picoauth("replay", *arguments)
        assert result.exit_code == 2
        assert result.stderr.endswith("Name messages, or say --given-up.\n")
