"""Users: found by what they are called, made at one place, and never given another's name."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from picoauth import (
    AuthError,
    Caller,
    Conflict,
    Denied,
    Draft,
    Enrolment,
    Identifier,
    NoSettings,
    Plugin,
    Statement,
    User,
    UserRegistered,
    hookimpl,
    identifier,
    problems,
)
from picoauth.testing import Clock, Server
from tests.accounts import SETTINGS, accounts, heard, user_id
from tests.factors import count, join

NOW = 1_800_000_000
NAMES = ("Ann", "ann", "\uff21\uff4e\uff4e")  # the last in full width


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    """A server on which Ann is registered."""
    async with accounts(tmp_path) as server:
        yield server


async def register(server: Server, username: str | None = None, **more: Any) -> User:
    draft = server.auth.users.draft(username=username, **more)
    user, _ = await server.auth.users.register(draft)
    return user


async def with_email(server: Server, address: str, *, verified: bool) -> User:
    draft = server.auth.users.draft()
    found = identifier("email", address, verified=verified)
    user, _ = await server.auth.users.register(replace(draft, identifiers=[found]))
    return user


async def refused(server: Server, username: str) -> tuple[int, str]:
    with pytest.raises(AuthError) as error:
        await register(server, username)
    return error.value.problem.status, error.value.problem.code


async def test_register(server: Server) -> None:
    """A user is what the draft said, at the time it was made; `get` finds the same."""
    events = heard(server)
    draft = server.auth.users.draft(username="Bob", name="Bob B.", locale="de")
    caller = Caller("192.0.2.1", "curl", "r1")
    user, replies = await server.auth.users.register(draft, caller=caller)
    expected = User(draft.user_id, "Bob B.", "de", NOW, None, 0, None)
    assert (expected, {}) == (user, replies)
    assert expected == await server.auth.users.get(user.id)
    assert [Identifier("username", "bob", "Bob", verified=True)] == (
        await server.auth.users.identifiers(user.id)
    )
    await server.auth.events.settle()
    named = await server.auth.users.identifiers(user.id)
    expected_event = UserRegistered(
        at=NOW, user_id=user.id, identifiers=named, locale="de", caller=caller
    )
    assert [expected_event] == events


async def test_names_of_a_draft(server: Server) -> None:
    """Who says no name to show is shown by the user name, or not at all."""
    draft = server.auth.users.draft
    assert ["Bob", "B.", ""] == [
        draft(username="Bob").name,
        draft(username="Bob", name="B.").name,
        draft().name,
    ]
    assert [] == draft().identifiers
    with pytest.raises(AuthError, match=r"^invalid_username$"):
        draft(username="")


async def test_ids_are_opaque_and_sort_by_time(server: Server) -> None:
    """An id says when it was made, and has 120 random bits (K-7)."""
    ids = []
    for _ in range(20):
        ids.append(server.auth.users.new_id())
        server.clock.advance(1)
    assert ids == sorted(ids)
    raw = [base64.b32hexdecode(made.upper()) for made in ids]
    assert [(NOW + n, 20) for n in range(20)] == [
        (int.from_bytes(made[:5], "big"), len(made)) for made in raw
    ]
    assert 20 == len({made[5:] for made in raw})


async def test_fifty_register_one_name(server: Server) -> None:
    """Fifty at once, in three spellings: one has the name, the others are told (P-9)."""
    names = ["Bob", "bob", "\uff22\uff4f\uff42"] * 17
    results = await asyncio.gather(
        *(register(server, name) for name in names[:50]), return_exceptions=True
    )
    errors = [result for result in results if isinstance(result, AuthError)]
    assert (1, 49) == (len(results) - len(errors), len(errors))
    assert {(409, "username_taken")} == {(e.problem.status, e.problem.code) for e in errors}
    assert (2, 2) == (await count(server, "users"), await count(server, "identifiers"))


@pytest.mark.parametrize("name", NAMES)
async def test_spellings_find_one_user(server: Server, name: str) -> None:
    """Each spelling finds the user, and is taken."""
    assert await user_id(server) == await user_id(server, name)
    assert (409, "username_taken") == await refused(server, name)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("username", "nobody"),
        ("username", "a b"),
        ("email", "ann"),
        ("url", "ann"),
        ("ldap", "ann"),
    ],
)
async def test_who_is_nobody(server: Server, kind: str, text: str) -> None:
    """A text of no user, or of no user of that kind, finds nobody; also one that cannot be one."""
    assert await server.auth.users.find(kind, text) is None


async def test_missing_user(server: Server) -> None:
    """An id of nobody is None to `get`, and an error to `require`."""
    assert await server.auth.users.get("nobody") is None
    assert await server.auth.users.username("nobody") is None
    with pytest.raises(AuthError, match=r"^not_found$"):
        await server.auth.users.require("nobody")
    ann = await server.auth.users.get(await user_id(server))
    assert ann is not None
    assert ann == await server.auth.users.require(ann.id)


async def test_unverified_address_finds_and_blocks_nobody(server: Server) -> None:
    """Anyone may say any address: until it is verified it is nobody's, and everybody's."""
    users = [await with_email(server, "bob@example.org", verified=False) for _ in range(2)]
    assert await server.auth.users.find("email", "bob@example.org") is None
    owner = await with_email(server, "Bob@Example.org", verified=True)
    assert owner == await server.auth.users.find("email", "bob@example.org")
    late = await with_email(server, "bob@example.org", verified=False)
    assert owner == await server.auth.users.find("email", "bob@example.org")
    for user in (*users, late):
        expected = [Identifier("email", "bob@example.org", "bob@example.org", verified=False)]
        assert expected == await server.auth.users.identifiers(user.id)


async def test_verified_address_is_unique(server: Server) -> None:
    """A verified address has one owner, in whatever spelling, also of fifty at once."""
    results = await asyncio.gather(
        *(with_email(server, "Bob@bücher.example", verified=True) for _ in range(25)),
        *(with_email(server, "bob@xn--bcher-kva.example", verified=True) for _ in range(25)),
        return_exceptions=True,
    )
    errors = [result for result in results if isinstance(result, AuthError)]
    assert 49 == len(errors)
    assert {(409, "identifier_taken")} == {(e.problem.status, e.problem.code) for e in errors}
    assert 2 == await count(server, "users")


async def test_verifying_an_address_that_has_an_owner(server: Server) -> None:
    """The index decides who owns an address, whatever statement makes it verified."""
    await with_email(server, "bob@example.org", verified=True)
    await with_email(server, "bob@example.org", verified=False)
    with pytest.raises(Conflict):
        await server.auth.database.write(Statement("update identifiers set verified_at = 1"))


async def test_url_is_an_identifier(server: Server) -> None:
    """A web address finds its user in whatever spelling of the host."""
    draft = server.auth.users.draft()
    url = identifier("url", "https://Bob.Example", verified=True)
    user, _ = await server.auth.users.register(replace(draft, identifiers=[url]))
    assert user == await server.auth.users.find("url", "HTTPS://bob.example:443/")
    assert await server.auth.users.username(user.id) is None


async def gone(server: Server, how: str) -> None:
    """Let Ann give up her name."""
    ann = await user_id(server)
    if how == "deleted":
        await server.auth.accounts.delete(ann, Caller())
    else:
        await server.auth.accounts.change(ann, {"username": "anna"}, Caller())


@pytest.mark.parametrize("how", ["deleted", "renamed"])
@pytest.mark.parametrize("name", NAMES)
async def test_name_never_comes_back(server: Server, how: str, name: str) -> None:
    """A name that was given up belongs to nobody again, in no spelling, by no way."""
    await gone(server, how)
    assert await server.auth.users.find("username", name) is None
    assert (409, "username_taken") == await refused(server, name)
    bob = await register(server, "bob")
    with pytest.raises(AuthError, match=r"^username_taken$"):
        await server.auth.accounts.change(bob.id, {"username": name}, Caller())
    assert "bob" == await server.auth.users.username(bob.id)


@pytest.mark.parametrize("how", ["deleted", "renamed"])
async def test_name_never_comes_back_under_a_new_secret(tmp_path: Path, how: str) -> None:
    """The keyed hash of a retired name is found under the secret before, too."""
    async with accounts(tmp_path) as server:
        await gone(server, how)
    (tmp_path / "picoauth.secret").rename(tmp_path / "old")
    (tmp_path / "new").write_bytes(base64.b64encode(hashlib.sha256(b"new").digest()))
    (tmp_path / "new").chmod(0o600)
    listed = f'secret = [{{ file = "new" }}, {{ file = "old" }}]\n{SETTINGS}'
    async with accounts(tmp_path, listed, name="bob", clock=Clock(NOW)) as server:
        assert (409, "username_taken") == await refused(server, "ann")
        await server.auth.accounts.delete(await user_id(server, "bob"), Caller())
        assert (409, "username_taken") == await refused(server, "bob")


async def test_retired_name_is_not_readable(server: Server) -> None:
    """What is kept of a name is a keyed hash, and when."""
    await gone(server, "deleted")
    rows = await server.auth.database.read("select hash, retired_at from retired_names")
    key = next(iter(server.auth.secrets.derive("retired name").values()))
    digest = hashlib.sha256(b"username ann").digest()
    [(hashed, retired_at)] = rows
    assert (32, NOW) == (len(hashed), retired_at)
    assert hashed not in (digest, key)


async def test_retired_name_may_be_released(server: Server) -> None:
    """An administrator may hand a name out again by removing its row."""
    await gone(server, "deleted")
    await server.auth.database.write(Statement("delete from retired_names"))
    assert "ann" == (await register(server, "ann")).name


async def test_address_is_not_retired(server: Server) -> None:
    """An e-mail address may get another owner: mailboxes do."""
    user = await with_email(server, "bob@example.org", verified=True)
    await server.auth.accounts.delete(user.id, Caller())
    other = await with_email(server, "bob@example.org", verified=True)
    assert other == await server.auth.users.find("email", "bob@example.org")


async def test_enrolments(server: Server) -> None:
    """Enrolments are listed by age, with what is known of each."""
    user = await register(server, "bob")
    users = server.auth.users
    first = users.enrolment(user.id, "key", "My key")
    assert (("key", "My key"), NOW) == ((first.factor, first.label), first.confirmed_at)
    server.clock.advance(1)
    second = Enrolment(users.new_id(), user.id, "code")
    await server.auth.database.write(users.enrolling(second), users.enrolling(first))
    assert [first, second] == await users.enrolments(user.id)


async def test_registration_is_one_write(server: Server) -> None:
    """Where a statement of the plugin's fails, there is no user, no name, and no enrolment."""
    draft = server.auth.users.draft(username="bob")
    enrolment = server.auth.users.enrolment(draft.user_id, "key")
    failing = Statement("delete from users where id = 'nobody'", rows=1)
    with pytest.raises(Conflict) as conflict:
        await server.auth.users.register(draft, [failing], enrolments=[enrolment])
    assert 3 == conflict.value.index
    assert await server.auth.users.find("username", "bob") is None
    assert (1, 1, 1) == (
        await count(server, "users"),
        await count(server, "identifiers"),
        await count(server, "enrolments"),
    )


async def test_same_draft_twice(server: Server) -> None:
    """A draft makes one user, however often it is written: a second time is a conflict."""
    draft = server.auth.users.draft(username="bob")
    await server.auth.users.register(draft)
    with pytest.raises(Conflict) as conflict:
        await server.auth.users.register(replace(draft, identifiers=[]))
    assert 0 == conflict.value.index


class Picky(Plugin[NoSettings]):
    """Lets nobody in who is called Mallory."""

    @hookimpl
    async def check_registration(self, draft: Draft) -> None:
        if draft.name == "mallory":
            raise Denied(problems.REFUSED)


async def test_plugins_may_refuse(tmp_path: Path) -> None:
    """What `check_registration` refuses is not written, and no event says it was."""
    settings = SETTINGS.replace("watched", "picky")
    async with accounts(tmp_path, settings, picky=Picky) as server:
        events = heard(server)
        with pytest.raises(Denied, match=r"^refused$"):
            await register(server, "mallory")
        await server.auth.events.settle()
        assert ([], 1) == (events, await count(server, "users"))
        assert "bob" == (await join(server, "bob")).name
