"""Stores outside the database that break a promise fail the contract that names it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from picoauth import Auth, Conflict, KeptSessions, Session, Statement
from picoauth.testing.contracts import SessionStoreContract
from tests.keepers import Shelf
from tests.mutants import fails, run
from tests.test_slot_mutants import kernel


class Unforgiving(KeptSessions):
    """Takes nothing back."""

    async def undo(self, session: Session, before: Session | None = None) -> None:
        pass


class Unguarded(KeptSessions):
    """Changes whatever the database says of it meanwhile."""

    async def change(self, session: Session, generation: int) -> Sequence[Statement]:
        await super().change(session, generation)
        return ()


class Hasty(KeptSessions):
    """Ends before the write."""

    async def end(self, session_id: str) -> Sequence[Statement]:
        statements = await super().end(session_id)
        await self.keeper.remove(session_id, "")
        return statements


class HastyWithAll(KeptSessions):
    """Ends all before the write."""

    async def end_all(
        self, user_id: str, *, keep: str | None, below_epoch: int
    ) -> Sequence[Statement]:
        for session in await self.keeper.list(user_id):
            await self.keeper.remove(session.id, user_id)
        return await super().end_all(user_id, keep=keep, below_epoch=below_epoch)


class Unsettled(KeptSessions):
    """Commits what ends, and does not do it."""

    async def settle(self) -> None:
        pass


class Timeless(KeptSessions):
    """Lists what its time ended."""

    async def list(self, user_id: str) -> Sequence[Session]:
        found = [one for one in await self.keeper.list(user_id) if not self.over(one)]
        return sorted(found, key=lambda session: session.id, reverse=True)


class Crowding(KeptSessions):
    """Ends logins for a sibling."""

    async def crowding(self, session: Session, most: int) -> Statement | Sequence[str]:
        kept = sorted(await self.list(session.user_id), key=lambda one: -one.rotated_at)
        return [one.id for one in kept[most - 1 :]]


class Line(Shelf):
    """A keeper of one connection: answers wait there, in order, for whoever asks next."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[Session | None] = []

    async def get(self, session_id: str) -> Session | None:
        self.answers.append(await super().get(session_id))
        await asyncio.sleep(0)
        return self.answers.pop(0)


class Crossed(KeptSessions):
    """Answers whoever asks next, where somebody gave up."""

    def __init__(self, auth: Auth, _: Shelf) -> None:
        super().__init__(auth, Line())


STORES = [
    ("test_login_that_comes_to_nothing", Unforgiving),
    ("test_change_that_comes_to_nothing", Unforgiving),
    ("test_change_after_the_end", Unguarded),
    ("test_end_that_comes_to_nothing", Hasty),
    ("test_end_that_comes_to_nothing", HastyWithAll),
    ("test_end_all", Unsettled),
    ("test_end_of_its_time", Timeless),
    ("test_answers_that_nobody_waits_for", Crossed),
    ("test_who_makes_room", Crowding),
]


@pytest.mark.parametrize(("test", "kind"), STORES)
async def test_stores(tmp_path: Path, test: str, kind: type[KeptSessions]) -> None:
    """The test passes for kept sessions, and fails for those that are broken."""
    for each, expected in ((KeptSessions, run), (kind, fails)):
        async with kernel(tmp_path / expected.__name__, SessionStoreContract.SETTINGS) as fixtures:
            store = each(fixtures["auth"], Shelf())
            also = () if expected is run else (Conflict,)
            await expected(SessionStoreContract(), test, *also, store=store, **fixtures)
