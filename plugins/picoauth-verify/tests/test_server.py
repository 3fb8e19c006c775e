"""Verifiers of a real server: what they learn of it, how soon, and what they do without it."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from picoauth_verify import Access, Refused, Stale, Unreachable, Verifier
from tests.processes import free_port
from tests.verifying import Real, Way, until
from tests.wire import short_folder

BOUND = 2


@contextmanager
def serving(algorithm: str = "ES256") -> Iterator[Real]:
    with short_folder() as folder:
        real = Real(folder, free_port(), algorithm)
        real.start()
        try:
            yield real
        finally:
            real.stop()


@pytest.fixture(scope="module")
def real() -> Iterator[Real]:
    with serving() as running:
        yield running


@pytest.fixture
def verifier(real: Real) -> Iterator[Verifier]:
    with Verifier(real.issuer, url=real.unix) as running:
        yield running


@contextmanager
def way_to(real: Real) -> Iterator[Way]:
    way = Way(real.port)
    try:
        yield way
    finally:
        way.close()


def code_of(verifier: Verifier, token: str) -> str | None:
    """How a check ends: the code of a refusal, the name of another error, or None."""
    try:
        verifier.check(token)
    except Refused as refused:
        return refused.code
    except Unreachable as error:
        return type(error).__name__
    return None


def let_in(verifier: Verifier, token: str) -> Access:
    """Who has a token; waits for a server that is slow to begin with."""
    until(lambda: code_of(verifier, token) is None)
    return verifier.check(token)


def last_accepted(verifier: Verifier, token: str) -> float:
    """Check until the token is not accepted any longer; answers when the last check began."""
    last = 0.0

    def refused() -> bool:
        nonlocal last
        began = time.monotonic()
        if code_of(verifier, token) is not None:
            return True
        last = began
        return False

    until(refused)
    return last


@pytest.mark.parametrize("algorithm", ["ES256", "ES512", "EdDSA"])
def test_who_asks(algorithm: str) -> None:
    """Over the unix socket and over TCP, with each algorithm, the verifier says whose a token is."""
    with serving(algorithm) as real:
        token = real.token()
        claims = real.post("/jwt/validate", token=token)
        for url in (None, real.unix):
            with Verifier(real.issuer, url=url) as verifier:
                access = let_in(verifier, token)
                assert claims == access.claims
                assert (claims["sub"], claims["sid"]) == (access.user_id, access.session_id)
                assert ("ann", ("pwd",)) == (access.username, access.amr)
                assert (claims["auth_time"], claims["exp"]) == (access.auth_time, access.expires_at)
                assert algorithm == access.key.algorithm
                assert None is verifier.trouble


def test_symmetric_keys_are_refused() -> None:
    """Under HS256 nothing can be checked: the verifier says so, however it is set."""
    with serving("HS256") as real:
        token = real.token()
        for choice in ("refuse", "accept"):
            with Verifier(real.issuer, when_unreachable=choice) as verifier:  # type: ignore[arg-type] - one of the two
                with pytest.raises(Unreachable) as refused:
                    verifier.check(token)
                assert (
                    "it publishes no list of ended sessions, as under HS256: ask the server about tokens"
                    == refused.value.why
                )


@pytest.mark.parametrize("seen", [True, False])
def test_ended_session(real: Real, verifier: Verifier, seen: bool) -> None:  # noqa: FBT001 - a parameter
    """A token is refused within the bound, whether it was remembered or not."""
    token = real.token()
    if seen:
        assert "ann" == let_in(verifier, token).username
    real.post("/auth/logout", token=token)
    revoked = time.monotonic()
    assert last_accepted(verifier, token) <= revoked + BOUND
    until(lambda: code_of(verifier, token) == "session_ended")


def test_other_sessions_go_on(real: Real, verifier: Verifier) -> None:
    """Only the session that ended is refused."""
    first, second = real.token(), real.token()
    real.post("/auth/logout", token=first)
    until(lambda: code_of(verifier, first) == "session_ended")
    until(lambda: code_of(verifier, second) is None)


def test_emergency() -> None:
    """A retired key is refused within the bound; whoever refreshes is let in at once again."""
    with serving() as real, Verifier(real.issuer, url=real.unix) as verifier:
        token = real.token()
        key = let_in(verifier, token).key.id
        real.run("keys", "retire", key)
        retired = time.monotonic()
        assert last_accepted(verifier, token) <= retired + BOUND
        until(lambda: code_of(verifier, token) == "invalid_token")
        until(lambda: code_of(verifier, real.token()) is None)


def test_restart() -> None:
    """A server that is gone is missed within the bound, and found again by itself."""
    with serving() as real, Verifier(real.issuer, url=real.unix) as verifier:
        token, ended = real.token(), real.token()
        assert "ann" == let_in(verifier, token).username
        real.post("/auth/logout", token=ended)
        real.stop()
        stopped = time.monotonic()
        assert last_accepted(verifier, token) <= stopped + BOUND
        with pytest.raises(Stale) as stale:
            verifier.check(token)
        assert "[Errno 2] No such file or directory" == stale.value.why
        real.start()
        until(lambda: code_of(verifier, token) is None)
        assert "session_ended" == code_of(verifier, ended)
        until(lambda: verifier.trouble is None)


def test_partition(real: Real) -> None:
    """Where everything is swallowed without a word, the bound holds, and the verifier comes back."""
    token, ended = real.token(), real.token()
    with way_to(real) as way, Verifier(real.issuer, url=way.url) as verifier:
        let_in(verifier, token)
        let_in(verifier, ended)
        way.swallows = True
        real.post("/auth/logout", token=ended)
        revoked = time.monotonic()
        assert last_accepted(verifier, ended) <= revoked + BOUND
        assert ["Stale"] * 2 == [code_of(verifier, one) for one in (ended, token)]
        way.swallows = False
        until(lambda: code_of(verifier, token) is None)
        assert "session_ended" == code_of(verifier, ended)


def test_partition_from_the_start(real: Real) -> None:
    """Who never heard of the server lets nobody in, and its first check does not wait for ever."""
    token = real.token()
    for choice in ("refuse", "accept"):
        with way_to(real) as way:
            way.swallows = True
            verifier = Verifier(real.issuer, url=way.url, when_unreachable=choice)  # type: ignore[arg-type] - one of the two
            assert "Unreachable" == code_of(verifier, token)
            way.swallows = False
            until(lambda verifier=verifier: code_of(verifier, token) is None)  # type: ignore[misc]
            verifier.close()


def test_open_in_a_partition(real: Real) -> None:
    """Who chose so goes on meanwhile, by what was known: ended sessions stay refused."""
    token, ended = real.token(), real.token()
    real.post("/auth/logout", token=ended)
    with (
        way_to(real) as way,
        Verifier(real.issuer, url=way.url, when_unreachable="accept") as verifier,
    ):
        until(lambda: code_of(verifier, ended) == "session_ended")
        way.swallows = True
        until(lambda: verifier.trouble)
        assert "timed out" == verifier.trouble
        until(lambda: not verifier.fresh(verifier.knowledge()))
        assert None is code_of(verifier, token)
        assert "session_ended" == code_of(verifier, ended)


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@contextmanager
def network() -> Iterator[tuple[str, str]]:
    """A network namespace with an address of its own; yields its name and the address."""
    name = f"pa{os.getpid()}"
    try:
        ip("netns", "add", name)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this takes the right to make network namespaces")
    try:
        ip("link", "add", f"{name}a", "type", "veth", "peer", "name", f"{name}b", "netns", name)
        ip("addr", "add", "198.18.77.1/30", "dev", f"{name}a")
        ip("link", "set", f"{name}a", "up")
        ip("-n", name, "addr", "add", "198.18.77.2/30", "dev", f"{name}b")
        ip("-n", name, "link", "set", f"{name}b", "up")
        ip("-n", name, "link", "set", "lo", "up")
        yield name, "198.18.77.2"
    finally:
        ip("netns", "del", name)


def test_cut_cable() -> None:
    """The server in a network of its own whose cable is pulled, and plugged in again."""
    with network() as (name, host), short_folder() as folder:
        real = Real(folder, 8100, prefix=["ip", "netns", "exec", name], host=host)
        real.start()
        try:
            token, ended = real.token(), real.token()
            with Verifier(real.issuer, url=real.url) as verifier:
                let_in(verifier, token)
                let_in(verifier, ended)
                ip("-n", name, "link", "set", f"{name}b", "down")
                real.post("/auth/logout", token=ended)  # over its unix socket
                revoked = time.monotonic()
                assert last_accepted(verifier, ended) <= revoked + BOUND
                assert "Stale" == code_of(verifier, token)
                ip("-n", name, "link", "set", f"{name}b", "up")
                until(lambda: code_of(verifier, token) is None)
                assert "session_ended" == code_of(verifier, ended)
        finally:
            real.stop()


FORKS = """
    import os, sys, time
    from picoauth_verify import Refused, Verifier

    issuer, url, token, when = sys.argv[1:]
    verifier = Verifier(issuer, url=url)
    if when == "later":
        verifier.check(token)
    children = []
    for number in range(3):
        child = os.fork()
        if child == 0:
            os.write(1, f"{verifier.check(token).username}\\n".encode())
            end = time.monotonic() + 60
            while time.monotonic() < end:
                try:
                    verifier.check(token)
                except Refused as refused:
                    os.write(1, f"{refused.code}\\n".encode())
                    sys.exit(0)
                time.sleep(0.01)
            sys.exit(1)
        children.append(child)
    sys.exit(max(os.waitpid(child, 0)[1] for child in children))
