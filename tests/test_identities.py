"""Identifiers beside the user name: who gets one, who loses one, and what races about it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from pathlib import Path
from typing import Any

import pytest

from picoauth import (
    AuthError,
    Caller,
    Conflict,
    Identifier,
    IdentifierVerified,
    Problem,
    Statement,
    User,
    identifier,
)
from picoauth.testing import Server
from tests.accounts import accounts, cut, login, user_id
from tests.factors import join

CALLER = Caller("192.0.2.1")
WRONG = Problem(400, "wrong", "Wrong.")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    """A server on which Ann and Bob are registered."""
    async with accounts(tmp_path) as server:
        await join(server, "bob")
        yield server


def email(text: str, *, verified: bool = False) -> Identifier:
    return identifier("email", text, verified=verified)


OLD, NEW, URL = email("Ann@example.com"), email("ann@example.org"), "https://ann.example/"


async def user(server: Server, name: str = "ann") -> User:
    return await server.auth.users.require(await user_id(server, name))


async def add(server: Server, which: Identifier = OLD, name: str = "ann", **more: Any) -> None:
    await server.auth.identities.add(await user(server, name), which, [], CALLER, **more)


async def verify(
    server: Server, which: Identifier = OLD, name: str = "ann", **more: Any
) -> dict[str, Any]:
    whose = more.pop("user", None) or await user(server, name)
    statements = more.pop("statements", [])
    return await server.auth.identities.verify(whose, which, statements, CALLER, **more)


async def added_and_verified(server: Server, which: Identifier = OLD, name: str = "ann") -> None:
    await add(server, which, name)
    await verify(server, which, name)


async def restore(server: Server, old: Identifier = OLD, *statements: Statement) -> None:
    ann = await user_id(server)
    await server.auth.accounts.restore(ann, old, statements, CALLER)


async def known(server: Server, name: str = "ann") -> dict[str, bool]:
    """What the user has beside the user name, and whether it is verified."""
    found = await server.auth.users.identifiers(await user_id(server, name))
    return {one.display: one.verified for one in found if one.kind != "username"}


async def refused(doing: Awaitable[Any]) -> str:
    with pytest.raises(AuthError) as caught:
        await doing
    return caught.value.problem.code


async def sessions(server: Server) -> list[str]:
    return [one.id for one in await server.auth.sessions.list(await user_id(server))]


async def raised(server: Server, before: User) -> int:
    return (await user(server)).epoch - before.epoch


def taking(server: Server, secret: str) -> Statement:
    return server.auth.tickets.taking("test", secret)


async def ticket(server: Server) -> str:
    secret, issuing = server.auth.tickets.issue("test", {}, expires_at=server.auth.now() + 60)
    await server.auth.database.write(issuing)
    return secret


# One user


async def test_added(server: Server) -> None:
    """It stands beside what finds the user, finds nobody, and leaves logins under way alone."""
    before = await user(server)
    await add(server)
    assert {"Ann@example.com": False} == await known(server)
    assert await server.auth.users.find("email", "ann@example.com") is None
    assert 0 == await raised(server, before)


async def test_one_of_a_kind(server: Server) -> None:
    """A user has one unverified identifier of a kind, the last; also of those added at once."""
    await add(server, identifier("url", URL, verified=False))
    for which in (OLD, NEW, NEW):
        await add(server, which)
    assert {NEW.display: False, URL: False} == await known(server)
    await asyncio.gather(*(add(server, email(f"{n}@example.com")) for n in range(50)))
    assert 2 == len(await known(server))


async def test_verified(server: Server) -> None:
    """It finds the user; logins under way come to nothing, sessions go on."""
    await login(server)
    [session_id], before = await sessions(server), await user(server)
    await added_and_verified(server)
    assert {"Ann@example.com": True} == await known(server)
    found = await server.auth.users.find("email", "ANN@example.com")
    assert found is not None
    assert (found.id, 1) == (before.id, await raised(server, before))
    assert [session_id] == await sessions(server)


async def test_verified_by_a_session(server: Server) -> None:
    """A first one ends no session; one that replaces another ends all but the one it came by."""
    await login(server)
    await login(server)
    first, second = await sessions(server)
    await add(server)
    tokens = await verify(server, session_id=first)
    assert first == server.auth.tokens.check(tokens["access_token"]).session_id
    assert {first, second} == set(await sessions(server))
    await add(server, NEW)
    await verify(server, NEW, session_id=first, replacing=OLD)
    assert [first] == await sessions(server)
    assert {NEW.display: True} == await known(server)
    assert [False, True] == [one.replaced for one in server.events.of(IdentifierVerified)]


async def test_only_what_was_added(server: Server) -> None:
    """What the user never added, has verified or has replaced meanwhile is verified by nothing."""
    assert "not_found" == await refused(verify(server))
    await added_and_verified(server)
    assert "wrong" == await refused(verify(server, refused=WRONG))
    await add(server, NEW)
    await add(server, email("third@example.com"))
    assert "not_found" == await refused(verify(server, NEW))
    assert "not_found" == await refused(verify(server, email("third@example.com"), replacing=NEW))


async def test_removed(server: Server) -> None:
    """Sessions end with a verified one; what is gone cannot be removed again."""
    await login(server)
    await login(server)
    first, _ = await sessions(server)
    await added_and_verified(server)
    await add(server, NEW)

    async def remove(*gone: Identifier) -> None:
        ann = await user(server)
        await server.auth.identities.remove(ann, gone, [], CALLER, session_id=first)

    await remove(NEW)
    assert 2 == len(await sessions(server))
    old = email(OLD.display, verified=True)
    await remove(old)
    assert ([first], {}) == (await sessions(server), await known(server))
    assert "not_found" == await refused(remove(old))


async def test_restored(server: Server) -> None:
    """The old one finds the user again, every other of its kind is gone, every session ended."""
    await login(server)
    await add(server, identifier("url", URL, verified=False))
    await added_and_verified(server, NEW)
    await add(server, email("third@example.com"))
    before = await user(server)
    await restore(server)
    assert {OLD.display: True, URL: False} == await known(server)
    assert ([], 1) == (await sessions(server), await raised(server, before))


# Others


@pytest.mark.parametrize("first", ["disable", "delete", "logout_from_all", "rename"])
async def test_account_that_changed(server: Server, first: str) -> None:
    """What was read of the account before holds no more: nothing is added, nothing verified."""
    await add(server)
    before = await user(server)
    accounts: Any = server.auth.accounts
    if first == "rename":
        await accounts.change(before.id, {"username": "anna"}, CALLER)
    else:
        await getattr(accounts, first)(before.id, CALLER)
    gone = first == "delete"
    assert ("not_found" if gone else "start_over") == await refused(verify(server, user=before))
    adding = server.auth.identities.add(before, NEW, [], CALLER)
    assert "start_over" == await refused(adding)
    rows = await server.auth.database.read(
        "select value, verified_at from identifiers where kind = 'email'"
    )
    assert ([] if gone else [(OLD.value, None)]) == rows


async def test_disabled_user(server: Server) -> None:
    """Not under the newest epoch either."""
    await add(server)
    await server.auth.accounts.disable(await user_id(server), CALLER)
    assert "start_over" == await refused(verify(server))
    assert "start_over" == await refused(add(server, NEW))


async def test_fifty_verify_one(server: Server) -> None:
    """Of fifty accounts at once one gets it; the others hear what a wrong ticket does, and keep theirs."""
    names = [f"user{n}" for n in range(50)]
    for name in names:
        await join(server, name)
        await add(server, OLD, name)
    tickets = [await ticket(server) for _ in names]
    doing = (
        verify(server, OLD, name, statements=[taking(server, secret)], refused=WRONG)
        for name, secret in zip(names, tickets, strict=True)
    )
    results = await asyncio.gather(*doing, return_exceptions=True)
    codes = [one.problem.code for one in results if isinstance(one, AuthError)]
    assert ["wrong"] * 49 == codes
    sql = "select count(*) from identifiers where verified_at is not null and kind = 'email'"
    assert [(1,)] == await server.auth.database.read(sql)
    left = [secret for secret in tickets if await server.auth.tickets.look("test", secret)]
    assert 49 == len(left)


async def test_fifty_by_one_ticket(server: Server) -> None:
    """One ticket verifies once."""
    await add(server)
    secret, ann = await ticket(server), await user(server)
    doing = (verify(server, user=ann, statements=[taking(server, secret)]) for _ in range(50))
    results = await asyncio.gather(*doing, return_exceptions=True)
    assert 1 == sum(isinstance(one, dict) for one in results)
    assert {"not_found"} == {one.problem.code for one in results if isinstance(one, AuthError)}


async def test_restored_while_verified(server: Server) -> None:
    """Whichever comes first: in the end the old one stands, and the new one is gone."""
    for n in range(20):
        await added_and_verified(server) if n == 0 else None
        new = email(f"new{n}@example.com")
        await add(server, new)
        secret = await ticket(server)
        doing: Sequence[Awaitable[Any]] = [
            verify(server, new, replacing=OLD),
            restore(server, OLD, taking(server, secret)),
        ]
        results = await asyncio.gather(*doing[:: 1 if n % 2 else -1], return_exceptions=True)
        assert all(one is None or isinstance(one, AuthError | dict) for one in results)
        assert None in results
        assert {OLD.display: True} == await known(server)


async def test_restored_twice(server: Server) -> None:
    """A ticket takes back once."""
    secret = await ticket(server)
    await restore(server, OLD, taking(server, secret))
    await added_and_verified_over(server, NEW)
    assert "not_found" == await refused(restore(server, OLD, taking(server, secret)))
    assert {NEW.display: True} == await known(server)


async def added_and_verified_over(server: Server, new: Identifier) -> None:
    await add(server, new)
    await verify(server, new, replacing=OLD)


async def test_restored_to_somebody_elses(server: Server) -> None:
    """What another account verified since is that account's; nothing of this one changes."""
    await added_and_verified(server)
    await added_and_verified_over(server, NEW)
    await added_and_verified(server, OLD, "bob")
    secret = await ticket(server)
    assert "not_found" == await refused(restore(server, OLD, taking(server, secret)))
    assert ({NEW.display: True}, {OLD.display: True}) == (
        await known(server),
        await known(server, "bob"),
    )
    assert await server.auth.tickets.look("test", secret)


