"""The published list of ended sessions: what it says, who may trust it, and how soon it comes."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import KeySet, OctKey

from picoauth import Application, Auth, Unavailable, parse
from picoauth.feed import BEAT, LIFE, MOST, ROOM
from picoauth.keyring import Keyring
from picoauth.keys import SigningKey
from picoauth.listeners import Bind
from picoauth.testing import Clock, Server
from picoauth.tokens import Access
from tests import wire
from tests.accounts import SETTINGS, accounts, login
from tests.asgi import ask
from tests.factors import PLUGINS
from tests.plugs import offers
from tests.storage import until
from tests.test_keys import published, using
from tests.test_serve import ended as ended_process
from tests.test_serve import started

COMMAND = str(Path(sys.executable).with_name("picoauth"))
PATH = "/.well-known/picoauth/revocations"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with accounts(tmp_path) as server:
        yield server


async def read(server: Server, document: str) -> dict[str, Any]:
    """What a verifier makes of a document: it has the key set, and any JOSE library."""
    keys = KeySet.import_key_set(await published(server))
    rules = jws.JWSRegistry(algorithms=["ES256", "ES512"])
    rules.max_payload_length = 10**6  # joserfc itself refuses a list of thousands
    opened = jws.deserialize_compact(document, keys, registry=rules)
    assert "revocations+jwt" == opened.headers()["typ"]
    claims: dict[str, Any] = json.loads(opened.payload)
    return claims


async def document(server: Server) -> dict[str, Any]:
    answer = await server.get(PATH)
    assert (200, "application/jwt") == (answer.status_code, answer.headers["content-type"])
    assert "public, max-age=1" == answer.headers["cache-control"]
    return await read(server, answer.text)


async def ended(server: Server) -> str:
    """Log in and out; answers the session's id."""
    tokens = await login(server)
    access: Access = server.auth.tokens.check(tokens["access_token"])
    await server.post("/auth/logout", token=tokens["access_token"])
    return access.session_id


async def test_nothing_ended(server: Server) -> None:
    """An empty list is signed too: that nothing ended is something to know."""
    await login(server)
    now = server.auth.now()
    expected = {
        "iss": "http://127.0.0.1:8100",
        "iat": now,
        "exp": now + LIFE,
        "seq": 0,
        "kids": list(server.auth.keys.active),
        "sids": {},
    }
    assert expected == await document(server)


async def test_ended_session_is_listed(server: Server) -> None:
    """A session is on the list as soon as it ended, until no token of it can be valid."""
    first = await document(server)
    now = server.auth.now()
    session_id = await ended(server)
    second = await document(server)
    assert {session_id: now + 960} == second["sids"]
    assert (0, 1) == (first["seq"], second["seq"])
    for seconds, expected in ((959, [session_id]), (1, [])):
        server.clock.advance(seconds)
        await server.auth.revocations.poll()
        assert expected == list((await document(server))["sids"])


@pytest.mark.parametrize("algorithm", ["ES256", "ES512"])
async def test_signed_by_the_published_key(tmp_path: Path, algorithm: str) -> None:
    """Whoever verifies tokens verifies the list, with the same keys."""
    async with accounts(tmp_path, using(algorithm)) as server:
        session_id = await ended(server)
        assert [session_id] == list((await document(server))["sids"])


async def test_number_rises_over_processes(tmp_path: Path) -> None:
    """A later list has a higher number, whichever process it comes from, also after cleaning."""
    clock, numbers = Clock(), []
    async with AsyncExitStack() as stack:
        servers = [
            await stack.enter_async_context(accounts(tmp_path, clock=clock)) for _ in range(2)
        ]
        for server in [*servers, *servers]:
            await ended(server)
            clock.advance(5000)
            await server.auth.jobs.jobs[0].run()
            await server.auth.revocations.poll()
            numbers.append((await document(server))["seq"])
    assert [1, 2, 3, 4] == numbers


async def test_signed_anew_each_second(server: Server) -> None:
    """Who asks often is answered the same document; each second there is a new one."""
    documents = []
    for seconds in (0, 0, 1):
        server.clock.advance(seconds)
        await server.auth.revocations.poll()
        documents.append((await server.get(PATH)).text)
    assert documents[0] == documents[1] != documents[2]


