"""What devices are called, by what they say of themselves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from picoauth.devices import device

MAC = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko)"
WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko)"
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15"
ANDROID = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko)"


@pytest.mark.parametrize(
    ("user_agent", "expected"),
    [
        (f"{MAC} Version/17.4 Safari/605.1.15", "Safari on Mac OS"),
        (f"{WINDOWS} Chrome/131.0.0.0 Safari/537.36 Edg/131.0.0.0", "Edge on Windows"),
        (
            f"{IPHONE} (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1",
            "Safari on iPhone",
        ),
        ("Mozilla/5.0 (iPad; CPU OS 17_5 like Mac OS X)", "iPad"),
        (f"{ANDROID} Chrome/131.0.0.0 Mobile Safari/537.36", "Chrome on Android"),
        (
            "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0",
            "Firefox on Linux",
        ),
        ("Dalvik/2.1.0 (Linux; U; Android 14)", "Dalvik on Android"),
        ("curl/8.9.1", "curl"),
        ("x" * 300, "x" * 40),
        ("Mozilla/5.0", None),
        ("/", None),
        ("", None),
        (None, None),
    ],
)
def test_device(user_agent: str | None, expected: str | None) -> None:
    """Browser and system in the words of people; programs by their own name."""
    assert expected == device(user_agent)


@given(st.text(max_size=256))
def test_anything(text: str) -> None:
    """Whatever a client says, the list of sessions can be shown."""
    assert device(text) is None or len(str(device(text))) <= 80


def test_library_that_stumbles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the library fails, the program's own name is left."""
    monkeypatch.setattr("httpagentparser.detect", lambda _: {}["nothing"])
    assert "curl" == device("curl/8.9.1")
