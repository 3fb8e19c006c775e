"""What a verifier believes of what it is told: whose word, how old, and for how long."""

from __future__ import annotations

import json
import logging
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from picoauth import Auth
from picoauth.keyring import Keyring
from picoauth.testing import Server
from picoauth_verify import Refused, Stale, Unreachable, Verifier, client
from picoauth_verify.follower import KEYS, LIST
from tests.accounts import accounts
from tests.certificates import self_signed
from tests.verifying import Followed, Publisher, by_hand, following, publishing

OLDER = "The list is older than the one before."
IN_FORCE = "The key is not in force."
WRONG = "The list lacks a claim, or one is of a wrong kind."
TIME = "The list is not of this time: the clocks differ, or it was kept back."


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    with publishing() as running:
        yield running


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with accounts(tmp_path) as running:
        yield running


@pytest.fixture
async def followed(server: Server, publisher: Publisher) -> Followed:
    """A verifier that has heard from its server."""
    found = following(server, publisher)
    await found.hear()
    assert None is found.trouble
    return found


async def ended(followed: Followed) -> str:
    """A token whose session ended, which the verifier does not know yet."""
    token = await followed.token()
    assert followed.verifier.check(token)
    await followed.server.post("/auth/logout", token=token)
    return token


def code_of(verifier: Verifier, token: str) -> str | None:
    try:
        verifier.check(token)
    except Refused as refused:
        return refused.code
    except Unreachable as error:
        return type(error).__name__
    return None


async def test_ended_session(followed: Followed) -> None:
    """A session that ended is refused from the next list on; others are not."""
    other, token = await followed.token(), await ended(followed)
    assert None is code_of(followed.verifier, token)
    await followed.hear(0.5)
    assert "session_ended" == code_of(followed.verifier, token)
    assert None is code_of(followed.verifier, other)


async def test_entry_stays(followed: Followed) -> None:
    """What is on one list is not forgotten by the next, until its time is over."""
    token = await ended(followed)
    await followed.hear()
    [(session_id, end)] = followed.verifier.knowledge().sessions.items()
    followed.server.clock.time = end - 1
    followed.uptime.advance(0.5)
    followed.says(sids={})
    followed.ask()
    assert None is followed.trouble
    assert {session_id: end} == followed.verifier.knowledge().sessions
    assert followed.verifier.check(await followed.token())
    followed.server.clock.advance(1)
    followed.says(sids={})
    followed.ask()
    assert {} == followed.verifier.knowledge().sessions
    assert "token_expired" == code_of(followed.verifier, token)


async def test_replayed_list(followed: Followed) -> None:
    """An older list is refused: it changes nothing, and proves nothing to be fresh."""
    old = followed.publisher.answers[LIST]
    token, ended_one = await followed.token(), await ended(followed)
    await followed.hear(1)
    for _ in range(4):
        assert "session_ended" == code_of(followed.verifier, ended_one)
        assert None is code_of(followed.verifier, token)
        followed.publisher.answers[LIST] = old
        followed.uptime.advance(0.5)
        followed.ask()
        assert OLDER == followed.trouble
    assert "session_ended" == code_of(followed.verifier, ended_one)
    with pytest.raises(Stale) as stale:
        followed.verifier.check(token)
    assert OLDER == stale.value.why


async def test_lower_number(followed: Followed) -> None:
    """A list of a later time with a lower number comes from a process that lags: not believed."""
    await ended(followed)
    await followed.hear()
    followed.server.clock.advance(1)
    followed.says(seq=0)
    followed.ask()
    assert OLDER == followed.trouble


async def test_times_in_fractions(followed: Followed) -> None:
    """A server may say its times more exactly than in whole seconds."""
    followed.says(iat=followed.server.auth.now() + 0.25)
    followed.ask()
    assert None is followed.trouble
    followed.says(iat=followed.server.auth.now() + 0.125)
    followed.ask()
    assert OLDER == followed.trouble


async def test_server_set_up_anew(followed: Followed) -> None:
    """After a minute without a list that could be believed, the next one is believed by itself."""
    token = await ended(followed)
    await followed.hear()
    for seconds, expected in ((30, OLDER), (30, OLDER), (1, None)):
        followed.server.clock.advance(seconds)
        followed.uptime.advance(seconds)
        followed.says(seq=0)
        followed.ask()
        assert expected == followed.trouble
    assert followed.verifier.check(await followed.token())
    assert token


