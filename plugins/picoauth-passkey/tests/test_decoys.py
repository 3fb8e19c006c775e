"""Who asks for a passkey by a name does not learn whether somebody has the name (W-8, P-8)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from picoauth import Auth, Caller, identifier, parse
from picoauth.testing import Server
from picoauth.testing.authenticator import Authenticator, Credential, packed, unpacked
from picoauth_passkey import PasskeyPlugin, PasskeyRefused
from picoauth_passkey.decoys import KINDS, Decoys
from tests.accounts import asking
from tests.factors import PATIENT
from tests.passkeys import (
    PAGE,
    begin,
    count,
    device,
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


async def allowed(server: Server, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await begin(server, username=name))["challenge"][
        "allowCredentials"
    ]
    return found


def shape(value: Any) -> Any:
    """What a client sees, without what is random in it."""
    if isinstance(value, dict):
        return {name: shape(item) for name, item in value.items()}
    return [shape(item) for item in value] if isinstance(value, list) else type(value)


async def test_options_have_one_shape(server: Server) -> None:
    """Of a user, of one without a passkey, of one who is disabled, of nobody, of addresses."""
    await owner(server, device())
    await user(server, "bob")
    await addressed(server, "bob", "bob@example.org")
    await owner(server, device(), "eve")
    eve = await server.auth.users.find("username", "eve")
    assert eve is not None
    await server.auth.accounts.disable(eve.id, Caller())
    answers = {}
    for name in ("ann", "bob", "eve", "nobody", "bob@example.org", "x@example.org"):
        body = {"factor": "passkey", "username": name}
        answer = await server.post("/auth/login/begin", body)
        challenge = answer.json()["challenge"]
        first = challenge["allowCredentials"][0]
        assert [("type", "id", "transports")] * len(challenge["allowCredentials"]) == [
            tuple(each) for each in challenge["allowCredentials"]
        ]
        one = {**challenge, "allowCredentials": [{**first, "transports": []}]}
        headers = {
            n: v for n, v in answer.headers.items() if n not in ("x-request-id", "content-length")
        }
        order = list(json.loads(answer.text)["challenge"])
        answers[name] = (
            answer.status_code,
            headers,
            shape(one),
            order,
            challenge["userVerification"],
        )
    assert all(answers["ann"] == each for each in answers.values())


async def addressed(server: Server, username: str, address: str) -> None:
    """Give a user a verified address."""
    found = await server.auth.users.find("username", username)
    assert found is not None
    held = identifier("email", address, verified=True)
    await server.auth.database.write(server.auth.users.naming(found.id, held, server.auth.now()))


async def test_addresses_are_nobodys(server: Server) -> None:
    """A user's verified address asks as a stranger's does: else it would be tied to the name."""
    ann = device()
    await owner(server, ann)
    before = await allowed(server, "ann@example.org")
    await addressed(server, "ann", "ann@example.org")
    found = await allowed(server, "ann@example.org")
    decoys = server.auth.plugin(PasskeyPlugin).factor.decoys
    assert decoys.of("ann@example.org") == before == found
    assert [packed(only(ann).id)] == [each["id"] for each in await allowed(server, "ann")]
    begun = await begin(server, username="ann@example.org")
    signed = ann.get({**begun["challenge"], "allowCredentials": []})
    assert (401, "proof_refused", "credential") == status_check(
        await prove(server, begun["flow"], signed)
    )


async def test_work_is_the_same(server: Server) -> None:
    """Who has passkeys, who has none, nobody and an address cost the same reads and writes."""
    await owner(server, device())
    await user(server, "bob")
    await addressed(server, "ann", "ann@example.org")
    asked = {}
    for name in ("ann", "bob", "nobody", "ann@example.org", "x@example.org"):
        with asking() as seen:
            await begin(server, username=name)
        asked[name] = list(seen)
    assert any("from passkey" in sql for sql in asked["ann"])
    assert dict.fromkeys(asked, asked["ann"]) == asked


async def test_decoys_stay(server: Server) -> None:
    """They are the same at each request, and however the name is written; no two names share one."""
    assert await allowed(server, "nobody") == await allowed(server, "NOBODY")
    names = [f"nobody{number}" for number in range(60)]
    found = [each for name in names for each in await allowed(server, name)]
    ids = [each["id"] for each in found]
    assert len(ids) == len({*ids}) > len(names)
    kinds = {(len(unpacked(each["id"])), tuple(each["transports"])) for each in found}
    assert {*KINDS} == kinds
    assert 0 == await count(server)


async def test_decoys_of_a_name_that_is_taken(server: Server) -> None:
    """They stay when somebody takes the name, until the first passkey is there."""
    before = await allowed(server, "ann")
    token = await user(server)
    assert before == await allowed(server, "ann")
    ann = device()
    await enrol(server, token, ann)
    assert [packed(only(ann).id)] == [each["id"] for each in await allowed(server, "ann")]


async def test_several_keys_are_sorted(server: Server) -> None:
    """In the order of their ids, as decoys are, which says nothing of their age."""
    token = await user(server)
    for _ in range(4):
        token = (await enrol(server, token, device())).json()["access_token"]
    ids = [unpacked(each["id"]) for each in await allowed(server, "ann")]
    assert sorted(ids) == ids
    assert 4 == len(ids)
    for number in range(40):
        decoys = [unpacked(each["id"]) for each in await allowed(server, f"nobody{number}")]
        assert sorted(decoys) == decoys


def with_id(identity: bytes, challenge: dict[str, Any]) -> dict[str, Any]:
    """A signature by a key of the attacker's own, under somebody's id."""
    thief = device()
    thief.made("localhost", b"x")
    key = replace(only(thief), id=identity)
    return Authenticator(origin=PAGE, credentials={identity: key}).get(
        {**challenge, "allowCredentials": [{"id": packed(identity)}]}
    )


async def test_proofs_for_decoys(server: Server) -> None:
    """A signature under a decoy's id is refused as one under a real id is, with the same work.

    No hint says that the decoy is unknown, with the name or without it: else the id would be
    the way to ask whether the name is anybody's.
    """
    ann = device()
    await owner(server, ann)
    [decoy, *_] = await allowed(server, "nobody")
    answers, work = {}, {}
    for name, identity in (("ann", only(ann).id), ("nobody", unpacked(decoy["id"]))):
        for body in ({"username": name}, {}):
            begun = await begin(server, **body)
            signed = with_id(identity, begun["challenge"])
            with asking() as seen:
                answer = await prove(server, begun["flow"], signed)
            body_ = {n: v for n, v in answer.json().items() if n not in ("request_id", "flow")}
            answers[name, len(body)] = (answer.status_code, sorted(answer.json()), body_)
            work[name, len(body)] = list(seen)
    assert (401, "proof_refused", "credential") == (
        answers["ann", 0][0],
        answers["ann", 0][2]["code"],
        answers["ann", 0][2]["check"],
    )
    assert dict.fromkeys(answers, answers["ann", 0]) == answers
    assert any("from passkey" in sql for sql in work["ann", 0])
    assert dict.fromkeys(work, work["ann", 0]) == work
    assert {"signature", "unknown"} == {
        event.check for event in server.events.of(PasskeyRefused)
    } | {"unknown"}


async def test_unknown_passkeys_are_looked_at(server: Server) -> None:
    """A key of nobody's is verified with, even where the signature is good for it."""
    for signature in (None, "AAAA"):
        begun = await begin(server)
        signed = with_id(bytes(32), begun["challenge"])
        if signature:
            signed["response"]["signature"] = signature
        answer = await prove(server, begun["flow"], signed)
        assert (401, "proof_refused", "credential") == status_check(answer)
        assert "unknownCredential" in answer.json()["signals"]


