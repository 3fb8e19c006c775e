"""Cookies of sites: a login on another host, which is good there alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from picoauth import (
    AuthError,
    Caller,
    Denied,
    EdgeReply,
    EdgeRequest,
    EdgeRoute,
    NoSettings,
    Plugin,
    Session,
    Statement,
    Unavailable,
    hookimpl,
)
from picoauth.outgoing import COOKIES
from picoauth.testing import Server
from tests.accounts import SETTINGS, accounts, asking, user_id, watched
from tests.asgi import ask
from tests.factors import PIN, code_of, step

SITE, OTHER = "media.example.org", "films.example.org"
NAME = "__Host-picoauth-site"
ORIGIN = {"Origin": "http://127.0.0.1:8100"}
DAY = 86400


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with accounts(tmp_path) as running:
        yield running


async def parent(server: Server, **more: Any) -> Session:
    """A login that a browser keeps in a cookie."""
    body = {**PIN, "session": "cookie", **more}
    answer = await server.client.post("/auth/login", json=body, headers=ORIGIN)
    server.client.cookies.clear()
    session = await server.auth.sessions.get(answer.json()["sid"])
    assert session is not None
    return session


async def entered(server: Server, session: Session, *more: Statement, site: str = SITE) -> str:
    """A sibling of a session for a site; answers its cookie."""
    token = COOKIES.set([])
    await server.auth.derive(session, Caller(), *more, site=site)
    [cookie] = COOKIES.get()
    COOKIES.reset(token)
    return cookie


def value(cookie: str) -> str:
    return cookie.partition(";")[0].partition("=")[2]


async def who(server: Server, cookie: str, site: str = SITE) -> str | None:
    """The session that a cookie of the site is, or None."""
    try:
        found = await server.auth.who(cookie=f"{NAME}={value(cookie)}", site=site)
    except Denied:
        return None
    assert (await user_id(server), True) == (found.user_id, found.by_cookie)
    return found.session_id


async def test_cookie_of_a_site(server: Server) -> None:
    """It is a cookie of that host alone, of the same login."""
    session = await parent(server)
    cookie = await entered(server, session)
    assert cookie.endswith("; Path=/; Secure; HttpOnly; SameSite=Lax")
    assert f"{NAME}=" == cookie[: len(NAME) + 1]
    assert value(cookie).partition(".")[0] == await who(server, cookie)
    with asking() as asked:
        await who(server, cookie)
    assert 2 == len(asked)  # of which the test's own look at the user is one


async def test_good_for_one_host(server: Server) -> None:
    """On another host, and for our own routes, it is nobody's; and so is our cookie there."""
    session = await parent(server)
    cookie = await entered(server, session)
    own = f"{session.id}.{server.auth.cookies.secret(session)}"
    assert [None, None] == [await who(server, cookie, OTHER), await who(server, f"x={own}")]
    for path in ("/auth/session", "/auth/me"):
        for name in ("__Host-picoauth", NAME):
            answer = await server.client.get(path, headers={"Cookie": f"{name}={value(cookie)}"})
            expected = "token_missing" if name == NAME else "session_ended"
            assert (401, expected) == code_of(answer)
    sibling = await server.auth.sessions.get(value(cookie).partition(".")[0])
    assert sibling is not None
    forged = f"{sibling.id}.{server.auth.cookies.secret(sibling)}"
    answer = await server.client.get("/auth/me", headers={"Cookie": f"__Host-picoauth={forged}"})
    assert (401, "session_ended") == code_of(answer)


@pytest.mark.parametrize(
    "text", ["x", "SID", "SID.", ".SECRET", "SID.SECRETx", "SID.é", "sid.SECRET"]
)
async def test_odd_cookies(server: Server, text: str) -> None:
    """Only what was handed out, to the letter, is somebody (S-3)."""
    sid, secret = value(await entered(server, await parent(server))).split(".")
    odd = text.replace("SID", sid).replace("sid", sid.upper()).replace("SECRET", secret)
    assert await who(server, f"x={odd}") is None


