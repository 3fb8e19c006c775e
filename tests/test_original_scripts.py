"""The scripts of the first picoauth, written in Rust: their `curl` lines over the socket still work."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

ADMIN = json.dumps({"username": "admin", "password": "administrator"})
JSON = ("-H", "Content-Type: application/json")
AS_JSON = (*JSON, "-d", ADMIN)
PATIENCE = 30
"""Seconds after which a server that does not answer, or does not stop, fails the test."""
TYPES = {
    "what curl says": (),
    "text": ("-H", "Content-Type: text/plain"),
    "json": JSON,
    "nothing": ("-H", "Content-Type:"),
}
"""Content types under which a token may come as the body."""


@dataclass(frozen=True)
class Socket:
    """A server's unix socket, asked by the system's `curl`."""

    path: Path

    def curl(self, path: str, *arguments: str) -> tuple[int, Any]:
        """`curl -X POST` as the scripts have it; the status, and the JSON of the answer."""
        status = ("--silent", "--show-error", "--write-out", "\n%{http_code}")
        socket = ("--unix-socket", str(self.path), f"http://localhost{path}")
        command = ["curl", *status, "-X", "POST", *socket, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True)
        body, _, code = done.stdout.rpartition("\n")
        return int(code), json.loads(body)

    def login(self) -> dict[str, Any]:
        status, tokens = self.curl("/auth/login", *AS_JSON)
        assert 200 == status, tokens
        found: dict[str, Any] = tokens
        return found


@pytest.fixture(scope="module")
def server() -> Iterator[Socket]:
    """`picoauth serve` with the shortest settings there are; `admin` is registered."""
    with TemporaryDirectory(prefix="pa", dir="/tmp") as name:
        folder = Path(name)
        (folder / "picoauth.toml").write_text('plugins = ["password"]\n')
        command = [str(Path(sys.executable).with_name("picoauth")), "serve"]
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith(f"picoauth listens on unix:{folder}/picoauth.sock"), line
            running = Socket(folder / "picoauth.sock")
            status, made = running.curl("/auth/register", *AS_JSON)
            assert (201, "admin") == (status, made["username"])
            yield running
        finally:
            process.terminate()
            process.communicate(timeout=PATIENCE)


def test_register_again(server: Socket) -> None:
    """`POST /auth/register` made the user; a second time the name is taken."""
    status, body = server.curl("/auth/register", *AS_JSON)
    assert (409, "username_taken") == (status, body["code"])


def test_login(server: Socket) -> None:
    """`POST /auth/login` answers the members that the scripts read."""
    tokens = server.login()
    assert {"access_token", "refresh_token", "token_type", "expires_in"} == set(tokens)
    assert ("Bearer", 600) == (tokens["token_type"], tokens["expires_in"])


@pytest.mark.parametrize("who", [{"password": "wrong"}, {"username": "nobody"}], ids=str)
def test_failed_login(server: Socket, who: dict[str, str]) -> None:
    """A failed login says so in `error`, beside the problem details, and not what was wrong."""
    body = json.dumps({**json.loads(ADMIN), **who})
    status, answer = server.curl("/auth/login", *JSON, "-d", body)
    request_id = answer.pop("request_id")
    assert (401, 18) == (status, len(request_id))
    assert {
        "type": "about:blank",
        "title": "Invalid username or password",
        "status": 401,
        "code": "invalid_credentials",
        "error": "Invalid username or password",
    } == answer


def test_bearer(server: Socket) -> None:
    """`POST /jwt/validate` and `POST /jwt/refresh` take the token as the scripts send it."""
    tokens = server.login()
    for _ in range(2):
        bearer = ("-H", f"Authorization: Bearer {tokens['access_token']}")
        status, claims = server.curl("/jwt/validate", *bearer)
        assert (200, "admin") == (status, claims["preferred_username"])
        bearer = ("-H", f"Authorization: Bearer {tokens['refresh_token']}")
        status, tokens = server.curl("/jwt/refresh", *bearer)
        assert (200, {"access_token", "refresh_token", "token_type", "expires_in"}) == (
            status,
            set(tokens),
        )


@pytest.mark.parametrize("content_type", TYPES)
def test_token_as_the_body(server: Socket, content_type: str) -> None:
    """They take it as the plain body as well, whatever its content type."""
    tokens = server.login()
    for _ in range(2):
        body = (*TYPES[content_type], "-d", tokens["access_token"])
        status, claims = server.curl("/jwt/validate", *body)
        assert (200, "admin") == (status, claims["preferred_username"])
        body = (*TYPES[content_type], "-d", tokens["refresh_token"])
        status, tokens = server.curl("/jwt/refresh", *body)
        assert (200, "Bearer") == (status, tokens["token_type"])


@pytest.mark.parametrize("path", ["/jwt/validate", "/jwt/refresh"])
@pytest.mark.parametrize("content_type", TYPES)
def test_body_that_is_no_token(server: Socket, path: str, content_type: str) -> None:
    """Anything else as the body is no valid token, and nothing at all is none."""
    status, body = server.curl(path, *TYPES[content_type], "-d", "no token")
    assert (401, "invalid_token") == (status, body["code"])
    status, body = server.curl(path, *TYPES[content_type], "-d", "")
    assert (401, "token_missing") == (status, body["code"])
