"""What picoauth-verify costs an application: a token seen first, and one that comes again.

CPU of the checking thread per check, the least of ten interleaved runs, beside the bare check of
the same signatures by `cryptography`, with a key that is loaded and signatures that are decoded;
for each algorithm against a server of its own on a unix socket. Tokens are signed with the
server's key, ahead of the time that is measured; a thousand of them in rotation come again.
The thread that follows the server runs meanwhile, as it does in an application.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from measure import PICOAUTH, Figure, Server, folder, main, person, register, settled

from picoauth.auth import Auth
from picoauth.config import load
from picoauth_verify import Verifier
from picoauth_verify.jose import Public

RUNS, FIRST, ROTATING, AGAIN = 10, 300, 1000, 20_000
HASHES = {"ES256": hashes.SHA256(), "ES512": hashes.SHA512(), "EdDSA": hashes.SHA512()}


def work(quick: bool) -> Sequence[Figure]:  # noqa: FBT001 - what the command line says
    found: list[Figure] = []
    for algorithm in HASHES:
        with folder() as path, serving(path, algorithm) as server:
            register(server, ["ann"])
            found += compared(server, path, algorithm, 3 if quick else RUNS)
    return found


@contextmanager
def serving(path: Path, algorithm: str) -> Iterator[Server]:
    address = settled(path)
    with (path / "picoauth.toml").open("a") as settings:
        settings.write(f'[tokens]\nalgorithm = "{algorithm}"\n')
    server = Server([str(PICOAUTH), "serve"], path, address)
    try:
        server.ready()
        yield server
    finally:
        server.stop()


def compared(server: Server, path: Path, algorithm: str, runs: int) -> Sequence[Figure]:
    tokens = signed(server, path, ROTATING + runs * FIRST)
    rotating, new = tokens[:ROTATING], tokens[ROTATING:]
    with Verifier(server.address, url=server.unix) as verifier:
        public = verifier.check(rotating[0]).key.public
        parts = [split(token, algorithm) for token in new]
        for token in rotating:
            verifier.check(token)
        bare, first, again = [], [], []
        for run in range(runs):
            part = slice(run * FIRST, (run + 1) * FIRST)
            bare.append(per_call(lambda one: verify(public, algorithm, *one), parts[part]))
            again.append(per_call(verifier.check, rotating * (AGAIN // ROTATING)))
            first.append(per_call(verifier.check, new[part]))
            for token in rotating:
                verifier.check(token)
    return [
        Figure(f"{algorithm}, bare signature check", min(bare), "µs"),
        Figure(f"{algorithm}, a token seen first", min(first), "µs"),
        Figure("  by the bare check", min(first) / min(bare), most=2),
        Figure(f"{algorithm}, the same again", min(again), "µs"),
        Figure("  faster than at first", min(first) / min(again), least=10),
    ]


def signed(server: Server, path: Path, count: int) -> Sequence[str]:
    """Tokens of one session, each its own, signed with the server's key."""
    client = server.client()
    payload = client.ask("POST", "/auth/login", person("ann"))["access_token"].split(".")[1]
    client.close()
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))

    async def made() -> Sequence[str]:
        auth = Auth(load(path / "picoauth.toml"))
        async with auth.started():
            return [auth.tokens.access(claims) for _ in range(count)]

    return asyncio.run(made())


def split(token: str, algorithm: str) -> tuple[bytes, bytes]:
    """The signature, as OpenSSL takes it, and what it signs."""
    text, _, last = token.rpartition(".")
    signature = base64.urlsafe_b64decode(last + "==")
    if algorithm != "EdDSA":
        half = len(signature) // 2
        numbers = (int.from_bytes(part, "big") for part in (signature[:half], signature[half:]))
        signature = encode_dss_signature(*numbers)
    return signature, text.encode()


def verify(public: Public, algorithm: str, signature: bytes, text: bytes) -> None:
    if isinstance(public, Ed25519PublicKey):
        public.verify(signature, text)
    else:
        public.verify(signature, text, ec.ECDSA(HASHES[algorithm]))


def per_call(call: Callable[[Any], object], arguments: Sequence[Any]) -> float:
    """Microseconds of this thread's CPU for each."""
    began = time.thread_time()
    for argument in arguments:
        call(argument)
    return (time.thread_time() - began) / len(arguments) * 1e6


if __name__ == "__main__":
    main(__doc__, work)
