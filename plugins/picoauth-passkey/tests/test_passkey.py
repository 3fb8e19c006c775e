"""Passkeys over HTTP on a real file: how they are registered, and who is let in by them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from picoauth import Caller, FactorConfirmed, LoginFailed
from picoauth.testing import Clock, Server, serving
from picoauth.testing.authenticator import Authenticator, NotAllowed, packed
from picoauth.testing.contracts.base import together
from picoauth_passkey import PasskeyCounterFell, PasskeyPlugin, PasskeyRefused
from tests.factors import PATIENT
from tests.passkeys import (
    after_pin,
    begin,
    begin_enrol,
    bent,
    count,
    device,
    end_enrol,
    enrol,
    login,
    only,
    owner,
    prove,
    register,
    running,
    status_check,
    user,
)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with running(tmp_path, PATIENT) as server:
        yield server


def key(**more: Any) -> Authenticator:
    """A key of U2F."""
    return device(attestation="fido-u2f", **more)


async def row(server: Server, column: str) -> Any:
    [[value]] = await server.auth.database.read(f"select {column} from passkey")
    return value


async def claims(server: Server, token: str) -> dict[str, Any]:
    found: dict[str, Any] = (await server.get("/auth/session", token=token)).json()
    return found


async def test_registration(server: Server) -> None:
    """It answers the passkey, new tokens and the signals; the device is asked as the standard says."""
    token, ann = await user(server), device()
    begun = await begin_enrol(server, token)
    options = begun["options"]
    assert {"id": "localhost", "name": "localhost"} == options["rp"]
    assert ("ann", "ann") == (options["user"]["name"], options["user"]["displayName"])
    assert [-8, -7, -257] == [each["alg"] for each in options["pubKeyCredParams"]]
    assert 300_000 == options["timeout"]
    assert [] == options["excludeCredentials"]
    assert "none" == options["attestation"]
    assert {
        "residentKey": "required",
        "requireResidentKey": True,
        "userVerification": "preferred",
    } == options["authenticatorSelection"]
    assert {"credProps": True} == options["extensions"]
    answer = await end_enrol(server, token, begun["ticket"], ann.create(options), label="Phone")
    assert 201 == answer.status_code, answer.text
    body = answer.json()
    whose = {"rpId": "localhost", "userId": options["user"]["id"]}
    accepted = {"allAcceptedCredentialIds": [packed(only(ann).id)]}
    assert {
        "allAcceptedCredentials": {**whose, **accepted},
        "currentUserDetails": {**whose, "name": "ann", "displayName": "ann"},
    } == body["signals"]
    assert "Phone" == body["label"]
    listed = (await server.get("/auth/factors", token=body["access_token"])).json()["factors"]
    assert [(body["id"], "Phone")] == [
        (each["id"], each["label"]) for each in listed if each["factor"] == "passkey"
    ]
    signals = await server.get("/auth/passkey/signals", token=body["access_token"])
    assert body["signals"] == signals.json()
    [event] = server.events.of(FactorConfirmed)
    assert (True, body["id"]) == (event.first, event.enrolment_id)


async def test_login_without_a_name(server: Server) -> None:
    """The device says who it is; nothing that the server asks tells of anybody."""
    ann = device()
    await owner(server, ann)
    begun = await begin(server)
    challenge = begun["challenge"]
    assert ([], "preferred", {}) == (
        challenge["allowCredentials"],
        challenge["userVerification"],
        challenge["extensions"],
    )
    answer = await prove(server, begun["flow"], ann.get(challenge))
    assert 200 == answer.status_code, answer.text
    found = await claims(server, answer.json()["access_token"])
    assert ("ann", ["hwk", "user", "mfa"]) == (found["preferred_username"], found["amr"])


async def test_login_with_a_name(server: Server) -> None:
    """The user's passkeys are named; the name may be written as it is typed."""
    ann = device()
    await owner(server, ann)
    begun = await begin(server, username="ANN")
    [named] = begun["challenge"]["allowCredentials"]
    assert {"type": "public-key", "id": packed(only(ann).id), "transports": ["usb"]} == named
    assert 200 == (await prove(server, begun["flow"], ann.get(begun["challenge"]))).status_code


