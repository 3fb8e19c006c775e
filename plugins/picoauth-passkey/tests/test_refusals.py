"""Every check of WebAuthn, flipped alone while all others hold: each fails closed under its name."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from picoauth.testing import Server
from picoauth.testing.authenticator import Authenticator, Credential, packed, unpacked
from picoauth.testing.contracts.base import agree
from picoauth_passkey import PasskeyRefused
from picoauth_passkey.answers import Answer, AuthenticatorData
from picoauth_passkey.library import opened
from picoauth_passkey.refusals import Refusal
from tests.factors import PATIENT
from tests.passkeys import (
    DROP,
    PAGE,
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

FLAGS, COUNTER = 32, 33
"""Where they stand in the authenticator data."""
UP, UV, BE, BS, AT, ED = 0x01, 0x04, 0x08, 0x10, 0x40, 0x80

Flip = Mapping[str, Any]
Table = Mapping[str, tuple[Flip, str]]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with running(tmp_path, PATIENT) as server:
        yield server


def flags(clear: int = 0, put: int = 0) -> Callable[[bytes], bytes]:
    return lambda data: data[:FLAGS] + bytes([data[FLAGS] & ~clear | put]) + data[COUNTER:]


def members(**changes: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Other members of an answer; DROP leaves one out."""

    def change(answer: dict[str, Any]) -> dict[str, Any]:
        merged = {**answer, **changes}
        return {name: value for name, value in merged.items() if value is not DROP}

    return change


