"""What the server tells about itself: `/health-check`, and its public keys."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from picoauth import Check, NoSettings, Plugin, Unavailable, hookimpl
from picoauth.testing import Server, serving
from tests.asgi import Answer, ask
from tests.hurry import hurry

SENTENCE = "The lamp is out: change it."
FAILED = "The check itself failed: see the log."


async def well() -> str | None:
    return None


async def wrong() -> str | None:
    return SENTENCE


async def raising() -> str | None:
    raise LookupError("hunter2")


async def hanging() -> str | None:
    await asyncio.Event().wait()
    return None


class LampPlugin(Plugin[NoSettings]):
    """Two checks for `/health-check`, and one that is not."""

    lamp: ClassVar[Callable[[], Awaitable[str | None]]] = staticmethod(well)

    @hookimpl
    def checks(self) -> Sequence[Check]:
        return [
            Check("lamp", lambda: type(self).lamp()),
            Check("desk", well),
            Check("cellar", wrong, live=False),
        ]


SETTINGS = 'plugins = ["password", "lamp"]'
PLUGINS: dict[str, type[Plugin[Any]]] = {"lamp": LampPlugin}


async def health(server: Server, query: str = "") -> Answer:
    got = await ask(server, "GET", f"/health-check{query}")
    assert ("application/json", "no-store") == (
        got.headers["content-type"],
        got.headers["cache-control"],
    )
    return got


async def test_all_is_well(tmp_path: Path) -> None:
    """Alive and ready; checks that belong to `doctor` alone are not run."""
    async with serving(tmp_path, SETTINGS, plugins=PLUGINS) as server:
        for query in ("", "?check=ready", "?check=lamp", "?check=database", "?check=revocations"):
            got = await health(server, query)
            assert (200, {"status": "ok", "ready": True, "problems": {}}) == (got.status, got.json)


@pytest.mark.parametrize(
    ("lamp", "sentence"), [(wrong, SENTENCE), (raising, FAILED), (hanging, FAILED)]
)
async def test_check_of_a_plugin(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    lamp: Callable[[], Awaitable[str | None]],
    sentence: str,
) -> None:
    """A check that fails, raises or hangs makes the server not ready, but leaves it alive."""
    hurry(monkeypatch, "lamp")
    monkeypatch.setattr(LampPlugin, "lamp", staticmethod(lamp))
    body = {"status": "degraded", "ready": False, "problems": {"lamp": sentence}}
    async with serving(tmp_path, SETTINGS, plugins=PLUGINS) as server:
        statuses = {"": 200, "?check=ready": 503, "?check=lamp": 503, "?check=desk": 200}
        for query, status in statuses.items():
            got = await health(server, query)
            assert (status, body) == (got.status, got.json)
            assert b"hunter2" not in got.body


@pytest.mark.parametrize("name", ["nothing", "cellar", ""])
async def test_unknown_check(tmp_path: Path, name: str) -> None:
    """A check that is not there, or not for everybody, is not found."""
    async with serving(tmp_path, SETTINGS, plugins=PLUGINS) as server:
        got = await ask(server, "GET", f"/health-check?check={name}")
        assert (404, "not_found") == got.code


async def test_server_that_stops(server: Server) -> None:
    """As soon as it is to stop it is not ready, so that a balancer turns away; it still answers."""
    server.app.stopping()
    body = {"status": "degraded", "ready": False, "problems": {}}
    for query, status in {"": 200, "?check=ready": 503, "?check=database": 200}.items():
        got = await health(server, query)
        assert (status, body) == (got.status, got.json)


async def test_database_that_does_not_answer(server: Server) -> None:
    """The server is alive without its database, and says what to see to."""
    await server.auth.database.close()
    with pytest.raises(Unavailable) as closed:
        await server.auth.database.read("select 1")
    got = await health(server)
    sentence = f"The database cannot be read: {closed.value}. See to its file and its disk."
    assert (200, sentence) == (got.status, got.json["problems"]["database"])
    assert 503 == (await health(server, "?check=database")).status


@pytest.mark.parametrize(
    ("algorithm", "members"),
    [
        ("ES256", {"kty": "EC", "crv": "P-256"}),
        ("ES512", {"kty": "EC", "crv": "P-521"}),
        ("EdDSA", {"kty": "OKP", "crv": "Ed25519"}),
        ("HS256", None),
    ],
)
async def test_published_keys(
    tmp_path: Path, algorithm: str, members: dict[str, str] | None
) -> None:
    """Public keys may be kept for five minutes, and hold nothing private (K-14, RFC 7517)."""
    settings = f'plugins = ["password"]\n[tokens]\nalgorithm = "{algorithm}"'
    async with serving(tmp_path, settings) as server:
        got = await ask(server, "GET", "/.well-known/jwks.json")
    assert (200, "public, max-age=300") == (got.status, got.headers["cache-control"])
    assert "application/json" == got.headers["content-type"]
    assert {"keys"} == set(got.json)
    if members is None:  # who can check could also sign
        assert [] == got.json["keys"]
        return
    [key] = got.json["keys"]
    assert {**members, "alg": algorithm, "use": "sig"}.items() <= key.items()
    assert (
        {"kty", "crv", "kid", "alg", "use", "x"}
        <= set(key)
        <= {*("kty", "crv", "kid", "alg", "use", "x", "y")}
    )