async def test_two_cookies(server: Server) -> None:
    """Two different ones are refused (K-15); without one there is nobody."""
    with pytest.raises(AuthError, match="ambiguous_token"):
        await server.auth.who(cookie=f"{NAME}=a; {NAME}=b", site=SITE)
    with pytest.raises(Denied, match="token_missing"):
        await server.auth.who(cookie=f"{NAME}=", site=SITE)
    with pytest.raises(Denied, match="token_missing"):
        await server.auth.who()


async def test_who_by_token_and_by_cookie(server: Server) -> None:
    """A bearer token counts before a cookie."""
    session = await parent(server)
    cookie = f"__Host-picoauth={session.id}.{server.auth.cookies.secret(session)}"
    token = (await step(server, **PIN)).json()["access_token"]
    assert session.id == (await server.auth.who(cookie=cookie)).session_id
    by_token = await server.auth.who(authorization=f"Bearer {token}", cookie=cookie)
    assert (False, False) == (by_token.by_cookie, by_token.session_id == session.id)
    with pytest.raises(Denied, match="token_missing"):
        await server.auth.who(authorization="Basic YTpi", cookie=cookie)


async def test_login_by_token(server: Server) -> None:
    """A login that is kept as tokens may have siblings in cookies; its own tokens are none."""
    found = server.auth.tokens.check((await step(server, **PIN)).json()["access_token"])
    session = await server.auth.sessions.get(found.session_id)
    assert session is not None
    cookie = await entered(server, session)
    assert await who(server, cookie) is not None
    forged = server.auth.sites.secret(session, SITE, server.auth.sites.keys[0])
    assert await who(server, f"x={session.id}.{forged}") is None


async def test_remembered(server: Server) -> None:
    """The cookie lives as long as the login that it comes from."""
    session = await parent(server, remember=True)
    server.clock.advance(DAY)
    cookie = await entered(server, session)
    assert f"; Max-Age={89 * DAY}" in cookie
    server.clock.advance(89 * DAY - 1)
    assert await who(server, cookie) is not None
    server.clock.advance(1)
    assert await who(server, cookie) is None


@pytest.mark.parametrize("way", ["logout", "logout_from_all", "disable", "delete"])
async def test_ends_with_its_login(server: Server, way: str) -> None:
    """Whatever ends the login ends it, at once (S-6)."""
    session = await parent(server)
    cookie = await entered(server, session)
    more = [session.id] if way == "logout" else []
    await getattr(server.auth.accounts, way)(session.user_id, *more, Caller())
    with pytest.raises(Denied, match="session_ended"):
        await server.auth.who(cookie=f"{NAME}={value(cookie)}", site=SITE)


async def test_use_prolongs_the_login(server: Server) -> None:
    """Who uses a site for thirty days is logged in for as long, and no answer hands our cookie to it."""
    session = await parent(server)
    cookie = await entered(server, session)
    for _ in range(29):
        server.clock.advance(DAY)
        token = COOKIES.set([])
        assert await who(server, cookie) is not None
        assert [] == COOKIES.get()
        COOKIES.reset(token)
    own = f"__Host-picoauth={session.id}.{server.auth.cookies.secret(session)}"
    assert session.id == (await server.auth.who(cookie=own)).session_id
    server.clock.advance(DAY)
    assert await who(server, cookie) is None


