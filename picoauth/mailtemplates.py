"""Templates of mails: a plugin's own, over which the operator may put others."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from picoauth.errors import ConfigError
from picoauth.languages import ENGLISH, best
from picoauth.mailvalues import Link, plain

if TYPE_CHECKING:
    import jinja2

    from picoauth.hooks import Plugin

FILES = ("subject.txt", "body.txt", "body.html")
NEEDED = FILES[:2]
LANGUAGE = re.compile("[a-z]{2,3}(-[a-z0-9]{2,8})*", re.IGNORECASE)
"""A tag as in `Accept-Language` (RFC 5646)."""


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

    def __init__(self, shipped: Path | None, own: Path | None) -> None:
        self.shipped = shipped
        self.own = own

    @classmethod
    def of(cls, plugin: Plugin[Any], folder: Path | None) -> Templates:
        """`templates/` of the plugin's package, or a base's, and `FOLDER/PLUGIN/` of the operator."""
        places = (place / "templates" for place in packages(type(plugin)))
        shipped = next((place for place in places if place.is_dir()), None)
        own = folder / plugin.name if folder else None
        return cls(shipped, own if own and own.is_dir() else None)

    @cached_property
    def environment(self) -> jinja2.Environment:
        import jinja2  # noqa: PLC0415 - for who sends mail

        return jinja2.Environment(
            loader=jinja2.FileSystemLoader([each for each in (self.own, self.shipped) if each]),
            autoescape=jinja2.select_autoescape(["html"]),
            undefined=jinja2.StrictUndefined,
            auto_reload=False,
            cache_size=-1,
        )

    @cached_property
    def paths(self) -> frozenset[str]:
        found = self.environment.list_templates(["txt", "html"])
        return frozenset(path for path in found if not hidden(path))

    @property
    def names(self) -> Sequence[str]:
        return sorted({path.partition("/")[0] for path in self.paths if "/" in path})

    def render(self, name: str, languages: Sequence[str], values: Mapping[str, str]) -> Made:
        """Fill a template, in the first of the languages that it is in.

        `languages` are as in `Accept-Language` (RFC 9110, section 12.5.4). Raises LookupError
        where there is no such template.
        """
        files = self.files(name)
        language = best(languages, self.languages(name))
        folder = name if language == ENGLISH else f"{name}/{language}"
        safe = {n: v if isinstance(v, Link) else plain(v) for n, v in values.items()}
        made = {
            file: self.environment.get_template(f"{folder}/{file}").render(safe).strip()
            for file in files
        }
        subject = " ".join(made["subject.txt"].split())
        return Made(language, subject, f"{made['body.txt']}\n", made.get("body.html"), safe)

    def files(self, name: str) -> Sequence[str]:
        """Those that there are in English, and so have to be in every language."""
        files = [file for file in FILES if f"{name}/{file}" in self.paths]
        if not set(NEEDED) <= set(files):
            raise LookupError(f"there is no {name}/subject.txt, or no {name}/body.txt")
        return files

    def languages(self, name: str) -> Sequence[str]:
        """Those that a template is in, English first."""
        below = (path.split("/")[1:-1] for path in self.paths if path.startswith(f"{name}/"))
        return [ENGLISH, *sorted({folders[0] for folders in below if folders})]

    def load(self) -> None:
        """Read and compile all there are. Raises whatever is wrong with them."""
        if self.shipped is None:
            return
        for path in self.paths:
            self.environment.get_template(path)
        for missing in self.missing():
            raise LookupError(f"there is no {missing}")

    def missing(self) -> Iterator[str]:
        for name in self.names:
            files = self.files(name)
            for language in self.languages(name)[1:]:
                for file in files:
                    if f"{name}/{language}/{file}" not in self.paths:
                        yield f"{name}/{language}/{file}"

    def check(self) -> None:
        """Look at the operator's own files before one is needed. Raises ConfigError."""
        if self.own is None:
            return
        for path in sorted(self.own.rglob("*")):
            name = path.relative_to(self.own).as_posix()
            problem = None if path.is_dir() or hidden(name) else self.problem(name)
            if problem:
                raise ConfigError(f"The mail template {path} {problem}.")
        for missing in self.missing():
            raise ConfigError(
                f"The mail template {self.own / missing} is missing: "
                "a language has the same files as English."
            )

    def problem(self, name: str) -> str | None:
        """What is wrong with a file of the operator's, as the end of a sentence."""
        import jinja2  # noqa: PLC0415 - for who has own templates

        if not self.stands_for_one(name):
            return "stands for none that the plugin has: its page has their names"
        known = self.values(name.partition("/")[0])
        try:
            unknown = self.variables(self.own, name) - known
            if unknown:
                return f"has no value {min(unknown)}: there are {', '.join(sorted(known))}"
            self.environment.get_template(name).render(dict.fromkeys(known, "x"))
        except jinja2.TemplateSyntaxError as error:
            return f"cannot be read (line {error.lineno}: {error.message}): mend it"
        except UnicodeDecodeError:
            return "is not UTF-8: write it again, as a text"
        except Exception as error:  # noqa: BLE001 - a template can fail in any way
            return f"cannot be filled ({type(error).__name__}: {error}): mend it"
        return None

    def stands_for_one(self, name: str) -> bool:
        first, _, rest = name.partition("/")
        language, _, last = rest.rpartition("/")
        fits = not language or (LANGUAGE.fullmatch(language) and language != ENGLISH)
        english = self.shipped is not None and (self.shipped / first / last).is_file()
        return bool(fits) and english and last in FILES

    def values(self, name: str) -> set[str]:
        """What a template is given: all that the plugin's own one uses."""
        paths = [f"{name}/{file}" for file in self.files(name)]
        return {value for path in paths for value in self.variables(self.shipped, path)}

    def variables(self, folder: Path | None, name: str) -> set[str]:
        from jinja2 import meta  # noqa: PLC0415 - for who has own templates

        text = ((folder or Path()) / name).read_text("utf-8")
        return meta.find_undeclared_variables(self.environment.parse(text))


def packages(kind: type) -> Iterator[Path]:
    """Folders of the module that a plugin is in, and of the packages above; then of its bases."""
    # Up to the kernel's own, and what that is made of.
    for each in takewhile(lambda k: not k.__module__.startswith("picoauth."), kind.__mro__):
        names = each.__module__.split(".")
        for length in range(len(names), 0, -1):
            file = getattr(sys.modules.get(".".join(names[:length])), "__file__", None)
            if file:
                yield Path(file).parent


def hidden(name: str) -> bool:
    """What editors, and systems that mount folders, leave beside: no template."""
    return name.endswith("~") or any(part.startswith(".") for part in name.split("/"))
