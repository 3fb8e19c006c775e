"""Tests of the hasher: Argon2, stored forms, the queue, and what nobody may learn from it."""

from __future__ import annotations

import asyncio
import ctypes
import os
import re
import subprocess
import sys
import threading
import unicodedata
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from argon2 import low_level
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from hypothesis import example, given
from hypothesis import strategies as st
from precis_i18n import get_profile

from picoauth import Unavailable
from picoauth_password import hashing
from picoauth_password.hashing import (
    Cost,
    Hasher,
    MalformedHash,
    MissingPepper,
    Stored,
    WrongPassword,
    argon2id,
    normal,
    read,
    written,
)

CHEAP = Cost(8, 1, 1)
OLD, NEW = bytes(range(32)), bytes(range(32, 64))
GOOD = (
    "$argon2id$v=19$m=8,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
)


@contextmanager
def hasher(
    cost: Cost = CHEAP, peppers: dict[str, bytes] | None = None, **rest: Any
) -> Iterator[Hasher]:
    made = Hasher(peppers or {"new": NEW}, cost, **rest)
    try:
        yield made
    finally:
        made.close()


def places(hasher: Hasher) -> int:
    """How many more may come before the queue is full."""
    taken = 0
    while hasher.free.acquire(blocking=False):
        taken += 1
    if taken:
        hasher.free.release(taken)
    return taken


@dataclass
class Slow:
    """Stands in for Argon2: says when it begins, and ends when it is told to."""

    gate: threading.Event = field(default_factory=threading.Event)
    begun: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    passwords: list[bytes] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    running: int = 0
    most: int = 0

    def __call__(self, password: bytes, *_: object) -> bytes:
        with self.lock:
            self.passwords.append(password)
            self.running += 1
            self.most = max(self.most, self.running)
        self.begun.release()
        assert self.gate.wait(60)
        with self.lock:
            self.running -= 1
        return bytes(32)

    async def wait_begun(self, count: int = 1) -> None:
        for _ in range(count):
            assert await asyncio.to_thread(self.begun.acquire, timeout=60)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Slow]:
    argon2 = Slow()
    monkeypatch.setattr(hashing, "argon2id", argon2)
    yield argon2
    argon2.gate.set()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bytes, bytes, bytes, Cost]]:
    """What Argon2 is asked for, all real."""
    seen: list[tuple[bytes, bytes, bytes, Cost]] = []

    def counting(password: bytes, salt: bytes, pepper: bytes, cost: Cost) -> bytes:
        seen.append((password, salt, pepper, cost))
        return argon2id(password, salt, pepper, cost)

    monkeypatch.setattr(hashing, "argon2id", counting)
    return seen


@asynccontextmanager
async def flood(hasher: Hasher, count: int) -> AsyncIterator[list[asyncio.Task[Stored]]]:
    """So many hashes at once, each begun as far as it can without the event loop."""
    tasks = [asyncio.create_task(hasher.hash(f"password {number}")) for number in range(count)]
    await asyncio.sleep(0)
    yield tasks
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


# Argon2


def test_argon2id_vector_of_the_rfc() -> None:
    """Password, salt, secret and associated data give the tag of RFC 9106, section 5.3."""
    tag = argon2id(b"\x01" * 32, b"\x02" * 16, b"\x03" * 8, Cost(32, 3, 4), b"\x04" * 12)
    expected = "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659"
    assert expected == tag.hex()


@given(
    st.binary(min_size=1, max_size=100),
    st.binary(min_size=16, max_size=16),
    st.binary(min_size=32, max_size=32),
    st.builds(Cost, st.integers(16, 64), st.integers(1, 3), st.integers(1, 2)),
    st.binary(max_size=20),
)
def test_argon2id_agrees_with_openssl(
    password: bytes, salt: bytes, pepper: bytes, cost: Cost, data: bytes
) -> None:
    """An independent implementation, OpenSSL's by way of cryptography, gives the same tags."""
    other = Argon2id(
        salt=salt,
        length=32,
        iterations=cost.iterations,
        lanes=cost.parallelism,
        memory_cost=cost.memory_kib,
        ad=data or None,
        secret=pepper,
    )
    assert other.derive(password) == argon2id(password, salt, pepper, cost, data)


def test_argon2id_takes_an_empty_password_and_nul() -> None:
    """Neither nothing nor a NUL is cut off or read beyond its end."""
    tags = {
        argon2id(password, bytes(16), NEW, CHEAP) for password in (b"", b"\0", b"a\0b", b"a\0c")
    }
    assert len(tags) == 4


