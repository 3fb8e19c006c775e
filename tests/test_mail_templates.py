"""Templates of mail: a plugin's, and over them the operator's, looked at before one is needed."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import jinja2
import pytest

from picoauth import ConfigError, Link, NoSettings, Plugin
from picoauth.mailtemplates import Templates
from tests import plugs
from tests.test_mail import LINK, GreetingPlugin, made

OWN = '[mail]\ntemplates = "own"'
VALUES = {"name": "Ann", "link": Link(LINK)}


def write(folder: Path, files: Mapping[str, str | bytes]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)


def own(folder: Path, files: Mapping[str, str | bytes]) -> GreetingPlugin:
    """The plugin, where the operator has these files for it."""
    write(folder / "own" / "greeting", files)
    return made(folder, OWN)[1]


def rendered(plugin: GreetingPlugin, language: str = "", **values: str) -> tuple[Any, ...]:
    made = plugin.auth.mail.of(plugin).render("hello", [language], {**VALUES, **values})
    return made.language, made.subject, made.text, made.html


def refused(folder: Path, files: Mapping[str, str | bytes]) -> str:
    """Why the server does not start, with `OWN` for the operator's folder."""
    with pytest.raises(ConfigError) as caught:
        own(folder, files)
    [problem] = caught.value.problems
    return problem.replace(str(folder / "own"), "OWN")


def test_file_of_the_operator(tmp_path: Path) -> None:
    """It stands in the place of the plugin's; the others stay. Every value of the mail is there."""
    plugin = own(tmp_path, {"hello/subject.txt": "Welcome, {{ name }}\n to\t{{ link }}\n"})
    language, subject, text, _ = rendered(plugin)
    expected = ("en", f"Welcome, Ann to {LINK}")
    assert expected == (language, subject)
    assert text.startswith("Hello Ann,")
    assert "Hallo Ann" == rendered(plugin, "de")[1]


def test_language_of_the_operator(tmp_path: Path) -> None:
    """One that the plugin does not have, with all files; and one file of one that it has."""
    files = {
        f"hello/fr/{name}": "Bonjour {{ name }}"
        for name in ("subject.txt", "body.txt", "body.html")
    }
    plugin = own(tmp_path, {**files, "hello/de/subject.txt": "Servus {{ name }}"})
    assert ("fr", "Bonjour Ann", "Bonjour Ann\n", "Bonjour Ann") == rendered(plugin, "fr-CA")
    assert ("de", "Servus Ann") == rendered(plugin, "de")[:2]


def test_values_are_escaped_in_html_alone(tmp_path: Path) -> None:
    """And nothing that a value holds is a template."""
    plugin = own(tmp_path, {"hello/body.html": "<b>{{ name }}</b>", "hello/body.txt": "{{ name }}"})
    assert ("O'Neill\n", "<b>O&#39;Neill</b>") == rendered(plugin, name="O'Neill")[2:]
    assert "7 7 name\n" == rendered(plugin, name="{{ 7*7 }} {{ name }}")[2]


def test_what_others_leave_in_the_folder(tmp_path: Path) -> None:
    """Hidden files and copies of an editor are no templates."""
    for name in (".DS_Store", "hello/.body.txt.swp", "hello/body.txt~", "..2026_01/hello/x.txt"):
        write(tmp_path / "own" / "greeting", {name: "{{"})
    write(tmp_path / "own", {".git/config": "", "captured-mail/.keep": ""})
    assert "Hello Ann" == rendered(own(tmp_path, {}))[1]


PAGE = "its page has their names"


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        (
            {"hello/subjekt.txt": "x"},
            f"The mail template OWN/greeting/hello/subjekt.txt stands for none that the plugin has: {PAGE}.",
        ),
        (
            {"helo/subject.txt": "x"},
            f"The mail template OWN/greeting/helo/subject.txt stands for none that the plugin has: {PAGE}.",
        ),
        (
            {"subject.txt": "x"},
            f"The mail template OWN/greeting/subject.txt stands for none that the plugin has: {PAGE}.",
        ),
        (
            {"hello/en/subject.txt": "x"},
            f"The mail template OWN/greeting/hello/en/subject.txt stands for none that the plugin has: {PAGE}.",
        ),
        (
            {"hello/German/subject.txt": "x"},
            f"The mail template OWN/greeting/hello/German/subject.txt stands for none that the plugin has: {PAGE}.",
        ),
        (
            {"hello/de/at/subject.txt": "x"},
            f"The mail template OWN/greeting/hello/de/at/subject.txt stands for none that the plugin has: {PAGE}.",
        ),
        (
            {"hello/README": "x"},
            f"The mail template OWN/greeting/hello/README stands for none that the plugin has: {PAGE}.",
        ),
        (
            {"hello/fr/subject.txt": "x", "hello/fr/body.txt": "x"},
            (
                "The mail template OWN/greeting/hello/fr/body.html is missing: "
                "a language has the same files as English."
            ),
        ),
        (
            {"hello/subject.txt": "{{ nam }}"},
            "The mail template OWN/greeting/hello/subject.txt has no value nam: there are link, name.",
        ),
        (
            {"hello/de/body.txt": "{% if name %}{{ code }}{% endif %}"},
            "The mail template OWN/greeting/hello/de/body.txt has no value code: there are link, name.",
        ),
        (
            {"hello/subject.txt": "Hello\n{{ name"},
            (
                "The mail template OWN/greeting/hello/subject.txt cannot be read (line 2: "
                "unexpected end of template, expected 'end of print statement'.): mend it."
            ),
        ),
        (
            {"hello/subject.txt": "{{ name|shout }}"},
            (
                "The mail template OWN/greeting/hello/subject.txt cannot be read (line 1: "
                "No filter named 'shout'.): mend it."
            ),
        ),
        (
            {"hello/subject.txt": b"Gr\xfc\xdfe"},
            (
                "The mail template OWN/greeting/hello/subject.txt is not UTF-8: "
                "write it again, as a text."
            ),
        ),
        (
            {"hello/subject.txt": "{{ name.shout() }}"},
            (
                "The mail template OWN/greeting/hello/subject.txt cannot be filled (UndefinedError: "
                "'str object' has no attribute 'shout'): mend it."
            ),
        ),
        (
            {"hello/subject.txt": "{{ 1 / 0 }}"},
            (
                "The mail template OWN/greeting/hello/subject.txt cannot be filled "
                "(ZeroDivisionError: division by zero): mend it."
            ),
        ),
    ],
)
def test_file_that_cannot_be_used(
    tmp_path: Path, files: Mapping[str, str | bytes], sentence: str
) -> None:
    """The server does not start, and says which file it is and what to do."""
    assert sentence == refused(tmp_path, files)


