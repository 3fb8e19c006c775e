"""`GET /admin/audit`: where there are administrators, for them alone, page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from logbook import KINDS, SETTINGS, Log

from picoauth.testing import Server, serving
from picoauth.testing.contracts.access import POLICIES, PRINCIPALS, AccessContract
from tests.factors import join

ADMIN = SETTINGS.replace('"audit"', '"boss", "audit"')


class Asking:
    """Asks the admin listener."""

    def __init__(self, server: Server) -> None:
        self.log = Log(server)
        transport = httpx.ASGITransport(app=server.app.on("admin"), raise_app_exceptions=False)
        self.client = httpx.AsyncClient(transport=transport, base_url="http://localhost")

    async def get(self, who: str = "admin", **query: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {who}"}
        return await self.client.get("/admin/audit", params=query, headers=headers)

    async def page(self, **query: Any) -> dict[str, Any]:
        answer = await self.get(**query)
        assert 200 == answer.status_code, answer.text
        found: dict[str, Any] = answer.json()
        return found


@pytest.fixture
async def asking(tmp_path: Path) -> AsyncIterator[Asking]:
    async with serving(tmp_path, ADMIN, plugins=KINDS) as server:
        for number in range(5):
            await join(server, f"user{number}")
        asking = Asking(server)
        await asking.log.entries()
        yield asking


async def test_pages(asking: Asking) -> None:
    """Stable pages from the newest row on; what comes meanwhile is on none of them."""
    seen, before = [], None
    while True:
        page = await asking.page(limit=2, **({"before": before} if before else {}))
        await join(asking.log.server, f"late{len(seen)}")
        await asking.log.entries()
        seen += [one["seq"] for one in page["entries"]]
        before = page["next"]
        if before is None:
            break
    assert [6, 5, 4, 3, 2, 1] == seen


async def test_filters(asking: Asking) -> None:
    """The same filters as at the command line."""
    user = await asking.log.server.auth.users.find("username", "user3")
    assert user
    for query in ({"user": "user3"}, {"user": user.id, "event": "UserRegistered"}):
        [only] = (await asking.page(**query))["entries"]
        assert (user.id, "UserRegistered") == (only["user_id"], only["event"])
    assert [] == (await asking.page(user="nobody"))["entries"]
    assert [] == (await asking.page(until="2020-01-01"))["entries"]
    assert 6 == len((await asking.page(since=1_800_000_000))["entries"])
    assert [] == (await asking.page(actor="key:x", address="192.0.2.1"))["entries"]


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "0"},
        {"limit": "201"},
        {"limit": "1000000000"},
        {"limit": "-1"},
        {"limit": "x"},
        {"limit": "٣"},
        {"before": "-1"},
        {"before": "9" * 40},
        {"since": "x"},
        {"until": "1e9"},
        {"since": "-1"},
        {"usr": "ann"},
    ],
)
async def test_bad_queries(asking: Asking, query: dict[str, str]) -> None:
    """What is no such value, or no such parameter, is refused."""
    answer = await asking.get(**query)
    assert (400, "invalid_query") == (answer.status_code, answer.json()["code"])
    assert next(iter(query)) in answer.json()["detail"]


@pytest.mark.parametrize("text", ["%", "_", "' or 1=1 --", "user3'", "\0", "a" * 5000])
async def test_texts_are_texts(asking: Asking, text: str) -> None:
    """Whatever stands in a filter is compared, and nothing else."""
    for name in ("user", "event", "actor", "address"):
        assert [] == (await asking.page(**{name: text}))["entries"]


async def test_nobody_else(asking: Asking) -> None:
    """Only whom the plugin of administrators lets in."""
    assert 403 == (await asking.get("ann")).status_code
    assert 404 == (await asking.log.server.get("/admin/audit", token="admin")).status_code


async def test_without_administrators(tmp_path: Path) -> None:
    """Without that plugin there is no such route, and the server starts."""
    async with serving(tmp_path, SETTINGS, plugins=KINDS) as server:
        assert 404 == (await Asking(server).get()).status_code


class TestAccess(AccessContract):
    """Every route as every principal."""

    @pytest.fixture
    def picoauth_settings(self) -> str:
        return ADMIN

    @pytest.fixture
    def policies(self) -> Any:
        return {**POLICIES, "admin": dict.fromkeys(PRINCIPALS, "403 forbidden")}