def response(**changes: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Other members of its response."""
    return lambda answer: {**answer, "response": members(**changes)(answer["response"])}


def key(cose: Any) -> Callable[[bytes], bytes]:
    """Authenticator data with another public key; `cose` is its map, or its bytes."""

    def change(data: bytes) -> bytes:
        length = int.from_bytes(data[53:55])
        raw = cose if isinstance(cose, bytes) else cbor2.dumps(cose)
        return data[: 55 + length] + raw

    return change


def identity(raw: bytes) -> Callable[[bytes], bytes]:
    """Authenticator data with another credential id."""
    return lambda data: data[:53] + len(raw).to_bytes(2) + raw + data[55 + 32 :]


def rsa_key(bits: int) -> dict[int, Any]:
    numbers = rsa.generate_private_key(65537, bits).public_key().public_numbers()
    return {1: 3, 3: -257, -1: numbers.n.to_bytes(bits // 8), -2: b"\1\0\1"}


def p384() -> dict[int, Any]:
    numbers = ec.generate_private_key(ec.SECP384R1()).public_key().public_numbers()
    return {1: 2, 3: -7, -1: 2, -2: numbers.x.to_bytes(48), -3: numbers.y.to_bytes(48)}


def deep(levels: int) -> bytes:
    return b"\x81" * levels + b"\0"


POINT = {1: 2, 3: -7, -1: 1, -2: bytes(31) + b"\1", -3: bytes(31) + b"\1"}
EDWARDS = {1: 1, 3: -8, -1: 6, -2: bytes(31) + b"\1"}

# What is wrong whichever ceremony it is: the flip, and the check that fails.
COMMON: Table = {
    "no type": ({"told": members(type=DROP)}, "form"),
    "another type": ({"told": members(type="password")}, "form"),
    "no response": ({"told": members(response=DROP)}, "form"),
    "response that is a list": ({"told": members(response=[])}, "form"),
    "extension results that are a list": ({"told": members(clientExtensionResults=[])}, "form"),
    "no id": ({"told": members(id=DROP)}, "id"),
    "id that is not rawId": ({"told": members(id=packed(bytes(32)))}, "id"),
    "no rawId": ({"told": members(rawId=DROP)}, "id"),
    "id of 15 bytes": ({"told": members(id="AAAA" * 5, rawId="AAAA" * 5)}, "id"),
    "id of 1,024 bytes": ({"told": members(id="A" * 1366, rawId="A" * 1366)}, "id"),
    "id with padding": (
        {"told": lambda a: {**a, "id": a["id"] + "=", "rawId": a["id"] + "="}},
        "id",
    ),
    "id with a stray bit": ({"told": members(id="A" * 42 + "B", rawId="A" * 42 + "B")}, "id"),
    "id that no bytes have": ({"told": members(id="A" * 41, rawId="A" * 41)}, "id"),
    "no client data": ({"told": response(clientDataJSON=DROP)}, "client_data"),
    "client data with a stray sign": (
        {"told": lambda a: response(clientDataJSON="." + a["response"]["clientDataJSON"])(a)},
        "client_data",
    ),
    "client data that is no JSON": ({"raw_client": lambda raw: raw[:-1]}, "client_data"),
    "client data in UTF-16": (
        {"raw_client": lambda raw: raw.decode().encode("utf-16")},
        "client_data",
    ),
    "client data that is a list": ({"raw_client": lambda raw: b"[" + raw + b"]"}, "client_data"),
    "deep client data": ({"raw_client": lambda _: b"[" * 20000}, "client_data"),
    "another challenge": ({"client": {"challenge": packed(bytes(32))}}, "challenge"),
    "no challenge": ({"client": {"challenge": DROP}}, "challenge"),
    "challenge that is no text": ({"client": {"challenge": 0}}, "challenge"),
    "challenge of half a character": ({"client": {"challenge": "\ud800"}}, "challenge"),
    "padded challenge": (
        {"raw_client": lambda raw: raw.replace(b'", "origin', b'=", "origin')},
        "challenge",
    ),
    "another origin": ({"origin": "http://evil.example"}, "origin"),
    "another port": ({"origin": "http://localhost:8101"}, "origin"),
    "https instead of http": ({"origin": "https://localhost:8100"}, "origin"),
    "origin with a slash": ({"client": {"origin": f"{PAGE}/"}}, "origin"),
    "no origin": ({"client": {"origin": DROP}}, "origin"),
    "origin that is a list": ({"client": {"origin": [PAGE]}}, "origin"),
    "in a frame": ({"cross_origin": True}, "cross_origin"),
    "in a frame, said otherwise": ({"client": {"crossOrigin": "true"}}, "cross_origin"),
    "in a frame of another site": ({"top_origin": "https://evil.example"}, "top_origin"),
    "another site": ({"data": lambda data: bytes(32) + data[32:]}, "rp_id"),
    "nobody there": ({"present": False}, "presence"),
    "backed up, not eligible": ({"backed_up": True}, "backup"),
    "trailing bytes": ({"data": lambda data: data + b"\0"}, "authenticator_data"),
    "36 bytes": ({"data": lambda data: data[:36]}, "authenticator_data"),
    "extensions that are not there": ({"data": flags(put=ED)}, "authenticator_data"),
    "extensions that are no map": (
        {"data": lambda data: flags(put=ED)(data) + b"\x80"},
        "authenticator_data",
    ),
    "extensions with a tag": (
        {"data": lambda data: flags(put=ED)(data) + b"\xa1\0\xc1\0"},
        "authenticator_data",
    ),
    "extensions of no length": (
        {"data": lambda data: flags(put=ED)(data) + b"\xbf\xff"},
        "authenticator_data",
    ),
    "extensions that are too deep": (
        {"data": lambda data: flags(put=ED)(data) + b"\xa1\0" + deep(8)},
        "authenticator_data",
    ),
    "extensions of more items than bytes": (
        {"data": lambda data: flags(put=ED)(data) + b"\xba\xff\xff\xff\xff"},
        "authenticator_data",
    ),
    "extensions whose text is cut": (
        {"data": lambda data: flags(put=ED)(data) + b"\xa1\0\x7a\xff\xff\xff\xff"},
        "authenticator_data",
    ),
    "extensions whose head is cut": (
        {"data": lambda data: flags(put=ED)(data) + b"\xba\0"},
        "authenticator_data",
    ),
}

REGISTRATIONS: Table = {
    **COMMON,
    "signature of a login": ({"client": {"type": "webauthn.get"}}, "client_data_type"),
    "no attestation object": (
        {"told": response(attestationObject=DROP)},
        "attestation_object",
    ),
    "attestation object that is no map": (
        {"told": response(attestationObject=packed(b"\x80"))},
        "attestation_object",
    ),
    "attestation object with trailing bytes": (
        {
            "told": lambda a: response(
                attestationObject=packed(unpacked(a["response"]["attestationObject"]) + b"\0")
            )(a)
        },
        "attestation_object",
    ),
    "attestation object without members": (
        {"told": response(attestationObject=packed(b"\xa0"))},
        "attestation_object",
    ),
    "attestation object with a key twice": (
        {"told": response(attestationObject=packed(b"\xa2\x63fmt\x64none\x63fmt\x64none"))},
        "attestation_object",
    ),
    "format that is no text": ({"stated": lambda _: (1, {})}, "attestation_object"),
    "statement that is a list": ({"stated": lambda _: ("none", [])}, "attestation_object"),
    "nothing attested": ({"data": lambda data: flags(clear=AT)(data)[:37]}, "attested_data"),
    "attested data that is cut": ({"data": lambda data: data[:60]}, "authenticator_data"),
    "attested data without a length": ({"data": lambda data: data[:54]}, "authenticator_data"),
    "another id": ({"data": identity(bytes(32))}, "credential_id"),
    "no id in it": ({"data": identity(b"")}, "credential_id"),
    "id of 1,024 bytes in it": ({"data": identity(bytes(1024))}, "credential_id"),
    "key that is no map": ({"data": key(b"\x04")}, "authenticator_data"),
    "key of U2F's own form": ({"data": key(b"\x04" + bytes(64))}, "authenticator_data"),
    "key with trailing bytes": ({"data": lambda data: data + b"\xa0"}, "authenticator_data"),
    "key without members": ({"data": key({})}, "public_key"),
    "key of no known type": ({"data": key({1: 9, 3: -7})}, "public_key"),
    "key whose algorithm is a text": ({"data": key({**POINT, 3: "ES256"})}, "public_key"),
    "algorithm not offered": ({"data": key({**POINT, 3: -35})}, "algorithm"),
    "algorithm of another type": ({"data": key({**EDWARDS, 3: -7})}, "public_key"),
    "ES256 that says EdDSA": ({"data": key({**POINT, 3: -8})}, "public_key"),
    "key off its curve": ({"data": key(POINT)}, "public_key"),
    "key of another curve": ({"data": key(p384())}, "public_key"),
    "RSA of 1,024 bits": ({"data": key(rsa_key(1024))}, "public_key"),
    "RSA that is too long": (
        {"data": key({1: 3, 3: -257, -1: b"\xff" * 1025, -2: b"\1\0\1"})},
        "public_key",
    ),
    "Ed25519 of 31 bytes": ({"data": key({**EDWARDS, -2: bytes(31)})}, "public_key"),
    "key with a key twice": ({"data": key(b"\xa2\x01\x02\x01\x02")}, "public_key"),
    "statement where there is none": ({"stated": lambda _: ("none", {"x": 1})}, "attestation"),
    "unknown format": ({"stated": lambda _: ("compound", {})}, "attestation"),
    "packed without a signature": ({"stated": lambda _: ("packed", {})}, "attestation"),
    "packed by a wrong signature": (
        {"stated": lambda _: ("packed", {"alg": -7, "sig": bytes(70)})},
        "attestation",
    ),
    "U2F without a certificate": (
        {"stated": lambda _: ("fido-u2f", {"sig": bytes(70)})},
        "attestation",
    ),
    "certificate that is none": (
        {"stated": lambda _: ("packed", {"alg": -7, "sig": bytes(70), "x5c": [b"x"]})},
        "attestation",
    ),
    "Android's without a response": (
        {"stated": lambda _: ("android-safetynet", {})},
        "attestation",
    ),
    "TPM's without anything": ({"stated": lambda _: ("tpm", {})}, "attestation"),
    "Apple's without anything": ({"stated": lambda _: ("apple", {})}, "attestation"),
}

ASSERTIONS: Table = {
    **COMMON,
    "signature of a registration": ({"client": {"type": "webauthn.create"}}, "client_data_type"),
    "no authenticator data": (
        {"told": response(authenticatorData=DROP)},
        "authenticator_data",
    ),
    "no signature": ({"told": response(signature=DROP)}, "form"),
    "user handle that is a number": ({"told": response(userHandle=5)}, "form"),
    "no user handle": ({"told": response(userHandle=DROP)}, "credential"),
    "empty user handle": ({"told": response(userHandle="")}, "credential"),
    "another user handle": ({"told": response(userHandle=packed(bytes(32)))}, "credential"),
    "empty signature": ({"told": response(signature="")}, "credential"),
    "another signature": ({"told": response(signature=packed(bytes(70)))}, "credential"),
    "signature that is cut": (
        {
            "told": lambda a: response(signature=packed(unpacked(a["response"]["signature"])[:-3]))(
                a
            )
        },
        "credential",
    ),
    "appid that nobody asked for": (
        {"told": members(clientExtensionResults={"appid": True})},
        "appid",
    ),
    "counter that fell": (
        {"data": lambda data: data[:COUNTER] + (1).to_bytes(4) + data[37:]},
        "counter",
    ),
    "counter that is none any more": (
        {"data": lambda data: data[:COUNTER] + bytes(4) + data[37:]},
        "counter",
    ),
    "another counter than was signed": (
        {
            "told": lambda a: response(
                authenticatorData=packed(
                    unpacked(a["response"]["authenticatorData"])[:COUNTER] + b"\0\0\xff\xff"
                )
            )(a)
        },
        "credential",
    ),
    "client data that was not signed": (
        {
            "told": lambda a: response(
                clientDataJSON=packed(unpacked(a["response"]["clientDataJSON"]) + b" ")
            )(a)
        },
        "credential",
    ),
}
MALFORMED = {"form", "id", "client_data", "authenticator_data"}


def checks(server: Server) -> list[str]:
    """Those that the log has."""
    return [event.check for event in server.events.of(PasskeyRefused)]


async def test_registrations(server: Server) -> None:
    """Nothing is stored, nobody's session ends, and the answer and the log name the check."""
    token, found, told = await user(server), {}, []
    for name, (flip, check) in REGISTRATIONS.items():
        begun = await begin_enrol(server, token)
        asked = {**begun["options"], "attestation": "direct" if "stated" in flip else "none"}
        made = bent(device(attestation="packed"), **flip).create(asked)
        answer = await end_enrol(server, token, begun["ticket"], made)
        found[name] = status_check(answer)
        told.append(check)
        assert 0 == await count(server), name
    expected = {n: (400, "passkey_refused", check) for n, (_, check) in REGISTRATIONS.items()}
    agree(expected, found)
    assert told == checks(server)
    assert ["pin"] == [factor["factor"] for factor in await factors(server, token)]


async def factors(server: Server, token: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await server.get("/auth/factors", token=token)).json()["factors"]
    return found


async def test_assertions(server: Server) -> None:
    """No session is made, nothing stored changes, and the passkey goes on to work."""
    ann, found = device(), {}
    await owner(server, ann)
    for _ in range(3):
        assert 200 == (await login(server, ann)).status_code
    before = await server.auth.database.read("select * from passkey")
    sessions = await count(server, "sessions")
    for name, (flip, _) in ASSERTIONS.items():
        begun = await begin(server)
        answer = await prove(server, begun["flow"], bent(ann, **flip).get(begun["challenge"]))
        found[name] = status_check(answer)
        assert "signals" not in answer.json(), name
        assert before == await server.auth.database.read("select * from passkey"), name
    agree({name: refused(check) for name, (_, check) in ASSERTIONS.items()}, found)
    assert sessions == await count(server, "sessions")
    assert 200 == (await login(server, ann)).status_code


def refused(check: str) -> tuple[int, str, str]:
    return (400, "invalid_body", check) if check in MALFORMED else (401, "proof_refused", check)


UNTOLD = {
    "no user handle": "user_handle",
    "another user handle": "user_handle",
    "empty signature": "signature",
    "another signature": "signature",
    "another counter than was signed": "signature",
}


async def test_the_log_says_more(server: Server) -> None:
    """A client is not told which of these it was; whoever reads the log is."""
    ann = device()
    await owner(server, ann)
    for name in UNTOLD:
        begun = await begin(server)
        signed = bent(ann, **ASSERTIONS[name][0]).get(begun["challenge"])
        assert 401 == (await prove(server, begun["flow"], signed)).status_code
    assert [*UNTOLD.values()] == checks(server)


def test_checks_are_many() -> None:
    """Each has a name of its own, of which there are about thirty."""
    named = {check for _, check in [*REGISTRATIONS.values(), *ASSERTIONS.values()]}
    assert {*UNTOLD.values(), "verification", "attestation_root", "attestation_missing"}.isdisjoint(
        named
    )
    assert len(named) >= 20


async def test_without_verification_there_is_no_account(server: Server) -> None:
    """Who has a passkey and no password has to have proven by a PIN or a finger."""
    answer = await register(server, device(verified=False))
    assert (400, "passkey_refused", "verification") == status_check(answer)
    assert (0, 0) == (await count(server), await count(server, "users"))


CREATION = {
    "rp": {"id": "localhost"},
    "user": {"id": "AAAA"},
    "challenge": "AAAA",
    "pubKeyCredParams": [{"alg": -7}],
}
OBJECT = unpacked(device().create(CREATION)["response"]["attestationObject"])


@settings(deadline=None, max_examples=400)
@given(st.integers(0, len(OBJECT) - 1))
def test_any_cut_of_an_attestation_object(length: int) -> None:
    """It is a refusal, and never anything else."""
    with pytest.raises(Refusal):
        opened(OBJECT[:length])


@settings(deadline=None, max_examples=400)
@given(st.binary(max_size=300))
def test_any_bytes(raw: bytes) -> None:
    """Whatever bytes come, they are read or refused."""
    with pytest.raises(Refusal):
        opened(raw + b"\xff")  # which ends no item
    with suppress(Refusal):
        assert AuthenticatorData.read(raw).site == raw[:32]


@settings(deadline=None, max_examples=300)
@given(st.integers(0, len(OBJECT) - 1), st.integers(0, 255))
def test_any_byte_changed(place: int, value: int) -> None:
    """It may still be read; nothing but a refusal is raised."""
    raw = OBJECT[:place] + bytes([value]) + OBJECT[place + 1 :]
    try:
        kind, statement, data = opened(raw)
    except Refusal:
        return
    assert isinstance(kind, str)
    assert isinstance(statement, dict)
    assert isinstance(data, AuthenticatorData)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=8) | st.just("AAAA"),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
