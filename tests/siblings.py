"""What holds of a login and its siblings, whatever keeps the sessions."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest

from picoauth import Caller, Denied, Session
from picoauth.outgoing import COOKIES
from picoauth.testing import Server
from tests.factors import PIN, code_of, step

ELSEWHERE = Caller(address="192.0.2.7", user_agent="the other domain")
SITE, NAME = "media.example.org", "__Host-picoauth-site"
DAY = 86400
OK, GONE, ENDED = (200, None), (204, None), (401, "session_ended")


async def login(server: Server) -> tuple[Session, dict[str, Any]]:
    """A new session, and its tokens."""
    tokens = (await step(server, **PIN)).json()
    return await stored(server, tokens), tokens


async def derived(server: Server, parent: Session) -> tuple[Session, dict[str, Any]]:
    """A sibling, and its tokens."""
    tokens = await server.auth.derive(parent, ELSEWHERE)
    return await stored(server, tokens), tokens


async def stored(server: Server, tokens: dict[str, Any]) -> Session:
    session_id = server.auth.tokens.check(tokens["access_token"]).session_id
    session = await server.auth.sessions.get(session_id)
    assert session is not None
    return session


async def entered(server: Server, session: Session) -> str:
    """A sibling for a site; answers its cookie."""
    token = COOKIES.set([])
    await server.auth.derive(session, ELSEWHERE, site=SITE)
    [cookie] = COOKIES.get()
    COOKIES.reset(token)
    return cookie.partition(";")[0]


async def on_site(server: Server, cookie: str) -> bool:
    with suppress(Denied):
        return bool(await server.auth.who(cookie=cookie, site=SITE))
    return False


async def valid(server: Server, tokens: dict[str, Any]) -> tuple[int, str | None]:
    return code_of(await server.post("/jwt/validate", token=tokens["access_token"]))


async def refreshed(server: Server, tokens: dict[str, Any]) -> dict[str, Any]:
    answer = await server.post("/jwt/refresh", token=tokens["refresh_token"])
    assert OK == code_of(answer)
    found: dict[str, Any] = answer.json()
    return found


async def devices(server: Server, tokens: dict[str, Any]) -> list[tuple[str, bool]]:
    """What a user sees: ids, and which is the current one."""
    answer = await server.get("/auth/sessions", token=tokens["access_token"])
    return [(one["id"], one["current"]) for one in answer.json()["sessions"]]


class Siblings:
    """Inherit it, with a fixture `server` on which Ann may log in by pin."""

    @pytest.fixture
    def server(self) -> Server:
        raise NotImplementedError

    async def test_a_login_is_one_device(self, server: Server) -> None:
        """Whoever of its sessions asks: it is listed once, and is the current one."""
        parent, tokens = await login(server)
        server.clock.advance(1)
        other, _ = await login(server)
        _, more = await derived(server, parent)
        _, grandchild = await derived(server, await stored(server, more))
        cookie = await entered(server, parent)
        for each in (tokens, more, grandchild):
            assert [(other.id, False), (parent.id, True)] == await devices(server, each)
        assert await on_site(server, cookie)

    async def test_device_is_used_where_a_sibling_is(self, server: Server) -> None:
        """The list says when any of them was refreshed."""
        parent, tokens = await login(server)
        _, more = await derived(server, parent)
        server.clock.advance(60)
        await refreshed(server, more)
        answer = await server.get("/auth/sessions", token=tokens["access_token"])
        [listed] = answer.json()["sessions"]
        assert (parent.created_at, server.auth.now()) == (listed["created_at"], listed["used_at"])
        assert server.auth.now() + 14 * DAY == listed["expires_at"]

    async def test_login_is_ended_from_a_sibling(self, server: Server) -> None:
        """Ending the device that is listed as the current one ends all of it."""
        parent, tokens = await login(server)
        _, more = await derived(server, parent)
        cookie = await entered(server, parent)
        path = f"/auth/sessions/{parent.id}"
        answer = await server.send("DELETE", path, token=more["access_token"])
        assert GONE == code_of(answer)
        assert [ENDED, ENDED] == [await valid(server, each) for each in (tokens, more)]
        assert not await on_site(server, cookie)

    async def test_all_others_are_ended_from_a_sibling(self, server: Server) -> None:
        """This one is the login: other devices end, and so do the sessions made of it."""
        _, other = await login(server)
        parent, tokens = await login(server)
        _, more = await derived(server, parent)
        answer = await server.send("DELETE", "/auth/sessions", token=more["access_token"])
        assert GONE == code_of(answer)
        found = [await valid(server, each) for each in (other, tokens, more)]
        assert [ENDED, OK, ENDED] == found
        assert [(parent.id, True)] == await devices(server, tokens)

    async def test_changed_credential_leaves_the_sibling_alone(self, server: Server) -> None:
        """What another domain knows ends; the session that changed it is a login of its own."""
        parent, tokens = await login(server)
        sibling, more = await derived(server, parent)
        cookie = await entered(server, parent)
        answer = await server.auth.credentials.change_credential(sibling.id, "pin", [], Caller())
        assert [ENDED, OK] == [await valid(server, each) for each in (tokens, more)]
        assert [(sibling.id, True)] == await devices(server, answer)
        assert not await on_site(server, cookie)
        await server.auth.sessions.settle()
        server.clock.advance(60)
        again = await refreshed(server, answer)
        await server.post("/auth/logout", token=again["access_token"])
        assert ENDED == await valid(server, again)

    async def test_use_of_a_sibling_prolongs_the_login(self, server: Server) -> None:
        """Who refreshes on the other domain alone is logged in, as long as the login may last."""
        parent, _ = await login(server)
        _, tokens = await derived(server, parent)
        for _ in range(8):
            server.clock.advance(10 * DAY)
            tokens = await refreshed(server, tokens)
        assert [(parent.id, True)] == await devices(server, tokens)
        found = await server.auth.sessions.get(parent.id)
        assert found is not None
        assert (0, parent.rotated_at) == (found.generation, found.rotated_at)
        server.clock.advance(10 * DAY)
        answer = await server.post("/jwt/refresh", token=tokens["refresh_token"])
        assert (401, "token_expired") == code_of(answer)

    async def test_no_sibling_outlives_an_idle_login(self, server: Server) -> None:
        """Past the idle end of the login, no use of a sibling is let in, nor is one made."""
        parent, _ = await login(server)
        server.clock.advance(10 * DAY)
        sibling, tokens = await derived(server, parent)
        cookie = await entered(server, parent)
        assert parent.idle_at == sibling.idle_at
        server.clock.advance(4 * DAY)
        answer = await server.post("/jwt/refresh", token=tokens["refresh_token"])
        assert (401, "token_expired") == code_of(answer)
        assert not await on_site(server, cookie)
        with pytest.raises(Denied, match="session_ended"):
            await derived(server, parent)
