"""Connections on real sockets: what they are answered, what is refused, and how they end."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypercorn.events import Event

from picoauth.connections import Connection, Limits
from picoauth.http1 import HEADERS, PIECES, Http1
from picoauth.listeners import Bind, open_sockets
from picoauth.serve import Server
from tests.probe import BIG, LARGE, Probe
from tests.wire import (
    CLOSE,
    GET,
    MOMENT,
    POST,
    SLOW,
    SOON,
    Client,
    asked,
    client,
    serving,
    short_folder,
    until,
)

CHUNKED = POST % b"/" + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_folder() as made:
        yield made


@asynccontextmanager
async def probing(
    folder: Path, limits: Limits = SLOW, *, whole: bool = False
) -> AsyncIterator[tuple[Probe, Client, str]]:
    """A served probe, one connection to it, and its address."""
    probe = Probe(whole=whole)
    bind = Bind([f"unix:{folder}/s"])
    async with serving(probe, bind, limits) as [address], client(address) as one:
        yield probe, one, address


async def test_every_address_answers(folder: Path) -> None:
    """Unix and TCP are served at once; a TCP client has an address, a local one has none."""
    bind = Bind([f"unix:{folder}/s", "tcp:127.0.0.1:0"], [f"unix:{folder}/a"])
    async with (
        serving(Probe(), bind) as [unix, tcp, admin],
        client(unix) as one,
        client(tcp) as other,
        client(admin) as third,
    ):
        shown = []
        for each in (one, other, third):
            await each.tell(GET)
            shown.append(json.loads((await each.answer())[1]))
        address = list(other.writer.get_extra_info("sockname"))
    assert [None, address, None] == [each["client"] for each in shown]
    assert ["public", "public", "admin"] == [each["listener"] for each in shown]


@pytest.mark.parametrize("whole", [False, True])
async def test_connections_are_kept_and_pipelined(folder: Path, *, whole: bool) -> None:
    """Requests follow each other on one connection, also those sent before the answer."""
    async with probing(folder, whole=whole) as (probe, one, _):
        for _ in range(3):
            await one.tell(GET)
            assert 200 == (await one.answer())[0]
        await one.tell(GET * 2 + CHUNKED + b"3\r\nabc\r\n0\r\n\r\n")
        sizes = [json.loads((await one.answer())[1])["size"] for _ in range(3)]
        assert [0, 0, 3] == sizes
        assert 6 == len(probe.asked)


@pytest.mark.parametrize("whole", [False, True])
async def test_a_closing_client_is_answered_and_closed(folder: Path, *, whole: bool) -> None:
    """`Connection: close` is heeded."""
    async with probing(folder, whole=whole) as (_, _, address):
        answer = await asked(address, CLOSE)
        assert answer.startswith(b"HTTP/1.1 200 \r\n")
        assert b"\r\nConnection: close\r\n" in answer


@pytest.mark.parametrize("whole", [False, True])
async def test_continue(folder: Path, *, whole: bool) -> None:
    """A client that waits for leave to send its body gets it."""
    async with probing(folder, whole=whole) as (_, one, _):
        await one.tell(POST % b"/" + b"Content-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        assert 100 == (await one.answer())[0]
        await one.tell(b"abc")
        assert 3 == json.loads((await one.answer())[1])["size"]


H2C = (
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    b"HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
)


@pytest.mark.parametrize("upgrade", [H2C, H2C.replace(b"h2c", b"H2C"), H2C.replace(b"h2c", b"h2")])
async def test_no_upgrade_to_http2(folder: Path, upgrade: bytes) -> None:
    """`Upgrade: h2c` is ignored: whoever smuggles it past a proxy still speaks HTTP/1.1."""
    async with probing(folder) as (_, one, _):
        for _ in range(2):
            await one.tell(GET[:-2] + upgrade)
            status, body = await one.answer()
            assert (200, "1.1") == (status, json.loads(body)["http"])


@pytest.mark.parametrize(
    "preface",
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0",
        b"GET / HTTP/2.0\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/3.0\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.2\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/0.9\r\nHost: localhost\r\n\r\n",
    ],
)
async def test_no_other_version(folder: Path, preface: bytes) -> None:
    """Nor does a client that knows beforehand get HTTP/2, or anything else."""
    async with probing(folder) as (probe, _, address):
        answer = await asked(address, preface)
        assert answer.startswith(b"HTTP/1.1 505 \r\ncontent-length: 0\r\n")
        assert [] == probe.asked


REFUSED = {
    "content-length and transfer-encoding": CHUNKED[:-2] + b"Content-Length: 5\r\n\r\n0\r\n\r\n",
    "the same the other way round": (
        POST % b"/" + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "transfer-encoding in HTTP/1.0": CHUNKED.replace(b"1.1", b"1.0") + b"0\r\n\r\n",
    "two lengths": POST % b"/" + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
    "two lengths in one": POST % b"/" + b"Content-Length: 5, 6\r\n\r\nabcdef",
    "signed length": POST % b"/" + b"Content-Length: +5\r\n\r\nabcde",
    "length with a space": POST % b"/" + b"Content-Length: 5 5\r\n\r\nabcde",
    "endless length": POST % b"/" + b"Content-Length: " + b"9" * 21 + b"\r\n\r\n",
    "length that is no number": POST % b"/" + b"Content-Length: five\r\n\r\nabcde",
    "space before the colon": POST % b"/" + b"Content-Length : 5\r\n\r\nabcde",
    "name with a space": GET[:-2] + b"X Y: z\r\n\r\n",
    "no name": GET[:-2] + b": z\r\n\r\n",
    "no colon": GET[:-2] + b"nothing\r\n\r\n",
    "fold before the first header": b"GET / HTTP/1.1\r\n X: y\r\nHost: localhost\r\n\r\n",
    "NUL in a value": GET[:-2] + b"X: a\0b\r\n\r\n",
    "CR in a value": GET[:-2] + b"X: a\rb\r\n\r\n",
    "CR at the end of a value": GET[:-2] + b"X: a\r\r\n\r\n",
    "form feed in a value": GET[:-2] + b"X: a\x0cb\r\n\r\n",
    "NUL in a name": GET[:-2] + b"X\0: a\r\n\r\n",
    "no version": b"GET /\r\nHost: localhost\r\n\r\n",
    "two spaces in the first line": b"GET  / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "NUL in the target": b"GET /\0 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": GET[:-2] + b"Host: elsewhere\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
    "empty line before the request": b"\r\n" + GET,
}


@pytest.mark.parametrize("request_", REFUSED.values(), ids=REFUSED)
async def test_ambiguous_request(folder: Path, request_: bytes) -> None:
    """What two servers could read in two ways is 400 and a closed connection (H-8)."""
    async with probing(folder) as (probe, _, address):
        answer = await asked(address, request_ + GET)
        assert answer.startswith(b"HTTP/1.1 400 \r\ncontent-length: 0\r\n")
        assert 1 == answer.count(b"HTTP/1.1")
        assert [] == probe.asked


@pytest.mark.parametrize("coding", [b"gzip", b"gzip, chunked", b"chunked, chunked", b"xchunked"])
async def test_unknown_transfer_coding(folder: Path, coding: bytes) -> None:
    """A coding other than chunked is 501 (RFC 9112, 6.1), and the connection is closed."""
    async with probing(folder) as (probe, _, address):
        answer = await asked(address, CHUNKED.replace(b"chunked", coding) + b"0\r\n\r\n" + GET)
        assert answer.startswith(b"HTTP/1.1 501 \r\ncontent-length: 0\r\n")
        assert 1 == answer.count(b"HTTP/1.1")
        assert [] == probe.asked


BAD_CHUNKS = {
    "no number": b"x\r\nabc\r\n",
    "signed": b"-3\r\nabc\r\n",
    "prefixed": b"0x3\r\nabc\r\n",
    "underscored": b"1_0\r\nabc\r\n",
    "too large": b"f" * 21 + b"\r\nabc\r\n",
    "empty": b"\r\nabc\r\n",
    "longer than it says": b"3\r\nabcd\r\n0\r\n\r\n",
    "without its end": b"3\r\nabc0\r\n\r\n",
    "ended by a bare LF": b"3\r\nabc\n0\r\n\r\n",
    "size ended by a bare LF": b"3\nabc\r\n0\r\n\r\n",
    "LF in an extension": b"3;x\n\r\nabc\r\n0\r\n\r\n",
    "trailer without a colon": b"0\r\nnothing\r\n\r\n",
    "NUL in a trailer": b"0\r\nX: \0\r\n\r\n",
}


@pytest.mark.parametrize("body", BAD_CHUNKS.values(), ids=BAD_CHUNKS)
async def test_bad_chunk(folder: Path, body: bytes) -> None:
    """A body whose chunks are wrong is 400 and a closed connection; it never counts as complete."""
    async with probing(folder, replace(SLOW, linger=MOMENT)) as (probe, _, address):
        answer = await asked(address, CHUNKED + body + GET)
        assert answer.startswith(b"HTTP/1.1 400 \r\ncontent-length: 0\r\n")
        assert 1 == answer.count(b"HTTP/1.1")
        await until(lambda: probe.ended)
        assert ["/"] == probe.ended


ALLOWED = {
    "folded header": GET[:-2] + b"X: a\r\n b\r\n\r\n",
    "bare LF": GET.replace(b"\r\n", b"\n"),
    "the same length twice": (POST % b"/" + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc"),
    "the same length in one": POST % b"/" + b"Content-Length: 3, 3\r\n\r\nabc",
    "chunk extension": CHUNKED + b"3;a=b\r\nabc\r\n0\r\n\r\n",
    "space after a chunk's size": CHUNKED + b"3 \r\nabc\r\n0\r\n\r\n",
    "trailer": CHUNKED + b"0\r\nX: y\r\n\r\n",
    "target with a host": GET.replace(b" / ", b" http://localhost/ "),
}


@pytest.mark.parametrize("request_", ALLOWED.values(), ids=ALLOWED)
async def test_lenience_that_is_allowed(folder: Path, request_: bytes) -> None:
    """What h11 takes although it is odd: RFC 9112 leaves it to the server, in one reading only.

    5.2: a fold is refused, or replaced by a space. 2.2: a bare LF may end a line. RFC 9110, 8.6:
    the same length repeated is refused, or taken once. 7.1.1: unknown extensions are ignored.
    7.1.1, erratum 4667: white space after the size was once allowed. 3.2.2: absolute targets.
    """
    async with probing(folder) as (_, one, _):
        await one.tell(request_ + GET)
        assert 200 == (await one.answer())[0]
        assert (200, 0) == ((last := await one.answer())[0], json.loads(last[1])["size"])


TOO_LONG = {
    "value": GET[:-2] + b"X: " + b"y" * HEADERS + b"\r\n\r\n",
    "names": GET[:-2] + b"".join(b"x%d: y\r\n" % n for n in range(10_000)) + b"\r\n",
    "target": GET.replace(b"/ ", b"/" + b"x" * HEADERS + b" "),
    "value without an end": GET[:-2] + b"X: " + b"y" * 3 * HEADERS,
    "first line without an end": b"x" * 3 * HEADERS,
    "lines without an end": GET[:-2] + b"X: y\r\n" * HEADERS,
}


@pytest.mark.parametrize("request_", TOO_LONG.values(), ids=TOO_LONG)
async def test_too_long_header(folder: Path, request_: bytes) -> None:
    """More than 16 KiB before the body are 431 (H-7), whether they come at once or not."""
    async with probing(folder) as (probe, _, address):
        answer = await asked(address, request_)
        assert answer.startswith(b"HTTP/1.1 431 \r\ncontent-length: 0\r\n")
        assert [] == probe.asked


async def test_long_header(folder: Path) -> None:
    """Nearly 16 KiB are fine."""
    async with probing(folder) as (_, one, _):
        await one.tell(GET[:-2] + b"X: " + b"y" * (HEADERS - 60) + b"\r\n\r\n")
        assert 200 == (await one.answer())[0]


@pytest.mark.parametrize(
    "body", [b"3;" + b"x" * 3 * HEADERS, b"0\r\nX: " + b"y" * 3 * HEADERS], ids=["chunk", "trailer"]
)
async def test_too_long_extension(folder: Path, body: bytes) -> None:
    """A chunk's extension or a trailer without an end is cut off at 16 KiB."""
    async with probing(folder, replace(SLOW, linger=MOMENT)) as (probe, _, address):
        answer = await asked(address, CHUNKED + body)
        assert answer.startswith(b"HTTP/1.1 431 \r\ncontent-length: 0\r\n")
        await until(lambda: probe.ended)
        assert ["/"] == probe.ended


