"""Argon2id keyed with a pepper, off the event loop, behind a bounded queue."""

from __future__ import annotations

import asyncio
import base64
import hmac
import os
import re
import secrets
import sys
import threading
import unicodedata
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from picoauth import Unavailable

SALT, TAG, PEPPER = 16, 32, 32
"""Bytes (RFC 9106, section 3.1)."""
MOST_KIB, MOST_PASSES, MOST_LANES = 4 * 1024 * 1024, 64, 16
NICE = 1
"""Lower than the event loop, so that a flood of logins does not delay checks of tokens.

And no lower: a thread whose hash is done takes the interpreter for a moment, and the loop waits
until it had a core for that, which at 10 other programs on the machine keep for 30 ms.
"""
M_MMAP_THRESHOLD = -3  # glibc's malloc.h

PHC = re.compile(
    r"(?a)\$argon2id\$v=19\$m=([1-9]\d{0,6}),t=([1-9]\d?),p=([1-9]\d?)"
    r"\$([A-Za-z0-9+/]{22})\$([A-Za-z0-9+/]{43})"
)
TO_SPACE = dict.fromkeys([0xA0, 0x1680, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000], " ")
"""Unicode's other spaces (Zs), spelt out: a newer Python must not change what a password is."""


class WrongPassword(Exception):
    """The password is not the one that was hashed."""


class MalformedHash(ValueError):
    """A stored hash is not one of ours: the database was altered."""


class MissingPepper(Unavailable):
    """A hash was keyed with a pepper that this process does not have.

    Another one, with a newer root secret, may have made it; or the settings no longer list it.
    It is so of some users alone: without a limit anybody could ask of whom.
    """

    counts = True

    def __init__(self) -> None:
        super().__init__(
            "a password hangs on a root secret that this process does not have: restart it, or "
            "list the secret again"
        )


@dataclass(frozen=True)
class Cost:
    """Argon2id parameters; memory in KiB."""

    memory_kib: int = 19456
    iterations: int = 2
    parallelism: int = 1

    @property
    def possible(self) -> bool:
        """Argon2's own least (RFC 9106, section 3.1), and the most that a server can mean."""
        return (
            1 <= self.iterations <= MOST_PASSES
            and 1 <= self.parallelism <= MOST_LANES
            and 8 * self.parallelism <= self.memory_kib <= MOST_KIB
        )

    def problem(self) -> str | None:
        """A sentence where this is below OWASP's minimum, or beyond what a server can mean."""
        least = {1: 47104, 2: 19456}.get(self.iterations, 12288)
        if self.possible and self.memory_kib >= least:
            return None
        return (
            "memory_kib must be at least 47104 with 1 iteration, 19456 with 2, 12288 with 3 or more "
            f"(OWASP), and at most {MOST_KIB}; iterations must be 1 to {MOST_PASSES}, "
            f"and parallelism 1 to {MOST_LANES}"
        )


@dataclass(frozen=True)
class Stored:
    """A hash in PHC format, and the id of the pepper that keyed it, which PHC has no place for."""

    hash: str
    pepper_id: str


class Hasher:
    """Hashes and verifies with so many threads, and so many waiting for each.

    `peppers` are 32 bytes by id, newest first: the first one keys new hashes. An empty one
    would leave hashes to be guessed by whoever reads the database: it is a ValueError.
    `queue` bounds what waits (`pending`): a flood gets Unavailable at once, and neither eats
    more memory than threads x cost nor makes others wait for long (P-7).
    """

    def __init__(
        self,
        peppers: Mapping[str, bytes],
        cost: Cost,
        *,
        random: Callable[[int], bytes] = secrets.token_bytes,
        workers: int | None = None,
        queue: int = 8,
    ) -> None:
        if not peppers or any(len(pepper) != PEPPER for pepper in peppers.values()):
            raise ValueError(f"there must be a pepper, and each must have {PEPPER} bytes")
        if not cost.possible:
            raise ValueError(f"Argon2 cannot run with {cost}")
        self.peppers, self.cost, self.random = dict(peppers), cost, random
        self.newest = next(iter(peppers))
        self.dummy = Stored(written(cost, bytes(SALT), bytes(TAG)), self.newest)
        workers = usable_cores() if workers is None else workers
        self.free, self.pending = threading.BoundedSemaphore(workers * (1 + queue)), set[int]()
        self.pool = ThreadPoolExecutor(workers, "picoauth-argon2", initializer=prepare)
        self.closed = False

    async def hash(self, password: str) -> Stored:
        """Raises Unavailable where too many wait, and ValueError for what is no password."""
        if not password:
            raise ValueError("an empty password is none")
        salt = self.random(SALT)
        tag = await self.run(partial(keyed, password, salt, self.peppers[self.newest], self.cost))
        return Stored(written(self.cost, salt, tag), self.newest)

    async def verify(self, stored: Stored | None, password: str) -> None:
        """Raises WrongPassword; Unavailable where too many wait; ValueError for a lone surrogate.

        Without a `stored` hash, or with an empty one, the same work is done with the current
        cost, so that time does not tell an attacker whether there is an account (P-8). Nothing
        matches such a hash, and an empty password matches nothing (P-12).
        MalformedHash and MissingPepper are an operator's to mend.
        """
        tried = stored if stored is not None and stored.hash else self.dummy
        cost, salt, expected = read(tried.hash)
        if (pepper := self.peppers.get(tried.pepper_id)) is None:
            raise MissingPepper
        tag = await self.run(partial(keyed, password, salt, pepper, cost))
        if not hmac.compare_digest(tag, expected) or tried is self.dummy or not password:
            raise WrongPassword

    def outdated(self, stored: Stored) -> bool:
        """Whether cost or pepper moved on since: then the next login hashes anew."""
        return read(stored.hash)[0] != self.cost or stored.pepper_id != self.newest

    async def run(self, work: Callable[[], bytes]) -> bytes:
        if not self.free.acquire(blocking=False):
            raise Unavailable("too many passwords wait to be hashed")
        self.pending.add(id(held := [work]))

        def leave(_: Future[bytes] | None = None) -> None:
            """The work ended, or was cancelled before it began: the pool may still queue it."""
            held.clear()
            self.pending.discard(id(held))
            self.free.release()

        try:
            future = self.pool.submit(self.perform, held)
        except (RuntimeError, MemoryError) as error:  # closed, or the system is out of threads
            leave()
            raise Unavailable("passwords cannot be hashed now") from error
        future.add_done_callback(leave)
        return await asyncio.wrap_future(future)

    def perform(self, held: list[Callable[[], bytes]]) -> bytes:
        if self.closed:
            raise Unavailable("the server stops")
        return held.pop()()

    def close(self) -> None:
        """Wait for what runs; what has not begun is Unavailable."""
        self.closed = True
        self.pool.shutdown()