async def test_no_fresher_than_the_database(server: Server) -> None:
    """When the database cannot be asked, the document says since when, and runs out."""
    server.clock.advance(30)
    server.auth.revocations.looked_at = server.auth.now() - 20
    found = await document(server)
    now = server.auth.now()
    assert (now - 20, now + 40) == (found["iat"], found["exp"])


async def test_long_list(server: Server) -> None:
    """A list is as long as it has to be: no limit of tokens holds for it."""
    now = server.auth.now()
    many = {f"session-{n:030}": now + 900 for n in range(5000)}
    server.auth.revocations.recent.update(many)
    assert many == (await document(server))["sids"]


@pytest.mark.parametrize("path", [PATH, f"{PATH}/stream"])
async def test_symmetric_key_publishes_nothing(tmp_path: Path, path: str) -> None:
    """Under HS256 there is no list: who could check it could have made it."""
    async with accounts(tmp_path, using("HS256")) as server:
        answer = await server.get(path)
        assert (404, "not_found") == (answer.status_code, answer.json()["code"])


async def test_no_other_token_passes_for_it(server: Server) -> None:
    """A list is no access token, and an access token no list: their types differ (K-5)."""
    text = (await server.get(PATH)).text
    answer = await server.post("/jwt/validate", token=text)
    assert (401, "invalid_token") == (answer.status_code, answer.json()["code"])


async def told(server: Server, event: bytes) -> dict[str, Any]:
    name, data, *rest = event.decode().split("\n")
    assert ("event: revocations", ["", ""]) == (name, rest)
    return await read(server, data.removeprefix("data: "))


async def test_stream(server: Server) -> None:
    """At first comes all that is known, then each end as it commits."""
    first = await ended(server)
    events = server.auth.feed.open()
    assert [first] == list((await told(server, await anext(events)))["sids"])
    second = await ended(server)
    assert [second] == list((await told(server, await anext(events)))["sids"])


async def test_stream_from_another_process(tmp_path: Path) -> None:
    """What ends by another process comes by itself, from the next poll."""
    async with AsyncExitStack() as stack:
        first, second = [await stack.enter_async_context(accounts(tmp_path)) for _ in range(2)]
        events = second.auth.feed.open()
        await anext(events)
        session_id, found = await ended(first), []
        while not found:  # the background may first tell the keys
            found = list((await told(second, await anext(events)))["sids"])
        assert [session_id] == found


async def test_stream_tells_keys(tmp_path: Path) -> None:
    """A key that is retired leaves the list of those in force, at once."""
    async with accounts(tmp_path) as server:
        [old] = server.auth.keys.active
        events = server.auth.feed.open()
        assert [old] == (await told(server, await anext(events)))["kids"]
        await server.auth.feed.look()
        await Keyring(server.auth).retire(old)
        found: list[str] = [old]
        while old in found:  # the background may have told the old ones, too
            found = (await told(server, await anext(events)))["kids"]
        assert list(server.auth.keys.active) == found


async def test_stream_says_that_nothing_happened(server: Server) -> None:
    """A reader hears now and then, signed, that it missed nothing."""
    assert BEAT == server.auth.feed.beat
    server.auth.feed.beat = 0
    events = server.auth.feed.open()
    await anext(events)
    assert {} == (await told(server, await anext(events)))["sids"]


async def test_stream_ends_when_a_secret_signs(server: Server) -> None:
    """A stream ends as soon as there is nothing that could be published."""
    events = server.auth.feed.open()
    await anext(events)
    secret = SigningKey("secret", "HS256", 0, 0, None, OctKey.import_key(bytes(32)))
    server.auth.keys.active = {secret.id: secret}
    server.auth.feed.push({})
    assert [] == [event async for event in events]
    assert set() == server.auth.feed.streams


