"""Settings and answers: what operators and clients see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from picoauth import Problem, Seconds, check_page, described, replies

INVALID_QUERY = Problem(400, "invalid_query", "A parameter of the address is not what it may be.")
DAY = 86400
KINDS = ("credential", "device", "factor", "identifier", "locked", "recovery")
"""What users are told of by mail."""


def check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise ValueError(f"must be one of {', '.join(KINDS)}")


@dataclass(frozen=True)
class AuditSettings:
    """The table `[audit]`."""

    retention: Seconds = described(
        "How long rows are kept.", default=Seconds(400 * DAY), least=DAY, most=3650 * DAY
    )
    traces: Seconds = described(
        "How long a row keeps what leads to a person: address, user agent, and ids of requests "
        "and sessions; 0s keeps none.",
        default=Seconds(90 * DAY),
        least=0,
        most=3650 * DAY,
    )
    refusals: int = described(
        "Rows a minute for each kind of refusal; what is more is counted.",
        default=200,
        least=1,
        most=10_000,
    )
    notify: tuple[str, ...] = described(
        "What users are told of by mail, where a plugin delivers it.",
        default=KINDS,
        each=check_kind,
    )
    page: str = described(
        "Path of your page that mails lead to.", default="/login/", check=check_page
    )


@replies.shape
class Entry:
    """One row of the log."""

    seq: int = described("Its place in the chain.", example=4711)
    at: int = described("When it happened, in seconds since 1970.", example=1800000000)
    event: str = described("The event's name.", example="LoginCompleted")
    user_id: str | None = described("Whose it is, while that user exists.", example=replies.USER_ID)
    who: str | None = described("The user's pseudonym.", example="7c0k9mwe2x4htq8p5vzdn3rj6f")
    actor: str | None = described("Who acted for the user.", example="command:admin")
    address: str | None = described("Where the request came from.", example="192.0.2.1")
    user_agent: str | None = described("What the client says of itself.", example="Mozilla/5.0 …")
    request_id: str | None = described("The request's id.", example="rq-1")
    members: dict[str, Any] = described("What the event says.", example={"factors": ["password"]})


@replies.shape
class Entries:
    """A page of the log, the newest row first."""

    entries: tuple[Entry, ...] = described("The rows.", example=[])
    next: int | None = described("`before` of the next page; null where this is the last.")