async def test_restored_of_nobody(server: Server) -> None:
    """A user who is gone has nothing to take back."""
    ann = await user_id(server)
    await server.auth.accounts.delete(ann, CALLER)
    restoring = server.auth.accounts.restore(ann, OLD, [], CALLER)
    assert "not_found" == await refused(restoring)


async def test_restored_in_the_end(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change between the look and the write does not keep the old one out; the ticket lasts."""
    require, others = server.auth.users.require, 3
    rise = Statement("update users set epoch = epoch + 1")

    async def overtaken(whose: str) -> User:
        nonlocal others
        found = await require(whose)
        if others:
            others -= 1
            await server.auth.database.write(rise)
        return found

    monkeypatch.setattr(server.auth.users, "require", overtaken)
    secret = await ticket(server)
    with pytest.raises(Conflict):
        await restore(server, OLD, taking(server, secret))
    others = 2
    await restore(server, OLD, taking(server, secret))
    assert {OLD.display: True} == await known(server)


@pytest.mark.parametrize("what", ["add", "verify", "remove", "restore"])
async def test_all_or_nothing(server: Server, what: str) -> None:
    """Whichever statement fails, nothing of the change is left."""
    await added_and_verified(server)
    await add(server, NEW)
    await login(server)
    [session_id] = await sessions(server)
    old = email(OLD.display, verified=True)
    tables = ("users", "identifiers", "sessions")

    async def state() -> list[Any]:
        return [await server.auth.database.read(f"select * from {table}") for table in tables]

    async def change() -> None:
        identities, ann = server.auth.identities, await user(server)
        if what == "add":
            await identities.add(ann, email("third@example.com"), [], CALLER)
        elif what == "verify":
            await identities.verify(ann, NEW, [], CALLER, session_id=session_id, replacing=old)
        elif what == "remove":
            await identities.remove(ann, [old, NEW], [], CALLER, session_id=session_id)
        else:
            await server.auth.accounts.restore(ann.id, OLD, [], CALLER)

    before = await state()
    with cut(server) as database:
        while database.after <= database.written:
            with pytest.raises((AuthError, Conflict)):
                await change()
            assert before == await state()
            database.after += 1
    assert 3 <= database.written
    await change()
    assert before != await state()


async def test_statements_of_the_caller(server: Server) -> None:
    """Where they come to nothing, nothing is done."""
    nothing = taking(server, "none")
    adding = server.auth.identities.add(await user(server), OLD, [nothing], CALLER)
    assert "start_over" == await refused(adding)
    assert {} == await known(server)
    await add(server)
    assert "not_found" == await refused(verify(server, statements=[nothing]))
    assert {OLD.display: False} == await known(server)


# By an administrator


async def test_assigned(server: Server) -> None:
    """The only one of its kind from now on; where a verified one goes, sessions end (E-4)."""
    ann, assign = await user_id(server, "ann"), server.auth.identities.assign
    tokens = await login(server)
    other = email("ann@example.net", verified=True)
    for new in (OLD, email("Ann@example.com", verified=True)):
        await assign(ann, "email", new, CALLER)
        found = [i for i in await server.auth.users.identifiers(ann) if i.kind == "email"]
        assert [new] == found
    assert 200 == (await server.get("/auth/me", token=tokens["access_token"])).status_code
    await assign(ann, "email", other, CALLER)
    assert 401 == (await server.get("/auth/me", token=tokens["access_token"])).status_code
    await assign(ann, "email", None, CALLER)
    names = ["IdentifierAdded", "IdentifierVerified", "IdentifierVerified", "IdentifierRemoved"]
    told = [e for e in server.events if type(e).__name__ in names]
    assert names == [type(event).__name__ for event in told]
    assert {CALLER} == {event.caller for event in told}
    with pytest.raises(AuthError) as refusal:
        await assign(ann, "email", None, CALLER)
    assert "not_found" == refusal.value.problem.code


async def test_assigned_what_is_taken(server: Server) -> None:
    """Of fifty users to whom one verified address is given at once, one has it."""
    ann, bob = await user_id(server, "ann"), await user_id(server, "bob")
    new = email("shared@example.com", verified=True)

    async def give(number: int) -> str:
        try:
            await server.auth.identities.assign((ann, bob)[number % 2], "email", new, CALLER)
        except AuthError as error:
            return error.problem.code
        except Conflict:
            return "conflict"
        return "given"

    outcomes = await asyncio.gather(*(give(number) for number in range(50)))
    assert {"given", "identifier_taken", "conflict"} >= set(outcomes)
    assert "given" in outcomes
    owners = await server.auth.database.read(
        "select user_id from identifiers where kind = 'email' and value = 'shared@example.com'"
    )
    assert 1 == len(owners)
    assert "not_found" == await unknown(server, new)


async def unknown(server: Server, new: Identifier) -> str:
    with pytest.raises(AuthError) as refusal:
        await server.auth.identities.assign("nobody", "email", new, CALLER)
    return refusal.value.problem.code


async def test_withdrawn_factor(server: Server) -> None:
    """An administrator takes a factor from its user alone, and of fifty at once one does."""
    ann, bob = await user_id(server, "ann"), await user_id(server, "bob")
    withdraw = server.auth.credentials.withdraw_factor
    [pin, *_] = await server.auth.users.enrolments(ann)
    tokens = await login(server)

    async def take(owner: str) -> str:
        try:
            await withdraw(owner, pin.id, CALLER)
        except AuthError as error:
            return error.problem.code
        except Conflict:
            return "conflict"
        return "taken"

    assert "not_found" == await take(bob)
    outcomes = await asyncio.gather(*(take(ann) for _ in range(50)))
    assert 1 == outcomes.count("taken")
    assert {"taken", "not_found", "conflict"} >= set(outcomes)
    assert 401 == (await server.get("/auth/me", token=tokens["access_token"])).status_code
