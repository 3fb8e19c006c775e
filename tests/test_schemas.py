"""Schemas: what they let pass is what the shaper takes, and no type that it cannot check."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NewType, Optional

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from picoauth import Seconds, described
from picoauth.parsers import EXACT
from picoauth.samples import sample
from picoauth.schemas import Schemas
from picoauth.shapes import Shaper
from tests.asgi import EXAMPLES

MANY = settings(EXAMPLES, max_examples=300)


@dataclass(frozen=True)
class Inner:
    """Within another."""

    here: bool = described("Whether.")
    why: str | None = described("Why.", default=None, most=3)


@dataclass(frozen=True)
class Everything:
    """Every type that a body may have."""

    text: str = described("A text.", least=1, most=3)
    number: int = described("A number.", default=3, least=-2, most=5)
    exact: int = described("Any number.", default=0)
    flag: bool = described("A flag.", default=False)
    word: Literal["one", "two"] = described("A word.", default="one")
    maybe: Literal["one", "two"] | None = described("A word, or none.", default=None)
    many: tuple[str, ...] = described("Texts.", default=(), least=1, most=2)
    inner: Inner = described("Another.", default=Inner(here=True))
    inners: tuple[Inner, ...] | None = described("Others.", default=None, most=1)
    named: Mapping[str, int] = field(default_factory=dict)
    plain: dict[str, Inner] = field(default_factory=dict)
    span: Seconds = described("A span.", default=Seconds(60), least=10, most=99)
    any: Any = described("Anything.", default=None)
    made: int = field(default=0, init=False)


def document(kind: Any, *, sent: bool = True) -> dict[str, Any]:
    """The schema of a type, with all that it refers to, as it is written."""
    schemas = Schemas()
    schema = schemas.of(kind, sent=sent)
    found: dict[str, Any] = json.loads(
        json.dumps({**schema, "components": {"schemas": schemas.named}})
    )
    return found


def validator(kind: Any, *, sent: bool = True) -> Draft202012Validator:
    schema = document(kind, sent=sent)
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


EVERYTHING = validator(Everything)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-9, 120),
    st.sampled_from([EXACT, -EXACT]),
    st.floats(allow_nan=False, allow_infinity=False).filter(lambda x: not x.is_integer()),
    st.sampled_from(["one", "two", "10s", "1m", "", "ab", "abcd", "3x", "99999999999s"]),
    TEXTS,
)
INNERS = st.fixed_dictionaries(
    {}, optional={"here": st.one_of(st.booleans(), SCALARS), "why": SCALARS, "x": SCALARS}
)
LISTS = st.one_of(st.lists(SCALARS, max_size=3), st.lists(INNERS, max_size=2))
TABLES = st.one_of(INNERS, st.dictionaries(TEXTS, st.one_of(SCALARS, INNERS), max_size=2))
VALUES = st.one_of(SCALARS, LISTS, TABLES)
FITTING: dict[str, st.SearchStrategy[Any]] = {
    "text": st.text("ab", min_size=1, max_size=3),
    "number": st.integers(-2, 5),
    "exact": st.integers(-EXACT, EXACT),
    "flag": st.booleans(),
    "word": st.sampled_from(["one", "two"]),
    "maybe": st.sampled_from(["one", None]),
    "many": st.lists(TEXTS, min_size=1, max_size=2),
    "inner": st.just({"here": True, "why": "abc"}),
    "inners": st.sampled_from([None, [], [{"here": False}]]),
    "named": st.dictionaries(TEXTS, st.integers(-9, 9), max_size=2),
    "plain": st.dictionaries(TEXTS, st.just({"here": True}), max_size=2),
    "span": st.integers(10, 99),
    "any": VALUES.filter(lambda value: value is not None),
}
"""For each member values that are right."""


@MANY
@given(data=st.data())
def test_schema_and_shaper_agree(data: st.DataObject) -> None:
    """A body fits the schema exactly when the shaper takes it, whichever member is wrong."""
    body = data.draw(st.fixed_dictionaries({}, optional=FITTING))
    name = data.draw(st.sampled_from([*FITTING, "made", "other"]))
    if data.draw(st.booleans()):
        body[name] = data.draw(VALUES)
    shaper = Shaper()
    taken = shaper.build(Everything, body) is not None
    assert taken == EVERYTHING.is_valid(body), (body, shaper.problems)


def test_any_that_is_null() -> None:
    """Null is a value like others where anything goes."""
    assert EVERYTHING.is_valid({"text": "a", "any": None})
    assert Shaper().build(Everything, {"text": "a", "any": None}) is not None


def test_members_are_described() -> None:
    """A member says what it is for, its bounds and its default; null is no default."""
    members = document(Inner)["components"]["schemas"]["tests.Inner"]["properties"]
    assert {"type": "boolean", "description": "Whether."} == members["here"]
    assert {"type": ["string", "null"], "maxLength": 3, "description": "Why."} == members["why"]
    members = document(Everything)["components"]["schemas"]["tests.Everything"]["properties"]
    number = {"type": "integer", "minimum": -2, "maximum": 5, "default": 3}
    assert {**number, "description": "A number."} == members["number"]
    assert {"$ref": "#/components/schemas/tests.Inner"}.items() <= members["inner"].items()
    words = {"type": ["string", "null"], "enum": ["one", "two", None]}
    assert {**words, "description": "A word, or none."} == members["maybe"]


def test_answers_are_open() -> None:
    """An answer may have members of plugins; its numbers have no bounds of JSON parsers."""
    schemas = Schemas()
    schemas.of(Everything, sent=False)
    shown = schemas.named["tests.Everything"]
    assert shown["additionalProperties"] is True
    assert ["text"] == shown["required"]
    assert {"type": "integer", "description": "Any number."} == shown["properties"]["exact"]
    assert {"type": "integer", "minimum": 10, "maximum": 99, "description": "A span."} == (
        shown["properties"]["span"]
    )
    assert {"additionalProperties": {"type": "integer"}, "type": "object"} == (
        shown["properties"]["named"]
    )


def test_body_and_answer_of_one_type() -> None:
    """What is sent and what is answered differ, and so do their names."""
    schemas = Schemas()
    found = [schemas.of(Inner, sent=sent)["$ref"] for sent in (True, False, True)]
    assert ["tests.Inner", "tests.Inner_2", "tests.Inner"] == [
        ref.removeprefix("#/components/schemas/") for ref in found
    ]
    assert [False, True] == [schema["additionalProperties"] for schema in schemas.named.values()]


def test_names_of_types() -> None:
    """A kernel's type has its own name; others have their package before it, and no odd letters."""
    schemas = Schemas()
    for name in ("Grüße", "Inner", "Inner"):
        kind = dataclasses.make_dataclass(name, [("a", int)], frozen=True)
        kind.__module__ = "picoauth_x.plugin" if schemas.named else "picoauth.x"
        schemas.of(kind, sent=True)
    assert ["Gr__e", "picoauth_x.Inner", "picoauth_x.Inner_2"] == list(schemas.named)
    assert {""} == {schema["description"] for schema in schemas.named.values()}


