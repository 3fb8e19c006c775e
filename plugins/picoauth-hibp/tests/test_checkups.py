"""What `picoauth doctor` says about the breach list, word for word."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from breachlists import ordered

from picoauth import checks
from picoauth_hibp.building import build
from picoauth_hibp.checkups import FEW, Checkups
from picoauth_hibp.filters import START, Head
from picoauth_hibp.lists import Reader
from picoauth_hibp.settings import HibpSettings

NOW, DAY = 1_800_000_000, 86400


async def problems(settings: HibpSettings) -> dict[str, tuple[str, str]]:
    found = Checkups(settings, lambda: NOW).checks()
    said = await checks.run(found)
    return {one.name: (one.level, text) for one in found if (text := said[one.name]) is not None}


def large(path: Path, entries: int = FEW, age: int = 0) -> HibpSettings:
    """A filter with a right head, and as much behind it as that says."""
    head = Head(1, entries, NOW - age * DAY, 1, bytes(32))
    with path.open("wb") as file:
        file.write(head.packed())
        file.write(struct.pack("<3I", 0, 0, entries))
        file.truncate(head.size)
    assert path.stat().st_size == START + 12 + 2 * entries
    return HibpSettings(filter=path)


async def test_fine(tmp_path: Path) -> None:
    """A whole list that is not old is as it should be; so is asking the API."""
    assert {} == await problems(large(tmp_path / "breaches"))
    assert {} == await problems(large(tmp_path / "breaches", age=365))
    assert {} == await problems(large(tmp_path / "breaches", age=-9))
    assert {} == await problems(HibpSettings(mode="online"))


async def test_no_filter() -> None:
    """The commonest alone are not much, and work at once."""
    sentence = (
        "New passwords are compared with the commonest alone: make a filter of the public "
        'breach list with `picoauth hibp build`, or set mode = "online" in [hibp].'
    )
    assert {"hibp-corpus": ("advice", sentence)} == await problems(HibpSettings())


async def test_old(tmp_path: Path) -> None:
    """A list of last year lacks what was stolen since."""
    sentence = "filter in [hibp] is 366 days old: take the public list anew, and run `picoauth hibp build`."
    found = await problems(large(tmp_path / "breaches", age=366))
    assert {"hibp-filter-age": ("warning", sentence)} == found


async def test_small(tmp_path: Path) -> None:
    """A part of the list is told from the whole."""
    (tmp_path / "list.txt").write_bytes(ordered(["one", "two"]))
    parts = Reader(1).of_path(tmp_path / "list.txt", partial=False)
    build(tmp_path / "breaches", parts, made=NOW, least=1, progress=lambda _: None)
    sentence = (
        "filter in [hibp] holds 2 passwords, a small part of the public list: "
        "make it of the whole one."
    )
    found = await problems(HibpSettings(filter=tmp_path / "breaches"))
    assert {"hibp-filter-size": ("warning", sentence)} == found
    found = await problems(large(tmp_path / "breaches", entries=FEW - 1))
    assert {"hibp-filter-size"} == found.keys()


@pytest.mark.parametrize("raw", [b"", b"something else"])
async def test_unreadable(tmp_path: Path, raw: bytes) -> None:
    """A filter that stops the server is a danger, told once."""
    path = tmp_path / "breaches"
    path.write_bytes(raw)
    sentence = (
        f"filter in [hibp]: {path} is not what `picoauth hibp build` makes here: make it anew."
    )
    assert {"hibp-filter": ("danger", sentence)} == await problems(HibpSettings(filter=path))


async def test_the_doctor_asks(tmp_path: Path) -> None:
    """The plugin brings its checks, which are the doctor's alone."""
    from picoauth.testing import serving

    async with serving(tmp_path, 'plugins = ["password", "hibp"]') as server:
        found = [check for check in server.auth.checks if check.name.startswith("hibp-")]
    assert [False] * 4 == [check.live for check in found]
