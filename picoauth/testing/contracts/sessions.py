"""The contract of the slot `sessions`: whatever keeps them, an ended one stays ended."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from picoauth.auth import Auth
from picoauth.changes import settled
from picoauth.database import Statement
from picoauth.errors import Conflict, Denied, Unavailable
from picoauth.sessions import Session, SessionStore, undoing
from picoauth.testing.contracts.base import (
    KernelContract,
    committed,
    give_up,
    together,
    undone,
    unfilled,
)
from picoauth.testing.server import Clock

LATER = 10**6
"""Seconds; an end that no test comes to."""


class SessionStoreContract(KernelContract):
    """Inherit it, and override `store`; the method `down` too, if you can.

        class TestMine(SessionStoreContract):
            @pytest.fixture
            def store(self, auth):
                return MyStore(auth)

    Both kinds of store pass it: one whose statements are all that it does, and one outside the
    database, such as `KeptSessions(auth, MyKeeper())`. Windows and idle times are those of
    `auth.config.tokens`, and the time is `auth.now()`.
    """

    @pytest.fixture
    def store(self, auth: Auth) -> SessionStore:  # noqa: ARG002
        """Override it: your store, empty."""
        unfilled("store", "a session store without sessions")

    async def down(self, store: SessionStore) -> None:  # noqa: ARG002
        """Override it: make what is behind the store unreachable."""
        pytest.skip("`down` is not overridden")

    @pytest_asyncio.fixture
    async def users(self, auth: Auth) -> dict[str, str]:
        """The ids of two users, by name."""
        users = [
            (await auth.users.register(auth.users.draft(username=name)))[0]
            for name in ("ann", "bob")
        ]
        return {user.name: user.id for user in users}

    async def test_keeps_what_is_put(
        self, auth: Auth, store: SessionStore, users: dict[str, str]
    ) -> None:
        """Every member comes back as it was, also those that are unset; unknown ids have none."""
        bare = {"second_at": None, "amr": (), "address": None, "user_agent": None}
        for each in (
            session(auth, users["ann"]),
            session(auth, users["ann"], "bare", **bare),
            session(auth, users["bob"], "child", parent_id="one", user_agent="Ünïcode 🗝️ '\""),
        ):
            await committed(auth, await store.put(each))
            assert each == await store.get(each.id)
        for unknown in ("", "On", "ONE", "one ", "one%", "*"):
            assert await store.get(unknown) is None
            assert await store.rotate(unknown, 3, auth.now()) is None

    async def test_id_is_put_once(
        self, auth: Auth, store: SessionStore, users: dict[str, str]
    ) -> None:
        """The same id again is a conflict, and changes nothing: not even for another user."""
        one = await put(auth, store, users["ann"])
        for again in (one, replace(one, user_id=users["bob"], generation=9)):
            with pytest.raises(Conflict):
                await committed(auth, await store.put(again))
            assert one == await store.get("one")
        await end(auth, store, "one")
        with pytest.raises(Conflict):
            await put(auth, store, users["ann"])
        assert not await alive(auth, store, "one")

    async def test_login_that_comes_to_nothing(
        self, auth: Auth, store: SessionStore, users: dict[str, str]
    ) -> None:
        """Where the write of a login fails there is no session (K-11): its guard was in that write.

        A store outside the database has put it already, and takes it back.
        """
        one = session(auth, users["ann"])
        await undone(auth, await store.put(one))
        await store.undo(one)
        assert not await alive(auth, store, "one")
        assert [] == list(await store.list(users["ann"]))

    async def test_list(self, auth: Auth, store: SessionStore, users: dict[str, str]) -> None:
        """A user's living sessions, the newest first, and nobody else's."""
        now = auth.now()
        for name, more in {
            "a": {},
            "b": {},
            "idle": {"idle_at": now},
            "expired": {"idle_at": now, "expires_at": now},
            "ended": {},
        }.items():
            await put(auth, store, users["ann"], name, **more)
        await put(auth, store, users["bob"], "c")
        await end(auth, store, "ended")
        assert ["b", "a"] == [each.id for each in await store.list(users["ann"])]
        assert ["c"] == [each.id for each in await store.list(users["bob"])]
        assert [] == list(await store.list("nobody"))

    async def test_who_makes_room(
        self, auth: Auth, store: SessionStore, users: dict[str, str]
    ) -> None:
        """Those not used for longest, of logins for a login, and of siblings for a sibling (S-7)."""
        now = auth.now()
        for name, ago in (("b", 30), ("a", 50), ("c", 10), ("ended", 90)):
            await put(auth, store, users["ann"], name, rotated_at=now - ago)
        await put(auth, store, users["ann"], "over", idle_at=now, rotated_at=now - 90)
        for name in ("child", "young"):
            await put(auth, store, users["ann"], name, parent_id="c", rotated_at=now)
        await put(auth, store, users["ann"], "nephew", parent_id="a", rotated_at=now - 90)
        await put(auth, store, users["bob"], "his", rotated_at=now - 90)
        await end(auth, store, "ended")
        login = session(auth, users["ann"], "new", rotated_at=now)
        for most, expected in ((1, ["c", "b", "a"]), (2, ["b", "a"]), (3, ["a"]), (4, []), (9, [])):
            assert expected == await crowding(auth, store, login, most)
        sibling = replace(login, id="third", parent_id="c")
        assert 1 == len(await crowding(auth, store, sibling, 2))
        assert [] == await crowding(auth, store, sibling, 3)

    async def test_change(self, auth: Auth, store: SessionStore, users: dict[str, str]) -> None:
        """It replaces what use, a step-up or a new credential changes, of that session alone."""
        one = await put(auth, store, users["ann"])
        other = await put(auth, store, users["ann"], "other")
        now = auth.now()
        changed = replace(
            one,
            generation=one.generation + 1,
            rotated_at=now,
            idle_at=now + 150,
            auth_time=now,
            second_at=None,
            amr=("hwk", "mfa"),
        )
        await committed(auth, await store.change(changed, one.generation))
        assert [changed, other] == [await store.get("one"), await store.get("other")]

    async def test_change_of_what_changed(
        self, auth: Auth, store: SessionStore, users: dict[str, str]
    ) -> None:
        """Under another generation, after the end, or of nothing, a change is a conflict."""
        one = await put(auth, store, users["ann"])
        for generation in (one.generation - 1, one.generation + 1):
            with pytest.raises(Conflict):
                await committed(auth, await store.change(replace(one, amr=("x",)), generation))
        with pytest.raises(Conflict):
            await committed(auth, await store.change(replace(one, id="none"), one.generation))
        assert one == await store.get("one")
        await end(auth, store, "one")
        with pytest.raises(Conflict):
            await committed(auth, await store.change(one, one.generation))
        assert not await alive(auth, store, "one")

    async def test_change_that_comes_to_nothing(
        self, auth: Auth, store: SessionStore, users: dict[str, str]
    ) -> None:
        """Where the write of a change fails, the session is as it was, and can be changed."""
        one = await put(auth, store, users["ann"])
        changed = replace(one, generation=one.generation + 1, amr=("hwk",))
        await undone(auth, await store.change(changed, one.generation))
        await store.undo(changed, one)
        assert one == await store.get("one")
        await committed(auth, await store.change(changed, one.generation))
        assert changed == await store.get("one")

    async def test_change_after_the_end(
        self, auth: Auth, store: SessionStore, users: dict[str, str]
    ) -> None:
        """A change whose write comes after that of an end is a conflict."""
        one = await put(auth, store, users["ann"])
        changing = await store.change(replace(one, amr=("hwk",)), one.generation)
        await end(auth, store, "one")
        with pytest.raises(Conflict):
            await committed(auth, changing)
        assert not await alive(auth, store, "one")

    async def test_fifty_changes_at_once(
        self, auth: Auth, store: SessionStore, users: dict[str, str]
    ) -> None:
        """One wins, and the others conflict: nobody overwrites what they never saw."""
        one = await put(auth, store, users["ann"])

        async def change(number: int) -> int:
            changed = replace(one, generation=one.generation + 1, amr=(str(number),))
            await committed(auth, await store.change(changed, one.generation))
            return number

        results = await together(map(change, range(50)))
        won = [result for result in results if isinstance(result, int)]
        assert (1, 49) == (len(won), sum(isinstance(r, Conflict) for r in results))
        found = await store.get("one")
        assert found is not None
        assert (one.generation + 1, (str(won[0]),)) == (found.generation, found.amr)

    async def test_rotate(self, auth: Auth, store: SessionStore, users: dict[str, str]) -> None:
        """It raises the generation and moves the idle end, at most to the absolute one."""
        now = auth.now()
        for name, expires_at in (("far", now + 10**9), ("near", now + 200)):
            one = await put(auth, store, users["ann"], name, expires_at=expires_at)
            expected = replace(
                one,
                generation=one.generation + 1,
                rotated_at=now,
                idle_at=min(now + auth.config.tokens.idle, expires_at),
            )
            assert expected == await store.rotate(name, one.generation, now)
            assert expected == await store.get(name)

    async def test_rotates_once_per_window(
        self, auth: Auth, store: SessionStore, clock: Clock, users: dict[str, str]
    ) -> None:
        """Within the window nothing moves, so that two tabs get the same answer (K-10)."""
        one = await put(auth, store, users["ann"])
        window = auth.config.tokens.window
        first = await store.rotate("one", one.generation, auth.now())
        assert first is not None
        for seconds in (0, window - 1):
            assert await store.rotate("one", first.generation, auth.now() + seconds) is None
        assert first == await store.get("one")
        clock.advance(window)
        again = await store.rotate("one", first.generation, auth.now())
        assert again is not None
        assert first.generation + 1 == again.generation

    @pytest.mark.parametrize(
        ("spent", "more"),
        [
            (1, {}),
            (-1, {}),
            (0, {"rotated_at": -1}),
            (0, {"rotated_at": 3600}),
            (0, {"idle_at": 0}),
            (0, {"idle_at": 0, "expires_at": 0}),
        ],
        ids=["spent", "from a backup", "in the window", "clock was ahead", "idle", "expired"],
    )
    async def test_does_not_rotate(
        self,
        auth: Auth,
        store: SessionStore,
        users: dict[str, str],
        spent: int,
        more: dict[str, int],
    ) -> None:
        """Another generation, a rotation just now, an end that has come: None, and nothing moves."""
        now = auth.now()
        times: dict[str, Any] = {name: now + at for name, at in more.items()}
        one = await put(auth, store, users["ann"], **times)
        assert await store.rotate("one", one.generation - spent, now) is None
        # A store may forget what has ended.
        assert await store.get("one") in ((one,) if one.alive(now) else (one, None))

    async def test_fifty_rotations_at_once(
        self, auth: Auth, store: SessionStore, users: dict[str, str]
    ) -> None:
        """One wins, and the others get None (S-8)."""
        one, now = await put(auth, store, users["ann"]), auth.now()
        results = await together(store.rotate("one", one.generation, now) for _ in range(50))
        won = [result for result in results if result is not None]
        assert [await store.get("one")] == won
        assert isinstance(won[0], Session)
        assert one.generation + 1 == won[0].generation

    async def test_rotation_that_nobody_waits_for(
        self, auth: Auth, store: SessionStore, clock: Clock, users: dict[str, str]
    ) -> None:
        """A client that hangs up in the middle leaves one generation or the next, and no lock."""
        sessions = [await put(auth, store, users["ann"], f"s{n}") for n in range(20)]
        await give_up(store.rotate(one.id, one.generation, auth.now()) for one in sessions)
        clock.advance(auth.config.tokens.window)
        for one in sessions:
            found = await store.get(one.id)
            assert found is not None
            assert found.generation - one.generation in (0, 1)
            again = await store.rotate(one.id, found.generation, auth.now())
            assert again is not None
            assert found.generation + 1 == again.generation

    async def test_answers_that_nobody_waits_for(
        self, auth: Auth, store: SessionStore, users: dict[str, str]
    ) -> None:
        """Whoever hangs up in the middle never leaves an answer to somebody else."""
        names = [f"s{n}" for n in range(20)]
        for name in names:
            await put(auth, store, users["ann"], name)
        for _ in range(5):
            found = await give_up(store.get(name) for name in names)
            answered = [(n, s) for n, s in zip(names, found, strict=True) if isinstance(s, Session)]
            assert [name for name, _ in answered] == [session.id for _, session in answered]
            assert names == [s.id for name in names if (s := await store.get(name)) is not None]

    async def test_end_of_its_time(
        self, auth: Auth, store: SessionStore, clock: Clock, users: dict[str, str]
    ) -> None:
        """A session whose idle or absolute end has come is no session any more."""
        now = auth.now()
        await put(auth, store, users["ann"], "idle", idle_at=now + 100)
        await put(auth, store, users["ann"], "old", idle_at=now + 200, expires_at=now + 200)
        for seconds, left in ((99, ["old", "idle"]), (1, ["old"]), (99, ["old"]), (1, [])):
            clock.advance(seconds)
            assert left == [one.id for one in await store.list(users["ann"])]
            for name in ("idle", "old"):
                assert (name in left) == await alive(auth, store, name)
        assert await store.rotate("idle", 3, auth.now()) is None

    async def test_ended_sessions_stay_ended(
        self, auth: Auth, store: SessionStore, clock: Clock, users: dict[str, str]
    ) -> None:
        """Nothing revives one: no rotation, no change, no second end."""
        one = await put(auth, store, users["ann"])
        other = await put(auth, store, users["ann"], "other")
        for _ in range(2):
            await end(auth, store, "one")
            assert not await alive(auth, store, "one")
            assert await store.rotate("one", one.generation, auth.now()) is None
            clock.advance(auth.config.tokens.window)
        assert other == await store.get("other")
        assert ["other"] == [each.id for each in await store.list(users["ann"])]
        await end(auth, store, "none")

    async def test_end_that_comes_to_nothing(
        self, auth: Auth, store: SessionStore, users: dict[str, str]
    ) -> None:
        """Statements that end a session end it with the write that they join, and not before."""
        one = await put(auth, store, users["ann"])
        for statements in (
            await store.end("one"),
            await store.end_all(users["ann"], keep=None, below_epoch=2),
        ):
            await undone(auth, statements)
            await settled(store, auth.revocations)
            assert one == await store.get("one")
        await end(auth, store, "one")
        assert not await alive(auth, store, "one")

    async def test_end_among_rotations(
        self, auth: Auth, store: SessionStore, users: dict[str, str]
    ) -> None:
        """However an end and fifty rotations fall, the session has ended afterwards."""
        one, now = await put(auth, store, users["ann"]), auth.now()
        rotations = [store.rotate("one", one.generation, now) for _ in range(50)]
        results = await together([*rotations[:25], end(auth, store, "one"), *rotations[25:]])
        assert [] == [result for result in results if isinstance(result, BaseException)]
        assert not await alive(auth, store, "one")
        generations = [one.generation, one.generation + 1]
        late = now + auth.config.tokens.window
        assert [None, None] == [await store.rotate("one", each, late) for each in generations]

    async def test_children_end_with_their_parent(
        self, auth: Auth, store: SessionStore, users: dict[str, str]
    ) -> None:
        """And a parent does not end with its child."""
        for name, parent in (("one", None), ("child", "one"), ("late", "one"), ("other", None)):
            await put(auth, store, users["ann"], name, parent_id=parent)
        await end(auth, store, "late")
        assert ["other", "one", "child"] == [s.id for s in await store.list(users["ann"])]
        await end(auth, store, "one")
        assert ["other"] == [each.id for each in await store.list(users["ann"])]
        assert not await alive(auth, store, "child")

    async def test_child_of_an_ended_parent(
        self, auth: Auth, store: SessionStore, users: dict[str, str]
    ) -> None:
        """It comes too late: a conflict, and no session."""
        await put(auth, store, users["ann"])
        await end(auth, store, "one")
        with pytest.raises(Conflict):
            await put(auth, store, users["ann"], "child", parent_id="one")
        assert not await alive(auth, store, "child")

    async def test_child_that_goes_on_alone(
        self, auth: Auth, store: SessionStore, users: dict[str, str]
    ) -> None:
        """A change may take it from its parent, but not once that has ended."""
        await put(auth, store, users["ann"])
        late = await put(auth, store, users["ann"], "late", parent_id="one")
        child = await put(auth, store, users["ann"], "child", parent_id="one")
        alone = replace(child, parent_id=None)
        await committed(auth, await store.change(alone, child.generation))
        assert alone == await store.get("child")
        changing = await store.change(replace(late, parent_id=None), late.generation)
        await end(auth, store, "one")
        with pytest.raises(Conflict):
            await committed(auth, changing)
        await store.undo(replace(late, parent_id=None), late)
        assert ["child"] == [each.id for each in await store.list(users["ann"])]
        assert not await alive(auth, store, "late")

    async def test_end_all(self, auth: Auth, store: SessionStore, users: dict[str, str]) -> None:
        """What was made under an older epoch ends, but for one that is kept; nobody else's does."""
        for name, user, epoch in (
            ("old", "ann", 1),
            ("older", "ann", 0),
            ("kept", "ann", 1),
            ("new", "ann", 2),
            ("theirs", "bob", 1),
        ):
            await put(auth, store, users[user], name, epoch=epoch)
        await end_all(auth, store, users["ann"], keep="kept", below_epoch=2)
        assert {"kept", "new"} == {each.id for each in await store.list(users["ann"])}
        assert ["theirs"] == [each.id for each in await store.list(users["bob"])]
        assert not await alive(auth, store, "old")
        await end_all(auth, store, users["ann"], keep=None, below_epoch=3)
        assert [] == list(await store.list(users["ann"]))
        assert await alive(auth, store, "theirs")

    async def test_what_ends_is_revoked(
        self, auth: Auth, store: SessionStore, users: dict[str, str]
    ) -> None:
        """Access tokens of what ended are refused from now on, and of nothing else (K-12)."""
        for name in ("one", "old", "kept"):
            await put(auth, store, users["ann"], name)
        await put(auth, store, users["ann"], "child", parent_id="one")
        await put(auth, store, users["ann"], "new", epoch=2)
        await put(auth, store, users["bob"], "theirs")
        await end(auth, store, "one")
        assert {"one", "child"} == await revoked(auth)
        await end_all(auth, store, users["ann"], keep="kept", below_epoch=2)
        assert {"one", "child", "old"} == await revoked(auth)

    async def test_store_that_is_down(
        self, auth: Auth, store: SessionStore, users: dict[str, str]
    ) -> None:
        """Whoever asks hears Unavailable, which is a 503: nobody is let in, or logged out (S-8)."""
        one, now = await put(auth, store, users["ann"]), auth.now()
        await self.down(store)
        with pytest.raises(Unavailable):
            await store.get("one")
        with pytest.raises(Unavailable):
            await store.rotate("one", one.generation, now)
        with pytest.raises(Unavailable):
            await store.list(users["ann"])
        with pytest.raises(Unavailable):
            await put(auth, store, users["ann"], "another")
        with pytest.raises(Unavailable):
            await end(auth, store, "one")