async def test_silence(followed: Followed) -> None:
    """The bound, less what the server may be behind, counts from when the last list was asked for."""
    token = await followed.token()
    for seconds, expected in ((0, None), (1.5, None), (0.1, "Stale"), (3600, "Stale")):
        followed.uptime.advance(seconds)
        assert expected == code_of(followed.verifier, token)


async def test_longer_bound(server: Server, publisher: Publisher) -> None:
    """Another bound is another patience."""
    followed = following(server, publisher, bound=10)
    await followed.hear()
    token = await followed.token()
    for seconds, expected in ((9.5, None), (0.1, "Stale")):
        followed.uptime.advance(seconds)
        assert expected == code_of(followed.verifier, token)


async def test_server_without_its_database(followed: Followed) -> None:
    """A server that answers, but has stopped to look, is believed for one second more."""
    token = await followed.token()
    await followed.hear(1)
    for _ in range(5):
        assert None is code_of(followed.verifier, token)
        followed.uptime.advance(0.5)
        followed.ask()
        assert None is followed.trouble
    assert "Stale" == code_of(followed.verifier, token)
    await followed.hear(1)
    assert None is code_of(followed.verifier, token)


async def test_server_that_had_lost_its_database_before(
    server: Server, publisher: Publisher
) -> None:
    """The first list of all is as old as the clock of the wall says."""
    followed = following(server, publisher)
    followed.publish()
    server.clock.advance(4)
    followed.ask()
    assert "Stale" == code_of(followed.verifier, await followed.token())


async def test_open_when_unreachable(server: Server, publisher: Publisher) -> None:
    """Who chose so goes on by what was known, for as long as it takes."""
    followed = following(server, publisher, when_unreachable="accept")
    other, ended_one = await followed.token(), await followed.token()
    assert "Unreachable" == code_of(followed.verifier, other)
    await server.post("/auth/logout", token=ended_one)
    await followed.hear()
    followed.uptime.advance(300)
    server.clock.advance(300)
    assert None is code_of(followed.verifier, other)
    assert "session_ended" == code_of(followed.verifier, ended_one)
    assert "invalid_token" == code_of(followed.verifier, other[:-4] + "AAAA")
    server.clock.advance(300)
    assert "token_expired" == code_of(followed.verifier, other)


def forged(auth: Auth) -> Mapping[str, tuple[Any, str]]:
    """Lists that must not be believed, by what is wrong: the header, claims, and what is said."""
    now = auth.now()
    claims: dict[str, Any] = {"kids": ["evil"], "seq": 99}
    header = "The header is not that of such a token."
    return {
        "type of an access token": (({"typ": "at+jwt"}, claims), header),
        "type in capitals": (({"typ": "REVOCATIONS+JWT"}, claims), header),
        "critical extension": (({"crit": ["x"], "x": 1}, claims), header),
        "key in the header": (({"jwk": {}}, claims), header),
        "address of keys": (({"jku": "http://127.0.0.1/"}, claims), header),
        "another key": (({"kid": "evil"}, claims), IN_FORCE),
        "another issuer": (
            (None, {"iss": "https://evil.example"}),
            "The list is of another issuer.",
        ),
        "no issuer": ((None, {"iss": None}), "The list is of another issuer."),
        "over": ((None, {"iat": now - 60, "exp": now}), TIME),
        "of the future": ((None, {"iat": now + 61, "exp": now + 121}), TIME),
        **{f"no {name}": ((None, {name: None}), WRONG) for name in ("iat", "exp", "seq", "kids")},
        "no sids": ((None, {"sids": None}), WRONG),
        "sids as a list": ((None, {"sids": ["x"]}), WRONG),
        "end of a session as a text": ((None, {"sids": {"x": "1"}}), WRONG),
        "keys as a text": ((None, {"kids": "evil"}), WRONG),
        "keys by numbers": ((None, {"kids": [1]}), WRONG),
        "time as a text": ((None, {"iat": str(now)}), WRONG),
        "time as a truth": ((None, {"exp": True}), WRONG),
        "number as a fraction": ((None, {"seq": 1.5}), WRONG),
    }


async def test_forged_lists(followed: Followed) -> None:
    """A list that is not the server's, to the letter, is refused, and changes nothing."""
    token = await followed.token()
    before = followed.verifier.knowledge()
    table = forged(followed.server.auth)
    found = {}
    for name, ((header, claims), _) in table.items():
        followed.uptime.advance(0.01)
        followed.says(header, **claims)
        followed.ask()
        found[name] = followed.trouble
        assert before is followed.verifier.knowledge(), name
    assert {name: said for name, (_, said) in table.items()} == found
    assert None is code_of(followed.verifier, token)


