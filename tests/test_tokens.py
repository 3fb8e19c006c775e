"""Tokens: what they say, and what is refused that only looks like one."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import string
import traceback
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from joserfc.jwk import ECKey, OKPKey
from joserfc.jws import JWSRegistry
from joserfc.util import json_b64encode, urlsafe_b64encode

from picoauth import ConfigError, Denied, Session, Statement, User
from picoauth.testing import Clock, Server
from picoauth.tokens import Access, Refresh, Tokens
from tests.accounts import SETTINGS, accounts, asking, heard, login, user_id, watched
from tests.factors import code_of
from tests.storage import exactly

NOW = 1_800_000_000
URL = "http://127.0.0.1:8100"
ALGORITHMS = ("ES256", "ES512", "EdDSA", "HS256")


@dataclass(frozen=True)
class Issued:
    """What a server handed out that is closed by now: what follows can read no database."""

    tokens: Tokens
    access: str
    refresh: str


def using(algorithm: str) -> str:
    return f'{SETTINGS}[tokens]\nalgorithm = "{algorithm}"'


@pytest.fixture(scope="module", params=ALGORITHMS)
def issued(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Issued:
    async def issue() -> Issued:
        folder = tmp_path_factory.mktemp(request.param)
        async with accounts(folder, using(request.param)) as server:
            found = await login(server)
            return Issued(server.auth.tokens, found["access_token"], found["refresh_token"])

    return asyncio.run(issue())


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with accounts(tmp_path) as server:
        yield server


def claims(token: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    return found


def signed(tokens: Tokens, header: bytes, payload: bytes) -> str:
    """A token of any content with a signature that is right by the key that signs."""
    key = tokens.keys.signing
    body = urlsafe_b64encode(header) + b"." + urlsafe_b64encode(payload)
    signature = JWSRegistry.algorithms[key.algorithm].sign(body, key.key)
    return (body + b"." + urlsafe_b64encode(signature)).decode()


def with_claims(tokens: Tokens, changes: dict[str, Any], token: str) -> str:
    """A token signed again, with other claims; None takes one out."""
    changed = {**claims(token), **changes}
    payload = {name: value for name, value in changed.items() if value is not None}
    return signed(tokens, header_of(tokens), json.dumps(payload).encode())


def header_of(tokens: Tokens, **more: Any) -> bytes:
    return json.dumps({**tokens.keys.signing.header, **more}, separators=(",", ":")).encode()


def refusal(check: Callable[[str], Any], token: str) -> tuple[int, str, str | None]:
    with pytest.raises(Denied) as refused:
        check(token)
    problem, headers = refused.value.problem, refused.value.headers
    return problem.status, problem.code, headers.get("WWW-Authenticate")


INVALID = (401, "invalid_token", 'Bearer error="invalid_token"')
EXPIRED = (401, "token_expired", 'Bearer error="invalid_token"')


def test_valid_token(issued: Issued) -> None:
    """A token is checked without its server's database, which is closed."""
    access = issued.tokens.check(issued.access)
    found = claims(issued.access)
    expected = Access(found["sub"], found["sid"], found["exp"], access.key_id, access.body)
    assert expected == access
    assert found == access.claims
    assert [access.key_id] == list(issued.tokens.keys.active)


async def test_claims(server: Server) -> None:
    """An access token has these claims and no others (RFC 9068, section 2.2); no address (K-7)."""
    token = (await login(server))["access_token"]
    ann = await user_id(server)
    [session] = await server.auth.sessions.list(ann)
    found = claims(token)
    assert 24 == len(found.pop("jti"))
    expected = {
        "iss": URL,
        "aud": URL,
        "sub": ann,
        "sid": session.id,
        "iat": NOW,
        "exp": NOW + 600,
        "auth_time": NOW,
        "amr": ["pin"],
        "preferred_username": "ann",
        "name": "ann",
    }
    assert expected == found


