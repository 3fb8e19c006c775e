"""The range API: what is sent, what is taken for an answer, and what happens without one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from breachlists import ordered, sha1
from rangeserver import PADDING, RangeServer, answer, range_server

from picoauth import ConfigError
from picoauth.testing import Server, serving
from picoauth_fetch.testing import Authority
from picoauth_hibp import HibpPlugin, ranges
from picoauth_hibp.breaker import Breaker
from picoauth_hibp.building import build
from picoauth_hibp.lists import Reader
from picoauth_hibp.ranges import CACHED, LIFE, LONGEST
from tests.processes import free_port

FINE, BREACHED, ELSEWHERE = "another horse", "battery staples", "in the filter alone"
COMMON = "password1"
TAKEN = (201, None, None)
REFUSED = (400, "password_breached", "breached")
UNCHECKED = (503, "unavailable", None)


@dataclass
class Visit:
    """A server that asks a range API, and people who register."""

    server: Server
    api: RangeServer
    people: int = 0

    async def register(self, password: str) -> tuple[int, str | None, str | None]:
        self.people += 1
        body = {"username": f"visitor-{self.people}", "password": password}
        told = await self.server.post("/auth/register", body)
        found = told.json()
        assert password not in told.text
        if told.status_code == 503:
            assert "60" == told.headers["retry-after"]
        return told.status_code, found.get("code"), found.get("reason")

    async def fail(self, times: int) -> None:
        """So many passwords that the API does not answer for."""
        for _ in range(times):
            await self.register(f"{FINE} {self.people}")


@asynccontextmanager
async def visiting(
    tmp_path: Path, certificates: Authority, name: str = "127.0.0.1", **settings: Any
) -> AsyncIterator[Visit]:
    source, target = tmp_path / "list.txt", tmp_path / "breaches"
    source.write_bytes(ordered([ELSEWHERE]))
    parts = Reader(1).of_path(source, partial=False)
    build(target, parts, made=1, least=1, progress=lambda _: None)
    async with range_server(certificates, name=name) as api:
        api.breached.add(BREACHED)
        table = {
            "mode": "online",
            "filter": str(target),
            "url": f"https://127.0.0.1:{api.port}/range/",
            "ca": str(certificates.ca),
            **settings,
        }
        lines = "\n".join(f"{key} = {value!r}" for key, value in table.items())
        async with serving(
            tmp_path, f'plugins = ["password", "hibp"]\n[hibp]\n{lines}\n'
        ) as server:
            yield Visit(server, api)


@pytest.fixture(autouse=True)
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What the plugin says in the log."""
    caplog.set_level("DEBUG")
    return lambda: [r.getMessage() for r in caplog.records if r.name == "picoauth.hibp"]


async def test_answers(tmp_path: Path, certificates: Authority) -> None:
    """A breached password is refused, another one taken; padding counts as nothing."""
    async with visiting(tmp_path, certificates) as visit:
        visit.api.padded.add(FINE)
        assert REFUSED == await visit.register(BREACHED)
        assert TAKEN == await visit.register(FINE)
        assert TAKEN == await visit.register(ELSEWHERE)


async def test_request(tmp_path: Path, certificates: Authority) -> None:
    """Five characters go out, with padding asked for, and a name of the product."""
    async with visiting(tmp_path, certificates) as visit:
        await visit.register(FINE)
        [request] = visit.api.requests
        first, *headers = request.strip().split("\r\n")
        assert f"GET /range/{sha1(FINE)[:5]} HTTP/1.1" == first
        assert {
            "host": f"127.0.0.1:{visit.api.port}",
            "user-agent": "picoauth-hibp (breach check of new passwords)",
            "accept": "text/plain",
            "accept-encoding": "identity",
            "add-padding": "true",
            "connection": "close",
        } == {name.lower(): value for name, value in (each.split(": ") for each in headers)}
        assert sha1(FINE)[5:12] not in request