async def test_key_of_nobody(server: Server) -> None:
    """Its private key is known to all; who signs by it is nobody still."""
    from cryptography.hazmat.primitives.asymmetric import ec

    begun = await begin(server)
    thief = device()
    key = Credential("localhost", b"x", ec.derive_private_key(1, ec.SECP256R1()))
    thief.credentials[key.id] = key
    answer = await prove(server, begun["flow"], thief.get(begun["challenge"]))
    assert (401, "proof_refused", "credential") == status_check(answer)
    assert ["unknown"] == [event.check for event in server.events.of(PasskeyRefused)]


async def test_decoys_cannot_be_registered(server: Server) -> None:
    """They are refused as passkeys of other users are: else that would tell them apart, too."""
    ann = device()
    await owner(server, ann)
    token = await user(server, "bob")
    [decoy, *_] = await allowed(server, "nobody")
    answers = []
    for identity in (only(ann).id, unpacked(decoy["id"])):

        class Thief(Authenticator):
            stolen = identity

            def made(self, site: str, user_handle: bytes | None = None) -> Credential:
                return replace(super().made(site, user_handle), id=self.stolen)

        answers += [
            status_check(await enrol(server, token, Thief(origin=PAGE))),
            status_check(await register(server, Thief(origin=PAGE), "carl")),
        ]
    assert [(409, "passkey_taken", None)] * 4 == answers
    assert 1 == await count(server)


