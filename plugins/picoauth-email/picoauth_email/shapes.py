"""Settings, bodies, answers and refusals: what operators and clients see."""

from __future__ import annotations

from dataclasses import dataclass

from picoauth import Problem, Seconds, check_page, described, replies

EMAIL_VERIFIED = Problem(409, "email_verified", "This address is verified already.")
WRONG_CODE = Problem(400, "wrong_code", "This is not the code, or it came too late.")
EMAIL_UNVERIFIED = Problem(403, "email_unverified", "Verify an e-mail address first.")

HOUR, DAY = 3600, 86400


@dataclass(frozen=True)
class EmailSettings:
    """The table `[email]`."""

    page: str = described(
        "Path of your page that links in mails open, with the token behind #.",
        default="/login/",
        check=check_page,
    )
    require_verified: bool = described(
        "Whether a login needs an address that is verified.", default=False
    )
    code_life: Seconds = described(
        "How long a code is good.", default=Seconds(600), least=60, most=600
    )
    link_life: Seconds = described(
        "How long a link is good.", default=Seconds(DAY), least=HOUR, most=DAY
    )
    cancel_life: Seconds = described(
        "How long the old address can take a change back.",
        default=Seconds(72 * HOUR),
        least=DAY,
        most=30 * DAY,
    )
    login_life: Seconds = described(
        "How long a login that waits for its address can verify it.",
        default=Seconds(600),
        least=60,
        most=HOUR,
    )


@dataclass(frozen=True)
class NewAddress:
    """The body of `POST /auth/email`."""

    address: str = described("E-mail address.", least=1, example="ann@example.com")


@dataclass(frozen=True)
class Proof:
    """The body of `POST /auth/email/verify`: one of the two."""

    token: str | None = described("The token of the link.", default=None, least=1)
    code: str | None = described("The code.", default=None, least=1, example="12345678")

    def __post_init__(self) -> None:
        if (self.token is None) == (self.code is None):
            raise ValueError("must have a token or a code")


@dataclass(frozen=True)
class Cancel:
    """The body of `POST /auth/email/cancel`."""

    token: str = described("The token of the link.", least=1, example="Zl0c…")


@dataclass(frozen=True)
class Waiting:
    """The body of `POST /auth/email/unverified`."""

    ticket: str = described("That of the refused login.", least=1, example="o2Vb…")
    address: str | None = described(
        "Another address; the one that waits by default.",
        default=None,
        least=1,
        example="ann@example.com",
    )


@dataclass(frozen=True)
class WaitingProof:
    """The body of `POST /auth/email/unverified/verify`: the ticket, and one of the others."""

    ticket: str = described("That of the refused login.", least=1, example="o2Vb…")
    token: str | None = described("The token of the link.", default=None, least=1)
    code: str | None = described("The code.", default=None, least=1, example="12345678")

    def __post_init__(self) -> None:
        Proof(self.token, self.code)


ADDRESS = described("As it was typed.", example="ann@example.com")


@dataclass(frozen=True)
class Asked:
    """Where the mail goes, unless it went a moment ago."""

    address: str = ADDRESS


@replies.shape
class TokensAndAddress(replies.Tokens):
    """New tokens, and the address."""

    address: str = ADDRESS


@replies.shape
class IdentityAndAddress(replies.Identity):
    """Who is logged in, and the address."""

    address: str = ADDRESS
