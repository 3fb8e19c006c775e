"""Bodies and answers of the routes that register passkeys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from picoauth import described, replies
from picoauth_passkey.ceremonies import Kind

TICKET = "o2VbJ8mWJxM3c0lq4nYt6wDkQZ7TfXb1R5vHsPyLgUa"
SAMPLE = {
    "id": "Vb0nLzGnFmVbVfz5mQm7mw",
    "rawId": "Vb0nLzGnFmVbVfz5mQm7mw",
    "type": "public-key",
    "response": {"clientDataJSON": "e30", "attestationObject": "oA", "transports": ["internal"]},
    "clientExtensionResults": {},
}


@dataclass(frozen=True)
class Beginning:
    """The body of `POST /auth/passkey/begin`."""

    kind: Kind = described(
        "`security_key` asks for a key that is a second factor, as those of U2F are.",
        default="passkey",
    )


@dataclass(frozen=True)
class NewAccount:
    """The body of `POST /auth/passkey/register/begin`."""

    username: str = described("User name.", least=1, most=256, example="ann")
    display_name: str | None = described(
        "Name to show.", default=None, least=1, most=200, example="Ann"
    )
    email: str | None = described(
        "E-mail address, unverified until it is.", default=None, example="ann@example.com"
    )


@dataclass(frozen=True)
class Made:
    """The bodies that end a registration."""

    ticket: str = described("That of its beginning.", least=1, example=TICKET)
    passkey: Mapping[str, Any] = described(
        "What `navigator.credentials.create()` answered, as JSON.", example=SAMPLE
    )
    label: str | None = described(
        "What the user calls it.", default=None, least=1, most=100, example="Phone"
    )


@replies.shape
class Asking:
    """A registration under way."""

    ticket: str = described("Good for one try.", example=TICKET)
    options: Mapping[str, Any] = described(
        "For `PublicKeyCredential.parseCreationOptionsFromJSON()`.",
        example={"rp": {"id": "auth.example.com", "name": "Example"}},
    )


@replies.shape
class Enrolled:
    """The passkey that was added, beside what a login answers."""

    id: str = described("Of the enrolment.", example=replies.FACTOR_ID)
    label: str | None = described("What the user calls it.", example="Phone")
    signals: Mapping[str, Any] = described("What devices should know.", example={})


@replies.shape
class Registered:
    """The account that was made."""

    id: str = described("Never given to another user.", example=replies.USER_ID)
    username: str = described("User name.", example="ann")
    name: str = described("Name to show.", example="Ann")
    signals: Mapping[str, Any] = described("What devices should know.", example={})