@dataclass(frozen=True)
class Tree:
    """Holds others of its kind."""

    name: str = described("A name.", example="ash")
    left: Tree | None = described("One.", default=None)
    all: tuple[Tree, ...] = described("All.", default=())


def test_type_that_holds_itself() -> None:
    """A tree is described once, and its example ends."""
    tree: dict[str, Any] = {"name": "a", "all": [{"name": "b", "left": {"name": "c"}}]}
    assert validator(Tree).is_valid(tree)
    tree["all"][0]["left"]["name"] = 3
    assert not validator(Tree).is_valid(tree)
    assert {"name": "ash"} == sample(Tree)


@dataclass(frozen=True)
class Shown:
    """Every way to an example."""

    text: str = described("A text.", example="a")
    word: Literal["one", "two"] = described("A word.")
    tree: Tree = described("A tree.")
    trees: tuple[Tree, ...] = described("Trees.")
    nothing: int | None = described("A number, or none.")
    tree_or_none: Tree | None = described("A tree, or none.", default=None)
    left_out: int = described("No example, not necessary.", default=3)
    none: Optional[int] = described("Neither.", default=None)  # noqa: UP045 - the older spelling


def test_example_of_a_type() -> None:
    """It is made of those of the members; what has none is left out, if it may be."""
    tree = {"name": "ash"}
    expected = {"text": "a", "word": "one", "tree": tree, "trees": [tree], "nothing": None}
    found = sample(Shown)
    assert {**expected, "tree_or_none": tree} == found
    assert validator(Shown).is_valid(found)


def test_type_of_the_hooks_page() -> None:
    """The page's type of a body can be described, and has an example."""
    page = (Path(__file__).parent.parent / "docs" / "hooks.md").read_text(encoding="utf-8")
    [block] = re.findall(r"```python\n((?:(?!```).)*class Book.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {}
    exec(block, names)  # noqa: S102 - our own page
    assert {"title": "Middlemarch", "pages": 880} == sample(names["Book"])
    assert not validator(names["Book"]).is_valid({"title": ""})


def test_no_example() -> None:
    """Where a necessary member has none, nothing is made up."""
    assert sample(Inner) is None
    kind = dataclasses.make_dataclass("Outer", [("inner", Inner), ("inners", tuple[Inner, ...])])
    assert sample(kind) is None


ODD: list[Any] = [
    float,
    bytes,
    list[str],
    set[str],
    tuple[str, int],
    tuple[str],
    tuple,
    str | int,
    str | int | None,
    Literal[1],
    Mapping[int, str],
    dict,
    list,
    Mapping,
    Shaper,
    NewType("Name", str),
    list[str] | None,
    tuple[list[str], ...],
    "Nowhere",
]


@pytest.mark.parametrize("sent", [True, False])
@pytest.mark.parametrize("kind", ODD, ids=str)
def test_types_that_cannot_be_described(kind: Any, *, sent: bool) -> None:
    """What the shaper could not check, or would check otherwise, is no type of a member."""
    odd = dataclasses.make_dataclass("Odd", [("odd", kind)])
    with pytest.raises((TypeError, NameError)):
        Schemas().of(odd, sent=sent)
