"""Signing keys: made once, sealed at rest, known to every process, published without their secret."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OKPKey
from joserfc.util import json_b64encode

from picoauth import ConfigError, Statement
from picoauth.keymaterial import made
from picoauth.keys import place
from picoauth.testing import Clock, Server, serving
from tests.accounts import KINDS, SETTINGS, accounts, asking, login
from tests.factors import join
from tests.storage import exactly

ALGORITHMS = {
    "ES256": {"kty": "EC", "crv": "P-256", "x": 32, "y": 32},
    "ES512": {"kty": "EC", "crv": "P-521", "x": 66, "y": 66},
    "EdDSA": {"kty": "OKP", "crv": "Ed25519", "x": 32},
}


def using(algorithm: str) -> str:
    return f'{SETTINGS}[tokens]\nalgorithm = "{algorithm}"'


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with accounts(tmp_path) as server:
        yield server


def written(folder: Path) -> bytes:
    """All bytes of the database and its log."""
    return b"".join(path.read_bytes() for path in folder.glob("picoauth.db*"))


async def published(server: Server) -> Any:
    return (await server.get("/.well-known/jwks.json")).json()


def measured(jwk: dict[str, Any]) -> dict[str, Any]:
    """A JWK with the length in bytes of each part of the key in the place of the part."""
    parts: dict[str, Any] = {
        n: len(base64.urlsafe_b64decode(jwk[n] + "==")) for n in ("x", "y") if n in jwk
    }
    return {**jwk, **parts}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_published_key(tmp_path: Path, algorithm: str) -> None:
    """The key set has the public part, what it is for, and not a member more (K-14)."""
    async with accounts(tmp_path, using(algorithm)) as server:
        [jwk] = (await published(server))["keys"]
        [key] = server.auth.keys.active.values()
        expected = {**ALGORITHMS[algorithm], "kid": key.id, "alg": algorithm, "use": "sig"}
        assert expected == measured(jwk)
        assert (algorithm, server.auth.now()) == (key.algorithm, key.created_at)


async def test_symmetric_key_is_not_published(tmp_path: Path) -> None:
    """Who could check with it could sign with it: of HS256 there is nothing to publish."""
    async with accounts(tmp_path, using("HS256")) as server:
        assert {"keys": []} == await published(server)
        [key] = server.auth.keys.active.values()
        raw = key.key.raw_value
        assert isinstance(raw, bytes)
        assert 32 == len(raw)


@pytest.mark.parametrize("algorithm", [*ALGORITHMS, "HS256"])
async def test_header_names_key_and_algorithm(tmp_path: Path, algorithm: str) -> None:
    """A token's header has type, algorithm and key id, in one spelling (RFC 9068, section 2.1)."""
    async with accounts(tmp_path, using(algorithm)) as server:
        token = (await login(server))["access_token"]
        [key_id] = server.auth.keys.active
        header = {"typ": "at+jwt", "alg": algorithm, "kid": key_id}
        assert json_b64encode(header).decode() == token.split(".")[0]


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")  # by a name that few verifiers know yet
@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_application_verifies(tmp_path: Path, algorithm: str) -> None:
    """An application needs the key set, and any JOSE library: nothing of ours."""
    async with accounts(tmp_path, using(algorithm)) as server:
        tokens = await login(server)
        keys = KeySet.import_key_set(await published(server))
        decoded = jwt.decode(tokens["access_token"], keys, algorithms=[algorithm])
        url = "http://127.0.0.1:8100"
        rules = jwt.JWTClaimsRegistry(
            now=server.auth.now(),
            iss={"essential": True, "value": url},
            aud={"essential": True, "value": url},
            sub={"essential": True},
            exp={"essential": True},
        )
        rules.validate(decoded.claims)
        valid = await server.post("/jwt/validate", token=tokens["access_token"])
        assert decoded.claims == valid.json()


