"""Rotation, import and retirement of signing keys, while tokens of the old ones are about."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from joserfc.jwk import ECKey, OctKey, OKPKey

from picoauth import (
    Addition,
    ConfigError,
    Conflict,
    Event,
    NoSettings,
    Plugin,
    SigningKeyAdded,
    SigningKeyRetired,
    Statement,
    hookimpl,
)
from picoauth.keymaterial import brought
from picoauth.keyring import Keyring
from picoauth.testing import Clock, Server
from tests.accounts import SETTINGS, accounts, heard, login
from tests.storage import exactly, until
from tests.test_keys import published, using

OVERLAP, LIFE, MARGIN = 600, 900, 60


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with accounts(tmp_path) as server:
        yield server


def random(size: int) -> bytes:
    return bytes(range(size))


async def valid(server: Server, token: str) -> bool:
    return (await server.post("/jwt/validate", token=token)).status_code == 200


def signer(server: Server, token: str) -> str:
    return server.auth.keys.by_header[token.partition(".")[0]].id


async def rotated(server: Server, *, at_once: bool = False) -> str:
    keyring = Keyring(server.auth)
    new = keyring.made()
    await keyring.add(new, at_once=at_once)
    return new.id


async def kids(server: Server) -> list[str]:
    return [jwk["kid"] for jwk in (await published(server))["keys"]]


async def test_rotation(server: Server) -> None:
    """Published at once, signing after the overlap, gone when its last token has ended (K-14)."""
    [old] = await kids(server)
    new = await rotated(server)
    assert [old, new] == await kids(server)
    for seconds, expected in ((OVERLAP - 1, old), (1, new)):
        server.clock.advance(seconds)
        token = (await login(server))["access_token"]
        assert expected == signer(server, token)
    server.clock.advance(LIFE + MARGIN - 1)
    await server.auth.keys.refresh()
    assert [old, new] == await kids(server)
    server.clock.advance(1)
    await server.auth.keys.refresh()
    assert [new] == await kids(server)


async def test_no_valid_token_is_refused(server: Server) -> None:
    """Through a whole rotation each token is good from its first second to its last."""
    tokens: dict[str, int] = {}
    old = server.auth.keys.signing.id
    for second in range(0, 3000, 100):
        if second == 300:
            new = await rotated(server)
        await server.auth.keys.refresh()
        tokens[(await login(server))["access_token"]] = second + 600
        for token, end in tokens.items():
            assert (second < end) == await valid(server, token)
        server.clock.advance(100)
    assert ([new], True) == (await kids(server), old != new)


@pytest.mark.parametrize(("overlap", "kept"), [(10, 5), (600, 300), (86400, 300)])
async def test_nobody_keeps_old_keys_too_long(tmp_path: Path, overlap: int, kept: int) -> None:
    """Who keeps the key set for as long as it says knows each key before it signs."""
    async with accounts(tmp_path, f"{SETTINGS}[tokens]\nkey_overlap = {overlap}") as server:
        answer = await server.get("/.well-known/jwks.json")
        assert f"public, max-age={kept}" == answer.headers["cache-control"]


async def test_second_thoughts_refuse_no_valid_token(tmp_path: Path) -> None:
    """Whoever changes the algorithm back while the new key waits lengthens the old one's time."""
    clock, life = Clock(), f"[tokens]\naccess_life = {LIFE}\n"
    for algorithm in ("ES256", "EdDSA", "ES256"):
        settings = f'{SETTINGS}{life}algorithm = "{algorithm}"'
        async with accounts(tmp_path, settings, clock=clock) as server:
            clock.advance(OVERLAP - 1)
            token = (await login(server))["access_token"]
            old = server.auth.keys.signing.id
    async with accounts(tmp_path, settings, clock=clock) as server:
        assert old == signer(server, token)
        clock.advance(LIFE - 1)
        await server.auth.keys.refresh()
        assert (True, False) == (await valid(server, token), old == server.auth.keys.signing.id)


async def test_longest_token_outlives_no_key(tmp_path: Path) -> None:
    """The last token of an old key, of the longest life there is, is good until its end."""
    settings = f"{SETTINGS}[tokens]\naccess_life = {LIFE}"
    async with accounts(tmp_path, settings) as server:
        await rotated(server)
        server.clock.advance(OVERLAP - 1)
        token = (await login(server))["access_token"]
        server.clock.advance(LIFE - 1)
        await server.auth.keys.refresh()
        assert await valid(server, token)