async def test_claims_of_a_user_without_names(server: Server) -> None:
    """A name that there is none of is left out."""
    user = User("u1", "", None, NOW, None, 0, None)
    session = Session(
        id="s1",
        user_id="u1",
        epoch=0,
        generation=0,
        created_at=NOW,
        rotated_at=NOW,
        idle_at=NOW + 1,
        expires_at=NOW + 2,
        auth_time=NOW,
        second_at=None,
        amr=("hwk",),
    )
    found = server.auth.tokens.claims(user, None, session)
    assert {"iss", "aud", "sub", "sid", "amr", "auth_time"} == set(found)


async def test_settings_of_tokens(tmp_path: Path) -> None:
    """Issuer, audience and life are settings."""
    more = '[tokens]\naudience = "my app"\naccess_life = "1m"'
    settings = f'public_url = "https://auth.example.org"\n{SETTINGS}{more}'
    async with accounts(tmp_path, settings) as server:
        tokens = await login(server)
        found = claims(tokens["access_token"])
        assert 60 == tokens["expires_in"]
        assert ("https://auth.example.org", "my app") == (found["iss"], found["aud"])
        assert NOW + 60 == found["exp"]
        server.auth.tokens.check(tokens["access_token"])


async def test_tokens_differ(server: Server) -> None:
    """No two access tokens have one `jti`, within one second and of one session."""
    ids = {claims((await login(server))["access_token"])["jti"] for _ in range(5)}
    assert 5 == len(ids)


HEADERS: dict[str, Callable[[Tokens], bytes]] = {
    "no algorithm": lambda tokens: header_of(tokens, alg="none"),
    "another algorithm": lambda tokens: header_of(tokens, alg="RS256"),
    "algorithm in another case": lambda tokens: header_of(tokens, alg="es256"),
    "type of refresh tokens": lambda tokens: header_of(tokens, typ="rt+jwt"),
    "type of any token": lambda tokens: header_of(tokens, typ="JWT"),
    "type in another case": lambda tokens: header_of(tokens, typ="AT+JWT"),
    "whole type": lambda tokens: header_of(tokens, typ="application/at+jwt"),
    "unknown key": lambda tokens: header_of(tokens, kid="unknown"),
    "key as a path": lambda tokens: header_of(tokens, kid="../../../dev/null"),
    "key as a number": lambda tokens: header_of(tokens, kid=1),
    "jwk": lambda tokens: header_of(tokens, jwk={"kty": "oct", "k": "AAAA"}),
    "jku": lambda tokens: header_of(tokens, jku="https://evil.example/jwks.json"),
    "x5u": lambda tokens: header_of(tokens, x5u="https://evil.example/x5u"),
    "x5c": lambda tokens: header_of(tokens, x5c=["MIIB"]),
    "crit": lambda tokens: header_of(tokens, crit=["exp"], exp=NOW),
    "empty crit": lambda tokens: header_of(tokens, crit=[]),
    "zip": lambda tokens: header_of(tokens, zip="DEF"),
    "b64": lambda tokens: header_of(tokens, b64=False, crit=["b64"]),
    "cty": lambda tokens: header_of(tokens, cty="JWT"),
    "doubled member": lambda tokens: b'{"typ":"JWT",' + header_of(tokens)[1:],
    "same member twice": lambda tokens: b'{"typ":"at+jwt",' + header_of(tokens)[1:],
    "white space": lambda tokens: header_of(tokens).replace(b",", b", "),
    "other order": lambda tokens: json.dumps(
        dict(reversed(tokens.keys.signing.header.items())), separators=(",", ":")
    ).encode(),
    "not an object": lambda _: b"[]",
    "not JSON": lambda _: b"{",
    "nothing": lambda _: b"",
    "over 1 KiB": lambda tokens: header_of(tokens, x="x" * 1024),
}


@pytest.mark.parametrize("how", HEADERS)
def test_header_is_one_that_we_write(issued: Issued, how: str) -> None:
    """Any other header is refused, though the signature is right by our own key (K-1 to K-5)."""
    payload = json.dumps(claims(issued.access)).encode()
    token = signed(issued.tokens, HEADERS[how](issued.tokens), payload)
    assert INVALID == refusal(issued.tokens.check, token)


