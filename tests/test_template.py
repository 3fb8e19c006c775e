"""The file that `picoauth init` writes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from picoauth import NoSettings, Plugin, Seconds, Secret, described, parse
from picoauth.config import table
from picoauth.discovery import Found, installed
from picoauth.template import asks, block, first, short, template
from picoauth.testing import offer
from tests.distributions import PLUGIN, Distributions, distributing
from tests.firstparty import LISTED

HERE = Path("/srv/picoauth")
COMMENTED = re.compile(r"^# (\w+ = [^#\n]*)$", re.MULTILINE)


@dataclass(frozen=True)
class Settings:
    """One member of each kind."""

    host: str = described("Where it is,\n    in the world.")
    port: int = described("Its port.", default=25)
    tls: bool = described("Whether it is private.", default=True)
    wait: Seconds = described("So long.", default=Seconds(5400))
    word: Secret | None = described("What it asks for.", default=None)
    spool: Path = described("Where mail waits.", default=Path("spool"))
    names: tuple[str, ...] = described("Its names.", default=("bücher", "😀"))
    limits: Mapping[str, int] | None = described("Limits.", default=None)
    hidden: Any = field(default=None)


class MailPlugin(Plugin[Settings]):
    """Has a table of its own."""


class BarePlugin(Plugin[NoSettings]):
    """Has none."""


@pytest.fixture
def distributions(tmp_path: Path) -> Iterator[Distributions]:
    """Where the test installs plugins."""
    with distributing(tmp_path) as folder:
        yield folder


def plugins(*names: str) -> list[Found]:
    kinds = {"post": MailPlugin, "bare": BarePlugin}
    return [offer(name, kinds[name]) for name in names]


def test_block_of_a_plugin() -> None:
    """Each setting with what it means and its default; what is needed or unset is marked."""
    assert block(offer("post", MailPlugin)) == (
        "\n[post]\n"
        '\n# Where it is, in the world.\n# host = "…"  # needed\n'
        "\n# Its port.\n# port = 25\n"
        "\n# Whether it is private.\n# tls = true\n"
        '\n# So long.\n# wait = "90m"\n'
        '\n# What it asks for.\n# word = "…"  # unset by default\n'
        '\n# Where mail waits.\n# spool = "spool"\n'
        '\n# Its names.\n# names = ["bücher", "😀"]\n'
        '\n# Limits.\n# limits = "…"  # unset by default\n'
    )


def test_plugin_without_settings() -> None:
    """It is listed, and has no table."""
    text = template(plugins("bare"))
    assert 'plugins = ["bare"]' in text
    assert "[bare]" not in text


def test_it_parses_as_it_is() -> None:
    """What is written is taken, and listens as the README says."""
    config = parse(template(installed()), HERE)
    assert tuple(found.origin.name for found in installed()) == config.plugins
    assert ("unix:picoauth.sock", "tcp:127.0.0.1:8100") == config.bind


def test_every_default_is_the_real_one() -> None:
    """Taking the comment signs away changes nothing, for the server and for every plugin."""
    known = [found for found in installed() if not asks(found)]
    text = template([*known, *plugins("bare")])
    uncommented, count = COMMENTED.subn(r"\1", text)
    assert count >= 25
    before, after = parse(text, HERE), parse(uncommented, HERE)
    for found in known:
        kind = found.entry.load().settings_type()
        assert table(before, found.origin.name, kind) == table(after, found.origin.name, kind)
    object.__setattr__(after, "tables", before.tables)
    assert before == after


def test_a_default_that_is_not_the_real_one_is_noticed() -> None:
    """The test above would notice."""
    text = template(installed()).replace('# window = "10s"', '# window = "11s"')
    before, after = parse(text, HERE), parse(COMMENTED.sub(r"\1", text), HERE)
    assert before.tokens != after.tokens


def test_defaults_of_a_plugin_are_the_real_ones() -> None:
    """Texts, paths, lists and tables are written as TOML reads them."""
    text = template(plugins("post")).replace('# host = "…"', 'host = "x"')
    before, after = parse(text, HERE), parse(COMMENTED.sub(r"\1", text), HERE)
    expected = Settings("x", spool=HERE / "spool")
    assert expected == table(after, "post", Settings)
    assert Settings("x") == table(before, "post", Settings)


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0, "0d"), (59, "59s"), (600, "10m"), (86400, "1d"), (5400, "90m")]
)
def test_short(seconds: int, expected: str) -> None:
    """The largest unit that divides it."""
    assert expected == short(seconds)


def test_first_lists_what_its_slots_allow(
    distributions: Distributions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plugin that needs a mailer is in where a mailer is; one whose slot nobody fills is not."""
    for name, slot in (("lonely", "nonsense"), ("content", "sessions")):
        source = PLUGIN.replace("    pass", f"    needs = ['{slot}']")
        distributions.add(name, name, source)
    _, names, problems = first()
    assert (sorted(["content", *LISTED]), []) == (list(names), problems)
    known = [found for found in installed() if found.origin.name != "mail-console"]
    monkeypatch.setattr("picoauth.template.installed", lambda: known)
    _, names, _ = first()
    gone = {"email", "magic-link", "mail-console", "reset"}
    assert sorted({"content", *LISTED} - gone) == list(names)


def test_first_leaves_out_what_does_not_work(distributions: Distributions) -> None:
    """Plugins that could not be listed are left out, each with the reason; the file is good."""
    distributions.add("good", "good")
    distributions.add("broken", "broken", "import nowhere_to_be_found")
    distributions.add("odd-name", "Odd Name")
    distributions.add("users-plus", "users")
    distributions.add("one", "twice")
    distributions.add("two", "twice")
    distributions.add("unread", "unread", PLUGIN.replace("[NoSettings]", "[int]"))
    text, names, problems = first()
    assert sorted(["good", *LISTED]) == list(names)
    assert tuple(names) == parse(text, HERE).plugins
    assert sorted(problems) == [
        (
            "plugin Odd Name (odd-name 1.0) cannot be listed: "
            'its name must be a name such as "password".'
        ),
        (
            "plugin broken (broken 1.0) cannot be imported (ModuleNotFoundError: No module named "
            "'nowhere_to_be_found'): reinstall it, or remove it from `plugins`."
        ),
        (
            "plugin unread (unread 1.0) has settings that cannot be read (TypeError: "
            "<class 'int'> is no dataclass): tell its authors, or remove it from `plugins`."
        ),
        (
            "plugin users (users-plus 1.0) has a name that is the kernel's: "
            "remove it from `plugins`."
        ),
        "plugins: twice is offered by one 1.0 and two 1.0: uninstall one of them.",
    ]