async def test_other_process_learns(tmp_path: Path) -> None:
    """A process that did not rotate knows the key before any token of it can come."""
    clock = Clock()
    async with AsyncExitStack() as stack:
        first, second = [
            await stack.enter_async_context(accounts(tmp_path, clock=clock)) for _ in range(2)
        ]
        await rotated(first)
        await second.auth.keys.refresh()
        clock.advance(OVERLAP)
        token = (await login(first))["access_token"]
        assert await valid(second, token)
        assert signer(first, token) == second.auth.keys.signing.id


async def test_two_rotations_at_once(server: Server) -> None:
    """Of rotations at once one is done, and the others say why not; so does a later one."""
    results = await asyncio.gather(*(rotated(server) for _ in range(20)), return_exceptions=True)
    assert 1 == len([result for result in results if isinstance(result, str)])
    assert 2 == len(await kids(server))
    sentence = (
        "A key waits already until everybody knows it: wait until it signs, which "
        "`picoauth keys list` shows, or add --now to let the new one sign at once."
    )
    with pytest.raises(ConfigError, match=exactly(sentence)):
        await rotated(server)


async def test_rotation_at_once(server: Server) -> None:
    """In an emergency a key signs at once, and one that still waited never does."""
    [old] = await kids(server)
    waiting = await rotated(server)
    new = await rotated(server, at_once=True)
    assert [old, new] == await kids(server)
    assert waiting not in server.auth.keys.active
    for seconds in (0, OVERLAP, LIFE):
        server.clock.advance(seconds)
        assert new == server.auth.keys.signing.id


async def test_rotations_within_a_second(server: Server) -> None:
    """Of keys made within one second the last one signs, also while the next one waits."""
    keyring = Keyring(server.auth)
    for key_id in ("b", "a"):
        await keyring.add(replace(keyring.made(), id=key_id), at_once=True)
    for seconds, expected in ((0, "a"), (OVERLAP - 1, "a"), (1, await rotated(server))):
        server.clock.advance(seconds)
        assert expected == server.auth.keys.signing.id


async def test_retirement(server: Server) -> None:
    """What a retired key signed is refused, here at once; another signs, and sessions go on."""
    [old] = await kids(server)
    tokens = await login(server)
    assert await valid(server, tokens["access_token"])  # it is remembered, too
    await Keyring(server.auth).retire(old)
    answer = await server.post("/jwt/validate", token=tokens["access_token"])
    assert (401, "invalid_token") == (answer.status_code, answer.json()["code"])
    assert old not in await kids(server)
    renewed = (await server.post("/jwt/refresh", token=tokens["refresh_token"])).json()
    assert await valid(server, renewed["access_token"])


@pytest.mark.parametrize("which", [0, 1])
async def test_retirement_during_rotation(server: Server, which: int) -> None:
    """Whichever of two keys is retired, one signs at once, and goes on to when it is to wait."""
    await rotated(server)
    both = await kids(server)
    await Keyring(server.auth).retire(both[which])
    expected = server.auth.keys.signing.id
    assert expected not in both
    for seconds in (0, OVERLAP, LIFE + MARGIN):
        server.clock.advance(seconds)
        await server.auth.keys.refresh()
        assert expected == server.auth.keys.signing.id
        assert await valid(server, (await login(server))["access_token"])


async def test_retirement_of_an_old_key(server: Server) -> None:
    """Retiring a key that signs no more makes no new one."""
    [old] = await kids(server)
    new = await rotated(server, at_once=True)
    await Keyring(server.auth).retire(old)
    assert [new] == await kids(server)


async def test_retirement_of_an_old_key_during_rotation(server: Server) -> None:
    """Where one signs and another waits, retiring an older one changes neither."""
    [old] = await kids(server)
    both = [await rotated(server, at_once=True), await rotated(server)]
    await Keyring(server.auth).retire(old)
    assert both == await kids(server)
    for seconds, expected in ((0, both[0]), (OVERLAP, both[1])):
        server.clock.advance(seconds)
        assert expected == server.auth.keys.signing.id


