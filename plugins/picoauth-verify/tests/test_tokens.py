"""What a verifier makes of a token: which it takes, and why it refuses all others (RFC 8725)."""

from __future__ import annotations

import base64
import hmac
import json
import string
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import FrozenInstanceError
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import ECKey

from picoauth_verify import Refused, Verifier, verifier
from picoauth_verify.client import UnixConnection, connection
from tests.accounts import SETTINGS, accounts, login
from tests.verifying import Followed, by_hand, following, publishing

HEADER = "The header is not that of such a token."
NO_TOKEN = "This is no signed token."
SIGNATURE = "The signature is wrong."
BASE64 = "This is not base64url."


@asynccontextmanager
async def following_one(folder: Path, settings: str = "", **more: Any) -> AsyncIterator[Followed]:
    """A server, and a verifier that has heard from it."""
    async with accounts(folder, SETTINGS + settings) as server:
        with publishing() as publisher:
            found = following(server, publisher, **more)
            await found.hear()
            yield found


@pytest.fixture
async def followed(tmp_path: Path) -> AsyncIterator[Followed]:
    async with following_one(tmp_path) as found:
        yield found


def refused(verifier: Verifier, token: str) -> tuple[str, str | None] | None:
    try:
        verifier.check(token)
    except Refused as error:
        return error.code, error.detail
    return None


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims."""
    header, claims, _ = token.split(".")
    read = [json.loads(base64.urlsafe_b64decode(text + "==")) for text in (header, claims)]
    return read[0], read[1]


def encoded(text: bytes | str) -> str:
    raw = text if isinstance(text, bytes) else text.encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@pytest.mark.parametrize("algorithm", ["ES256", "ES512", "EdDSA"])
async def test_token(tmp_path: Path, algorithm: str) -> None:
    """A token of the server tells who asks, the first time and each further one."""
    async with following_one(tmp_path, f'[tokens]\nalgorithm = "{algorithm}"') as followed:
        token = await followed.token()
        _, claims = parts(token)
        for _ in range(2):
            access = followed.verifier.check(token)
            assert claims == access.claims
            assert (claims["sub"], claims["sid"]) == (access.user_id, access.session_id)
            assert ("ann", "ann") == (access.username, access.claims["name"])
            assert tuple(claims["amr"]) == access.amr
            assert (claims["auth_time"], claims["exp"]) == (access.auth_time, access.expires_at)


async def test_access_cannot_be_changed(followed: Followed) -> None:
    """What one request does to what it was told, no other sees; and no secret is shown."""
    token = await followed.token()
    access = followed.verifier.check(token)
    with pytest.raises(FrozenInstanceError):
        access.user_id = "eve"  # type: ignore[misc] - that is what is tried
    access.claims["amr"].append("evil")
    dict(access.claims)["sub"] = "eve"
    assert parts(token)[1] == followed.verifier.check(token).claims
    assert token.split(".")[1] not in repr(access)
    assert "claims" not in repr(access)


@pytest.mark.parametrize(("leeway", "late"), [(0, 0), (30, 30), (1.5, 1.5)])
async def test_end(tmp_path: Path, leeway: float, late: float) -> None:
    """A token is good until its end, not at it; leeway is after that."""
    async with following_one(tmp_path, leeway=leeway, when_unreachable="accept") as followed:
        token, other = await followed.token(), await followed.token()
        followed.server.clock.advance(599.9 + late)
        assert None is refused(followed.verifier, token)
        followed.server.clock.advance(0.1)
        assert ("token_expired", None) == refused(followed.verifier, token)
        assert ("token_expired", None) == refused(followed.verifier, other)


async def test_still(followed: Followed) -> None:
    """Who was let in is checked again by what is known later."""
    token, ended = await followed.token(), await followed.token()
    accesses = [followed.verifier.check(one) for one in (token, ended)]
    await followed.server.post("/auth/logout", token=ended)
    await followed.hear(1)
    followed.verifier.still(accesses[0])
    with pytest.raises(Refused, match="session_ended"):
        followed.verifier.still(accesses[1])


async def test_remembered(followed: Followed, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as may be are remembered, the oldest are forgotten, and none that was refused."""
    monkeypatch.setattr(verifier, "REMEMBERED", 3)
    tokens = [await followed.token() for _ in range(5)]
    for token in [*tokens, tokens[-1]]:
        followed.verifier.check(token)
    ids = [access.claims["jti"] for access in followed.verifier.verified.values()]
    assert [parts(token)[1]["jti"] for token in tokens[2:]] == ids
    followed.verifier.verified.clear()
    await followed.server.post("/auth/logout", token=tokens[0])
    await followed.hear(1)
    assert ("session_ended", None) == refused(followed.verifier, tokens[0])
    assert {} == followed.verifier.verified


