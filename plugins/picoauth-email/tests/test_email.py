"""Addresses: set, verified by link and by code, changed, taken back, removed."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from letters import (
    ADDRESS,
    HOUR,
    KINDS,
    MINUTE,
    OTHER,
    SETTINGS,
    THIRD,
    User,
    code_of,
    digits,
    joined,
    registered,
    token_of,
    told,
)

from picoauth import (
    AuthError,
    Caller,
    IdentifierAdded,
    IdentifierRemoved,
    IdentifierRestored,
    IdentifierVerified,
    Unavailable,
    UserRegistered,
    identifier,
)
from picoauth.delivery import line
from picoauth.testing import Server, delivered, serving
from picoauth_email.mails import EXPECTED
from picoauth_email.pending import TRIES
from picoauth_email.plugin import EmailPlugin
from tests.factors import CEREMONIES

NOT_FOUND, EXPIRED, WRONG = (404, "not_found"), (410, "link_expired"), (400, "wrong_code")


@pytest.fixture
def server(picoauth_server: Server) -> Server:
    return picoauth_server


@pytest.fixture
async def ann(server: Server) -> User:
    return await joined(server)


async def cancel(server: Server, token: str) -> tuple[int, str]:
    return told(await server.post("/auth/email/cancel", {"token": token}))


async def look(server: Server, token: str) -> tuple[int, str]:
    return told(await server.get(f"/auth/email/verify/{token}"))


async def refused(user: User, **proof: str) -> tuple[int, str]:
    return told(await user.verify(**proof))


async def minute(user: User) -> None:
    """After which one more mail may be sent."""
    user.server.clock.advance(MINUTE)
    await user.mails()


# Set and verified


@pytest.mark.parametrize("by", ["link", "code"])
async def test_set_and_verify(server: Server, ann: User, by: str) -> None:
    """A mail goes to the address; its link or its code verifies it, and it finds the account."""
    answer = await ann.set()
    assert {"address": ADDRESS} == answer.json()
    assert {ADDRESS: False} == await ann.addresses()
    assert await server.auth.users.find("email", ADDRESS) is None
    message = await ann.mail()
    assert ("Ann@example.com", "email/verify") == (message.to, message.template)
    assert f"Your code is {code_of(message)}" == message.subject
    link = f"https://auth.example.org/login/#verify-email={token_of(message)}"
    for part in (message.text, str(message.html)):
        assert link in part
        assert "https://auth.example.org/." in part
    proof = {"token": token_of(message)} if by == "link" else {"code": code_of(message)}
    answer = await ann.verify(**proof)
    assert (200, ADDRESS) == (answer.status_code, answer.json()["address"])
    assert {ADDRESS: True} == await ann.addresses()
    found = await server.auth.users.find("email", "ann@EXAMPLE.com")
    assert found is not None
    assert ann.id == found.id
    assert "email" == server.events.one(IdentifierAdded).kind
    assert ("email", False) == (
        server.events.one(IdentifierVerified).kind,
        server.events.one(IdentifierVerified).replaced,
    )
    assert [] == await ann.mails()


async def test_verified_once(ann: User) -> None:
    """Link and code of one mail are spent together."""
    await ann.set()
    message = await ann.mail()
    await ann.verify(token=token_of(message))
    assert NOT_FOUND == await refused(ann, token=token_of(message))
    assert WRONG == await refused(ann, code=code_of(message))
    assert NOT_FOUND == await look(ann.server, token_of(message))


async def test_code_as_people_type_it(ann: User) -> None:
    """Spaces and hyphens are nothing."""
    await ann.set()
    code = code_of(await ann.mail())
    assert 200 == (await ann.verify(code=f" {code[:4]}-{code[4:]} ")).status_code


@pytest.mark.parametrize(
    "body", [{}, {"token": "x", "code": "1"}, {"token": ""}, {"code": 12345678}, {"code": None}]
)
async def test_body_that_is_none(ann: User, body: Any) -> None:
    """A token or a code, and as a text."""
    answer = await ann.post("/verify", body)
    assert (400, "invalid_body") == told(answer)


@pytest.mark.parametrize("text", ["\ud800", "é" * 4000, "0" * 8, "/../", "٣" * 8])
async def test_odd_proof(ann: User, text: str) -> None:
    """It is wrong, whatever it is."""
    await ann.set()
    for member, expected in (("token", NOT_FOUND), ("code", WRONG)):
        answer = await ann.server.client.post(
            "/auth/email/verify",
            content=json.dumps({member: text}),
            headers={"Authorization": f"Bearer {ann.token}", "Content-Type": "application/json"},
        )
        assert told(answer) in (expected, (400, "invalid_body"), (400, "invalid_json"))
    assert {ADDRESS: False} == await ann.addresses()


async def test_look_takes_nothing(server: Server, ann: User) -> None:
    """Scanners of mail follow links: the link is as good afterwards (T-5)."""
    await ann.set()
    token = token_of(await ann.mail())
    for _ in range(3):
        assert (204, "") == await look(server, token)
        head = await server.send("HEAD", f"/auth/email/verify/{token}")
        assert 204 == head.status_code
    assert 200 == (await ann.verify(token=token)).status_code
    assert NOT_FOUND == await look(server, "none")


async def test_too_late(server: Server, ann: User) -> None:
    """A code is good for ten minutes, a link for a day (T-5)."""
    await ann.set()
    message = await ann.mail()
    server.clock.advance(600)
    await ann.login()
    assert WRONG == await refused(ann, code=code_of(message))
    server.clock.advance(24 * HOUR - 600)
    await ann.login()
    assert EXPIRED == await refused(ann, token=token_of(message))
    assert EXPIRED == await look(server, token_of(message))
    assert {ADDRESS: False} == await ann.addresses()


async def test_resent(ann: User) -> None:
    """The last mail is good, those before are not (T-5)."""
    await ann.set()
    first = await ann.mail()
    ann.server.clock.advance(MINUTE)
    answer = await ann.post("/resend")
    assert (202, {"address": ADDRESS}) == (answer.status_code, answer.json())
    second = await ann.mail()
    assert NOT_FOUND == await refused(ann, token=token_of(first))
    assert WRONG == await refused(ann, code=code_of(first))
    assert 200 == (await ann.verify(code=code_of(second))).status_code


async def test_nothing_to_resend(ann: User) -> None:
    """Without an address that waits there is none."""
    assert NOT_FOUND == told(await ann.post("/resend"))
    await ann.verified()
    assert NOT_FOUND == told(await ann.post("/resend"))


async def test_verified_already(ann: User) -> None:
    """Nobody verifies twice what is verified, however it is written."""
    await ann.verified()
    answer = await ann.post("", {"address": "ANN@example.COM"})
    assert (409, "email_verified") == told(answer)
    assert [] == await ann.mails()


@pytest.mark.parametrize(
    "address",
    ["ann", "ann@localhost", "a@b@example.com", "ann@example.com\r\nBcc: eve@example.com"],
)
async def test_address_that_is_none(ann: User, address: str) -> None:
    """It is refused, and nothing is written or sent (E-1)."""
    assert (400, "invalid_email") == told(await ann.post("", {"address": address}))
    assert ({}, []) == (await ann.addresses(), await ann.mails())


# Limits


async def test_limits(ann: User) -> None:
    """One a minute, three an hour, ten a day; the answer is the same (A-6, R-1)."""
    answers = [await ann.set()]
    counts = [len(await ann.mails())]
    for seconds in (59, 1, MINUTE, MINUTE, HOUR):
        ann.server.clock.advance(seconds)
        await ann.login()
        answers.append(await ann.post("/resend"))
        counts.append(len(await ann.mails()))
    assert [1, 0, 1, 1, 0, 1] == counts
    assert 1 == len({(one.status_code, one.text) for one in answers})


async def test_limit_of_a_mailbox(server: Server, ann: User) -> None:
    """It counts for all accounts: nobody fills a mailbox by many of them. Its spellings are one."""
    await ann.set()
    await ann.mails()
    for n in range(3):
        other = await joined(server, f"user{n}")
        await other.set(f"{'ANN' if n else 'ann'}@example.com")
    assert [] == await ann.mails()
    await registered(server, "eve")
    assert [] == await ann.mails()


async def test_limit_of_an_account(ann: User) -> None:
    """It counts for all addresses; the mail that came is good, if it is for the same one."""
    await ann.set()
    first = await ann.mail()
    await ann.set()
    assert [] == await ann.mails()
    assert (204, "") == await look(ann.server, token_of(first))
    await ann.set(OTHER)
    assert [] == await ann.mails()
    assert NOT_FOUND == await refused(ann, token=token_of(first))
    assert {OTHER: False} == await ann.addresses()


async def test_fifty_at_once(ann: User) -> None:
    """Of fifty that ask at once, one gets a mail."""
    answers = await asyncio.gather(*(ann.post("", {"address": ADDRESS}) for _ in range(50)))
    assert {202} == {one.status_code for one in answers}
    assert 1 == len(await ann.mails())
    assert {ADDRESS: False} == await ann.addresses()


# Whose address it is


async def test_unverified_address_is_nobodys(server: Server, ann: User) -> None:
    """Any number of accounts may wait for it; whoever reads the mail gets it (E-6)."""
    eve = await joined(server, "eve")
    await eve.set()
    mail_of_eve = await eve.mail()
    server.clock.advance(MINUTE)
    await ann.mails()
    await ann.set()
    mail_of_ann = await ann.mail()
    for proof in ({"token": token_of(mail_of_eve)}, {"code": code_of(mail_of_eve)}):
        answer = await ann.verify(**proof)
        assert told(answer) in (NOT_FOUND, WRONG)
    assert 200 == (await ann.verify(token=token_of(mail_of_ann))).status_code
    assert NOT_FOUND == await refused(eve, token=token_of(mail_of_eve))
    assert WRONG == await refused(eve, code=code_of(mail_of_eve))
    assert {ADDRESS: False} == await eve.addresses()
    assert {ADDRESS: True} == await ann.addresses()


async def test_link_without_a_session(server: Server, ann: User) -> None:
    """Whoever opens it has to log in first, to the account that asked."""
    await ann.set()
    token = token_of(await ann.mail())
    answer = await server.post("/auth/email/verify", {"token": token})
    assert (401, "token_missing") == told(answer)
    assert (204, "") == await look(server, token)


async def test_address_of_somebody_else(server: Server, ann: User) -> None:
    """Who asks sees no difference; the mailbox is told that it has an account, with no code."""
    await ann.verified()
    eve = await joined(server, "eve")
    taken = await eve.set()
    [message] = await ann.mails()
    assert ("email/taken", ADDRESS) == (message.template, message.to)
    assert not digits(message.text)
    assert "#" not in message.text
    free = await eve.set(THIRD)
    assert taken.text.replace(ADDRESS, THIRD) == free.text
    assert {ADDRESS: True} == await ann.addresses()


async def test_two_verify_at_once(server: Server) -> None:
    """One gets the address; the other hears what a wrong proof hears."""
    for number, kind in enumerate(["token", "code"]):
        address = f"both{number}@example.com"
        users = [await joined(server, f"{name}{number}") for name in ("one", "two")]
        proofs = []
        for user in users:
            await user.set(address)
            message = (await user.mails())[-1]
            proofs.append(token_of(message) if kind == "token" else code_of(message))
            server.clock.advance(MINUTE)
        both = zip(users, proofs, strict=True)
        answers = await asyncio.gather(*(user.verify(**{kind: proof}) for user, proof in both))
        wrong = NOT_FOUND if kind == "token" else WRONG
        assert sorted([(200, ""), wrong]) == sorted(told(one) for one in answers)


async def test_fifty_uses_of_one_proof(ann: User) -> None:
    """One verifies (T-3)."""
    await ann.set()
    message = await ann.mail()
    token, sent = ann.token, {"token": token_of(message)}
    answers = await asyncio.gather(
        *(ann.server.post("/auth/email/verify", sent, token=token) for _ in range(50))
    )
    assert 1 == sum(one.is_success for one in answers)
    assert {(404, "not_found"), (401, "start_over")} >= {
        told(one) for one in answers if not one.is_success
    }


async def test_fifty_guesses(ann: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five are looked at; then the right code is wrong, and the link is good (T-2)."""
    await ann.set()
    message = await ann.mail()
    pending = ann.server.auth.plugin(EmailPlugin).addresses.pending
    looked: list[str] = []
    digests = pending.digests

    def counting(user_id: str, value: str, code: str) -> Sequence[bytes]:
        looked.append(code)
        return digests(user_id, value, code)

    monkeypatch.setattr(pending, "digests", counting)
    guesses = [f"{n:08d}" for n in range(50)]
    assert code_of(message) not in guesses
    answers = await asyncio.gather(*(ann.post("/verify", {"code": code}) for code in guesses))
    assert Counter({WRONG: 50}) == Counter(told(one) for one in answers)
    assert TRIES == len(looked)
    assert WRONG == await refused(ann, code=code_of(message))
    assert 200 == (await ann.verify(token=token_of(message))).status_code


