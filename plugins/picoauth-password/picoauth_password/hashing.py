"""Argon2id keyed with a pepper, off the event loop, behind a bounded queue."""

from __future__ import annotations

import asyncio
import base64
import ctypes
import hmac
import os
import re
import sys
import threading
import unicodedata
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial

from picoauth import Unavailable

SALT, TAG = 16, 32
"""Bytes (RFC 9106, section 3.1)."""
MOST_KIB, MOST_PASSES, MOST_LANES = 4 * 1024 * 1024, 64, 16
NICE = 10
"""Lower than the event loop, so that a flood of logins does not delay checks of tokens."""

PHC = re.compile(
    r"\$argon2id\$v=19\$m=([1-9]\d{0,6}),t=([1-9]\d?),p=([1-9]\d?)"
    r"\$([A-Za-z0-9+/]{22})\$([A-Za-z0-9+/]{43})"
)


class WrongPassword(Exception):
    """The password is not the one that was hashed."""


class MalformedHash(Exception):
    """A stored hash is not one of ours: the database was altered."""


class MissingPepper(Exception):
    """A hash was keyed with a secret that the settings no longer list."""


@dataclass(frozen=True)
class Cost:
    """Argon2id parameters; memory in KiB."""

    memory_kib: int = 19456
    iterations: int = 2
    parallelism: int = 1

    def problem(self) -> str | None:
        """A sentence where this is below OWASP's minimum, or beyond what a server can mean."""
        least = {1: 47104, 2: 19456}.get(self.iterations, 12288)
        if not (1 <= self.iterations <= MOST_PASSES and 1 <= self.parallelism <= MOST_LANES):
            return "iterations must be 1 to 64, and parallelism 1 to 16"
        if not least <= self.memory_kib <= MOST_KIB:
            return (
                f"memory_kib must be {least} to 4194304 with {self.iterations} iterations "
                "(OWASP's minimum is 47104 with 1, 19456 with 2, 12288 with 3 or more)"
            )
        return None


@dataclass(frozen=True)
class Stored:
    """A hash in PHC format, and the id of the pepper that keyed it, which PHC has no place for."""

    hash: str
    pepper_id: str


class Hasher:
    """Hashes and verifies with so many threads, and so many waiting for each.

    `peppers` are 32 bytes by id, newest first: the first one keys new hashes. A full queue
    is Unavailable at once: hashing must not eat more memory than threads x cost.
    """

    def __init__(
        self,
        peppers: Mapping[str, bytes],
        cost: Cost,
        *,
        random: Callable[[int], bytes] = os.urandom,
        workers: int | None = None,
        queue: int = 8,
    ) -> None:
        self.peppers = peppers
        self.cost = cost
        self.random = random
        self.workers = workers or len(os.sched_getaffinity(0))
        self.free = threading.BoundedSemaphore(self.workers * (1 + queue))

    @cached_property
    def pool(self) -> ThreadPoolExecutor:
        return_memory()
        return ThreadPoolExecutor(self.workers, "picoauth-argon2", initializer=lower_priority)

    async def hash(self, password: str) -> Stored:
        """Raises Unavailable where too many wait already."""
        pepper_id, pepper = next(iter(self.peppers.items()))
        salt = self.random(SALT)
        tag = await self.run(partial(argon2id, normal(password), salt, pepper, self.cost))
        return Stored(written(self.cost, salt, tag), pepper_id)

    async def verify(self, stored: Stored | None, password: str) -> None:
        """Raises WrongPassword, and Unavailable where too many wait already.

        Without a `stored` hash the same work is done with the current cost, so that time does
        not tell whether there is an account (P-8).
        """
        if stored is None:
            await self.hash(password)
            raise WrongPassword
        cost, salt, expected = read(stored.hash)
        pepper = self.peppers.get(stored.pepper_id)
        if pepper is None:
            raise MissingPepper(stored.pepper_id)
        tag = await self.run(partial(argon2id, normal(password), salt, pepper, cost))
        if not hmac.compare_digest(tag, expected):
            raise WrongPassword

    def outdated(self, stored: Stored) -> bool:
        """Whether cost or pepper moved on since: then the next login hashes anew."""
        return read(stored.hash)[0] != self.cost or stored.pepper_id != next(iter(self.peppers))

    async def run(self, work: Callable[[], bytes]) -> bytes:
        if not self.free.acquire(blocking=False):
            raise Unavailable("too many passwords wait to be hashed")
        try:
            future = self.pool.submit(work)
        except BaseException:
            self.free.release()
            raise
        future.add_done_callback(self.done)
        return await asyncio.wrap_future(future)

    def done(self, _: Future[bytes]) -> None:
        """A place is free when its work ends, or was cancelled before it began."""
        self.free.release()

    def close(self) -> None:
        if "pool" in vars(self):
            self.pool.shutdown(cancel_futures=True)