def test_file_that_needs_another(tmp_path: Path) -> None:
    """Files that are shared lie beside the folders of templates, in the plugin's package alone."""
    said = refused(tmp_path, {"hello/body.html": "{% include 'footer.html' %}"})
    assert said.startswith("The mail template OWN/greeting/hello/body.html cannot be filled (Templ")


def test_folder_that_is_not_there(tmp_path: Path) -> None:
    """A misspelt folder does not quietly leave the plugin's own words."""
    with pytest.raises(ConfigError) as caught:
        made(tmp_path, OWN)
    sentence = (
        f"[mail].templates: there is no folder {tmp_path / 'own'}: make it, or remove the setting."
    )
    assert sentence == str(caught.value)


def test_folder_of_no_plugin(tmp_path: Path) -> None:
    """Neither does a misspelt plugin, nor a file that is beside the folders."""
    write(tmp_path / "own", {"greting/hello/subject.txt": "x"})
    with pytest.raises(ConfigError) as caught:
        made(tmp_path, OWN)
    assert (
        f"{tmp_path / 'own' / 'greting'} is for no plugin that is listed: "
        "rename or remove it, or list the plugin." == str(caught.value)
    )


# Of plugins


class Bare(Plugin[NoSettings]):
    """Has no templates: its module is in no package that has some."""


def plugin_of(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> type[Plugin[Any]]:
    """A plugin of a package in a folder."""
    module = ModuleType(name)
    module.__file__ = str(folder / "__init__.py")
    monkeypatch.setitem(sys.modules, name, module)
    return plugs.made(__module__=f"{name}.plugin")


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"hi/subject.txt": "x"}, "there is no hi/subject.txt, or no hi/body.txt"),
        ({"hi/subject.txt": "x", "hi/body.txt": "{{"}, "unexpected 'end of template'"),
        (
            {"hi/subject.txt": "x", "hi/body.txt": "x", "hi/de/body.txt": "x"},
            "there is no hi/de/subject.txt",
        ),
    ],
)
async def test_plugin_whose_templates_are_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: Mapping[str, str], reason: str
) -> None:
    """The server does not start, and names the plugin."""
    write(tmp_path / "templates", files)
    auth, _ = made(tmp_path, broken=plugin_of(tmp_path, "mailing_broken", monkeypatch))
    with pytest.raises(ConfigError) as caught:
        async with auth.started(), auth.background():
            pass
    assert (
        "plugin broken (picoauth-broken 0.1.0) has templates of mail that cannot be used "
        f"({reason}): tell its authors, or remove it from `plugins`." == str(caught.value)
    )


def test_plugin_without_templates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has none, wherever the server was started, and neither has the operator for it."""
    monkeypatch.chdir(Path(__file__).parent)
    bare = plugin_of(tmp_path, "mailing_bare", monkeypatch)
    auth, _ = made(tmp_path, bare=bare)
    templates = auth.mail.of(auth.plugins.on["bare"])
    assert (None, None) == (templates.shipped, templates.own)
    auth.mail.load()
    with pytest.raises(LookupError, match=r"there is no hello/subject.txt, or no hello/body.txt"):
        templates.render("hello", [], {})
    write(tmp_path / "own" / "bare", {"hello/subject.txt": "x"})
    with pytest.raises(ConfigError, match="stands for none that the plugin has"):
        made(tmp_path, OWN, bare=bare)


def test_template_without_html(tmp_path: Path) -> None:
    """It makes a mail of text alone, in every language."""
    write(tmp_path, {"hi/subject.txt": "Hi", "hi/body.txt": "Hi!", "hi/notes.md": "x"})
    write(tmp_path, {"hi/de/subject.txt": "He", "hi/de/body.txt": "He!", "LICENSE.txt": "x"})
    templates = Templates(tmp_path, None)
    templates.load()
    made = templates.render("hi", ["de"], {})
    assert ("de", "He", "He!\n", None) == (made.language, made.subject, made.text, made.html)


async def test_no_request_waits_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All templates are read when the server starts."""
    auth, plugin = made(tmp_path)
    await asyncio.to_thread(auth.mail.load)

    def read(*_: Any) -> None:
        raise AssertionError("a file is read")

    monkeypatch.setattr(jinja2.FileSystemLoader, "get_source", read)
    assert "Hallo Ann" == rendered(plugin, "de")[1]