async def test_login_in_one_step(server: Server) -> None:
    """The answer may stand under its name, beside another factor's, once it was asked for."""
    ann = key()
    await owner(server, ann)
    for wrapped in (True, False):
        begun = await begin(server, username="ann")
        signed = ann.get(begun["challenge"])
        body = {"username": "ann", "pin": "pin of ann", "flow": begun["flow"]}
        sent = {"passkey": signed} if wrapped else signed
        answer = await server.post("/auth/login", {**body, "passkey": sent})
        assert 200 == answer.status_code, answer.text


async def test_account_without_a_password(server: Server) -> None:
    """A passkey is all that the account has, and enough."""
    ann = device()
    body = {"display_name": "Ann A", "email": "ann@example.org"}
    answer = await register(server, ann, **body)
    assert 201 == answer.status_code, answer.text
    made = answer.json()
    assert ("ann", "Ann A") == (made["username"], made["name"])
    assert packed(only(ann).user_handle or b"") == made["signals"]["currentUserDetails"]["userId"]
    tokens = (await login(server, ann)).json()
    token = tokens["access_token"]
    me = (await server.get("/auth/me", token=token)).json()
    assert made["id"] == me["id"]
    assert [("email", False), ("username", True)] == [
        (each["kind"], each["verified"]) for each in me["identifiers"]
    ]
    signals = (await server.get("/auth/passkey/signals", token=token)).json()
    assert made["signals"] == signals
    [factor] = (await server.get("/auth/factors", token=token)).json()["factors"]
    answer = await server.send("DELETE", f"/auth/factors/{factor['id']}", token=token)
    assert (409, "last_factor", None) == status_check(answer)


async def test_account_options(server: Server) -> None:
    """The device has to verify its user; what cannot be a name or an address is said before."""
    path = "/auth/passkey/register/begin"
    begun = (await server.post(path, {"username": "ann"})).json()
    selection = begun["options"]["authenticatorSelection"]
    assert ("required", "required") == (selection["userVerification"], selection["residentKey"])
    for body, code in (
        ({"username": "a@b"}, "invalid_username"),
        ({"username": "ann", "email": "none"}, "invalid_email"),
        ({}, "invalid_body"),
    ):
        answer = await server.post(path, body)
        assert (400, code, None) == status_check(answer)


async def test_taken_name(server: Server) -> None:
    """It is said before a device makes a key; who comes too late is told to forget the key."""
    path = "/auth/passkey/register"
    begun = (await server.post(f"{path}/begin", {"username": "ann"})).json()
    assert 201 == (await register(server, device())).status_code
    assert (409, "username_taken", None) == status_check(await register(server, device(), "Ann"))
    late = device()
    body = {"ticket": begun["ticket"], "passkey": late.create(begun["options"])}
    answer = await server.post(path, body)
    assert (409, "username_taken", None) == status_check(answer)
    hint = {"rpId": "localhost", "credentialId": packed(only(late).id)}
    assert {"unknownCredential": hint} == answer.json()["signals"]
    assert (1, 1) == (await count(server), await count(server, "passkey_users"))


async def test_no_registration(tmp_path: Path) -> None:
    """Where nobody may make an account there is no such route."""
    async with running(tmp_path, "[passkey]\nregister = false") as server:
        for end in ("/begin", ""):
            answer = await server.post(f"/auth/passkey/register{end}", {"username": "ann"})
            assert 404 == answer.status_code
        await owner(server, device())


