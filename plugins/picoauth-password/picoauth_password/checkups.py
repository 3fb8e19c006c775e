"""What `picoauth doctor` says about passwords."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from picoauth import Check, ConfigError
from picoauth_password.foreignhashes import FOREIGN
from picoauth_password.hashing import Cost

if TYPE_CHECKING:
    from picoauth_password.plugin import PasswordPlugin

QUICK, SLOW = 0.010, 0.500
"""Seconds of one hash: with less, guessing is cheap; with more, people wait."""
RECOMMENDED = Cost(memory_kib=65536, iterations=3, parallelism=4)
"""RFC 9106, section 4, for where memory is scarce."""
ONLY_FACTOR = 15
"""Code points of a password that is the only factor (NIST SP 800-63B-4, section 3.1.1.2)."""


class Checkups:
    """`timer` answers seconds."""

    def __init__(
        self, plugin: PasswordPlugin, timer: Callable[[], float] = time.perf_counter
    ) -> None:
        self.plugin = plugin
        self.timer = timer
        self.settings = plugin.settings
        self.measuring: asyncio.Task[float] | None = None

    def checks(self) -> Sequence[Check]:
        return [
            Check("password-peppers", self.lost, live=False, level="danger"),
            Check("password-slow", self.slow, live=False),
            Check("password-quick", self.quick, live=False, level="advice"),
            Check("password-length", self.short, live=False, level="advice"),
            Check("password-cost", self.cheap, live=False, level="advice"),
            Check("password-imported", self.foreign, live=False, level="advice"),
            Check("password-secrets", self.older, live=False, level="advice"),
        ]

    async def lost(self) -> str | None:
        """The server does not start then."""
        try:
            await self.plugin.passwords.check_peppers()
        except ConfigError as error:
            return str(error)
        return None

    async def seconds(self) -> float:
        """What a hash takes here, measured once for both who ask."""
        self.measuring = self.measuring or asyncio.create_task(self.measure())
        return await self.measuring

    async def measure(self) -> float:
        """The first one also loads the library."""
        await self.plugin.hasher.hash("warm")
        began = self.timer()
        await self.plugin.hasher.hash("measured")
        return self.timer() - began

    async def slow(self) -> str | None:
        seconds = await self.seconds()
        if seconds <= SLOW:
            return None
        return (
            f"Hashing one password takes this machine {seconds * 1000:.0f} ms, and whoever logs in "
            "waits for all before them: lower memory_kib and iterations in [password] towards the "
            "defaults, or take a faster machine."
        )

    async def quick(self) -> str | None:
        seconds = await self.seconds()
        if seconds >= QUICK:
            return None
        return (
            f"Hashing one password takes this machine {seconds * 1000:.0f} ms: it can do more, and "
            "guessing gets dearer with it, so raise memory_kib or iterations in [password]."
        )

    async def cheap(self) -> str | None:
        """OWASP's minimum is that of the settings."""
        cost = self.settings.cost
        if cost.memory_kib * cost.iterations >= RECOMMENDED.memory_kib * RECOMMENDED.iterations:
            return None
        return (
            f"memory_kib = {cost.memory_kib} with iterations = {cost.iterations} in [password] "
            "keeps OWASP's minimum; RFC 9106 (4) recommends memory_kib = 65536, iterations = 3 and "
            "parallelism = 4."
        )

    async def short(self) -> str | None:
        if self.settings.min_length >= ONLY_FACTOR:
            return None
        return (
            f"min_length in [password] is {self.settings.min_length}: NIST SP 800-63B-4 (3.1.1.2) "
            "asks for min_length = 15 where users have no second factor."
        )

    async def foreign(self) -> str | None:
        """What users who were imported still log in by."""
        counts = await self.plugin.passwords.by_pepper()
        remaining = sum(counts.get(kind, 0) for kind in FOREIGN)
        if not remaining:
            return None
        return (
            f"{remaining} of {sum(counts.values())} passwords still have the hash that they were "
            "imported with, without a secret of this server: each is hashed anew when its user "
            "logs in."
        )

    async def older(self) -> str | None:
        """Which root secrets are still needed as peppers."""
        newest, *older = self.plugin.hasher.peppers
        if not older:
            return None
        counts = await self.plugin.passwords.by_pepper()
        hanging = sum(counts.get(pepper, 0) for pepper in older)
        if hanging:
            total = hanging + counts.get(newest, 0)
            return (
                f"{hanging} of {total} passwords hang on an older root secret: keep it in `secret` "
                "until their users have logged in."
            )
        return (
            "No password hangs on an older root secret: as far as they go, it may leave `secret`."
        )