async def test_marks(server: Server) -> None:
    """We know our own decoys by their end, and nothing else."""
    decoys = server.auth.plugin(PasskeyPlugin).factor.decoys
    for number in range(50):
        for each in decoys.of(f"nobody{number}"):
            raw = unpacked(each["id"])
            assert decoys.has(raw)
            assert not decoys.has(raw[:-1] + bytes([raw[-1] ^ 1]))
            for place in range(len(raw)):
                other = raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]
                assert not decoys.has(other)


def test_marks_of_an_older_secret(tmp_path: Path) -> None:
    """They are known as long as the secret is listed."""
    secrets = [f"s{number}" for number in range(3)]
    for number, name in enumerate(secrets):
        path = tmp_path / name
        path.write_text(sha256(bytes([number])).hexdigest())
        path.chmod(0o600)

    def decoys(*names: str) -> Decoys:
        files = ", ".join(f'{{ file = "{name}" }}' for name in names)
        return Decoys(Auth(parse(f'plugins = ["passkey"]\nsecret = [{files}]', tmp_path)))

    older = decoys("s0").of("nobody")
    raw = [unpacked(each["id"]) for each in older]
    assert older != decoys("s1", "s0").of("nobody")
    assert all(decoys("s1", "s0").has(each) for each in raw)
    assert all(decoys("s2", "s1", "s0").has(each) for each in raw)
    assert not any(decoys("s1").has(each) for each in raw)


async def test_failures_of_several_keys(tmp_path: Path) -> None:
    """They count together, of a user as of a name that is nobody's."""
    async with running(tmp_path, "[throttle]\nfailures = 4") as server:
        token = await user(server)
        for _ in range(2):
            token = (await enrol(server, token, device())).json()["access_token"]
        decoys = server.auth.plugin(PasskeyPlugin).factor.decoys
        pairs = (decoys.of(f"nobody{number}") for number in range(100))
        nobody = next(pair for pair in pairs if len(pair) == 2)
        for ids in (await allowed(server, "ann"), nobody):
            statuses = []
            for each in (*ids, *ids, *ids):
                begun = await begin(server)
                signed = with_id(unpacked(each["id"]), begun["challenge"])
                statuses.append((await prove(server, begun["flow"], signed)).status_code)
            assert [401] * 4 + [429] * 2 == statuses


async def test_users_without_passkeys_log_in_as_before(server: Server) -> None:
    """Who asks by the name of a user without one, and has one of another user, is not let in."""
    await user(server, "bob")
    ann = device()
    await owner(server, ann)
    begun = await begin(server, username="bob")
    signed = ann.get({**begun["challenge"], "allowCredentials": []})
    assert (401, "proof_refused", "credential") == status_check(
        await prove(server, begun["flow"], signed)
    )
    assert 200 == (await login(server, ann)).status_code
