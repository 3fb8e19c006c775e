"""The doctor's look at secrets, signing keys and enrolled factors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from picoauth.auth import Auth
from picoauth.checks import Check
from picoauth.secret_cli import longest
from picoauth.secrets import sources
from picoauth.template import short

DAY = 86400
OLD_KEY = 335 * DAY
"""Seconds: a year, less the time to do something about it."""

KEYS = "select created_at, sealed from signing_keys"
WAITING = "select substr(sealed, 1, 4) from outbox where sealed is not null"
RETIRED = "select count(*) from retired_names"
SIGNING = "select max(created_at) from signing_keys where algorithm = ?"
ENROLLED = """
    select factor, count(distinct user_id) from enrolments
     where confirmed_at is not null group by factor
"""


class Accounts:
    """What the rows of the kernel tell."""

    def __init__(self, auth: Auth) -> None:
        self.auth = auth

    def checks(self) -> Sequence[Check]:
        return [
            Check("signing-key", self.signing_key, live=False),
            Check("ignored-factors", self.ignored, live=False),
            Check("second-factor", self.second, live=False, level="advice"),
            Check("secrets", self.older_secrets, live=False, level="advice"),
        ]

    async def signing_key(self) -> str | None:
        [(made,)] = await self.auth.database.read(SIGNING, (self.auth.keys.algorithm,))
        age = self.auth.now() - made if made is not None else 0
        if age < OLD_KEY:
            return None
        return (
            f"The key that signs tokens is {age // DAY} days old, and whoever got hold of it in "
            "that time can sign, too: run `picoauth keys rotate` each year."
        )

    async def ignored(self) -> str | None:
        """Listed plugins offer their factor whatever the setting says."""
        counts: Mapping[str, int] = dict(await self.auth.database.read(ENROLLED, slow=True))
        names = [name for name in self.auth.config.ignore_factors if name not in self.auth.factors]
        off = [f"{name}: {users(counts[name])}" for name in names if name in counts]
        if not off:
            return None
        return (
            f"`ignore_factors` switches off what users have enrolled ({', '.join(off)}), who now "
            "log in without it: list its plugin again, or tell them."
        )

    async def second(self) -> str | None:
        if any(factor.second for factor in self.auth.factors.values()):
            return None
        return (
            "No listed plugin offers a second factor, and a password that was phished is enough: "
            "list one that does, such as totp or passkey."
        )

    async def older_secrets(self) -> str | None:
        """Passwords are looked after by their plugin."""
        older = [root.id for root in self.auth.secrets.roots][1:]
        if not older:
            return None
        sealed = [bytes(row[1])[:4].hex() for row in await self.auth.database.read(KEYS)]
        hanging = sum(root in older for root in sealed)
        if hanging:
            return (
                f"`secret` lists an older root secret that signing keys are sealed with ({hanging}): "
                "keep it listed, and let the server run, which seals them anew within ten minutes."
            )
        rows = await self.auth.database.read(WAITING, slow=True)
        waiting = sum(bytes(root).hex() in older for (root,) in rows)
        if waiting:
            return (
                f"`secret` lists an older root secret that messages are sealed with ({waiting}): "
                "keep it listed, and let the server run, which seals them anew within ten minutes."
            )
        config = self.auth.config
        by_hand = len(sources(config)) > 1
        way = "take it out of that list" if by_hand else "run `picoauth secret forget`"
        return (
            "`secret` lists an older root secret that no signing key and no message is sealed "
            f"with: where no other line tells to keep it, {way} once the new one is in use for "
            f"{short(longest(config))}, after which no session needs it.{await self.names()}"
        )

    async def names(self) -> str:
        """The hashes of retired names do not say which secret they are made with."""
        [(count,)] = await self.auth.database.read(RETIRED)
        if not count:
            return ""
        return f" But names that were retired ({count}) may then be given to others, if only it knows them."


def users(count: int) -> str:
    return f"{count} user{'' if count == 1 else 's'}"
