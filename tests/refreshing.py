"""What holds of many who refresh at once, whatever keeps the sessions."""

from __future__ import annotations

import asyncio

from picoauth import Caller, RefreshReused
from picoauth.testing import Server


async def many_at_once(server: Server, token: str, count: int) -> None:
    """One generation, one family, one answer to all, no theft (K-10); and so the next time."""
    server.events.clear()
    for generation, times in ((1, count), (2, 1)):
        server.clock.advance(11)
        answers = await asyncio.gather(
            *(server.auth.grants.refresh(token, Caller()) for _ in range(times))
        )
        assert times == len({answer["access_token"] for answer in answers})
        [token] = {answer["refresh_token"] for answer in answers}
        session_id = server.auth.tokens.check(answers[0]["access_token"]).session_id
        session = await server.auth.sessions.get(session_id)
        assert session is not None
        assert (generation, True) == (session.generation, session.alive(server.auth.now()))
    await server.auth.events.settle()
    assert [] == [event for event in server.events.heard if isinstance(event, RefreshReused)]
