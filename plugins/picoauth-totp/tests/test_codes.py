"""Codes and what is typed for them, against the vectors of the RFCs and against what else comes."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from picoauth_totp.codes import PERIOD, WrongCode, code, matched, six

SECRET = b"12345678901234567890"

# RFC 6238, appendix B, SHA-1; the RFC has eight digits, of which six are the last six.
VECTORS = {
    59: "94287082",
    1111111109: "07081804",
    1111111111: "14050471",
    1234567890: "89005924",
    2000000000: "69279037",
    20000000000: "65353130",
}
# RFC 4226, appendix D, for the steps 0 to 9.
COUNTED = "755224 287082 359152 969429 338314 254676 287922 162583 399871 520489"
NOW = 1_800_000_000
STEP = NOW // PERIOD


@pytest.mark.parametrize(("now", "digits"), VECTORS.items())
def test_vectors_of_time(now: int, digits: str) -> None:
    """RFC 6238, appendix B."""
    assert digits[-6:] == code(SECRET, now // PERIOD)
    assert now // PERIOD == matched(SECRET, digits[-6:], now=now, window=0, after=-1)


def test_vectors_of_counters() -> None:
    """RFC 4226, appendix D."""
    assert COUNTED.split() == [code(SECRET, step) for step in range(10)]


@pytest.mark.parametrize(
    "typed", ["123456", "123 456", " 123456 ", "12 34 56", "1 2 3 4 5 6", "123456" + " " * 5000]
)
def test_spaces_are_no_part(typed: str) -> None:
    """Apps show them, and people copy them."""
    assert "123456" == six(typed)


@pytest.mark.parametrize(
    "typed",
    [
        *("", " ", "12345", "1234567", "123456789012", "12345a", "abcdef", "-12345", "+12345"),
        *("12.345", "12345.", "0x1234", "1e5000", "12_345", "123-456", "123,456", "'12345'"),
        *(
            "123456\n",
            "\n123456",
            "123456\r",
            "123\t456",
            "123456\0",
            "123\u00a0456",
            "123\u2009456",
        ),
        "\uff11\uff12\uff13\uff14\uff15\uff16",  # full width, which NFKC makes 123456
        "\u0661\u0662\u0663\u0664\u0665\u0666",  # Arabic-Indic
        "\u00b9\u00b2\u00b3\u2074\u2075\u2076",  # superscripts
        "\U0001d7ce" * 6,
        "12345\u0966",
        "123456\u200b",
        "\ufeff123456",
        "123456\u0301",
    ],
)
def test_what_is_no_code(typed: str) -> None:
    """Six ASCII digits, and nothing that could be made to look like them (O-2)."""
    with pytest.raises(WrongCode):
        six(typed)


@given(st.one_of(st.text(), st.text("0123456789 ", max_size=8), st.from_regex(r"\A\d{6}\Z")))
@example("000000")
def test_any_text(typed: str) -> None:
    """One that is accepted has six of the ten digits, and else spaces alone."""
    expected = [c for c in typed if c != " "]
    try:
        digits = six(typed)
    except WrongCode:
        assert len(expected) != 6 or set(expected) - set("0123456789")
    else:
        assert expected == list(digits)
        assert set(digits) <= set("0123456789")


@pytest.mark.parametrize(
    ("offset", "window", "good"),
    [
        *((0, 0, True), (-1, 0, False), (1, 0, False)),
        *((0, 1, True), (-1, 1, True), (1, 1, True), (-2, 1, False), (2, 1, False)),
    ],
)
def test_window(offset: int, window: int, good: bool) -> None:  # noqa: FBT001 - a cell of a table
    """At most one step before and after the present one (O-2)."""
    step, typed = STEP + offset, code(SECRET, STEP + offset)
    if good:
        assert step == matched(SECRET, typed, now=NOW, window=window, after=-1)
        return
    with pytest.raises(WrongCode):
        matched(SECRET, typed, now=NOW, window=window, after=-1)


def test_spent_steps() -> None:
    """The last one and all before it are spent (O-3)."""
    for step in (STEP - 1, STEP):
        with pytest.raises(WrongCode):
            matched(SECRET, code(SECRET, step), now=NOW, window=1, after=STEP)
    assert STEP + 1 == matched(SECRET, code(SECRET, STEP + 1), now=NOW, window=1, after=STEP)


@pytest.mark.parametrize("now", [0, 29, 30])
def test_clock_that_is_not_set(now: int) -> None:
    """At the beginning of time there is no step before the first."""
    assert 0 == matched(SECRET, "755224", now=now, window=1, after=-1)
    with pytest.raises(WrongCode):
        matched(SECRET, "000000", now=now, window=1, after=-1)


def test_code_of_two_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """The later one is taken, so that none of them is good again."""
    monkeypatch.setattr("picoauth_totp.codes.code", lambda _, step: f"{step % 2:06}")
    typed = f"{(STEP - 1) % 2:06}"
    assert STEP + 1 == matched(SECRET, typed, now=NOW, window=1, after=-1)
    assert STEP + 1 == matched(SECRET, typed, now=NOW, window=1, after=STEP - 1)
    with pytest.raises(WrongCode):
        matched(SECRET, typed, now=NOW, window=1, after=STEP + 1)


@given(
    secret=st.binary(min_size=20, max_size=20),
    now=st.integers(0, 2**36),
    window=st.integers(0, 1),
    behind=st.integers(-3, 3),
    offset=st.integers(-3, 3),
)
def test_any_time(secret: bytes, now: int, window: int, behind: int, offset: int) -> None:
    """What is accepted is within the window, later than the last one, and has that code."""
    here = now // PERIOD
    typed = code(secret, max(0, here + offset))
    after = max(-1, here + behind)
    good = [
        step
        for step in range(max(0, here - window), here + window + 1)
        if code(secret, step) == typed
    ]
    try:
        step = matched(secret, typed, now=now, window=window, after=after)
    except WrongCode:
        assert [] == [step for step in good if step > after]
    else:
        assert step == max(good) > after
