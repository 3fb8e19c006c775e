"""What the routes of passwords take and answer."""

from __future__ import annotations

from dataclasses import dataclass

from picoauth import described, replies


@dataclass(frozen=True)
class Registration:
    """The body of `POST /auth/register`."""

    username: str = described("User name.", least=1, most=256, example="ann")
    password: str = described("Password.", example="correct horse battery staple")
    email: str | None = described(
        "E-mail address, unverified until it is.", default=None, example="ann@example.com"
    )
    display_name: str | None = described(
        "Name to show.", default=None, least=1, most=200, example="Ann"
    )


@dataclass(frozen=True)
class Registered:
    """The account that was made."""

    id: str = described("Never given to another user.", example=replies.USER_ID)
    username: str = described("User name.", example="ann")
    name: str = described("Name to show.", example="Ann")


@dataclass(frozen=True)
class NewPassword:
    """The body of `PUT /auth/password`."""

    password: str = described("The new password.")
