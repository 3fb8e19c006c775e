"""Speaks ASGI by hand, for requests that no client would send."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from hypothesis import HealthCheck, settings

from picoauth.routes import Listener
from picoauth.testing import Server

EXAMPLES = settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
"""The same examples each time, all asked of one server."""

SECURITY = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'",
}
COMPANIONS = {401: "www-authenticate", 405: "allow", 429: "retry-after", 503: "retry-after"}
"""The header without which a refusal of this status is not whole."""

Lines = Sequence[tuple[str, str]]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    lines: Lines
    body: bytes

    @property
    def headers(self) -> dict[str, str]:
        """By name; none but `vary` comes twice."""
        names = [name for name, _ in self.lines if name != "vary"]
        assert sorted(set(names)) == sorted(names)
        return dict(self.lines)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> tuple[int, str | None]:
        """Status, and the stable code of a problem, which is whole; None stands for no problem."""
        headers = self.headers
        assert SECURITY.items() <= headers.items()
        assert 18 == len(headers["x-request-id"])
        if self.status < 400:
            return self.status, None
        problem = self.json
        assert str(len(self.body)) == headers["content-length"]
        if "error_description" in problem:  # RFC 6749, section 5.2
            assert "application/json" == headers["content-type"]
            assert set(problem["error"]) <= set("abcdefghijklmnopqrstuvwxyz_")
        else:
            assert "application/problem+json" == headers["content-type"]
            assert ("about:blank", self.status) == (problem["type"], problem["status"])
            assert problem["title"] == problem["error"] != ""
        assert headers["x-request-id"] == problem["request_id"]
        assert COMPANIONS.get(self.status, "x-request-id") in headers
        return self.status, problem["code"]


def bearer(token: str) -> tuple[str, str]:
    return "Authorization", f"Bearer {token}"


def typed(content_type: str) -> tuple[str, str]:
    return "Content-Type", content_type


def scope_of(method: str, target: str, headers: Lines, hosts: Sequence[str]) -> Message:
    """A request as hypercorn hands it over."""
    path, _, query = target.partition("?")
    lines = [*(("host", host) for host in hosts), *headers]
    return {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode("latin-1"),
        "query_string": query.encode("latin-1"),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in lines],
        "client": ("127.0.0.1", 5000),
        "server": None,
    }


def receiver(chunks: Sequence[bytes], *, unfinished: bool = False) -> Receive:
    """A body that arrives in chunks; one that is `unfinished` never gets to its end."""
    parts = list(chunks)

    async def receive() -> Message:
        if not parts:
            await asyncio.Event().wait()
        body = parts.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(parts) or unfinished}

    return receive


async def ask(
    server: Server,
    method: str,
    target: str,
    *chunks: bytes,
    headers: Lines = (),
    hosts: Sequence[str] = ("localhost",),
    listener: Listener = "public",
    receive: Receive | None = None,
    **scope: Any,
) -> Answer:
    """Send a request whose body is `chunks`, or what `receive` answers; headers go as they are."""
    sent: list[Message] = []

    async def send(message: Any) -> None:
        sent.append(message)

    request = {**scope_of(method, target, headers, hosts), **scope}
    await server.app.on(listener)(request, receive or receiver(chunks or [b""]), send)
    return answer(sent)


def answer(sent: Sequence[Message]) -> Answer:
    start, *rest = sent
    assert "http.response.start" == start["type"]
    assert [True] * (len(rest) - 1) == [part.get("more_body", False) for part in rest[:-1]]
    assert not rest[-1].get("more_body", False)
    lines = [(name.decode(), value.decode()) for name, value in start["headers"]]
    return Answer(start["status"], lines, b"".join(part.get("body", b"") for part in rest))


async def rows(server: Server) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table, in an order that is always the same."""
    read = server.auth.database.read
    names = await read("select name from sqlite_master where type = 'table'")
    return {name: sorted(await read(f"select * from {name}"), key=repr) for (name,) in names}
