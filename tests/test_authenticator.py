"""The soft authenticator, held against a library that really verifies what it makes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import webauthn
from webauthn.helpers.exceptions import (
    InvalidAuthenticationResponse,
    InvalidRegistrationResponse,
)
from webauthn.helpers.structs import (
    AttestationConveyancePreference,
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
)

from picoauth.testing.authenticator import Authenticator, Credential, NotAllowed, packed, unpacked
from tests.storage import exactly

SITE, ORIGIN, CHALLENGE = "example.org", "https://example.org", b"a challenge of enough bytes"
APP_ID = "https://example.org/app-id.json"
USER = b"user"
Answer = dict[str, Any]


def creation(*, direct: bool = False, resident: bool = True, **more: Any) -> Answer:
    """Options as a server sends them to make a credential."""
    key = ResidentKeyRequirement.REQUIRED if resident else ResidentKeyRequirement.DISCOURAGED
    wish = "direct" if direct else "none"
    options = webauthn.generate_registration_options(
        rp_id=SITE,
        rp_name="Example",
        user_name="ann",
        user_id=USER,
        challenge=CHALLENGE,
        attestation=AttestationConveyancePreference(wish),
        authenticator_selection=AuthenticatorSelectionCriteria(resident_key=key),
        **more,
    )
    made: Answer = json.loads(webauthn.options_to_json(options))
    return made


def request(*allowed: Credential, **more: Any) -> Answer:
    """Options as a server sends them to have a challenge signed."""
    options = webauthn.generate_authentication_options(
        rp_id=SITE,
        challenge=CHALLENGE,
        allow_credentials=[PublicKeyCredentialDescriptor(id=each.id) for each in allowed],
    )
    return {**json.loads(webauthn.options_to_json(options)), **more}


def registered(answer: Answer, **more: Any) -> Any:
    """What the library finds in a registration. Raises InvalidRegistrationResponse."""
    expected = {
        "expected_challenge": CHALLENGE,
        "expected_rp_id": SITE,
        "expected_origin": ORIGIN,
        "require_user_verification": True,
    }
    return webauthn.verify_registration_response(credential=answer, **{**expected, **more})


def authenticated(answer: Answer, credential: Credential, **more: Any) -> Any:
    """What the library finds in an assertion. Raises InvalidAuthenticationResponse."""
    expected = {
        "expected_challenge": CHALLENGE,
        "expected_rp_id": SITE,
        "expected_origin": ORIGIN,
        "credential_public_key": credential.public_key,
        "credential_current_sign_count": 0,
        "require_user_verification": True,
    }
    return webauthn.verify_authentication_response(credential=answer, **{**expected, **more})


def only(device: Authenticator) -> Credential:
    [credential] = device.credentials.values()
    return credential


@pytest.fixture
def device() -> Authenticator:
    """A device on which Ann has a passkey."""
    device = Authenticator(origin=ORIGIN)
    device.create(creation())
    return device


@pytest.mark.parametrize(
    ("algorithm", "attestation", "direct", "expected"),
    [
        ("ES256", "none", False, "none"),
        ("EdDSA", "none", True, "none"),
        ("ES256", "packed", True, "packed"),
        ("EdDSA", "packed", True, "packed"),
        ("ES256", "packed", False, "none"),
        ("ES256", "fido-u2f", True, "fido-u2f"),
        ("ES256", "fido-u2f", False, "none"),
    ],
)
def test_registration_and_login(
    algorithm: Any, attestation: Any, expected: str, *, direct: bool
) -> None:
    """Each kind of key is accepted, with the attestation that was asked for, and then logs in."""
    device = Authenticator(origin=ORIGIN, algorithm=algorithm, attestation=attestation)
    verifies = attestation != "fido-u2f"
    answer = device.create(creation(direct=direct))
    credential = only(device)
    made = registered(answer, require_user_verification=verifies)
    assert (expected, verifies) == (made.fmt, made.user_verified)
    assert (credential.id, credential.public_key) == (
        made.credential_id,
        made.credential_public_key,
    )
    # The browser's shortcuts say the same as the attestation object.
    assert unpacked(answer["response"]["authenticatorData"]) in made.attestation_object
    assert {"ES256": -7, "EdDSA": -8}[algorithm] == answer["response"]["publicKeyAlgorithm"]
    signed = device.get(request(credential))
    found = authenticated(signed, credential, require_user_verification=verifies)
    assert (credential.id, 1) == (found.credential_id, found.new_sign_count)


@pytest.mark.parametrize(
    ("eligible", "backed_up", "expected"),
    [
        (False, False, ("single_device", False)),
        (True, False, ("multi_device", False)),
        (True, True, ("multi_device", True)),
    ],
)
def test_backup_flags(*, eligible: bool, backed_up: bool, expected: tuple[str, bool]) -> None:
    """BE and BS are told at registration and at login."""
    device = Authenticator(origin=ORIGIN, backup_eligible=eligible, backed_up=backed_up)
    made = registered(device.create(creation()))
    found = authenticated(device.get(request()), only(device))
    for each in (made, found):
        assert expected == (each.credential_device_type.value, each.credential_backed_up)


def test_counter(device: Authenticator) -> None:
    """It rises with each use, is set at will, and a synchronized passkey has none."""
    credential = only(device)
    counts = [authenticated(device.get(request()), credential).new_sign_count for _ in range(3)]
    assert [1, 2, 3] == counts
    credential.counter = 41
    answer = device.get(request())
    assert 42 == authenticated(answer, credential, credential_current_sign_count=41).new_sign_count
    with pytest.raises(InvalidAuthenticationResponse, match="sign count of 42 was not greater"):
        authenticated(answer, credential, credential_current_sign_count=42)
    credential.counter, device.counting = 0, False
    assert 0 == authenticated(device.get(request()), credential).new_sign_count


def test_discoverable_credential(device: Authenticator) -> None:
    """It names its user where no key is named; one that is not discoverable has to be named."""
    assert packed(USER) == device.get(request())["response"]["userHandle"]
    plain = Authenticator(origin=ORIGIN)
    plain.create(creation(resident=False))
    assert "userHandle" not in plain.get(request(only(plain)))["response"]
    with pytest.raises(NotAllowed, match=r"^NotAllowedError: this device has none of the keys$"):
        plain.get(request())
    extensions = {"extensions": {"credProps": True}}
    for resident in (False, True):
        answer = plain.create({**creation(resident=resident), **extensions})
        assert {"credProps": {"rk": resident}} == answer["clientExtensionResults"]


def test_browser_refuses(device: Authenticator) -> None:
    """As a browser does, for a key of another site, a second key, an unknown algorithm."""
    with pytest.raises(NotAllowed, match=r"^NotAllowedError: this device has none of the keys$"):
        device.get({**request(only(device)), "rpId": "evil.example"})
    known = [PublicKeyCredentialDescriptor(id=only(device).id)]
    with pytest.raises(NotAllowed, match=r"^InvalidStateError: this device has a key for the user"):
        device.create(creation(exclude_credentials=known))
    options = {**creation(), "pubKeyCredParams": [{"type": "public-key", "alg": -257}]}
    with pytest.raises(NotAllowed, match=r"^NotSupportedError: none of the algorithms is spoken"):
        device.create(options)


def test_site_is_the_host_of_the_page() -> None:
    """Where the options name no site, it is the page's own host."""
    device = Authenticator(origin="https://auth.example.org:8443")
    options = creation()
    del options["rp"]["id"]
    answer = device.create(options)
    more = {"expected_rp_id": "auth.example.org", "expected_origin": device.origin}
    assert registered(answer, **more).credential_id == only(device).id


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA"])
def test_key_from_the_days_of_u2f(algorithm: Any) -> None:
    """It signs for its `appid`, and says so; a key of the site signs for the site (10.1.1)."""
    device = Authenticator(origin=ORIGIN, algorithm=algorithm)
    old = device.made(APP_ID)
    asked = {"extensions": {"appid": APP_ID}}
    answer = device.get(request(old, **asked))
    assert {"appid": True} == answer["clientExtensionResults"]
    assert authenticated(answer, old, expected_rp_id=APP_ID).credential_id == old.id
    with pytest.raises(InvalidAuthenticationResponse, match=exactly("Unexpected RP ID hash")):
        authenticated(answer, old)
    new = device.made(SITE)
    answer = device.get(request(new, **asked))
    assert {"appid": False} == answer["clientExtensionResults"]
    assert authenticated(answer, new).credential_id == new.id
    with pytest.raises(NotAllowed):
        device.get(request(old))