async def test_key_before_the_last_signs_no_more(server: Server) -> None:
    """A key whose tokens end sooner than another would begin to sign is no reason to wait for it."""
    await rotated(server, at_once=True)
    signing = server.auth.keys.signing.id
    waiting = await rotated(server)
    await Keyring(server.auth).retire(signing)
    assert server.auth.keys.signing.id not in (signing, waiting)
    assert waiting not in await kids(server)


async def test_retiring_one_key_many_times_at_once(server: Server) -> None:
    """Of retirements of one key at once one is done and told, with the one key that it adds."""
    events, [old] = heard(server), await kids(server)
    keyring = Keyring(server.auth)
    results = await asyncio.gather(
        *(keyring.retire(old) for _ in range(50)), return_exceptions=True
    )
    await server.auth.events.settle()
    assert [SigningKeyRetired, SigningKeyAdded] == [type(event) for event in events]
    assert 49 == len([one for one in results if isinstance(one, Conflict | ConfigError)])
    assert 1 == len(await kids(server))


async def test_retirement_reaches_who_cannot_open_the_next(server: Server) -> None:
    """A process that was not told of a new root secret refuses a retired key nevertheless."""
    tokens = await login(server)
    [old] = await kids(server)
    sealed = Statement(
        "insert into signing_keys (id, algorithm, created_at, signs_at, sealed)"
        " values ('next', 'ES256', 0, 0, ?)",
        (bytes(40),),
    )
    retiring = Statement("update signing_keys set retires_at = 0 where id = ?", (old,))
    await server.auth.database.write(sealed, retiring)
    with pytest.raises(ConfigError, match="The secret is not the one"):
        await server.auth.keys.refresh()
    assert not await valid(server, tokens["access_token"])
    answer = await server.post("/jwt/refresh", token=tokens["refresh_token"])
    assert (503, "unavailable") == (answer.status_code, answer.json()["code"])


async def test_retiring_all_at_once(server: Server) -> None:
    """Whoever retires every key at the same time ends with one that signs."""
    await rotated(server, at_once=True)
    keyring = Keyring(server.auth)
    await asyncio.gather(*(keyring.retire(key_id) for key_id in await kids(server)))
    await server.auth.keys.refresh()
    assert await valid(server, (await login(server))["access_token"])


async def test_retirement_reaches_other_processes(tmp_path: Path) -> None:
    """A running process refuses by itself what another one retired (FK-1)."""
    async with AsyncExitStack() as stack:
        first, second = [await stack.enter_async_context(accounts(tmp_path)) for _ in range(2)]
        token = (await login(first))["access_token"]
        [old] = await kids(first)
        assert await valid(second, token)
        await Keyring(first.auth).retire(old)
        await until(lambda: old not in second.auth.keys.active)
        assert not await valid(second, token)


@pytest.mark.parametrize(
    ("typed", "hint"),
    [("nothing", ": `picoauth keys list` shows all."), ("KEYx", ', did you mean "KEY"?')],
)
async def test_unknown_key(server: Server, typed: str, hint: str) -> None:
    """A key that is not there is named, with one that was meant."""
    [key_id] = await kids(server)
    typed, hint = (text.replace("KEY", key_id) for text in (typed, hint))
    with pytest.raises(ConfigError, match=exactly(f"There is no key {typed}{hint}")):
        await Keyring(server.auth).retire(typed)


def added(key_id: str, algorithm: str, at: int, signs_at: int) -> SigningKeyAdded:
    return SigningKeyAdded(
        at=at, user_id=None, key_id=key_id, algorithm=algorithm, signs_at=signs_at
    )


async def test_events(server: Server) -> None:
    """Each change is told, with what an audit wants to know, and never the key."""
    events, [old], now = heard(server), await kids(server), server.auth.now()
    new = await rotated(server)
    await Keyring(server.auth).retire(new)
    [last] = set(await kids(server)) - {old, new}
    expected: list[Event] = [
        added(new, "ES256", now, now + OVERLAP),
        SigningKeyRetired(at=now, user_id=None, key_id=new),
        added(last, "ES256", now, now),
    ]
    assert expected == events


