"""Clients that others wrote, as they are, log in at the endpoint, each in a process of its own.

They know the endpoint as http://localhost, without a port, as profile URLs have to be: to them
the server of the test is a proxy.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from endpoint import Home

from picoauth.testing import Server, serving
from tests.interop import apart, listening
from tests.processes import PATIENCE

CLIENTS = Path(__file__).with_name("interop_clients.py")
BASE = "http://localhost"
SETTINGS = f"""
plugins = ["password", "privateauth"]
public_url = "{BASE}"

[privateauth]
consent_url = "built-in"
"""
PINS = Path(__file__).with_name("interop.txt")
"""indieweb-utils, which wants an older cbor2 than others here, with all that it needs."""


@asynccontextmanager
async def proxied(folder: Path) -> AsyncIterator[tuple[Server, str]]:
    """A server with Ann, and the address of the proxy by which it is http://localhost."""
    async with serving(folder, SETTINGS) as server:
        await server.register()

        async def proxy(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
            if scope["type"] == "http":  # proxies are sent the whole URL (RFC 9112, section 3.2.2)
                path, raw = scope["path"].removeprefix(BASE), scope["raw_path"]
                scope = {**scope, "path": path, "raw_path": raw.removeprefix(BASE.encode())}
            await server.app(scope, receive, send)

        async with listening(proxy) as place:
            yield server, f"http://{place}"


async def logged_in(folder: Path, name: str, python: str = sys.executable) -> dict[str, Any]:
    """What a client knows of Ann afterwards."""
    async with proxied(folder) as (server, proxy):
        clean = {n: v for n, v in os.environ.items() if not n.lower().endswith("_proxy")}
        process = await asyncio.create_subprocess_exec(
            *(python, str(CLIENTS), name),
            env={**clean, "http_proxy": proxy},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        said, wrong = await asyncio.wait_for(process.communicate(), 2 * PATIENCE)
        assert 0 == process.returncode, wrong.decode()
        [grant] = await Home(server).plugin.granted.of(await ann(server))
        assert "http://localhost" in grant["client_id"]
        known: dict[str, Any] = json.loads(said)
        return known


async def ann(server: Server) -> str:
    user = await server.auth.users.find("username", "ann")
    assert user is not None
    return user.id


async def test_datasette_indieauth(tmp_path: Path) -> None:
    """Datasette's plugin finds the endpoint by its older relations, and the profile again."""
    assert {"me": f"{BASE}/u/ann"} == await logged_in(tmp_path, "datasette")


async def test_authl(tmp_path: Path) -> None:
    """Authl redeems without `grant_type`, at the authorization endpoint, for the profile."""
    assert {"me": f"{BASE}/u/ann", "name": "ann"} == await logged_in(tmp_path, "authl")


@pytest.mark.timeout(900)
async def test_indieweb_utils(tmp_path: Path) -> None:
    """indieweb-utils reads the metadata, and wants a token with its scope."""
    known = await logged_in(tmp_path, "indieweb_utils", apart(PINS, "interop"))
    assert {"me": f"{BASE}/u/ann", "scope": "profile"} == known
