"""The directory of users: found, listed and counted, however many there are."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

import pytest

from picoauth import AuthError, Caller, Directory, Query, Statement, directory, identifier
from picoauth.directory import LOOK
from picoauth.running import user_of
from picoauth.testing import Server
from picoauth.ways import LARGEST, LAST, way_of

ALL = Query()
NAMES = ("ann", "annette", "bob", "cid", "dora")
IDENTIFIER = (
    "insert into identifiers (user_id, kind, value, display, verified_at) values (?, ?, ?, ?, ?)"
)


@pytest.fixture
def picoauth_settings() -> str:
    return 'plugins = ["password"]'


@pytest.fixture
async def server(picoauth_server: Server) -> Server:
    """With five users, a minute apart."""
    for name in NAMES:
        await picoauth_server.auth.users.register(picoauth_server.auth.users.draft(username=name))
        picoauth_server.clock.advance(60)
    return picoauth_server


def found_in(server: Server) -> Directory:
    return Directory(server.auth.database)


async def ids(server: Server) -> dict[str, str]:
    page = await found_in(server).page(ALL, after=None, limit=200)
    return {str(one.username): one.user.id for one in page.users}


async def test_id_that_somebody_has_as_a_name(server: Server) -> None:
    """An id means whose it is: whoever else takes it as a name is not found by it."""
    ann = (await ids(server))["ann"]
    impostor, _ = await server.auth.users.register(server.auth.users.draft(username=ann))
    assert impostor.id != ann == (await user_of(server.auth, ann)).id
    assert ann == (await user_of(server.auth, "ann")).id


async def add(server: Server, name: str, kind: str, text: str, *, verified: bool = True) -> None:
    made = identifier(kind, text, verified=verified)
    row = ((await ids(server))[name], kind, made.value, text, 1 if verified else None)
    await server.auth.database.write(Statement(IDENTIFIER, row))


async def enrol(server: Server, name: str, factor: str, *, confirmed: bool = True) -> None:
    enrolment = server.auth.users.enrolment((await ids(server))[name], factor)
    await server.auth.database.write(server.auth.users.enrolling(enrolment))
    if not confirmed:
        sql = "update enrolments set confirmed_at = null where id = ?"
        await server.auth.database.write(Statement(sql, (enrolment.id,)))


async def pages(server: Server, query: Query, limit: int = 200) -> list[list[str]]:
    """User names, page by page; each user comes once."""
    found, after, more = [], None, True
    while more:
        page = await found_in(server).page(query, after=after, limit=limit)
        assert len(page.users) <= limit
        found.append([str(one.username) for one in page.users])
        after, more = page.next, page.next is not None
    names = [name for page in found for name in page]
    assert len(names) == len(set(names)) == await found_in(server).count(query)
    return found


async def names(server: Server, **query: Any) -> list[str]:
    return [name for page in await pages(server, Query(**query)) for name in page]


async def test_pages(server: Server) -> None:
    """In the order in which they were made; a cursor goes on where the page before ended."""
    assert [[*NAMES]] == await pages(server, ALL)
    assert [["ann", "annette"], ["bob", "cid"], ["dora"]] == await pages(server, ALL, 2)
    assert [["ann", "annette", "bob", "cid", "dora"]] == await pages(server, ALL, 5)


async def test_cursors_are_stable(server: Server) -> None:
    """Who comes or goes meanwhile moves nobody from one page to another."""
    first = await found_in(server).page(ALL, after=None, limit=2)
    known = await ids(server)
    await server.auth.accounts.delete(known["ann"], Caller())
    await server.auth.accounts.delete(known["annette"], Caller())
    await server.auth.users.register(server.auth.users.draft(username="eve"))
    second = await found_in(server).page(ALL, after=first.next, limit=2)
    assert ["bob", "cid"] == [one.username for one in second.users]


async def test_search(server: Server) -> None:
    """By the beginning of any identifier, in any spelling, verified or not."""
    await add(server, "bob", "email", "Annual@Example.com")
    await add(server, "cid", "email", "cid@example.com", verified=False)
    await add(server, "dora", "url", "https://dora.example/Me")
    assert ["ann", "annette", "bob"] == await names(server, search="ANN")
    assert ["ann"] == await names(server, search="Ann", exact=True)
    assert ["bob"] == await names(server, search="annual@EXAM")
    assert ["bob"] == await names(server, search="annual@example.com", exact=True)
    assert ["cid"] == await names(server, search="Cid@example.COM")
    assert ["dora"] == await names(server, search="https://DORA")
    assert ["dora"] == await names(server, search="https://DORA.example/Me")
    assert ["dora"] == await names(server, search="HTTPS://dora.example/Me", exact=True)
    assert [] == await names(server, search="https://dora.example/me")
    assert [] == await names(server, search="an", exact=True)
    assert [] == await names(server, search="zoe")


async def test_user_with_several_identifiers(server: Server) -> None:
    """Comes once, wherever a page ends, and whatever kind is asked for."""
    await add(server, "ann", "email", "ann@example.com")
    await add(server, "ann", "ldap", "ann")
    await add(server, "annette", "email", "an@example.com")
    found = Query(search="an")
    assert [["annette"], ["ann"]] == await pages(server, found, 1)
    assert ["annette", "ann"] == await names(server, search="an", kind="email")
    assert ["ann"] == await names(server, search="an", kind="ldap")
    assert ["ann", "annette"] == await names(server, search="an", kind="username")
    [page] = [await found_in(server).page(found, after=None, limit=9)]
    kinds = [[one.kind for one in each.identifiers] for each in page.users]
    assert [["email", "username"], ["email", "ldap", "username"]] == kinds


@pytest.mark.parametrize(
    "search",
    ["%", "_", "a%", "ann_", "*", "[a]", "' or 1=1 --", "ann' --", "\0", "ann\0", "\\", '"', LAST],
)
async def test_wildcards_are_none(server: Server, search: str) -> None:
    """They stand for themselves, as do quotes (V1.2.4)."""
    assert [] == await names(server, search=search)
    assert [] == await names(server, search=search, exact=True)
    assert [] == await names(server, search="a", kind=search)
    assert [] == await names(server, factor=search)


async def test_filters(server: Server) -> None:
    """Each by itself, and together."""
    known = await ids(server)
    for name in ("cid", "ann"):
        server.clock.advance(1)
        await server.auth.accounts.disable(known[name], Caller())
    for name in ("dora", "ann", "ann", "bob"):
        await enrol(server, name, "totp")
    await enrol(server, "cid", "totp", confirmed=False)
    start = server.clock.time - 302
    assert ["cid", "ann"] == await names(server, disabled=True)
    assert ["annette", "bob", "dora"] == await names(server, disabled=False)
    assert ["ann", "bob", "dora"] == await names(server, factor="totp")
    assert ["bob", "cid", "dora"] == await names(server, made_from=start + 120)
    assert ["ann", "annette"] == await names(server, made_before=start + 120)
    assert ["bob"] == await names(server, made_from=start + 120, made_before=start + 121)
    assert ["ann"] == await names(server, factor="totp", disabled=True)
    assert ["cid"] == await names(server, disabled=True, made_from=start + 1)
    assert ["ann"] == await names(server, search="ann", factor="totp")
    assert ["annette"] == await names(server, search="ann", disabled=False)
    assert ["annette"] == await names(server, search="ann", made_from=start + 1)
    assert ["bob", "dora"] == await names(server, factor="totp", made_from=start + 1)
    assert [] == await names(server, search="ann", factor="totp", disabled=False)


async def test_closed_accounts(server: Server) -> None:
    """Who closed the account is found in the order in which the accounts are deleted."""
    known = await ids(server)
    for name in ("cid", "ann"):
        await server.auth.accounts.close(known[name], Caller())
        server.clock.advance(1)
    await server.auth.accounts.disable(known["ann"], Caller())
    assert ["cid", "ann"] == await names(server, closed=True)
    assert ["annette", "bob", "dora"] == await names(server, closed=False)
    assert ["ann"] == await names(server, closed=True, disabled=True)
    assert ["cid"] == await names(server, closed=True, disabled=False)
    assert [] == await names(server, closed=False, disabled=True)
    assert ["ann"] == await names(server, search="ann", closed=True)
    assert ["cid"] == await names(server, closed=True, made_from=server.clock.time - 300)
    assert 2 == await found_in(server).count(Query(closed=True))


async def test_a_page_looks_at_so_many(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A filter that few pass makes short pages: nobody waits for a look at everybody."""
    monkeypatch.setattr(directory, "LOOK", 2)
    await server.auth.accounts.disable((await ids(server))["ann"], Caller())
    await enrol(server, "dora", "totp")
    assert [["annette"], ["bob", "cid"], ["dora"]] == await pages(server, Query(disabled=False))
    assert ["annette"] == await names(server, search="ann", disabled=False)
    assert ["dora"] == await names(server, factor="totp", disabled=False)
    assert ["annette", "bob"] == await names(
        server, disabled=False, made_before=server.clock.time - 120
    )


