"""`/metrics`: what is in it, in which form, and who may read it."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_parser
from prometheus_client.parser import text_string_to_metric_families

from picoauth import (
    ConfigError,
    LoginFailed,
    Mailer,
    Message,
    NoSettings,
    Plugin,
    Unavailable,
    hookimpl,
)
from picoauth.testing import Server, serving
from picoauth_metrics import MetricsPlugin
from picoauth_metrics.tally import MOST, OTHER, Tally

TOKEN = "0123456789abcdef"


class Admin(Plugin[NoSettings]):
    """Stands for the plugin admin: its guard knows one key."""

    async def key(self, request: Any) -> str | None:
        return "key:mon" if request.headers.get("authorization") == "Bearer a-key" else None

    @hookimpl
    def guards(self) -> Any:
        return {"admin": self.key}


class Deaf(Plugin[NoSettings]):
    """A mailer that takes nothing, so that the outbox has a backlog."""

    @hookimpl
    def mailer(self) -> Mailer:
        return self

    async def send(self, message: Message) -> None:
        raise Unavailable("not now")


@asynccontextmanager
async def measured(
    folder: Path, settings: str = "", plugins: str = '"password", "metrics"', **more: Any
) -> AsyncIterator[Server]:
    async with serving(folder, f"plugins = [{plugins}]\n{settings}", **more) as server:
        yield server


async def read(
    server: Server, peer: str | None = "127.0.0.1", *, listener: Any = "admin", **headers: str
) -> httpx.Response:
    """As Prometheus would, by the listener for administration."""
    app: Any = server.app.on(listener)
    client: Any = (peer, 4711) if peer else None
    transport = httpx.ASGITransport(app=app, client=client, raise_app_exceptions=False)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        return await client.get("/metrics", headers=named)


async def samples(server: Server) -> dict[tuple[str, tuple[str, ...]], float]:
    """By name and values of labels."""
    answer = await read(server)
    assert answer.status_code == 200, answer.text
    found = {}
    for family in text_string_to_metric_families(answer.text):
        for one in family.samples:
            found[one.name, tuple(one.labels.values())] = one.value
    return found


async def test_figures(tmp_path: Path) -> None:
    """What happened is counted, under routes that there are and results that can be."""
    async with measured(tmp_path) as server:
        await server.register("ann")
        await server.login("ann")
        body = {"username": "ann", "password": "wrong wrong wrong"}
        await server.post("/auth/login", body)
        await server.get("/nothing/at/all")
        await server.auth.events.settle()
        found = await samples(server)
        assert found["picoauth_http_responses_total", ("/auth/login", "200")] == 1
        assert found["picoauth_http_responses_total", ("/auth/login", "401")] == 1
        assert found["picoauth_http_responses_total", ("other", "404")] == 1
        duration = "picoauth_http_request_duration_seconds"
        assert found[f"{duration}_count", ("/auth/login", "4xx")] == 1
        assert found[f"{duration}_sum", ("/auth/login", "4xx")] > 0
        assert found[f"{duration}_bucket", ("+Inf", "/auth/login", "4xx")] == 1
        where = f"{duration}_bucket", ("/auth/login", "2xx")
        counts = [n for (name, labels), n in found.items() if (name, labels[1:]) == where]
        assert counts == sorted(counts)
        assert len(counts) == 13
        assert found["picoauth_logins_total", ("completed",)] == 1
        assert found["picoauth_logins_total", ("invalid_credentials",)] == 1
        assert found["picoauth_events_total", ("UserRegistered",)] == 1
        assert found["picoauth_sessions_created_total", ()] == 1
        assert found["picoauth_password_hashes_pending", ()] == 0
        assert found["picoauth_database_up", ()] == 1
        assert found["picoauth_info", ("0.1.0",)] == 1
        assert found["process_resident_memory_bytes", ()] > 10_000_000
        text = (await read(server)).text
        assert "ann" not in re.findall(r"[a-z]+", text)


async def test_revocations(tmp_path: Path) -> None:
    """How many ended sessions are known, and how old that knowledge is."""
    async with measured(tmp_path) as server:
        await server.register("ann")
        token = (await server.login("ann"))["access_token"]
        await server.post("/auth/logout", token=token)
        await server.auth.revocations.poll()
        server.clock.advance(7)
        found = await samples(server)
        assert found["picoauth_revocations", ()] == 1
        assert found["picoauth_revocations_age_seconds", ()] == 7
        server.clock.advance(-3600)
        assert (await samples(server))["picoauth_revocations_age_seconds", ()] == 0


async def test_backlog(tmp_path: Path) -> None:
    """What waits in the outbox, by kind, and for how long."""
    settings = 'plugins = ["password", "metrics", "deaf"]'
    async with serving(tmp_path, settings, plugins={"deaf": Deaf}) as server:
        queued = server.auth.outbox.queuing(
            "mail", "m1", b"{}", about="x", expires_at=server.auth.now() + 900
        )
        await server.auth.database.write(queued)
        server.clock.advance(30)
        found = await samples(server)
        assert found["picoauth_outbox_messages", ("mail",)] == 1
        assert found["picoauth_outbox_oldest_seconds", ("mail",)] == 30


async def test_database_that_is_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are there when they are needed most."""
    async with measured(tmp_path) as server:

        async def gone(*_: object, **__: object) -> Any:
            raise Unavailable("not now")

        monkeypatch.setattr(server.auth.database, "read", gone)
        found = await samples(server)
        assert found["picoauth_database_up", ()] == 0
        assert "picoauth_outbox_messages" not in {name for name, _ in found}