async def test_second_factor(server: Server) -> None:
    """A key of U2F follows the other factor; by itself it is one factor, and asks for another."""
    ann = key()
    await owner(server, ann, kind="security_key")
    answer = await server.post("/auth/login", {"username": "ann", "pin": "pin of ann"})
    assert ["passkey"] == answer.json()["next"]
    begun = await begin(server, flow=answer.json()["flow"])
    assert "discouraged" == begun["challenge"]["userVerification"]
    answer = await prove(server, begun["flow"], ann.get(begun["challenge"]))
    assert 200 == answer.status_code, answer.text
    found = await claims(server, answer.json()["access_token"])
    assert ["pin", "hwk", "user", "mfa"] == found["amr"]
    alone = await login(server, ann, username="ann")
    assert (401, "more_needed", None) == status_check(alone)
    assert ["pin"] == alone.json()["next"]


async def test_passkey_as_second_factor(server: Server) -> None:
    """One that can verify its user is asked to."""
    await owner(server, device())
    begun = await begin(server, flow=await after_pin(server))
    assert "preferred" == begun["challenge"]["userVerification"]


async def test_verification_that_comes_later(server: Server) -> None:
    """A key that was registered without a PIN is one factor for good.

    Whoever finds it could give it a PIN of his own, and would be let in by that alone.
    """
    ann = device(verified=False)
    await owner(server, ann)
    finder = replace(ann, verified=True)
    assert (401, "more_needed", None) == status_check(await login(server, finder))
    assert 0 == await row(server, "user_verified")


async def test_security_key_options(server: Server) -> None:
    """A key of U2F keeps nothing, and is not asked for a PIN."""
    token = await user(server)
    options = (await begin_enrol(server, token, kind="security_key"))["options"]
    assert {
        "residentKey": "discouraged",
        "requireResidentKey": False,
        "authenticatorAttachment": "cross-platform",
        "userVerification": "discouraged",
    } == options["authenticatorSelection"]
    assert ["security-key"] == options["hints"]
    answer = await server.post("/auth/passkey/begin", {"kind": "phone"}, token=token)
    assert (400, "invalid_body", None) == status_check(answer)


async def test_several_passkeys(server: Server) -> None:
    """Each has its name and last use; a device makes no second one; one that was removed is out."""
    phone, stick = device(backup_eligible=True, backed_up=True), key()
    token = await owner(server, phone, label="Phone")
    with pytest.raises(NotAllowed):
        phone.create((await begin_enrol(server, token))["options"])
    answer = await enrol(server, token, stick, kind="security_key", label="Stick")
    token = answer.json()["access_token"]
    listed = (await server.get("/auth/factors", token=token)).json()["factors"]
    assert {"Phone", "Stick"} == {each["label"] for each in listed if each["label"]}
    server.clock.advance(60)
    answer = await login(server, phone)
    token = answer.json()["access_token"]
    used = {f["label"]: f["last_used_at"] for f in (await factors(server, token))}
    assert (int(server.clock()), None) == (used["Phone"], used["Stick"])
    gone = next(f["id"] for f in await factors(server, token) if f["label"] == "Phone")
    answer = await server.send("DELETE", f"/auth/factors/{gone}", token=token)
    assert 200 == answer.status_code, answer.text
    answer = await login(server, phone)
    assert (401, "proof_refused", "credential") == status_check(answer)
    hint = {"rpId": "localhost", "credentialId": packed(only(phone).id)}
    assert {"unknownCredential": hint} == answer.json()["signals"]


async def factors(server: Server, token: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await server.get("/auth/factors", token=token)).json()["factors"]
    return found


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA"])
@pytest.mark.parametrize("attestation", ["none", "packed"])
async def test_kinds_of_keys(server: Server, algorithm: Any, attestation: Any) -> None:
    """Each algorithm is taken, whatever the device says of itself."""
    ann = device(algorithm=algorithm, attestation=attestation)
    token = await user(server)
    begun = await begin_enrol(server, token)
    made = ann.create({**begun["options"], "attestation": "direct"})
    assert 201 == (await end_enrol(server, token, begun["ticket"], made)).status_code
    assert 200 == (await login(server, ann)).status_code