async def test_every_kind_of_token(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Of all that servers hand out, a verifier takes the access tokens of its own for its audience."""
    audience = '[tokens]\naudience = "{}"\n'
    found: dict[tuple[str, str], bool] = {}
    kinds: dict[str, str] = {}
    follow: dict[str, Followed] = {}
    async with AsyncExitStack() as stack:
        for name, url, aud in [
            ("one", "https://one.example", "films"),
            ("audience", "https://one.example", "films2"),
            ("prefix", "https://one.example.net", "films"),
        ]:
            settings = f'public_url = "{url}"\n{SETTINGS}{audience.format(aud)}'
            folder = tmp_path if name != "prefix" else tmp_path_factory.mktemp(name)
            server = await stack.enter_async_context(accounts(folder, settings))
            publisher = stack.enter_context(publishing())
            follow[name] = following(server, publisher, audience=aud)
            await follow[name].hear()
            tokens = await login(server)
            kinds[f"access of {name}"] = tokens["access_token"]
            kinds[f"refresh of {name}"] = tokens["refresh_token"]
            kinds[f"list of {name}"] = server.auth.feed.document()
        for place, one in follow.items():
            for kind, token in kinds.items():
                found[kind, place] = refused(one.verifier, token) is None
    expected = {pair: pair[0] == f"access of {pair[1]}" for pair in found}
    assert 27 == len(found)
    assert expected == found


async def test_headers(followed: Followed) -> None:
    """Only the very header of the server counts; nothing else in it is even looked at."""
    token = await followed.token()
    header, claims = parts(token)
    key = followed.server.auth.keys.signing.key
    table: dict[str, tuple[Mapping[str, Any], str]] = {
        "other type": ({**header, "typ": "JWT"}, HEADER),
        "type of a media type": ({**header, "typ": "application/at+jwt"}, HEADER),
        "type in capitals": ({**header, "typ": "AT+JWT"}, HEADER),
        "no type": ({n: v for n, v in header.items() if n != "typ"}, HEADER),
        "no key": ({n: v for n, v in header.items() if n != "kid"}, HEADER),
        "key by a number": ({**header, "kid": 1}, HEADER),
        "unknown key": ({**header, "kid": "../../keys"}, "The key is not in force."),
        **{
            name: ({**header, name: value}, HEADER)
            for name, value in {
                "crit": ["exp"],
                "b64": False,
                "zip": "DEF",
                "jwk": key.as_dict(private=False),
                "jku": "http://127.0.0.1/",
                "x5u": "http://127.0.0.1/",
                "x5c": [],
                "cty": "JWT",
            }.items()
        },
    }
    found = {
        n: refused(followed.verifier, by_hand(key, head, claims)) for n, (head, _) in table.items()
    }
    assert {name: ("invalid_token", said) for name, (_, said) in table.items()} == found
    assert None is refused(followed.verifier, by_hand(key, header, claims))


async def test_algorithms(followed: Followed) -> None:
    """The key says the algorithm: no token chooses another one, nor none (RFC 8725, 3.1)."""
    token = await followed.token()
    header, claims = parts(token)
    public = followed.server.auth.keys.signing.key
    other = "The algorithm is not that of the key."
    for name in ("none", "None", "HS256", "ES384", "es256", "EdDSA", "", None, ["ES256"]):
        text = f"{encoded(json.dumps({**header, 'alg': name}))}.{encoded(json.dumps(claims))}"
        for signature in ("AA", token.split(".")[2]):
            assert ("invalid_token", other) == refused(followed.verifier, f"{text}.{signature}")
    for secret in (public.as_pem(private=False), public.as_der(private=False), b"0" * 32):
        mac = hmac.digest(secret, text.encode(), "sha256")
        assert ("invalid_token", other) == refused(followed.verifier, f"{text}.{encoded(mac)}")


async def test_length_of_signature(followed: Followed) -> None:
    """A signature has the length that its algorithm says; DER, for instance, is none."""
    head, payload, _ = (await followed.token()).split(".")
    for length in (1, 32, 63, 65, 72, 128):
        token = f"{head}.{payload}.{encoded(bytes(length))}"
        expected = ("invalid_token", "The signature has a wrong length.")
        assert expected == refused(followed.verifier, token)


async def test_signatures(followed: Followed) -> None:
    """A signature of another key, of another text, or of zeros is none."""
    first, second = await followed.token(), await followed.token()
    header, claims = parts(first)
    other = by_hand(ECKey.generate_key("P-256"), header, claims)
    head, payload, _ = first.split(".")
    for token in (
        other,
        f"{head}.{payload}.{second.split('.')[2]}",
        f"{head}.{payload}.{encoded(bytes(64))}",
    ):
        assert ("invalid_token", SIGNATURE) == refused(followed.verifier, token)


async def test_every_changed_character(followed: Followed) -> None:
    """No character of a token can be another one: a token has one spelling."""
    token = await followed.token()
    alphabet = string.ascii_letters + string.digits + "-_=+/.\n \x00é"
    step = 7
    for place in [*range(0, len(token), step), *range(len(token) - 3, len(token))]:
        for new in alphabet[place % 3 :: 3].replace(token[place], ""):
            changed = f"{token[:place]}{new}{token[place + 1 :]}"
            assert None is not refused(followed.verifier, changed), (place, new)


async def test_shapes(followed: Followed) -> None:
    """What is no token in compact form is refused before any part of it is read."""
    token = await followed.token()
    head, payload, signature = token.split(".")
    shapes = {
        "": NO_TOKEN,
        ".": NO_TOKEN,
        "..": NO_TOKEN,
        f"{head}.{payload}": NO_TOKEN,
        f"{head}.{payload}.": NO_TOKEN,
        f"{token}.": NO_TOKEN,
        f"{token}.{head}.{head}": NO_TOKEN,
        f"{token}=": NO_TOKEN,
        f"{token}\n": NO_TOKEN,
        f" {token}": NO_TOKEN,
        f"Bearer {token}": NO_TOKEN,
        f"{token}\ud800": NO_TOKEN,
        f"{token},{token}": NO_TOKEN,
        f"{encoded('x' * 1024)}.{payload}.{signature}": NO_TOKEN,
        f"{token}A": "The signature has a wrong length.",
        f"{head}.{payload}.A": BASE64,
        "A" * 4097: "The token is too long.",
        "é" * 4097: "The token is too long.",
        f"{encoded('[]')}.{payload}.{signature}": "This is no JSON object.",
        f"{encoded('{')}.{payload}.{signature}": "This is not JSON.",
        f"{encoded('[' * 700)}.{payload}.{signature}": "This is not JSON.",
        f"{encoded(bytes([255]))}.{payload}.{signature}": "This is not JSON.",
    }
    found = {text: refused(followed.verifier, text) for text in shapes}
    assert {text: ("invalid_token", said) for text, said in shapes.items()} == found


async def test_names_that_come_twice(followed: Followed) -> None:
    """Where a name comes twice, no reader can choose which one counts."""
    token = await followed.token()
    header, claims = parts(token)
    key = followed.server.auth.keys.signing.key
    twice = json.dumps(claims).replace("{", '{"sub": "eve", ', 1).encode()
    expected = ("invalid_token", "A name comes twice.")
    assert expected == refused(followed.verifier, by_hand(key, header, twice))
    head = encoded(json.dumps(header).replace("{", '{"alg": "none", ', 1))
    assert expected == refused(followed.verifier, ".".join([head, *token.split(".")[1:]]))


WRONG: Mapping[str, list[Any]] = {
    "sub": [None, 1, ["x"]],
    "sid": [None, 1, True],
    "jti": [None, 1],
    "iat": [None, "1", 1.5, True],
    "exp": [None, "1", 1e300, True],
    "nbf": ["1", 1.5, True],
    "auth_time": ["1", True],
    "amr": ["pwd", 1],
    "preferred_username": [1],
    "name": [["x"]],
}


async def test_claims(followed: Followed) -> None:
    """Each claim is there that has to be, and of its kind."""
    header, claims = parts(await followed.token())
    key = followed.server.auth.keys.signing.key
    for name, values in WRONG.items():
        expected = ("invalid_token", f"The claim {name} is missing, or of a wrong kind.")
        for value in values:
            changed = {n: v for n, v in {**claims, name: value}.items() if v is not None}
            token = by_hand(key, header, changed)
            assert expected == refused(followed.verifier, token), (name, value)


async def test_claims_of_others(followed: Followed) -> None:
    """Issuer and audience are compared as a whole, and a list of audiences is no audience."""
    header, claims = parts(await followed.token())
    key = followed.server.auth.keys.signing.key
    for name, said in (
        ("iss", "The token is of another issuer."),
        ("aud", "The token is for another audience."),
    ):
        good = claims[name]
        for value in (None, good + "/", good[:-1], good.upper(), [good], {"x": good}):
            token = by_hand(key, header, {**claims, name: value})
            assert ("invalid_token", said) == refused(followed.verifier, token)


async def test_not_yet(tmp_path: Path) -> None:
    """A token that is for later is not good before, but for the leeway."""
    async with following_one(tmp_path, leeway=10) as followed:
        header, claims = parts(await followed.token())
        key, now = followed.server.auth.keys.signing.key, followed.server.auth.now()
        token = by_hand(key, header, {**claims, "nbf": now + 10})
        assert None is refused(followed.verifier, token)
        token = by_hand(key, header, {**claims, "nbf": now + 11})
        expected = ("invalid_token", "The token is not valid yet.")
        assert expected == refused(followed.verifier, token)


async def test_little_is_needed(followed: Followed) -> None:
    """A token need not say more than RFC 9068 asks for, and whose session it is."""
    header, claims = parts(await followed.token())
    names = ("iss", "aud", "sub", "sid", "jti", "iat", "exp")
    key = followed.server.auth.keys.signing.key
    access = followed.verifier.check(by_hand(key, header, {n: claims[n] for n in names}))
    assert (None, (), None) == (access.username, access.amr, access.auth_time)


ISSUER = "https://auth.example.com"
ORIGIN = "{!r} must be an origin such as https://auth.example.com"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        *(
            ({"issuer": url}, ORIGIN.format(url))
            for url in (
                "",
                "auth.example.com",
                f"{ISSUER}/",
                f"{ISSUER}/x",
                f"{ISSUER}?x",
                "ftp://x",
                "https://ann@auth.example.com",
                "https://",
                "https://x:y",
                "https://x:0",
                "https://x:99999",
                "https://[x",
                "HTTPS://auth.example.com",
            )
        ),
        ({"url": "/run/s"}, ORIGIN.format("/run/s")),
        ({"bound": 1}, "bound must be from 2 to 60 seconds, not 1"),
        ({"bound": 61}, "bound must be from 2 to 60 seconds, not 61"),
        ({"bound": float("nan")}, "bound must be from 2 to 60 seconds, not nan"),
        ({"leeway": -1}, "leeway must be from 0 to 30 seconds, not -1"),
        ({"leeway": 31}, "leeway must be from 0 to 30 seconds, not 31"),
        (
            {"when_unreachable": "open"},
            'when_unreachable must be "refuse" or "accept", not \'open\'',
        ),
    ],
)
def test_settings(settings: Mapping[str, Any], said: str) -> None:
    """Settings that cannot be are refused, with what would do."""
    with pytest.raises(ValueError, match="must be") as error:
        Verifier(**{"issuer": ISSUER, **settings})
    assert said == str(error.value)


def test_way_to_the_server() -> None:
    """The server is reached at its issuer, or where it is said to be; always by its own name."""
    expected = [
        (None, HTTPSConnection, ("auth.example.com", 443)),
        ("http://10.0.0.7:8100", HTTPConnection, ("10.0.0.7", 8100)),
        ("http://[::1]:8100", HTTPConnection, ("::1", 8100)),
        ("unix:/run/s", UnixConnection, ("localhost", 80)),
    ]
    found = []
    for url, _, _ in expected:
        verifier = Verifier(ISSUER, url=url)
        made = connection(verifier.url, 1)
        found.append((url, type(made), (made.host, made.port)))
        assert "auth.example.com" == verifier.host
    assert expected == found
