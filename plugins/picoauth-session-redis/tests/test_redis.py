"""Sessions in Redis: shared by processes, safe while it is down, and nobody else's."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from redis.exceptions import ConnectionError as Broken
from servers import RedisServer, eventually, free_port, redis_server, watched_servers

from picoauth import Auth, ConfigError, Conflict, Session, Unavailable, parse
from picoauth.testing import Clock, Server, serving
from picoauth_session_redis import RedisKeeper
from picoauth_session_redis.client import client, close
from picoauth_session_redis.keeper import LATE, dump, load
from picoauth_session_redis.plugin import check_prefix
from tests.certificates import self_signed
from tests.factors import PLUGINS, join
from tests.refreshing import many_at_once
from tests.siblings import Siblings
from tests.test_two_processes import NOW, Two, refresh_in_both

OK = (200, None)
DOWN = (503, "unavailable")
ENDED = (401, "session_ended")
PASSWORD = "correct horse battery staple"
FORMS = (
    "session-redis: `url` must be redis://HOST:PORT/DB, rediss://…, unix://PATH, "
    "redis+sentinel://HOST:PORT,HOST:PORT/NAME/DB or redis+cluster://HOST:PORT,HOST:PORT."
)


def settings(url: str, more: str = "") -> str:
    return f'plugins = ["password", "session-redis"]\n[session-redis]\nurl = "{url}"\n{more}'


@pytest.fixture
def own(tmp_path: Path) -> Iterator[RedisServer]:
    """A server that the test may stop."""
    with redis_server(tmp_path / "redis") as server:
        yield server


@pytest.fixture
async def server(own: RedisServer, tmp_path: Path) -> AsyncIterator[Server]:
    """A picoauth server on it, with Ann's account."""
    async with serving(tmp_path, settings(own.url)) as server:
        await server.register()
        yield server


class TestSiblings(Siblings):
    """A login on several root domains."""

    @pytest.fixture
    async def server(self, redis: RedisServer, tmp_path: Path) -> AsyncIterator[Server]:
        plugins = settings(redis.url).replace("password", "pin")
        async with serving(tmp_path, plugins, plugins=PLUGINS) as running:
            await join(running)
            yield running


async def answered(answer: Any) -> tuple[int, str | None]:
    response = await answer
    return response.status_code, response.json().get("code") if response.content else None


async def refresh(server: Server, tokens: dict[str, Any]) -> tuple[int, str | None]:
    return await answered(server.client.post("/jwt/refresh", content=tokens["refresh_token"]))


async def validate(server: Server, tokens: dict[str, Any]) -> tuple[int, str | None]:
    return await answered(server.post("/jwt/validate", token=tokens["access_token"]))


async def login(server: Server, **more: str) -> tuple[int, str | None]:
    body = {"username": "ann", "password": PASSWORD, **more}
    return await answered(server.post("/auth/login", body))


async def cookie(server: Server) -> dict[str, str]:
    """Headers of a browser that has logged in."""
    body = {"username": "ann", "password": PASSWORD, "session": "cookie"}
    here = {"Origin": "http://127.0.0.1:8100"}
    answer = await server.client.post("/auth/login", json=body, headers=here)
    assert 200 == answer.status_code
    server.client.cookies.clear()
    return {"Cookie": answer.headers["set-cookie"].partition(";")[0]}


async def everything(
    server: Server, tokens: dict[str, Any], kept: dict[str, str]
) -> list[tuple[int, str | None]]:
    """What needs a session answers, without a wait for Redis beyond the 0.2 seconds of patience.

    Of three tries the fastest counts, and two seconds: the machine may be busy with other things.
    """
    asking: list[Callable[[], Awaitable[tuple[int, str | None]]]] = [
        lambda: login(server),
        lambda: refresh(server, tokens),
        lambda: answered(server.client.get("/auth/session", headers=kept)),
        lambda: answered(server.get("/auth/sessions", token=tokens["access_token"])),
    ]
    found = []
    for ask in asking:
        times = []
        for _ in range(3):
            begun = time.monotonic()
            found.append(await ask())
            times.append(time.monotonic() - begun)
        assert min(times) < 2
    return found