def test_argon2id_wipes_its_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    """The copies of password and pepper that were made for Argon2 hold zeros afterwards."""
    core, ffi = low_level.core, low_level.ffi
    after: list[bytes] = []

    def watching(context: Any, kind: int) -> int:
        inputs = [(context.pwd, context.pwdlen), (context.secret, context.secretlen)]
        result = core(context, kind)
        after.extend(bytes(ffi.buffer(pointer, length)) for pointer, length in inputs)
        return result

    monkeypatch.setattr(low_level, "core", watching)
    password, pepper = b"correct horse", bytes(NEW)
    argon2id(password, bytes(16), pepper, CHEAP)
    assert [bytes(13), bytes(32)] == after
    assert password == b"correct horse", "the caller's own is not touched"
    assert pepper == NEW


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("ARGON2_MEMORY_ALLOCATION_ERROR", Unavailable, "Memory allocation error"),
        ("ARGON2_THREAD_FAIL", Unavailable, "Threading failure"),
    ],
)
def test_argon2id_without_memory_or_threads_is_unavailable(
    monkeypatch: pytest.MonkeyPatch, name: str, kind: type[Exception], words: str
) -> None:
    """A system short of memory or threads is a reason to try again, not a wrong password."""
    lib = low_level.lib  # type: ignore[attr-defined]
    monkeypatch.setattr(low_level, "core", lambda *_: getattr(lib, name))
    with pytest.raises(kind, match=f"^Argon2 answers: {words}$"):
        argon2id(b"password", bytes(16), NEW, CHEAP)


def test_argon2id_with_impossible_input_is_an_error() -> None:
    """What Argon2 itself refuses is said in its own words."""
    with pytest.raises(ValueError, match=r"^Argon2 answers: Salt is too short$"):
        argon2id(b"password", b"short", NEW, CHEAP)


# Cost


@pytest.mark.parametrize(
    "cost",
    [
        Cost(),
        Cost(47104, 1),
        Cost(19456, 2),
        Cost(12288, 3),
        Cost(12288, 64, 16),
        Cost(4194304, 1, 1),
    ],
)
def test_cost_of_owasp_and_more_has_no_problem(cost: Cost) -> None:
    """OWASP's three minima, and everything from there to the upper bounds."""
    assert cost.problem() is None


@pytest.mark.parametrize(
    "cost",
    [
        Cost(47103, 1),
        Cost(19455, 2),
        Cost(12287, 3),
        Cost(12287, 64),
        Cost(4194305, 2),
        Cost(iterations=0),
        Cost(iterations=-1),
        Cost(iterations=65),
        Cost(parallelism=0),
        Cost(parallelism=17),
    ],
)
def test_cost_below_owasp_or_beyond_reason_has_a_problem(cost: Cost) -> None:
    """Start-up refuses it with the whole rule in a sentence (P-5)."""
    expected = (
        "memory_kib must be at least 47104 with 1 iteration, 19456 with 2, 12288 with 3 or more "
        "(OWASP), and at most 4194304; iterations must be 1 to 64, and parallelism 1 to 16"
    )
    assert expected == cost.problem()


@pytest.mark.parametrize("cost", [Cost(7, 1, 1), Cost(15, 1, 2), Cost(8, 0, 1), Cost(8, 1, 0)])
def test_hasher_refuses_what_argon2_cannot_do(cost: Cost) -> None:
    """A cost below Argon2's own least is found when the hasher is made, not at the first login."""
    with pytest.raises(ValueError, match=f"^{re.escape(f'Argon2 cannot run with {cost}')}$"):
        Hasher({"new": NEW}, cost)


@pytest.mark.parametrize("peppers", [{}, {"new": b""}, {"new": NEW, "old": OLD[:31]}])
def test_hasher_refuses_missing_and_short_peppers(peppers: dict[str, bytes]) -> None:
    """An empty pepper would quietly make hashes that the database alone lets guess (P-6)."""
    with pytest.raises(ValueError, match=r"^there must be a pepper, and each must have 32 bytes$"):
        Hasher(peppers, CHEAP)


# Hash and verify


async def test_hash_then_verify() -> None:
    """The right password passes, and another does not."""
    with hasher() as made:
        stored = await made.hash("correct horse")
        await made.verify(stored, "correct horse")
        for wrong in ("correct hors", "correct horse ", " correct horse", "Correct horse", "c"):
            with pytest.raises(WrongPassword):
                await made.verify(stored, wrong)