async def test_idle_connection_ends(folder: Path) -> None:
    """A connection on which nothing is asked is closed, before the first request or after one."""
    async with probing(folder, replace(SLOW, keep_alive=MOMENT)) as (_, one, address):
        assert b"" == await one.rest()
        assert (await asked(address, GET)).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("before", [b"", GET], ids=["first", "second"])
async def test_slow_header_ends(folder: Path, before: bytes) -> None:
    """A header that comes byte by byte has one time in all (FL-3), however long each byte took."""
    async with probing(folder, replace(SLOW, header=0.2)) as (probe, one, _):
        if before:
            await one.tell(before)
            await one.answer()
        await one.trickle(GET[:20])
        assert before.count(b"GET") == len(probe.asked)


async def test_slow_header_behind_a_request(folder: Path) -> None:
    """The time of a header that was begun behind another request starts with that one's answer."""
    async with probing(folder, replace(SLOW, header=MOMENT)) as (_, one, _):
        await one.tell(GET + GET[:20])
        assert 200 == (await one.answer())[0]
        assert b"" == await one.rest()


@pytest.mark.parametrize(
    "head", [POST % b"/" + b"Content-Length: 50000\r\n\r\n", CHUNKED + b"ffff\r\n"]
)
async def test_slow_body_ends(folder: Path, head: bytes) -> None:
    """So has a body; the application sees a client that left, not a shorter body."""
    async with probing(folder, replace(SLOW, body=0.2)) as (probe, one, _):
        await one.tell(head)
        await one.trickle(b"x")
        await until(lambda: probe.ended)
        assert ["/"] == probe.ended


