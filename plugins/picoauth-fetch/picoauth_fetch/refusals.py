"""Why nothing was fetched: because it never will be, or because it did not work this time."""

from __future__ import annotations


class FetchRefused(Exception):
    """Not now and not later: the URL, an address behind it, or a redirect is not allowed.

    `reason` is a clause for logs and answers. It never has an address that a name stands for:
    that would let strangers read the names of a private network.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class FetchFailed(Exception):
    """It may be tried again: no answer, a bad one, one too long or too late. `reason` as above."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class FetchBusy(FetchFailed):
    """This server does too much of it already: nobody was asked, and nothing is known of them."""