NAMES = st.sampled_from(["id", "rawId", "type", "response", "clientExtensionResults", "x"])


@settings(deadline=None, max_examples=300)
@given(VALUES | st.dictionaries(NAMES, VALUES))
def test_any_json(value: Any) -> None:
    """Whatever JSON comes, it is read or refused."""
    with pytest.raises(Refusal):
        Answer.read(value)


CBOR = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.binary(max_size=40)
    | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=10,
)


@settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.dictionaries(st.sampled_from(["fmt", "attStmt", "authData"]), CBOR) | CBOR)
def test_any_cbor(value: Any) -> None:
    """Good CBOR that is no attestation object is refused."""
    with pytest.raises(Refusal):
        opened(cbor2.dumps(value))


BIG: Mapping[str, Any] = {
    "body of 64 KiB": ("x" * 65536, 413),
    "client data of 60 KiB": ("A" * 60000, 400),
}


@pytest.mark.parametrize("name", BIG)
async def test_large_answers(server: Server, name: str) -> None:
    """What is too large is refused by its size, and what is merely large by its content."""
    text, status = BIG[name]
    token = await user(server)
    begun = await begin_enrol(server, token)
    made = response(clientDataJSON=text)(device().create(begun["options"]))
    assert status == (await end_enrol(server, token, begun["ticket"], made)).status_code
    begun = await begin(server)
    signed = response(clientDataJSON=text)(device().create(CREATION))
    assert status == (await prove(server, begun["flow"], signed)).status_code


