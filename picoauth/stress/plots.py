"""Plots as SVG, by a few lines of our own: no library, no script, nothing to load."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 520, 280
LEFT, RIGHT, TOP, BOTTOM = 66, 14, 14, 46
TICKS = 5


@dataclass(frozen=True)
class Line:
    """Points from left to right; `style` is a class of the page's style sheet."""

    name: str
    style: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Axis:
    """From 0 to a round number above `most`."""

    most: float
    pixels: tuple[float, float]

    @property
    def step(self) -> float:
        """One, two or five times a power of ten."""
        rough = max(self.most, 1e-9) / TICKS
        power = 10.0 ** math.floor(math.log10(rough))
        return next(n * power for n in (1, 2, 5, 10) if n * power >= rough * (1 - 1e-9))

    @property
    def end(self) -> float:
        return math.ceil(max(self.most, 1e-9) / self.step - 1e-9) * self.step

    def ticks(self) -> Sequence[float]:
        return [self.step * n for n in range(round(self.end / self.step) + 1)]

    def at(self, value: float) -> float:
        low, high = self.pixels
        return low + (high - low) * min(1.0, value / self.end)


def chart(
    title: str,
    lines: Sequence[Line],
    across: str,
    up: str,
    *,
    most: float | None = None,
    limit: tuple[float, str] | None = None,
    since: float | None = None,
) -> str:
    """Lines over an axis. `limit` is drawn across; `since` shades what is too much, to the right."""
    xs = [x for line in lines for x, _ in line.points]
    ys = [y for line in lines for _, y in line.points]
    x = Axis(max(xs, default=1), (LEFT, WIDTH - RIGHT))
    y = Axis(most or max([*ys, limit[0] if limit else 0], default=1), (HEIGHT - BOTTOM, TOP))
    parts = [
        shade(x, since),
        *grid(x, y),
        *(drawn(line, x, y) for line in lines),
        crossing(y, limit),
        text(LEFT + (WIDTH - LEFT - RIGHT) / 2, HEIGHT - 8, across, "middle"),
        beside(up),
    ]
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">'
        f"{''.join(parts)}</svg>{legend(lines)}"
    )


def beside(said: str) -> str:
    """The name of the axis that goes up."""
    turned = f"translate(13 {(HEIGHT - BOTTOM + TOP) / 2}) rotate(-90)"
    return f'<text class="label" transform="{turned}" text-anchor="middle">{escape(said)}</text>'


def shade(x: Axis, since: float | None) -> str:
    if since is None:
        return ""
    left = x.at(since)
    width = WIDTH - RIGHT - left
    return f'<rect class="over" x="{left:.1f}" y="{TOP}" width="{width:.1f}" height="{HEIGHT - BOTTOM - TOP}"/>'


def grid(x: Axis, y: Axis) -> Sequence[str]:
    rows = [
        f'<path class="grid" d="M{LEFT} {y.at(v):.1f}H{WIDTH - RIGHT}"/>'
        + text(LEFT - 8, y.at(v) + 4, short(v), "end")
        for v in y.ticks()
    ]
    return [*rows, *(text(x.at(v), HEIGHT - BOTTOM + 18, short(v), "middle") for v in x.ticks())]


def drawn(line: Line, x: Axis, y: Axis) -> str:
    if not line.points:
        return ""
    path = "L".join(f"{x.at(a):.1f} {y.at(b):.1f}" for a, b in line.points)
    dots = "".join(
        f'<circle class="{line.style}" cx="{x.at(a):.1f}" cy="{y.at(b):.1f}" r="3.5">'
        f"<title>{escape(line.name)}: {short(b)} at {short(a)}</title></circle>"
        for a, b in line.points
    )
    return f'<path class="line {line.style}" d="M{path}"/>{dots}'


def crossing(y: Axis, limit: tuple[float, str] | None) -> str:
    if limit is None or limit[0] > y.end:
        return ""
    at = y.at(limit[0])
    return f'<path class="limit" d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}"/>' + text(
        LEFT + 6, at - 6, limit[1], "start"
    )


def legend(lines: Sequence[Line]) -> str:
    items = (f'<li class="{line.style}">{escape(line.name)}</li>' for line in lines)
    return f'<ul class="legend">{"".join(items)}</ul>'


def bars(title: str, rows: Sequence[tuple[str, float, str, str]]) -> str:
    """A bar for each: name, length, what is written beside it, class."""
    most = max((value for _, value, _, _ in rows), default=0) or 1
    height, name, room = 40, 130, 165
    found = []
    for index, (label, value, said, style) in enumerate(rows):
        top = index * height
        width = max(2.0, (WIDTH - name - room) * value / most)
        found.append(
            text(name - 10, top + 24, label, "end")
            + f'<rect class="bar {style}" x="{name}" y="{top + 8}" width="{width:.1f}" height="24" rx="4"/>'
            + f'<text class="value" x="{name + width + 8:.1f}" y="{top + 25}">{escape(said)}</text>'
        )
    return (
        f'<svg viewBox="0 0 {WIDTH} {height * len(rows)}" role="img" aria-label="{escape(title)}">'
        f"{''.join(found)}</svg>"
    )


def text(x: float, y: float, said: str, anchor: str) -> str:
    return (
        f'<text class="label" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(said)}</text>'
    )


def short(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.2g}"
