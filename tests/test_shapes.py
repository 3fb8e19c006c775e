"""Values into dataclasses: every mistake at once, in words, and never the value itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from picoauth.shapes import LONGEST, Seconds, Shaper, described, suggest
from tests.asgi import EXAMPLES


def even(value: int) -> None:
    if value % 2:
        raise ValueError("must be even")


def short(value: str) -> None:
    if len(value) > 3:
        raise ValueError("must be short")


def distinct(values: tuple[str, ...]) -> None:
    if len(set(values)) < len(values):
        raise ValueError("must be distinct")


@dataclass(frozen=True)
class Address:
    """A part of another shape."""

    city: str = described("The city.", least=2, most=5)


@dataclass(frozen=True)
class Shape:
    """One member of every kind."""

    name: str = described("A text.", least=1, most=5)
    count: int = described("A number.", default=2, least=1, most=10, check=even)
    on: bool = described("A switch.", default=False)
    span: Seconds = described("A span.", default=Seconds(60), least=1, most=600)
    kind: Literal["one", "two"] = described("A choice.", default="one")
    nick: str | None = described("May be left out.", default=None, least=2)
    tags: tuple[str, ...] = described(
        "A list.", default=(), least=1, most=2, each=short, check=distinct
    )
    table: Mapping[str, int] = described("A table.", default=None)
    more: dict[str, int] = described("Another table.", default=None)
    extra: Any = described("Anything.", default=None)
    address: Address = field(default_factory=lambda: Address("Ulm"))

    def __post_init__(self) -> None:
        if self.name == str(self.count):
            raise ValueError("name and count must differ")


def shape(value: Any, where: str = "") -> Shape:
    shaper = Shaper()
    made = shaper.build(Shape, value, where)
    assert shaper.problems == []
    assert made is not None
    return made


def wrong(value: Any, where: str = "", kind: type = Shape) -> list[tuple[str, str]]:
    """What a shaper says is wrong."""
    shaper = Shaper()
    assert shaper.build(kind, value, where) is None
    return shaper.problems


def test_everything_given() -> None:
    """Each member is turned into its type."""
    value = {
        "name": "ann",
        "count": 4,
        "on": True,
        "span": "2m",
        "kind": "two",
        "nick": "an",
        "tags": ["a", "b"],
        "table": {"x": 1},
        "more": {"y": 2},
        "extra": [None],
        "address": {"city": "Bonn"},
    }
    made = Shape(
        "ann",
        4,
        True,
        Seconds(120),
        "two",
        "an",
        ("a", "b"),
        {"x": 1},
        {"y": 2},
        [None],
        Address("Bonn"),
    )
    assert made == shape(value)


def test_defaults() -> None:
    """What is left out has its default, also by a factory, and null stands for nothing."""
    assert Shape("ann") == shape({"name": "ann"}) == shape({"name": "ann", "nick": None})


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({"name": 3}, ("name", "must be a text")),
        ({"name": ""}, ("name", "must have at least 1 character")),
        ({"name": "a\0b"}, ("name", "must not have a NUL")),
        ({"name": "abcdef"}, ("name", "must have at most 5 characters")),
        ({"count": True}, ("count", "must be a whole number")),
        ({"count": 2.0}, ("count", "must be a whole number")),
        ({"count": 0}, ("count", "must be at least 1")),
        ({"count": 11}, ("count", "must be at most 10")),
        ({"count": 3}, ("count", "must be even")),
        ({"on": 1}, ("on", "must be true or false")),
        ({"span": 0}, ("span", "must be at least 1 second")),
        ({"span": "11m"}, ("span", "must be at most 600 seconds")),
        ({"kind": "three"}, ("kind", 'must be one of "one", "two"')),
        ({"kind": []}, ("kind", 'must be one of "one", "two"')),
        ({"nick": "a"}, ("nick", "must have at least 2 characters")),
        ({"nick": 1}, ("nick", "must be a text")),
        ({"tags": "ab"}, ("tags", "must be a list")),
        ({"tags": []}, ("tags", "must have at least 1 item")),
        ({"tags": ["a", "b", "c"]}, ("tags", "must have at most 2 items")),
        ({"tags": ["a", 3]}, ("tags[1]", "must be a text")),
        ({"tags": ["long", "a"]}, ("tags[0]", "must be short")),
        ({"tags": ["a", "a"]}, ("tags", "must be distinct")),
        ({"table": []}, ("table", "must be a table")),
        ({"table": {"x": "y"}}, ("table.x", "must be a whole number")),
        ({"more": {"x": "y"}}, ("more.x", "must be a whole number")),
        ({"address": 3}, ("address", "must be a table")),
        ({"address": {}}, ("address.city", "is missing")),
        ({"address": {"city": "U"}}, ("address.city", "must have at least 2 characters")),
        ({"nam": 1}, ("nam", 'is unknown, did you mean "name"?')),
        ({"zzz": 1}, ("zzz", "is unknown")),
        ({"address": {"cit": "U", "city": "Ulm"}}, ("address.cit", 'is unknown, did you mean "city"?')),
        ({"z" * 99: 1}, ("z" * 64, "is unknown")),
        ({"z\n\x1b[2J": 1}, (r"'z\n\x1b[2J'", "is unknown")),
        ({"name": "2"}, ("", "name and count must differ")),
    ],
)  # fmt: skip
def test_one_mistake(value: dict[str, Any], problem: tuple[str, str]) -> None:
    """Each mistake is told with its place."""
    assert [problem] == wrong({"name": "ann", **value})


def test_every_mistake_at_once() -> None:
    """Unknown names first, by name; then the members, in the order of the shape."""
    value = {"zz": 1, "aa": 2, "tags": [1, 2], "count": "x", "address": {"city": 1, "x": 2}}
    problems = [
        ("[t].aa", "is unknown"),
        ("[t].zz", "is unknown"),
        ("[t].name", "is missing"),
        ("[t].count", "must be a whole number"),
        ("[t].tags[0]", "must be a text"),
        ("[t].tags[1]", "must be a text"),
        ("[t].address.x", "is unknown"),
        ("[t].address.city", "must be a text"),
    ]
    assert problems == wrong(value, "[t]")


def apart(towns: tuple[Address, ...]) -> None:
    if len({town.city for town in towns}) < len(towns):
        raise ValueError("must be apart")


@dataclass(frozen=True)
class Tour:
    """Parts that are looked at together, behind a member that may be wrong."""

    name: str = described("A text.")
    towns: tuple[Address, ...] = described("Parts.", default=(), check=apart)


@pytest.mark.parametrize(
    ("towns", "problems"),
    [
        (["Ulm", "Bonn"], []),
        (["Ulm", "Ulm"], [("towns", "must be apart")]),
        (["Ulm", "U"], [("towns[1].city", "must have at least 2 characters")]),
    ],
)
def test_parts_beside_a_mistake(towns: list[str], problems: list[tuple[str, str]]) -> None:
    """Parts that are right are made, and looked at, whatever else is wrong."""
    value = {"towns": [{"city": town} for town in towns]}
    assert [("name", "is missing"), *problems] == wrong(value, kind=Tour)


def test_the_whole_is_no_object() -> None:
    """A body must be an object, a part of the settings a table."""
    assert [("", "must be an object")] == wrong([])
    assert [("[t]", "must be a table")] == wrong("x", "[t]")


@dataclass(frozen=True)
class Odd:
    """Members of types that nothing converts to."""

    items: list[str] = described("A list that could be changed.", default=None)
    raw: bytes = described("Bytes.", default=b"")


@pytest.mark.parametrize(
    ("value", "name"), [({"items": []}, r"list\[str\]"), ({"raw": "x"}, "<class 'bytes'>")]
)
def test_a_type_that_no_member_can_have(value: dict[str, Any], name: str) -> None:
    """The fault of whoever wrote the shape is no mistake of whoever sent the value."""
    with pytest.raises(TypeError, match=rf"^{name} is no type that a setting or a body can have$"):
        Shaper().build(Odd, value)


@dataclass(frozen=True)
class Located:
    """A member of a type that is added."""

    path: Path = described("A path.")


def test_converters() -> None:
    """Further types are converted by a function that raises ValueError."""

    def path(value: object) -> Path:
        if not isinstance(value, str):
            raise ValueError("must be a path")  # noqa: TRY004 - what shapers take
        return Path("base") / value

    shaper = Shaper({Path: path})
    assert Located(Path("base/x")) == shaper.build(Located, {"path": "x"})
    assert shaper.build(Located, {"path": 3}) is None
    assert [("path", "must be a path")] == shaper.problems


@pytest.mark.parametrize(
    ("value", "expected"),
    [(90, 90), ("45s", 45), ("10m", 600), ("24h", 86400), ("14d", 14 * 86400), (-1, -1)],
)
def test_spans(value: Any, expected: int) -> None:
    """A span of time is a number of seconds, or a text with a unit."""
    shaper = Shaper()
    assert expected == shaper.convert(Seconds, value, "span")


ODD_SPANS: list[Any] = ["", "10", "m", "-1m", "1.5h", "10 m", "1w", "٣m", 1.5, True, [], None]
SPAN = 'must be a number of seconds, or a text such as "10m", "24h" or "14d"'


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        *((odd, SPAN) for odd in ODD_SPANS),
        ("9999999999d", SPAN),
        ("9999d", "must be ten years at most"),
        (LONGEST + 1, "must be ten years at most"),
    ],
)
def test_no_spans(value: Any, problem: str) -> None:
    """Anything else is no span, nor is what lasts longer than any setting means."""
    shaper = Shaper()
    assert shaper.convert(Seconds, value, "span") is None
    assert [("span", problem)] == shaper.problems


def test_suggest() -> None:
    """A near word is suggested, a far one is not."""
    assert ', did you mean "password"?' == suggest("pasword", ["totp", "password"])
    assert "" == suggest("xyz", ["totp", "password"])


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
names = st.sampled_from([*Shape.__dataclass_fields__, "city", "other"])


@EXAMPLES
@given(st.dictionaries(names, values | st.dictionaries(names, values)))
def test_any_value_is_a_shape_or_a_problem(value: dict[str, Any]) -> None:
    """Whatever comes in: a shape, or sentences that repeat none of it."""
    shaper = Shaper()
    made = shaper.build(Shape, value)
    assert (made is None) == bool(shaper.problems)
    for where, what in shaper.problems:
        assert what
        assert where.isprintable()


@dataclass(frozen=True)
class Either:
    """A text, or what another converter makes of a table."""

    url: str | Path = described("Either.", default="x")


@pytest.mark.parametrize(
    ("value", "expected"), [("a", Either("a")), ({"file": "b"}, Either(Path("b")))]
)
def test_text_or_something_else(value: object, expected: Either) -> None:
    """A member that may be a text takes it as one, and all else as the other kind."""

    def path(value: object) -> Path:
        match value:
            case {"file": str(name)}:
                return Path(name)
        raise ValueError("must be a file")

    shaper = Shaper({Path: path})
    assert expected == shaper.build(Either, {"url": value})
    assert shaper.build(Either, {"url": 5}) is None
    assert [("url", "must be a file")] == shaper.problems
