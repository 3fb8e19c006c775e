"""How often a host is asked."""

from __future__ import annotations

import pytest

from picoauth_fetch import hosts
from picoauth_fetch.hosts import Hosts


def test_minutes() -> None:
    """So often in a minute, whatever the path; others go on, and so does the next minute."""
    clock = [30]
    counted = Hosts(2, lambda: clock[0])
    urls = ("https://a.example/", "https://A.example:8443/x", "https://a.example/y?z")
    assert [0, 0, 30] == [counted.wait(url) for url in urls]
    assert 0 == counted.wait("https://b.example/")
    clock[0] = 59
    assert 1 == counted.wait(urls[0])
    clock[0] = 60
    assert 0 == counted.wait(urls[0])
    clock[0] = 0
    assert 0 == counted.wait(urls[0])


def test_hosts_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many hosts there are, so many are counted; the others count together."""
    monkeypatch.setattr(hosts, "MOST", 2)
    counted = Hosts(2, lambda: 0)
    found = [counted.wait(f"https://h{number}.example/") for number in range(5)]
    assert [0, 0, 0, 0, 60] == found
    assert 0 == counted.wait("https://h0.example/")
    assert {"h0.example", "h1.example", ""} == counted.counts.keys()
