"""Limits by address: who counts as one, what is counted, and how little room it takes."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from picoauth import Attempt, Auth, AuthError, ConfigError, Limiter, Row, Statement
from picoauth.testing import PASSWORD, Clock, Server, serving
from picoauth.testing.contracts import LimiterContract
from picoauth_ratelimit import RateLimitPlugin, RateLimitSettings
from picoauth_ratelimit.limiter import AddressLimiter, source
from picoauth_ratelimit.settings import Rate, rate
from picoauth_ratelimit.sketch import ROWS, WIDTH, Sketch

LOGIN = {"username": "ann", "password": "wrong wrong wrong"}


class TestRateLimit(LimiterContract):
    """What holds for every limiter holds by account, and outlives the process."""

    @pytest.fixture
    def limiter(self, auth: Auth) -> Limiter:
        return made(auth)

    def restarted(self, auth: Auth, limiter: Limiter) -> Limiter:
        return made(auth)


def made(auth: Auth, **settings: Any) -> AddressLimiter:
    return AddressLimiter(auth.default_limiter, RateLimitSettings(**settings), auth.jobs.monotonic)


class Inner:
    """A limiter by account that never says no."""

    async def attempt(self, attempt: Attempt, *look: Statement) -> list[list[Row]]:
        return []


def alone(clock: Clock, **settings: Any) -> AddressLimiter:
    inner: Any = Inner()
    return AddressLimiter(inner, RateLimitSettings(**settings), clock)


async def wait(limiter: AddressLimiter, address: str | None, route: str = "/auth/login") -> int:
    try:
        await limiter.attempt(Attempt(route, address))
    except AuthError as refusal:
        return int(refusal.headers["Retry-After"])
    return 0


async def waits(limiter: AddressLimiter, address: str | None, times: int, **more: str) -> list[int]:
    return [await wait(limiter, address, **more) for _ in range(times)]


async def test_hook_limiter_of_the_plugin(tmp_path: Path) -> None:
    """A 429 over HTTP, with the kernel's code; another address goes on, a good password too."""
    settings = (
        'plugins = ["password", "ratelimit"]\ntrusted_proxies = ["127.0.0.1"]\n'
        '[throttle]\nfailures = 1000\n[ratelimit]\nlogin = "3/1m"\nregister = "1/1h"'
    )
    async with serving(tmp_path, settings) as server:
        await server.register("ann")
        answers = [await said(server, "192.0.2.1") for _ in range(5)]
        assert [answer.status_code for answer in answers] == [401, 401, 401, 429, 429]
        assert answers[3].json()["code"] == "too_many_attempts"
        assert answers[3].headers["Retry-After"] == str(answers[3].json()["retry_after"]) == "20"
        assert (await said(server, "192.0.2.2", password=PASSWORD)).status_code == 200
        assert (await said(server, "192.0.2.1", password=PASSWORD)).status_code == 429
        server.clock.advance(20)
        assert (await said(server, "192.0.2.1", password=PASSWORD)).status_code == 200
        body = {"username": "bob", "password": PASSWORD}
        refused = await server.post("/auth/register", body)
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "3580")


async def said(server: Server, address: str, *, password: str = "") -> httpx.Response:
    headers = {"X-Forwarded-For": address}
    body = {**LOGIN, "password": password or LOGIN["password"]}
    return await server.client.post("/auth/login", json=body, headers=headers)


async def test_success_does_not_clear_the_address(tmp_path: Path) -> None:
    """Else an own account between two guesses would open the way to all others (A-4)."""
    settings = 'plugins = ["password", "ratelimit"]\n[ratelimit]\nlogin = "4/1m"\nroutes = { "/x" = "login" }'
    async with serving(tmp_path, settings) as server:
        await server.register("ann")
        bodies = [LOGIN, {**LOGIN, "password": PASSWORD}] * 2 + [LOGIN]
        found = [(await server.post("/auth/login", body)).status_code for body in bodies]
        assert found == [401, 200, 401, 200, 429]