async def test_hash_is_phc_with_a_salt_of_16_and_a_tag_of_32_bytes() -> None:
    """The stored text is the PHC string, in unpadded base64, of exactly those parameters."""
    with hasher(Cost(16, 2, 2), random=lambda count: b"\xff" * count) as made:
        stored = await made.hash("correct horse")
    prefix = "$argon2id$v=19$m=16,t=2,p=2$/////////////////////w$"
    cost, salt, tag = read(stored.hash)
    assert stored.hash.startswith(prefix)
    assert len(prefix) + 43 == len(stored.hash)
    assert (Cost(16, 2, 2), b"\xff" * 16) == (cost, salt)
    assert argon2id(b"correct horse", salt, NEW, cost) == tag
    assert stored.pepper_id == "new"


async def test_hash_has_a_salt_of_its_own_each_time() -> None:
    """Equal passwords have different hashes."""
    with hasher() as made:
        first, second = await made.hash("correct horse"), await made.hash("correct horse")
    assert first.hash != second.hash


async def test_hash_is_verified_by_openssl() -> None:
    """Whoever leaves picoauth can take the hashes along: another implementation reads them."""
    with hasher() as made:
        stored = await made.hash("correct horse")
    Argon2id.verify_phc_encoded(b"correct horse", stored.hash, secret=NEW)


async def test_verify_needs_the_pepper() -> None:
    """Another pepper under the same id makes the right password wrong: the hash is keyed."""
    with hasher() as made, hasher(peppers={"new": OLD}) as other:
        stored = await made.hash("correct horse")
        with pytest.raises(WrongPassword):
            await other.verify(stored, "correct horse")


async def test_verify_uses_the_stored_cost() -> None:
    """A hash made with another cost than today's still verifies, and is told to be outdated."""
    with hasher(Cost(16, 2, 1)) as before, hasher() as now:
        stored = await before.hash("correct horse")
        await now.verify(stored, "correct horse")
        assert not before.outdated(stored)
        assert now.outdated(stored)


@pytest.mark.parametrize("cost", [Cost(16, 1, 1), Cost(8, 2, 1), Cost(16, 1, 2)])
async def test_outdated_looks_at_each_parameter(cost: Cost) -> None:
    """Memory, iterations and parallelism each make a hash outdated."""
    with hasher() as made, hasher(cost) as other:
        assert made.outdated(await other.hash("correct horse"))


async def test_pepper_rotation() -> None:
    """Old hashes verify while the old pepper is listed; new ones, and only they, use the new."""
    with hasher(peppers={"old": OLD}) as before:
        old = await before.hash("correct horse")
    with hasher(peppers={"new": NEW, "old": OLD}) as rotated:
        await rotated.verify(old, "correct horse")
        new = await rotated.hash("correct horse")
        assert (old.pepper_id, new.pepper_id) == ("old", "new")
        assert rotated.outdated(old)
        assert not rotated.outdated(new)
    with hasher(peppers={"new": NEW}) as after:
        await after.verify(new, "correct horse")
        with pytest.raises(Unavailable, match="hangs on a root secret that this process does not"):
            await after.verify(old, "correct horse")


async def test_missing_pepper_is_never_a_wrong_password(
    calls: list[tuple[bytes, bytes, bytes, Cost]],
) -> None:
    """An operator's mistake is told apart from a user's, and no work is done for it."""
    assert not issubclass(MissingPepper, WrongPassword)
    with hasher() as made:
        with pytest.raises(MissingPepper):
            await made.verify(Stored(GOOD, "gone"), "correct horse")
        assert calls == []
        assert 9 * made.pool._max_workers == places(made)


async def test_peppers_are_copied() -> None:
    """Nobody changes the keys of a running server from outside."""
    peppers = {"new": NEW}
    with hasher(peppers=peppers) as made:
        stored = await made.hash("correct horse")
        peppers.clear()
        await made.verify(stored, "correct horse")


# Nothing never matches


async def test_dummy_does_the_same_work(calls: list[tuple[bytes, bytes, bytes, Cost]]) -> None:
    """Without an account, one Argon2 run of the same size as for a wrong password (P-8)."""
    with hasher(Cost(16, 2, 1)) as made:
        stored = await made.hash("correct horse")
        calls.clear()
        for each in (stored, None, replace(stored, hash="")):
            with pytest.raises(WrongPassword):
                await made.verify(each, "wrong horse")
    work = [(password, len(salt), pepper, cost) for password, salt, pepper, cost in calls]
    assert [(b"wrong horse", 16, NEW, Cost(16, 2, 1))] * 3 == work


