"""What picoauth-verify costs an application: a token seen first, and one that comes again.

CPU of this process per check, the least of ten interleaved runs, beside the bare check of the
same signature by `cryptography` with a key that is loaded; for each algorithm, against a server
of its own on a unix socket. Tokens are signed with the server's key, ahead of the time that is
measured; a thousand in rotation come again. The thread that follows the server runs meanwhile,
as it does in an application.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from measure import Figure, folder, main, person, register, serving
from picoauth_verify import Verifier

from picoauth.auth import Auth
from picoauth.config import load

RUNS, FIRST, AGAIN = 10, 400, 20_000
ALGORITHMS = {"ES256": hashes.SHA256(), "ES512": hashes.SHA512(), "EdDSA": None}


def work(quick: bool) -> Sequence[Figure]:  # noqa: FBT001 - what the command line says
    runs = 3 if quick else RUNS
    return [figure for name in ALGORITHMS for figure in measured(name, runs)]


def measured(algorithm: str, runs: int) -> Sequence[Figure]:
    with folder() as path, serving(path) as server:
        issuer = server.address
    settings = path / "picoauth.toml"
    path.mkdir()
    settings.write_text(f'plugins = ["password"]\n')
    raise NotImplementedError(issuer, Callable, asyncio, base64, gc, time, ec, ed25519)
