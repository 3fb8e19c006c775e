"""A whole server on libSQL: tokens, losses, and two processes; on real servers."""

from __future__ import annotations

import asyncio
import re
import signal
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from picoauth import ConfigError, Statement, Unavailable, parse
from picoauth.doctor import examine
from picoauth.testing import Server, serving
from picoauth_fetch.testing import Authority
from picoauth_libsql import Libsql
from picoauth_libsql.address import FORM, websocket
from picoauth_libsql.plugin import RELAXED
from tests.sqld import Sqld, sqld
from tests.test_two_processes import NOW, Two, refresh_in_both

TABLE = Statement("create table thing (id integer primary key, size integer not null)")
INSERT = Statement("insert into thing (id, size) values (1, 1)", rows=1)
MORE = Statement("update thing set size = size + 1 where id = 1", rows=1)
SIZE = "select size from thing where id = 1"


def settings(server: Sqld, more: str = "") -> str:
    return f'plugins = ["password", "libsql"]\ndatabase = "{server.url}"\n[libsql]\n{more}'


@asynccontextmanager
async def served(folder: Path, settings: str) -> AsyncIterator[Server]:
    """A picoauth server whose secret somebody made before, as a database elsewhere wants it."""
    secret = folder / "picoauth.secret"
    secret.touch(0o600)
    secret.write_bytes(bytes(range(32)))
    async with serving(folder, settings) as server:
        yield server


@asynccontextmanager
async def opened(url: str, **more: Any) -> AsyncIterator[Libsql]:
    """An engine, with patience for a machine that is busy."""
    database = Libsql(url, **{"patience": 30, **more})
    try:
        yield database
    finally:
        await database.close()


@asynccontextmanager
async def thing(url: str, **more: Any) -> AsyncIterator[Libsql]:
    async with opened(url, **more) as database:
        await database.write(TABLE, INSERT)
        yield database


# What comes and goes.


async def test_journey(own: Sqld, tmp_path: Path) -> None:
    """A server that starts again finds its users."""
    async with served(tmp_path, settings(own)) as server:
        await server.register()
    async with served(tmp_path, settings(own)) as server:
        tokens = await server.login()
        assert 200 == (await server.get("/auth/me", token=tokens["access_token"])).status_code
        assert 200 == (await server.get("/health-check")).status_code


async def test_doctor(own: Sqld, tmp_path: Path) -> None:
    """The schema is compared as that of a file is."""

    async def schema() -> str | None:
        found = await examine(parse(settings(own), tmp_path), tmp_path / "picoauth.toml")
        [said] = [one.problem for one in found if one.check == "schema"]
        return said

    async with served(tmp_path, settings(own)) as server:
        assert await schema() is None
        await server.auth.database.write(Statement("drop index identifiers_verified"))
        assert "(index identifiers_verified is missing)" in str(await schema())


async def test_durability(own: Sqld, tmp_path: Path) -> None:
    """The doctor says whether an answered write is on the disk, and what to do."""
    async with served(tmp_path, settings(own)) as server:
        [check] = [one for one in server.auth.checks if one.name == "libsql durability"]
        assert RELAXED == await check.run()
        await own.strong()
        await server.auth.database.close()
    async with served(tmp_path, settings(own)) as server:
        [check] = [one for one in server.auth.checks if one.name == "libsql durability"]
        assert await check.run() is None


@pytest.mark.parametrize(
    ("value", "kind"),
    [(2**63, OverflowError), (-(2**63) - 1, OverflowError), (float("nan"), ValueError)],
)
async def test_values_that_are_none(own: Sqld, value: Any, kind: type[Exception]) -> None:
    """What no database keeps is refused before it is sent."""
    async with opened(own.url) as database:
        with pytest.raises(kind):
            await database.read("select ?", (value,))


async def test_numbers_and_truth(own: Sqld) -> None:
    """A fraction is one; what is true is 1, as in SQLite."""
    async with opened(own.url) as database:
        assert [(1.5, 1, 0)] == await database.read("select ?, ?, ?", (1.5, True, False))