@pytest.mark.parametrize("hand", [True, False])
async def test_answer_that_reaches_no_browser(tmp_path: Path, *, hand: bool) -> None:
    """A newer cookie is made only where the browser gets it; the session is prolonged anyhow."""
    old, new = tmp_path / "picoauth.secret", tmp_path / "new"
    async with accounts(tmp_path) as server:
        session = await parent(server)
        cookie = f"__Host-picoauth={session.id}.{server.auth.cookies.secret(session)}"
    new.write_bytes(old.read_bytes().swapcase())
    new.chmod(0o600)
    secrets = 'secret = [{ file = "new" }, { file = "picoauth.secret" }]\n'
    async with accounts(tmp_path, secrets + SETTINGS) as server:
        server.clock.advance(4 * DAY)
        token = COOKIES.set([])
        found = await server.auth.who(cookie=cookie, hand=hand)
        assert hand == bool(COOKIES.get())
        COOKIES.reset(token)
        stored = await server.auth.sessions.get(found.session_id)
        assert stored is not None
        assert server.auth.now() + 7 * DAY == stored.idle_at
        if hand:
            with pytest.raises(Denied, match="session_ended"):
                await server.auth.who(cookie=cookie)
        else:
            assert session.id == (await server.auth.who(cookie=cookie)).session_id