@pytest.mark.parametrize("body", [None, [], "x", 5, {}, {"id": []}, [[]], {"response": {}}])
async def test_bodies_that_are_none(server: Server, body: Any) -> None:
    """The library would trip over a list; it never sees one."""
    token = await user(server)
    begun = await begin_enrol(server, token)
    assert 400 == (await end_enrol(server, token, begun["ticket"], body)).status_code
    begun = await begin(server)
    assert 400 == (await prove(server, begun["flow"], body)).status_code


async def test_second_factor_that_is_malformed(server: Server) -> None:
    """Where the user is known nobody reads the answer before it is verified; nor then is it 500."""
    await owner(server, device(verified=False))
    for body in ([], {"rawId": 5}, None, "x"):
        flow = await after_pin(server)
        answer = await prove(server, flow, body)
        assert 401 == answer.status_code, answer.text  # nothing was asked
        begun = await begin(server, flow=answer.json()["flow"])
        answer = await prove(server, begun["flow"], body)
        assert (400, "invalid_body") == status_check(answer)[:2]


async def test_extensions_are_read_past(server: Server) -> None:
    """What a device says beside its key, as the level of its protection, does no harm."""
    more = cbor2.dumps({"credProtect": 2, "hmac-secret": [True, {"a": b"x"}, 1.5]})
    ann = bent(device(), data=lambda data: flags(put=ED)(data) + more)
    await owner(server, ann)
    assert 200 == (await login(server, ann)).status_code


async def test_key_of_another_user_with_the_same_id(server: Server) -> None:
    """An id belongs to whoever had it first."""
    ann = device()
    await owner(server, ann)
    token = await user(server, "bob")
    copy = Authenticator(origin=PAGE)
    taken = only(ann).id

    class Thief(Authenticator):
        def made(self, site: str, user_handle: bytes | None = None) -> Credential:
            return replace(super().made(site, user_handle), id=taken)

    copy = Thief(origin=PAGE)
    answer = await enrol(server, token, copy)
    assert (409, "passkey_taken", None) == status_check(answer)
    assert 1 == await count(server)
    assert (409, "passkey_taken", None) == status_check(await register(server, copy, "carl"))
    assert 200 == (await login(server, ann)).status_code
