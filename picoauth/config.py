"""Reads `picoauth.toml` and words every mistake for the operator."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from picoauth.errors import ConfigError
from picoauth.settings import SECRET, Config, Secret
from picoauth.shapes import Shaper, join, suggest

T = TypeVar("T")

KERNEL = frozenset(Config.__dataclass_fields__) - {"base", "tables"}
TABLES = frozenset(name for name in KERNEL if not Config.__dataclass_fields__[name].metadata)
FILE = Path("picoauth.toml")


def load(path: Path) -> Config:
    """Read the settings file. Raises ConfigError with every mistake in it."""
    try:
        return parse(path.read_text(encoding="utf-8-sig"), path.resolve().parent, path)
    except FileNotFoundError as error:
        init = "picoauth init" if path == FILE else f"picoauth --config {path} init"
        raise ConfigError(
            f"There is no {path}: write one with `{init}`, or name another with --config."
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8: write it again, as a text.") from error
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}. Mend that, or name another with --config."
        ) from error


def parse(text: str, base: Path, name: Path = FILE) -> Config:
    """Read settings; relative paths count from `base`. Raises ConfigError with every mistake."""
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a number or a nesting without end, too
        raise ConfigError(f"{name} is not valid TOML: {error}.") from error
    listed = values.get("plugins")
    names = [each for each in listed if isinstance(each, str)] if isinstance(listed, list) else []
    foreign = [key for key in values if key not in KERNEL]
    tables = {
        key: values.pop(key) for key in foreign if key in names or isinstance(values[key], dict)
    }
    shaper = shaper_for(base)
    config = shaper.build(Config, {"secret": {"file": SECRET}, **values})
    problems = [*shaper.problems, *(unlisted(tables, names) if isinstance(listed, list) else ())]
    if config is None or problems:
        raise ConfigError(*(sentence(place(where), what) for where, what in problems))
    object.__setattr__(config, "base", base)
    object.__setattr__(config, "tables", tables)
    return config


def changed(config: Config, **changes: Any) -> Config:
    """The same settings, but for these."""
    copy = replace(config, **changes)
    for name in ("base", "tables"):
        object.__setattr__(copy, name, getattr(config, name))
    return copy


def unlisted(tables: Mapping[str, Any], names: Sequence[str]) -> list[tuple[str, str]]:
    return [
        (
            f"[{join('', table)}]",
            "is for a plugin that is not listed: add it to `plugins`, or remove the table"
            + suggest(table, [*names, *KERNEL]),
        )
        for table in sorted(tables.keys() - set(names))
    ]


def place(where: str) -> str:
    """`[tokens].idle`, as the tables of plugins are named."""
    table, dot, rest = where.partition(".")
    return f"[{table}].{rest}" if dot and table in TABLES else where


def table(config: Config, name: str, kind: type[T]) -> T:
    """A plugin's own settings. Raises ConfigError with every mistake in its table."""
    shaper = shaper_for(config.base)
    settings = shaper.build(kind, config.tables.get(name, {}), f"[{name}]")
    if settings is None:
        raise ConfigError(*(sentence(where, what) for where, what in shaper.problems))
    return settings


def sentence(where: str, what: str) -> str:
    return f"{where}: {what}." if not what.endswith("?") else f"{where}: {what}"


def shaper_for(base: Path) -> Shaper:
    def path(value: object) -> Path:
        if not isinstance(value, str) or not usable(value):
            raise ValueError("must be a path")
        return base / value

    def secret(value: object) -> Secret:
        match value:
            case {"env": str(name), **more} if usable(name) and not more:
                return Secret(f"env {name}")
            case {"file": str(name), **more} if usable(name) and not more:
                return Secret(f"file {base / name}")
        raise ValueError('must be { env = "NAME" } or { file = "path" }')

    def secrets(value: object) -> tuple[Secret, ...]:
        return tuple(secret(item) for item in (value if isinstance(value, list) else [value]))

    return Shaper({Path: path, Secret: secret, tuple[Secret, ...]: secrets})


def usable(name: str) -> bool:
    """The system takes it as the name of a file or of a variable."""
    return bool(name) and "\0" not in name
