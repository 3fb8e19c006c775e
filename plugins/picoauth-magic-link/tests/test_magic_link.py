"""A login by mail: by link on any device, or by code where it began."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from linked import (
    ADDRESS,
    HOUR,
    IN,
    MINUTE,
    REFUSED,
    SETTINGS,
    Reader,
    address,
    code_of,
    other,
    served,
    token_of,
    told,
)

from picoauth import Caller, ConfigError, LoginCompleted, LoginFailed, Statement
from picoauth.testing import Clock, MailPlugin, Server
from picoauth_magic_link import MagicLinkPlugin
from picoauth_magic_link.links import KEPT

LIFE = 10 * MINUTE
FLOW_ENDED, OUT_OF_PLACE = (401, "flow_ended"), (400, "factor_out_of_place")
PATIENT = f"{SETTINGS}[logins]\nflow_tries = 20\n"


@pytest_asyncio.fixture
async def ann(server: Server) -> Reader:
    return await Reader.joined(server)


async def test_code(server: Server, ann: Reader) -> None:
    """It is good in the flow that it was sent for, once; people may put spaces into it."""
    flow, message = await ann.asked()
    code = code_of(message)
    assert (ADDRESS, "magic-link/login") == (message.to, message.template)
    assert code in message.subject
    assert code in message.text
    answer = await ann.send(f"{code[:4]} {code[4:]}", flow)
    assert 200 == answer.status_code
    [session] = await server.auth.sessions.list(ann.id)
    assert ("email",) == session.amr
    assert ("magic-link",) == server.events.one(LoginCompleted).factors
    assert FLOW_ENDED == await ann.login(code, flow)


async def test_link(ann: Reader) -> None:
    """It is good without a flow, so on another device; once, and then the code is dead too."""
    flow, message = await ann.asked()
    link, token = message.values["link"], token_of(message)
    assert f"https://auth.example.org/login/#magic-link={token}" == link
    assert link in message.text
    assert IN == await ann.login(token)
    assert REFUSED == await ann.login(token)
    assert REFUSED == await ann.login(code_of(message), flow)
    assert 1 == await ann.sessions()


async def test_link_where_the_login_began(ann: Reader) -> None:
    """The same browser may have both."""
    flow, message = await ann.asked()
    assert IN == await ann.login(token_of(message), flow)


async def test_code_kills_link(ann: Reader) -> None:
    """The mail is one proof."""
    flow, message = await ann.asked()
    assert IN == await ann.login(code_of(message), flow)
    assert REFUSED == await ann.login(token_of(message))


async def test_code_in_another_flow(server: Server, ann: Reader) -> None:
    """Whoever looks over a shoulder begins a login, and has nothing by the code."""
    flow, message = await ann.asked()
    code = code_of(message)
    others = [
        None,
        await ann.begin(),
        (await server.post("/auth/login/begin", {"factor": "pin", "username": "ann"})).json()[
            "flow"
        ],
    ]
    assert [REFUSED] * 3 == [await ann.login(code, each) for each in others]
    assert IN == await ann.login(code, flow)


async def test_code_of_another_user(server: Server, ann: Reader) -> None:
    """It is the flow that says whose it is."""
    bob = await Reader.joined(server, "bob", "bob@example.com")
    flow = await ann.begin()
    theirs = await bob.begin()
    codes = {message.to: code_of(message) for message in await ann.mails()}
    assert REFUSED == await ann.login(codes["bob@example.com"], flow)
    assert REFUSED == await bob.login(codes[ADDRESS], theirs)


async def test_typing_errors(ann: Reader) -> None:
    """The code stays good, in the flow that each refusal hands out; four times."""
    flow, message = await ann.asked()
    for _ in range(4):
        answer = await ann.send(other(code_of(message)), flow)
        assert REFUSED == told(answer)
        flow = answer.json()["flow"]
    assert IN == await ann.login(code_of(message), flow)


async def test_five_tries(tmp_path: Path) -> None:
    """Then the code is dead, however many the login bears (T-2); the link is not."""
    async with served(tmp_path, PATIENT) as server:
        ann = await Reader.joined(server)
        flow, message = await ann.asked()
        for _ in range(5):
            flow = (await ann.send(other(code_of(message)), flow)).json()["flow"]
        answer = await ann.send(code_of(message), flow)
        assert REFUSED == told(answer)
        assert "flow" in answer.json()
        assert IN == await ann.login(token_of(message))


async def test_tries_end_with_the_flow(ann: Reader) -> None:
    """By default that is at the same time."""
    flow, message = await ann.asked()
    answer = None
    for _ in range(5):
        answer = await ann.send(other(code_of(message)), flow)
        flow = answer.json().get("flow")
    assert flow is None


async def test_fifty_guesses(ann: Reader) -> None:
    """At once, in one flow: one of them is looked at."""
    flow, message = await ann.asked()
    code = int(code_of(message))
    guesses = [f"{(code + number) % 10**8:08}" for number in range(1, 51)]
    answers = await asyncio.gather(*(ann.login(guess, flow) for guess in guesses))
    assert {REFUSED: 1, FLOW_ENDED: 49} == Counter(answers)


@pytest.mark.parametrize("proof", ["1234567", "123456789", "١٢٣٤٥٦٧٨", "x", "", " ", "-" * 8])
async def test_what_is_no_code(ann: Reader, proof: str) -> None:
    """Eight ASCII digits are one; all else is taken for a link's token, and is none."""
    flow = await ann.begin()
    assert REFUSED == await ann.login(proof, flow)