U2F: dict[str, tuple[dict[str, Any], int]] = {
    "as it is": ({}, 201),
    "another signature": ({"stated": lambda s: (s[0], {**s[1], "sig": bytes(70)})}, 400),
    "a certificate too many": ({"stated": lambda s: (s[0], {**s[1], "x5c": s[1]["x5c"] * 2})}, 400),
    "a model": ({"data": lambda data: data[:37] + b"m" * 16 + data[53:]}, 400),
    "another page": ({"raw_client": lambda raw: raw + b" "}, 201),  # which is signed, too
}


@pytest.mark.parametrize("name", U2F)
async def test_attestation_of_u2f(server: Server, name: str) -> None:
    """`fido-u2f` is verified where a device sends it, though nobody asked."""
    change, status = U2F[name]
    token = await user(server)
    begun = await begin_enrol(server, token, kind="security_key")
    made = bent(key(), **change).create({**begun["options"], "attestation": "direct"})
    answer = await end_enrol(server, token, begun["ticket"], made)
    assert status == answer.status_code, answer.text
    assert answer.json().get("check") == (None if status == 201 else "attestation")
    assert (status == 201) == (1 == await count(server))


async def test_synced_passkey(server: Server) -> None:
    """Its counter may stay, be none, or fall: it is on several devices."""
    ann = device(backup_eligible=True, backed_up=True, counting=False)
    await owner(server, ann)
    for counter in (0, 0, 7, 7, 3):
        only(ann).counter = counter
        answer = await login(server, ann)
        assert 200 == answer.status_code, answer.text
        assert counter == await row(server, "counter")
    found = await claims(server, answer.json()["access_token"])
    assert ["swk", "user", "mfa"] == found["amr"]
    assert [] == server.events.of(PasskeyCounterFell)


async def test_counter_that_stays_at_zero(server: Server) -> None:
    """A device that does not count is no copy."""
    ann = device(counting=False)
    await owner(server, ann)
    for _ in range(3):
        assert 200 == (await login(server, ann)).status_code


async def test_counter_that_falls(server: Server) -> None:
    """A device-bound key with an older counter is refused, and an event says so."""
    ann = device()
    await owner(server, ann)
    only(ann).counter = 41
    assert 200 == (await login(server, ann)).status_code
    for counter in (41, 20, -1):
        only(ann).counter = counter
        assert (401, "proof_refused", "counter") == status_check(await login(server, ann))
    fell = server.events.of(PasskeyCounterFell)
    assert [(42, 42), (42, 21), (42, 0)] == [(event.stored, event.sent) for event in fell]
    assert {await row(server, "enrolment_id")} == {event.enrolment_id for event in fell}
    only(ann).counter = 42
    assert 200 == (await login(server, ann)).status_code


async def test_copy_that_says_it_is_synced(server: Server) -> None:
    """Whoever copied a key signs whatever flags: those of the registration decide."""
    ann = device()
    await owner(server, ann)
    only(ann).counter = 10
    await login(server, ann)
    only(ann).counter = 5
    copy = replace(ann, backup_eligible=True, backed_up=True)
    assert (401, "proof_refused", "counter") == status_check(await login(server, copy))


async def test_backup_that_changes(server: Server) -> None:
    """A key that becomes one that is synchronized goes on to work, and it is noted (Apple's do)."""
    ann = device(counting=False)
    await owner(server, ann)
    for eligible, backed_up in ((True, False), (True, True), (False, False)):
        moved = replace(ann, backup_eligible=eligible, backed_up=backed_up)
        assert 200 == (await login(server, moved)).status_code
        noted = (await row(server, "backup_eligible"), await row(server, "backed_up"))
        assert (eligible, backed_up) == noted