async def test_guesses_on_two_servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two servers on one file: five guesses together, and one of two accounts gets the address."""
    more: Any = {"plugins": KINDS, "ceremonies": CEREMONIES}
    async with (
        serving(tmp_path, SETTINGS, **more) as one,
        serving(tmp_path, SETTINGS, **more) as other,
    ):
        ann, looked = await joined(one), 0
        await ann.set()
        message = await ann.mail()
        for server in (one, other):
            pending = server.auth.plugin(EmailPlugin).addresses.pending

            def counting(*typed: str, of: Any = pending.digests) -> Any:
                nonlocal looked
                looked += 1
                return of(*typed)

            monkeypatch.setattr(pending, "digests", counting)
        answers = await asyncio.gather(
            *(
                (one, other)[n % 2].post(
                    "/auth/email/verify", {"code": f"{n:08d}"}, token=ann.token
                )
                for n in range(50)
            )
        )
        assert ({WRONG}, TRIES) == ({told(answer) for answer in answers}, looked)
        bob = await joined(other, "bob")
        other.clock.advance(MINUTE)
        await bob.set()
        proofs = [(one, ann, message), (other, bob, await bob.mail())]
        answers = await asyncio.gather(
            *(
                server.post("/auth/email/verify", {"token": token_of(message)}, token=user.token)
                for server, user, message in proofs
            )
        )
        assert [(200, ""), NOT_FOUND] == sorted(told(answer) for answer in answers)


async def test_verified_by_a_cookie(server: Server, ann: User) -> None:
    """A session in a cookie goes on with a new one; a page of another site verifies nothing."""
    await ann.set()
    code = code_of(await ann.mail())
    login = {"factor": "pin", "username": "ann", "pin": "pin of ann", "session": "cookie"}
    own = {"Origin": "https://auth.example.org"}
    answer = await server.client.post("/auth/login", json=login, headers=own)
    assert 200 == answer.status_code
    before = answer.headers["set-cookie"].partition(";")[0]
    server.client.cookies.clear()
    for origin, status in (("https://evil.example", 403), (own["Origin"], 200)):
        headers = {"Origin": origin, "Cookie": before}
        answer = await server.client.post(
            "/auth/email/verify", json={"code": code}, headers=headers
        )
        assert status == answer.status_code, answer.text
    assert (ADDRESS, ann.id) == (answer.json()["address"], answer.json()["sub"])
    assert before != answer.headers["set-cookie"].partition(";")[0]


# Changed


async def test_change(server: Server, ann: User) -> None:
    """The old address stays until the new one is proven; both are told; other sessions end (E-5)."""
    await ann.verified()
    other = await ann.someone.login()
    await ann.set(OTHER)
    assert {ADDRESS: True, OTHER: False} == await ann.addresses()
    new, old = await ann.mails()
    assert [(OTHER, "email/verify"), (ADDRESS, "email/changing")] == [
        (one.to, one.template) for one in (new, old)
    ]
    assert f"https://auth.example.org/login/#cancel-email={token_of(old)}" in old.text
    assert 200 == (await ann.verify(token=token_of(new))).status_code
    assert {OTHER: True} == await ann.addresses()
    message = await ann.mail()
    assert (ADDRESS, "email/changed") == (message.to, message.template)
    assert token_of(message) in message.text
    assert await server.auth.users.find("email", ADDRESS) is None
    for token, status in ((ann.token, 200), (other["access_token"], 401)):
        assert status == (await server.get("/auth/me", token=token)).status_code


async def test_change_needs_a_fresh_proof(ann: User) -> None:
    """Who has but an old session changes nothing, and removes nothing."""
    ann.server.clock.advance(301)
    assert (403, "stepup_needed") == told(await ann.post("", {"address": OTHER}))
    answer = await ann.server.send("DELETE", "/auth/email", token=ann.token)
    assert (403, "stepup_needed") == told(answer)


@pytest.mark.parametrize("when", ["asked", "verified"])
async def test_cancel(server: Server, ann: User, when: str) -> None:
    """The old address stands again, the new one is gone, every session has ended."""
    await ann.verified()
    await ann.set(OTHER)
    new, old = await ann.mails()
    back = token_of(old)
    if when == "verified":
        await ann.verify(token=token_of(new))
        back = token_of(await ann.mail())
    assert (204, "") == await cancel(server, back)
    assert {ADDRESS: True} == await ann.addresses()
    assert 401 == (await server.get("/auth/me", token=ann.token)).status_code
    assert "email" == server.events.one(IdentifierRestored).kind
    for token in (back, token_of(old)):
        assert NOT_FOUND == await cancel(server, token)
    await ann.login()
    for proof in ({"token": token_of(new)}, {"code": code_of(new)}):
        assert told(await ann.verify(**proof)) in (NOT_FOUND, WRONG)


async def test_cancel_for_three_days(server: Server, ann: User) -> None:
    """From the moment of the change on."""
    await ann.verified()
    await ann.set(OTHER)
    new, asked = await ann.mails()
    server.clock.advance(23 * HOUR)
    await ann.login()
    await ann.verify(token=token_of(new))
    changed = await ann.mail()
    server.clock.advance(72 * HOUR - 1)
    assert EXPIRED == await cancel(server, token_of(asked))
    server.clock.advance(1)
    assert EXPIRED == await cancel(server, token_of(changed))
    server.clock.advance(-1)
    assert (204, "") == await cancel(server, token_of(changed))


async def test_thief_changes_twice(server: Server, ann: User) -> None:
    """A thief's own link takes back no more than what came after; the owner's takes back all."""
    await ann.verified()
    await ann.set(OTHER)
    new, owners = await ann.mails()
    await ann.verify(token=token_of(new))
    await minute(ann)
    await ann.set(THIRD)
    newer, thiefs = await ann.mails()
    await ann.verify(token=token_of(newer))
    assert {THIRD: True} == await ann.addresses()
    assert (204, "") == await cancel(server, token_of(thiefs))
    assert {OTHER: True} == await ann.addresses()
    assert (204, "") == await cancel(server, token_of(owners))
    assert {ADDRESS: True} == await ann.addresses()


async def test_thief_comes_too_late(server: Server, ann: User) -> None:
    """What the owner took back stays: the thief's links are void with it."""
    await ann.verified()
    await ann.set(OTHER)
    new, owners = await ann.mails()
    await ann.verify(token=token_of(new))
    await minute(ann)
    await ann.set(THIRD)
    newer, thiefs = await ann.mails()
    await ann.verify(token=token_of(newer))
    last = await ann.mail()
    assert (204, "") == await cancel(server, token_of(owners))
    for message in (thiefs, last):
        assert NOT_FOUND == await cancel(server, token_of(message))
    assert {ADDRESS: True} == await ann.addresses()


