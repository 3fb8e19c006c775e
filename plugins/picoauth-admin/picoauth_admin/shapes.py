"""Settings, bodies and answers: what operators and clients see."""

from __future__ import annotations

from dataclasses import dataclass

from picoauth import Seconds, check_page, described, replies

HOUR = 3600
MOST_AT_ONCE = 200
"""Users of one page, and of one deletion (M-5)."""


@dataclass(frozen=True)
class AdminSettings:
    """The table `[admin]`."""

    public: bool = described(
        "Whether keys and administrators are let in on the public addresses, too.", default=False
    )
    page: str = described(
        "Path of your page that invitations open, with the token behind #.",
        default="/login/",
        check=check_page,
    )
    invitation_life: Seconds = described(
        "How long an invitation is good.",
        default=Seconds(24 * HOUR),
        least=5 * 60,
        most=7 * 24 * HOUR,
    )


@dataclass(frozen=True)
class NewUser:
    """A user to be made, without anything to log in by."""

    username: str = described("User name.", least=1, most=256, example="ann")
    name: str | None = described("Name to show.", default=None, least=1, most=200, example="Ann")
    locale: str | None = described("Language tag (RFC 5646).", default=None, most=35, example="en")
    email: str | None = described("E-mail address.", default=None, example="ann@example.com")
    email_verified: bool = described("Whether you know that it is the user's.", default=False)


@dataclass(frozen=True)
class Profile:
    """The names as they shall be: a language that is left out is emptied."""

    username: str = described("User name.", least=1, most=256, example="ann")
    name: str = described("Name to show.", least=1, most=200, example="Ann")
    locale: str | None = described("Language tag (RFC 5646).", default=None, most=35, example="en")


@dataclass(frozen=True)
class Changes:
    """What shall be another; a member left out stays."""

    username: str | None = described("User name.", default=None, least=1, most=256, example="ann")
    name: str | None = described("Name to show.", default=None, least=1, most=200, example="Ann")
    locale: str | None = described("Language tag (RFC 5646).", default=None, most=35, example="en")


@dataclass(frozen=True)
class Address:
    """The only e-mail address of a user from now on."""

    email: str = described("E-mail address.", least=1, example="ann@example.com")
    verified: bool = described("Whether you know that it is the user's.", default=False)


@dataclass(frozen=True)
class Users:
    """Users by their ids."""

    ids: tuple[str, ...] = described("At most 200.", example=[replies.USER_ID])

    def __post_init__(self) -> None:
        if not 1 <= len(set(self.ids)) <= MOST_AT_ONCE:
            raise ValueError(f"must have from 1 to {MOST_AT_ONCE} ids")


@dataclass(frozen=True)
class Inviting:
    """How to invite."""

    link: bool = described(
        "Show the link instead of mailing it; over the socket alone.", default=False
    )


@dataclass(frozen=True)
class Summary:
    """A user as it is listed."""

    id: str = described("Never given to another user.", example=replies.USER_ID)
    username: str | None = described("User name.", example="ann")
    name: str = described("Name to show.", example="Ann")
    locale: str | None = described("Language tag (RFC 5646).", example="en")
    identifiers: tuple[replies.Identifier, ...] = described("What finds the user, or would.")
    created_at: int = described("When it was made.", example=1800000000)
    last_login_at: int | None = described("When someone last logged in.", example=1800000000)
    disabled_at: int | None = described("Since when it cannot log in.", example=None)
    closed_at: int | None = described("When the user closed the account.", example=None)
    delete_at: int | None = described("When a closed account is deleted.", example=None)


@dataclass(frozen=True)
class Found(Summary):
    """A user."""

    factors: tuple[replies.ListedFactor, ...] = described("What it logs in with.")


@dataclass(frozen=True)
class Listing:
    """Some of the users. A page may be short while there is a `next`."""

    users: tuple[Summary, ...] = described("At most as many as `limit`.")
    next: str | None = described(
        "Goes into `after` for those that follow; none at the end.", example=None
    )


@dataclass(frozen=True)
class Count:
    """How many users there are."""

    count: int = described("At most a million.", example=42)
    more: bool = described("Whether there are more than that.", example=False)


@dataclass(frozen=True)
class Outcome:
    """What became of one user."""

    id: str = described("As it was sent.", example=replies.USER_ID)
    deleted: bool = described("Whether it was there, and is gone now.", example=True)
    code: str | None = described("Why not: as of a refusal.", example=None)


@dataclass(frozen=True)
class Outcomes:
    """What became of each."""

    results: tuple[Outcome, ...] = described("In the order of the ids, each once.")


@dataclass(frozen=True)
class Sent:
    """To whom a mail is on its way."""

    address: str = described("E-mail address.", example="ann@example.com")


@dataclass(frozen=True)
class Invited:
    """An invitation."""

    address: str | None = described("Where it was mailed to.", example="ann@example.com")
    link: str | None = described("What is to be handed over, where it is shown.", example=None)
    expires_at: int = described("When it is of no use any more.", example=1800086400)
