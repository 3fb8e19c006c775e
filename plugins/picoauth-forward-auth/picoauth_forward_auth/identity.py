"""What an application is told of a user, as headers."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from picoauth import Access, Auth
from picoauth_forward_auth.settings import ForwardAuthSettings

REMEMBERED = 4096
"""Logins whose headers are remembered."""
PLAIN = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")

Headers = Sequence[tuple[bytes, bytes]]


class Identities:
    """Makes the headers, and remembers them by the claims that they come from.

    They are at most as old as the claims of a token may be.
    """

    def __init__(self, auth: Auth, settings: ForwardAuthSettings) -> None:
        self.auth = auth
        self.settings = settings
        self.known: OrderedDict[bytes, tuple[int, Headers]] = OrderedDict()

    async def headers(self, access: Access) -> Headers:
        until, headers = self.known.get(access.body, (0, ()))
        if until <= self.auth.now():
            headers = self.written(await self.values(access))
            self.known[access.body] = self.auth.now() + self.life, headers
            if len(self.known) > REMEMBERED:
                self.known.popitem(last=False)
        return headers

    @property
    def life(self) -> int:
        return self.auth.config.tokens.access_life

    async def values(self, access: Access) -> Mapping[str, str]:
        """User name and e-mail in the form in which they are compared, which nobody shares.

        As they are displayed, a user could respell the name, and be another one to an
        application that looks at the case.
        """
        found = await self.auth.users.identifiers(access.user_id)
        verified: dict[str, str] = {}
        for each in found:
            if each.verified:
                verified.setdefault(each.kind, each.value)
        claims = access.claims
        return {
            "user": verified.get("username", ""),
            "id": access.user_id,
            "email": verified.get("email", ""),
            "name": str(claims.get("name", "")),
            "amr": " ".join(claims.get("amr", ())),
        }

    def written(self, values: Mapping[str, str]) -> Headers:
        """Each header, though it be empty: so no proxy lets through what a client sent in its place.

        Caddy 2.6 would write the name of its variable there.
        """
        names = self.settings.headers
        return [(f"x-auth-{name}".encode(), self.line(values[name])) for name in names]

    def line(self, text: str) -> bytes:
        """One line, in which nothing begins another header (CWE-113)."""
        shown = "".join(char if char.isprintable() else " " for char in text).strip()
        return (quote(shown, safe=PLAIN) if self.settings.encoding == "percent" else shown).encode()
