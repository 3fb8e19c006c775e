"""Pages that come along, all of one template: without scripts, and with nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from picoauth import AuthError, Reply, Request

FOLDER = files("picoauth_privateauth")
WARNINGS = {
    "not_https": "This application does not use https: others can read along.",
    "not_fetched": "Nothing more is known about this application. Go on only if you came from it.",
    "client_uri_host_differs": "This application names a website of another address.",
    "loopback": "This application runs on your own device. Go on only if you have just started it.",
}
SCOPES = {"profile": "your name and your picture", "email": "your e-mail address"}

TOLD = {
    "username": "your user name",
    "name": "your name",
    "permissions": "what you may do there",
}


@cache
def template() -> Any:
    from jinja2 import Environment, StrictUndefined  # noqa: PLC0415 - for who has these pages

    text = (FOLDER / "page.html").read_text("utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(text)


@cache
def style() -> str:
    return (FOLDER / "page.css").read_text("utf-8").strip()


@cache
def policy() -> str:
    """Allows this style, pictures that are in the page itself, and nothing else.

    `form-action` stays out: browsers apply it to where a form leads in the end, which is the
    client, and wherever that sends them on.
    """
    digest = base64.b64encode(hashlib.sha256(style().encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; "
        "frame-ancestors 'none'; base-uri 'none'"
    )


def rendered(
    view: str,
    title: str,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    **values: Any,
) -> Reply:
    from markupsafe import Markup  # noqa: PLC0415 - see above

    known = {"links": {}, "problem": None, "detail": None, **values}
    body = template().render(view=view, title=title, style=Markup(style()), **known)  # noqa: S704 - our own file
    return Reply(
        body.encode(),
        status,
        {
            "Content-Type": "text/html; charset=utf-8",
            "Content-Security-Policy": policy(),
            **(headers or {}),
        },
    )


def labels(tells: Sequence[str]) -> Mapping[str, str]:
    """Of scopes; what is told in any case is no matter of choice."""
    return {**SCOPES, "profile": "your picture"} if "name" in tells else SCOPES


def listed(words: Sequence[str]) -> str:
    """As one says it: a, b and c."""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def wanted(request: Request) -> bool:
    """Whether a person waits for the answer."""
    return "text/html" in request.headers.get("accept", "")


def sorry(refusal: AuthError) -> Reply:
    """An error that a person gets to see, who can go nowhere from here."""
    problem = refusal.problem
    headers = {**refusal.headers}
    return rendered(
        "sorry",
        "That did not work",
        problem.status,
        headers,
        problem=problem.title,
        detail=refusal.detail,
    )


def profile(name: str, me: str, links: Mapping[str, str], headers: Mapping[str, str]) -> Reply:
    return rendered("profile", name, 200, headers, name=name, me=me, links=links)
