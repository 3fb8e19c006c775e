"""What `picoauth doctor` says about authenticators."""

from __future__ import annotations

from collections.abc import Sequence

from picoauth import Check, ConfigError
from picoauth_totp.authenticators import Authenticator, Authenticators
from picoauth_totp.codes import PERIOD


class Checkups:
    def __init__(self, authenticators: Authenticators) -> None:
        self.authenticators = authenticators
        self.auth = authenticators.auth

    def checks(self) -> Sequence[Check]:
        return [
            Check("totp-secrets", self.lost, live=False, level="danger"),
            Check("totp-sealed", self.broken, live=False, level="danger"),
            Check("totp-clock", self.ahead, live=False),
            Check("totp-older", self.older, live=False, level="advice"),
        ]

    async def lost(self) -> str | None:
        """The server does not start then."""
        try:
            await self.authenticators.check_keys()
        except ConfigError as error:
            return str(error)
        return None

    async def broken(self) -> str | None:
        """Those that a root secret sealed which is there, and does not open."""
        if await self.lost():
            return None
        found = [Authenticator(*row) for row in await self.authenticators.all()]
        altered = [one.enrolment_id for one in found if self.altered(one)]
        if not altered:
            return None
        return (
            f"Authenticators were altered in the database, and log nobody in ({len(altered)}, such "
            f"as {altered[0]}): restore the table totp from a backup, and find out who wrote there."
        )

    def altered(self, one: Authenticator) -> bool:
        try:
            self.auth.secrets.open(one.place, one.sealed)
        except ConfigError:
            return True
        return False

    async def ahead(self) -> str | None:
        """A code that was accepted while the clock was ahead holds up all until its time comes."""
        latest = self.auth.now() // PERIOD + self.authenticators.window
        sql = "select count(*), max(last_step) from totp where last_step > ?"
        [(count, last)] = await self.auth.database.read(sql, (latest,), slow=True)
        if not count:
            return None
        return (
            f"Authenticators were used while the server's clock was ahead ({count}), and accept no "
            f"code for up to {(last - latest) * PERIOD} seconds: their users take another factor, or "
            "enrol anew; see that the clock is kept right (NTP)."
        )

    async def older(self) -> str | None:
        _, *older = self.authenticators.keys
        if not older:
            return None
        counts = await self.authenticators.by_key()
        hanging = sum(counts.get(key, 0) for key in older)
        if hanging:
            return (
                f"{hanging} authenticators hang on an older root secret: let the server run, which "
                "seals them anew within ten minutes."
            )
        return (
            "No authenticator hangs on an older root secret: as far as they go, it may leave "
            "`secret`."
        )