async def test_retirement_that_needs_no_new_key(server: Server) -> None:
    """Where another key signs, none is added, and none is told."""
    [old] = await kids(server)
    await rotated(server, at_once=True)
    events = heard(server)
    await Keyring(server.auth).retire(old)
    assert [SigningKeyRetired] == [type(event) for event in events]
    assert 1 == len(await kids(server))


class NotingPlugin(Plugin[NoSettings]):
    """Notes the keys that are added, in the write; or fails to."""

    noted: list[Event]
    rows = 1

    @hookimpl
    def record(self, event: Event) -> Addition:
        self.noted.append(event)
        return Addition([Statement("select 1", rows=self.rows)])


def noting(rows: int = 1) -> type[NotingPlugin]:
    return type("Noting", (NotingPlugin,), {"noted": [], "rows": rows})


NOTING = SETTINGS.replace("]", ', "noting"]')


async def test_keys_that_a_start_makes_are_told(tmp_path: Path) -> None:
    """The very first, and that of another algorithm, are added like any other; each once."""
    plugin, clock = noting(), Clock()
    keys = []
    for algorithm in ("ES256", "ES256", "EdDSA"):
        settings = f'{NOTING}[tokens]\nalgorithm = "{algorithm}"'
        async with accounts(tmp_path, settings, clock=clock, noting=plugin) as server:
            keys = await kids(server)
    now = int(clock())
    expected = [
        added(keys[0], "ES256", now, now),
        added(keys[1], "EdDSA", now, now + OVERLAP),
    ]
    assert expected == [event for event in plugin.noted if isinstance(event, SigningKeyAdded)]


async def test_key_that_cannot_be_noted(tmp_path: Path) -> None:
    """Where a plugin's part of the write fails there is no key, nor a server."""
    with pytest.raises(Conflict):
        async with accounts(tmp_path, NOTING, noting=noting(rows=2)):
            pass
    plugin = noting()
    async with accounts(tmp_path, NOTING, noting=plugin) as server:
        [key_id] = await kids(server)
        assert [key_id] == [e.key_id for e in plugin.noted if isinstance(e, SigningKeyAdded)]


async def test_cleaning(server: Server) -> None:
    """A retired key is erased, an hour after its end."""
    await rotated(server)
    sql = "select count(*) from signing_keys"
    cleaning = server.auth.jobs.jobs[0].run
    for seconds, expected in ((OVERLAP + LIFE + MARGIN + 3600, 2), (1, 1)):
        server.clock.advance(seconds)
        await cleaning()
        assert [(expected,)] == await server.auth.database.read(sql)