async def test_text_that_is_no_unicode(own: Sqld) -> None:
    """A lone surrogate, over which the server would end the connection, troubles nobody else."""
    async with thing(own.url) as database:
        before = database.connection
        for sql, args in (("select ?", ("\ud800",)), ("select '\ud800'", ())):
            with pytest.raises(UnicodeEncodeError):
                await database.read(sql, args)
        assert [(1,)] == await database.read(SIZE)
        assert before is database.connection


async def test_transaction_in_a_transaction(own: Sqld) -> None:
    """Nobody can commit half of a write."""
    async with thing(own.url) as database:
        for sql in ("commit", "BEGIN", " rollback;", "savepoint x"):
            with pytest.raises(ValueError, match="one transaction already"):
                await database.write(MORE, Statement(sql))
        assert [(1,)] == await database.read(SIZE)


async def test_broken_sql(own: Sqld) -> None:
    """A bug stays one, is told in the server's words, and costs no connection."""
    async with thing(own.url) as database:
        before = database.connection
        for asked in (database.read("nosql"), database.write(MORE, Statement("nosql"))):
            with pytest.raises(Exception, match="syntax error"):
                await asked
        assert before is database.connection


async def test_long_answer(own: Sqld) -> None:
    """Longer than what a WebSocket of aiohttp takes by default."""
    async with thing(own.url) as database:
        many = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 60) select i, ? from n"
        assert 60 == len(await database.read(many, ("x" * 100_000,), slow=True))


def test_nothing_is_imported_before_it_is_needed() -> None:
    """Who looks at the settings does not pay for aiohttp."""
    code = "import sys, picoauth_libsql; sys.exit('aiohttp' in sys.modules)"
    assert 0 == subprocess.run([sys.executable, "-c", code], check=False).returncode


# Losses.


async def test_server_that_comes_back(own: Sqld) -> None:
    """Nothing answered is lost, what cannot be asked is 503, and nobody has to start again."""
    async with thing(own.url) as database:
        await database.write(MORE)
        own.kill()
        for asked in (database.read(SIZE), database.write(MORE)):
            with pytest.raises(Unavailable):
                await asked
        own.start()
        assert [(2,)] == await database.read(SIZE)
        assert [[]] == await database.write(MORE)


async def test_read_is_done_again(own: Sqld) -> None:
    """A connection that broke while nobody looked costs no reader anything."""
    async with thing(own.url) as database:
        for _ in range(3):
            own.kill()
            own.start()
            assert [(1,)] == await database.read(SIZE)


async def test_server_that_hangs(own: Sqld) -> None:
    """Whoever asks hears 503 in time; afterwards all goes on."""
    async with thing(own.url) as database:
        database.patience = 0.2
        own.signal(signal.SIGSTOP)
        try:
            asked = [database.read(SIZE), database.write(MORE), database.read(SIZE, slow=True)]
            results = await asyncio.gather(*asked, return_exceptions=True)
            assert [Unavailable] * 3 == [type(result) for result in results]
        finally:
            own.signal(signal.SIGCONT)
        database.patience = 30
        await database.write(MORE)
        assert (await database.read(SIZE))[0] in [(2,), (3,)]


async def test_server_that_hangs_from_the_start(own: Sqld) -> None:
    """A handshake that gets no answer is given up, and is no hindrance to the next one."""
    async with opened(own.url, patience=0.2) as database:
        own.signal(signal.SIGSTOP)
        try:
            for _ in range(2):
                asked = (database.read("select 1") for _ in range(3))
                results = await asyncio.gather(*asked, return_exceptions=True)
                assert [Unavailable] * 3 == [type(result) for result in results]
        finally:
            own.signal(signal.SIGCONT)
        database.patience = 30
        assert [(1,)] == await database.read("select 1")