async def test_processes_that_start_at_once_make_one_key(tmp_path: Path) -> None:
    """Two servers that begin on one new file agree on the key."""
    async with AsyncExitStack() as stack:
        starting = [serving(tmp_path, SETTINGS, plugins=KINDS) for _ in range(2)]
        both = await asyncio.gather(*map(stack.enter_async_context, starting))
        await join(both[0])
        first, second = (list(server.auth.keys.active) for server in both)
        assert (first, 1) == (second, len(first))
        token = (await login(both[0]))["access_token"]
        assert 200 == (await both[1].post("/jwt/validate", token=token)).status_code


async def test_another_algorithm(tmp_path: Path) -> None:
    """The first key of a new algorithm waits while the old one signs; then both are good."""
    clock = Clock()
    async with accounts(tmp_path, clock=clock) as server:
        old = (await login(server))["access_token"]
    async with accounts(tmp_path, using("EdDSA"), clock=clock) as server:
        assert ["ES256", "EdDSA"] == [jwk["alg"] for jwk in (await published(server))["keys"]]
        tokens = [old, (await login(server))["access_token"]]
        clock.advance(599)
        tokens.append((await login(server))["access_token"])
        clock.advance(1)
        tokens.append((await login(server))["access_token"])
        used = [server.auth.keys.by_header[token.split(".")[0]].algorithm for token in tokens]
        assert ["ES256", "ES256", "ES256", "EdDSA"] == used
        for token, expected in zip(tokens, (401, 401, 200, 200), strict=True):  # two expired
            assert expected == (await server.post("/jwt/validate", token=token)).status_code


async def test_algorithm_and_back(tmp_path: Path) -> None:
    """Whoever changes the algorithm there and back gets a new key, not one about to retire."""
    clock = Clock()
    for settings in (SETTINGS, using("EdDSA"), SETTINGS):
        async with accounts(tmp_path, settings, clock=clock) as server:
            clock.advance(1)
            newest = list(server.auth.keys.active.values())[-1]
    assert ("ES256", None) == (newest.algorithm, newest.retires_at)


async def test_refresh_learns_and_forgets(server: Server) -> None:
    """Keys that other processes made are loaded, and those they dropped are gone, in one read."""
    keys, database = server.auth.keys, server.auth.database
    [old] = keys.active.values()
    await keys.refresh()
    assert old is keys.active[old.id]  # not opened again
    new = made("ES256", server.auth.secrets.random)
    adding = keys.adding(new, server.auth.now(), "1 = 0")
    await database.write(Statement("delete from signing_keys"), *adding)
    with asking() as asked:
        await keys.refresh()
    assert ([new.id], 1) == (list(keys.active), len(asked))
    assert {key.encoded_header for key in keys.active.values()} == set(keys.by_header)


@pytest.mark.embedded
@pytest.mark.parametrize(
    ("algorithm", "kind"), [("ES256", ECKey), ("ES512", ECKey), ("EdDSA", OKPKey)]
)
async def test_private_key_is_sealed(tmp_path: Path, algorithm: str, kind: Any) -> None:
    """The database holds a key that its own row alone opens, and nothing of it in clear (D-4)."""
    async with accounts(tmp_path, using(algorithm)) as server:
        sql = "select id, sealed from signing_keys"
        [(key_id, sealed)] = await server.auth.database.read(sql)
        pem = server.auth.secrets.open(place(key_id, algorithm), sealed)
        opened = kind.import_key(pem)
        public = {name: opened.as_dict(private=False)[name] for name in ("x", "crv")}
        [jwk] = (await published(server))["keys"]
        assert public == {name: jwk[name] for name in public}
        secret = base64.urlsafe_b64decode(opened.as_dict(private=True)["d"] + "==")
        stored = written(tmp_path)
        assert [True, False, False, False] == [
            form in stored for form in (sealed, secret, pem, pem.splitlines()[1])
        ]


async def test_altered_key_stops_the_start(tmp_path: Path) -> None:
    """A key that was altered in the file is one sentence at the start, and no bad signature."""
    async with accounts(tmp_path) as server:
        await server.auth.database.write(
            Statement("update signing_keys set id = 'other', algorithm = algorithm")
        )
    sentence = "The sealed of signing_keys other ES256 was altered in the database: restore it from a backup."
    with pytest.raises(ConfigError, match=exactly(sentence)):
        async with accounts(tmp_path):
            pass
