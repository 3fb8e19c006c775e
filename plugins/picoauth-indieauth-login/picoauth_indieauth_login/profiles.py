"""Profile URLs as people type them, in their one form (IndieAuth, sections 3.2 and 3.4)."""

from __future__ import annotations

import re

from picoauth import AuthError, identifier
from picoauth_fetch import web
from picoauth_indieauth_login.problems import PROFILE_UNUSABLE

SCHEME = re.compile(r"https?://", re.IGNORECASE)


def unusable(detail: str) -> AuthError:
    return AuthError(PROFILE_UNUSABLE, detail)


def canonical(text: str) -> str:
    """The one form of an absolute URL. Raises AuthError for what can be nobody's profile.

    The kernel's own form, in which identifiers are compared, is looked at before and after:
    what it would forgive, a port or an empty fragment, is no profile URL.
    """
    place = SCHEME.sub("", text, count=1).partition("/")[0].partition("?")[0]
    if set(place) & set(":@") or "#" in text:
        raise unusable("a profile URL has no port, user, or fragment")
    try:
        value = identifier("url", text, verified=True).value
    except AuthError as error:
        raise unusable("this is no profile URL") from error
    try:
        return str(web.profile(value))
    except ValueError as error:
        raise unusable(f"a profile URL {error}") from error


def candidates(text: str, *, http: bool) -> list[str]:
    """The profile URLs that somebody may mean; a bare host is tried by https first."""
    typed = text.strip()
    if not typed:
        raise unusable("this is no profile URL")
    if SCHEME.match(typed):
        found = [canonical(typed)]
    else:
        found = [canonical(f"https://{typed}"), *([canonical(f"http://{typed}")] if http else [])]
    if not http and found[0].startswith("http://"):
        raise unusable("a profile URL begins with https:// here")
    return found


def known(urls: list[str]) -> tuple[str, ...]:
    """Those that are profile URLs, in their one form."""
    made = []
    for url in urls:
        try:
            made.append(canonical(url))
        except AuthError:
            continue
    return tuple(dict.fromkeys(made))
