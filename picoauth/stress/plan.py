"""What a stress test is asked to do."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

from picoauth.errors import ConfigError

OPERATIONS = ("login", "register", "refresh", "validate", "sessions")


@dataclass(frozen=True)
class Plan:
    """Seconds are of the wall clock; `mix` has weights by operation, and a login at least."""

    mix: Mapping[str, float]
    loop: Literal["open", "closed"] = "open"
    start: float = 20.0
    """Operations a second of the first step, or in a closed loop clients."""
    factor: float = 1.5
    """Each step is so much more than the one before."""
    steps: int = 10
    duration: float = 5.0
    warm_up: float = 2.0
    users: int = 60
    second: str | None = None
    """The factor by which some users have to prove themselves again."""
    second_share: float = 0.5
    limit: float = 1.0
    """A step is too much where the 99th of 100 answers takes longer, in seconds."""
    refused: float = 0.01
    """Or where more than this share is refused or fails."""
    flood: int = 32
    """Clients that log in without pause while tokens are checked."""
    slow: Mapping[str, float] = field(default_factory=dict)
    """Seconds that are added to each of `commits`, `store` and `mail`: what if they were slower."""
    target: float = 0.25
    """Seconds that one hash of a password may take."""
    seed: int = 20260101
    least: Mapping[str, float] = field(default_factory=dict)
    """Figures of the summary that must be reached; exit code 1 where one is not."""
    most: Mapping[str, float] = field(default_factory=dict)


def numbers_of(option: str, text: str, names: Collection[str]) -> Mapping[str, float]:
    """Numbers by name from `a=1,b=2`. Raises ConfigError."""
    parts = [part.strip().partition("=") for part in text.split(",") if part.strip()]
    found = {name.strip(): weight(number) for name, _, number in parts}
    if not found.keys() <= set(names) or None in found.values():
        raise ConfigError(
            f"{option} {text!r} cannot be read: write NAME=NUMBER, several with commas; "
            f"names are {', '.join(names)}."
        )
    return {name: number for name, number in found.items() if number is not None}


def mix_of(text: str) -> Mapping[str, float]:
    """Weights from `login=10,validate=60`. Raises ConfigError."""
    mix = {name: one for name, one in numbers_of("--mix", text, OPERATIONS).items() if one}
    if "login" not in mix:
        raise ConfigError("--mix: there must be logins in it: add login=1.")
    return mix


def weight(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 <= number < float("inf") else None
