"""`require_verified`: who proved all but an address verifies one, and gets no session before."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from letters import (
    ADDRESS,
    MINUTE,
    OTHER,
    REQUIRED,
    User,
    code_of,
    joined,
    registered,
    token_of,
    told,
)

from picoauth import Caller
from picoauth.testing import Server, Someone, delivered
from picoauth_email.plugin import EmailPlugin

ENDED, WRONG, NOT_FOUND = (401, "flow_ended"), (400, "wrong_code"), (404, "not_found")


@pytest.fixture
def picoauth_settings() -> str:
    return REQUIRED


@pytest.fixture
def server(picoauth_server: Server) -> Server:
    return picoauth_server


@pytest.fixture
async def ann(server: Server) -> Someone:
    return await registered(server, "ann")


async def waiting(someone: Someone) -> dict[str, Any]:
    answer = await someone.prove("pin")
    assert (403, "email_unverified") == told(answer)
    refusal: dict[str, Any] = answer.json()
    return refusal


async def ask(server: Server, ticket: str, **more: Any) -> httpx.Response:
    return await server.post("/auth/email/unverified", {"ticket": ticket, **more})


async def verify(server: Server, ticket: str, **proof: str) -> tuple[int, str]:
    body = {"ticket": ticket, **proof}
    return told(await server.post("/auth/email/unverified/verify", body))


async def last(server: Server) -> Any:
    return (await delivered(server))[-1]


@pytest.mark.parametrize("by", ["token", "code"])
async def test_verified_before_the_login(server: Server, ann: Someone, by: str) -> None:
    """The refused login has a ticket; with it the mail's proof verifies, and the next login works."""
    refusal = await waiting(ann)
    assert ADDRESS == refusal["address"]
    message = await last(server)
    proof = {"token": token_of(message)} if by == "token" else {"code": code_of(message)}
    assert (204, "") == await verify(server, refusal["ticket"], **proof)
    sql = "select count(*) from tickets where purpose like 'email%'"
    assert [(0,)] == await server.auth.database.read(sql)
    assert 200 == (await ann.prove("pin")).status_code
    assert ENDED == await verify(server, refusal["ticket"], **proof)


async def test_wrong_password_first(ann: Someone) -> None:
    """Only who proved everything else hears of the address."""
    answer = await ann.prove("pin", wrong=True)
    assert (401, "proof_refused") == told(answer)
    await ann.enrol("code")
    answer = await ann.prove("pin")
    assert (401, "more_needed") == told(answer)
    answer = await ann.prove("code", answer.json()["flow"])
    assert (403, "email_unverified") == told(answer)
    assert 0 == await ann.sessions()


async def test_ticket_is_no_session(server: Server, ann: Someone) -> None:
    """It opens nothing else (O-4)."""
    ticket = (await waiting(ann))["ticket"]
    for path, body in (
        ("/auth/email", {"address": OTHER}),
        ("/auth/email/resend", None),
        ("/auth/email/verify", {"code": "12345678"}),
        ("/auth/stepup", {"factor": "pin"}),
    ):
        assert 401 == (await server.post(path, body, token=ticket)).status_code
    answer = await server.post("/auth/login", {"flow": ticket, "factor": "pin", "pin": "x"})
    assert ENDED == told(answer)
    assert NOT_FOUND == told(await server.post("/auth/email/cancel", {"token": ticket}))


async def test_resend_and_another_address(server: Server, ann: Someone) -> None:
    """A lost mail comes again, and a mistyped address is replaced; limited as ever."""
    ticket = (await waiting(ann))["ticket"]
    first = await last(server)
    server.clock.advance(MINUTE)
    answer = await ask(server, ticket)
    assert (202, {"address": ADDRESS}) == (answer.status_code, answer.json())
    assert WRONG == await verify(server, ticket, code=code_of(first))
    assert 2 == len(await delivered(server))
    answer = await ask(server, ticket, address=OTHER)
    assert (202, {"address": OTHER}) == (answer.status_code, answer.json())
    assert 2 == len(await delivered(server))
    server.clock.advance(MINUTE)
    await ask(server, ticket)
    message = await last(server)
    assert OTHER == message.to
    assert (204, "") == await verify(server, ticket, code=code_of(message))
    found = await server.auth.users.find("email", OTHER)
    assert found is not None
    assert ann.user.id == found.id