@pytest.mark.parametrize(("pieces", "status"), [(PIECES, 200), (PIECES + 1, 413), (9999, 413)])
async def test_body_in_very_many_pieces(folder: Path, pieces: int, status: int) -> None:
    """Each takes time, however short it is: so many may come, and the rest is not looked at."""
    async with probing(folder) as (probe, one, _):
        await one.tell(CHUNKED + b"1\r\nx\r\n" * pieces + b"0\r\n\r\n")
        assert status == (await one.answer())[0]
        one.writer.close()
        await until(lambda: ["/"] == probe.ended)


async def test_very_many_pieces_behind_the_answer(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the answer has begun, nothing else is put into it."""
    async with probing(folder) as (_, one, _):
        await one.tell(CHUNKED.replace(b" / ", b" /begun "))
        await one.reader.readuntil(b"\r\n\r\n")
        await one.tell(b"1\r\nx\r\n" * 2 * PIECES)
        assert b"HTTP/1.1" not in await one.rest()
    assert [] == caplog.records


async def test_slow_application_may_be(folder: Path) -> None:
    """The time for a body does not run on while the application works."""
    async with probing(folder, replace(SLOW, body=MOMENT)) as (probe, one, address):
        await one.tell(POST % b"/hang" + b"Content-Length: 3\r\n\r\nabc")
        await until(lambda: probe.asked)
        assert b"" == await asked(address, POST % b"/" + b"Content-Length: 3\r\n\r\n")
        probe.release.set()
        assert 200 == (await one.answer())[0]


async def test_client_that_does_not_read_ends(folder: Path) -> None:
    """An answer that nobody takes is given up."""
    async with probing(folder, replace(SLOW, write=MOMENT)) as (probe, one, address):
        await one.tell(GET.replace(b"/ ", b"/big "))
        await until(lambda: probe.ended)
        assert BIG > len(await one.rest())
        assert (await asked(address, CLOSE)).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(("enough", "aborted"), [(3, 0), (4, 1)])
async def test_client_that_reads_slowly_is_waited_for(enough: int, aborted: int) -> None:
    """Whoever takes 16 KiB in each span of time gets all; who takes less is given up."""
    sizes = iter([90_000, 70_000, 70_000, 50_000, 50_000, 40_000])
    drains, aborts = [], []

    async def drain() -> None:
        drains.append(None)
        if len(drains) < enough:
            await asyncio.sleep(SOON)

    transport = SimpleNamespace(get_write_buffer_size=lambda: next(sizes))
    slow: Any = SimpleNamespace(
        limits=replace(SLOW, write=0),
        writer=SimpleNamespace(transport=transport, drain=drain),
        abort=lambda: aborts.append(None),
    )
    await Connection.taken(slow)
    assert (3, aborted) == (len(drains), len(aborts))


async def test_client_that_leaves_while_it_is_waited_for() -> None:
    """Whoever breaks the connection off is let go of at once."""
    aborts: list[None] = []

    async def drain() -> None:
        raise ConnectionResetError

    transport = SimpleNamespace(get_write_buffer_size=lambda: 90_000)
    gone: Any = SimpleNamespace(
        limits=SLOW,
        writer=SimpleNamespace(transport=transport, drain=drain),
        abort=lambda: aborts.append(None),
    )
    await Connection.taken(gone)
    assert [None] == aborts


@pytest.mark.parametrize("ending", ["keep_alive", "stop"])
async def test_rest_of_an_answer_that_is_kept(folder: Path, ending: str) -> None:
    """What is not yet taken outlives the time of an idle connection, and a stop."""
    limits = replace(SLOW, keep_alive=MOMENT)
    stop, probe, server = asyncio.Event(), Probe(), Server(limits)
    with open_sockets(Bind([f"unix:{folder}/s"])) as sockets:
        async with client(f"unix:{folder}/s") as one:
            await one.tell(GET.replace(b"/ ", b"/large "))
            stop.set()
            await server.accept_until(stop, probe, sockets)
            await until(lambda: probe.ended)
            [connection] = server.connections
            await until(lambda: connection.idle)
            if ending == "stop":
                connection.stop()
            await asyncio.sleep(2 * MOMENT)  # in which it would have been cut off
            head, body = await one.answer()
            assert (200, LARGE) == (head, len(body))
            await server.end()


async def test_slow_reader_gets_all(folder: Path) -> None:
    """An answer that is larger than all buffers arrives whole."""
    async with probing(folder) as (_, one, _):
        await one.tell(GET.replace(b"/ ", b"/big "))
        assert (200, BIG) == ((got := await one.answer())[0], len(got[1]))


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("path", [b"/early", b"/wrong"])
async def test_answer_before_the_body(folder: Path, path: bytes, *, whole: bool) -> None:
    """A body that the application leaves unread holds nothing up: it answers, and that is all."""
    head = CHUNKED.replace(b" / ", b" " + path + b" ")
    async with probing(folder, whole=whole) as (probe, _, address):
        answer = await asked(address, head + b"1\r\na\r\n" * 100)
        assert answer.startswith(b"HTTP/1.1 413 " if path == b"/early" else b"HTTP/1.1 500 ")
        assert [path.decode()] == probe.ended


@pytest.mark.parametrize("whole", [False, True])
async def test_answer_while_the_client_sends(folder: Path, *, whole: bool) -> None:
    """A client that is refused early gets to read why, though it sends on."""
    async with probing(folder, replace(SLOW, linger=0.2), whole=whole) as (_, one, _):
        await one.tell(POST % b"/early" + b"Content-Length: 9999999\r\n\r\n")
        for _ in range(50):
            await one.tell(b"x" * 65536)
        assert (413, b"too large") == await one.answer()
        await one.trickle(b"x")


async def test_client_that_stays(folder: Path) -> None:
    """A client that was told of the end and does not close is closed all the same."""
    async with probing(folder, replace(SLOW, linger=MOMENT)) as (_, one, _):
        await one.tell(GET)
        await one.answer()
        before = len(descriptors())
        await one.tell(CLOSE)
        assert 200 == (await one.answer())[0]
        await until(lambda: len(descriptors()) < before)


async def test_nothing_is_kept_after_a_refusal(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a client sends on is not even looked at: it would fill the memory."""
    seen = []
    handle = Http1.handle

    async def spying(self: Http1, event: Event) -> None:
        seen.append(event)
        await handle(self, event)

    monkeypatch.setattr(Http1, "handle", spying)
    async with probing(folder) as (_, one, _):
        await one.tell(GET.replace(b"1.1", b"2.0"))
        assert (505, b"") == await one.answer()
        await one.tell(b"x" * 20_000_000)  # more than the kernel would hold for a deaf server
        assert 1 == len(seen)


@pytest.mark.parametrize("whole", [False, True])
async def test_client_that_leaves(folder: Path, *, whole: bool) -> None:
    """An application that does not listen is no reason to keep what a client left behind."""
    head = CHUNKED.replace(b" / ", b" /hang ")
    async with probing(folder, whole=whole) as (probe, one, _):
        await one.tell(head + b"1\r\na\r\n" * 100)
        await until(lambda: probe.asked)
        one.writer.close()
        await one.writer.wait_closed()
        probe.release.set()
        await until(lambda: probe.ended)
        assert ["/hang"] == probe.ended


@pytest.mark.parametrize("whole", [False, True])
async def test_client_that_errs(folder: Path, *, whole: bool) -> None:
    """A client whose body makes no sense is told so, and the application's answer is dropped."""
    head = CHUNKED.replace(b" / ", b" /hang ")
    async with probing(folder, whole=whole) as (probe, one, _):
        await one.tell(head + b"1\r\na\r\n")
        await until(lambda: probe.asked)
        await one.tell(b"nonsense\r\n")
        assert (400, b"") == await one.answer()
        probe.release.set()
        await until(lambda: probe.ended)


@pytest.mark.parametrize("whole", [False, True])
async def test_head_has_no_body(folder: Path, *, whole: bool) -> None:
    """The answer to HEAD has the length and no body, and the next one follows at once."""
    async with probing(folder, whole=whole) as (_, one, _):
        await one.tell(GET.replace(b"GET", b"HEAD") + CLOSE)
        assert 1 == (await one.rest()).count(b'"listener"')


async def test_client_that_resets() -> None:
    """A client that breaks off in the middle is no error, and nobody else notices."""
    async with serving(Probe(), Bind(["tcp:127.0.0.1:0"])) as [address]:
        host, _, port = address.removeprefix("http://").rpartition(":")
        for request_ in (b"", GET[:20], GET, GET.replace(b"/ ", b"/big ")):
            with socket.create_connection((host, int(port))) as rude:
                rude.sendall(request_)
                rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            assert (await asked(address, CLOSE)).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("whole", [False, True])
async def test_application_that_fails(
    folder: Path, caplog: pytest.LogCaptureFixture, *, whole: bool
) -> None:
    """An application that breaks the rules is logged; its client gets 500, others go on."""
    async with probing(folder, whole=whole) as (_, one, _):
        await one.tell(GET.replace(b"/ ", b"/wrong "))
        assert 500 == (await one.answer())[0]
        assert ["a request failed"] == [record.message for record in caplog.records]
        assert (await one.rest()) == b""


async def test_connection_that_fails(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A fault of our own is logged, and ends no more than its connection."""
    broken = Http1.handle

    async def fail(*_: object) -> None:
        monkeypatch.setattr(Http1, "handle", broken)
        raise RuntimeError("a fault of our own")

    async with probing(folder) as (_, _, address):
        monkeypatch.setattr(Http1, "handle", fail)
        assert b"" == await asked(address, GET)
        assert (await asked(address, CLOSE)).startswith(b"HTTP/1.1 200 ")
        assert ["a connection failed"] == [record.message for record in caplog.records]


def descriptors() -> list[int]:
    return [int(path.name) for path in Path("/proc/self/fd").iterdir()]


async def test_no_descriptor_is_lost(folder: Path) -> None:
    """After 1,000 connections of every kind as many files are open as before."""
    kinds = (b"", GET[:9], GET, CLOSE, CHUNKED, CHUNKED + b"x\r\n", b"PRI * HTTP/2.0\r\n\r\n")
    async with probing(folder) as (_, _, address):
        before = len(descriptors())
        for number in range(1_000):
            with socket.socket(socket.AF_UNIX) as other:
                other.connect(f"{folder}/s")
                other.sendall(kinds[number % len(kinds)])
            if number % 100 == 99:
                await asked(address, CLOSE)  # those before it are accepted
                await until(lambda: len(descriptors()) == before)


async def test_stop_between_accepting_and_serving(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who was taken from the system when the stop came is answered (FG-1)."""
    stop, opening = asyncio.Event(), asyncio.open_connection

    async def stopping(**given: Any) -> Any:
        stop.set()
        await asyncio.sleep(0)
        return await opening(**given)

    monkeypatch.setattr(asyncio, "open_connection", stopping)
    probe, server = Probe(), Server(SLOW)
    with open_sockets(Bind([f"unix:{folder}/s"])) as sockets:
        async with client(f"unix:{folder}/s") as one:
            await one.tell(CLOSE)
            await server.accept_until(stop, probe, sockets)
            assert (await one.rest()).startswith(b"HTTP/1.1 200 ")
            await server.end()


async def test_stop_with_clients_in_the_queue(folder: Path) -> None:
    """Who has connected and asked is answered, though nobody was accepted by then."""
    stop, probe, server = asyncio.Event(), Probe(), Server(SLOW)
    stop.set()
    with open_sockets(Bind([f"unix:{folder}/s"])) as sockets:
        async with client(f"unix:{folder}/s") as one, client(f"unix:{folder}/s") as other:
            for each in (one, other):
                await each.tell(CLOSE)
            await server.accept_until(stop, probe, sockets)
            for each in (one, other):
                assert (await each.rest()).startswith(b"HTTP/1.1 200 ")
            await server.end()


async def test_wakened_for_nothing(folder: Path) -> None:
    """Where another process was faster to accept, nothing is wrong."""
    server = Server(SLOW)
    with open_sockets(Bind([f"unix:{folder}/s"])) as sockets:
        [sock] = next(iter(sockets.by_listener.values()))
        sock.setblocking(False)
        assert not server.accept(Probe().on(next(iter(sockets.by_listener))), sock)
    assert set() == server.tasks


@contextmanager
def without_files() -> Iterator[None]:
    """Leave this process no descriptor to open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(descriptors()) + 1, hard))
    with ExitStack() as stack:
        try:
            while True:
                stack.callback(os.close, os.dup(0))
        except OSError:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_out_of_files(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Without descriptors the server says so once per pause, and serves whom it has."""
    async with probing(folder, replace(SLOW, pause=60)) as (_, one, _):
        with socket.socket(socket.AF_UNIX) as other:
            await one.tell(GET)
            await one.answer()
            with without_files():
                other.connect(f"{folder}/s")
                for _ in range(20):
                    await one.tell(GET)
                    assert 200 == (await one.answer())[0]
                assert ["no connection can be accepted: Too many open files"] == [
                    record.message for record in caplog.records
                ]


async def test_files_again(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Who had to wait for a descriptor is answered once there is one."""
    async with probing(folder, replace(SLOW, pause=MOMENT)) as (_, _, address):
        with socket.socket(socket.AF_UNIX) as other:
            other.setblocking(False)
            with without_files():
                other.connect(address[5:])
                other.send(CLOSE)
                await until(lambda: caplog.records)
            async with asyncio.timeout(SOON):
                answer = await asyncio.get_running_loop().sock_recv(other, 100)
            assert answer.startswith(b"HTTP/1.1 200 ")


async def test_nothing_is_written_after_the_end() -> None:
    """What the application still says once the connection has ended reaches no transport."""
    ended: Any = SimpleNamespace(ended=True, writer=SimpleNamespace(transport=None))
    await Connection.write(ended, b"late")