@pytest.mark.parametrize("how", ["killed", "hanging"])
async def test_down_and_back(server: Server, own: RedisServer, how: str) -> None:
    """Down: 503 soon, and tokens verify. Back: it works again by itself."""
    tokens, kept = await server.login(), await cookie(server)
    if how == "killed":
        own.kill()
    else:
        own.signal(signal.SIGSTOP)
    assert [DOWN] * 12 == await everything(server, tokens, kept)
    assert OK == await validate(server, tokens)
    problems = (await server.get("/health-check")).json()["problems"]
    assert ["session-redis"] == list(problems)
    if how == "killed":
        own.start()
    else:
        own.signal(signal.SIGCONT)
    back = time.monotonic()
    while await login(server) != OK:
        assert time.monotonic() - back < 20
    expected = OK if how == "hanging" else ENDED  # it keeps nothing on disk here
    assert expected == await refresh(server, tokens)
    assert expected == await answered(server.client.get("/auth/session", headers=kept))
    assert {} == (await server.get("/health-check")).json()["problems"]


async def test_words_of_the_check(server: Server, own: RedisServer) -> None:
    """The health check says what is wrong and what to do."""
    own.kill()
    problems = (await server.get("/health-check")).json()["problems"]
    assert {
        "session-redis": "Sessions cannot be reached (Redis: ConnectionError): "
        "see to the Redis server of `url`."
    } == problems


async def test_flushall(server: Server, own: RedisServer) -> None:
    """Sessions that Redis lost stay dead: nothing that a client still has brings one back."""
    tokens, kept = await server.login(), await cookie(server)
    assert b"+OK\r\n" == own.ask("FLUSHALL")
    for _ in range(2):
        assert ENDED == await refresh(server, tokens)
        assert ENDED == await answered(server.client.get("/auth/session", headers=kept))
    assert OK == await validate(server, tokens)
    assert b":0\r\n" == own.ask("DBSIZE")
    assert OK == await login(server)


async def test_two_processes_share_sessions(own: RedisServer, tmp_path: Path) -> None:
    """A session made by one server is the other's too, and so is its end."""
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(serving(tmp_path, settings(own.url)))
        two = await stack.enter_async_context(serving(tmp_path, settings(own.url), clock=one.clock))
        await one.register()
        tokens = await one.login()
        one.clock.advance(60)
        answers = await asyncio.gather(
            *(
                s.client.post("/jwt/refresh", content=tokens["refresh_token"])
                for s in [one, two] * 50
            )
        )
        assert {200} == {answer.status_code for answer in answers}
        assert 1 == len({answer.json()["refresh_token"] for answer in answers})
        assert (204, None) == await answered(two.post("/auth/logout", token=tokens["access_token"]))
        assert ENDED == await refresh(one, tokens)


async def test_a_thousand_refresh_at_once(redis: RedisServer, tmp_path: Path) -> None:
    """They are one family, with one answer to all: no theft, and no error (K-10)."""
    patient = settings(redis.url, "patience_ms = 5000\n")
    async with serving(tmp_path, patient) as server:
        await server.register()
        await many_at_once(server, (await server.login())["refresh_token"], 1000)


def test_a_thousand_refresh_in_two_processes(redis: RedisServer, tmp_path: Path) -> None:
    """The same, with five hundred in each."""
    two = Two()
    try:
        patient = settings(redis.url, "patience_ms = 5000\n")
        two.both("start", folder=str(tmp_path), now=NOW, settings=patient)
        assert {"registered": 1} == two.first.do("register", names=["ann"])
        refresh_in_both(two)
        two.both("stop")
    finally:
        two.end()


async def test_dump_logs_nobody_in(server: Server, own: RedisServer) -> None:
    """Nothing in Redis is, or holds, what a client was handed (S-2)."""
    tokens, kept = await server.login(), await cookie(server)
    secret = kept["Cookie"].partition(".")[2]
    dump = b"".join(
        own.ask("DUMP", key.decode())
        for key in own.ask("KEYS", "*").split(b"\r\n")
        if key.startswith(b"picoauth:")
    )
    handed = [secret, *(str(value) for value in tokens.values() if len(str(value)) > 20)]
    assert 3 == len(handed)
    assert [] == [value for value in handed if value.encode() in dump]


async def test_keys_and_their_ends(server: Server, own: RedisServer) -> None:
    """Every key begins with the prefix and ends by itself, with the session at the latest."""
    await server.login()
    names = [key.decode() for key in own.ask("KEYS", "*").split() if b":" in key]
    kinds = sorted(name.split(":")[1] for name in names)
    assert ["session", "user"] == kinds
    for name in names:
        life = int(own.ask("TTL", name)[1:])
        most = 14 * 86400 if ":session:" in name else 90 * 86400
        assert most - 60 < life <= most