@pytest.mark.parametrize("proof", [None, 12345678, True, ["12345678"], {}])
async def test_what_is_no_text(ann: Reader, proof: Any) -> None:
    """The client erred."""
    assert (400, "invalid_body") == await ann.login(proof, await ann.begin())


async def test_life(server: Server, ann: Reader) -> None:
    """A link is good for ten minutes; a code ends with its flow (T-5)."""
    flow, message = await ann.asked()
    assert ("10", "5") == (message.values["minutes"], message.values["code_minutes"])
    server.clock.advance(5 * MINUTE)
    assert FLOW_ENDED == await ann.login(code_of(message), flow)
    server.clock.advance(5 * MINUTE - 1)
    assert IN == await ann.login(token_of(message))
    _, message = await ann.asked()
    server.clock.advance(LIFE)
    assert REFUSED == await ann.login(token_of(message))


async def test_short_life(tmp_path: Path) -> None:
    """A code is no longer good than the link, whatever the flow is."""
    settings = f"{SETTINGS}[magic-link]\nlife = 60\n"
    async with served(tmp_path, settings) as server:
        ann = await Reader.joined(server)
        flow, message = await ann.asked()
        assert ("1", "1") == (message.values["minutes"], message.values["code_minutes"])
        server.clock.advance(MINUTE)
        assert REFUSED == await ann.login(code_of(message), flow)
        assert REFUSED == await ann.login(token_of(message))


async def test_newer_voids_older(server: Server, ann: Reader) -> None:
    """One mail at a time is good (T-5)."""
    flow, older = await ann.asked()
    server.clock.advance(MINUTE)
    _, newer = await ann.asked()
    assert REFUSED == await ann.login(token_of(older))
    assert REFUSED == await ann.login(code_of(older), flow)
    assert IN == await ann.login(token_of(newer))


async def test_login_voids_all(server: Server, ann: Reader) -> None:
    """Whatever waits for the user; and of others nothing."""
    bob = await Reader.joined(server, "bob", "bob@example.com")
    await bob.begin()
    flow = await ann.begin()
    mails = {message.to: message for message in await ann.mails()}
    assert IN == await ann.login(code_of(mails[ADDRESS]), flow)
    rows = await server.auth.database.read("select user_id from magic_link")
    assert [(bob.id,)] == rows
    assert IN == await bob.login(token_of(mails["bob@example.com"]))
    purposes = await server.auth.database.read("select purpose from tickets")
    assert ("magic-link",) not in purposes


# The account


async def epoch_rose(ann: Reader) -> None:
    await ann.server.auth.accounts.logout_from_all(ann.id, Caller())


async def disabled(ann: Reader) -> None:
    await ann.server.auth.accounts.disable(ann.id, Caller())


async def deleted(ann: Reader) -> None:
    await ann.server.auth.accounts.delete(ann.id, Caller())


async def without_address(ann: Reader) -> None:
    await ann.server.auth.database.write(Statement("delete from identifiers where kind = 'email'"))