async def test_cancel_while_it_is_verified(server: Server, ann: User) -> None:
    """Whichever comes first: in the end the old address stands."""
    await ann.verified()
    for n in range(3):
        await ann.set(f"new{n}@example.com")
        new, old = await ann.mails()
        doing = [
            ann.verify(code=code_of(new)),
            server.post("/auth/email/cancel", {"token": token_of(old)}),
        ]
        results = await asyncio.gather(*doing[:: 1 if n % 2 else -1])
        assert 204 in {one.status_code for one in results}
        assert {ADDRESS: True} == await ann.addresses()
        await minute(ann)
        server.clock.advance(HOUR)
        await ann.login()


async def test_token_of_another_purpose(server: Server, ann: User) -> None:
    """None is good where another belongs (T-1)."""
    await ann.verified()
    await ann.set(OTHER)
    new, old = await ann.mails()
    assert NOT_FOUND == await refused(ann, token=token_of(old))
    assert NOT_FOUND == await look(server, token_of(old))
    assert NOT_FOUND == await cancel(server, token_of(new))


async def test_remove(server: Server, ann: User) -> None:
    """No address is left; the verified one is told, and may come back."""
    await ann.verified()
    await ann.set(OTHER)
    new, _ = await ann.mails()
    answer = await server.send("DELETE", "/auth/email", token=ann.token)
    assert 200 == answer.status_code
    ann.token = answer.json()["access_token"]
    assert {} == await ann.addresses()
    assert "email" == server.events.one(IdentifierRemoved).kind
    assert NOT_FOUND == await look(server, token_of(new))
    message = await ann.mail()
    assert (ADDRESS, "email/changed") == (message.to, message.template)
    assert NOT_FOUND == told(await server.send("DELETE", "/auth/email", token=ann.token))
    assert (204, "") == await cancel(server, token_of(message))
    assert {ADDRESS: True} == await ann.addresses()