PRIVATE: dict[str, Any] = {
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "ES512": ec.generate_private_key(ec.SECP521R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}
FORMATS = {"pkcs8": PrivateFormat.PKCS8, "sec1": PrivateFormat.TraditionalOpenSSL}
PLAIN = NoEncryption()
SECRET = OctKey.import_key(bytes(range(32)))


def pem(
    key: Any,
    form: PrivateFormat = PrivateFormat.PKCS8,
    encryption: KeySerializationEncryption = PLAIN,
) -> bytes:
    found: bytes = key.private_bytes(Encoding.PEM, form, encryption)
    return found


def jwk(key: Any, **more: Any) -> bytes:
    return json.dumps({**key.as_dict(private=True), **more}).encode()


def file(folder: Path, text: bytes) -> Path:
    path = folder / "key"
    path.write_bytes(text)
    path.chmod(0o600)
    return path


@pytest.mark.parametrize(
    ("algorithm", "form"),
    [
        ("ES256", "pkcs8"),
        ("ES256", "sec1"),
        ("ES512", "pkcs8"),
        ("ES512", "sec1"),
        ("EdDSA", "pkcs8"),
    ],
)
async def test_import(tmp_path: Path, algorithm: str, form: str) -> None:
    """An operator's key signs when its time has come; its id is its thumbprint (RFC 7638)."""
    async with accounts(tmp_path, using(algorithm)) as server:
        path = file(tmp_path, pem(PRIVATE[algorithm], FORMATS[form]))
        new = brought(path, random)
        await Keyring(server.auth).add(new)
        server.clock.advance(OVERLAP)
        token = (await login(server))["access_token"]
        assert new.id == signer(server, token)
        kind = OKPKey if algorithm == "EdDSA" else ECKey
        own = kind.import_key(pem(PRIVATE[algorithm]))
        assert new.id == own.thumbprint()
        last = (await published(server))["keys"][-1]
        assert own.as_dict(private=False).items() <= {**last, "kid": own.thumbprint()}.items()
        assert await valid(server, token)


@pytest.mark.parametrize(
    ("algorithm", "key"),
    [
        ("ES256", ECKey.generate_key("P-256")),
        ("ES512", ECKey.generate_key("P-521")),
        ("EdDSA", OKPKey.generate_key("Ed25519")),
        ("HS256", SECRET),
    ],
)
@pytest.mark.parametrize("alg", [True, False])
async def test_import_of_a_jwk(tmp_path: Path, algorithm: str, key: Any, alg: bool) -> None:  # noqa: FBT001
    """A JWK keeps the id by which its owner's verifiers know it."""
    more: dict[str, Any] = {"alg": algorithm, "use": "sig", "key_ops": ["sign"]} if alg else {}
    new = brought(file(tmp_path, b"\n " + jwk(key, kid="mine-2026", **more)), random)
    assert ("mine-2026", algorithm) == (new.id, new.algorithm)
    async with accounts(tmp_path, using(algorithm)) as server:
        await Keyring(server.auth).add(new, at_once=True)
        token = (await login(server))["access_token"]
        assert ("mine-2026", True) == (signer(server, token), await valid(server, token))


@pytest.mark.parametrize("kid", [None, "", "a b", "x" * 65, "../../etc"])
async def test_odd_ids(tmp_path: Path, kid: Any) -> None:
    """An id that could be mistaken for something else is not taken over; a secret's is random."""
    key = ECKey.import_key(pem(PRIVATE["ES256"]))
    more = {} if kid is None else {"kid": kid}
    assert key.thumbprint() == brought(file(tmp_path, jwk(key, **more)), random).id
    assert random(9).hex() == brought(file(tmp_path, jwk(SECRET, **more)), random).id


NOT_READ = "has no private key in PEM or as a JWK that can be read."
NOT_FOR_SIGNING = (
    "says that its key is not for signing: bring another one, or mend `use` and `key_ops`."
)
NO_USE = (
    "has a key that none of ES256, ES512, EdDSA and HS256 is for: make one of theirs, "
    "as `openssl genpkey -algorithm ed25519 -out FILE` does."
)
WEAK = "has a secret that is too short or too regular: bring 32 random bytes."
EC, ED = ECKey.import_key(pem(PRIVATE["ES256"])), OKPKey.import_key(pem(PRIVATE["EdDSA"]))
OTHER_EC, OTHER_ED = (
    key.as_dict(private=False)
    for key in (ECKey.generate_key("P-256"), OKPKey.generate_key("Ed25519"))
)
RSA = rsa.generate_private_key(65537, 2048)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"", NOT_READ),
        (b"not a key", NOT_READ),
        (b"{}", NOT_READ),
        (b"{", NOT_READ),
        (b'{"kty": "EC", "crv": "P-256", "x": 7, "y": "a", "d": "b"}', NOT_READ),
        (jwk(EC, d="AAAA"), NOT_READ),
        (jwk(EC, x=OTHER_EC["x"], y=OTHER_EC["y"]), NOT_READ),
        (jwk(ED, x=OTHER_ED["x"]), NOT_READ),
        (jwk(EC)[:-1] + b', "d": "AAAA"}', NOT_READ),
        (
            PRIVATE["ES256"]
            .public_key()
            .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
            NOT_READ,
        ),
        (
            json.dumps(EC.as_dict(private=False)).encode(),
            "has the public part of a key: bring the private one.",
        ),
        (
            pem(PRIVATE["ES256"], encryption=BestAvailableEncryption(b"secret")),
            "is encrypted: decrypt it first, as `openssl pkey -in FILE -out NEW` does.",
        ),
        (pem(RSA), NO_USE),
        (pem(ec.generate_private_key(ec.SECP384R1())), NO_USE),
        (jwk(OKPKey.generate_key("X25519")), NO_USE),
        (
            jwk(EC, alg="ES512"),
            "says that its key is for another algorithm than ES256: mend `alg`.",
        ),
        (jwk(EC, use="enc"), NOT_FOR_SIGNING),
        (jwk(SECRET, use="enc"), NOT_FOR_SIGNING),
        (jwk(EC, key_ops=["verify"]), NOT_FOR_SIGNING),
        (jwk(EC, key_ops="sign"), NOT_FOR_SIGNING),
        (jwk(OctKey.import_key({"kty": "oct", "k": "AAAAAAAAAAAAAAAAAAAAAAAAAAAA"})), WEAK),
        (jwk(OctKey.import_key(b"a" * 64)), WEAK),
    ],
)
@pytest.mark.filterwarnings("ignore:Key size")
async def test_what_is_not_imported(tmp_path: Path, text: bytes, sentence: str) -> None:
    """What cannot sign is refused, in one sentence that holds nothing of it."""
    path = file(tmp_path, text)
    with pytest.raises(ConfigError, match=exactly(f"{path} {sentence}")):
        brought(path, random)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("key", "No such file or directory"),
        (".", "Is a directory"),
        ("x" * 300, "File name too long"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, name: str, reason: str) -> None:
    """What is no file that can be read is told as such, whatever its mode."""
    path = tmp_path / name
    tmp_path.chmod(0o755)
    with pytest.raises(ConfigError, match=exactly(f"{path} cannot be read: {reason}.")):
        brought(path, random)