def test_signing_again_is_right(issued: Issued) -> None:
    """What the tests of refusals change is all that is wrong with their tokens."""
    again = with_claims(issued.tokens, {}, issued.access)
    assert claims(issued.access) == issued.tokens.check(again).claims


@pytest.mark.parametrize("kid", ["../../../dev/null", "", "' or 1=1 --", "signing_keys"])
def test_empty_signature(issued: Issued, kid: str) -> None:
    """Without a signature, whatever the header says, a token is none (K-1)."""
    payload = urlsafe_b64encode(json.dumps(claims(issued.access)).encode()).decode()
    for header in ({"alg": "none"}, {"alg": "none", "typ": "at+jwt", "kid": kid}):
        assert INVALID == refusal(
            issued.tokens.check, f"{json_b64encode(header).decode()}.{payload}."
        )
    own = issued.access.rpartition(".")[0]
    assert INVALID == refusal(issued.tokens.check, f"{own}.")


def test_public_key_as_a_secret(issued: Issued) -> None:
    """The public key, which everyone has, signs nothing with HMAC (RFC 8725, section 2.1)."""
    key = issued.tokens.keys.signing
    header = {**key.header, "alg": "HS256"}
    secrets = [b"", b"\0" * 32, key.id.encode(), json.dumps(key.public).encode()]
    if isinstance(key.key, ECKey | OKPKey):
        secrets += [key.key.as_pem(private=False), key.key.as_der(private=False)]
    payload = urlsafe_b64encode(json.dumps(claims(issued.access)).encode())
    for secret in secrets:
        for head in (json_b64encode(header), issued.access.split(".")[0].encode()):
            body = head + b"." + payload
            mac = urlsafe_b64encode(hmac.digest(secret, body, "sha256"))
            assert INVALID == refusal(issued.tokens.check, (body + b"." + mac).decode())


CLAIMS: dict[str, dict[str, Any]] = {
    "issuer with a slash": {"iss": f"{URL}/"},
    "prefix of the issuer": {"iss": URL[:-1]},
    "another issuer": {"iss": "https://evil.example"},
    "list of issuers": {"iss": [URL]},
    "no issuer": {"iss": None},
    "audience with more": {"aud": f"{URL}/app"},
    "list of audiences": {"aud": [URL]},
    "no audience": {"aud": None},
    "no user": {"sub": None},
    "user that is a number": {"sub": 1},
    "no session": {"sid": None},
    "no id": {"jti": None},
    "no begin": {"iat": None},
    "no end": {"exp": None},
    "end that is a text": {"exp": str(NOW + 600)},
    "end that is a fraction": {"exp": NOW + 0.5},
    "end that is true": {"exp": True},
}


@pytest.mark.parametrize("how", CLAIMS)
def test_claims_are_compared_exactly(issued: Issued, how: str) -> None:
    """Each required claim is there, of its type, and exactly ours (K-6)."""
    token = with_claims(issued.tokens, CLAIMS[how], issued.access)
    assert INVALID == refusal(issued.tokens.check, token)


@pytest.mark.parametrize("payload", [b"", b"[]", b"null", b'"x"', b"{", b"\xff"])
def test_payload_that_is_no_object(issued: Issued, payload: bytes) -> None:
    """What is signed, but is no JSON object, is no token."""
    token = signed(issued.tokens, header_of(issued.tokens), payload)
    assert INVALID == refusal(issued.tokens.check, token)


SHAPES: dict[str, Callable[[str], str]] = {
    "empty": lambda _: "",
    "dots": lambda _: "..",
    "one part": lambda token: token.split(".")[0],
    "two parts": lambda token: token.rpartition(".")[0],
    "four parts": lambda token: f"{token}.{token.split('.')[1]}",
    "five parts": lambda token: ".".join([*token.split(".")[:2], *token.split(".")]),
    "five with empty ones": lambda token: "{}.{}.{}..".format(*token.split(".")),
    "padding": lambda token: f"{token}==",
    "padded payload": lambda token: "{}.{}=.{}".format(*token.split(".")),
    "space before": lambda token: f" {token}",
    "space after": lambda token: f"{token} ",
    "line end": lambda token: f"{token}\n",
    "NUL": lambda token: f"{token}\0",
    "standard alphabet": lambda token: token.replace("-", "+").replace("_", "/") + "+",
    "doubled": lambda token: f"{token}{token}",
    "lone surrogate": lambda token: f"{token}\ud800",
    "parts exchanged": lambda token: "{1}.{0}.{2}".format(*token.split(".")),
}