async def test_remove_what_waits(server: Server, ann: User) -> None:
    """An address that is not verified goes without a word."""
    await ann.set()
    await ann.mails()
    answer = await server.send("DELETE", "/auth/email", token=ann.token)
    assert (200, {}) == (answer.status_code, await ann.addresses())
    assert [] == await ann.mails()


# Registration


async def test_registration(server: Server) -> None:
    """An account made with an address gets the mail, in the language of its user or request."""
    sent = 0
    for n, (locale, languages, language) in enumerate(
        [
            ("de-AT", "fr", "de"),
            (None, "fr-CH, en;q=0.8", "fr"),
            (None, "", "en"),
            ("xx", "de", "de"),
        ]
    ):
        await registered(server, f"u{n}", f"u{n}@example.com", locale=locale, languages=languages)
        mails = await delivered(server)
        assert sent + 1 == len(mails)
        sent, message = len(mails), mails[-1]
        assert (f"u{n}@example.com", "email/verify", language) == (
            message.to,
            message.template,
            message.language,
        )


async def test_language_of_a_request(ann: User) -> None:
    """It is that of the header, where the user has none."""
    headers = {"Accept-Language": "de", "Authorization": f"Bearer {ann.token}"}
    body = {"address": ADDRESS}
    await ann.server.client.post("/auth/email", json=body, headers=headers)
    message = await ann.mail()
    assert "de" == message.language
    assert message.subject == f"Ihr Code ist {code_of(message)}"