def test_file_that_others_can_read(tmp_path: Path) -> None:
    """A key that is open to others is no secret."""
    path = tmp_path / "key"
    file(tmp_path, pem(PRIVATE["ES256"])).chmod(0o644)
    sentence = f"{path} can be read by other users: run `chmod 600 {path}`."
    with pytest.raises(ConfigError, match=exactly(sentence)):
        brought(path, random)


@pytest.mark.parametrize("at_once", [True, False])
async def test_import_twice(server: Server, tmp_path: Path, at_once: bool) -> None:  # noqa: FBT001
    """A key is imported once."""
    new = brought(file(tmp_path, pem(PRIVATE["ES256"])), random)
    await Keyring(server.auth).add(new, at_once=at_once)
    sentence = f"The key {new.id} is here already: bring another one."
    for again in (True, False):
        with pytest.raises(ConfigError, match=exactly(sentence)):
            await Keyring(server.auth).add(new, at_once=again)
    assert 2 == len(server.auth.keys.active)


async def test_import_of_a_retired_key(server: Server, tmp_path: Path) -> None:
    """A key that was retired, and is not yet erased, is not imported again either."""
    new = brought(file(tmp_path, pem(PRIVATE["ES256"])), random)
    await Keyring(server.auth).add(new, at_once=True)
    await rotated(server, at_once=True)
    server.clock.advance(LIFE + MARGIN)
    with pytest.raises(
        ConfigError, match=exactly(f"The key {new.id} is here already: bring another one.")
    ):
        await Keyring(server.auth).add(new)


async def test_no_retired_key_comes_back(server: Server, tmp_path: Path) -> None:
    """What somebody else got hold of is not imported again, also long after; its key is erased."""
    new = brought(file(tmp_path, pem(PRIVATE["ES256"])), random)
    await Keyring(server.auth).add(new, at_once=True)
    await Keyring(server.auth).retire(new.id)
    server.clock.advance(86400)
    await server.auth.jobs.jobs[0].run()
    sql = "select sealed from signing_keys where id = ?"
    assert [(b"",)] == await server.auth.database.read(sql, (new.id,))
    sentence = f"The key {new.id} was retired: bring another one."
    for at_once in (True, False):
        with pytest.raises(ConfigError, match=exactly(sentence)):
            await Keyring(server.auth).add(new, at_once=at_once)


async def test_import_for_another_algorithm(server: Server, tmp_path: Path) -> None:
    """A key that would never sign is refused; the settings come first."""
    new = brought(file(tmp_path, pem(PRIVATE["EdDSA"])), random)
    sentence = (
        'This key is for EdDSA, but `algorithm` in [tokens] is ES256: set it to "EdDSA" first.'
    )
    with pytest.raises(ConfigError, match=exactly(sentence)):
        await Keyring(server.auth).add(new)