async def address_of_another(ann: Reader) -> None:
    bob = await Reader.joined(ann.server, "bob", None)
    sql = "update identifiers set user_id = ? where kind = 'email'"
    await ann.server.auth.database.write(Statement(sql, (bob.id,)))


@pytest.mark.parametrize(
    "change", [epoch_rose, disabled, deleted, without_address, address_of_another]
)
async def test_account_that_changed(ann: Reader, change: Any) -> None:
    """A mail is bound to the user, to what proves the user, and to the address (T-4)."""
    flow, message = await ann.asked()
    await change(ann)
    assert REFUSED == await ann.login(token_of(message))
    assert REFUSED == await ann.login(code_of(message), flow)


async def test_user_disabled_without_a_trace(server: Server, ann: Reader) -> None:
    """The mark alone is enough, also where no epoch rose."""
    _, message = await ann.asked()
    await server.auth.database.write(Statement("update users set disabled_at = 1"))
    assert REFUSED == await ann.login(token_of(message))


@pytest.mark.parametrize("change", [epoch_rose, disabled, deleted])
async def test_account_that_changes_meanwhile(
    server: Server, ann: Reader, monkeypatch: pytest.MonkeyPatch, change: Any
) -> None:
    """Between the look at the link and the session: then there is none."""
    _, message = await ann.asked()
    check = server.auth.check_login

    async def changed(login: Any) -> None:
        await change(ann)
        await check(login)

    monkeypatch.setattr(server.auth, "check_login", changed)
    status, _ = await ann.login(token_of(message))
    assert 401 == status
    assert 0 == await ann.sessions()


async def test_second_factor(server: Server, ann: Reader) -> None:
    """It is asked for afterwards, by link and by code; and mail is none itself."""
    await ann.someone.enrol("code")
    for by_link in (True, False):
        flow, message = await ann.asked()
        answer = await (
            ann.send(token_of(message)) if by_link else ann.send(code_of(message), flow)
        )
        assert (401, "more_needed") == told(answer)
        assert ["code"] == answer.json()["next"]
        server.clock.advance(HOUR)
    assert 0 == await ann.sessions()


async def test_mail_after_another_factor(server: Server, ann: Reader) -> None:
    """It may come second; it is no second factor, and is never named as one."""
    await ann.someone.enrol("code")
    answer = await server.post(
        "/auth/login", {"factor": "pin", "username": "ann", "pin": "pin of ann"}
    )
    assert ["code"] == answer.json().get("next"), answer.text
    flow = await ann.begin(flow=answer.json()["flow"])
    message = await ann.mail()
    answer = await ann.send(code_of(message), flow)
    assert (401, "more_needed", ["code"]) == (*told(answer), answer.json()["next"])
    flow = answer.json()["flow"]
    answer = await server.post(
        "/auth/login", {"factor": "code", "flow": flow, "code": "code of ann"}
    )
    assert 200 == answer.status_code


async def test_stepup(server: Server, ann: Reader) -> None:
    """A session proves itself afresh by code, or by link; the user is known, and not asked for."""
    _, message = await ann.asked()
    token = (await ann.send(token_of(message))).json()["access_token"]
    for by_link in (True, False):
        server.clock.advance(MINUTE * 2)
        flow = await ann.begin(token)
        message = await ann.mail()
        proof = token_of(message) if by_link else code_of(message)
        assert IN == told(await ann.send(proof, None if by_link else flow, token=token))


async def test_stepup_by_another(server: Server, ann: Reader) -> None:
    """The link of somebody else proves nothing of hers, and is not spent by it."""
    bob = await Reader.joined(server, "bob", "bob@example.com")
    _, message = await ann.asked()
    token = (await ann.send(token_of(message))).json()["access_token"]
    await bob.begin()
    message = await ann.mail()
    assert REFUSED == told(await ann.send(token_of(message), token=token))
    assert IN == await bob.login(token_of(message))


# Who gets a mail


@pytest.mark.parametrize(
    "body",
    [
        {"username": "ann"},
        {"username": "ANN"},
        {"username": "ann@EXAMPLE.com"},
        {"email": ADDRESS},
        {"username": "nobody", "email": "ann@example.com"},
    ],
    ids=str,
)
async def test_names(server: Server, ann: Reader, body: dict[str, str]) -> None:
    """A user is found by user name or verified address, however it is written."""
    answer = await server.post("/auth/login/begin", {"factor": "magic-link", **body})
    assert IN == await ann.login(code_of(await ann.mail()), answer.json()["flow"])