async def test_registration_is_verified(server: Server) -> None:
    """By the user, once logged in."""
    someone = await registered(server, "ann")
    user = User(server, someone, (await someone.login())["access_token"])
    assert 200 == (await user.verify(code=code_of(await user.mail()))).status_code


async def test_registration_that_comes_to_nothing(server: Server, ann: User) -> None:
    """A taken name queues no mail; what was decided about a denied one is forgotten in the end."""
    mails = server.auth.plugin(EmailPlugin).addresses.mails
    with pytest.raises(AuthError, match="username_taken"):
        await registered(server, "ann", OTHER)
    assert ([], {}) == (await ann.mails(), mails.expected)
    await mails.expect("denied", identifier("email", OTHER, verified=False))
    mails.expected.update({str(n): ("verify", None) for n in range(EXPECTED)})
    await registered(server, "bob", THIRD)
    assert "denied" not in mails.expected
    assert EXPECTED >= len(mails.expected)
    assert [THIRD] == [one.to for one in await ann.mails()]


async def test_registration_with_what_no_mail_can_go_to(server: Server, ann: User) -> None:
    """An address that is too long once it is written as mail needs it is refused beforehand."""
    with pytest.raises(AuthError, match="invalid_email"):
        await registered(server, "bob", "\N{LATIN CAPITAL LETTER SHARP S}" * 120 + "@example.com")
    assert [] == await ann.mails()


