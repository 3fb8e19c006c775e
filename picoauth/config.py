"""Reads `picoauth.toml` and words every mistake for the operator."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from picoauth.errors import ConfigError
from picoauth.settings import Config, Secret
from picoauth.shapes import Shaper, suggest

T = TypeVar("T")

KERNEL = frozenset(Config.__dataclass_fields__) - {"base", "tables"}


def load(path: Path) -> Config:
    """Read the settings file. Raises ConfigError with every mistake in it."""
    try:
        return parse(path.read_text(encoding="utf-8"), path.resolve().parent)
    except FileNotFoundError as error:
        raise ConfigError(f"There is no {path}: write one with `picoauth init`.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}.") from error


def parse(text: str, base: Path) -> Config:
    """Read settings; relative paths count from `base`. Raises ConfigError with every mistake."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"picoauth.toml is not valid TOML: {error}.") from error
    foreign = [name for name in values.keys() - KERNEL if isinstance(values[name], dict)]
    tables = {name: values.pop(name) for name in foreign}
    shaper = shaper_for(base)
    config = shaper.build(Config, values)
    problems = [*shaper.problems, *unlisted(tables, values.get("plugins", ()))]
    if config is not None:
        object.__setattr__(config, "base", base)
        object.__setattr__(config, "tables", tables)
    if config is None or problems:
        raise ConfigError(*(sentence(where, what) for where, what in problems))
    return config


def unlisted(tables: Mapping[str, Any], plugins: Any) -> list[tuple[str, str]]:
    names = [name for name in plugins if isinstance(name, str)] if isinstance(plugins, list) else []
    return [
        (
            f"[{table}]",
            "is for a plugin that is not listed: add it to `plugins`, or remove the table"
            + suggest(table, [*names, *KERNEL]),
        )
        for table in sorted(tables.keys() - set(names))
    ]


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
        if not isinstance(value, str) or not value:
            raise ValueError("must be a path")
        return base / value

    def secret(value: object) -> Secret:
        match value:
            case {"env": str(name), **more} if not more:
                return Secret(f"env {name}")
            case {"file": str(name), **more} if not more:
                return Secret(f"file {base / name}")
        raise ValueError('must be { env = "NAME" } or { file = "path" }')

    def secrets(value: object) -> tuple[Secret, ...]:
        return tuple(secret(item) for item in (value if isinstance(value, list) else [value]))

    return Shaper({Path: path, Secret: secret, tuple[Secret, ...]: secrets})