@pytest.mark.parametrize("trusted", ["[]", '["192.0.2.77"]'])
async def test_spoofed_header(tmp_path: Path, trusted: str) -> None:
    """What a client itself writes into X-Forwarded-For is no new address (A-5)."""
    settings = (
        f'plugins = ["password", "ratelimit"]\ntrusted_proxies = {trusted}\n'
        '[ratelimit]\nlogin = "3/1m"'
    )
    async with serving(tmp_path, settings) as server:
        found = [await said(server, f"198.51.100.{n}") for n in range(5)]
        assert [answer.status_code for answer in found] == [401, 401, 401, 429, 429]


async def test_header_through_a_proxy(tmp_path: Path) -> None:
    """Of what a trusted proxy hands on, its own word counts, not the client's before it."""
    settings = (
        'plugins = ["password", "ratelimit"]\ntrusted_proxies = ["127.0.0.1"]\n'
        '[ratelimit]\nlogin = "3/1m"'
    )
    async with serving(tmp_path, settings) as server:
        found = [await said(server, f"198.51.100.{n}, 192.0.2.1") for n in range(5)]
        assert [answer.status_code for answer in found] == [401, 401, 401, 429, 429]


async def test_spellings_of_a_path(tmp_path: Path) -> None:
    """Another spelling is another route, or none, and no way around a limit (H-4)."""
    settings = 'plugins = ["password", "ratelimit"]\n[ratelimit]\nlogin = "1/1m"'
    async with serving(tmp_path, settings) as server:
        assert (await server.post("/auth/login", LOGIN)).status_code == 401
        for path in ("/auth/login", "/auth/%6Cogin", "/auth/login?x=y", "/auth/login/begin"):
            assert (await server.post(path, LOGIN)).status_code == 429, path
        for path in ("/auth/login/", "//auth/login", "/auth/LOGIN", "/auth/./login"):
            assert (await server.post(path, LOGIN)).status_code in (404, 429), path


async def test_two_hundred_at_once(tmp_path: Path) -> None:
    """Counted before anything is checked: no more pass than may."""
    settings = 'plugins = ["password", "ratelimit"]\n[ratelimit]\nregister = "5/1h"'
    async with serving(tmp_path, settings) as server:
        bodies = [{"username": f"user{n}", "password": PASSWORD} for n in range(200)]
        found = await asyncio.gather(*(server.post("/auth/register", body) for body in bodies))
        assert [answer.status_code for answer in found].count(429) == 195


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("2001:db8::1", "2001:0DB8:0:0::2", True),
    ],
)
def test_what_is_one_source(one: str, other: str, *, same: bool) -> None:
    """Of IPv6 the network of /64."""
    assert (source(one) == source(other)) is same


async def test_groups() -> None:
    """Each has its own count, and a route is in one group; settings may move it."""
    clock = Clock()
    limiter = alone(
        clock,
        login="1/1m",
        register="1/1m",
        reset="1/1m",
        codes="1/1m",
        admin="1/1m",
        routes={"/auth/email/verify/{token}": "reset"},
    )
    shared = [
        ["/auth/login", "/auth/login/begin", "/auth/stepup"],
        ["/auth/register", "/auth/passkey/register"],
        ["/auth/forgot_password/{token}", "/auth/email/verify/{token}"],
        ["/indieauth/token", "/indieauth/authorize"],
        ["/admin/users", "/admin/users/{id}"],
    ]
    for first, *others in shared:
        assert await wait(limiter, "192.0.2.1", first) == 0
        for other in others:
            assert await wait(limiter, "192.0.2.1", other) == 60
    assert set(await waits(limiter, "192.0.2.1", 50, route="/jwt/refresh")) == {0}


async def test_groups_that_are_off() -> None:
    """A group may be off, and every other route may have a limit."""
    limiter = alone(Clock(), login="off", other="2/1m")
    assert set(await waits(limiter, "192.0.2.1", 50)) == {0}
    assert await waits(limiter, "192.0.2.1", 3, route="/jwt/refresh") == [0, 0, 30]