async def test_one_counter_twice_at_once(server: Server) -> None:
    """Of parallel signatures with one counter one counts: all others come from copies (W-5)."""
    ann = device()
    await owner(server, ann)
    before = await count(server, "sessions")
    begun = [await begin(server) for _ in range(20)]
    signed = []
    for each in begun:
        only(ann).counter = 5
        signed.append(ann.get(each["challenge"]))
    answers = await together(
        prove(server, b["flow"], s) for b, s in zip(begun, signed, strict=True)
    )
    statuses = [getattr(answer, "status_code", answer) for answer in answers]
    assert [200] + [401] * 19 == sorted(statuses)
    assert before + 1 == await count(server, "sessions")


async def test_one_answer_fifty_times_at_once(server: Server) -> None:
    """A challenge is good for one look, whoever is first."""
    ann = device(counting=False)
    await owner(server, ann)
    before = await count(server, "sessions")
    begun = await begin(server)
    signed = ann.get(begun["challenge"])
    answers = await together(prove(server, begun["flow"], signed) for _ in range(50))
    statuses = [getattr(answer, "status_code", answer) for answer in answers]
    assert [200] + [401] * 49 == sorted(statuses)
    assert before + 1 == await count(server, "sessions")


async def test_challenge_is_gone_after_one_look(server: Server) -> None:
    """A wrong answer spends it, though the flow goes on."""
    ann = device()
    await owner(server, ann)
    flow = await after_pin(server)
    begun = await begin(server, flow=flow)
    right = ann.get(begun["challenge"])
    wrong = {**right, "response": {**right["response"], "signature": "AAAA"}}
    answer = await prove(server, begun["flow"], wrong)
    assert (401, "proof_refused", "credential") == status_check(answer)
    answer = await prove(server, answer.json()["flow"], right)
    assert (401, "proof_refused", "challenge") == status_check(answer)


async def test_challenge_that_is_too_old(tmp_path: Path) -> None:
    """It has to be answered within its life, even where the flow lives longer (T-5)."""
    above, clock = "[logins]\nflow_life = 600", Clock()
    async with running(tmp_path, above, clock=clock) as server:
        ann = device(counting=False)
        token = await owner(server, ann)
        for late, status in ((300, 200), (301, 401), (-1, 401)):
            begun = await begin(server)
            clock.advance(late)
            answer = await prove(server, begun["flow"], ann.get(begun["challenge"]))
            assert status == answer.status_code, answer.text
            clock.advance(-late)
        token = (await login(server, ann)).json()["access_token"]
        begun = await begin_enrol(server, token)
        clock.advance(300)
        made = device().create(begun["options"])
        answer = await end_enrol(server, token, begun["ticket"], made)
        assert (400, "passkey_refused", "challenge") == status_check(answer)


async def test_life_of_a_challenge(tmp_path: Path) -> None:
    """It is a setting."""
    async with running(tmp_path, "[passkey]\nchallenge_life = 60") as server:
        ann = device()
        await owner(server, ann)
        begun = await begin(server)
        assert 60_000 == begun["challenge"]["timeout"]
        server.clock.advance(61)
        answer = await prove(server, begun["flow"], ann.get(begun["challenge"]))
        assert (401, "proof_refused", "challenge") == status_check(answer)


async def test_tickets(server: Server) -> None:
    """A ticket is good for one try of its own user, and a newer one voids it."""
    ann, bob = await user(server), await user(server, "bob")
    begun = await begin_enrol(server, ann)
    made = device().create(begun["options"])
    for token, ticket in ((bob, begun["ticket"]), (ann, begun["ticket"]), (ann, "none")):
        answer = await end_enrol(server, token, ticket, made)
        assert (400, "passkey_refused", "challenge") == status_check(answer)
    older, newer = await begin_enrol(server, ann), await begin_enrol(server, ann)
    answer = await end_enrol(server, ann, older["ticket"], device().create(older["options"]))
    assert (400, "passkey_refused", "challenge") == status_check(answer)
    answer = await end_enrol(server, ann, newer["ticket"], device().create(newer["options"]))
    assert 201 == answer.status_code
    account = (await server.post("/auth/passkey/register/begin", {"username": "carl"})).json()
    token = answer.json()["access_token"]
    answer = await end_enrol(server, token, account["ticket"], device().create(account["options"]))
    assert (400, "passkey_refused", "challenge") == status_check(answer)
    assert 1 == await count(server)