def keyed(password: str, salt: bytes, pepper: bytes, cost: Cost) -> bytes:
    return argon2id(normal(password), salt, pepper, cost)


def argon2id(password: bytes, salt: bytes, pepper: bytes, cost: Cost, data: bytes = b"") -> bytes:
    """Argon2id with Argon2's own secret input (RFC 9106, section 3.1): no hash without the pepper.

    argon2-cffi has it only in its low-level API. Raises Unavailable where memory runs out.
    """
    from argon2.low_level import ARGON2_VERSION, Type, core, error_to_str, ffi  # noqa: PLC0415
    from argon2.low_level import lib  # type: ignore[attr-defined]  # noqa: PLC0415  # isort: skip

    values = {"out": bytes(TAG), "pwd": password, "salt": salt, "secret": pepper, "ad": data}
    # Copies, of which Argon2 wipes password and pepper: all have to live until core is done
    buffers = {name: ffi.from_buffer("uint8_t[]", bytearray(values[name])) for name in values}
    lengths = {f"{name}len": len(values[name]) for name in values}
    context = ffi.new("argon2_context *", {**buffers, **lengths})
    context.version = ARGON2_VERSION
    context.t_cost, context.m_cost = cost.iterations, cost.memory_kib
    context.lanes = context.threads = cost.parallelism
    context.flags = lib.ARGON2_FLAG_CLEAR_PASSWORD | lib.ARGON2_FLAG_CLEAR_SECRET
    result = core(context, Type.ID.value)
    if result != lib.ARGON2_OK:
        passing = result in {lib.ARGON2_MEMORY_ALLOCATION_ERROR, lib.ARGON2_THREAD_FAIL}
        raise (Unavailable if passing else ValueError)(f"Argon2 answers: {error_to_str(result)}")
    return bytes(ffi.buffer(buffers["out"]))


def normal(password: str) -> bytes:
    """One form at set and verify: every space is U+0020, then NFC (RFC 8265, section 4.2.2).

    Keyboards differ in how they compose an accent. NFKC would also fold what people typed
    as different characters, and weaken the password. Nothing is trimmed, no case changed.
    Raises ValueError for a lone surrogate.
    """
    if re.search(r"[\ud800-\udfff]", password):  # encode()'s error would hold the password
        raise ValueError("a password must not have lone surrogates")
    return unicodedata.normalize("NFC", password.translate(TO_SPACE)).encode()


def written(cost: Cost, salt: bytes, tag: bytes) -> str:
    parameters = f"m={cost.memory_kib},t={cost.iterations},p={cost.parallelism}"
    return f"$argon2id$v=19${parameters}${base64_text(salt)}${base64_text(tag)}"


def read(text: str) -> tuple[Cost, bytes, bytes]:
    """Read a PHC string of ours. Raises MalformedHash, also for a cost nobody would set."""
    if (match := PHC.fullmatch(text)) is None:
        raise MalformedHash("a stored hash is none that this server wrote")
    cost = Cost(*map(int, match.group(1, 2, 3)))
    salt, tag = base64.b64decode(f"{match[4]}=="), base64.b64decode(f"{match[5]}=")
    if not cost.possible or written(cost, salt, tag) != text:
        raise MalformedHash("a stored hash has a cost or a form that this server never writes")
    return cost, salt, tag


def base64_text(value: bytes) -> str:
    return base64.b64encode(value).rstrip(b"=").decode()


def usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def prepare() -> None:
    """Make a thread of the pool ready; an error here would break the pool for good.

    Memory: glibc gives that of a hash back when it ends; its arenas would keep it for ever.
    Priority: Linux has a nice value per thread; elsewhere it is the whole server's.
    """
    with suppress(ImportError, OSError, AttributeError, TypeError):
        import ctypes  # noqa: PLC0415 - for the first login

        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 1024 * 1024)
    if sys.platform == "linux":
        thread = (os.PRIO_PROCESS, threading.get_native_id())
        with suppress(OSError):
            os.setpriority(*thread, max(NICE, os.getpriority(*thread)))