@pytest.mark.parametrize("how", SHAPES)
def test_shape_of_a_token(issued: Issued, how: str) -> None:
    """Three parts in base64url without padding, in their one spelling (K-3)."""
    assert INVALID == refusal(issued.tokens.check, SHAPES[how](issued.access))
    assert INVALID == refusal(issued.tokens.check_refresh, SHAPES[how](issued.refresh))


def test_unused_bits(issued: Issued) -> None:
    """The last character of each part has one spelling: unused bits are zero (RFC 4648, 3.5)."""
    alphabet = string.ascii_letters + string.digits + "-_"
    for token, check in (
        (issued.access, issued.tokens.check),
        (issued.refresh, issued.tokens.check_refresh),
    ):
        check(token)
        for last in set(alphabet) - {token[-1]}:
            assert INVALID == refusal(check, token[:-1] + last)


@settings(deadline=None)
@given(st.data())
def test_one_character(issued: Issued, data: st.DataObject) -> None:
    """No token survives the change, loss or gain of one character, wherever it is."""
    token, check = data.draw(
        st.sampled_from(
            [(issued.access, issued.tokens.check), (issued.refresh, issued.tokens.check_refresh)]
        )
    )
    at = data.draw(st.integers(0, len(token) - 1))
    letters = st.sampled_from(string.printable) | st.characters()
    other = data.draw(letters.filter(lambda letter: letter != token[at]))
    for changed in (
        token[:at] + other + token[at + 1 :],
        token[:at] + token[at + 1 :],
        token[:at] + other + token[at:],
    ):
        assert INVALID == refusal(check, changed)


@settings(deadline=None)
@given(st.text() | st.binary().map(lambda noise: noise.decode("latin-1")))
@example("Bearer ..")
def test_noise(issued: Issued, noise: str) -> None:
    """Whatever else comes is refused in the same words."""
    assert INVALID == refusal(issued.tokens.check, noise)
    assert INVALID == refusal(issued.tokens.check_refresh, noise)


class Unread:
    """A text of which nothing but its length may be looked at."""

    def __len__(self) -> int:
        return 4097


def test_length_is_looked_at_first(issued: Issued) -> None:
    """Over 4 KiB a token is refused before anything of it is decoded (K-4)."""
    for check in (issued.tokens.check, issued.tokens.check_refresh):
        assert INVALID == refusal(check, cast("str", Unread()))


def test_exceptions_do_not_hold_the_token(issued: Issued) -> None:
    """Whatever logs a refusal, and all that led to it, logs nothing of the token (K-4)."""
    for token in (f"{issued.access[:-4]}AAAA", issued.access[:-1], f"{issued.access}.."):
        with pytest.raises(Denied) as refused:
            issued.tokens.check(token)
        told = "".join(traceback.format_exception(refused.value))
        assert not [part for part in token.split(".") if part and part in told]