@asynccontextmanager
async def between(
    target: Sqld, answered: Callable[[bytes], bool], tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A way to a server that breaks where an answer is such; what was sent on it."""
    sent: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection("127.0.0.1", target.port)
        lanes = [hand_on(reader, there[1], sent), hand_on(there[0], writer, [], answered)]
        tasks = [asyncio.create_task(lane) for lane in lanes]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        for end in (writer, there[1]):
            end.transport.abort()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls) as server:
        yield server.sockets[0].getsockname()[1], sent


def never(_: bytes) -> bool:
    return False


async def hand_on(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    seen: list[bytes],
    stop: Callable[[bytes], bool] = never,
) -> None:
    while data := await reader.read(65536):
        seen.append(data)
        if stop(data):
            return
        writer.write(data)


async def test_write_of_unknown_outcome_is_not_repeated(own: Sqld) -> None:
    """The answer is lost after the commit: it was done, is said to be unknown, and is not redone."""
    async with (
        thing(own.url) as direct,
        between(own, lambda data: b'"batch"' in data) as (port, _),
        opened(f"ws://127.0.0.1:{port}") as database,
    ):
        assert [(1,)] == await database.read(SIZE)
        with pytest.raises(Unavailable, match="the connection to the database server broke"):
            await database.write(MORE)
        assert [(2,)] == await direct.read(SIZE)


async def test_read_whose_answer_is_lost(own: Sqld) -> None:
    """It is asked again, once; and then it is 503."""
    lost = iter([False, True, False])

    def breaks(data: bytes) -> bool:
        return b'"execute"' in data and next(lost, True)

    async with (
        thing(own.url),
        between(own, breaks) as (port, _),
        opened(f"ws://127.0.0.1:{port}") as database,
    ):
        assert [(1,)] == await database.read(SIZE)
        assert [(1,)] == await database.read(SIZE)  # on the second connection
        with pytest.raises(Unavailable):
            await database.read(SIZE)


async def test_lock_is_waited_for(own: Sqld) -> None:
    """A write that another client holds up is done when that one is."""
    async with thing(own.url) as database, thing_holding(own) as release:
        writing = asyncio.create_task(database.write(MORE))
        reading = await database.read(SIZE)
        assert [(1,)] == reading
        assert not writing.done()
        await release()
        await writing
        assert [(2,)] == await database.read(SIZE)


@asynccontextmanager
async def thing_holding(server: Sqld) -> AsyncIterator[Any]:
    """Another client in the middle of a transaction."""
    from libsql_client import create_client

    async with create_client(server.url) as client:
        transaction = client.transaction()
        await transaction.execute("update thing set size = size")
        yield transaction.commit


async def test_busy_is_tried_again(monkeypatch: pytest.MonkeyPatch, own: Sqld) -> None:
    """What the server says that it did not do is done again, until the time is over."""
    from picoauth_libsql.batch import Failed

    async with thing(own.url) as database:
        busy = Failed({"message": "database is locked", "code": "SQLITE_BUSY"})
        ask, left = database.ask, iter([busy, busy])

        async def sometimes(request: Any, meaning: Any) -> Any:
            if failed := next(left, None):
                raise failed
            return await ask(request, meaning)

        monkeypatch.setattr(database, "ask", sometimes)
        await database.write(MORE)
        assert [(2,)] == await database.read(SIZE)
        left = iter([Failed({"message": "disk full", "code": "SQLITE_FULL"})])
        with pytest.raises(Unavailable, match="the database server answers SQLITE_FULL"):
            await database.write(MORE)


async def test_batch_that_was_not_done(monkeypatch: pytest.MonkeyPatch, own: Sqld) -> None:
    """No answer of a server that means nothing is taken for a write that was done."""
    nothing = {"step_errors": [None] * 4, "step_results": [None] * 4}

    async def ask(_: object, meaning: Callable[[Any], Any]) -> Any:
        return meaning(nothing)

    async with opened(own.url) as database:
        monkeypatch.setattr(database, "ask", ask)
        with pytest.raises(Unavailable, match="the database server answers SERVER_ERROR"):
            await database.write(TABLE)


async def test_what_is_no_answer(own: Sqld) -> None:
    """A mistake of our own is none of the server's; nor is an answer that nobody waits for."""
    from picoauth_libsql.batch import rows
    from picoauth_libsql.connection import seen

    async with opened(own.url) as database:
        with pytest.raises(ZeroDivisionError):
            await database.ask(lambda _: 1 / 0, rows)  # type: ignore[arg-type, return-value]
        assert [(1,)] == await database.read("select 1")
    answer = asyncio.get_running_loop().create_future()
    answer.cancel()
    seen(answer)


DONE = {"cols": [], "rows": [], "affected_row_count": 1, "last_insert_rowid": None}
ODD = {**DONE, "rows": [[{"type": "integer", "value": "x"}]]}


def in_step(error: Any) -> dict[str, Any]:
    return {"step_results": [None] * 5, "step_errors": [error, *[None] * 4]}


# What a server may say of a request that nobody can make sense of: the member, and its value.
SENSELESS: dict[str, tuple[str, Any]] = {
    "empty": ("result", {}),
    "null": ("result", None),
    "text": ("result", "x"),
    "too short": ("result", {"step_results": [DONE], "step_errors": [None]}),
    "no number": ("result", {**ODD, "step_results": [ODD] * 5, "step_errors": [None] * 5}),
    "error in a step without a message": ("result", in_step({"code": "SQLITE_BUSY"})),
    "error in a step without a code": ("result", in_step({"message": "replication"})),
    "error in a step that is a text": ("result", in_step("replication")),
    "error whose code is a number": ("error", {"message": "x", "code": 5}),
    "error without a code": ("error", {"message": "x"}),
}


@asynccontextmanager
async def answering(member: str, value: Any) -> AsyncIterator[tuple[str, list[str]]]:
    """A server that answers all requests for rows like that; its address, and what it was asked."""
    asked: list[str] = []

    async def serve(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=["hrana2"])
        await socket.prepare(request)
        async for message in socket:
            await socket.send_json(reply(message.json()))
        return socket

    def reply(told: Any) -> dict[str, Any]:
        if told["type"] == "hello":
            return {"type": "hello_ok"}
        kind, number = told["request"]["type"], told["request_id"]
        asked.append(kind)
        response = {"type": kind, "result": value}
        if member == "error" and kind in ("batch", "execute"):
            return {"type": "response_error", "request_id": number, "error": value}
        return {"type": "response_ok", "request_id": number, "response": response}

    app = web.Application()
    app.router.add_get("/", serve)
    async with TestServer(app) as server:
        yield f"ws://127.0.0.1:{server.port}", asked


@pytest.mark.parametrize(("member", "value"), SENSELESS.values(), ids=SENSELESS)
async def test_answer_that_makes_no_sense(member: str, value: Any) -> None:
    """It is 503, and the connection is let go of; a write is not sent again, a read is once."""
    async with answering(member, value) as (url, asked), opened(url) as database:
        for request, kind, times in (
            (database.write(MORE), "batch", 1),
            (database.read(SIZE), "execute", 2),
        ):
            with pytest.raises(Unavailable, match="the database server's answer makes no sense"):
                await request
            assert times == asked.count(kind)
            assert database.connection is None


async def test_closed(own: Sqld) -> None:
    """Whoever still asks hears 503; to close twice is nothing."""
    async with thing(own.url) as database:
        await database.close()
        with pytest.raises(Unavailable, match="the database is closed"):
            await database.read(SIZE)


async def test_one_stream(own: Sqld) -> None:
    """Those who ask at once take turns; who gives up makes room."""
    async with thing(own.url, streams=1) as database:
        asked = [asyncio.create_task(database.write(MORE)) for _ in range(20)]
        await asyncio.sleep(0)
        for task in asked[::2]:
            task.cancel()
        results = await asyncio.gather(*asked, return_exceptions=True)
        done = sum(result == [[]] for result in results)
        assert done >= 10
        [(size,)] = await database.read(SIZE)
        assert done + 1 <= size <= 21


# Tokens.


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sqld]:
    """A server that wants tokens."""
    with sqld(tmp_path_factory.mktemp("signed"), signed=True) as server:
        yield server