def session(auth: Auth, user_id: str, name: str = "one", **more: Any) -> Session:
    """A session of which every member has a value of its own."""
    now = auth.now()
    members: dict[str, Any] = {
        "epoch": 1,
        "generation": 3,
        "created_at": now - 300,
        "rotated_at": now - 100,
        "idle_at": now + LATER,
        "expires_at": now + 2 * LATER,
        "auth_time": now - 90,
        "second_at": now - 80,
        "amr": ("pwd", "otp"),
        "address": "192.0.2.1",
        "user_agent": "test",
    }
    return Session(id=name, user_id=user_id, **{**members, **more})


async def put(
    auth: Auth, store: SessionStore, user_id: str, name: str = "one", **more: Any
) -> Session:
    made = session(auth, user_id, name, **more)
    statements = await store.put(made)
    async with undoing(store, made):
        await committed(auth, statements)
    return made


async def crowding(auth: Auth, store: SessionStore, made: Session, most: int) -> list[str]:
    """Who has to make room, of a store that knows, or answers a query for it."""
    found = await store.crowding(made, most)
    if not isinstance(found, Statement):
        return list(found)
    [rows] = await auth.database.write(found)
    return [session_id for (session_id,) in rows]


async def end(auth: Auth, store: SessionStore, session_id: str) -> None:
    await committed(auth, await store.end(session_id))
    await settled(store, auth.revocations)


async def end_all(
    auth: Auth, store: SessionStore, user_id: str, *, keep: str | None, below_epoch: int
) -> None:
    await committed(auth, await store.end_all(user_id, keep=keep, below_epoch=below_epoch))
    await settled(store, auth.revocations)


async def alive(auth: Auth, store: SessionStore, session_id: str) -> bool:
    """A store may keep what ended, or forget it."""
    found = await store.get(session_id)
    return found is not None and found.alive(auth.now())


async def revoked(auth: Auth) -> set[str]:
    """Which of the tests' sessions this process refuses."""
    await auth.revocations.poll()
    found = set()
    for name in ("one", "child", "old", "kept", "new", "theirs"):
        try:
            auth.revocations.check(name)
        except Denied:
            found.add(name)
    return found