async def test_what_is_here_comes_first(tmp_path: Path, certificates: Authority) -> None:
    """Nobody is asked about a name or one of the commonest."""
    async with visiting(tmp_path, certificates) as visit:
        assert (400, "password_breached", "common") == await visit.register(COMMON)
        assert (400, "password_guessable", "context") == await visit.register("visitor 2!")
        assert 0 == visit.api.asked


async def test_prefix_is_in_no_log(
    tmp_path: Path, certificates: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither an answer nor a failure leaves in the log what was asked for."""
    async with visiting(tmp_path, certificates) as visit:
        await visit.register(BREACHED)
        visit.api.say(answer(b"", "503 Service Unavailable"))
        await visit.register(FINE)
    for password in (BREACHED, FINE):
        assert sha1(password)[:5] not in caplog.text.upper()
        assert password not in caplog.text


PACKED = answer(b"", "200 OK", "Content-Encoding: gzip")
LINE = f"{'0' * 35}:1"
FAULTS: dict[str, tuple[bytes, str]] = {
    "429": (answer(b"", "429 Too Many Requests", "Retry-After: 2"), "status 429"),
    "503": (answer(b"", "503 Service Unavailable"), "status 503"),
    "404": (answer(b"", "404 Not Found"), "status 404"),
    "redirect": (answer(b"", "302 Found", "Location: http://example.com/"), "status 302"),
    "HTML": (answer(b"<!DOCTYPE html><title>Welcome</title>"), "an answer that is no list of digests"),
    "nothing": (answer(b""), "an answer that is no list of digests"),
    "short line": (answer(LINE[1:].encode()), "an answer that is no list of digests"),
    "no count": (answer(LINE[:-1].encode()), "an answer that is no list of digests"),
    "one bad line": (answer(f"{LINE}\r\nx\r\n{LINE}".encode()), "an answer that is no list of digests"),
    "packed": (PACKED, "an answer that is packed, though none was asked for"),
    "not HTTP": (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "RemoteProtocolError: illegal status line: bytearray(b'SSH-2.0-OpenSSH_9.2')"),
    "cut": (answer(LINE.encode() * 9)[:-20], "RemoteProtocolError: peer closed connection without sending complete message body (received 313 bytes, expected 333)"),
    "hung up": (b"", "RemoteProtocolError: Server disconnected"),
}  # fmt: skip
DECISIONS = {
    "offline": (TAKEN, REFUSED, "the lists that are here decide"),
    "allow": (TAKEN, TAKEN, "new passwords are taken unless they are among the commonest"),
    "deny": (UNCHECKED, UNCHECKED, "no new password is taken"),
}


@pytest.mark.parametrize("on_error", DECISIONS)
async def test_faults(
    tmp_path: Path, certificates: Authority, said: Callable[[], list[str]], on_error: str
) -> None:
    """Whatever the API answers in place of a list, the setting decides, and the log says so."""
    fine, elsewhere, decides = DECISIONS[on_error]
    async with visiting(tmp_path, certificates, on_error=on_error, failures=100) as visit:
        for number, (fault, (raw, reason)) in enumerate(FAULTS.items(), 1):
            visit.api.say(raw)
            assert (fault, fine) == (fault, await visit.register(f"{FINE} {fault}"))
            assert (fault, elsewhere) == (fault, await visit.register(ELSEWHERE))
            assert (400, "password_breached", "common") == await visit.register(COMMON)
            assert 2 * number == visit.api.asked
            lines = said()[-2:]
            if fault == "hung up":
                assert all(line.endswith(f"): {decides}") for line in lines)
            else:
                expected = f"the range API gave no answer ({reason}): {decides}"
                assert [expected, expected] == lines


@pytest.mark.parametrize("on_error", DECISIONS)
async def test_down(tmp_path: Path, certificates: Authority, on_error: str) -> None:
    """Where nothing listens, the setting decides."""
    fine, elsewhere, _ = DECISIONS[on_error]
    url = f"https://127.0.0.1:{free_port()}/range/"
    async with visiting(tmp_path, certificates, on_error=on_error, url=url) as visit:
        assert fine == await visit.register(FINE)
        assert elsewhere == await visit.register(ELSEWHERE)


@pytest.mark.parametrize("on_error", DECISIONS)
async def test_slow(
    tmp_path: Path,
    certificates: Authority,
    said: Callable[[], list[str]],
    on_error: str,
) -> None:
    """Who does not answer in time is not waited for; a login and a short answer need no luck."""
    fine, elsewhere, decides = DECISIONS[on_error]
    async with visiting(tmp_path, certificates, on_error=on_error, patience_ms=50) as visit:
        visit.api.act = visit.api.hang
        assert fine == await visit.register(FINE)
        assert elsewhere == await visit.register(ELSEWHERE)
    assert {f"the range API gave no answer (no answer within 50 ms): {decides}"} == set(said())


async def test_a_gigabyte(
    tmp_path: Path, certificates: Authority, said: Callable[[], list[str]]
) -> None:
    """An answer is read up to one MiB."""
    async with visiting(tmp_path, certificates) as visit:
        visit.api.act = visit.api.endless
        assert REFUSED == await visit.register(ELSEWHERE)
        assert visit.api.sent < 20 * LONGEST  # what buffers hold
    [line] = said()
    assert "an answer of more than 1 MiB" in line


async def test_whole_answer_of_a_mebibyte(tmp_path: Path, certificates: Authority) -> None:
    """As much as that is read, in chunks and in small letters too, and is quick to look at."""
    count = LONGEST // (len(PADDING[0]) + 2)
    lines = [f"{n:035x}:1" for n in range(count - 1)] + [f"{sha1(BREACHED)[5:].lower()}:1"]
    body = "\r\n".join(lines).encode()
    assert LONGEST - 100 < len(body) <= LONGEST
    async with visiting(tmp_path, certificates) as visit:
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        visit.api.say(head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
        assert REFUSED == await visit.register(BREACHED)
        visit.server.clock.advance(LIFE)
        visit.api.say(b"HTTP/1.1 103 Early Hints\r\n\r\n" + answer(body))
        assert REFUSED == await visit.register(BREACHED)


@pytest.mark.parametrize("name", ["127.0.0.2", "self-signed"])
async def test_bad_certificate(
    tmp_path: Path, certificates: Authority, said: Callable[[], list[str]], name: str
) -> None:
    """A certificate of another name, or of nobody who is trusted, ends it before a word is said."""
    settings: dict[str, Any] = {}
    if name == "self-signed":
        other = tmp_path / "other"
        other.mkdir()
        settings, name = {"ca": str(Authority(other).ca)}, "127.0.0.1"
    async with visiting(tmp_path, certificates, name=name, **settings) as visit:
        assert REFUSED == await visit.register(ELSEWHERE)
        assert 0 == visit.api.asked
    [line] = said()
    assert "(SSLCertVerificationError: " in line


async def test_breaker(
    tmp_path: Path, certificates: Authority, said: Callable[[], list[str]]
) -> None:
    """After five failures in a row nobody is asked for a minute; then one, and then all again."""
    async with visiting(tmp_path, certificates) as visit:
        visit.api.say(answer(b"", "503 Service Unavailable"))
        await visit.fail(4)
        visit.api.act = None
        await visit.fail(1)
        visit.api.say(answer(b"", "503 Service Unavailable"))
        await visit.fail(7)
        assert 4 + 1 + 5 == visit.api.asked
        opened = "the range API failed 5 times (status 503): nobody asks it for 60 s"
        left = (
            "the range API gave no answer (it failed too often, and is left alone for a while): "
            "the lists that are here decide"
        )
        assert [1, 2] == [said().count(line) for line in (opened, left)]
        visit.server.clock.advance(59)
        assert REFUSED == await visit.register(ELSEWHERE)
        assert 10 == visit.api.asked
        visit.server.clock.advance(1)
        await visit.fail(3)
        assert 11 == visit.api.asked
        visit.server.clock.advance(60)
        visit.api.act = None
        await visit.fail(3)
        assert 14 == visit.api.asked
        assert [1, 1] == [said().count(line) for line in (opened, "the range API answers again")]


async def test_breaker_under_load(tmp_path: Path, certificates: Authority) -> None:
    """Of fifty who come after the pause one asks; all fifty are decided."""
    async with visiting(tmp_path, certificates) as visit:
        plugin = visit.server.auth.plugin(HibpPlugin)
        visit.api.say(answer(b"", "503 Service Unavailable"))
        await visit.fail(5)
        visit.server.clock.advance(60)
        answers = await asyncio.gather(*(plugin.is_breached(bytes([n]) * 20) for n in range(50)))
        assert ([False] * 50, 6) == (answers, visit.api.asked)


async def test_breaker_when_the_clock_goes_back() -> None:
    """A clock that goes back ends a pause, and does not make it an hour."""
    time = [1000]
    breaker = Breaker(1, 60, lambda: time[0])
    assert breaker.fail()
    assert not breaker.lets()
    time[0] = 999
    assert breaker.lets()
    assert not breaker.lets()
    assert not breaker.fail()
    assert breaker.succeed()
    assert not breaker.succeed()
    assert breaker.lets()


async def test_memory(tmp_path: Path, certificates: Authority) -> None:
    """An answer is good for ten minutes, also where the API fails meanwhile."""
    async with visiting(tmp_path, certificates) as visit:
        for _ in range(3):
            assert REFUSED == await visit.register(BREACHED)
        assert 1 == visit.api.asked
        visit.api.say(answer(b"", "503 Service Unavailable"))
        visit.server.clock.advance(LIFE - 1)
        assert REFUSED == await visit.register(BREACHED)
        assert 1 == visit.api.asked
        visit.server.clock.advance(1)
        assert TAKEN == await visit.register(BREACHED)  # by the filter
        assert 2 == visit.api.asked
        visit.server.clock.advance(-3600)
        await visit.register(BREACHED)
        assert 3 == visit.api.asked


async def test_memory_is_bounded(
    tmp_path: Path, certificates: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest answers go first."""
    monkeypatch.setattr(ranges, "CACHED", 2)
    assert CACHED < 100
    async with visiting(tmp_path, certificates) as visit:
        online = visit.server.auth.plugin(HibpPlugin).asked()
        for prefix in ("A", "B", "A", "C", "A", "B"):
            await online.has(bytes.fromhex(prefix * 40))
        assert 5 == visit.api.asked
        assert ["AAAAA", "BBBBB"] == list(online.known)


async def test_cancelled(tmp_path: Path, certificates: Authority) -> None:
    """Who hangs up leaves no connection behind, and no failure."""
    closed = asyncio.Event()
    reached = asyncio.Event()
    async with visiting(tmp_path, certificates) as visit:

        async def act(writer: asyncio.StreamWriter) -> None:
            reached.set()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            closed.set()

        visit.api.act = act
        plugin = visit.server.auth.plugin(HibpPlugin)
        task = asyncio.create_task(plugin.is_breached(bytes(20)))
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(20):
            await closed.wait()
        assert 0 == plugin.asked().breaker.failed


async def test_plain_mirror(tmp_path: Path, certificates: Authority) -> None:
    """A mirror on this machine may do without TLS."""
    api = RangeServer(breached={BREACHED})
    listening = await asyncio.start_server(api.handle, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/mirror"
    async with visiting(tmp_path, certificates, url=url) as visit:
        assert REFUSED == await visit.register(BREACHED)
        assert f"GET /mirror/{sha1(BREACHED)[:5]} " in api.requests[0]
    listening.close()
    await listening.wait_closed()


async def test_certificates_that_are_none(tmp_path: Path, certificates: Authority) -> None:
    """A file without certificates stops the server in a sentence."""
    for path in (tmp_path / "gone.pem", tmp_path / "empty.pem"):
        if path.name == "empty.pem":
            path.write_text("nothing")
        with pytest.raises(ConfigError) as refused:
            async with visiting(tmp_path, certificates, ca=str(path)):
                raise AssertionError
        sentence = f"ca in [hibp]: {path} cannot be read as certificates: name a file in PEM."
        assert sentence == str(refused.value)