@pytest.mark.parametrize(
    "body",
    [{}, {"username": 1}, {"email": None}, {"username": "ann", "magic-link": "12345678"}],
    ids=str,
)
async def test_bodies_that_are_none(server: Server, body: Any) -> None:
    """A name is a text; a proof belongs into the next step."""
    answer = await server.post("/auth/login/begin", {"factor": "magic-link", **body})
    assert (400, "invalid_body") == told(answer)


async def test_address_by_which_was_asked(server: Server, ann: Reader) -> None:
    """Of several verified ones that gets the mail; a user name goes to the first."""
    await address(server, ann.id, "zoe@example.com")
    await ann.begin(email="ZOE@example.com")
    server.clock.advance(MINUTE)
    await ann.begin()
    assert ["zoe@example.com", ADDRESS] == [message.to for message in await ann.mails()]


async def test_who_gets_none(server: Server, ann: Reader) -> None:
    """Nobody, who has no verified address, and who is disabled."""
    bob = await Reader.joined(server, "bob", None)
    await address(server, bob.id, "bob@example.com", verified=False)
    await disabled(ann)
    for name in ("nobody", "bob", "bob@example.com", "ann", ADDRESS):
        await ann.begin(username=name)
    assert [] == await ann.mails()
    rows = await server.auth.database.read("select distinct user_id from magic_link")
    assert [(None,)] == rows


@pytest.mark.parametrize(
    ("times", "pause", "expected"), [(5, 0, 1), (2, MINUTE - 1, 1), (2, MINUTE, 2), (9, 361, 3)]
)
async def test_limits(ann: Reader, times: int, pause: int, expected: int) -> None:
    """Those of all mail: beyond them the same answer and no mail (R-1)."""
    found = []
    for _ in range(times):
        await ann.begin()
        found += await ann.mails()
        ann.server.clock.advance(pause)
    assert expected == len(found)


async def test_mail_outlives_questions_beyond_the_limit(ann: Reader) -> None:
    """Who asks in somebody's name voids neither the link nor the code that she has."""
    flow, message = await ann.asked()
    await ann.begin()
    await ann.begin(email=ADDRESS)
    assert [] == await ann.mails()
    assert IN == await ann.login(code_of(message), flow)


async def test_fifty_questions(tmp_path: Path) -> None:
    """All at once: one mail."""
    settings = f"{SETTINGS}[throttle]\nfailures = 100\n"
    async with served(tmp_path, settings) as server:
        ann = await Reader.joined(server)
        await asyncio.gather(*(ann.begin() for _ in range(50)))
        assert 1 == len(await ann.mails())


@pytest.mark.parametrize(
    ("locale", "languages", "subject"),
    [(None, "", "Your code is"), (None, "fr", "Votre code est"), ("de", "fr", "Ihr Code ist")],
)
async def test_languages(
    server: Server, ann: Reader, locale: str | None, languages: str, subject: str
) -> None:
    """The user's, or the browser's, or English."""
    await server.auth.database.write(Statement("update users set locale = ?", (locale,)))
    body = {"factor": "magic-link", "username": "ann"}
    await server.client.post("/auth/login/begin", json=body, headers={"Accept-Language": languages})
    message = await ann.mail()
    assert f"{subject} {code_of(message)}" == message.subject
    assert token_of(message) in message.text
    assert token_of(message) in str(message.html)


# Everything at once


@pytest_asyncio.fixture
async def pair(tmp_path: Path) -> AsyncIterator[list[Server]]:
    """Two servers on one file, each with connections and memory of its own."""
    clock, settings = Clock(), f"{SETTINGS}[throttle]\nfailures = 100\n"
    async with (
        served(tmp_path, settings, clock=clock) as one,
        served(tmp_path, settings, clock=clock) as two,
    ):
        yield [one, two]


async def test_one_of_fifty_links(pair: list[Server]) -> None:
    """At two servers, one is a login (T-3); so it is with the code among them."""
    ann = await Reader.joined(pair[0])
    flow, message = await ann.asked()
    readers = [Reader(server, ann.someone) for server in pair] * 25
    links = [reader.login(token_of(message)) for reader in readers]
    answers = await asyncio.gather(*links, ann.login(code_of(message), flow))
    assert {IN: 1, REFUSED: 50} == Counter(answers)
    assert 1 == await ann.sessions()