"""


@pytest.mark.parametrize("when", ["at once", "later"])
def test_fork(real: Real, when: str) -> None:
    """Each forked worker follows the server for itself, whether or not the first one did before."""
    token = real.token()
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", textwrap.dedent(FORKS)]
    arguments = [real.issuer, real.unix, token, when]
    with subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert ["ann\n"] * 3 == [process.stdout.readline() for _ in range(3)]
        real.post("/auth/logout", token=token)
        assert ["session_ended\n"] * 3 == process.stdout.readlines()
    assert 0 == process.returncode


def test_nobody_uses_it(real: Real) -> None:
    """A verifier that is forgotten follows no longer."""
    verifier = Verifier(real.issuer, url=real.unix)
    thread = verifier.start().thread
    del verifier
    gc.collect()
    thread.join(60)
    assert not thread.is_alive()


def test_threads(real: Real) -> None:
    """Many threads may check at once, also the very first time."""
    token = real.token()
    verifier = Verifier(real.issuer, url=real.unix)
    found: list[str | None] = []
    threads = [
        threading.Thread(target=lambda: found.append(code_of(verifier, token))) for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    verifier.close()
    assert [None] * 16 == found


def test_close(real: Real) -> None:
    """What is closed has no thread; a later check begins anew."""
    token = real.token()
    with Verifier(real.issuer, url=real.unix) as verifier:
        verifier.check(token)
        assert verifier.follower is not None
        thread = verifier.follower.thread
    assert not thread.is_alive()
    assert (False, None) == (verifier.ready, verifier.trouble)
    assert "ann" == let_in(verifier, token).username
    verifier.close()