async def test_stream_ends_at_the_hour_of_a_secret(tmp_path: Path) -> None:
    """Where a key that waited is a secret, its time to sign ends a stream in order."""
    clock = Clock()
    async with accounts(tmp_path, clock=clock):
        pass
    async with accounts(tmp_path, using("HS256"), clock=clock) as server:
        server.auth.feed.beat = 0
        events = server.auth.feed.open()
        await anext(events)
        clock.advance(600)
        assert [] == [event async for event in events]


async def test_slow_reader_is_cut_off(server: Server) -> None:
    """Who does not read is cut off, and comes again for all of it; others go on."""
    feed = server.auth.feed
    slow, quick = feed.open(), feed.open()
    await anext(slow)
    await anext(quick)
    for number in range(ROOM + 1):
        feed.push({f"session-{number}": server.auth.now() + 900})
        await anext(quick)
    assert [] == [event async for event in slow]
    assert 1 == len(feed.streams)


async def test_number_of_streams_is_bounded(server: Server) -> None:
    """One stream more than there may be is told to come later."""
    feed = server.auth.feed
    streams = [feed.open() for _ in range(MOST)]
    for stream in streams:
        await anext(stream)
    answer = await server.get(f"{PATH}/stream")
    assert (503, "5") == (answer.status_code, answer.headers["retry-after"])
    await streams.pop().aclose()  # type: ignore[attr-defined] - it is a generator
    assert MOST - 1 == len(feed.streams)


async def test_stop_ends_streams(server: Server) -> None:
    """A server that stops does not wait for its readers."""
    events = server.auth.feed.open()
    await anext(events)
    answering = asyncio.create_task(ask(server, "GET", f"{PATH}/stream"))
    await until(lambda: len(server.auth.feed.streams) == 2)
    server.app.stopping()
    assert [] == [event async for event in events]
    answer = await answering
    assert (200, "text/event-stream") == (answer.status, answer.headers["content-type"])
    assert answer.body.startswith(b"event: revocations\ndata: ey")
    with pytest.raises(Unavailable):
        server.auth.feed.open()


async def test_head_of_a_stream(server: Server) -> None:
    """Who asks for the headers alone gets them, and no stream is left behind."""
    answer = await ask(server, "HEAD", f"{PATH}/stream")
    assert (200, b"", set()) == (answer.status, answer.body, server.auth.feed.streams)
    assert "content-length" not in answer.headers  # nobody knows how long it gets (RFC 9110, 8.6)


async def open_stream(one: wire.Client, behind: bytes = b"") -> None:
    """Ask for the stream, and read its first event."""
    asking = b"GET %s/stream HTTP/1.1\r\nHost: localhost\r\n\r\n" % PATH.encode()
    await one.tell(asking + behind)
    await one.reader.readuntil(b"\n\n\r\n")


@pytest.mark.parametrize("behind", [b"", b"GET /health-check HTTP/1.1\r\nHost: localhost\r\n\r\n"])
async def test_client_that_leaves(behind: bytes) -> None:
    """A reader that goes away leaves nothing behind, even with a request that still waits."""
    with wire.short_folder() as folder:
        settings = SETTINGS.replace('"watched", ', "")
        app = Application(Auth(parse(settings, folder), found=offers(PLUGINS)))
        app.auth.feed.beat = 0.01
        async with wire.serving(app, Bind([f"unix:{folder}/s"])) as [address]:
            async with wire.client(address) as one:
                await open_stream(one, behind)
                assert 1 == len(app.auth.feed.streams)
            await wire.until(lambda: not app.auth.feed.streams)


async def test_stop_of_a_server() -> None:
    """A server that is told to stop ends its streams, in order, and does not wait for them."""
    with wire.short_folder() as folder:
        settings = folder / "picoauth.toml"
        settings.write_text('plugins = ["password"]')
        async with started(COMMAND, "--config", str(settings), "serve") as (process, _):
            async with wire.client(f"unix:{folder}/picoauth.sock") as one:
                await open_stream(one)
                process.send_signal(signal.SIGTERM)
                assert b"0\r\n\r\n" == await one.rest()
            code, said = await ended_process(process)
            told = [json.loads(line)["event"] for line in said.splitlines()]
            assert (0, ["SigningKeyAdded"]) == (code, told)
