"""Settings and bodies: what operators and clients see."""

from __future__ import annotations

from dataclasses import dataclass

from picoauth import Seconds, check_page, described

MINUTE = 60


@dataclass(frozen=True)
class ResetSettings:
    """The table `[reset]`."""

    page: str = described(
        "Path of your page that links in mails open, with the token behind #.",
        default="/login/",
        check=check_page,
    )
    life: Seconds = described(
        "How long a link is good.",
        default=Seconds(30 * MINUTE),
        least=5 * MINUTE,
        most=30 * MINUTE,
    )


@dataclass(frozen=True)
class Forgotten:
    """The body of `POST /auth/forgot_password`: one of the two."""

    username: str | None = described("User name.", default=None, example="ann")
    email: str | None = described("Verified e-mail address.", default=None)

    def __post_init__(self) -> None:
        if (self.username is None) == (self.email is None):
            raise ValueError("must have a username or an email")

    @property
    def name(self) -> str:
        """As it was typed: an address may stand in the place of a user name."""
        return str(self.username if self.email is None else self.email)


@dataclass(frozen=True)
class NewPassword:
    """The body of `PUT /auth/forgot_password/{token}`."""

    password: str = described("The new password.", example="another horse battery staple")