async def test_lists_by_other_hands(followed: Followed) -> None:
    """Neither who has another key, nor who knows the public one, can make a list."""
    auth = followed.server.auth
    signing = auth.keys.signing
    claims = json.loads(json.dumps({"iss": auth.config.public_url, "seq": 9, "kids": ["evil"]}))
    header = {**signing.header, "typ": "revocations+jwt"}
    secret = OctKey.generate_key(512)
    good = followed.listed()
    texts = {
        by_hand(ECKey.generate_key("P-256"), header, claims): "The signature is wrong.",
        by_hand(secret, {**header, "alg": "HS256"}, claims): (
            "The algorithm is not that of the key."
        ),
        good[: good.rindex(".") + 1]: "This is no signed token.",
        good[: good.rindex(".")] + ".AAAA": "The signature has a wrong length.",
        "<html>": "This is no signed token.",
        "": "This is no signed token.",
        "ÿ.ÿ.ÿ": "This is no signed token.",
    }
    found = {}
    for text in texts:
        followed.publisher.says(LIST, text)
        followed.ask()
        found[text] = followed.trouble
    assert texts == found


async def test_retired_key(followed: Followed) -> None:
    """What a retired key signed is refused, remembered or not, and a new key is learnt with it."""
    seen, unseen = await followed.token(), await followed.token()
    assert None is code_of(followed.verifier, seen)
    await Keyring(followed.server.auth).retire(followed.server.auth.keys.signing.id)
    await followed.hear(2)
    for token in (seen, unseen):
        with pytest.raises(Refused) as refused:
            followed.verifier.check(token)
        assert ("invalid_token", IN_FORCE) == (refused.value.code, refused.value.detail)
    assert None is code_of(followed.verifier, await followed.token())


@pytest.mark.parametrize("others", [0, 1])
async def test_list_by_a_retired_key(followed: Followed, others: int) -> None:
    """Who stole a key cannot bring it back once it was retired, not even after a silence."""
    auth = followed.server.auth
    stolen, keyring = auth.keys.signing, Keyring(auth)
    for _ in range(others):  # one that is known already, so that no keys are fetched
        await keyring.add(keyring.made(), at_once=True)
        await auth.keys.refresh()
    await followed.hear(2)
    await keyring.retire(stolen.id)
    await followed.hear(0.1)
    assert None is followed.trouble
    assert stolen.id not in followed.verifier.knowledge().keys
    now = auth.now()
    claims = {"iss": auth.config.public_url, "iat": now + 9, "exp": now + 69, "seq": 9}
    text = by_hand(
        stolen.key,
        {**stolen.header, "typ": "revocations+jwt"},
        {**claims, "kids": [stolen.id], "sids": {}},
    )
    for seconds in (0.1, 61):
        followed.uptime.advance(seconds)
        followed.publisher.says(LIST, text)
        followed.ask()
        assert IN_FORCE == followed.trouble


async def test_key_retired_in_a_silence(followed: Followed) -> None:
    """After a silence a list counts by the keys that are published then, not by those of before."""
    auth = followed.server.auth
    text = followed.listed(iat=auth.now() + 61, exp=auth.now() + 121)
    followed.server.clock.advance(61)
    followed.uptime.advance(61)
    await Keyring(auth).retire(auth.keys.signing.id)
    followed.publish()
    followed.publisher.says(LIST, text)
    followed.ask()
    assert IN_FORCE == followed.trouble


async def test_another_key_by_the_same_name(followed: Followed) -> None:
    """A key that comes again under its old id is another one, for tokens that are remembered too."""
    token = await followed.token()
    claims = dict(followed.verifier.check(token).claims)
    followed.uptime.advance(2)
    other, signing = ECKey.generate_key("P-256"), followed.server.auth.keys.signing
    jwk = {**other.as_dict(private=False), "kid": signing.id, "alg": "ES256", "use": "sig"}
    followed.publisher.says(KEYS, {"keys": [jwk]})
    listed = {"iss": claims["iss"], "iat": followed.server.auth.now(), "exp": 2e9}
    text = by_hand(
        other,
        {**signing.header, "typ": "revocations+jwt"},
        {**listed, "seq": 0, "kids": [signing.id], "sids": {}},
    )
    followed.publisher.says(LIST, text)
    followed.ask()
    assert None is followed.trouble
    assert "invalid_token" == code_of(followed.verifier, token)
    assert None is code_of(followed.verifier, by_hand(other, signing.header, claims))