@pytest.mark.parametrize("trouble", [Unavailable("locked"), TimeoutError()])
async def test_registration_while_the_database_is_busy(
    server: Server, ann: User, monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    """It is to be tried again, not refused; nothing is made."""

    async def busy(*_: object) -> None:
        raise trouble

    monkeypatch.setattr(server.auth.plugin(EmailPlugin).addresses.mails, "chosen", busy)
    with pytest.raises(AuthError, match="unavailable") as caught:
        await registered(server, "bob", OTHER)
    assert {"Retry-After": "1"} == caught.value.headers
    assert await server.auth.users.find("username", "bob") is None
    assert [] == await ann.mails()


async def test_registration_with_an_address_of_somebody(server: Server, ann: User) -> None:
    """It makes an account as any other (P-8), and tells the owner."""
    await ann.verified()
    await registered(server, "eve")
    message = await ann.mail()
    assert ("email/taken", ADDRESS) == (message.template, message.to)


async def test_registration_without_a_decision(server: Server, ann: User) -> None:
    """An event that nobody was asked about beforehand queues a mail to nobody."""
    plugin = server.auth.plugin(EmailPlugin)
    event = UserRegistered(
        at=server.auth.now(),
        user_id=ann.id,
        identifiers=[identifier("email", OTHER, verified=False)],
        caller=Caller(),
    )
    addition = plugin.record(event=event)
    assert addition is not None
    await server.auth.database.write(*addition.statements)
    assert [] == await ann.mails()


async def test_statements_look_alike(server: Server, ann: User) -> None:
    """Free, taken, or full: the same statements, as far as a clock can tell."""
    await ann.verified()
    eve = await joined(server, "eve")
    user = await server.auth.users.require(eve.id)
    mails = server.auth.plugin(EmailPlugin).addresses.mails
    address = identifier("email", OTHER, verified=False)
    shapes = {
        tuple(one.sql for one in mails.proving(template, to, user, address, Caller()))
        for template, to in (("verify", OTHER), ("taken", OTHER), ("verify", None))
    }
    assert 1 == len(shapes)


# Others


@pytest.mark.parametrize("how", ["disable", "delete"])
async def test_account_that_is_gone(server: Server, ann: User, how: str) -> None:
    """Its links and codes are dead, also once it is enabled again (S-6)."""
    await ann.verified()
    await ann.set(OTHER)
    new, old = await ann.mails()
    await getattr(server.auth.accounts, how)(ann.id, Caller())
    assert 401 == (await ann.verify(token=token_of(new))).status_code
    assert NOT_FOUND == await look(server, token_of(new))
    assert NOT_FOUND == await cancel(server, token_of(old))
    if how == "disable":
        await server.auth.accounts.enable(ann.id, Caller())
        await ann.login()
        assert NOT_FOUND == await refused(ann, token=token_of(new))


async def test_deletion_leaves_nothing(server: Server, ann: User) -> None:
    """No table of the plugin, nor the rates, know the user."""
    await ann.verified()
    await ann.set(OTHER)
    await server.auth.accounts.delete(ann.id, Caller())
    for table in ("email_codes", "email_changes", "rates", "identifiers", "tickets"):
        rows = await server.auth.database.read(f"select * from {table}")
        assert ann.id not in str(rows)
        assert "ann@" not in str(rows).lower()


async def test_what_is_stored_and_told(server: Server, ann: User, caplog: Any) -> None:
    """No code and no token in clear, in no file, log or event; no address in a line (L-2)."""
    caplog.set_level("DEBUG")
    await ann.verified()
    await ann.set(OTHER)
    new, old = await ann.mails()
    await ann.verify(code="00000000")
    await server.get(f"/auth/email/verify/{token_of(new)}")
    said = "".join(r.getMessage() for r in caplog.records if r.name.startswith("picoauth"))
    secrets = [code_of(new), token_of(new), token_of(old)]
    files = b"".join(path.read_bytes() for path in server.folder.glob("*") if path.is_file())
    lines = "\n".join(line(event) for event in server.events)
    for secret in secrets:
        assert secret.encode() not in files
        assert secret not in said
        assert secret not in lines
    assert "@example" not in lines + said


async def test_export(server: Server, ann: User) -> None:
    """What waits is told to its user, without what proves anything."""
    export = server.auth.plugin(EmailPlugin).export
    user = await server.auth.users.require(ann.id)
    assert {"codes": [], "changes": []} == await export(user=user)
    await ann.verified()
    await ann.set(OTHER)
    now = server.auth.now()
    assert {
        "codes": [{"address": OTHER, "expires_at": now + 600}],
        "changes": [{"cancelable_until": now + 72 * HOUR}],
    } == await export(user=user)


async def test_old_changes_are_forgotten(server: Server, ann: User) -> None:
    """A row goes when its link came too late, with the next change."""
    await ann.verified()
    for address in (OTHER, THIRD):
        await ann.set(address)
        server.clock.advance(80 * HOUR)
        await ann.login()
    [[count]] = await server.auth.database.read("select count(*) from email_changes")
    assert 1 == count


async def test_who_is_imported_gets_no_mail(server: Server) -> None:
    """An address that comes by an import is one that nobody typed here: it gets no mail."""
    draft = server.auth.users.draft(username="bob")
    address = identifier("email", "bob@example.com", verified=False)
    draft = replace(draft, identifiers=[*draft.identifiers, address], imported=True)
    await server.auth.users.register(draft)
    assert [] == await delivered(server)
