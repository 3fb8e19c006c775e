"""Which cost a machine affords: scaled by time, and never below what OWASP advises."""

from __future__ import annotations

from pathlib import Path

import pytest

from picoauth.testing import serving
from picoauth_password import affording
from picoauth_password.affording import affordable, scaled, timed
from picoauth_password.hashing import MOST_KIB, Cost
from picoauth_password.plugin import PasswordPlugin


@pytest.fixture
def linear(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that takes a microsecond for each KiB and pass."""
    monkeypatch.setattr(affording, "timed", lambda cost: cost.memory_kib * cost.iterations / 1e6)
    monkeypatch.setattr(affording, "usable_cores", lambda: 4)


@pytest.mark.usefixtures("linear")
async def test_affordable() -> None:
    """The present cost first, then the memory for each number of passes, rounded down."""
    now, two, three = await affordable(Cost(19456, 2), 0.25)
    assert (19456, 2, 1) == (now["memory_kib"], now["iterations"], now["parallelism"])
    assert (124928, 82944) == (two["memory_kib"], three["memory_kib"])
    assert 250 >= two["milliseconds"] > 245
    assert pytest.approx(4 / (124928 * 2 / 1e6)) == two["logins_per_second"]
    assert pytest.approx(4 * 124928 * 1024 / 1e6) == two["memory_mb"]


@pytest.mark.usefixtures("linear")
async def test_slow_machine() -> None:
    """What OWASP advises against is not offered, however little time there is."""
    assert [2] == [each["iterations"] for each in await affordable(Cost(19456, 2), 0.02)]


def test_bounds_of_memory() -> None:
    """Argon2's own least, and the most that the settings take."""
    assert 1024 == scaled(Cost(19456, 2), 1.0, 1e-9).memory_kib
    assert MOST_KIB == scaled(Cost(19456, 2), 1e-9, 1.0).memory_kib


@pytest.mark.parametrize("lanes", [1, 2])
def test_real_hashes_are_timed(lanes: int) -> None:
    assert timed(Cost(8 * lanes, 1, lanes)) > 0


@pytest.mark.usefixtures("linear")
async def test_plugin_tells(tmp_path: Path) -> None:
    """For `picoauth stress`, by the cost of the settings."""
    async with serving(tmp_path) as server:
        found = await server.auth.plugin(PasswordPlugin).affordable(0.25)
    assert 19456 == found[0]["memory_kib"]