async def test_counting_ends(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for a count of everything, either."""
    monkeypatch.setattr(directory, "COUNTED", 3)
    assert 3 == await found_in(server).count(ALL)
    assert 2 == await found_in(server).count(Query(search="ann"))


def cursor(value: Any) -> str:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


MADE_UP = [
    "",
    "x",
    "!!",
    "ä",
    cursor(b"\xff"),
    cursor(b"[" * 5000),
    cursor(None),
    cursor({}),
    cursor([]),
    cursor("made"),
    cursor(["made"]),
    cursor(["made", 1]),
    cursor(["made", 1, "x", "y"]),
    cursor(["made", "1", "x"]),
    cursor(["made", True, "x"]),
    cursor(["made", 1.5, "x"]),
    cursor(["made", 1, None]),
    cursor(["made", 2**63, "x"]),
    cursor(["made", -(2**64), "x"]),
    cursor(b'["made", 1, "\\ud800"]'),
    cursor(["disabled", 1, "x"]),
    cursor(["search", "a", "b", "c"]),
    cursor([["made"], 1, "x"]),
]


@pytest.mark.parametrize("text", MADE_UP)
async def test_cursors_that_are_made_up(server: Server, text: str) -> None:
    """They are data like any other: none of them is believed (M-5)."""
    with pytest.raises(AuthError) as refusal:
        await found_in(server).page(ALL, after=text, limit=2)
    assert "invalid_cursor" == refusal.value.problem.code


@pytest.mark.parametrize(
    "key", [["made", 0, ""], ["made", -LARGEST, "' or 1=1"], ["made", 1, "%"], ["made", 1, "\0"]]
)
async def test_cursors_that_could_be(server: Server, key: Sequence[Any]) -> None:
    """Any key is a place in the list, and no more than that."""
    page = await found_in(server).page(ALL, after=cursor(key), limit=9)
    assert [*NAMES] == [one.username for one in page.users]


async def test_cursor_of_another_search(server: Server) -> None:
    """It leads to nobody whom the search does not find."""
    first = await found_in(server).page(Query(search="ann"), after=None, limit=1)
    other = await found_in(server).page(Query(search="bob"), after=first.next, limit=9)
    assert ["bob"] == [one.username for one in other.users]
    start = server.clock.time - 60
    late = await found_in(server).page(
        Query(made_from=int(start)), after=cursor(["made", 0, ""]), limit=9
    )
    assert ["dora"] == [one.username for one in late.users]


@pytest.mark.embedded
@pytest.mark.parametrize(
    ("query", "index"),
    [
        (Query(), "users_made ((created_at,id)>(?,?) AND created_at<?)"),
        (Query(made_from=1, made_before=2), "users_made ((created_at,id)>(?,?) AND created_at<?)"),
        (Query(disabled=False), "users_made ((created_at,id)>(?,?) AND created_at<?)"),
        (Query(disabled=True), "users_disabled ((disabled_at,id)>(?,?))"),
        (Query(closed=True), "users_closed ((delete_at,id)>(?,?))"),
        (Query(search="ann"), "identifiers_value ((value,user_id,kind)>(?,?,?) AND value<?)"),
        (
            Query(search="ann", exact=True, kind="email"),
            "identifiers_value ((value,user_id,kind)>(?,?,?) AND value<?)",
        ),
        (
            Query(search="ann", factor="totp"),
            "identifiers_value ((value,user_id,kind)>(?,?,?) AND value<?)",
        ),
        (Query(factor="totp"), "enrolments_who (factor=? AND (user_id,id)>(?,?))"),
    ],
)
async def test_indexes(server: Server, query: Query, index: str) -> None:
    """Each list is read along an index from where its page begins, and nothing is sorted."""
    way = way_of(query)
    where, args = way.where(way.start, *way.once, *way.rest)
    sql = f"explain query plan select u.id from {way.source} and {where} order by {way.order}"
    plan = [row[3] for row in await server.auth.database.read(sql, args)]
    assert index in plan[0].replace("COVERING ", ""), plan
    assert [] == [step for step in plan if "SCAN" in step or "B-TREE" in step]


def test_a_page_is_no_look_at_everybody() -> None:
    """The bound is one that a page of 200 fits in, with users who have several identifiers."""
    assert LOOK >= 10 * 200