async def test_wrong_password(tmp_path: Path) -> None:
    """A server that wants another password stops the start; the right one, from a file, works."""
    with redis_server(tmp_path / "redis", "--requirepass", "the right one") as own:
        for url in (own.url, own.url.replace("//", "//:wrong@")):
            with pytest.raises(ConfigError) as caught:
                async with serving(tmp_path, settings(url)):
                    pass
            expected = (
                "session-redis: the server does not take the user name or password of `url`: "
                "write them as redis://USER:PASSWORD@HOST."
            )
            assert expected == str(caught.value)
        (tmp_path / "url").write_text(own.url.replace("//", "//:the%20right%20one@"))
        by_file = settings("").replace('url = ""', 'url = { file = "url" }')
        async with serving(tmp_path, by_file) as server:
            await server.register()
            await server.login()


async def test_start_without_redis(
    own: RedisServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A server starts while Redis is down, says so, and works once it is back."""
    own.kill()
    async with serving(tmp_path, settings(own.url)) as server:
        assert [
            "sessions cannot be reached, which are tried again and again: Redis: ConnectionError"
        ] == [r.getMessage() for r in caplog.records if r.name == "picoauth.session_redis"]
        await server.register()
        assert DOWN == await login(server)
        own.start()
        await server.login()


async def test_unix_socket(tmp_path: Path) -> None:
    """`unix://` is a socket."""
    with TemporaryDirectory(prefix="pa", dir="/tmp") as short:  # as unix sockets need
        path = f"{short}/redis.sock"
        with redis_server(tmp_path / "redis", "--unixsocket", path):
            async with serving(tmp_path, settings(f"unix://{path}")) as server:
                await server.register()
                await server.login()


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1",
        "redis",
        "redis+other://127.0.0.1",
        "unix+cluster:///tmp/x",
        "redis+cluster://",
        "redis+sentinel://127.0.0.1:1",
        "redis+sentinel://127.0.0.1:x/main",
        "redis://127.0.0.1:x",
        "redis://127.0.0.1?socket_timeout=x",
    ],
)
def test_address_that_is_none(url: str) -> None:
    """An address that means nothing stops the start, and is not repeated."""
    with pytest.raises(ConfigError) as caught:
        client(url, 1, 1)
    assert FORMS == str(caught.value)


@pytest.mark.parametrize("prefix", ["{a}", "a b", "ü", "a*"])
def test_prefix_that_is_none(tmp_path: Path, prefix: str) -> None:
    """A prefix that would gather a cluster's keys, or match others' keys, is refused."""
    config = parse(settings("redis://127.0.0.1", f'prefix = "{prefix}"\n'), tmp_path)
    with pytest.raises(ConfigError) as caught:
        Auth(config)
    expected = (
        "[session-redis].prefix: must be letters, digits and signs "
        "without braces, spaces or wildcards."
    )
    assert expected == str(caught.value)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("valkey://:pw@one:7000/3", {"host": "one", "port": 7000, "db": 3, "password": "pw"}),
        ("rediss://u:p@one", {"host": "one", "username": "u", "password": "p"}),
    ],
)
def test_one_server(url: str, expected: dict[str, Any]) -> None:
    """Valkey's schemes mean the same as those of Redis; a second s means TLS."""
    pool: Any = client(url, 1, 1)
    pool = pool.connection_pool
    assert expected == {name: pool.connection_kwargs[name] for name in expected}
    assert ("rediss" in url) == ("SSL" in pool.connection_class.__name__)


def test_many_servers() -> None:
    """What stands before the hosts and after them holds for each of them."""
    made: Any = client("rediss+cluster://u:p@one:7000,two/?ssl_cert_reqs=none", 5, 1)
    assert [("one", 7000), ("two", 6379)] == [
        (node.host, node.port) for node in made.nodes_manager.startup_nodes.values()
    ]
    known = made.connection_kwargs
    assert ("u", "p", "none") == (known["username"], known["password"], known["ssl_cert_reqs"])
    made = client("rediss+sentinel://u:p@one,two:9/main/2?sentinel_password=s", 5, 1)
    pool = made.connection_pool
    assert ("main", 2, "u", "p") == (
        pool.service_name,
        *(pool.connection_kwargs[name] for name in ("db", "username", "password")),
    )
    assert "SSL" in pool.connection_class.__name__
    sentinels = [each.connection_pool.connection_kwargs for each in pool.sentinel_manager.sentinels]
    assert [("one", 26379, "s"), ("two", 9, "s")] == [
        (each["host"], each["port"], each["password"]) for each in sentinels
    ]


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still."""
    return Clock()


@pytest.fixture
async def keeper(redis: RedisServer, clock: Clock) -> AsyncIterator[RedisKeeper]:
    """A keeper on the shared server."""
    made = keeping(redis, clock)
    yield made
    await close(made.client)


def keeping(redis: RedisServer, clock: Clock, prefix: str = "a:", places: int = 16) -> RedisKeeper:
    return RedisKeeper(
        client(redis.url, places, 5),
        prefix=prefix,
        places=places,
        patience=10,
        now=lambda: int(clock()),
    )


def session(clock: Clock, name: str = "one", user_id: str = "ann", **more: Any) -> Session:
    now = int(clock())
    members: dict[str, Any] = {
        "epoch": 0,
        "generation": 0,
        "created_at": now,
        "rotated_at": now,
        "idle_at": now + 1000,
        "expires_at": now + 2000,
        "auth_time": now,
        "second_at": None,
        "amr": ("pwd",),
        "cookie": b"\x00\xff",
    }
    return Session(id=name, user_id=user_id, **{**members, **more})


async def test_prefixes_keep_servers_apart(redis: RedisServer, clock: Clock) -> None:
    """Two servers with prefixes of their own have nothing in common (S-8)."""
    one, two = keeping(redis, clock, "a:"), keeping(redis, clock, "b:")
    await one.put(session(clock))
    assert (None, []) == (await two.get("one"), list(await two.list("ann")))
    await two.remove("one", "ann")
    assert session(clock) == await one.get("one")
    for each in (one, two):
        await close(each.client)


async def test_removed_is_not_revived(keeper: RedisKeeper, clock: Clock) -> None:
    """A `put` that arrives after its own undoing comes too late."""
    await keeper.remove("one", "ann")
    with pytest.raises(Conflict):
        await keeper.put(session(clock))
    assert (None, []) == (await keeper.get("one"), list(await keeper.list("ann")))


async def test_list_forgets(keeper: RedisKeeper, redis: RedisServer, clock: Clock) -> None:
    """What ended by itself leaves the list of its user; what may be on its way stays in it."""
    await keeper.put(session(clock, "kept"))
    for name in ("ended", "coming"):
        clock.advance(LATE)
        await keeper.put(session(clock, name))
        redis.ask("DEL", keeper.key(name))
    assert ["kept"] == [one.id for one in await keeper.list("ann")]
    listed = redis.ask("ZRANGE", keeper.ids("ann"), "0", "-1")
    assert (True, True, False) == tuple(word in listed for word in (b"kept", b"coming", b"ended"))
    assert ["kept"] == [one.id for one in await keeper.list("ann")]


async def test_list_outlives_its_sessions(
    keeper: RedisKeeper, redis: RedisServer, clock: Clock
) -> None:
    """A shorter session does not shorten the life of the list that a longer one is in."""
    now = int(clock())
    await keeper.put(session(clock, "long", expires_at=now + 5000))
    await keeper.put(session(clock, "short", expires_at=now + 100))
    assert 4990 < int(redis.ask("TTL", keeper.ids("ann"))[1:]) <= 5000


async def test_other_versions(keeper: RedisKeeper, redis: RedisServer, clock: Clock) -> None:
    """A session that another version wrote is read, and can be changed."""
    one = session(clock)
    text = dump(one).decode().replace('{"id"', '{"new":1, "id"').replace(',"parent_id":null', "")
    redis.ask("SET", keeper.key("one"), text)
    assert one == await keeper.get("one") == load(text.encode())
    changed = replace(one, generation=1)
    await keeper.change(changed, one)
    assert changed == await keeper.get("one")
    with pytest.raises(Conflict):
        await keeper.change(one, one)


@pytest.mark.parametrize("value", ["x", "[]", "{}", '{"amr":["pwd"]}'])
async def test_what_is_no_session(
    keeper: RedisKeeper, redis: RedisServer, clock: Clock, value: str
) -> None:
    """A value that nobody can read is no session, and does not hide those beside it."""
    await keeper.put(session(clock))
    await keeper.put(session(clock, "odd"))
    redis.ask("SET", keeper.key("odd"), value)
    assert await keeper.get("odd") is None
    clock.advance(LATE)
    assert ["one"] == [one.id for one in await keeper.list("ann")]
    redis.ask("SET", keeper.key("odd"), dump(session(clock, "odd")).decode())
    assert {"one", "odd"} == {one.id for one in await keeper.list("ann")}


async def test_list_that_was_lost(keeper: RedisKeeper, redis: RedisServer, clock: Clock) -> None:
    """A session that is used comes onto the list again, so that it is ended with all others."""
    one = session(clock)
    await keeper.put(one)
    redis.ask("DEL", keeper.ids("ann"))
    assert [] == list(await keeper.list("ann"))
    changed = replace(one, generation=1)
    await keeper.change(changed, one)
    assert [changed] == list(await keeper.list("ann"))


async def test_policy(tmp_path: Path) -> None:
    """The doctor says that a server throws away what ends sessions, unless it tells nobody."""
    limits = ("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
    with redis_server(tmp_path / "redis", *limits) as own:
        async with serving(tmp_path, settings(own.url)) as server:
            [check] = [one for one in server.auth.checks if one.name == "session-redis-eviction"]
            assert (
                "Redis throws keys away where memory is short (maxmemory-policy allkeys-lru), the "
                "list of a user's sessions too, and then “log out everywhere” misses some: "
                "set noeviction."
            ) == await check.run()
            own.ask("CONFIG", "SET", "maxmemory", "0")
            assert await check.run() is None
            own.ask("CONFIG", "SET", "maxmemory", "100mb")
            own.ask("ACL", "SETUSER", "default", "-info")
            assert await check.run() is None


async def test_broken_connections(keeper: RedisKeeper, redis: RedisServer, clock: Clock) -> None:
    """Connections that the server closed cost nobody an answer."""
    await keeper.put(session(clock))
    await asyncio.gather(*(keeper.get("one") for _ in range(16)))
    redis.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    found = await asyncio.gather(*(keeper.get("one") for _ in range(16)))
    assert [session(clock)] * 16 == found
    redis.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    await asyncio.gather(*(keeper.put(session(clock, f"n{n}")) for n in range(16)))
    assert 17 == len(await keeper.list("ann"))


@pytest.mark.parametrize("mine", [True, False])
async def test_connection_that_breaks_before_its_answer(
    keeper: RedisKeeper, clock: Clock, monkeypatch: pytest.MonkeyPatch, *, mine: bool
) -> None:
    """What was put is seen to be there; what somebody else put is a conflict as ever."""
    if not mine:
        await keeper.put(session(clock, user_id="bob"))
    do = keeper.do

    async def breaking(*command: Any) -> Any:
        found = await do(*command)
        if command[0] == "set":
            monkeypatch.setattr(keeper, "do", do)
            raise Broken
        return found

    monkeypatch.setattr(keeper, "do", breaking)
    if mine:
        await keeper.put(session(clock))
    else:
        with pytest.raises(Conflict):
            await keeper.put(session(clock))
    assert ("ann" if mine else "bob") == (await keeper.get("one")).user_id


async def test_places(redis: RedisServer, clock: Clock) -> None:
    """However many ask, no more connections are made than there are places, and all are answered."""
    keeper = keeping(redis, clock, places=3)
    await keeper.put(session(clock))
    found = await asyncio.gather(*(keeper.get("one") for _ in range(300)))
    assert [session(clock)] * 300 == found
    pool: Any = keeper.client
    assert len(pool.connection_pool._available_connections) <= 3
    await close(keeper.client)


async def test_crowd_in_front_of_a_hanging_server(own: RedisServer, clock: Clock) -> None:
    """Whoever waits for a place hears with the first ones that the server does not answer."""
    keeper = keeping(own, clock, places=2)
    keeper.patience = 0.05
    await keeper.put(session(clock))
    own.signal(signal.SIGSTOP)
    found = await asyncio.gather(*(keeper.get("one") for _ in range(100)), return_exceptions=True)
    words = [str(one) for one in found if isinstance(one, Unavailable)]
    assert 100 == len(words)
    assert {
        "Redis did not answer within 0.05 s": 2,
        "Redis did not answer others just now": 98,
    } == Counter(words)
    own.signal(signal.SIGCONT)
    eventually(lambda: own.ask("PING") == b"+PONG\r\n")
    assert session(clock) == await keeper.get("one")
    await close(keeper.client)


async def test_busy_process(keeper: RedisKeeper, clock: Clock) -> None:
    """A process that is busy for longer than Redis may take does not take it for Redis' fault."""
    await keeper.put(session(clock))
    keeper.patience = 0.05

    async def busy() -> None:
        for _ in range(2):
            time.sleep(0.1)  # noqa: ASYNC251 - as a thousand requests at once would
            await asyncio.sleep(0)

    found, _ = await asyncio.gather(keeper.get("one"), busy())
    assert session(clock) == found


REQUESTS = 100_000
USERS = 50


async def test_nobody_gets_the_answer_of_another(redis: RedisServer, clock: Clock) -> None:
    """Of 100,000 requests, many given up at a random moment, each is answered with its own session."""
    keeper = keeping(redis, clock, places=8)
    for number in range(USERS):
        await keeper.put(session(clock, f"s{number}", f"u{number}"))
    dice = random.Random(4)  # noqa: S311 - so that a failure comes again
    wrong: list[tuple[str, Any]] = []
    counts = {"answered": 0, "given up": 0}

    async def ask(number: int) -> None:
        name, user_id = f"s{number}", f"u{number}"
        found = [await keeper.get(name)] if number % 5 else list(await keeper.list(user_id))
        counts["answered"] += 1
        if [name] != [one.id for one in found if one]:
            wrong.append((name, found))

    async def client_of(requests: int) -> None:
        for _ in range(requests):
            task = asyncio.ensure_future(ask(dice.randrange(USERS)))
            if dice.random() < 0.2:
                for _ in range(dice.randrange(6)):
                    await asyncio.sleep(0)
                counts["given up"] += task.cancel()
            await asyncio.wait([task])

    await asyncio.gather(*(client_of(REQUESTS // 20) for _ in range(20)))
    assert [] == wrong
    assert counts["given up"] > REQUESTS // 20
    assert counts["answered"] > REQUESTS // 2
    await close(keeper.client)


async def test_failover(tmp_path: Path, clock: Clock) -> None:
    """When the master dies, the sentinel's choice takes over, by the same address."""
    with watched_servers(tmp_path / "watched") as (master, replica, sentinel):
        url = f"redis+sentinel://127.0.0.1:{sentinel.port}/main"
        keeper = RedisKeeper(
            client(url, 4, 0.3), prefix="a:", places=4, patience=0.3, now=lambda: int(clock())
        )
        one = session(clock)
        await keeper.put(one)
        eventually(lambda: b"one" in replica.ask("KEYS", "*"))
        master.kill()
        with pytest.raises(Unavailable):
            await keeper.change(replace(one, generation=1), one)
        eventually(lambda: b"role:master" in replica.ask("INFO", "replication"))
        end = time.monotonic() + 30
        while True:
            try:
                await keeper.change(replace(one, generation=1), one)
                break
            except Unavailable:
                assert time.monotonic() < end
                await asyncio.sleep(0.01)
        assert replace(one, generation=1) == await keeper.get("one")
        await close(keeper.client)


async def test_tls(tmp_path: Path) -> None:
    """`rediss://` is TLS, by the authority that the address names, and by no other."""
    self_signed(tmp_path, "127.0.0.1")
    tls = [
        *(
            "--tls-cert-file",
            str(tmp_path / "cert.pem"),
            "--tls-key-file",
            str(tmp_path / "key.pem"),
        ),
        *("--tls-ca-cert-file", str(tmp_path / "cert.pem"), "--tls-auth-clients", "no"),
    ]
    port = free_port()
    with redis_server(tmp_path / "redis", "--tls-port", str(port), *tls):
        url = f"rediss://127.0.0.1:{port}"
        async with serving(tmp_path, settings(f"{url}?ssl_ca_certs={tmp_path}/cert.pem")) as server:
            await server.register()
            await server.login()
        async with serving(tmp_path, settings(url), clock=server.clock) as server:
            assert DOWN == await login(server)


@pytest.mark.parametrize("prefix", ["picoauth:", "a/b-c_1."])
def test_prefixes(prefix: str) -> None:
    """Letters, digits and signs that mean nothing to Redis are a prefix."""
    check_prefix(prefix)
