"""How many logins may begin at one host: no server is used to knock at another's door."""

from __future__ import annotations

from picoauth import AuthError, problems
from picoauth_fetch.hosts import Hosts


class Starts(Hosts):
    """Says to whoever begins one too many when to come again."""

    def check(self, url: str) -> None:
        """Count one more. Raises AuthError (429) where it is one too many."""
        left = self.wait(url)
        if left:
            headers = {"Retry-After": str(left)}
            raise AuthError(problems.TOO_MANY_ATTEMPTS, headers=headers, retry_after=left)