def refused(code: str) -> str:
    return re.escape(
        f"libsql: the server does not take the token ({code}): "
        "put a new one where `token` of [libsql] points."
    )


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        (None, "AUTH_HEADER_NOT_FOUND"),
        ({"exp": 1}, "AUTH_JWT_EXPIRED"),
        ({"other": True}, "AUTH_JWT_INVALID"),
    ],
)
async def test_token_that_is_refused(
    signed: Sqld, tmp_path: Path, claims: dict[str, object] | None, code: str
) -> None:
    """A server does not start on it, and says what to do."""
    token = signed.token(**claims or {}) + ("x" if code == "AUTH_JWT_INVALID" else "")
    (tmp_path / "token").write_text(token)
    more = 'token = { file = "token" }' if claims else ""
    with pytest.raises(ConfigError, match=refused(code)) as refusal:
        async with served(tmp_path, settings(signed, more)):
            raise AssertionError
    assert token not in str(refusal.value)


async def test_refusal_before_hrana(tmp_path: Path, own: Sqld) -> None:
    """A server, or a proxy before it, may look at the token when the WebSocket is opened."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with pytest.raises(ConfigError, match=refused("HTTP 401")):
            async with served(tmp_path, settings(own).replace(own.url, url)):
                raise AssertionError


async def test_token_that_is_taken(signed: Sqld, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(signed.token())
    async with served(tmp_path, settings(signed, 'token = { file = "token" }')) as server:
        await server.register()


async def test_token_that_expires(signed: Sqld, caplog: pytest.LogCaptureFixture) -> None:
    """While it runs that is 503 and a line in the log; a new token is taken up by itself."""
    tokens = [signed.token()]
    async with opened(signed.url, token=lambda: tokens[-1]) as database:
        assert [(1,)] == await database.read("select 1")
        tokens.append(signed.token(exp=1))
        signed.kill()
        signed.start()
        what = "the server does not take the token (AUTH_JWT_EXPIRED)"
        with pytest.raises(Unavailable, match=re.escape(what)):
            await database.read("select 1")
        said = f"{what}: put a new one where `token` of [libsql] points"
        assert {said} == {record.getMessage() for record in caplog.records}
        tokens.append(signed.token())
        assert [(1,)] == await database.read("select 1")


async def test_token_that_may_only_read(signed: Sqld) -> None:
    """It reads; a write ends the connection, which the server gives no word of."""
    async with opened(signed.url, token=lambda: signed.token(a="ro")) as database:
        assert [(1,)] == await database.read("select 1")
        with pytest.raises(Unavailable, match="the connection to the database server broke"):
            await database.write(TABLE)
        assert [(1,)] == await database.read("select 1")


# TLS.


async def test_authority_of_its_own(own: Sqld, tmp_path: Path) -> None:
    """A server whose certificate is signed by whoever `ca_file` names."""
    tls = Authority(tmp_path).context()
    async with between(own, never, tls) as (port, _):
        options = settings(own, 'ca_file = "ca.pem"').replace(own.url, f"libsql://localhost:{port}")
        async with served(tmp_path, options) as server:
            await server.register()
            await server.login()


@pytest.mark.parametrize(
    ("names", "age", "more"),
    [
        ((), 0, ""),  # whom the machine does not know
        (("db.example.com",), 0, 'ca_file = "ca.pem"'),
        ((), 2, 'ca_file = "ca.pem"'),
    ],
    ids=["unknown authority", "another host", "expired"],
)
async def test_certificate_that_is_refused(
    own: Sqld, tmp_path: Path, names: Sequence[str], age: int, more: str
) -> None:
    """A server does not start on it, and has told the other side nothing."""
    tls = Authority(tmp_path).context(*names, age=age)
    async with between(own, never, tls) as (port, sent):
        options = settings(own, more).replace(own.url, f"wss://localhost:{port}")
        with pytest.raises(ConfigError) as refusal:
            async with served(tmp_path, options):
                raise AssertionError
        said = (
            "libsql: the server's certificate is not trusted: "
            "name who vouches for it by `ca_file` of [libsql], and the host as it does."
        )
        assert said == str(refusal.value)
        assert [] == sent


async def test_certificate_that_expires(
    own: Sqld, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """While it runs that is 503 and a line in the log."""
    authority = Authority(tmp_path)
    good, old = authority.context(), authority.context(age=2)
    async with between(own, lambda data: b'"batch"' in data, good) as (port, _):
        database = Libsql(f"wss://localhost:{port}", patience=30, ca_file=authority.ca)
        assert [(1,)] == await database.read("select 1")
        good.sni_callback = lambda connection, *_: setattr(connection, "context", old)
        with pytest.raises(Unavailable):
            await database.write(TABLE)
        with pytest.raises(Unavailable, match="the server's certificate is not trusted"):
            await database.read("select 1")
        await database.close()
    assert "the server's certificate is not trusted: name who" in caplog.text


# Addresses and settings.


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("libsql://db.example.com", "wss://db.example.com"),
        ("libsql://db.example.com:8080?tls=0", "ws://db.example.com:8080"),
        ("ws://127.0.0.1:8080", "ws://127.0.0.1:8080"),
        ("wss://db.example.com/x", "wss://db.example.com/x"),
        ("http://[::1]:8080", "ws://[::1]:8080"),
        ("https://db.example.com", "wss://db.example.com"),
    ],
)
def test_addresses(address: str, url: str) -> None:
    assert url == websocket(address)


@pytest.mark.parametrize(
    "address",
    [
        "picoauth.db",
        "redis://127.0.0.1",
        "libsql://",
        "libsql://db.example.com?tls=0",
        "libsql://db.example.com:8080?authToken=secret",
        "wss://db.example.com?authToken=secret",
        "wss://user:secret@db.example.com",
        "wss://db.example.com#secret",
        "ws://127.0.0.1:port",
        "ws://[::1",
    ],
)
async def test_addresses_that_are_none(tmp_path: Path, address: str) -> None:
    """Nothing starts on a file that somebody took for a server; no secret is repeated."""
    with pytest.raises(ConfigError) as refusal:
        async with served(tmp_path, f'plugins = ["libsql"]\ndatabase = "{address}"'):
            raise AssertionError
    assert FORM == str(refusal.value)


async def test_authority_that_is_not_there(own: Sqld, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refusal:
        async with served(tmp_path, settings(own, 'ca_file = "ca.pem"')):
            raise AssertionError
    said = "libsql: `ca_file` of [libsql] is no file of PEM certificates: name one."
    assert said == str(refusal.value)


# Two processes.


@pytest.fixture(scope="module")
def processes() -> Iterator[Two]:
    two = Two()
    yield two
    two.end()


@pytest.fixture
def two(processes: Two, own: Sqld, tmp_path: Path) -> Iterator[Two]:
    """Two processes on one server, with one user; their secret is the same file."""
    (tmp_path / "picoauth.secret").write_bytes(bytes(range(32)))
    (tmp_path / "picoauth.secret").chmod(0o600)
    options = 'plugins = ["libsql"]\n' + f'database = "{own.url}"\n[libsql]\ntimeout = "60s"'
    processes.both("start", folder=str(tmp_path), now=NOW, settings=options)
    assert {"registered": 1} == processes.first.do("register", names=["ann"])
    yield processes
    processes.both("stop")


def test_name_is_registered_once(two: Two) -> None:
    """Whoever asks first, in whichever process."""
    names = ["Bob", "bob", "\uff22\uff4f\uff42"] * 8
    assert {"registered": 1, "username_taken": 47} == two.total("register", names=names)


def test_refresh_in_both(two: Two) -> None:
    """A token that is refreshed in both at once moves on by one, and both get the same answer."""
    refresh_in_both(two)


def test_revocation_is_seen(two: Two) -> None:
    """A session that ended in one is refused by the other after its next look."""
    tokens = two.first.do("login", username="ann")
    assert {"valid": 1} == two.second.do("validate", token=tokens["access_token"])
    two.first.do("logout", user_id=tokens["user_id"])
    two.second.do("poll")
    assert {"session_ended": 1} == two.second.do("validate", token=tokens["access_token"])