def flipped(answer: Answer, member: str, place: int) -> Answer:
    """The answer with one bit of a member turned."""
    raw = bytearray(unpacked(answer["response"][member]))
    raw[place] ^= 1
    return {**answer, "response": {**answer["response"], member: packed(bytes(raw))}}


CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "another site's page": (
        {"origin": "https://evil.example"},
        'Unexpected client data origin "https://evil.example", expected "https://example.org"',
    ),
    "a port": (
        {"origin": "https://example.org:444"},
        'Unexpected client data origin "https://example.org:444", expected "https://example.org"',
    ),
    "nobody verified": (
        {"verified": False},
        "User verification is required but user was not verified during ",
    ),
    "nobody there": ({"present": False}, "User "),
}


@pytest.mark.parametrize("change", CHANGES)
def test_refused_devices(device: Authenticator, change: str) -> None:
    """What is wrong about browser or device is refused, at registration and at login."""
    more, message = CHANGES[change]
    odd = replace(device, **more)
    answer = odd.get(request(only(device)))
    with pytest.raises(InvalidAuthenticationResponse) as caught:
        authenticated(answer, only(device))
    assert str(caught.value).startswith(message)
    fresh = replace(odd, credentials={})
    with pytest.raises(InvalidRegistrationResponse) as refused:
        registered(fresh.create(creation()))
    assert str(refused.value).startswith(message)