async def test_exempt_addresses() -> None:
    """Networks without a limit, of both families."""
    limiter = alone(Clock(), login="1/1m", exempt=("10.0.0.0/8", "fd00::/8"))
    for address in ("10.1.2.3", "fd00::1"):
        assert set(await waits(limiter, address, 5)) == {0}
    for address in ("11.1.2.3", "2001:db8::1"):
        assert await waits(limiter, address, 2) == [0, 60]


async def test_unknown_address() -> None:
    """A unix socket has none: then the account's limit is all there is."""
    assert set(await waits(alone(Clock(), login="1/1m"), None, 5)) == {0}


async def test_spread_over_time() -> None:
    """So many at once, then one each time that their part of the span is over; no wait is prolonged."""
    clock = Clock()
    limiter = alone(clock, login="6/1m")
    assert await waits(limiter, "192.0.2.1", 9) == [0] * 6 + [10] * 3
    clock.advance(9)
    assert await waits(limiter, "192.0.2.1", 2) == [1, 1]
    clock.advance(1)
    assert await waits(limiter, "192.0.2.1", 2) == [0, 10]
    clock.advance(3600)
    assert await waits(limiter, "192.0.2.1", 7) == [0] * 6 + [10]


async def test_clock_that_goes_back() -> None:
    """It shuts nobody out for longer than the span, and opens nothing while it stands."""
    clock = Clock()
    limiter = alone(clock, login="6/1m")
    clock.advance(86400)
    assert await waits(limiter, "192.0.2.1", 7) == [0] * 6 + [10]
    clock.advance(-86400)
    assert await waits(limiter, "192.0.2.1", 7) == [0] * 6 + [10]
    clock.advance(86400 * 600)  # beyond what the cells can tell apart
    assert await waits(limiter, "192.0.2.1", 7) == [0] * 6 + [10]


def test_memory_is_bounded() -> None:
    """Any number of sources has the same cells; six groups have less than 16 MB (A-6)."""
    clock = Clock()
    sketch = Sketch(Rate(1, 60), clock)
    size = sketch.cells.nbytes
    for n in range(20_000):
        sketch.take(n.to_bytes(8, "big"))
    assert sketch.cells.nbytes == size == ROWS * WIDTH * 4
    assert 6 * size < 16_000_000