async def test_dummy_follows_the_current_cost(
    calls: list[tuple[bytes, bytes, bytes, Cost]],
) -> None:
    """After the cost was changed, the dummy takes as long as the hashes that are made now."""
    for cost in (CHEAP, Cost(32, 3, 2)):
        with hasher(cost) as made, pytest.raises(WrongPassword):
            await made.verify(None, "correct horse")
    assert [CHEAP, Cost(32, 3, 2)] == [call[3] for call in calls]


async def test_dummy_never_matches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even where Argon2 gives the very tag that the dummy has."""
    monkeypatch.setattr(hashing, "argon2id", lambda *_: bytes(32))
    with hasher() as made:
        for nothing in (None, made.dummy, Stored("", "new"), Stored("", "gone")):
            with pytest.raises(WrongPassword):
                await made.verify(nothing, "correct horse")


async def test_empty_password_never_matches(
    calls: list[tuple[bytes, bytes, bytes, Cost]],
) -> None:
    """Not even a hash of the empty password, for the same work; and none is ever made (P-12)."""
    stored = Stored(written(CHEAP, bytes(16), argon2id(b"", bytes(16), NEW, CHEAP)), "new")
    with hasher() as made:
        with pytest.raises(WrongPassword):
            await made.verify(stored, "")
        assert len(calls) == 1
        with pytest.raises(ValueError, match=r"^an empty password is none$"):
            await made.hash("")


# Stored forms

TAIL = GOOD.removeprefix("$argon2id$v=19$m=8,t=1,p=1")


def test_read_reads_what_written_writes() -> None:
    """A string of ours is read back part by part."""
    assert (CHEAP, bytes(16), bytes(32)) == read(GOOD)


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "$",
        "*",
        "!",
        "$argon2i$v=19$m=8,t=1,p=1" + TAIL,
        "$argon2d$v=19$m=8,t=1,p=1" + TAIL,
        "$Argon2id$v=19$m=8,t=1,p=1" + TAIL,
        "$2b$12$" + "a" * 53,
        "$argon2id$m=8,t=1,p=1" + TAIL,
        "$argon2id$v=16$m=8,t=1,p=1" + TAIL,
        "$argon2id$v=019$m=8,t=1,p=1" + TAIL,
        "$argon2id$v=19$t=1,m=8,p=1" + TAIL,
        "$argon2id$v=19$m=8,t=1" + TAIL,
        "$argon2id$v=19$m=8,t=1,p=1,keyid=abc" + TAIL,
        "$argon2id$v=19$m=8,t=1,p=1,data=abc" + TAIL,
        "$argon2id$v=19$m=08,t=1,p=1" + TAIL,
        "$argon2id$v=19$m=+8,t=1,p=1" + TAIL,
        "$argon2id$v=19$m=-8,t=1,p=1" + TAIL,
        "$argon2id$v=19$m=8 ,t=1,p=1" + TAIL,
        "$argon2id$v=19$m=8_0,t=1,p=1" + TAIL,
        "$argon2id$v=19$m=\uff18,t=1,p=1" + TAIL,
        "$argon2id$v=19$m=\u0668,t=1,p=1" + TAIL,
        "$argon2id$v=19$m=7,t=1,p=1" + TAIL,
        "$argon2id$v=19$m=15,t=1,p=2" + TAIL,
        "$argon2id$v=19$m=0,t=1,p=1" + TAIL,
        "$argon2id$v=19$m=8,t=0,p=1" + TAIL,
        "$argon2id$v=19$m=8,t=1,p=0" + TAIL,
        "$argon2id$v=19$m=4194305,t=1,p=1" + TAIL,
        "$argon2id$v=19$m=4294967295,t=1,p=1" + TAIL,
        "$argon2id$v=19$m=" + "9" * 5000 + ",t=1,p=1" + TAIL,
        "$argon2id$v=19$m=8,t=65,p=1" + TAIL,
        "$argon2id$v=19$m=8,t=4294967295,p=1" + TAIL,
        "$argon2id$v=19$m=1024,t=1,p=17" + TAIL,
        "$argon2id$v=19$m=1024,t=1,p=16777215" + TAIL,
        GOOD + "$",
        GOOD + "$AAAA",
        GOOD + "=",
        GOOD + "\n",
        GOOD + "\0",
        " " + GOOD,
        GOOD[:-1],
        GOOD + "A",
        GOOD[:-1] + "B",
        GOOD[:-1] + "_",
        GOOD[:-44] + GOOD[-43:],
        GOOD.replace("$AAAAAAAAAAAAAAAAAAAAAA$", "$AAAAAAAAAAAAAAAAAAAAAB$"),
        GOOD.replace("$AAAAAAAAAAAAAAAAAAAAAA$", "$AAAAAAAAAAAAAAAAAAAAAA==$"),
        GOOD.replace("$AAAAAAAAAAAAAAAAAAAAAA$", "$$"),
        "$argon2id$v=19$m=8,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$",
        "$argon2id$v=19$m=8,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA",
    ],
)
async def test_malformed_hash_is_an_operators_fault(
    calls: list[tuple[bytes, bytes, bytes, Cost]], text: str
) -> None:
    """A hash out of a tampered database is neither run nor called a wrong password."""
    with hasher() as made:
        with pytest.raises(MalformedHash, match=r"^a stored hash ") as caught:
            await made.verify(Stored(text, "new"), "correct horse")
        with pytest.raises(MalformedHash):
            made.outdated(Stored(text, "new"))
    assert "AAAA" not in str(caught.value), "the hash itself reaches no log"
    assert calls == []
    assert not issubclass(MalformedHash, WrongPassword)


@pytest.mark.parametrize(
    "cost", ["m=4194304,t=1,p=1", "m=8,t=64,p=1", "m=128,t=1,p=16", "m=8,t=1,p=1"]
)
def test_read_takes_the_bounds_themselves(cost: str) -> None:
    """The most that a setting may ask for can be read back."""
    assert f"$argon2id$v=19${cost}{TAIL}" == written(*read(f"$argon2id$v=19${cost}{TAIL}"))


@example(GOOD)
@given(st.text() | st.from_regex(r"\$argon2id\$v=19\$m=\d+,t=\d+,p=\d+\$.*\$.*"))
def test_read_takes_nothing_or_the_canonical_form(text: str) -> None:
    """Whatever the database holds, it is what we would write, or malformed: nothing between."""
    try:
        cost, salt, tag = read(text)
    except MalformedHash:
        return
    assert text == written(cost, salt, tag)
    assert cost.possible


@given(st.integers(0, len(GOOD) - 1), st.characters())
def test_read_of_one_altered_character(at: int, character: str) -> None:
    """One altered character gives another canonical string, or a malformed one."""
    text = GOOD[:at] + character + GOOD[at + 1 :]
    try:
        assert text == written(*read(text))
    except MalformedHash:
        assert text != GOOD


@given(
    st.builds(Cost, st.integers(128, 4194304), st.integers(1, 64), st.integers(1, 16)),
    st.binary(min_size=16, max_size=16),
    st.binary(min_size=32, max_size=32),
)
def test_read_and_written_are_inverses(cost: Cost, salt: bytes, tag: bytes) -> None:
    """Every cost, salt and tag survives being stored."""
    assert (cost, salt, tag) == read(written(cost, salt, tag))


# Normalization


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("caf\u00e9", "cafe\u0301"),
        ("\u1e69", "s\u0323\u0307"),
        ("\u1e69", "s\u0307\u0323"),
        ("\uac00", "\u1100\u1161"),
        ("\u212b", "\u00c5"),
        ("a b", "a\u00a0b"),
        ("a b", "a\u3000b"),
        ("a b", "a\u2009b"),
    ],
)
async def test_passwords_that_are_the_same(one: str, other: str) -> None:
    """Set on one keyboard and typed on another, a password is the same, both ways round."""
    with hasher() as made:
        await made.verify(await made.hash(one), other)
        await made.verify(await made.hash(other), one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("password", "Password"),
        ("password", "password "),
        ("password", " password"),
        ("pass word", "pass  word"),
        ("ff", "\ufb00"),
        ("2", "\u00b2"),
        ("a", "\uff41"),
        ("a b", "a\tb"),
        ("ab", "a\u200bb"),
        ("ab", "a\u00adb"),
        ("a", "a\0"),
        ("stra\u00dfe", "strasse"),
    ],
)
async def test_passwords_that_differ(one: str, other: str) -> None:
    """No trimming, no change of case, no folding of compatibility forms (NFKC)."""
    with hasher() as made:
        stored = await made.hash(one)
        with pytest.raises(WrongPassword):
            await made.verify(stored, other)


@given(st.text(st.characters(codec="utf-8"), min_size=1))
def test_normal_is_opaque_string(password: str) -> None:
    """Whatever RFC 8265 lets through as a password has the form that RFC 8265 gives it."""
    try:
        expected = get_profile("OpaqueString").enforce(password)
    except UnicodeEncodeError:
        return
    assert expected.encode() == normal(password)


@given(st.text(st.characters(codec="utf-8")))
def test_normal_is_stable(password: str) -> None:
    """The normal form of a normal form is itself."""
    assert normal(password) == normal(normal(password).decode())


def test_normal_knows_every_space() -> None:
    """The list of spaces is complete in the Unicode of this Python."""
    spaces = [
        chr(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) == "Zs"
    ]
    assert b" " * len(spaces) == normal("".join(spaces))


@pytest.mark.parametrize("password", ["\ud800", "secret\udfff", "\ud83d secret \ude00"])
async def test_lone_surrogates_are_a_value_error(password: str) -> None:
    """What is no text is refused by an error that does not hold the password."""
    with hasher(workers=1) as made:
        for refused in (made.hash(password), made.verify(None, password)):
            with pytest.raises(ValueError, match=r"^a password must not have lone surr") as caught:
                await refused
            assert type(caught.value) is ValueError
            assert caught.value.__context__ is None
        assert places(made) == 9


async def test_long_passwords_are_never_cut() -> None:
    """A difference in the last of a million characters counts, and two bytes count as two."""
    with hasher() as made:
        stored = await made.hash("\u00e9" * 1_000_000)
        await made.verify(stored, "\u00e9" * 1_000_000)
        with pytest.raises(WrongPassword):
            await made.verify(stored, "\u00e9" * 999_999 + "e")


# The queue


async def test_queue_is_bounded(slow: Slow) -> None:
    """So many run, so many wait for each, and the next is Unavailable at once, with no work."""
    with hasher(workers=2, queue=3) as made:
        async with flood(made, 8) as tasks:
            await slow.wait_begun(2)
            assert len(made.pending) == 8
            for refused in (made.hash("one more"), made.verify(None, "one more")):
                with pytest.raises(Unavailable, match=r"^too many passwords wait ") as caught:
                    await refused
                assert caught.value.retry_after == 1
            slow.gate.set()
            await asyncio.gather(*tasks)
        assert slow.most == 2
        assert made.pending == set()
        assert {f"password {number}".encode() for number in range(8)} == set(slow.passwords)
        assert places(made) == 8


async def test_queue_of_nothing(slow: Slow) -> None:
    """With a queue of 0, only what runs has a place."""
    with hasher(workers=1, queue=0) as made:
        async with flood(made, 1):
            with pytest.raises(Unavailable):
                await made.hash("one more")
            slow.gate.set()
        made.close()
        assert places(made) == 1


async def test_event_loop_is_free_while_argon2_runs(slow: Slow) -> None:
    """Argon2 waits for something that only the event loop does: it is on another thread."""
    with hasher(workers=1) as made:
        task = asyncio.create_task(made.hash("correct horse"))
        await slow.wait_begun()
        slow.gate.set()
        await task


async def test_cancelled_while_waiting_frees_the_place(slow: Slow) -> None:
    """A client that went away before its turn costs nothing: no place, and no work."""
    with hasher(workers=1, queue=2) as made:
        async with flood(made, 3) as tasks:
            await slow.wait_begun()
            assert places(made) == 0
            tasks[1].cancel()
            with pytest.raises(asyncio.CancelledError):
                await tasks[1]
            assert places(made) == 1
            last = asyncio.create_task(made.hash("instead"))
            slow.gate.set()
            await asyncio.gather(tasks[0], tasks[2], last)
        assert slow.passwords == [b"password 0", b"password 2", b"instead"]
        assert places(made) == 3


async def test_cancelled_while_waiting_lets_go_of_the_password(slow: Slow) -> None:
    """What a cancelled caller leaves in the pool's queue holds no password."""
    with hasher(workers=1, queue=1) as made:
        async with flood(made, 2) as tasks:
            await slow.wait_begun()
            tasks[1].cancel()
            await asyncio.wait([tasks[1]])
            left = made.pool._work_queue.get_nowait()
            assert left.args == ([],)
            slow.gate.set()