async def test_one_of_fifty_links_before_a_second_factor(pair: list[Server]) -> None:
    """One comes as far as that."""
    ann = await Reader.joined(pair[0])
    await ann.someone.enrol("code")
    _, message = await ann.asked()
    readers = [Reader(server, ann.someone) for server in pair] * 25
    answers = await asyncio.gather(*(reader.login(token_of(message)) for reader in readers))
    assert {(401, "more_needed"): 1, REFUSED: 49} == Counter(answers)


# The mail server, the clock, what is stored


async def test_slow_mail_server(server: Server, ann: Reader) -> None:
    """Nobody waits for it."""

    async def never(_: Any) -> None:
        await asyncio.Event().wait()

    server.auth.plugin(MailPlugin).send = never  # type: ignore[method-assign]
    await ann.begin()
    await server.auth.outbox.look()
    await ann.begin(username="nobody")


async def test_clock_that_goes_back(server: Server, ann: Reader) -> None:
    """It brings nothing that was spent to life."""
    _, message = await ann.asked()
    assert IN == await ann.login(token_of(message))
    server.clock.advance(-HOUR)
    assert REFUSED == await ann.login(token_of(message))


def stored(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.glob("picoauth.db*"))


async def test_proofs_are_nowhere(server: Server, ann: Reader, tmp_path: Path) -> None:
    """Neither code nor token is in the database or an event (L-2)."""
    flow, message = await ann.asked()
    code, token = code_of(message), token_of(message)
    await ann.login(other(code), flow)
    found = stored(tmp_path)
    assert b"magic-link" in found
    assert (False, False) == (token.encode() in found, code.encode() in found)
    assert (False, False) == (token in repr(server.events), code in repr(server.events))
    event = server.events.of(LoginFailed)[-1]
    assert (None, None, "magic-link") == (event.user_id, event.typed, event.factor)


async def test_cleaning(server: Server, ann: Reader) -> None:
    """Rows go when their time is over, those of nobody too."""
    await ann.begin()
    await ann.begin(username="nobody")
    links = server.auth.plugin(MagicLinkPlugin).links
    server.clock.advance(LIFE + KEPT - 1)
    await links.clean()
    assert 2 == len(await server.auth.database.read("select 1 from magic_link"))
    server.clock.advance(1)
    await links.clean()
    assert [] == await server.auth.database.read("select 1 from magic_link")


async def test_export(server: Server, ann: Reader) -> None:
    """A user is told what waits, without what proves anything."""
    await ann.begin()
    plugin = server.auth.plugin(MagicLinkPlugin)
    user = await server.auth.users.require(ann.id)
    link = {"address": ADDRESS.lower(), "expires_at": server.auth.now() + LIFE}
    assert {"links": [link]} == await plugin.export(user=user)


async def test_last_factor(server: Server, ann: Reader) -> None:
    """An address is no enrolment: an enrolled factor that is the last one cannot be removed."""
    _, message = await ann.asked()
    token = (await ann.send(token_of(message))).json()["access_token"]
    [enrolment] = await server.auth.users.enrolments(ann.id)
    answer = await server.send("DELETE", f"/auth/factors/{enrolment.id}", token=token)
    assert (409, "last_factor") == told(answer)


async def test_page(tmp_path: Path) -> None:
    """It is the application's, below `public_url`."""
    async with served(tmp_path, f'{SETTINGS}[magic-link]\npage = "/in"\n') as server:
        _, message = await (await Reader.joined(server)).asked()
        assert message.values["link"].startswith("https://auth.example.org/in#magic-link=")


@pytest.mark.parametrize("page", ["https://other.example/", "/login/#magic-link"])
async def test_page_that_is_none(tmp_path: Path, page: str) -> None:
    """A path, to which the token is put."""
    settings = f'{SETTINGS}[magic-link]\npage = "{page}"\n'
    with pytest.raises(ConfigError) as caught:
        async with served(tmp_path, settings):
            pass
    assert ['[magic-link].page: must be a path such as "/login/", without "#".'] == list(
        caught.value.problems
    )