def test_full_table_coarsens(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many share its places, no source ever gets more than it may (A-6)."""
    monkeypatch.setattr("picoauth_ratelimit.sketch.WIDTH", 64)
    clock = Clock()
    sketch = Sketch(Rate(3, 60), clock)
    sources = [n.to_bytes(4, "big") for n in range(2000)]
    passed = dict.fromkeys(sources, 0)
    for _ in range(6):
        for each in sources:
            passed[each] += sketch.take(each) == 0
    assert max(passed.values()) <= 3
    assert sum(passed.values()) < 3 * 64 * ROWS
    clock.advance(60)
    assert sketch.take(b"a new one") == 0


def test_few_sources_do_not_disturb_each_other() -> None:
    """A thousand at their limits leave room for everybody else."""
    sketch = Sketch(Rate(10, 60), Clock())
    for n in range(1000):
        assert [sketch.take(n.to_bytes(4, "big")) for _ in range(10)] == [0] * 10
    assert [sketch.take(b"innocent") for _ in range(10)] == [0] * 10


@pytest.mark.parametrize("rate", [Rate(67, 1), Rate(4100, 60), Rate(150, 2), Rate(7, 60)])
def test_never_more_than_it_may(rate: Rate) -> None:
    """Where a rate is no whole number of ticks, it errs against the source (A-6)."""
    clock = Clock()
    sketch, passed, spans = Sketch(rate, clock), 0, 5
    for _ in range(spans * rate.seconds * 100):
        while sketch.take(b"x") == 0:
            passed += 1
        clock.advance(0.01)
    assert passed <= (spans + 1) * rate.count


@pytest.mark.parametrize("before", [1, 3600, 86_000])
def test_who_never_came_owes_nothing(before: float) -> None:
    """However long the process is up: not even shortly before its ticks begin anew."""
    clock = Clock()
    sketch = Sketch(Rate(1, 86_400), clock)
    for ticks in (1 << 31, 1 << 32):
        clock.time = sketch.start + ticks / 100 - before
        assert 0 == sketch.take(b"new %d" % ticks)


def test_debt_that_ends_where_ticks_begin() -> None:
    """Zero stands for a cell that was never used: a debt until then is one tick longer."""
    clock = Clock()
    sketch = Sketch(Rate(1, 60), clock)
    clock.time = sketch.start + (1 << 32) / 100 - 60
    assert [0, 60] == [round(sketch.take(b"x")) for _ in range(2)]


def test_places_are_keyed() -> None:
    """Two processes put a source into different places."""
    one, other = (Sketch(Rate(1, 1), Clock()) for _ in range(2))
    assert one.places(b"x") != other.places(b"x")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30/1m", Rate(30, 60)),
        ("30/m", Rate(30, 60)),
        ("1/7d", Rate(1, 604800)),
        ("100/1s", Rate(100, 1)),
        ("off", None),
    ],
)
def test_rates(text: str, expected: Rate | None) -> None:
    """As they are written."""
    assert rate(text) == expected


WANTED = 'must be a rate such as "30/1m", or "off".'
BOUNDS = "must be one at least, 100 a second and a span of 7 days at most."


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ('login = ""', f"[ratelimit].login: {WANTED}"),
        ('login = "30"', f"[ratelimit].login: {WANTED}"),
        ('login = "-1/m"', f"[ratelimit].login: {WANTED}"),
        ('register = "0/1m"', f"[ratelimit].register: {BOUNDS}"),
        ('reset = "101/1s"', f"[ratelimit].reset: {BOUNDS}"),
        ('admin = "1/8d"', f"[ratelimit].admin: {BOUNDS}"),
        (
            'exempt = ["10.0.0.1/8"]',
            '[ratelimit].exempt[0]: must be an address or a network, such as "10.0.0.0/8".',
        ),
        (
            'routes = { "/x" = "nothing" }',
            "[ratelimit].routes: must be paths with one of login, register, reset, codes, admin, other.",
        ),
        (
            'exempt = ["x"]',
            '[ratelimit].exempt[0]: must be an address or a network, such as "10.0.0.0/8".',
        ),
        (
            'routes = { "x" = "login" }',
            "[ratelimit].routes: must be paths with one of login, register, reset, codes, admin, other.",
        ),
    ],
)
async def test_settings_that_cannot_be(tmp_path: Path, line: str, sentence: str) -> None:
    """One sentence each."""
    with pytest.raises(ConfigError, match=f"^{re.escape(sentence)}$"):
        async with serving(tmp_path, f'plugins = ["ratelimit"]\n[ratelimit]\n{line}'):
            pass


@pytest.mark.parametrize(
    ("settings", "fine"),
    [
        ('bind = ["unix:x.sock"]', False),
        ('bind = ["unix:x.sock"]\ntrusted_proxies = ["unix"]', True),
        ('bind = ["tcp:127.0.0.1:8100"]', True),
    ],
)
async def test_doctor_on_unix_sockets(tmp_path: Path, settings: str, *, fine: bool) -> None:
    """Requests without addresses are told of, with the remedy."""
    async with serving(tmp_path, f'plugins = ["password", "ratelimit"]\n{settings}') as server:
        plugin = server.auth.plugin(RateLimitPlugin)
        expected = (
            "A request by the unix socket has no address, so it is limited by account alone: "
            'put "unix" into `trusted_proxies`, if a proxy that sets X-Forwarded-For is what '
            "connects there."
        )
        assert await plugin.addresses() == (None if fine else expected)
