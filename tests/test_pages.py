"""What every page of the docs keeps to: links, a next step, and nothing that is left out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from picoauth import Plugin
from picoauth.discovery import Found, imported, installed
from picoauth.errors import Problem
from tests.pages import DOCS, FENCE, PAGES, ROOT
from tests.test_guards import SOURCES

PROJECT = [ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "SECURITY", "CHANGELOG")]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
EVERY = [*PAGES, *PROJECT]
OURS = [found for found in installed() if found.origin.distribution.startswith("picoauth-")]


def prose(page: Path) -> str:
    """A page without its examples."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """The names that a forge, and Sphinx, give to the headings of a page."""
    plain = (re.sub(r"[^\w\- ]", "", title.lower()) for title in HEADING.findall(prose(page)))
    return {title.strip().replace(" ", "-") for title in plain}


def links(page: Path) -> list[tuple[Path, str]]:
    """Where a page leads within the repository: the file, and the heading if one is named."""
    inner = [link for link in LINK.findall(prose(page)) if not link.startswith("http")]
    parts = [link.partition("#") for link in inner]
    return [((page.parent / path).resolve() if path else page, name) for path, _, name in parts]


@pytest.mark.parametrize("page", EVERY, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Each link is right on a forge as it is: the file is there, and so is the heading."""
    for target, name in links(page):
        assert target.exists(), target
        assert name == "" or name in anchors(target), f"{target}#{name}"


def test_every_page_is_reached() -> None:
    """From the index one comes to every page, by links that are read, and not by the menu alone."""
    seen, left = set(), [DOCS / "index.md"]
    while left:
        page = left.pop()
        if page not in seen:
            seen.add(page)
            left += [target for target, _ in links(page) if target.suffix == ".md"]
    assert set() == set(EVERY) - seen


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_every_page_has_a_next_step(page: Path) -> None:
    """A page has one title, and ends with where to go from there; the index is all of that."""
    text = prose(page)
    assert 1 == len(re.findall(r"^# ", text, re.MULTILINE))
    last = re.split(r"^## ", text, flags=re.MULTILINE)[-1]
    if page.name != "index.md":
        assert last.startswith("Next\n")
        assert 2 <= len(LINK.findall(last))


def test_files_to_run_it_with_are_shown() -> None:
    """The page about servers leads to each file of `docs/run`, and shows it whole."""
    page = DOCS / "run-it.md"
    text = page.read_text(encoding="utf-8")
    for path in (DOCS / "run").iterdir():
        assert path in {target for target, _ in links(page)}
        assert f"{{literalinclude}} run/{path.name}\n" in text


def rows(name: str) -> list[list[str]]:
    """The rows of all tables of a page, by cells."""
    lines = (line for line in prose(DOCS / name).splitlines() if line.startswith("| "))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.parametrize("page", EVERY, ids=lambda page: str(page.relative_to(ROOT)))
def test_tables_are_of_one_kind(page: Path) -> None:
    """Of three columns the first has names in every row, or in none: so telephones show them."""
    for table in re.findall(r"(?:^\|.*\n)+", prose(page), re.MULTILINE):
        found = [line.strip().strip("|").split("|") for line in table.splitlines()[2:]]
        if {3} == {len(cells) for cells in found}:
            assert 1 == len({"`" in cells[0] for cells in found}), table


def codes() -> dict[str, int]:
    """Every problem code of the kernel and of first-party plugins, with its status."""
    sources = "".join(path.read_text(encoding="utf-8") for path in SOURCES)
    found = re.findall(r'Problem\(\s*(\d+),\s*"(\w+)"', sources)
    return {code: int(status) for status, code in found}


def test_codes_are_those_of_the_page() -> None:
    """`docs/errors.md` has each code once, with its status, and no other."""
    found = [re.fullmatch(r"(\d{3}) `(\w+)`", row[0]) for row in rows("errors.md")]
    told = [(match[2], int(match[1])) for match in found if match]
    assert sorted(codes().items()) == sorted(told)


def test_codes_of_the_drawing() -> None:
    """The drawing of a login names codes that there are."""
    text = (DOCS / "login.svg").read_text(encoding="utf-8")
    named = set(re.findall(r">(\w+_\w+|refused)\b[^<]*</text>", text)) - {"check_login"}
    assert {"flow_ended", "more_needed", "refused", "start_over", "too_many_attempts"} == named
    assert named <= codes().keys()


def test_promises_are_tested() -> None:
    """Each promise of `docs/security.md` names tests, and all of them exist."""
    places = ("tests/*.py", "*/*/tests/*.py", "picoauth/testing/**/*.py")
    paths = [path for place in places for path in ROOT.glob(place)]
    sources = "".join(path.read_text(encoding="utf-8") for path in paths)
    tests = set(re.findall(r"def (test_\w+)\(", sources))
    promises = [row for row in rows("security.md") if row != ["promise", "tests"]]
    assert promises
    for promise, named in promises:
        found = set(re.findall(r"`(test_\w+)`", named))
        assert found, promise
        assert set() == found - tests, promise


@pytest.mark.parametrize("found", OURS, ids=lambda found: found.origin.name)
def test_plugins_are_documented(found: Found) -> None:
    """The README of a first-party plugin names each setting and command that it adds."""
    kind: type[Plugin[object]] = imported(found)
    name = found.origin.name
    [page] = ROOT.glob(f"*/{found.origin.distribution}/README.md")
    text = page.read_text(encoding="utf-8")
    for setting in kind.settings_type().__dataclass_fields__:
        assert f"| `{setting}` |" in text
    if kind.commands is not Plugin.commands:
        assert f"`picoauth {name} " in text or f"picoauth {name} " in text
    assert page in {target for target, _ in links(DOCS / "index.md")} or "example" in text


def test_nothing_names_a_registry_or_this_machine_in_a_page() -> None:
    """No address of a package registry, and no path of one machine, in pages and their files."""
    words = [
        "pypi" + ".org",
        "pythonhosted" + ".org",
        "docker" + ".io",
        "/ro" + "ot/",
        "/wo" + "rk/",
    ]
    files = [path for path in DOCS.rglob("*") if path.is_file() and "_build" not in path.parts]
    for path in [*files, *EVERY]:
        text = path.read_bytes().decode("utf-8", "replace")  # pictures are among them
        assert [] == [word for word in words if word in text], path


def test_problems_have_names() -> None:
    """The look for codes in the sources finds what there is."""
    from picoauth import problems

    known = {p.code for p in vars(problems).values() if isinstance(p, Problem)}
    assert known <= codes().keys()
