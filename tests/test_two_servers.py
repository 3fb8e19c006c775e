"""Two server processes on one file: whatever comes to both at once, there is one truth."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from itertools import count, cycle
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest
import pytest_asyncio

from picoauth.testing.server import PASSWORD
from tests.factors import code_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

COMMAND = str(Path(sys.executable).with_name("picoauth"))
OTHER = "another horse battery staple"
MANY = 10
"""Requests at once: fewer than places in the queues of both hashers."""
SOON = 30
"""Seconds after which a test fails that waits for something."""

Client = httpx.AsyncClient


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    deadline = time.monotonic() + SOON
    while not await condition():
        assert time.monotonic() < deadline, "it took too long"
        await asyncio.sleep(0.02)


async def ready(client: Client) -> bool:
    try:
        return (await client.get("/health-check", params={"check": "ready"})).status_code == 200
    except httpx.TransportError:
        return False


def started(folder: Path, name: str) -> subprocess.Popen[bytes]:
    """A server process with a socket of its own, on the folder's database and secret."""
    settings = folder / f"{name}.toml"
    settings.write_text(
        f'plugins = ["password"]\nbind = ["unix:{name}.sock"]\n[throttle]\nfailures = 1000\n'
    )
    return subprocess.Popen([COMMAND, "--config", str(settings), "serve"], cwd=folder)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def servers() -> AsyncIterator[list[Client]]:
    """A client of each of two servers, which start at once on nothing."""
    with TemporaryDirectory(prefix="pa", dir="/tmp") as path:
        folder = Path(path)
        processes = [started(folder, name) for name in ("one", "two")]
        try:
            async with AsyncExitStack() as stack:
                clients = []
                for name in ("one", "two"):
                    transport = httpx.AsyncHTTPTransport(uds=str(folder / f"{name}.sock"))
                    client = Client(transport=transport, base_url="http://localhost", timeout=SOON)
                    clients.append(await stack.enter_async_context(client))
                for client in clients:
                    await until(lambda client=client: ready(client))  # type: ignore[misc]
                yield clients
        finally:
            for process in processes:
                process.terminate()
            assert [0, 0] == [process.wait(SOON) for process in processes]


NUMBERS = count()


@pytest_asyncio.fixture(loop_scope="module")
async def username(servers: Sequence[Client]) -> str:
    """A new user, whom either server knows."""
    name = f"ann{next(NUMBERS)}"
    answer = await servers[0].post("/auth/register", json={"username": name, "password": PASSWORD})
    assert 201 == answer.status_code
    return name


async def login(client: Client, username: str, password: str = PASSWORD) -> httpx.Response:
    return await client.post("/auth/login", json={"username": username, "password": password})


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def accepted(servers: Sequence[Client], tokens: Sequence[str]) -> list[int]:
    """How many of the tokens each server takes."""
    found = []
    for client in servers:
        asked = [await client.post("/jwt/validate", headers=bearer(token)) for token in tokens]
        codes = Counter(code_of(answer) for answer in asked)
        assert set(codes) <= {(200, None), (401, "session_ended")}
        found.append(codes[200, None])
    return found


async def until_accepted(servers: Sequence[Client], tokens: Sequence[str], expected: int) -> None:
    async def same() -> bool:
        return [expected] * 2 == await accepted(servers, tokens)

    await until(same)


async def logins_against(
    servers: Sequence[Client], username: str, method: str, path: str, body: dict[str, str] | None
) -> tuple[list[str], set[str | None]]:
    """Many logins at one server, and a change at the other: tokens, and codes of refusals."""
    here, there = servers
    own = (await login(there, username)).json()["access_token"]
    logins = [asyncio.create_task(login(here, username)) for _ in range(MANY)]
    await asyncio.wait(logins, return_when=asyncio.FIRST_COMPLETED)
    changed = await there.request(method, path, json=body, headers=bearer(own))
    assert changed.status_code < 300, changed.text
    answers = await asyncio.gather(*logins)
    tokens = [answer.json()["access_token"] for answer in answers if answer.status_code == 200]
    assert tokens
    return tokens, {code_of(answer)[1] for answer in answers} - {None}


async def test_one_name(servers: Sequence[Client]) -> None:
    """Three ways to write a name, at both servers at once, make one account (P-9)."""
    names = cycle(["Bob", "bob", "\uff42\uff4f\uff42"])
    bodies = [{"username": next(names), "password": PASSWORD} for _ in range(MANY)]
    attempts = zip(cycle(servers), bodies, strict=False)
    answers = await asyncio.gather(*(c.post("/auth/register", json=body) for c, body in attempts))
    expected = {(201, None): 1, (409, "username_taken"): MANY - 1}
    assert expected == Counter(code_of(answer) for answer in answers)
    assert {200} == {(await login(client, "BOB")).status_code for client in servers}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [("PUT", "/auth/password", {"password": OTHER}), ("DELETE", "/auth/me", None)],
    ids=["password", "delete"],
)
async def test_logins_against_a_change(
    servers: Sequence[Client], username: str, method: str, path: str, body: dict[str, str] | None
) -> None:
    """Whoever got a session by the old password had it before the change, which ended it."""
    tokens, codes = await logins_against(servers, username, method, path, body)
    assert codes <= {"start_over", "flow_ended", "invalid_credentials"}
    await until_accepted(servers, tokens, 0)
    for client in servers:
        assert (401, "invalid_credentials") == code_of(await login(client, username))


async def test_logins_against_the_end_of_all(servers: Sequence[Client], username: str) -> None:
    """The sessions that live are those whose tokens both servers take."""
    path = "/auth/logout_from_all"
    tokens, codes = await logins_against(servers, username, "POST", path, None)
    assert codes <= {"start_over"}
    mine = (await login(servers[1], username)).json()["access_token"]
    listed = (await servers[1].get("/auth/sessions", headers=bearer(mine))).json()["sessions"]
    await until_accepted(servers, [*tokens, mine], len(listed))


async def test_end_at_one_server_is_seen_by_the_other(
    servers: Sequence[Client], username: str
) -> None:
    """A session that ended at one server is refused by the other, and only that one."""
    here, there = servers
    tokens = [(await login(here, username)).json()["access_token"] for _ in range(2)]
    assert [2, 2] == await accepted(servers, tokens)
    assert 204 == (await there.post("/auth/logout", headers=bearer(tokens[0]))).status_code
    await until_accepted(servers, tokens[:1], 0)
    assert [1, 1] == await accepted(servers, tokens)