async def test_made_up_keys_cause_no_traffic(followed: Followed) -> None:
    """No token makes a verifier ask for anything, whatever key it names."""
    before = dict(followed.publisher.asked)
    key = ECKey.generate_key("P-256")
    for number in range(100):
        header = {"typ": "at+jwt", "alg": "ES256", "kid": f"made-up-{number}"}
        assert "invalid_token" == code_of(followed.verifier, by_hand(key, header, {}))
    assert before == followed.publisher.asked


async def test_keys_are_asked_for_seldom(followed: Followed) -> None:
    """A key that is in force but not published is looked for each two seconds, and no more."""
    asked = followed.publisher.asked[KEYS]
    kids = [followed.server.auth.keys.signing.id, "not published"]
    for _ in range(40):
        followed.uptime.advance(0.1)
        followed.server.clock.advance(1)
        followed.says(kids=kids)
        followed.ask()
        assert None is followed.trouble
    assert asked + 2 == followed.publisher.asked[KEYS]
    assert None is code_of(followed.verifier, await followed.token())


async def test_lists_alone_are_asked_for(followed: Followed) -> None:
    """While nothing changes, the keys are not fetched again; the server is asked by its own name."""
    for _ in range(3):
        await followed.hear(1)
    assert {KEYS: 1, LIST: 4} == followed.publisher.asked
    expected = {
        "Host": "127.0.0.1:8100",
        "Cache-Control": "no-cache",
        "Accept-Encoding": "identity",
    }
    assert [expected] * 5 == followed.publisher.heads


FOREIGN: Mapping[str, Any] = {
    "symmetric": OctKey.generate_key(256),
    "RSA": RSAKey.generate_key(2048),
    "another curve": ECKey.generate_key("P-384"),
    "with its secret": OKPKey.generate_key("Ed25519"),
}
ALGORITHMS = {"symmetric": "HS256", "RSA": "RS256", "another curve": "ES384"}


async def test_foreign_keys(followed: Followed) -> None:
    """A key that is not one of ours is left out of the set, though the server names it in force."""
    auth = followed.server.auth
    claims = dict(followed.verifier.check(await followed.token()).claims)
    for kind, key in FOREIGN.items():
        algorithm = ALGORITHMS.get(kind, "EdDSA")
        jwk = {**key.as_dict(private=True), "kid": "odd", "alg": algorithm, "use": "sig"}
        if kind in ("RSA", "another curve"):
            jwk = {name: value for name, value in jwk.items() if name != "d"}
        followed.publisher.says(KEYS, {"keys": [*auth.keys.published()["keys"], jwk]})
        followed.uptime.advance(2)
        followed.server.clock.advance(1)
        followed.says(kids=[auth.keys.signing.id, "odd"])
        followed.ask()
        assert None is followed.trouble
        assert [auth.keys.signing.id] == list(followed.verifier.knowledge().keys)
        header = {"typ": "at+jwt", "alg": algorithm, "kid": "odd"}
        assert "invalid_token" == code_of(followed.verifier, by_hand(key, header, claims))


SETS = {
    "not JSON": ("{", "This is not JSON."),
    "not text": (b"\xff", "This is not JSON."),
    "too deep": ("[" * 100_000, "This is not JSON."),
    "a number that is none": ('{"keys": NaN}', "NaN is not JSON."),
    "a name twice": ('{"keys": [], "keys": []}', "A name comes twice."),
    "a list": ("[]", "This is no JSON object."),
    "no keys": ("{}", "This is no set of keys."),
    "keys as a text": ('{"keys": "x"}', "This is no set of keys."),
    "a key as a text": ('{"keys": ["x"]}', "This is no set of keys."),
}


async def test_damaged_key_sets(server: Server, publisher: Publisher) -> None:
    """What is no key set is said to be none."""
    found = {}
    for name, (body, _) in SETS.items():
        followed = following(server, publisher)
        followed.publish()
        publisher.says(KEYS, body)
        followed.ask()
        found[name] = followed.trouble
    assert {name: said for name, (_, said) in SETS.items()} == found


DAMAGED = "A key of the set is damaged."


