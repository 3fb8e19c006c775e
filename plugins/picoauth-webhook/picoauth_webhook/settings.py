"""The settings: which events go where, and how they are signed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from picoauth import Seconds, Secret, described

NAME = re.compile("[a-z0-9][a-z0-9-]{0,39}")
WEEK = 7 * 86400
"""Seconds for which the outbox remembers why a message was given up."""


def check_endpoints(endpoints: Mapping[str, EndpointSettings]) -> None:
    if not endpoints:
        raise ValueError("must have at least one endpoint")
    for name in endpoints:
        if NAME.fullmatch(name) is None:
            raise ValueError("must have names of lower-case letters, digits and hyphens")


@dataclass(frozen=True)
class EndpointSettings:
    """`[webhook.endpoints.NAME]`: one receiver."""

    url: str = described("Where events are posted to.", example="https://app.example/hooks")
    secret: tuple[Secret, ...] = described(
        "`whsec_…`, by which they are signed; a list, newest first, while it is changed.",
        least=1,
        most=4,
    )
    events: tuple[str, ...] = described(
        "Which events; all but `LoginFailed` if unset.", default=(), least=1
    )
    private: bool = described("It may be at an address of your own networks.", default=False)
    insecure: bool = described("Its URL may be one of http.", default=False)
    ca: Path | None = described(
        "File with the certificates that are trusted instead of the system's (PEM).", default=None
    )


@dataclass(frozen=True)
class WebhookSettings:
    """`[webhook]`: receivers, and for how long."""

    endpoints: Mapping[str, EndpointSettings] = described(
        "Receivers, by names of your own.", check=check_endpoints
    )
    timeout: Seconds = described(
        "A receiver may take so long for an answer.", default=Seconds(10), least=1, most=30
    )
    expires: Seconds = described(
        "What could not be sent for so long is dropped.",
        default=Seconds(3 * 86400),
        least=60,
        most=30 * 86400,
    )
    keep: Seconds = described(
        "Messages can be sent again for so long.", default=Seconds(WEEK), least=0, most=WEEK
    )