def argon2id(password: bytes, salt: bytes, pepper: bytes, cost: Cost, data: bytes = b"") -> bytes:
    """Argon2id with Argon2's own secret input (RFC 9106, section 3.1): no hash without the pepper.

    argon2-cffi has it only in its low-level API.
    """
    from argon2.low_level import ARGON2_VERSION, Type, core, error_to_str, ffi, lib  # noqa: PLC0415

    def buffer(value: bytes) -> object:
        return ffi.from_buffer("uint8_t[]", bytearray(value)) if value else ffi.NULL

    out = ffi.new("uint8_t[]", TAG)
    parts = [buffer(part) for part in (password, salt, pepper, data)]  # alive until core is done
    context = ffi.new(
        "argon2_context *",
        {
            "version": ARGON2_VERSION,
            "out": out,
            "outlen": TAG,
            "pwd": parts[0],
            "pwdlen": len(password),
            "salt": parts[1],
            "saltlen": len(salt),
            "secret": parts[2],
            "secretlen": len(pepper),
            "ad": parts[3],
            "adlen": len(data),
            "t_cost": cost.iterations,
            "m_cost": cost.memory_kib,
            "lanes": cost.parallelism,
            "threads": cost.parallelism,
            "allocate_cbk": ffi.NULL,
            "free_cbk": ffi.NULL,
            "flags": lib.ARGON2_DEFAULT_FLAGS,
        },
    )
    result = core(context, Type.ID.value)
    if result != lib.ARGON2_OK:
        raise Unavailable(f"Argon2 answers: {error_to_str(result)}")
    return bytes(ffi.buffer(out, TAG))


def normal(password: str) -> bytes:
    """One form at set and verify: spaces are U+0020, then NFC (RFC 8265, OpaqueString).

    Keyboards differ in how they compose an accent. NFKC would also fold what people typed
    as different characters, and weaken the password. Nothing is trimmed, no case changed.
    """
    spaces = "".join(" " if unicodedata.category(c) == "Zs" else c for c in password)
    return unicodedata.normalize("NFC", spaces).encode()


def written(cost: Cost, salt: bytes, tag: bytes) -> str:
    parameters = f"m={cost.memory_kib},t={cost.iterations},p={cost.parallelism}"
    return f"$argon2id$v=19${parameters}${base64_text(salt)}${base64_text(tag)}"


def read(text: str) -> tuple[Cost, bytes, bytes]:
    """Read a PHC string of ours. Raises MalformedHash, also for a cost nobody would set."""
    match = PHC.fullmatch(text)
    if match is None:
        raise MalformedHash
    cost = Cost(*map(int, match.group(1, 2, 3)))
    salt, tag = base64.b64decode(f"{match[4]}=="), base64.b64decode(f"{match[5]}=")
    if written(cost, salt, tag) != text or cost.memory_kib > MOST_KIB:
        raise MalformedHash
    return cost, salt, tag


def base64_text(value: bytes) -> str:
    return base64.b64encode(value).rstrip(b"=").decode()


def lower_priority() -> None:
    """Linux has a nice value per thread."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


def return_memory() -> None:
    """Have glibc give a hash's memory back when it ends: its arenas would keep it for ever."""
    m_mmap_threshold = -3
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(m_mmap_threshold, 1024 * 1024)