async def test_cancelled_while_running_keeps_the_place(slow: Slow) -> None:
    """Argon2 cannot be stopped: its memory is taken, and its place too, until it ends."""
    with hasher(workers=1, queue=0) as made:
        async with flood(made, 1) as tasks:
            await slow.wait_begun()
            tasks[0].cancel()
            with pytest.raises(asyncio.CancelledError):
                await tasks[0]
            with pytest.raises(Unavailable):
                await made.hash("one more")
            slow.gate.set()
            made.close()
            assert places(made) == 1


async def test_cancelled_before_it_begins_takes_no_place(slow: Slow) -> None:
    """A task that is cancelled before its first step never reached the queue."""
    with hasher(workers=1) as made:
        task = asyncio.create_task(made.hash("correct horse"))
        task.cancel()
        await asyncio.wait([task])
        assert places(made) == 9
        assert slow.passwords == []


async def test_place_is_free_when_the_caller_hears_of_it(slow: Slow) -> None:
    """Whoever has an answer can ask again at once, also with no queue at all."""
    slow.gate.set()
    with hasher(workers=1, queue=0) as made:
        for number in range(200):
            await made.hash(f"password {number}")


@pytest.mark.parametrize("error", [Unavailable("Argon2 answers"), MemoryError(), SystemExit()])
async def test_error_of_the_work_frees_the_place(
    monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """However Argon2 ends, its place is free, the caller hears, and the thread lives on."""

    def failing(*_: object) -> bytes:
        raise error

    monkeypatch.setattr(hashing, "keyed", failing)
    with hasher(workers=1, queue=0) as made:
        for _ in range(3):
            with pytest.raises(type(error)) as caught:
                await made.hash("correct horse")
            assert caught.value is error
        assert places(made) == 1


async def test_without_a_new_thread_it_is_unavailable_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, slow: Slow
) -> None:
    """At the limit of threads a refused hash frees its place, and is not run later either.

    ThreadPoolExecutor queues the work before it starts a thread for it: under a flood, others'
    threads would work off without bound what callers were told had not been done.
    """
    with hasher(workers=2, queue=1) as made:
        async with flood(made, 1) as tasks:
            await slow.wait_begun()
            with monkeypatch.context() as patch:
                patch.setattr(threading.Thread, "start", no_thread)
                for _ in range(10):
                    with pytest.raises(Unavailable, match=r"^passwords cannot be hashed now$"):
                        await made.hash("refused")
            assert places(made) == 3
            slow.gate.set()
            await asyncio.gather(*tasks)
            await made.hash("another")
        assert slow.passwords == [b"password 0", b"another"]
        assert places(made) == 4