async def test_ticket_of_an_account_is_none_of_a_user(server: Server) -> None:
    """Nor the other way round: nobody makes an account of a ticket to add a passkey."""
    begun = await begin_enrol(server, await user(server))
    body = {"ticket": begun["ticket"], "passkey": device().create(begun["options"])}
    answer = await server.post("/auth/passkey/register", body)
    assert (400, "passkey_refused", "challenge") == status_check(answer)


async def test_one_registration_fifty_times_at_once(server: Server) -> None:
    """One wins, and there is one passkey; of accounts likewise."""
    token = await user(server)
    begun = await begin_enrol(server, token)
    made = device().create(begun["options"])
    answers = await together(end_enrol(server, token, begun["ticket"], made) for _ in range(50))
    statuses = [getattr(answer, "status_code", answer) for answer in answers]
    assert [201] + [400] * 49 == sorted(statuses)
    assert 1 == await count(server)
    begun = (await server.post("/auth/passkey/register/begin", {"username": "carl"})).json()
    body = {"ticket": begun["ticket"], "passkey": device().create(begun["options"])}
    answers = await together(server.post("/auth/passkey/register", body) for _ in range(50))
    statuses = [getattr(answer, "status_code", answer) for answer in answers]
    assert [201] + [400] * 49 == sorted(statuses)
    assert (2, 2) == (await count(server), await count(server, "users"))


async def test_one_name_from_many_devices_at_once(server: Server) -> None:
    """One account is made; all others hear that the name is taken."""
    path, bodies = "/auth/passkey/register", []
    for _ in range(20):
        begun = (await server.post(f"{path}/begin", {"username": "ann"})).json()
        made = device().create(begun["options"])
        bodies.append({"ticket": begun["ticket"], "passkey": made})
    answers = await together(server.post(path, body) for body in bodies)
    statuses = [getattr(answer, "status_code", answer) for answer in answers]
    assert [201] + [409] * 19 == sorted(statuses)
    assert (1, 1) == (await count(server), await count(server, "users"))


async def test_handle_is_made_once(server: Server) -> None:
    """It is random, stays, and is not the user's id, whoever asks first (W-8)."""
    token = await user(server)
    me = (await server.get("/auth/me", token=token)).json()
    plugin = server.auth.plugin(PasskeyPlugin)
    handles = await together(plugin.passkeys.handle(me["id"]) for _ in range(20))
    assert 1 == len({*handles}) == await count(server, "passkey_users")
    begun = await begin_enrol(server, token)
    assert {packed(handle) for handle in handles if isinstance(handle, bytes)} == {
        begun["options"]["user"]["id"]
    }
    assert 32 == len(handles[0])  # type: ignore[arg-type]
    assert me["id"].encode() not in {*handles}


async def test_bound_of_passkeys(tmp_path: Path) -> None:
    """A user has so many; it is said before a device makes one more, and holds in the write."""
    async with running(tmp_path, "[passkey]\nmost = 2") as server:
        token = await owner(server, device())
        begun = await begin_enrol(server, token)
        answer = await enrol(server, token, device())
        token = answer.json()["access_token"]
        refused = await server.post("/auth/passkey/begin", {}, token=token)
        assert (409, "too_many_passkeys", None) == status_check(refused)
        assert 2 == refused.json()["most"]
        user_id = (await server.get("/auth/me", token=token)).json()["id"]
        plugin = server.auth.plugin(PasskeyPlugin)
        credential = (await plugin.passkeys.of(user_id))[0]
        assert 2 == await count(server)
        # What came in between, as seen by a request that had found room.
        plugin.passkeys.most = 3
        begun = await begin_enrol(server, token)
        made = device().create(begun["options"])
        plugin.passkeys.most = 2
        answer = await end_enrol(server, token, begun["ticket"], made)
        assert (409, "too_many_passkeys", None) == status_check(answer)
        assert credential in await plugin.passkeys.of(user_id)