async def test_use_of_a_site_where_nothing_can_be_written(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is logged in there stays so (FC-3), as long as the login lasts."""
    cookie = await entered(server, await parent(server))

    async def full(*_: object) -> None:
        raise Unavailable("the database answers SQLITE_FULL")

    monkeypatch.setattr(server.auth.database, "write", full)
    server.clock.advance(7 * DAY - 1)
    assert await who(server, cookie) is not None
    server.clock.advance(1)
    assert await who(server, cookie) is None


async def test_use_of_a_site_whose_login_is_over(server: Server) -> None:
    """A login that idled away is over on its sites, too, and is not brought back by them."""
    session = await parent(server)
    server.clock.advance(2 * DAY)
    cookie = await entered(server, session)
    server.clock.advance(5 * DAY - 1)
    sibling = await server.auth.sessions.get(value(cookie).partition(".")[0])
    assert sibling is not None
    assert session.idle_at == sibling.idle_at
    server.clock.advance(1)
    assert await who(server, cookie) is None
    stored = await server.auth.sessions.get(session.id)
    assert stored is not None
    assert not stored.alive(server.auth.now())


async def test_prolonging_where_the_login_is_over(server: Server) -> None:
    """A site is not prolonged beyond its login, though its own end were later."""
    session = await parent(server)
    cookie = await entered(server, session)
    sql = "update sessions set idle_at = ? where id = ?"
    now = server.auth.now()
    await server.auth.database.write(Statement(sql, (now + 60, session.id)))
    server.clock.advance(60)
    assert await who(server, cookie) is not None  # in the first half of its life nobody looks
    server.clock.advance(4 * DAY)
    assert await who(server, cookie) is None


async def test_a_short_login_costs_no_write_for_each_request(tmp_path: Path) -> None:
    """Half of what a site has is over, before its end is moved again."""
    async with accounts(tmp_path, SETTINGS + "[tokens]\nidle = 3600\n") as server:
        found = server.auth.tokens.check((await step(server, **PIN)).json()["access_token"])
        session = await server.auth.sessions.get(found.session_id)
        assert session is not None
        cookie = await entered(server, session)
        writes = []
        for _ in range(10):
            server.clock.advance(900)
            with asking() as asked:
                assert await who(server, cookie) is not None
            writes.append(sum(sql.strip().startswith("update sessions") for sql in asked))
        assert [0, 0, 2, 0, 0, 2, 0, 0, 2, 0] == writes


async def test_prolonging_against_an_end(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where another request changed the session meanwhile, this one leaves it."""
    cookie = await entered(server, await parent(server))
    server.clock.advance(4 * DAY)

    async def change(*_: object) -> Sequence[Statement]:
        return [Statement("delete from sessions where id = ''", rows=1)]

    monkeypatch.setattr(server.auth.sessions, "change", change)
    assert await who(server, cookie) is not None


async def test_rotated_secret(tmp_path: Path) -> None:
    """A new root secret logs nobody out; cookies are made under it from then on."""
    old, new = tmp_path / "picoauth.secret", tmp_path / "new"
    async with accounts(tmp_path) as server:
        session = await parent(server)
        cookie = await entered(server, session)
    new.write_bytes(old.read_bytes().swapcase())
    new.chmod(0o600)
    secrets = 'secret = [{ file = "new" }, { file = "picoauth.secret" }]\n'
    async with accounts(tmp_path, secrets + SETTINGS) as server:
        assert await who(server, cookie) is not None
        newer = await entered(server, session)
        assert await who(server, newer) is not None
        sid, secret = value(newer).split(".")
        sibling = await server.auth.sessions.get(sid)
        assert sibling is not None
        assert server.auth.sites.secret(sibling, SITE, server.auth.sites.keys[0]) == secret


async def test_statement_joins_the_write(server: Server) -> None:
    """What has to hold for the session to be made is written with it, or there is none (T-3)."""
    session, auth = await parent(server), server.auth
    ticket, issuing = auth.tickets.issue("test", {}, expires_at=auth.now() + 60)
    await auth.database.write(issuing)
    results = await asyncio.gather(
        *(entered(server, session, auth.tickets.taking("test", ticket)) for _ in range(20)),
        return_exceptions=True,
    )
    assert 1 == sum(isinstance(result, str) for result in results)
    assert {"session_ended"} == {str(each) for each in results if isinstance(each, Exception)}
    assert [(2,)] == await auth.database.read("select count(*) from sessions")


async def test_sites_end_no_login(tmp_path: Path) -> None:
    """A login has as many sites as a user may have logins; above that its oldest site ends."""
    async with accounts(tmp_path, SETTINGS + "[logins]\nsessions = 2\n") as server:
        sessions = [await parent(server)]
        server.clock.advance(1)
        sessions.append(await parent(server))
        cookies = []
        for _ in range(3):
            server.clock.advance(1)
            cookies.append(await entered(server, sessions[0]))
        other = await entered(server, sessions[1])
        assert [False, True, True] == [await who(server, cookie) is not None for cookie in cookies]
        assert await who(server, other) is not None
        server.clock.advance(1)
        await parent(server)  # a third login, which ends the first, and all of its sites
        left = [await who(server, cookie) is not None for cookie in (*cookies, other)]
        assert [False, False, False, True] == left


async def test_store_that_is_down(server: Server) -> None:
    """While the store does not answer, nobody is anybody (S-8)."""
    cookie = await entered(server, await parent(server))
    watched(server).down = True
    with pytest.raises(Exception, match="the database is down"):
        await server.auth.who(cookie=f"{NAME}={value(cookie)}", site=SITE)
    watched(server).down = False


class PeerPlugin(Plugin[NoSettings]):
    """Tells who asks, and whether that is a proxy."""

    @hookimpl
    def edge(self) -> Sequence[EdgeRoute]:
        return [EdgeRoute(method="GET", path="/peer", handler=self.peer)]

    async def peer(self, request: EdgeRequest) -> EdgeReply:
        trusted = self.auth.proxies.trusts(request.peer)
        return EdgeReply(f"{request.peer} {trusted}".encode())


@pytest.mark.parametrize(
    ("proxies", "client", "expected"),
    [
        ('["10.0.0.0/8"]', ("10.1.2.3", 1), "10.1.2.3 True"),
        ('["10.0.0.0/8"]', ("::ffff:10.1.2.3", 1), "::ffff:10.1.2.3 True"),
        ('["10.0.0.0/8"]', ("192.0.2.1", 1), "192.0.2.1 False"),
        ('["10.0.0.0/8"]', None, "None False"),
        ('["unix"]', None, "None True"),
        ('["unix"]', ("127.0.0.1", 1), "127.0.0.1 False"),
        ("[]", ("127.0.0.1", 1), "127.0.0.1 False"),
    ],
)
async def test_peer(tmp_path: Path, proxies: str, client: Any, expected: str) -> None:
    """A route of the edge knows who connected, and whether that is one of `trusted_proxies`."""
    settings = SETTINGS.replace("]", ', "peer"]') + f"trusted_proxies = {proxies}\n"
    async with accounts(tmp_path, settings, peer=PeerPlugin) as server:
        answer = await ask(server, "GET", "/peer", client=client)
        assert expected == answer.body.decode()
