"""The receiver of the page, as a process of its own, and what it makes of a forgery."""

from __future__ import annotations

import base64
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from picoauth import Caller, UserRegistered
from picoauth_webhook.payload import told
from picoauth_webhook.signing import headers, key

PAGE = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
SOON = 20
"""Seconds after which a test gives up."""


def example(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert found
    return found[1]


@contextmanager
def receiving(folder: Path, secret: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    script = folder / "receiver.py"
    script.write_text(example("python"), encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, str(script)],
        env={**os.environ, "WEBHOOK_SECRET": f"{secret}\n", "PORT": str(port)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        for _ in range(SOON * 20):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/", process
    finally:
        process.kill()
        process.wait(SOON)
        assert process.stdout is not None
        process.stdout.close()


def test_receiver_of_the_page(tmp_path: Path, secrets: list[str]) -> None:
    """It takes what is signed, once, and nothing that was altered, is old, or is by another key."""
    new, old = (key(secret.encode(), "x") for secret in secrets)
    now = int(time.time())
    body = told(UserRegistered(at=now, user_id="ann"))
    with receiving(tmp_path, secrets[1]) as (url, process):

        def post(said: dict[str, str], sent: bytes = body) -> int:
            return httpx.post(url, content=sent, headers=said, trust_env=False).status_code

        both = dict(headers([new, old], "msg_1", now, body))
        assert [post(both), post(both)] == [204, 204]
        assert post(both, body.replace(b"ann", b"bob")) == 400
        assert post({**both, "webhook-id": "msg_2"}) == 400
        assert post({**both, "webhook-timestamp": str(now + 1)}) == 400
        assert post(dict(headers([new], "msg_3", now, body))) == 400
        assert post(dict(headers([old], "msg_4", now - 400, body))) == 400
        process.kill()
        printed = process.communicate(timeout=SOON)[0].splitlines()
        assert printed == [str(json.loads(body))]


def test_payload_of_the_page() -> None:
    """The example has the members of a real one."""
    shown = json.loads(example("json"))
    data = shown["data"]
    caller = Caller(data["address"], data["user_agent"], data["request_id"])
    event = UserRegistered(
        at=1_800_000_000, user_id=data["user_id"], factors=("password",), caller=caller
    )
    said = json.loads(told(event))
    assert said == shown


@pytest.mark.parametrize("length", [24, 64])
def test_lengths_of_secrets(length: int) -> None:
    """What the specification allows is taken."""
    secret = b"whsec_" + base64.b64encode(bytes(length))
    assert key(secret, "x") == bytes(length)
