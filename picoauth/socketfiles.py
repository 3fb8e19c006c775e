"""The files of unix sockets: claimed, checked, and removed again."""

from __future__ import annotations

import errno
import fcntl
import grp
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from picoauth.errors import ConfigError

BACKLOG = 512
LONGEST_PATH = 107
"""Bytes of the path of a unix socket (unix(7))."""
REMEDIES = {
    errno.EADDRINUSE: "is in use: stop what listens there, or choose another port.",
    errno.EACCES: "is not permitted to this user: choose another, or give the permission.",
    errno.EADDRNOTAVAIL: "is no address of this machine: choose one that is.",
    errno.ENOENT: "has no folder: make it.",
    errno.ENOTDIR: "has a file where its folder should be: choose another path.",
    errno.EROFS: "is on a read-only file system: choose another path.",
    errno.EPERM: "cannot be given to that group by this user: join the group.",
}


def unix(path: Path, mode: int, group: str | None, stack: ExitStack) -> socket.socket:
    """Listen on a path; the file is there as long as `stack` is open. Raises ConfigError."""
    check_length(path)
    gid = group_id(group)
    stack.enter_context(locked(path))
    remove_stale(path)
    sock = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
    try:
        bind_privately(sock, path)
        stack.callback(remove_own, path, path.lstat())
        os.chown(path, -1, gid)
        path.chmod(mode)
        sock.listen(BACKLOG)
    except OSError as error:
        raise ConfigError(f"bind: unix:{path} {reason(error)}") from error
    return sock


def check_length(path: Path) -> None:
    if len(os.fsencode(path)) > LONGEST_PATH:
        raise ConfigError(
            f"bind: unix:{path} is longer than {LONGEST_PATH} bytes, which no socket may be: "
            "choose a shorter path."
        )


def bind_privately(sock: socket.socket, path: Path) -> None:
    """At no moment may others connect: the mode that is set comes later."""
    before = os.umask(0o177)
    try:
        sock.bind(str(path))
    finally:
        os.umask(before)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """One server per path: of two that find a stale socket at once, one goes on.

    The lock's file lies beside the socket as long as the server runs, and goes with it; what
    `kill -9` leaves of both is no hindrance to the next start. Without a file the choice would be
    to lock the folder, which everyone who may read it could hold for ever.
    """
    lock = Path(f"{path}.lock")
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise ConfigError(f"bind: unix:{path} {reason(error)}") from error
    try:
        if not held(descriptor):
            raise live(path)
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def held(descriptor: int) -> bool:
    """Whether the lock is ours, and still the one of the path: its last holder removes the file."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return os.fstat(descriptor).st_nlink > 0


def remove_stale(path: Path) -> None:
    """Remove the socket of a server that died. Raises ConfigError for anything else."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise no_socket(path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
        except BlockingIOError as error:  # more connections wait than it may have
            raise live(path) from error
        except OSError as error:
            raise ConfigError(f"bind: unix:{path} {reason(error)}") from error
    raise live(path)


def no_socket(path: Path) -> ConfigError:
    return ConfigError(
        f"bind: {path} exists and is no socket: move it away, or choose another path."
    )


def live(path: Path) -> ConfigError:
    return ConfigError(f"bind: unix:{path} is served by another process: stop that one first.")


def remove_own(path: Path, made: os.stat_result) -> None:
    """Remove the file if it is still the one that was made; the open socket keeps its number."""
    with suppress(OSError):
        if os.path.samestat(path.lstat(), made):
            path.unlink()


def group_id(name: str | None) -> int:
    if name is None:
        return -1
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError as error:
        raise ConfigError(
            f"socket_group: there is no group {name}: make it, or name another."
        ) from error


def reason(error: OSError) -> str:
    """What is wrong with an address, and what to do."""
    if isinstance(error, socket.gaierror):
        return "has no address: write it as a number."
    return REMEDIES.get(error.errno or 0, f"does not work: {error.strerror}.")