@pytest.mark.parametrize("size", [4097, 9000])
@pytest.mark.parametrize("path", ["/jwt/validate", "/jwt/refresh", "/auth/me"])
async def test_long_token_is_not_echoed(
    server: Server, caplog: pytest.LogCaptureFixture, path: str, size: int
) -> None:
    """Neither an answer nor a log has anything of what was sent (K-4)."""
    caplog.set_level(logging.DEBUG)
    token = "secret." * (size // 7 + 1)
    answer = await server.send("GET" if path == "/auth/me" else "POST", path, token=token)
    assert (401, "invalid_token") == code_of(answer)
    assert not [
        text for text in (answer.text, caplog.text, str(answer.headers)) if "secret." in text
    ]


async def test_claims_that_grow_too_long(server: Server) -> None:
    """Plugins whose claims make a token longer than anyone accepts are told, at the login."""
    tokens = server.auth.tokens
    found = claims((await login(server))["access_token"])
    assert 4000 < len(tokens.access({**found, "more": "x" * 2640})) <= 4096
    sentence = "Plugins add so many claims that tokens grow over 4 KiB: have them add fewer."
    with pytest.raises(ConfigError, match=exactly(sentence)):
        tokens.access({**found, "more": "x" * 2660})


async def test_expiry_is_to_the_second(server: Server) -> None:
    """A token is valid before its end and not at its end, remembered or not (K-6)."""
    seen, new = [(await login(server))["access_token"] for _ in range(2)]
    server.auth.tokens.check(seen)
    server.clock.advance(599.9)
    server.auth.tokens.check(seen)
    server.clock.advance(0.1)
    for token in (seen, new):
        assert EXPIRED == refusal(server.auth.tokens.check, token)
    answer = await server.post("/jwt/validate", token=seen)
    assert ((401, "token_expired"), 'Bearer error="invalid_token"') == (
        code_of(answer),
        answer.headers["www-authenticate"],
    )


async def test_remembered_token_is_revoked(server: Server) -> None:
    """A token that was verified before is refused once its session has ended (K-12)."""
    token = (await login(server))["access_token"]
    assert 200 == (await server.post("/jwt/validate", token=token)).status_code
    assert 204 == (await server.post("/auth/logout", token=token)).status_code
    answer = await server.post("/jwt/validate", token=token)
    assert (401, "session_ended") == code_of(answer)


async def test_remembered_token_of_a_retired_key(server: Server) -> None:
    """A token that was verified before is refused once its key is gone (K-14)."""
    token = (await login(server))["access_token"]
    server.auth.tokens.check(token)
    await server.auth.database.write(Statement("delete from signing_keys"))
    await server.auth.keys.refresh()
    assert INVALID == refusal(server.auth.tokens.check, token)


async def test_memory_is_bounded(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest tokens are remembered, so many and no more, and only those that are valid."""
    monkeypatch.setattr("picoauth.tokens.REMEMBERED", 3)
    tokens = server.auth.tokens
    found = [(await login(server))["access_token"] for _ in range(5)]
    verified: list[str] = []
    verify = tokens.verify

    def noting(token: str) -> Access:
        verified.append(token)
        return verify(token)

    monkeypatch.setattr(tokens, "verify", noting)
    for token in found:
        assert claims(token) == tokens.check(token).claims
        assert claims(token) == tokens.check(token).claims
    assert found == verified
    expected = [hashlib.sha256(token.encode()).digest() for token in found[2:]]
    assert expected == list(tokens.verified)
    for changed in (found[0] + "x", "x", "\ud800"):
        assert INVALID == refusal(tokens.check, changed)
    tokens.check(found[0])
    assert [*found, found[0] + "x", "x", "\ud800", found[0]] == verified
    assert 3 == len(tokens.verified)


async def test_verification_reads_no_database(server: Server) -> None:
    """Neither the first look at a token nor a later one asks the database anything."""
    tokens = await login(server)
    with asking() as asked:
        for _ in range(2):
            await server.post("/jwt/validate", token=tokens["access_token"])
            await server.get("/auth/session", token=tokens["access_token"])
            await server.post("/jwt/validate", token=tokens["access_token"][:-1])
            await server.get("/.well-known/jwks.json")
        assert [] == asked
        await server.get("/auth/me", token=tokens["access_token"])
        assert asked


async def test_verification_without_a_database(server: Server) -> None:
    """Tokens are verified while the database is down."""
    token = (await login(server))["access_token"]
    watched(server).down = True
    assert 200 == (await server.post("/jwt/validate", token=token)).status_code
    assert (503, "unavailable") == code_of(await server.get("/auth/me", token=token))


def test_valid_refresh_token(issued: Issued) -> None:
    """A refresh token names its user, its session and the generation; it has no other claims."""
    found = claims(issued.refresh)
    assert Refresh(found["sub"], found["sid"], 0, found["exp"], {}) == issued.tokens.check_refresh(
        issued.refresh
    )
    assert {"iss", "sub", "sid", "iat", "exp", "gen"} == set(found)
    header = {"typ": "rt+jwt", "alg": "HS256", "kid": issued.tokens.refresh_keys[0].id}
    assert json_b64encode(header).decode() == issued.refresh.split(".")[0]


def refresh_signed(tokens: Tokens, changes: dict[str, Any], token: str, **header: Any) -> str:
    key = tokens.refresh_keys[0]
    head = json.dumps({**key.header, **header}, separators=(",", ":")).encode()
    payload = json.dumps({**claims(token), **changes}).encode()
    body = urlsafe_b64encode(head) + b"." + urlsafe_b64encode(payload)
    signature = JWSRegistry.algorithms["HS256"].sign(body, key.key)
    return (body + b"." + urlsafe_b64encode(signature)).decode()


@pytest.mark.parametrize(
    ("changes", "header", "expected"),
    [
        ({"iss": "https://evil.example"}, {}, INVALID),
        ({"exp": NOW}, {}, EXPIRED),
        ({}, {"typ": "at+jwt"}, INVALID),
        ({}, {"alg": "none"}, INVALID),
        ({}, {"alg": "HS512"}, INVALID),
        ({}, {"kid": "unknown"}, INVALID),
        ({}, {"jku": "https://evil.example"}, INVALID),
    ],
)
def test_refused_refresh_tokens(
    issued: Issued, changes: dict[str, Any], header: dict[str, Any], expected: Any
) -> None:
    """What is signed by our own key, and is not ours to the letter, is refused."""
    issued.tokens.check_refresh(refresh_signed(issued.tokens, {}, issued.refresh))
    token = refresh_signed(issued.tokens, changes, issued.refresh, **header)
    assert expected == refusal(issued.tokens.check_refresh, token)


async def test_refresh_token_is_a_function_of_the_session(server: Server) -> None:
    """The same session always has the same refresh token, which no two sessions share."""
    token = (await login(server))["refresh_token"]
    [session] = await server.auth.sessions.list(await user_id(server))
    sign = server.auth.tokens.refresh
    assert [token, token] == [sign(session, {"any": "thing"}) for _ in range(2)]
    others = [
        sign(replace(session, **change), {})
        for change in ({"generation": 1}, {"rotated_at": NOW + 1}, {"id": "other"})
    ]
    assert 4 == len({token, *others})
    short = replace(session, expires_at=NOW + 5)
    assert NOW + 5 == claims(sign(short, {}))["exp"]


async def test_rotated_secret(tmp_path: Path) -> None:
    """With a new secret before the old one, old tokens are accepted and new ones are of the new."""
    async with accounts(tmp_path) as server:
        old = await login(server)
    (tmp_path / "picoauth.secret").rename(tmp_path / "old")
    (tmp_path / "new").write_bytes(base64.b64encode(hashlib.sha256(b"new").digest()))
    (tmp_path / "new").chmod(0o600)
    listed = f'secret = [{{ file = "new" }}, {{ file = "old" }}]\n{SETTINGS}'
    async with accounts(tmp_path, listed, clock=Clock(NOW + 60)) as server:
        answer = await server.post("/jwt/refresh", token=old["refresh_token"])
        assert 200 == answer.status_code
        new, keys = answer.json()["refresh_token"], server.auth.tokens.refresh_keys
        kids = [
            json.loads(base64.urlsafe_b64decode(t.split(".")[0] + "=="))["kid"]
            for t in (new, old["refresh_token"])
        ]
        assert [key.id for key in keys] == kids
        assert 200 == (await server.post("/jwt/validate", token=old["access_token"])).status_code


async def test_refusals_tell_no_plugin_anything(server: Server) -> None:
    """A token that is refused is an event of the policy, without the token."""
    events = heard(server)
    await server.get("/auth/me", token="x.y.z")
    await server.auth.events.settle()
    assert ["AccessRefused"] == [type(event).__name__ for event in events]
    assert "x.y.z" not in str(events)
