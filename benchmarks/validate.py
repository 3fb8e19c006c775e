"""What a check of a token costs the server.

CPU of the server process (user and system, all threads, by its CPU clock) divided by the
requests, over 16 keep-alive connections on loopback; least of ten interleaved runs. Beside it
a bare Quart route and a bare ASGI route (bare.py) with as long an answer, on the same
hypercorn with the same settings. `/jwt/validate` is asked with 1,000 tokens in rotation, all
seen before, and with tokens that are new each time. Tokens are signed with the server's own
key, ahead of the time that is measured.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from client import Client, message
from measure import Figure, Server, folder, main, person, register, serving

from picoauth.auth import Auth
from picoauth.config import load

CONNECTIONS, RUNS, REQUESTS, ROTATING = 16, 10, 2000, 1000
BARE = Path(__file__).with_name("bare.py")


def work(quick: bool) -> Sequence[Figure]:  # noqa: FBT001 - what the command line says
    runs = 3 if quick else RUNS
    with folder() as path:
        for name in ("picoauth", "quart", "asgi"):
            (path / name).mkdir()
        quart, asgi = ([sys.executable, str(BARE), k, "{address}"] for k in ("quart", "asgi"))
        with (
            serving(path / "picoauth") as server,
            serving(path / "quart", quart) as bare_quart,
            serving(path / "asgi", asgi) as bare_asgi,
        ):
            register(server, ["ann"])
            raw = tokens(server, path / "picoauth", ROTATING + runs * REQUESTS)
            rotating, new = raw[:ROTATING], raw[ROTATING:]
            per_request(server, rotating)
            costs: dict[str, list[float]] = {n: [] for n in ("quart", "asgi", "seen", "new")}
            for run in range(runs):
                costs["quart"].append(per_request(bare_quart, rotating))
                costs["asgi"].append(per_request(bare_asgi, rotating))
                costs["seen"].append(per_request(server, rotating))
                fresh = new[run * REQUESTS : (run + 1) * REQUESTS]
                costs["new"].append(per_request(server, fresh))
    return figures({name: min(found) for name, found in costs.items()})


def figures(least: dict[str, float]) -> Sequence[Figure]:
    seen, new = least["seen"], least["new"]
    return [
        Figure("bare Quart route", least["quart"], "µs"),
        Figure("bare ASGI route", least["asgi"], "µs"),
        Figure("validate, 1,000 tokens in rotation", seen, "µs"),
        Figure("  by the Quart route", seen / least["quart"], most=0.6),
        Figure("  by the ASGI route", seen / least["asgi"], most=1.3),
        Figure("validate, each token new", new, "µs"),
        Figure("  by the Quart route", new / least["quart"]),
        Figure("  by the ASGI route", new / least["asgi"]),
    ]


def tokens(server: Server, path: Path, count: int) -> list[bytes]:
    """Requests with tokens of one session, each its own, signed with the server's key."""
    client = server.client()
    payload = client.ask("POST", "/auth/login", person("ann"))["access_token"].split(".")[1]
    client.close()
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))

    async def signed() -> list[str]:
        auth = Auth(load(path / "picoauth.toml"))
        async with auth.started():
            return [auth.tokens.access(claims) for _ in range(count)]

    return [message("POST", "/jwt/validate", token=token) for token in asyncio.run(signed())]


def per_request(server: Server, raw: Sequence[bytes]) -> float:
    """Microseconds of the server's CPU for each of `REQUESTS`."""
    clients = [Client(server.address) for _ in range(CONNECTIONS)]
    for client in clients:
        client.send(raw[0])
        assert client.receive().status == 200
    began = server.cpu()
    for start in range(0, REQUESTS, CONNECTIONS):
        for number, client in enumerate(clients, start):
            client.send(raw[number % len(raw)])
        for client in clients:
            answer = client.receive()
            assert answer.status == 200, answer
    spent = server.cpu() - began
    for client in clients:
        client.close()
    return spent / REQUESTS * 1e6


if __name__ == "__main__":
    main(__doc__, work)