async def test_changed_keys(server: Server, publisher: Publisher) -> None:
    """A key for something else verifies nothing; a damaged one spoils its set."""
    [jwk] = server.auth.keys.published()["keys"]
    changes: list[tuple[str, Any, str]] = [
        ("use", "enc", IN_FORCE),
        ("kid", 7, IN_FORCE),
        ("alg", "ES512", IN_FORCE),
        ("alg", ["ES256"], IN_FORCE),
        ("crv", "P-521", IN_FORCE),
        ("x", "AA", DAMAGED),
        ("x", "!", DAMAGED),
        ("x", 1, DAMAGED),
        ("x", jwk["y"], DAMAGED),
    ]
    for name, value, said in changes:
        followed = following(server, publisher)
        followed.publish()
        publisher.says(KEYS, {"keys": [{**jwk, name: value}]})
        followed.ask()
        assert said == followed.trouble, (name, value)
    followed = following(server, publisher)
    publisher.says(KEYS, {"keys": [{name: jwk[name] for name in jwk if name != "y"}]})
    followed.ask()
    assert DAMAGED == followed.trouble


async def test_two_keys_of_one_name(server: Server, publisher: Publisher) -> None:
    """Two keys of one id are none: nobody could say which is meant."""
    followed = following(server, publisher)
    followed.publish()
    publisher.says(KEYS, {"keys": server.auth.keys.published()["keys"] * 2})
    followed.ask()
    assert "Two keys have the same id." == followed.trouble


async def test_other_answers(followed: Followed) -> None:
    """Only 200 is an answer; no redirect is followed."""
    for status in (204, 302, 401, 500, 503):
        followed.publisher.says(LIST, "", status)
        followed.ask()
        assert f"it answers {status}" == followed.trouble


async def test_no_list(followed: Followed) -> None:
    """A server that signs with a secret publishes no list, and that is what is said."""
    followed.publisher.says(LIST, "{}", 404)
    followed.ask()
    assert (
        "it publishes no list of ended sessions, as under HS256: ask the server about tokens"
        == followed.trouble
    )


async def test_endless_answer(followed: Followed, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that is longer than any list is not read to its end."""
    monkeypatch.setattr(client, "MOST", 10)
    followed.ask()
    assert "the answer is too long" == followed.trouble


async def test_connection_that_was_closed(followed: Followed) -> None:
    """A kept connection that the server closed meanwhile is no trouble."""
    followed.publisher.hangs_up = True
    for _ in range(3):
        await followed.hear(1)
        assert None is followed.trouble


async def test_server_that_hangs_up(server: Server) -> None:
    """A server that closes each new connection without an answer is not asked over and over."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        followed = following(server, Publisher(url=url))
        listener.settimeout(60)

        def hang_up() -> None:
            listener.accept()[0].close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        followed.ask()
        thread.join()
    assert followed.trouble in {
        "Remote end closed connection without response",
        "[Errno 104] Connection reset by peer",
    }


@pytest.mark.parametrize("trusted", [True, False])
async def test_certificate(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    trusted: bool,  # noqa: FBT001 - a parameter
) -> None:
    """A server under TLS is who it says, whatever the application has done to Python's defaults."""
    monkeypatch.setattr(ssl, "_create_default_https_context", ssl._create_unverified_context)
    certificate = self_signed(tmp_path, "localhost")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0] if trusted else tmp_path / "none"))
    with publishing(certificate) as secure:
        followed = following(server, secure)
        await followed.hear()
        if trusted:
            assert None is followed.trouble
        else:
            assert "certificate verify failed: self-signed certificate" in str(followed.trouble)


async def test_log(followed: Followed, caplog: pytest.LogCaptureFixture) -> None:
    """Trouble is logged when it begins and when it ends, and not in between."""
    caplog.set_level(logging.INFO)
    good = followed.publisher.answers[LIST]
    for answer in (good, (500, b""), (500, b""), good, good):
        followed.publisher.answers[LIST] = answer
        followed.ask()
    issuer = "http://127.0.0.1:8100"
    expected = [
        ("picoauth_verify", logging.WARNING, f"{issuer} cannot be followed: it answers 500"),
        ("picoauth_verify", logging.WARNING, f"{issuer} is followed again"),
    ]
    assert expected == [one for one in caplog.record_tuples if one[0] == "picoauth_verify"]


async def test_bug(
    followed: Followed, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even a bug ends the thread that follows: it is logged, and the next try is made."""

    def fail(_: str) -> bytes:
        raise RuntimeError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(followed.follower.client, "get", fail)
        followed.ask()
    assert "RuntimeError('a bug')" == followed.trouble
    [record] = [one for one in caplog.records if one.name == "picoauth_verify"]
    assert record.exc_info is not None
    followed.ask()
    assert None is followed.trouble