def test_frames() -> None:
    """Client data tell of a frame, and of whose: a server has to look, the library does not."""
    device = Authenticator(origin=ORIGIN, cross_origin=True, top_origin="https://evil.example")
    answer = device.create(creation())
    told = json.loads(unpacked(answer["response"]["clientDataJSON"]))
    assert {
        "type": "webauthn.create",
        "challenge": packed(CHALLENGE),
        "origin": ORIGIN,
        "crossOrigin": True,
        "topOrigin": "https://evil.example",
    } == told
    plain = Authenticator(origin=ORIGIN).create(creation())
    assert "topOrigin" not in json.loads(unpacked(plain["response"]["clientDataJSON"]))


@pytest.mark.parametrize(
    ("tamper", "message"),
    [
        (lambda a: flipped(a, "signature", -1), "Could not verify authentication signature"),
        (
            lambda a: flipped(a, "authenticatorData", -1),
            "Could not verify authentication signature",
        ),
        (lambda a: flipped(a, "authenticatorData", 0), "Unexpected RP ID hash"),
        (lambda a: {**a, "rawId": packed(b"another")}, "id and raw_id were not equivalent"),
    ],
)
def test_tampered_assertion(
    device: Authenticator, tamper: Callable[[Answer], Answer], message: str
) -> None:
    """One bit is enough."""
    with pytest.raises(InvalidAuthenticationResponse, match=exactly(message)):
        authenticated(tamper(device.get(request())), only(device))


def test_assertion_of_another_ceremony(device: Authenticator) -> None:
    """Neither the challenge of another login nor the key of another device is accepted."""
    answer = device.get(request(challenge=packed(b"another challenge")))
    with pytest.raises(InvalidAuthenticationResponse, match="challenge was not expected"):
        authenticated(answer, only(device))
    other = Authenticator(origin=ORIGIN).made(SITE)
    with pytest.raises(InvalidAuthenticationResponse, match="Could not verify"):
        authenticated(device.get(request()), other)


@pytest.mark.parametrize(
    ("attestation", "message"),
    [
        ("packed", "Could not verify attestation statement signature (Packed|Self)"),
        ("fido-u2f", "Could not verify attestation statement signature (FIDO-U2F)"),
    ],
)
def test_tampered_registration(attestation: Any, message: str) -> None:
    """An attestation is of the very client data that came with it."""
    device = Authenticator(origin=ORIGIN, attestation=attestation)
    first, second = (device.create(creation(direct=True)) for _ in range(2))
    told = json.loads(unpacked(first["response"]["clientDataJSON"]))
    moved = {**first["response"], "clientDataJSON": packed(json.dumps({**told, "x": 1}).encode())}
    with pytest.raises(InvalidRegistrationResponse, match=exactly(message)):
        registered({**first, "response": moved}, require_user_verification=False)
    assert registered(second, require_user_verification=False).fmt == attestation
