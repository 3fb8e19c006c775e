"""What an operator does to the signing keys: bring or make the next one, and retire one."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from picoauth.changes import again
from picoauth.database import Statement
from picoauth.errors import ConfigError, Conflict
from picoauth.events import SigningKeyRetired
from picoauth.keymaterial import Material, made
from picoauth.keys import AFTER
from picoauth.shapes import suggest

if TYPE_CHECKING:
    from picoauth.auth import Auth

THERE = "id = ?"
WAITING = "id = ? or (signs_at > ? and retires_at is null)"

# It signs, or will do so from when on another one no longer does.
USABLE = f"""
    id <> ? and retires_at is null and (signs_at <= ? or exists (
        select 1 from signing_keys old
         where old.id <> ? and old.signs_at <= ? and old.retires_at >= signing_keys.signs_at + {AFTER}
    ))
"""

# Whatever a clock says, that time is over. Only the name is kept: it is taken for ever.
RETIRE = """
    update signing_keys set retires_at = 0, sealed = ?
     where id = ? and (retires_at is null or retires_at > 0)
"""


class Keyring:
    """Changes the keys of every process: each learns of it within half a second."""

    def __init__(self, auth: Auth) -> None:
        self.auth = auth
        self.keys = auth.keys

    def made(self) -> Material:
        """A new key of the algorithm that is set."""
        return made(self.keys.algorithm, self.auth.secrets.random)

    async def add(self, new: Material, *, at_once: bool = False) -> int:
        """Publish a key; answers when it signs, in seconds since 1970. Raises ConfigError.

        It waits until everybody who verifies had the time to learn it, and the others are
        accepted until their last token has ended. `at_once` does not wait.
        """
        if new.algorithm != self.keys.algorithm:
            raise ConfigError(
                f"This key is for {new.algorithm}, but `algorithm` in [tokens] is "
                f'{self.keys.algorithm}: set it to "{new.algorithm}" first.'
            )
        now = self.auth.now()
        signs_at = now if at_once else now + self.keys.overlap
        unless = (THERE, new.id) if at_once else (WAITING, new.id, now)
        try:
            await self.keys.add(new, signs_at, *unless)
        except Conflict as conflict:
            if conflict.index:  # something that a plugin adds
                raise
            raise await self.refused(new) from conflict
        await self.keys.refresh()
        return signs_at

    async def refused(self, new: Material) -> ConfigError:
        sql = "select retires_at from signing_keys where id = ?"
        if rows := await self.auth.database.read(sql, (new.id,)):
            what = "was retired" if rows == [(0,)] else "is here already"
            return ConfigError(f"The key {new.id} {what}: bring another one.")
        return ConfigError(
            "A key waits already until everybody knows it: wait until it signs, "
            "which `picoauth keys list` shows, or add --now to let the new one sign at once."
        )

    async def check(self, key_id: str) -> None:
        """Raises ConfigError where there is no such key."""
        await self.keys.refresh()
        if key_id not in self.keys.active:
            near = suggest(key_id, self.keys.active) or ": `picoauth keys list` shows all."
            raise ConfigError(f"There is no key {key_id}{near}")

    async def retire(self, key_id: str) -> None:
        """Accept nothing that this key signed, from now on. Raises ConfigError.

        Another one signs at once where none could, so that logging in goes on.
        Raises Conflict where someone else has just retired it.
        """
        await self.check(key_id)
        await again(partial(self.retired, key_id))
        await self.keys.refresh()

    async def retired(self, key_id: str) -> None:
        """Retire a key, and tell of one that is added exactly where one is.

        Raises Conflict where that changed in between.
        """
        now, new = self.auth.now(), self.made()
        event = SigningKeyRetired(at=now, user_id=None, key_id=key_id)
        retiring = Statement(RETIRE, (b"", key_id), rows=1)
        adding, *rest = self.keys.adding(new, now, USABLE, key_id, now, key_id, now)
        adds, commit = replace(adding, rows=1), self.auth.events.commit
        try:
            await commit(event, retiring, adds, *rest, also=[self.keys.added(new, now)])
        except Conflict as conflict:
            if conflict.index != 1:
                raise
            await commit(event, retiring, replace(adding, rows=0))
