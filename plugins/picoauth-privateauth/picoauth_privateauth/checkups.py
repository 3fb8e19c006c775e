"""What `picoauth doctor` says about the endpoint."""

from __future__ import annotations

from collections.abc import Sequence

from picoauth import Auth, Check
from picoauth_fetch import web as urls
from picoauth_privateauth.settings import PrivateAuthSettings


class Checkups:
    """Looks at the settings."""

    def __init__(self, auth: Auth, settings: PrivateAuthSettings) -> None:
        self.auth = auth
        self.settings = settings

    def checks(self) -> Sequence[Check]:
        return [
            Check("privateauth-legacy", self.legacy, live=False, level="advice"),
            Check("privateauth-profiles", self.profiles, live=False, level="warning"),
        ]

    async def legacy(self) -> str | None:
        """Codes without PKCE are as good for a thief as for the client."""
        names = [c.name for c in self.settings.clients if c.pkce == "optional"]
        if not names:
            return None
        return (
            f"Clients without PKCE in [privateauth] ({', '.join(names)}): whoever reads a code on "
            'its way gets in there as that user; set pkce = "required" as soon as they know it.'
        )

    async def profiles(self) -> str | None:
        """Profile URLs have https, a name and no port (IndieAuth, section 3.2)."""
        try:
            fits = urls.profile(f"{self.auth.config.public_url}/u/x").scheme == "https"
        except ValueError:
            fits = False
        if fits:
            return None
        return (
            "public_url is no https:// address with a name and without a port, so many clients "
            "refuse the profile URLs that begin with it: put the server behind a name of its own."
        )
