"""The report of a stress test as one HTML file, which loads nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from picoauth.stress.links import LINKS
from picoauth.stress.outcome import Outcome, Step
from picoauth.stress.plots import Line, bars, chart
from picoauth.stress.report import bounded, busy, headline, number
from picoauth.stress.style import STYLE

TILES = (
    ("logins_per_second", "logins a second, in this mix", "login_p99_ms", "99 of 100 within {} ms"),
    ("checks_per_second", "tokens checked a second", "checks_p99_ms", "99 of 100 within {} ms"),
    (
        "flooded_checks_per_second",
        "checked a second in a flood of logins",
        "flooded_checks_p99_ms",
        "99 of 100 within {} ms",
    ),
    ("memory_per_login_mb", "MB for each login under way", None, ""),
)
STYLES = dict(zip(LINKS, "abcdef", strict=True))


def page(outcome: Outcome) -> str:
    body = "".join(
        (
            "<h1>picoauth stress</h1>",
            told(outcome),
            tiles(outcome),
            f'<div class="pair">{speed(outcome)}{waiting(outcome)}</div>',
            f'<div class="pair">{checks(outcome)}{costs(outcome)}</div>',
            steps(outcome),
            kept(outcome),
            footer(outcome),
        )
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        f"<title>{escape(headline(outcome))}</title><style>{STYLE}</style></head>"
        f"<body><main>{body}</main></body></html>\n"
    )


def told(outcome: Outcome) -> str:
    none = "" if outcome.link else " none"
    return (
        f'<section class="card verdict{none}"><strong>{escape(headline(outcome))}</strong>'
        f"<p>{escape(outcome.sentence)} {escape(busy(outcome))}</p></section>"
    )


def tiles(outcome: Outcome) -> str:
    found = []
    for name, label, more, words in TILES:
        if name not in outcome.summary:
            continue
        beside = words.format(number(outcome.summary[more])) if more in outcome.summary else ""
        value = number(outcome.summary[name])
        found.append(f'<div class="card"><b>{value}</b>{label}<br/><small>{beside}</small></div>')
    return f'<section class="tiles">{"".join(found)}</section>'


def card(title: str, said: str, content: str) -> str:
    return f'<section class="card"><h2>{title}</h2><p>{escape(said)}</p>{content}</section>'


def across(outcome: Outcome) -> str:
    return "operations offered a second" if outcome.plan["loop"] == "open" else "clients"


def since(outcome: Outcome) -> float | None:
    return next((one.offered for one in outcome.steps if not one.fine), None)


def speed(outcome: Outcome) -> str:
    def line(name: str, style: str) -> Line:
        points = [
            (one.offered, getattr(one.operations["login"], name))
            for one in outcome.steps
            if "login" in one.operations
        ]
        return Line(f"{name[1:]} of 100", style, points)

    limit = outcome.plan["limit"] * 1e3
    drawing = chart(
        "How long a login takes",
        [line("p99", "e"), line("p95", "b"), line("p50", "a")],
        across(outcome),
        "milliseconds",
        limit=(limit, f"limit, {limit:.0f} ms"),
        since=since(outcome),
    )
    return card("How long a login takes", "So many of 100 logins were answered by then.", drawing)


def waiting(outcome: Outcome) -> str:
    seen = [name for name in LINKS if any(used(one, name) for one in outcome.steps)]
    lines = [
        Line(name, STYLES[name], [(one.offered, used(one, name)) for one in outcome.steps])
        for name in seen
    ]
    drawing = chart("Where requests wait", lines, across(outcome), "requests", since=since(outcome))
    return card(
        "Where requests wait", "In each link, on average. The one that rises gives way.", drawing
    )


def used(one: Step, name: str) -> float:
    return one.use.waiting.get(name, 0.0)


def checks(outcome: Outcome) -> str:
    summary = outcome.summary
    rows = [
        (label, summary[f"{name}_per_second"], said(summary, name), style)
        for name, label, style in (
            ("checks", "nothing else", "a"),
            ("flooded_checks", "a flood of logins", "b"),
        )
        if f"{name}_per_second" in summary
    ]
    drawing = bars("Tokens checked a second", rows)
    return card("Tokens checked a second", "By clients without pause, beside …", drawing)


def said(summary: dict[str, float], name: str) -> str:
    rate, p99 = summary[f"{name}_per_second"], summary[f"{name}_p99_ms"]
    return f"{number(rate)}, p99 {number(p99)} ms"


def costs(outcome: Outcome) -> str:
    if not outcome.argon2:
        return ""
    rows = [
        (
            f"{cost['memory_kib'] / 1024:.0f} MiB, {cost['iterations']:.0f} passes",
            cost["milliseconds"],
            f"{number(cost['milliseconds'])} ms, {number(cost['logins_per_second'])} logins/s",
            "c" if index else "f",
        )
        for index, cost in enumerate(outcome.argon2)
    ]
    target = f"{outcome.plan['target'] * 1e3:.0f} ms"
    words = f"As it is (gray), and what this machine affords for {target} a hash."
    return card("Argon2 on this machine", words, bars("Argon2", rows))


def steps(outcome: Outcome) -> str:
    head = (head_of(outcome), "done", "login p50", "p99 ms", "refused", "commit ms", "loop late ms")
    cells = "".join(f"<th>{name}</th>" for name in (*head, "server CPU", "load CPU", "verdict"))
    rows = "".join(
        f'<tr class="{"" if one.fine else "bad"}">'
        f"{''.join(f'<td>{escape(cell)}</td>' for cell in row(one))}</tr>"
        for one in outcome.steps
    )
    grid = f'<div class="scroll"><table><tr>{cells}</tr>{rows}</table></div>'
    mix = ", ".join(f"{name} {weight:g}" for name, weight in outcome.plan["mix"].items())
    return card("Step by step", f"The mix, by weight: {mix}. CPU is in cores.", grid)


def head_of(outcome: Outcome) -> str:
    return "offered" if outcome.plan["loop"] == "open" else "clients"


def row(one: Step) -> Sequence[str]:
    login = one.operations.get("login")
    return (
        number(one.offered),
        number(one.achieved),
        number(login.p50) if login else "",
        number(login.p99) if login else "",
        f"{one.refused + one.failed:.1%}",
        number(one.use.commit * 1e3),
        number(one.use.lag * 1e3),
        f"{one.use.server:.2f}",
        f"{one.use.load:.2f}",
        one.why or "fine",
    )


def kept(outcome: Outcome) -> str:
    if not outcome.bounds:
        return ""
    items = "".join(
        f'<li class="{"" if one["kept"] else "missed"}">{escape(one["name"])}: {bounded(one)}</li>'
        for one in outcome.bounds
    )
    return card("Bounds", "As the options had them.", f"<ul>{items}</ul>")


def footer(outcome: Outcome) -> str:
    return f"<footer>{escape('; '.join(facts(outcome)))}.</footer>"


def facts(outcome: Outcome) -> Iterator[str]:
    machine, server = outcome.machine, outcome.server
    yield f"{machine['cores']} cores of {machine['system']} on {machine['processor']}"
    yield f"Python {machine['python']}, SQLite {machine['sqlite']}"
    if "url" in server:
        yield f"the server at {server['url']}"
    else:
        yield f"plugins {', '.join(server['plugins'])}; database {server['database']}"
    yield f"{outcome.plan['users']} users, seed {outcome.plan['seed']}"