async def test_user_without_an_address(server: Server) -> None:
    """Gives one at the first login."""
    bob = await server.join("pin", username="bob")
    refusal = await waiting(bob)
    assert refusal["address"] is None
    assert NOT_FOUND == told(await ask(server, refusal["ticket"]))
    await ask(server, refusal["ticket"], address=OTHER)
    code = code_of(await last(server))
    assert (204, "") == await verify(server, refusal["ticket"], code=code)
    assert 200 == (await bob.prove("pin")).status_code


async def test_somebody_elses_mail(server: Server, ann: Someone) -> None:
    """The proof of one account verifies nothing for another (E-6)."""
    ticket_of_ann = (await waiting(ann))["ticket"]
    message = await last(server)
    bob = await registered(server, "bob", OTHER)
    ticket = (await waiting(bob))["ticket"]
    assert NOT_FOUND == await verify(server, ticket, token=token_of(message))
    assert WRONG == await verify(server, ticket, code=code_of(message))
    assert (204, "") == await verify(server, ticket_of_ann, token=token_of(message))


@pytest.mark.parametrize("how", ["disable", "delete", "logout_from_all", "newer", "late"])
async def test_ticket_that_is_dead(server: Server, ann: Someone, how: str) -> None:
    """Its login is a thing of the past."""
    ticket, message = (await waiting(ann))["ticket"], await last(server)
    if how == "newer":
        await waiting(ann)
    elif how == "late":
        server.clock.advance(600)
    else:
        await getattr(server.auth.accounts, how)(ann.user.id, Caller())
    for answer in (
        told(await ask(server, ticket)),
        await verify(server, ticket, token=token_of(message)),
    ):
        assert ENDED == answer


async def test_fifty_at_once(server: Server, ann: Someone) -> None:
    """One verifies; the others hear of it."""
    ticket, code = (await waiting(ann))["ticket"], code_of(await last(server))
    token = token_of(await last(server))
    doing = (verify(server, ticket, token=token) for _ in range(50))
    answers = await asyncio.gather(*doing)
    assert 1 == answers.count((204, ""))
    assert {(204, ""), NOT_FOUND, ENDED} >= set(answers)
    assert ENDED == await verify(server, ticket, code=code)


async def test_change_later(server: Server, ann: Someone) -> None:
    """A verified address is enough, whatever waits beside it."""
    ticket, message = (await waiting(ann))["ticket"], await last(server)
    await verify(server, ticket, code=code_of(message))
    user = User(server, ann, (await ann.login())["access_token"])
    server.clock.advance(MINUTE)
    await user.set(OTHER)
    assert 200 == (await ann.prove("pin")).status_code


@pytest.mark.parametrize("body", [{}, {"token": "x", "code": "1"}])
async def test_body_that_is_none(server: Server, ann: Someone, body: dict[str, str]) -> None:
    """The ticket and one of the others."""
    ticket = (await waiting(ann))["ticket"]
    assert (400, "invalid_body") == await verify(server, ticket, **body)


async def test_doctor(server: Server) -> None:
    """It counts who would be surprised."""
    plugin = server.auth.plugin(EmailPlugin)
    assert await plugin.unverified() is None
    await server.join("pin", username="bob")
    eve = await server.join("pin", username="eve")
    await server.auth.accounts.disable(eve.user.id, Caller())
    assert (
        "Users without a verified address (1) have to verify one at their next login, since "
        "require_verified in [email] is on: see that your page offers it."
    ) == await plugin.unverified()


async def test_sessions_go_on(server: Server) -> None:
    """Those that were there before it was asked for are no logins."""
    plugin: Any = server.auth.plugin(EmailPlugin)
    settings = plugin.settings
    plugin.settings = type(settings)()
    assert await plugin.unverified() is None
    bob = await joined(server, "bob")
    plugin.settings = settings
    assert 200 == (await server.get("/auth/me", token=bob.token)).status_code
