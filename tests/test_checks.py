"""Checks of the server's health, and the figures that it keeps."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from picoauth import Check, Figure, NoSettings, Plugin, checks, hookimpl
from picoauth.figures import Figures
from picoauth.testing import Server, serving

FAILED = "The check itself failed: see the log."


async def well() -> str | None:
    return None


async def wrong() -> str | None:
    return "The disk is full: make room."


async def broken() -> str | None:
    raise ZeroDivisionError


async def hanging() -> str | None:
    await asyncio.Event().wait()
    return None


async def test_checks_answer_by_name(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each check says what is wrong; one that fails or hangs is wrong too, and holds up no other."""
    monkeypatch.setattr(checks, "PATIENCE", 0.01)
    found = [Check(run.__name__, run) for run in (well, wrong, broken, hanging)]
    expected = {
        "well": None,
        "wrong": "The disk is full: make room.",
        "broken": FAILED,
        "hanging": FAILED,
    }
    assert expected == await checks.run(iter(found))
    assert {"check broken failed", "check hanging failed"} == {
        record.getMessage() for record in caplog.records if record.name == "picoauth.checks"
    }


async def test_checks_run_at_once() -> None:
    """A check may wait for another one."""
    ready = asyncio.Event()

    async def waits() -> str | None:
        await ready.wait()
        return None

    async def sets() -> str | None:
        ready.set()
        return None

    found = [Check("waits", waits), Check("sets", sets)]
    assert {"waits": None, "sets": None} == await checks.run(found)


class Checked(Plugin[NoSettings]):
    """Offers checks."""

    @hookimpl
    def checks(self) -> Sequence[Check]:
        return [Check("disk", wrong), Check("slow", broken, live=False)]


async def test_checks_of_plugins(tmp_path: Path) -> None:
    """The health check runs what is live, of plugins too, and is alive whatever is wrong."""
    settings = 'plugins = ["password", "checked"]'
    async with serving(tmp_path, settings, plugins={"checked": Checked}) as server:
        names = ["database", "revocations", "outbox", "disk"]
        assert names == [check.name for check in server.auth.checks if check.live]
        answer = await server.get("/health-check")
        problems = {"disk": "The disk is full: make room."}
        assert {"status": "degraded", "ready": False, "problems": problems} == answer.json()
        assert 200 == answer.status_code
        statuses = {}
        for check in ("database", "disk", "ready", "slow"):
            answer = await server.get("/health-check", params={"check": check})
            statuses[check] = answer.status_code
        assert {"database": 200, "disk": 503, "ready": 503, "slow": 404} == statuses


def test_figures_add_up() -> None:
    """Answers are counted by route and status, with the time that they took together."""
    figures = Figures()
    assert [] == figures.all()
    for route, status, seconds in (("/b", 200, 0.25), ("/a", 401, 0.5), ("/b", 200, 0.5)):
        figures.add(route, status, seconds)
    assert [Figure("/a", 401, 1, 0.5), Figure("/b", 200, 2, 0.75)] == figures.all()


def test_figures_within_spans() -> None:
    """How many took at most so long: a bound is inside, and each span has those before."""
    figures = Figures()
    for seconds in (0.0, 0.001, 0.0011, 0.25, 7.0):
        figures.add("/a", 200, seconds)
    [figure] = figures.all()
    within = dict(figure.within)
    assert (5, 2, 3, 3, 4, 4) == (
        figure.count,
        *(within[bound] for bound in (0.001, 0.0025, 0.1, 0.25, 5.0)),
    )


async def test_figures_of_a_server(server: Server) -> None:
    """Every answer is counted under its route; what is no route counts as `other`."""
    await server.register()
    tokens = await server.login()
    await server.post("/jwt/validate", token=tokens["access_token"])
    await server.post("/jwt/validate", token="none")
    for number in range(3):
        await server.get(f"/nothing/{number}")
    counts = {(each.route, each.status): each.count for each in server.auth.figures()}
    expected = {
        ("/auth/login", 200): 1,
        ("/auth/register", 201): 1,
        ("/jwt/validate", 200): 1,
        ("/jwt/validate", 401): 1,
        ("other", 404): 3,
    }
    assert expected == counts
    assert all(each.seconds > 0 for each in server.auth.figures())
