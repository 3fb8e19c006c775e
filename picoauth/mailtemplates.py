"""Templates of mails: a plugin's own, over which the operator may put others."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from picoauth.errors import ConfigError

if TYPE_CHECKING:
    import jinja2

    from picoauth.hooks import Plugin

ENGLISH = "en"
FILES = ("subject.txt", "body.txt", "body.html")
ODD = re.compile(r"[^\w '\N{RIGHT SINGLE QUOTATION MARK}-]+")
"""All of a value that a mail program could take for a link, the end of a line or markup."""
LONGEST = 100
"""Characters of a value that is no link."""


class Link(str):
    """A value that is a link. No other value can be one."""

    __slots__ = ()


@dataclass(frozen=True)
class Made:
    """A mail in one language, and the values as they stand in it."""

    language: str
    subject: str
    text: str
    html: str | None
    values: Mapping[str, str]


class Templates:
    """Those of one plugin: `NAME/subject.txt`, `NAME/body.txt`, and `NAME/body.html` if there is one.

    Other languages than English are in `NAME/LANGUAGE/`, each with all of these files. A file
    is looked for below `own`, the operator's folder, and then below `shipped`.
    """

    def __init__(self, shipped: Path, own: Path | None) -> None:
        self.shipped = shipped
        self.own = own

    @classmethod
    def of(cls, plugin: Plugin[Any], folder: Path | None) -> Templates:
        """`templates/` of the plugin's package, or a base's, and `FOLDER/PLUGIN/` of the operator."""
        packages = dict.fromkeys(kind.__module__.partition(".")[0] for kind in type(plugin).__mro__)
        places = (Path(sys.modules[name].__file__ or "").parent for name in packages)
        shipped = next((p / "templates" for p in places if (p / "templates").is_dir()), Path())
        return cls(shipped, folder / plugin.name if folder else None)

    @cached_property
    def environment(self) -> jinja2.Environment:
        import jinja2  # noqa: PLC0415 - for who sends mail

        return jinja2.Environment(
            loader=jinja2.FileSystemLoader([*([self.own] if self.own else []), self.shipped]),
            autoescape=jinja2.select_autoescape(["html"]),
            undefined=jinja2.StrictUndefined,
            auto_reload=False,
        )

    @cached_property
    def paths(self) -> frozenset[str]:
        return frozenset(self.environment.list_templates())

    def render(self, name: str, languages: Sequence[str], values: Mapping[str, str]) -> Made:
        """Fill a template, in the first of the languages that it is in.

        `languages` are as in `Accept-Language` (RFC 9110, section 12.5.4).
        """
        files = self.files(name)
        language = best(languages, self.languages(name))
        folder = name if language == ENGLISH else f"{name}/{language}"
        safe = {n: v if isinstance(v, Link) else plain(v) for n, v in values.items()}
        made = {
            file: self.environment.get_template(f"{folder}/{file}").render(safe).strip()
            for file in files
        }
        subject, text, html = (made.get(file) for file in FILES)
        return Made(language, " ".join((subject or "").split()), f"{text}\n", html, safe)

    def files(self, name: str) -> list[str]:
        """Those that there are in English, and so have to be in every language."""
        return [file for file in FILES if f"{name}/{file}" in self.paths]

    def languages(self, name: str) -> list[str]:
        """Those that a template is in as a whole, English first."""
        found = {Path(path).parent.name for path in self.paths if path.startswith(f"{name}/")}
        whole = [
            language
            for language in sorted(found - {name})
            if all(f"{name}/{language}/{file}" in self.paths for file in self.files(name))
        ]
        return [ENGLISH, *whole]

    def check(self) -> None:
        """Look at the operator's own files before one is needed. Raises ConfigError."""
        if self.own is None or not self.own.is_dir():
            return
        for path in sorted(self.own.rglob("*.*")):
            problem = self.problem(path.relative_to(self.own).as_posix())
            if problem:
                raise ConfigError(f"The mail template {path} {problem}.")

    def problem(self, name: str) -> str | None:
        """What is wrong with a file of the operator's, as the end of a sentence."""
        import jinja2  # noqa: PLC0415 - for who has own templates

        english = "/".join(name.split("/")[:1] + name.split("/")[-1:])
        if not (self.shipped / english).is_file():
            return "stands for none that there is: the plugin's page has their names"
        try:
            unknown = self.variables(name) - self.variables(english, self.shipped)
        except (jinja2.TemplateError, UnicodeDecodeError) as error:
            return f"cannot be read: {error}"
        return f"has no value {min(unknown)}: the plugin's page has theirs" if unknown else None

    def variables(self, name: str, folder: Path | None = None) -> set[str]:
        from jinja2 import meta  # noqa: PLC0415 - for who has own templates

        text = ((folder or self.own or self.shipped) / name).read_text("utf-8")
        return meta.find_undeclared_variables(self.environment.parse(text))


def plain(value: str) -> str:
    """What a user typed, as words: no link, no line and no markup can be in it."""
    return " ".join(ODD.sub(" ", value).split())[:LONGEST]


def best(wanted: Sequence[str], offered: Sequence[str]) -> str:
    from werkzeug.datastructures import LanguageAccept  # noqa: PLC0415 - for who sends mail
    from werkzeug.http import parse_accept_header  # noqa: PLC0415

    matches = (parse_accept_header(w, LanguageAccept).best_match(offered) for w in wanted if w)
    return next((match for match in matches if match), ENGLISH)