async def test_bound_in_the_write(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who found room, and has none any more, gets nothing."""
    token = await owner(server, device())
    plugin = server.auth.plugin(PasskeyPlugin)

    async def room(_: str) -> None:
        plugin.passkeys.most = 1

    begun = await begin_enrol(server, token)
    monkeypatch.setattr(plugin.passkeys, "check_room", room)
    answer = await end_enrol(server, token, begun["ticket"], device().create(begun["options"]))
    assert (401, "start_over", None) == status_check(answer)
    assert 1 == await count(server)


async def test_key_of_another_user(server: Server) -> None:
    """Where the user is known, by a flow, a session or a name, it has to be that one's (W-4)."""
    ann, bob = device(counting=False), device(counting=False)
    await owner(server, ann)
    await owner(server, bob, "bob")
    theirs = {"allowCredentials": [{"id": packed(only(bob).id)}]}
    refused = (401, "proof_refused", "credential")
    for body in ({"flow": await after_pin(server)}, {"username": "ann"}, {"username": "nobody"}):
        begun = await begin(server, **body)
        answer = await prove(server, begun["flow"], bob.get({**begun["challenge"], **theirs}))
        assert refused == status_check(answer)
        assert "signals" not in answer.json()
    token = (await login(server, ann)).json()["access_token"]
    begun = (await server.post("/auth/stepup/begin", {"factor": "passkey"}, token=token)).json()
    body = {
        "factor": "passkey",
        "flow": begun["flow"],
        "passkey": bob.get({**begun["challenge"], **theirs}),
    }
    assert refused == status_check(await server.post("/auth/stepup", body, token=token))
    begun = await begin(server)  # without a name, then with Ann's pin
    mixed = {"username": "ann", "pin": "pin of ann", "flow": begun["flow"]}
    answer = await server.post("/auth/login", {**mixed, "passkey": bob.get(begun["challenge"])})
    assert refused == status_check(answer)
    assert {"owner"} == {event.check for event in server.events.of(PasskeyRefused)}
    assert 200 == (await login(server, bob)).status_code


async def test_stepup(server: Server) -> None:
    """A session proves itself afresh by the passkey."""
    ann = device()
    token = await owner(server, ann)
    server.clock.advance(400)
    assert 403 == (await server.post("/auth/passkey/begin", {}, token=token)).status_code
    begun = (await server.post("/auth/stepup/begin", {"factor": "passkey"}, token=token)).json()
    body = {"factor": "passkey", "flow": begun["flow"], "passkey": ann.get(begun["challenge"])}
    token = (await server.post("/auth/stepup", body, token=token)).json()["access_token"]
    assert 200 == (await server.post("/auth/passkey/begin", {}, token=token)).status_code


async def test_disabled_and_deleted_users(server: Server) -> None:
    """Neither logs in, registers or steps up; a challenge from before is no help (S-6)."""
    ann = device(counting=False)
    token = await owner(server, ann)
    me = (await server.get("/auth/me", token=token)).json()
    begun, adding = await begin(server), await begin_enrol(server, token)
    await server.auth.accounts.disable(me["id"], Caller())
    answer = await prove(server, begun["flow"], ann.get(begun["challenge"]))
    assert (401, "proof_refused", "credential") == status_check(answer)
    assert (401, "proof_refused", "credential") == status_check(await login(server, ann))
    assert 401 == (await login(server, ann, username="ann")).status_code
    answer = await end_enrol(server, token, adding["ticket"], device().create(adding["options"]))
    assert 401 == answer.status_code
    assert "disabled" in {event.check for event in server.events.of(PasskeyRefused)}
    await server.auth.accounts.delete(me["id"], Caller())
    assert 401 == (await login(server, ann)).status_code
    assert (0, 0) == (await count(server), await count(server, "passkey_users"))


async def test_failures_are_counted(tmp_path: Path) -> None:
    """Per account, as those of every factor, whichever challenge they answer (A-1)."""
    async with running(tmp_path, "[throttle]\nfailures = 3") as server:
        ann = device()
        await owner(server, ann)
        thief = replace(ann, verified=False)
        for _ in range(3):
            begun = await begin(server)
            signed = thief.get(begun["challenge"])
            signed["response"]["signature"] = "AAAA"
            assert 401 == (await prove(server, begun["flow"], signed)).status_code
        assert 429 == (await login(server, ann)).status_code
        [failed, *_] = server.events.of(LoginFailed)
        assert failed.user_id is not None


async def test_options_are_counted(tmp_path: Path) -> None:
    """So many of one account, with none registered in the end, are delayed (A-6)."""
    async with running(tmp_path, "[throttle]\nfailures = 3") as server:
        token = await user(server)
        for _ in range(2):
            await begin_enrol(server, token)
        answer = await enrol(server, token, device())
        token = answer.json()["access_token"]
        for _ in range(3):
            await begin_enrol(server, token)
        answer = await server.post("/auth/passkey/begin", {}, token=token)
        assert (429, "too_many_attempts", None) == status_check(answer)
        me = (await server.get("/auth/me", token=token)).json()
        counted = "select count(*) from throttle where key like ?"
        of_ann = (f"% {me['id']}",)
        assert [(0,)] != await server.auth.database.read(counted, of_ann)
        await server.auth.accounts.delete(me["id"], Caller())
        assert [(0,)] == await server.auth.database.read(counted, of_ann)
        for status in (200, 200, 200, 429):
            body = {"factor": "passkey", "username": "nobody"}
            answer = await server.post("/auth/login/begin", body)
            assert status == answer.status_code


async def test_signals_of_who_has_none(server: Server) -> None:
    """They say so: no passkey is good."""
    token = await user(server)
    signals = (await server.get("/auth/passkey/signals", token=token)).json()
    assert [] == signals["allAcceptedCredentials"]["allAcceptedCredentialIds"]


async def test_export(server: Server) -> None:
    """All that is known, without the keys."""
    token = await owner(server, device(), label="Stick")
    me = (await server.get("/auth/me", token=token)).json()
    user = await server.auth.users.require(me["id"])
    [found] = (await server.auth.plugin(PasskeyPlugin).export(user))["passkeys"]
    assert {
        "label": "Stick",
        "made_at": int(server.clock()),
        "last_used_at": None,
        "aaguid": "00000000-0000-0000-0000-000000000000",
        "rp_id": "localhost",
        "transports": ["usb"],
        "backed_up": False,
    } == found


async def test_names_that_are_none(server: Server) -> None:
    """What cannot be a name asks as any other, and a member of another type is said to be wrong."""
    for name in ("", " ", "a@b", "x" * 300, "/"):
        assert [] != (await begin(server, username=name))["challenge"]["allowCredentials"]
    answer = await server.post("/auth/login/begin", {"factor": "passkey", "username": 5})
    assert (400, "invalid_body", None) == status_check(answer)


async def test_listed_first_it_begins_unnamed(tmp_path: Path) -> None:
    """A page that asks for nothing in particular is asked for a passkey, beside a password, too."""
    async with serving(tmp_path, 'plugins = ["passkey", "password"]') as server:
        answer = await server.post("/auth/login/begin", {})
        assert "localhost" == answer.json()["challenge"]["rpId"]