async def test_forms(tmp_path: Path) -> None:
    """OpenMetrics for who asks for it, else the older text."""
    async with measured(tmp_path) as server:
        plain = await read(server)
        assert plain.headers["content-type"].startswith("text/plain; version=")
        accept = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"
        opened = await read(server, Accept=accept)
        assert opened.headers["content-type"].startswith("application/openmetrics-text")
        assert opened.text.endswith("# EOF\n")
        assert {family.name for family in open_parser(opened.text)} >= {"picoauth_events"}
        for version in ("1.0.0rc1", "abc", "1..0"):
            odd = await read(server, Accept=f"text/plain;version={version}")
            assert 200 == odd.status_code


@pytest.mark.parametrize(
    ("settings", "asked", "status"),
    [
        ("", ("127.0.0.1", {}), 200),
        ("", ("::1", {}), 200),
        ("", (None, {}), 200),
        ("", ("192.0.2.1", {}), 403),
        ("", ("127.0.0.1", {"X_Forwarded_For": "192.0.2.1"}), 403),
        ("", (None, {"X_Real_IP": "192.0.2.1"}), 403),
        ("", ("127.0.0.1", {"Forwarded": "for=192.0.2.1"}), 403),
        ("local = false", ("127.0.0.1", {}), 403),
        ("local = false", (None, {}), 403),
        ("", ("192.0.2.1", {"Authorization": f"Bearer {TOKEN}"}), 403),
        ("token", ("192.0.2.1", {"Authorization": f"Bearer {TOKEN}"}), 200),
        ("token", ("192.0.2.1", {"Authorization": f"bearer  {TOKEN}"}), 200),
        ("token", ("192.0.2.1", {"Authorization": f"Bearer {TOKEN}x"}), 403),
        ("token", ("192.0.2.1", {"Authorization": f"Basic {TOKEN}"}), 403),
        ("token", ("192.0.2.1", {"Authorization": "Bearer "}), 403),
        ("token", ("192.0.2.1", {}), 403),
        ("token", ("192.0.2.1", {"Authorization": "Bearer a-key"}), 403),
    ],
)
async def test_who_may_read(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: str,
    asked: tuple[str | None, dict[str, str]],
    status: int,
) -> None:
    """By token, or on this machine and for nobody else; and nobody by default else."""
    monkeypatch.setenv("METRICS", TOKEN)
    table = "[metrics]\n" + settings.replace("token", 'token = { env = "METRICS" }')
    async with measured(tmp_path, table) as server:
        assert (await read(server, asked[0], **asked[1])).status_code == status


async def test_hook_guards_beside_admin(tmp_path: Path) -> None:
    """Where administration is on, whoever may read there may read this."""
    settings = 'plugins = ["password", "metrics", "boss"]\n[metrics]\nlocal = false'
    async with serving(tmp_path, settings, plugins={"boss": Admin}) as server:
        assert (await read(server, Authorization="Bearer a-key")).status_code == 200
        assert (await read(server, Authorization="Bearer another")).status_code == 403


async def test_not_in_public(tmp_path: Path) -> None:
    """The public listener has no such route, whoever asks (M-1)."""
    async with measured(tmp_path) as server:
        assert (await read(server, listener="public")).status_code == 404
        assert (await server.get("/metrics")).status_code == 404


async def test_many_at_once(tmp_path: Path) -> None:
    """Scrapes do not get into each other's way."""
    async with measured(tmp_path) as server:
        found = await asyncio.gather(*(read(server) for _ in range(50)))
        assert {answer.status_code for answer in found} == {200}


async def test_short_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that could be guessed is refused at the start."""
    monkeypatch.setenv("METRICS", TOKEN[:-1])
    sentence = (
        "[metrics].token must have at least 16 characters: make one by `openssl rand -hex 32`."
    )
    with pytest.raises(ConfigError, match=f"^{re.escape(sentence)}$"):
        async with measured(tmp_path, '[metrics]\ntoken = { env = "METRICS" }'):
            pass


def test_labels_are_bounded() -> None:
    """However many codes plugins make up, so many are counted apart."""
    tally = Tally()
    for n in range(MOST + 50):
        tally.add(LoginFailed(at=0, user_id=None, factor="x", code=f"code{n}"))
    assert len(tally.logins) == MOST + 1
    assert tally.logins[OTHER] == 50


async def test_two_servers_in_one_process(tmp_path: Path) -> None:
    """Each counts its own."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    async with measured(tmp_path / "a") as one, measured(tmp_path / "b") as other:
        await one.register("ann")
        await one.auth.events.settle()
        assert one.auth.plugin(MetricsPlugin).tally.events["UserRegistered"] == 1
        assert ("picoauth_events_total", ("UserRegistered",)) not in await samples(other)


def test_heavy_imports_wait() -> None:
    """The library is loaded when somebody reads."""
    script = "import sys, picoauth_metrics\nprint('prometheus_client' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