def no_thread(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


async def test_random_cancellations_balance() -> None:
    """After a thousand hashes, cancelled at every point, every place is free again."""
    with hasher(workers=2, queue=20) as made:
        for turn in range(50):
            async with flood(made, 20) as tasks:
                for number, task in enumerate(tasks):
                    if (number * 7 + turn) % 3:
                        task.cancel()
                    await asyncio.sleep(0)
        made.close()
        assert places(made) == 42


# Closing


def closings(monkeypatch: pytest.MonkeyPatch, hasher: Hasher) -> threading.Semaphore:
    """Released by each call of close() that has come to waiting for the threads."""
    begun = threading.Semaphore(0)
    shutdown = hasher.pool.shutdown

    def watched() -> None:
        begun.release()
        shutdown()

    monkeypatch.setattr(hasher.pool, "shutdown", watched)
    return begun


async def test_close_lets_the_running_end_and_refuses_the_waiting(
    monkeypatch: pytest.MonkeyPatch, slow: Slow
) -> None:
    """At the server's end no caller hangs, none is cancelled, and no thread stays."""
    with hasher(workers=1, queue=3) as made:
        begun = closings(monkeypatch, made)
        async with flood(made, 4) as tasks:
            await slow.wait_begun()
            closing = asyncio.create_task(asyncio.to_thread(made.close))
            assert await asyncio.to_thread(begun.acquire, timeout=60)
            slow.gate.set()
            await closing
            results = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(results[0], Stored)
        assert [str(result) for result in results[1:]] == ["the server stops"] * 3
        assert {Unavailable} == {type(result) for result in results[1:]}
        assert slow.passwords == [b"password 0"]
        assert not [thread for thread in made.pool._threads if thread.is_alive()]
        assert places(made) == 4


async def test_hash_after_close_is_unavailable() -> None:
    """A request that comes too late gets a 503, whether or not the pool was ever used."""
    for used in (True, False):
        with hasher(workers=1) as made:
            if used:
                await made.hash("correct horse")
            made.close()
            for late in (made.hash("correct horse"), made.verify(None, "correct horse")):
                with pytest.raises(Unavailable, match=r"^passwords cannot be hashed now$"):
                    await late
            assert places(made) == 9


async def test_close_by_several_at_once(monkeypatch: pytest.MonkeyPatch, slow: Slow) -> None:
    """Closing twice, and from several threads while a hash runs, waits and raises nothing."""
    with hasher(workers=1) as made:
        begun = closings(monkeypatch, made)
        async with flood(made, 1) as tasks:
            await slow.wait_begun()
            together = threading.Barrier(4)

            def close() -> None:
                together.wait(60)
                made.close()

            with ThreadPoolExecutor(4) as threads:
                closing = [threads.submit(close) for _ in range(4)]
                for _ in closing:
                    assert await asyncio.to_thread(begun.acquire, timeout=60)
                slow.gate.set()
            assert [each.result() for each in closing] == [None] * 4
            assert isinstance(await tasks[0], Stored)
        made.close()


# Threads and memory


def test_nothing_is_started_before_the_first_password() -> None:
    """A server that nobody logs in to has neither the threads nor Argon2 in memory."""
    code = """
import sys, threading
from picoauth_password.hashing import Cost, Hasher
hasher = Hasher({"a": bytes(32)}, Cost())
print(sorted(name for name in sys.modules if "argon2" in name), threading.active_count())
hasher.close()
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[] 1\n"


def test_workers_are_the_usable_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many threads as cores that this process may use; elsewhere than on Linux, all."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 4, 6})
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    with hasher() as made:
        assert (made.pool._max_workers, places(made)) == (3, 27)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert hashing.usable_cores() == 5
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert hashing.usable_cores() == 1


def test_no_workers_are_an_error() -> None:
    """A pool of nobody would make every login wait for ever."""
    with pytest.raises(ValueError, match=r"^max_workers must be greater than 0$"):
        Hasher({"new": NEW}, CHEAP, workers=0)


def prepared(before: Callable[[], object] = int) -> int:
    """Prepare a thread, and answer its nice value."""

    def run() -> int:
        before()
        hashing.prepare()
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    with ThreadPoolExecutor(1) as threads:
        return threads.submit(run).result()


@pytest.mark.skipif(sys.platform != "linux", reason="Linux has a nice value per thread")
def test_threads_have_a_lower_priority_than_the_event_loop() -> None:
    """A nice value for the thread alone: the process, and so the event loop, keeps its own."""
    before = os.getpriority(os.PRIO_PROCESS, 0)
    assert hashing.NICE > 0
    assert max(hashing.NICE, before) == prepared()
    assert before == os.getpriority(os.PRIO_PROCESS, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux has a nice value per thread")
def test_priority_is_never_raised() -> None:
    """A server that was started at nice 15 hashes at nice 15."""

    def nicer() -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 15)

    assert max(15, os.getpriority(os.PRIO_PROCESS, 0)) == prepared(nicer)


async def test_priority_of_the_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pool prepares each of its threads, and a sandbox's refusal does not break it."""
    asked: list[tuple[int, int, int]] = []

    def refusing(*arguments: int) -> None:
        asked.append(arguments)  # type: ignore[arg-type]
        raise PermissionError

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os, "setpriority", refusing)
    with hasher(workers=1) as made:
        await made.verify(await made.hash("correct horse"), "correct horse")
        (thread,) = made.pool._threads
    assert [(os.PRIO_PROCESS, thread.native_id)] == [each[:2] for each in asked]


def test_priority_elsewhere_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a nice value is the whole process's, it is not touched."""
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(os, "setpriority", lambda *_: pytest.fail("must not be called"))
    prepared()


def test_memory_is_asked_back_from_glibc(monkeypatch: pytest.MonkeyPatch) -> None:
    """The threshold above which glibc maps and unmaps, M_MMAP_THRESHOLD, becomes 1 MiB."""
    asked: list[tuple[int, int]] = []

    class Library:
        def __init__(self, name: None) -> None:
            assert name is None

        def mallopt(self, option: int, value: int) -> int:
            asked.append((option, value))
            return 1

    monkeypatch.setattr(ctypes, "CDLL", Library)
    prepared()
    assert asked == [(-3, 1048576)]


@pytest.mark.parametrize("error", [AttributeError, OSError, TypeError, ImportError])
async def test_without_glibc_it_works(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    """No mallopt, no dynamic loading, no ctypes: nobody notices."""

    def absent(_: None) -> None:
        raise error

    monkeypatch.setattr(ctypes, "CDLL", absent)
    with hasher() as made:
        await made.verify(await made.hash("correct horse"), "correct horse")
