"""How accounts, sessions and factors are shown, to their users and to administrators alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from picoauth.devices import device
from picoauth.directory import Listed
from picoauth.drafts import Enrolment
from picoauth.sessions import Session, logins


def sessions(found: Sequence[Session], current: str = "") -> list[dict[str, Any]]:
    """Each login, with what was made of it on other hosts."""
    return [session(login, current) for login in logins(found)]


def session(login: Sequence[Session], current: str = "") -> dict[str, Any]:
    """A login with its siblings, as `replies.ListedSession`; `current` is the id of who asks."""
    first = login[0]
    return {
        "id": first.id,
        "current": any(one.id == current for one in login),
        "created_at": first.created_at,
        "used_at": max(one.rotated_at for one in login),
        "expires_at": min(first.idle_at, first.expires_at),
        "amr": list(first.amr),
        "delivery": first.delivery,
        "device": device(first.user_agent),
        "address": first.address,
        "user_agent": first.user_agent,
    }


def user(one: Listed) -> dict[str, Any]:
    """An account, as `replies.Me`: what is allowed out, member by member (M-4)."""
    return {
        "id": one.user.id,
        "username": one.username,
        "name": one.user.name,
        "locale": one.user.locale,
        "identifiers": [
            {"kind": i.kind, "value": i.display, "verified": i.verified} for i in one.identifiers
        ],
        "created_at": one.user.created_at,
        "last_login_at": one.user.last_login_at,
    }


def factor(e: Enrolment) -> dict[str, Any]:
    """An enrolment, as `replies.ListedFactor`: never what proves it."""
    return {
        "id": e.id,
        "factor": e.factor,
        "label": e.label,
        "confirmed": e.confirmed_at is not None,
        "confirmed_at": e.confirmed_at,
        "last_used_at": e.last_used_at,
    }
